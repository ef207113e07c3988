//! Code that may never return, on a thread of its own, waited for only so long.
//!
//! It ends no thread that it no longer waits for: nothing can. It counts them.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;

/// Why there is no result.
#[derive(Debug)]
pub enum RunError {
    /// It did not return in time. Its thread is left behind.
    TimedOut(Duration),
    /// It panicked.
    Panicked,
    /// The system gave no thread for it.
    NoThread(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(patience) => write!(f, "did not return within {patience:?}"),
            Self::Panicked => f.write_str("panicked"),
            Self::NoThread(error) => write!(f, "was given no thread by the system: {error}"),
        }
    }
}

/// Does the work on that thread, and waits for it as long as that. A thread that is left behind
/// counts in each of the gauges until it comes back.
///
/// # Errors
///
/// Where there is no result by then.
pub fn run_with_timeout<T: Send + 'static>(
    patience: Duration,
    thread: thread::Builder,
    left_behind: Vec<Gauge>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    let course = Arc::new(Course { stage: Mutex::new(Stage::UnderWay), left_behind });
    let (end, (done, result)) = (End(Arc::clone(&course)), mpsc::sync_channel(1));
    let run = move || {
        let _end = end;
        // Nobody may wait any more.
        let _ = done.send(work());
    };
    thread.spawn(run).map_err(RunError::NoThread)?;
    match result.recv_timeout(patience) {
        Ok(result) => Ok(result),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(RunError::Panicked),
        Err(mpsc::RecvTimeoutError::Timeout) if course.leave_behind() => {
            Err(RunError::TimedOut(patience))
        }
        // It ended in this very moment.
        Err(mpsc::RecvTimeoutError::Timeout) => result.try_recv().map_err(|_| RunError::Panicked),
    }
}

struct Course {
    stage: Mutex<Stage>,
    left_behind: Vec<Gauge>,
}

#[derive(PartialEq, Eq)]
enum Stage {
    UnderWay,
    LeftBehind,
    Ended,
}

impl Course {
    /// False if it has ended.
    fn leave_behind(&self) -> bool {
        let mut stage = self.stage();
        if *stage == Stage::UnderWay {
            *stage = Stage::LeftBehind;
            self.left_behind.iter().for_each(|gauge| _ = gauge.inc());
        }
        *stage == Stage::LeftBehind
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the work, of one that panicked, too.
struct End(Arc<Course>);

impl Drop for End {
    fn drop(&mut self) {
        let mut stage = self.0.stage();
        if *stage == Stage::LeftBehind {
            self.0.left_behind.iter().for_each(|gauge| _ = gauge.dec());
        }
        *stage = Stage::Ended;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_done_in_time_is_not_counted() {
        let gauge = Gauge::default();
        let done = run_with_timeout(LONG, thread::Builder::new(), vec![gauge.clone()], || 7);
        assert_eq!((done.expect("it is done"), gauge.get()), (7, 0));
    }

    #[test]
    fn a_thread_that_is_left_behind_counts_until_it_comes_back() {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let gauges = vec![Gauge::default(), Gauge::default()];
        let counted = || gauges.iter().map(Gauge::get).collect::<Vec<_>>();
        let patience = Duration::from_millis(20);
        let hangs = move || may_go_on.recv().expect("it is told to go on");
        let result = run_with_timeout(patience, thread::Builder::new(), gauges.clone(), hangs);
        assert_eq!(result.expect_err("it hangs").to_string(), "did not return within 20ms");
        assert_eq!(counted(), [1, 1]);
        go_on.send(()).expect("it waits");
        let end = Instant::now() + LONG;
        while counted() != [0, 0] {
            assert!(Instant::now() < end, "it is counted though it came back");
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_is_no_want_of_time() {
        let gauge = Gauge::default();
        let panics = || -> u8 { panic!("on purpose") };
        let result = run_with_timeout(LONG, thread::Builder::new(), vec![gauge.clone()], panics);
        assert!(matches!(result, Err(RunError::Panicked)), "{result:?}");
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn where_the_system_gives_no_thread_that_is_what_is_said() {
        // No machine has that much memory for a stack.
        let thread = thread::Builder::new().stack_size(1 << 60);
        let error = run_with_timeout(LONG, thread, Vec::new(), || ()).expect_err("there is none");
        assert!(error.to_string().starts_with("was given no thread by the system: "), "{error}");
    }
}

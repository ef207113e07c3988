//! Runs code that may never return on a thread of its own, with a timeout.
//!
//! Threads that never return are counted, not killed: a thread cannot be ended from outside.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;

/// Reason why there is no result.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The closure did not return in time. Its thread is stuck.
    TimedOut(Duration),
    /// The closure panicked.
    Panicked,
    /// The system refused a thread for the closure.
    NoThread(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(timeout) => write!(f, "did not return within {timeout:?}"),
            Self::Panicked => f.write_str("panicked"),
            Self::NoThread(error) => write!(f, "was refused a thread by the system: {error}"),
        }
    }
}

/// Runs a closure on a new thread, and waits for it until the timeout. A stuck thread counts in each
/// gauge until the closure returns.
///
/// # Errors
///
/// A [`RunError`] if there is no result by then.
pub(crate) fn run_with_timeout<T: Send + 'static>(
    timeout: Duration,
    thread: thread::Builder,
    left_behind: Vec<Gauge>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    let run = Arc::new(Run { stage: Mutex::new(Stage::UnderWay), left_behind });
    let (end, (done, result)) = (EndOnDrop(Arc::clone(&run)), mpsc::sync_channel(1));
    let body = move || {
        let _end = end;
        // The caller may have stopped waiting.
        let _ = done.send(work());
    };
    thread.spawn(body).map_err(RunError::NoThread)?;
    match result.recv_timeout(timeout) {
        Ok(result) => Ok(result),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(RunError::Panicked),
        Err(mpsc::RecvTimeoutError::Timeout) if run.leave_behind() => {
            Err(RunError::TimedOut(timeout))
        }
        // The closure ended in this very moment.
        Err(mpsc::RecvTimeoutError::Timeout) => result.try_recv().map_err(|_| RunError::Panicked),
    }
}

/// A closure on its thread.
struct Run {
    stage: Mutex<Stage>,
    left_behind: Vec<Gauge>,
}

#[derive(PartialEq, Eq)]
enum Stage {
    UnderWay,
    LeftBehind,
    Ended,
}

impl Run {
    /// Counts the thread of the run as stuck. Returns false if the run has ended.
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

/// Marks the end of a run when it is dropped, even if the closure panicked.
struct EndOnDrop(Arc<Run>);

impl Drop for EndOnDrop {
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
    fn a_closure_that_returns_in_time_is_not_counted() {
        let gauge = Gauge::default();
        let done = run_with_timeout(LONG, thread::Builder::new(), vec![gauge.clone()], || 7);
        assert_eq!((done.expect("it is done"), gauge.get()), (7, 0));
    }

    #[test]
    fn a_stuck_thread_counts_until_its_closure_returns() {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let gauges = vec![Gauge::default(), Gauge::default()];
        let counted = || gauges.iter().map(Gauge::get).collect::<Vec<_>>();
        let timeout = Duration::from_millis(20);
        let hangs = move || may_go_on.recv().expect("it is told to go on");
        let result = run_with_timeout(timeout, thread::Builder::new(), gauges.clone(), hangs);
        assert_eq!(result.expect_err("it hangs").to_string(), "did not return within 20ms");
        assert_eq!(counted(), [1, 1]);
        go_on.send(()).expect("it waits");
        let end = Instant::now() + LONG;
        while counted() != [0, 0] {
            assert!(Instant::now() < end, "it is counted though it returned");
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_is_not_a_timeout() {
        let gauge = Gauge::default();
        let panics = || -> u8 { panic!("on purpose") };
        let result = run_with_timeout(LONG, thread::Builder::new(), vec![gauge.clone()], panics);
        assert!(matches!(result, Err(RunError::Panicked)), "{result:?}");
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn reports_that_the_system_gives_no_thread() {
        // No machine has that much memory for a stack.
        let thread = thread::Builder::new().stack_size(1 << 60);
        let error = run_with_timeout(LONG, thread, Vec::new(), || ()).expect_err("there is none");
        assert!(error.to_string().starts_with("was refused a thread by the system: "), "{error}");
    }
}

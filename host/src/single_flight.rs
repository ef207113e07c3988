//! Runs something expensive once at a time. Callers that arrive during a run share the next one.
//!
//! The caller passes the work as a closure. The host uses this module for reloads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// The runs of one kind of work. `R` is the reason for a run, `T` its result.
#[derive(Debug)]
pub(crate) struct SingleFlight<R, T> {
    state: Mutex<State<R, T>>,
    run_ended: Condvar,
}

#[derive(Debug)]
struct State<R, T> {
    begun: u64,
    ended: u64,
    /// The greatest reason of all callers that wait for the next run.
    reason: Option<R>,
    last: Option<Result<T, Panicked>>,
    waiting: usize,
}

/// A run that panicked. It left no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl<R, T> Default for SingleFlight<R, T> {
    fn default() -> Self {
        let state = State { begun: 0, ended: 0, reason: None, last: None, waiting: 0 };
        Self { state: Mutex::new(state), run_ended: Condvar::new() }
    }
}

impl<R: Copy + Ord, T: Clone> SingleFlight<R, T> {
    /// Returns the result of a run that begins after this call. The caller runs `work` itself, or shares
    /// the run of another caller that waited at the same time. `work` gets the greatest reason of all
    /// who share it.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if the work panicked. The next run is not affected.
    pub(crate) fn run(&self, reason: R, work: impl FnOnce(R) -> T) -> Result<T, Panicked> {
        let mut state = self.state();
        state.reason = state.reason.max(Some(reason));
        let wanted = state.begun + 1;
        while state.begun != state.ended {
            state.waiting += 1;
            state = self.run_ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
            // Another caller that waited was faster, and its run is over.
            if let Some(last) = state.last.as_ref().filter(|_| state.ended >= wanted) {
                return last.clone();
            }
        }
        state.begun += 1;
        let reason = state.reason.take().unwrap_or(reason);
        drop(state);
        let result = catch_unwind(AssertUnwindSafe(|| work(reason))).map_err(|_| Panicked);
        let mut state = self.state();
        state.ended = state.begun;
        state.last = Some(result.clone());
        drop(state);
        self.run_ended.notify_all();
        result
    }

    /// Returns the result of the last run, if there was one.
    pub(crate) fn last(&self) -> Option<Result<T, Panicked>> {
        self.state().last.clone()
    }

    /// Returns whether a run has begun and not ended.
    pub(crate) fn is_running(&self) -> bool {
        let state = self.state();
        state.begun != state.ended
    }

    fn state(&self) -> MutexGuard<'_, State<R, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        sync::mpsc,
        thread,
    };

    use super::*;

    #[test]
    fn callers_that_arrive_during_a_run_share_the_next() {
        let (flights, runs) = (SingleFlight::<u8, &str>::default(), AtomicUsize::new(0));
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let first = &flights;
            let first = scope.spawn(move || {
                first.run(1, |_| {
                    begun.send(()).expect("the test waits");
                    may_go_on.recv().expect("the test says so");
                    "first"
                })
            });
            has_begun.recv().expect("the first run begins");
            let join = |reason| {
                let (flights, runs) = (&flights, &runs);
                scope.spawn(move || {
                    flights.run(reason, |reason| {
                        assert_eq!(reason, 2, "the greatest reason of all who wait");
                        runs.fetch_add(1, Ordering::Relaxed);
                        "second"
                    })
                })
            };
            let others: Vec<_> = (0..10).map(|at| join(if at == 3 { 2 } else { 1 })).collect();
            while flights.state().waiting < 10 {
                thread::yield_now();
            }
            assert!(flights.is_running());
            go_on.send(()).expect("the first run waits");
            assert_eq!(first.join().expect("no panic"), Ok("first"));
            for other in others {
                assert_eq!(other.join().expect("no panic"), Ok("second"));
            }
        });
        assert_eq!(runs.into_inner(), 1);
        assert!(!flights.is_running());
    }

    #[test]
    fn a_run_that_panics_is_an_error_and_the_next_run_is_not_affected() {
        let flights = SingleFlight::<u8, ()>::default();
        assert_eq!(flights.last(), None);
        assert_eq!(flights.run(1, |_| panic!("on purpose")), Err(Panicked));
        assert_eq!(flights.last(), Some(Err(Panicked)));
        assert_eq!(flights.run(1, |_| ()), Ok(()));
        assert_eq!(flights.last(), Some(Ok(())));
    }
}

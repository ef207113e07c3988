//! Whose turn it is to reload: one at a time, and whoever asks meanwhile shares the one that begins
//! next.
//!
//! It knows nothing of what is reloaded.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{Cause, Reloaded};

/// The reloads of a host.
#[derive(Debug, Default)]
pub struct Turns {
    state: Mutex<State>,
    is_over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    ended: u64,
    /// The strongest reason of those who wait for the next.
    cause: Option<Cause>,
    /// What came of the last one.
    last: Option<Reloaded>,
    waiting: usize,
}

impl Turns {
    /// Has one reload begin and end after this call, by itself or by somebody who asked at the same
    /// time, and gives what came of it. One that panics is answered, too: whoever asked lives on.
    pub(super) fn take(&self, cause: Cause, reload: impl FnOnce(Cause) -> Reloaded) -> Reloaded {
        let mut state = self.state();
        state.cause = state.cause.max(Some(cause));
        let wanted = state.begun + 1;
        while state.begun != state.ended {
            state.waiting += 1;
            state = self.is_over.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
            // Somebody who waited, too, was faster, and it is over already.
            if let Some(last) = state.last.as_ref().filter(|_| state.ended >= wanted) {
                return last.clone();
            }
        }
        state.begun += 1;
        let cause = state.cause.take().unwrap_or(cause);
        drop(state);
        // It goes over to what is new at its end, in one step: whatever it left is as it was.
        let reloaded = catch_unwind(AssertUnwindSafe(|| reload(cause)));
        let reloaded = reloaded.unwrap_or_else(|_| {
            Err("the reload panicked; hint: report it, with what the log says".into())
        });
        let mut state = self.state();
        state.ended = state.begun;
        state.last = Some(reloaded.clone());
        drop(state);
        self.is_over.notify_all();
        reloaded
    }

    /// Why the last one changed nothing, if it did not.
    pub(super) fn problem(&self) -> Option<String> {
        self.state().last.as_ref()?.as_ref().err().cloned()
    }

    /// Whether one has begun and not ended.
    pub(crate) fn is_under_way(&self) -> bool {
        let state = self.state();
        state.begun != state.ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
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
    fn those_who_ask_during_a_reload_share_the_next() {
        let (turns, reloads) = (Turns::default(), AtomicUsize::new(0));
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let first = &turns;
            let first = scope.spawn(move || {
                first.take(Cause::Changed, |_| {
                    begun.send(()).expect("somebody waits");
                    may_go_on.recv().expect("it is told to go on");
                    Err("the first".into())
                })
            });
            has_begun.recv().expect("the first begins");
            let ask = |cause| {
                let (turns, reloads) = (&turns, &reloads);
                scope.spawn(move || {
                    turns.take(cause, |cause| {
                        assert_eq!(cause, Cause::Asked, "one of those who wait asked");
                        reloads.fetch_add(1, Ordering::Relaxed);
                        Ok(Vec::new())
                    })
                })
            };
            let others: Vec<_> = (0..10)
                .map(|at| ask(if at == 3 { Cause::Asked } else { Cause::Changed }))
                .collect();
            // All of them wait once the strongest reason is noted and nobody is left to note one.
            while turns.state().waiting < 10 {
                thread::yield_now();
            }
            assert!(turns.is_under_way());
            go_on.send(()).expect("the first waits");
            assert_eq!(first.join().expect("no panic"), Err("the first".into()));
            for other in others {
                assert_eq!(other.join().expect("no panic"), Ok(Vec::new()));
            }
        });
        assert_eq!(reloads.into_inner(), 1);
        assert!(!turns.is_under_way());
    }

    #[test]
    fn a_reload_that_panics_is_answered_and_does_not_hold_up_the_next() {
        let turns = Turns::default();
        let panicked = turns.take(Cause::Changed, |_| panic!("on purpose"));
        let problem = "the reload panicked; hint: report it, with what the log says";
        assert_eq!(panicked, Err(problem.to_owned()));
        assert_eq!(turns.problem().as_deref(), Some(problem), "it is shown like any other");
        assert_eq!(turns.take(Cause::Asked, |_| Ok(Vec::new())), Ok(Vec::new()));
        assert_eq!(turns.problem(), None);
    }
}

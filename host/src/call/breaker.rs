//! When a plugin that fails again and again is left alone, and for how long.
//!
//! It reads no clock: the time is given.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Failures within this time count together.
const WINDOW: Duration = Duration::from_secs(60);
/// So many of them, and the plugin is left alone.
const FAILURES: usize = 3;
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// A call that says nothing for so long is not waited for: the next one shows it.
const LONGEST_TRIAL: Duration = Duration::from_secs(10);
/// Until whoever is not let through should try again.
const NEXT_TRY: Duration = Duration::from_secs(1);

/// Counts failures and decides on back-offs, each twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: VecDeque<Instant>,
    open_until: Option<Instant>,
    /// Since when one call shows whether the plugin works again.
    on_trial_since: Option<Instant>,
    back_offs: u32,
    trips: u64,
}

/// Whether a plugin is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// It is.
    Closed,
    /// It failed too often, and is left alone for so long.
    Open(Duration),
    /// It is, one call at a time, after a back-off: a success closes the breaker, a failure opens it
    /// again.
    HalfOpen,
}

impl Breaker {
    /// How long the plugin is still left alone; none while it may be called.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        match self.state(now) {
            BreakerState::Open(left) => Some(left),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        }
    }

    /// Whether a call is let through; otherwise, when to try again. After a back-off one is, which
    /// shows whether the plugin works again.
    ///
    /// # Errors
    ///
    /// For how long the plugin is left alone.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state(now) {
            BreakerState::Closed => Ok(()),
            BreakerState::Open(left) => Err(left),
            BreakerState::HalfOpen => {
                let is_fresh =
                    |since: &Instant| now.saturating_duration_since(*since) < LONGEST_TRIAL;
                if self.on_trial_since.as_ref().is_some_and(is_fresh) {
                    return Err(NEXT_TRY);
                }
                self.on_trial_since = Some(now);
                Ok(())
            }
        }
    }

    /// Whether the plugin may be called, and why.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if until > now => BreakerState::Open(until - now),
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// How many failures count just now.
    pub(super) fn failures(&self, now: Instant) -> usize {
        self.failures.iter().filter(|failure| counts(**failure, now)).count()
    }

    /// How often a back-off was started.
    pub(super) fn trips(&self) -> u64 {
        self.trips
    }

    /// Whether a success would change anything.
    pub(super) fn is_calm(&self) -> bool {
        self.failures.is_empty() && self.back_offs == 0
    }

    /// A call failed. After a back-off, the first failure starts the next one. True if one starts.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let state = self.state(now);
        // A call that was under way when the back-off began says nothing new.
        if matches!(state, BreakerState::Open(_)) {
            return false;
        }
        self.on_trial_since = None;
        self.forget_old_failures(now);
        self.failures.push_back(now);
        let trips = self.failures.len() >= FAILURES || state == BreakerState::HalfOpen;
        if trips {
            let back_off = FIRST_BACK_OFF * 2_u32.saturating_pow(self.back_offs.min(10));
            self.open_until = Some(now + back_off.min(LONGEST_BACK_OFF));
            self.back_offs += 1;
            self.trips += 1;
        }
        trips
    }

    /// A call succeeded: after a back-off, the plugin is trusted again. Single failures between
    /// successes still count until they are a minute old. True if it ends the time of trial.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        let is_on_trial = self.state(now) == BreakerState::HalfOpen;
        if is_on_trial {
            *self = Self { trips: self.trips, ..Self::default() };
        }
        self.forget_old_failures(now);
        is_on_trial
    }

    fn forget_old_failures(&mut self, now: Instant) {
        self.failures.retain(|failure| counts(*failure, now));
    }
}

fn counts(failure: Instant, now: Instant) -> bool {
    now.saturating_duration_since(failure) <= WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn after_a_back_off_one_call_at_a_time_is_let_through() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert_eq!((breaker.admit(start), breaker.admit(start)), (Ok(()), Ok(())));
        assert_eq!([(); 3].map(|()| breaker.failed(start)), [false, false, true]);
        assert_eq!(breaker.admit(start + SECOND), Err(4 * SECOND));
        let later = start + 6 * SECOND;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), Err(SECOND));
        assert!(breaker.failed(later), "the next back-off");
        assert_eq!(breaker.admit(later), Err(10 * SECOND));
        let latest = later + 11 * SECOND;
        assert_eq!((breaker.admit(latest), breaker.admit(latest)), (Ok(()), Err(SECOND)));
        assert!(breaker.succeeded(latest));
        assert_eq!((breaker.admit(latest), breaker.admit(latest)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_trial_that_says_nothing_is_not_waited_for() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert_eq!([(); 3].map(|()| breaker.failed(start)), [false, false, true]);
        let later = start + 6 * SECOND;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later + 9 * SECOND), Err(SECOND));
        assert_eq!(breaker.admit(later + 10 * SECOND), Ok(()));
    }

    #[test]
    fn three_failures_in_a_minute_start_a_back_off() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start);
        breaker.failed(start + SECOND);
        assert_eq!(breaker.left(start + SECOND), None);
        breaker.failed(start + 2 * SECOND);
        assert_eq!(breaker.left(start + 3 * SECOND), Some(4 * SECOND));
        assert_eq!(breaker.left(start + 7 * SECOND), None);
    }

    #[test]
    fn rare_failures_do_not() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for minute in 0..100 {
            let now = start + minute * 31 * SECOND;
            breaker.failed(now);
            assert_eq!(breaker.left(now), None);
            breaker.succeeded(now);
        }
    }

    #[test]
    fn a_failure_after_a_back_off_starts_a_longer_one_up_to_five_minutes() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        breaker.failed(now);
        breaker.failed(now);
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            breaker.failed(now);
            assert_eq!(breaker.left(now), Some(seconds * SECOND));
            now += seconds * SECOND;
        }
        breaker.succeeded(now);
        breaker.failed(now);
        assert_eq!(breaker.left(now), None, "a success forgives");
    }

    #[test]
    fn it_opens_is_tried_and_closes() {
        use BreakerState::{Closed, HalfOpen, Open};

        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let seen = |breaker: &Breaker, after| {
            let now = start + after * SECOND;
            (breaker.state(now), breaker.failures(now), breaker.trips())
        };
        assert_eq!(seen(&breaker, 0), (Closed, 0, 0));
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert_eq!(seen(&breaker, 0), (Closed, 2, 0));
        assert!(breaker.failed(start));
        assert_eq!(seen(&breaker, 0), (Open(5 * SECOND), 3, 1));
        // What was under way meanwhile changes nothing.
        assert!(!breaker.failed(start + SECOND) && !breaker.succeeded(start + SECOND));
        assert_eq!(seen(&breaker, 1), (Open(4 * SECOND), 3, 1));
        assert_eq!(seen(&breaker, 5), (HalfOpen, 3, 1));
        assert!(breaker.failed(start + 6 * SECOND));
        assert_eq!(seen(&breaker, 6), (Open(10 * SECOND), 4, 2));
        assert_eq!(seen(&breaker, 63), (HalfOpen, 1, 2), "failures of a minute ago are forgotten");
        assert!(breaker.succeeded(start + 64 * SECOND));
        assert_eq!(seen(&breaker, 64), (Closed, 0, 2));
        assert!(breaker.is_calm());
    }
}

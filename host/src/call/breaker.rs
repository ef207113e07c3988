//! Circuit breaker: decides when a plugin that fails repeatedly is not called, and for how long.
//!
//! The breaker reads no clock: its caller gives the time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Failures within this time count together.
const WINDOW: Duration = Duration::from_secs(60);
/// The number of failures that opens the breaker.
const MOST_FAILURES: usize = 3;
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// The time after which the breaker no longer waits for the result of a half-open call, and admits the
/// next one.
const HALF_OPEN_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// `Retry-After` for requests that arrive while a half-open call runs.
const HALF_OPEN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Counter of failures that opens for a back-off, each twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: VecDeque<Instant>,
    open_until: Option<Instant>,
    /// The start of the half-open call.
    half_open_call_since: Option<Instant>,
    back_offs: u32,
    trips: u64,
}

/// State of the circuit breaker of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// The plugin is called.
    Closed,
    /// The plugin failed too often, and is not called for this long.
    Open(Duration),
    /// The plugin is called, one call at a time, after a back-off. A success closes the breaker, a
    /// failure opens it again.
    HalfOpen,
}

impl Breaker {
    /// Returns the rest of the back-off; none while the plugin may be called.
    pub(super) fn back_off(&self, now: Instant) -> Option<Duration> {
        match self.state(now) {
            BreakerState::Open(left) => Some(left),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        }
    }

    /// Admits a call. After a back-off only one call is admitted at a time, which shows whether the
    /// plugin works again.
    ///
    /// # Errors
    ///
    /// The time to wait before the next try.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state(now) {
            BreakerState::Closed => Ok(()),
            BreakerState::Open(left) => Err(left),
            BreakerState::HalfOpen => {
                let is_fresh = |since: &Instant| {
                    now.saturating_duration_since(*since) < HALF_OPEN_CALL_TIMEOUT
                };
                if self.half_open_call_since.as_ref().is_some_and(is_fresh) {
                    return Err(HALF_OPEN_RETRY_AFTER);
                }
                self.half_open_call_since = Some(now);
                Ok(())
            }
        }
    }

    /// Returns the [`BreakerState`] at a moment.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if until > now => BreakerState::Open(until - now),
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Returns the number of failures that count now.
    pub(super) fn failures(&self, now: Instant) -> usize {
        self.failures.iter().filter(|failure| counts(**failure, now)).count()
    }

    /// Returns how often a back-off was started.
    pub(super) fn trips(&self) -> u64 {
        self.trips
    }

    /// Returns whether a success would change nothing.
    pub(super) fn is_clear(&self) -> bool {
        self.failures.is_empty() && self.back_offs == 0
    }

    /// Counts a failure. After a back-off, the first failure starts the next back-off. Returns whether a
    /// back-off starts.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let state = self.state(now);
        // A call that was under way when the back-off began is not counted.
        if matches!(state, BreakerState::Open(_)) {
            return false;
        }
        self.half_open_call_since = None;
        self.forget_old_failures(now);
        self.failures.push_back(now);
        let trips = self.failures.len() >= MOST_FAILURES || state == BreakerState::HalfOpen;
        if trips {
            let back_off = FIRST_BACK_OFF * 2_u32.saturating_pow(self.back_offs.min(10));
            self.open_until = Some(now + back_off.min(LONGEST_BACK_OFF));
            self.back_offs += 1;
            self.trips += 1;
        }
        trips
    }

    /// Counts a success: after a back-off, the breaker closes. Otherwise single failures count until
    /// they are a minute old. Returns whether the breaker closes.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        let closes = self.state(now) == BreakerState::HalfOpen;
        if closes {
            *self = Self { trips: self.trips, ..Self::default() };
        }
        self.forget_old_failures(now);
        closes
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
    fn admits_one_call_at_a_time_after_a_back_off() {
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
    fn admits_the_next_call_if_a_half_open_call_has_no_result_in_time() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert_eq!([(); 3].map(|()| breaker.failed(start)), [false, false, true]);
        let later = start + 6 * SECOND;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later + 9 * SECOND), Err(SECOND));
        assert_eq!(breaker.admit(later + 10 * SECOND), Ok(()));
    }

    #[test]
    fn opens_after_three_failures_in_a_minute() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start);
        breaker.failed(start + SECOND);
        assert_eq!(breaker.back_off(start + SECOND), None);
        breaker.failed(start + 2 * SECOND);
        assert_eq!(breaker.back_off(start + 3 * SECOND), Some(4 * SECOND));
        assert_eq!(breaker.back_off(start + 7 * SECOND), None);
    }

    #[test]
    fn stays_closed_if_failures_are_rare() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for minute in 0..100 {
            let now = start + minute * 31 * SECOND;
            breaker.failed(now);
            assert_eq!(breaker.back_off(now), None);
            breaker.succeeded(now);
        }
    }

    #[test]
    fn each_back_off_is_twice_as_long_up_to_five_minutes() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        breaker.failed(now);
        breaker.failed(now);
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            breaker.failed(now);
            assert_eq!(breaker.back_off(now), Some(seconds * SECOND));
            now += seconds * SECOND;
        }
        breaker.succeeded(now);
        breaker.failed(now);
        assert_eq!(breaker.back_off(now), None, "a success clears the failures");
    }

    #[test]
    fn opens_becomes_half_open_and_closes() {
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
        // Calls that were under way meanwhile change nothing.
        assert!(!breaker.failed(start + SECOND) && !breaker.succeeded(start + SECOND));
        assert_eq!(seen(&breaker, 1), (Open(4 * SECOND), 3, 1));
        assert_eq!(seen(&breaker, 5), (HalfOpen, 3, 1));
        assert!(breaker.failed(start + 6 * SECOND));
        assert_eq!(seen(&breaker, 6), (Open(10 * SECOND), 4, 2));
        assert_eq!(seen(&breaker, 63), (HalfOpen, 1, 2), "failures of a minute ago are forgotten");
        assert!(breaker.succeeded(start + 64 * SECOND));
        assert_eq!(seen(&breaker, 64), (Closed, 0, 2));
        assert!(breaker.is_clear());
    }
}

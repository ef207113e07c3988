//! Time of the engine: the time of day, which never goes back.
//!
//! Delays are never measured here: tokio's monotonic time does that.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

/// Clock of the engine.
///
/// If the clock of the system jumps back, this clock continues, so that due times in the store keep their
/// distance from the present. If the clock of the system jumps forward, this clock follows.
#[derive(Clone)]
pub(super) struct Clock(Arc<Inner>);

struct Inner {
    system: Box<dyn Fn() -> Timestamp + Send + Sync>,
    last: Mutex<(Timestamp, Instant)>,
}

impl Clock {
    /// Creates a clock that follows the clock of the system.
    pub(super) fn of_system() -> Self {
        Self::following(Timestamp::now)
    }

    /// Creates a clock that follows another one.
    pub(super) fn following(system: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let last = Mutex::new((system(), Instant::now()));
        Self(Arc::new(Inner { system: Box::new(system), last }))
    }

    /// Returns the present time.
    pub(super) fn now(&self) -> Timestamp {
        let (system, instant) = ((self.0.system)(), Instant::now());
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = instant.saturating_duration_since(last.1);
        let now = system.max(later(last.0, passed));
        *last = (now, instant);
        now
    }

    /// Returns the time that the clock of the system shows, for signatures that others check.
    pub(super) fn time_of_day(&self) -> Timestamp {
        (self.0.system)()
    }

    /// Returns the instant at which this clock shows a time.
    pub(super) fn instant_of(&self, time: Timestamp) -> Instant {
        let left = Duration::try_from(time.duration_since(self.now())).unwrap_or_default();
        // A timer of tokio holds no longer delays, and a few hours later somebody looks again.
        Instant::now() + left.min(LONGEST_SLEEP)
    }
}

const LONGEST_SLEEP: Duration = Duration::from_secs(6 * 60 * 60);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// Returns a time that is later by a duration, or the end of time.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn continues_when_the_system_clock_jumps_back_and_follows_when_it_jumps_forward() {
        let system = Arc::new(AtomicI64::new(10_000));
        let shown = Arc::clone(&system);
        let clock = Clock::following(move || {
            Timestamp::from_second(shown.load(Ordering::Relaxed)).expect("a time")
        });
        let seconds = || clock.now().as_second();
        assert_eq!(seconds(), 10_000);
        system.store(6_400, Ordering::Relaxed);
        assert_eq!(seconds(), 10_000);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(seconds(), 10_030);
        assert_eq!(clock.time_of_day().as_second(), 6_400);
        system.store(20_000, Ordering::Relaxed);
        assert_eq!(seconds(), 20_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_has_passed_is_now_and_one_in_years_is_looked_at_again() {
        let clock = Clock::following(|| Timestamp::UNIX_EPOCH);
        assert_eq!(clock.instant_of(Timestamp::MIN), Instant::now());
        assert_eq!(clock.instant_of(Timestamp::MAX), Instant::now() + LONGEST_SLEEP);
        let soon = later(Timestamp::UNIX_EPOCH, Duration::from_secs(3));
        assert_eq!(clock.instant_of(soon), Instant::now() + Duration::from_secs(3));
        assert_eq!(later(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
    }
}

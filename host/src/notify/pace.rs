//! Pace of the attempts at one destination.
//!
//! A pace only says how many attempts may begin. The store keeps what waits.

use std::time::Duration;

use tokio::time::Instant;

/// Time for which attempts may begin together if the pause between them is shorter, since no timer is
/// precise enough to begin each by itself.
const TOGETHER: Duration = Duration::from_millis(50);

/// Pace of the attempts at one destination: one in each pause.
///
/// Attempts that were not made are not saved up, apart from those of [`TOGETHER`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pause: Duration,
    /// Time at which the next attempt would begin if all came exactly in their pauses.
    next: Instant,
}

impl Pace {
    /// Creates a pace with a pause between two attempts.
    pub(super) fn new(pause: Duration, now: Instant) -> Self {
        Self { pause, next: now }
    }

    /// Changes the pause. Attempts that were made still count.
    pub(super) fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Returns how many attempts may begin now, at most `most`.
    pub(super) fn available(&self, most: usize, now: Instant) -> usize {
        if self.pause.is_zero() {
            return most;
        }
        // The rest of the time together, in pauses.
        let ready_at = self.ready_at();
        if ready_at > now {
            return 0;
        }
        let behind = now.duration_since(ready_at).min(self.together());
        let more = behind.as_nanos() / self.pause.as_nanos();
        usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1).min(most)
    }

    /// Counts attempts that begin.
    pub(super) fn take(&mut self, count: usize, now: Instant) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.next = self.next.max(now) + self.pause.saturating_mul(count);
    }

    /// Returns the time from which an attempt may begin.
    pub(super) fn ready_at(&self) -> Instant {
        self.next.checked_sub(self.together()).unwrap_or(self.next)
    }

    /// Time by which attempts may begin early.
    fn together(&self) -> Duration {
        TOGETHER.saturating_sub(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_in(seconds: u64, pause: Duration, parallel: usize) -> usize {
        let start = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::new(pause, start);
        let mut made = 0;
        for millisecond in 0..seconds * 1000 {
            let now = start + Duration::from_millis(millisecond);
            let count = pace.available(parallel, now);
            pace.take(count, now);
            made += count;
        }
        made
    }

    #[test]
    fn one_attempt_a_second_is_one_attempt_a_second() {
        assert_eq!(made_in(10, Duration::from_secs(1), 8), 10);
        assert_eq!(made_in(10, Duration::from_millis(100), 8), 100);
    }

    #[test]
    fn a_high_rate_is_reached_and_not_exceeded() {
        let made = made_in(10, Duration::from_micros(500), 64);
        assert!((19_900..=20_100).contains(&made), "{made}");
    }

    #[test]
    fn nothing_is_saved_up_in_idle_hours() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::new(Duration::from_secs(1), start);
        let now = start + Duration::from_secs(3600);
        assert_eq!(pace.available(8, now), 1);
        pace.take(1, now);
        assert_eq!(pace.available(8, now), 0);
        assert_eq!(pace.ready_at(), now + Duration::from_secs(1));
        pace.set_pause(Duration::ZERO);
        assert_eq!(pace.available(8, now), 8);
    }
}

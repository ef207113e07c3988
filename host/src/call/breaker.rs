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

/// Counts failures and decides on back-offs, each twice as long as the one before.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: VecDeque<Instant>,
    open_until: Option<Instant>,
    back_offs: u32,
}

impl Breaker {
    /// How long the plugin is still left alone; none while it may be called.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let until = self.open_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Whether a success would change anything.
    pub fn is_calm(&self) -> bool {
        self.failures.is_empty() && self.back_offs == 0
    }

    /// A call failed. After a back-off, the first failure starts the next one.
    pub fn failed(&mut self, now: Instant) {
        // A call that was under way when the back-off began says nothing new.
        if self.left(now).is_some() {
            return;
        }
        while self.failures.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let on_probation = self.open_until.is_some();
        if self.failures.len() >= FAILURES || on_probation {
            let back_off = FIRST_BACK_OFF * 2_u32.saturating_pow(self.back_offs.min(10));
            self.open_until = Some(now + back_off.min(LONGEST_BACK_OFF));
            self.back_offs += 1;
            self.failures.clear();
        }
    }

    /// A call succeeded: after a back-off, the plugin is trusted again. Single failures between
    /// successes still count until they are a minute old.
    pub fn succeeded(&mut self, now: Instant) {
        if self.left(now).is_none() {
            self.open_until = None;
            self.back_offs = 0;
        }
        self.failures.retain(|failure| now.duration_since(*failure) <= WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
}

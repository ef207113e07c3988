//! Waiting times between the attempts of a delivery.
//!
//! The schedule counts attempts, not the time of day. A delivery that waited for a parked destination or
//! for a host that was off has as many attempts left as before.

use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;

use super::clock::later;
use crate::config::DeliveryConfig;

/// Longest time for which a `Retry-After` is obeyed.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest part by which a waiting time is longer or shorter than configured.
const JITTER: f64 = 0.2;

/// Waiting times between the attempts of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    waits: Vec<Duration>,
    give_up_after: Duration,
}

impl Schedule {
    /// Returns the schedule of a configuration.
    pub(super) fn of(config: &DeliveryConfig) -> Self {
        let waits = config.retry.iter().map(|wait| wait.0).collect();
        Self { waits, give_up_after: config.give_up_after.0 }
    }

    /// Returns the waiting time after the attempt with this number, which failed; none if it was the last
    /// one. `random` is from 0 to 1.
    pub(super) fn wait(&self, attempt: u32, random: f64) -> Option<Duration> {
        let waited = (1..attempt).map(|earlier| self.plain(earlier)).sum::<Duration>();
        let wait = self.plain(attempt);
        (waited + wait <= self.give_up_after)
            .then(|| wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0)))
    }

    /// Returns the longest time for which a delivery can wait for its next attempt.
    pub(super) fn longest_wait(&self) -> Duration {
        let longest = self.waits.iter().max().copied().unwrap_or(ONLY_WAIT);
        longest.mul_f64(1.0 + JITTER).max(LONGEST_RETRY_AFTER)
    }

    fn plain(&self, attempt: u32) -> Duration {
        let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.waits.get(place).or(self.waits.last());
        wait.copied().unwrap_or(ONLY_WAIT)
    }
}

/// Waiting time of a configuration that lists none.
const ONLY_WAIT: Duration = Duration::from_secs(60);

/// Returns the waiting time that a `Retry-After` asks for: seconds, or a date in one of the three forms of
/// HTTP. At most a day.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large for the type is longer than a day, too.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.as_millisecond()).unwrap_or_default());
    Some(date.saturating_sub(now).min(LONGEST_RETRY_AFTER))
}

/// Returns the time of the next attempt after a failed one; none if the failed one was the last.
///
/// `at_least` is the time for which the destination or the notifier asked. It never makes the wait
/// shorter.
pub(super) fn next_attempt(
    schedule: &Schedule,
    attempt: u32,
    at_least: Option<Duration>,
    random: f64,
    now: Timestamp,
) -> Option<Timestamp> {
    let wait = schedule.wait(attempt, random)?;
    Some(later(now, wait.max(at_least.unwrap_or_default().min(LONGEST_RETRY_AFTER))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;

    fn schedule() -> Schedule {
        Schedule::of(&DeliveryConfig::default())
    }

    fn seconds(wait: Option<Duration>) -> Option<u64> {
        wait.map(|wait| wait.as_millis() as u64 / 1000)
    }

    #[test]
    fn tries_as_configured_and_gives_up_after_about_three_days() {
        let schedule = schedule();
        let waits: Vec<_> =
            (1..).map_while(|attempt| seconds(schedule.wait(attempt, 0.5))).collect();
        let first = [5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR];
        assert_eq!(waits[..8], first);
        assert!(waits[8..].iter().all(|wait| *wait == 10 * HOUR), "{waits:?}");
        let whole: u64 = waits.iter().sum();
        assert!((62 * HOUR..=72 * HOUR).contains(&whole), "{whole}");
    }

    #[test]
    fn jitter_spreads_the_waits_by_a_fifth() {
        let wait = |random| schedule().wait(2, random);
        assert_eq!(wait(0.0), Some(Duration::from_secs(24)));
        assert_eq!(wait(1.0), Some(Duration::from_secs(36)));
        assert_eq!(schedule().longest_wait(), Duration::from_secs(24 * HOUR));
    }

    #[test]
    fn a_configuration_without_waits_tries_every_minute() {
        let empty = Schedule { waits: Vec::new(), give_up_after: Duration::from_secs(150) };
        assert_eq!(seconds(empty.wait(1, 0.5)), Some(60));
        assert_eq!(seconds(empty.wait(2, 0.5)), Some(60));
        assert_eq!(empty.wait(3, 0.5), None);
    }

    #[test]
    fn reads_retry_after_in_seconds_and_in_every_form_of_a_date() {
        let now = "1994-11-06T08:49:07Z".parse().expect("a time");
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("86399", Some(86_399)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994", None),
        ] {
            assert_eq!(seconds(retry_after(value, now)), expected, "{value}");
        }
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_in_full() {
        let next = |at_least| {
            let now = Timestamp::UNIX_EPOCH;
            next_attempt(&schedule(), 1, at_least, 0.5, now).map(Timestamp::as_second)
        };
        assert_eq!(next(None), Some(5));
        assert_eq!(next(Some(Duration::from_secs(2))), Some(5));
        assert_eq!(next(Some(Duration::from_secs(20 * HOUR))), Some(72_000));
        assert_eq!(next(Some(Duration::from_secs(u64::MAX))), Some(86_400));
        assert_eq!(next_attempt(&schedule(), 99, None, 0.5, Timestamp::UNIX_EPOCH), None);
    }
}

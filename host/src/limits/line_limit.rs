//! Limits a kind of log line to one a second, and counts the lines that are left out.
//!
//! Callers give the time and log the line; no clock is read here, and nothing is logged.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Least time between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Limit for one kind of log line.
#[derive(Debug, Default)]
pub(crate) struct LineLimit {
    last: Option<Instant>,
    left_out: u64,
}

impl LineLimit {
    /// Creates a limit that has seen no line yet.
    pub(crate) const fn new() -> Self {
        Self { last: None, left_out: 0 }
    }

    /// Returns the number of lines that were left out since the last one, if a line may be logged now.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        self.admit_after(PAUSE, now)
    }

    /// Does the same with another pause between two lines.
    pub(crate) fn admit_after(&mut self, pause: Duration, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < pause) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A [`LineLimit`] for each of several kinds of log line, by a name in the code.
#[derive(Debug, Default)]
pub(crate) struct LineLimits(Mutex<HashMap<&'static str, LineLimit>>);

impl LineLimits {
    /// Returns the number of lines of a kind that were left out since the last one, if a line may be logged
    /// now.
    pub(crate) fn admit(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry(kind).or_default().admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_one_line_a_second_and_counts_those_left_out() {
        let (mut lines, start) = (LineLimit::default(), Instant::now());
        let seen: Vec<_> = [0, 100, 999, 1000, 1001, 5000, 6000]
            .map(|ms| lines.admit(start + Duration::from_millis(ms)))
            .into();
        assert_eq!(seen, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}

//! One log line a second at the most, for each kind of line, and how many were left out.
//!
//! It reads no clock: the time is given. It logs nothing itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(1);

/// Decides which lines of a kind are logged.
#[derive(Debug, Default)]
pub(crate) struct LineLimit {
    last: Option<Instant>,
    left_out: u64,
}

impl LineLimit {
    /// A limit that has seen no line yet.
    pub(crate) const fn new() -> Self {
        Self { last: None, left_out: 0 }
    }

    /// Whether a line may be logged now; then, how many were left out since the last one.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Decides the same for lines of several kinds, which are names in the code.
#[derive(Debug, Default)]
pub(crate) struct LineLimits(Mutex<HashMap<&'static str, LineLimit>>);

impl LineLimits {
    /// Returns how many lines of a kind were left out, if one may be logged now.
    pub(crate) fn admit(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry(kind).or_default().admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let (mut lines, start) = (LineLimit::default(), Instant::now());
        let seen: Vec<_> = [0, 100, 999, 1000, 1001, 5000, 6000]
            .map(|ms| lines.admit(start + Duration::from_millis(ms)))
            .into();
        assert_eq!(seen, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}

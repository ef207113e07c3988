//! Moments of a request on its way through the host, for its trace.
//!
//! Code on the way notes a moment only if the request has a timeline; other requests cost no reading of the
//! clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A moment of a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The host begins to read the body.
    ReadBegan,
    /// The body was read, or the request was refused.
    ReadEnded,
    /// The call of the plugin waits for a thread.
    CallBegan,
    /// The plugin begins with the request.
    Called,
    /// The call has ended.
    Judged,
    /// The store has the request.
    Submitted,
    /// The transaction begins.
    WriteBegan,
    /// The transaction is written, and not yet on disk.
    Written,
    /// The transaction is on disk.
    Synced,
    /// The store has answered.
    Committed,
}

impl Moment {
    const COUNT: usize = Self::Committed as usize + 1;
}

/// [Moments](Moment) of one request, shared by the threads that work on it.
#[derive(Debug)]
pub struct Timeline {
    began: Instant,
    /// Nanoseconds since `began`, and 1 more: 0 stands for a moment that was not noted.
    moments: [AtomicU64; Moment::COUNT],
}

impl Timeline {
    /// Creates a timeline that begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), moments: Default::default() }
    }

    /// Notes that a moment is now.
    pub fn note(&self, moment: Moment) {
        self.note_at(moment, Instant::now());
    }

    /// Notes the time of a moment. A moment that is noted again has the later time.
    pub fn note_at(&self, moment: Moment, at: Instant) {
        let since = at.saturating_duration_since(self.began).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
        self.moments[moment as usize].store(since + 1, Ordering::Release);
    }

    /// Notes the time of a moment, unless it was noted before.
    pub fn note_first(&self, moment: Moment, at: Instant) {
        if self.at(moment).is_none() {
            self.note_at(moment, at);
        }
    }

    /// Returns the time from the beginning to a moment; none if the moment was not noted.
    pub fn at(&self, moment: Moment) -> Option<Duration> {
        let noted = self.moments[moment as usize].load(Ordering::Acquire);
        noted.checked_sub(1).map(Duration::from_nanos)
    }

    /// Returns the beginning.
    #[cfg(test)]
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Returns the time from the beginning until now.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_the_time_that_was_noted_last_or_first() {
        let timeline = Timeline::begin();
        let after = |milliseconds| timeline.began + Duration::from_millis(milliseconds);
        assert_eq!(timeline.at(Moment::Written), None);
        timeline.note_at(Moment::Written, after(0));
        assert_eq!(timeline.at(Moment::Written), Some(Duration::ZERO));
        timeline.note_at(Moment::Written, after(3));
        timeline.note_first(Moment::Written, after(5));
        assert_eq!(timeline.at(Moment::Written), Some(Duration::from_millis(3)));
        timeline.note_first(Moment::WriteBegan, after(1));
        assert_eq!(timeline.at(Moment::WriteBegan), Some(Duration::from_millis(1)));
        assert_eq!(timeline.at(Moment::Synced), None);
    }
}

//! Failures in a row at one destination, to notice when it works again.

use std::collections::HashSet;

use jiff::Timestamp;
use ulid::Ulid;

/// Largest number of deliveries that are remembered.
const MOST_REMEMBERED: usize = 1000;

/// Failures in a row at one destination.
///
/// If an attempt succeeds after failures of other deliveries, the destination works again, and waiting
/// deliveries need not wait for their next turn. Failures before the start of the host are not known, so
/// the first success counts as one after failures. A delivery that fails alone while others succeed is
/// brought forward once at most.
#[derive(Debug, Default)]
pub(super) struct Streak {
    since: Option<(Timestamp, String)>,
    failed: HashSet<Ulid>,
    /// Deliveries that were brought forward and may have failed again.
    brought_forward: HashSet<Ulid>,
    has_delivered: bool,
}

impl Streak {
    /// Counts a failed attempt.
    pub(super) fn failed(&mut self, id: Ulid, reason: &str, now: Timestamp) {
        let since = self.since.as_ref().map_or(now, |(since, _)| *since);
        self.since = Some((since, reason.to_owned()));
        if self.failed.len() < MOST_REMEMBERED {
            self.failed.insert(id);
        }
    }

    /// Counts a delivered one. Returns true if deliveries that wait should be brought forward.
    pub(super) fn delivered(&mut self, id: Ulid) -> bool {
        self.since = None;
        self.failed.remove(&id);
        let is_new = self.failed.iter().any(|failed| !self.brought_forward.contains(failed));
        if self.brought_forward.len() >= MOST_REMEMBERED {
            self.brought_forward.clear();
        }
        self.brought_forward.extend(self.failed.drain());
        is_new || !std::mem::replace(&mut self.has_delivered, true)
    }

    /// Returns the time of the first failure since the last success, and the last reason.
    pub(super) fn failing_since(&self) -> Option<(Timestamp, &str)> {
        self.since.as_ref().map(|(since, reason)| (*since, &**reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_works_again_is_noticed_once() {
        let (mut streak, now) = (Streak::default(), Timestamp::UNIX_EPOCH);
        let ids = [1, 2, 3].map(|id| Ulid::from(id as u128));
        assert!(streak.delivered(ids[0]), "something may have failed before the host was started");
        assert!(!streak.delivered(ids[0]), "nothing failed");
        streak.failed(ids[0], "refused", now);
        streak.failed(ids[1], "still refused", now);
        assert_eq!(streak.failing_since(), Some((now, "still refused")));
        assert!(streak.delivered(ids[0]));
        assert_eq!(streak.failing_since(), None);
        assert!(!streak.delivered(ids[1]));
    }

    #[test]
    fn a_delivery_that_fails_by_itself_is_not_brought_forward_with_every_success() {
        let (mut streak, now) = (Streak::default(), Timestamp::UNIX_EPOCH);
        let [poison, fine] = [1, 2].map(|id| Ulid::from(id as u128));
        streak.delivered(fine);
        streak.failed(poison, "500", now);
        assert!(streak.delivered(fine));
        for _ in 0..5 {
            streak.failed(poison, "500", now);
            assert!(!streak.delivered(fine));
        }
    }

    #[test]
    fn an_only_delivery_that_fails_and_then_succeeds_brings_nothing_forward() {
        let (mut streak, now) = (Streak::default(), Timestamp::UNIX_EPOCH);
        streak.delivered(Ulid::from(2u128));
        streak.failed(Ulid::from(1u128), "500", now);
        assert!(!streak.delivered(Ulid::from(1u128)));
    }
}

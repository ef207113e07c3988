//! Pauses of the router between two looks at the feed.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which a change counts for `1/e` of a new one.
const MEMORY: Duration = Duration::from_secs(1);
/// Pause for each change of the last second. At 1,000 changes a second, the router looks ten times a second.
const FOR_EACH: Duration = Duration::from_micros(100);
/// Longest pause.
const LONGEST: Duration = Duration::from_millis(250);
/// Pause after a full page while changes arrive, as a multiple of the time that the page took.
const AFTER_FULL_PAGE: u32 = 4;

/// Decides how long the router rests.
///
/// Each look at the feed costs reads and a transaction, however few changes it finds, and webhooks wait for
/// the disk meanwhile. A host at rest tells destinations of a change at once. The more changes arrive, the
/// longer the router waits for further ones, up to [`LONGEST`]. If even a page is too small for all of them,
/// the host is at its limit: the router then works for a fifth of the time, and the rest of the time belongs to
/// the webhooks. Once no more changes arrive, the router reads what is left without a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// Number of changes, old ones counted less.
    recent: f64,
    at: Instant,
}

/// A page of changes that was routed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Number of changes.
    pub count: usize,
    /// True if the page has no room for more.
    pub is_full: bool,
    /// Time from the look at the feed until everything was recorded.
    pub took: Duration,
    /// True if more changes were made in this time.
    pub more_arrived: bool,
}

impl Rest {
    pub(super) fn new(now: Instant) -> Self {
        Self { recent: 0.0, at: now }
    }

    /// Returns the pause after a page of changes.
    pub(super) fn after(&mut self, page: Page, now: Instant) -> Duration {
        let Page { count, is_full, took, more_arrived } = page;
        let age = now.saturating_duration_since(self.at).div_duration_f64(MEMORY);
        // A page holds at most some thousand changes.
        let count = u32::try_from(count).map_or(f64::MAX, f64::from);
        self.recent = self.recent * (-age).exp() + count;
        self.at = now;
        if is_full {
            return if more_arrived {
                (took * AFTER_FULL_PAGE).min(LONGEST)
            } else {
                Duration::ZERO
            };
        }
        FOR_EACH.mul_f64(self.recent.min(LONGEST.div_duration_f64(FOR_EACH)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_TOOK: Duration = Duration::from_millis(2);

    fn page(count: usize) -> Page {
        Page { count, is_full: false, took: PAGE_TOOK, more_arrived: true }
    }

    /// Returns the last pause after pages that follow each other at this rate of changes.
    fn steady(rate: f64, full_at: usize) -> Duration {
        let mut now = Instant::now();
        let mut rest = Rest::new(now);
        let mut pause = Duration::ZERO;
        for _ in 0..1000 {
            let since = pause + PAGE_TOOK;
            now += since;
            let count = ((rate * since.as_secs_f64()) as usize).clamp(1, full_at);
            pause = rest.after(Page { is_full: count == full_at, ..page(count) }, now);
        }
        pause
    }

    #[test]
    fn a_host_at_rest_is_routed_at_once() {
        let now = Instant::now();
        let mut rest = Rest::new(now);
        for change in 0..20 {
            let pause = rest.after(page(1), now + Duration::from_millis(change));
            assert!(pause <= FOR_EACH * 20, "{pause:?} after {change} changes");
        }
    }

    #[test]
    fn the_pause_grows_with_the_rate_of_changes() {
        let pauses = [50.0, 500.0, 1000.0, 2000.0].map(|rate| steady(rate, 1000).as_millis());
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert!((3..=12).contains(&pauses[0]) && (90..=130).contains(&pauses[2]), "{pauses:?}");
        assert!(steady(1.0e9, usize::MAX) <= LONGEST);
    }

    #[test]
    fn most_of_the_time_belongs_to_the_webhooks_when_pages_are_full() {
        assert_eq!(steady(1.0e6, 1000), PAGE_TOOK * AFTER_FULL_PAGE);
        let (now, full) = (Instant::now(), Page { is_full: true, ..page(1000) });
        let mut rest = Rest::new(now);
        assert_eq!(rest.after(Page { took: LONGEST, ..full }, now), LONGEST);
        assert_eq!(rest.after(Page { more_arrived: false, ..full }, now), Duration::ZERO);
    }

    #[test]
    fn a_storm_is_forgotten() {
        let now = Instant::now();
        let mut rest = Rest::new(now);
        assert_eq!(rest.after(page(5000), now), LONGEST);
        let pause = rest.after(page(1), now + MEMORY * 10);
        assert!(pause < FOR_EACH * 2, "{pause:?}");
    }
}

//! What a store has to do from time to time, in parts so small that nobody waits for them.
//!
//! When each is due is for [`crate::housekeeping`] to say.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

/// A part of what has to be done from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HousekeepingStep {
    /// What.
    pub task: HousekeepingTask,
    /// How many alerts, records or requests at most.
    pub limit: usize,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HousekeepingProgress {
    /// How many alerts, records or requests it concerned.
    pub count: usize,
    /// Whether there may be more of them: the same step goes on where this one ended.
    pub more: bool,
}

impl HousekeepingProgress {
    /// Where as many were found as were allowed, there may be more.
    pub fn of(count: usize, limit: usize) -> Self {
        Self { count, more: count == limit }
    }
}

/// What has to be done from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HousekeepingTask {
    /// Resolve alerts of which nothing was heard for as long as their integration says.
    ResolveDue {
        /// What time it is.
        now: Timestamp,
    },
    /// Have the open alerts of an integration resolve by themselves after another time than before,
    /// or not at all. Alerts opened from now on have it from the request that opens them.
    ResolveAfter {
        /// The integration.
        integration: Arc<str>,
        /// After how long.
        after: Option<Duration>,
    },
    /// Forget the oldest.
    Forget {
        /// Of what.
        what: Forgettable,
        /// Only what is older than that.
        before: Option<Timestamp>,
    },
}

/// What can be forgotten. What is open is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forgettable {
    /// Requests as they came that wait for nothing.
    RawRequests,
    /// Those that wait for a replay.
    Quarantine,
    /// The records of requests, with the requests themselves.
    Records,
    /// Resolved alerts with their history. That their events were seen is not forgotten.
    ResolvedAlerts,
}

//! Recurring tasks of a store, in steps so small that no request waits for them.
//!
//! [`crate::housekeeping`] decides when each task is due.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

/// One step of a [`HousekeepingTask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HousekeepingStep {
    /// The task.
    pub task: HousekeepingTask,
    /// Largest number of alerts, records, requests, deliveries or entries that the step may change.
    pub limit: usize,
}

/// Progress that a [`HousekeepingStep`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HousekeepingProgress {
    /// Number of alerts, records, requests, deliveries or entries that were changed.
    pub count: usize,
    /// True if there may be more. The next step of the same task continues where this one ended.
    pub more: bool,
}

impl HousekeepingProgress {
    /// Returns the progress of a step that found `count`. If the step found as many as it was allowed,
    /// there may be more.
    pub fn of(count: usize, limit: usize) -> Self {
        Self { count, more: count == limit }
    }
}

/// Recurring task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HousekeepingTask {
    /// Resolves alerts that were not reported for as long as their integration allows.
    ResolveDue {
        /// The present time.
        now: Timestamp,
    },
    /// Gives the open alerts of an integration another time of their automatic resolve, or none. Later
    /// alerts get it from the request that opens them.
    ResolveAfter {
        /// Name of the integration.
        integration: Arc<str>,
        /// Time without another report after which alerts resolve; none if they never do.
        after: Option<Duration>,
    },
    /// Deletes the oldest data of a kind.
    Forget {
        /// The kind.
        what: Forgettable,
        /// Time before which data is deleted; none for any age.
        before: Option<Timestamp>,
    },
}

/// Kind of data that can be deleted. Open alerts are never deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forgettable {
    /// Kept requests that do not wait for a replay.
    RawRequests,
    /// Kept requests that wait for a replay.
    Quarantine,
    /// Records of requests, with the kept requests.
    Records,
    /// Resolved alerts with their history, and what belongs to them: timers, facts, values of notifiers
    /// and delivered deliveries. Alerts with deliveries that wait stay. Event ids of deleted alerts
    /// still count as seen.
    ResolvedAlerts,
    /// Delivered deliveries with their attempts, facts, and silences that have ended. Deliveries that
    /// wait and dead ones stay.
    Deliveries,
    /// Entries of the audit.
    Audit,
}

impl Forgettable {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::RawRequests,
        Self::Quarantine,
        Self::Records,
        Self::ResolvedAlerts,
        Self::Deliveries,
        Self::Audit,
    ];

    /// Returns the name in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RawRequests => "raw_requests",
            Self::Quarantine => "quarantine",
            Self::Records => "records",
            Self::ResolvedAlerts => "resolved_alerts",
            Self::Deliveries => "deliveries",
            Self::Audit => "audit",
        }
    }
}

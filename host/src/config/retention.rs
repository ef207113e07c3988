//! `[retention]`: how long anything is kept.

use serde::Deserialize;

use super::LongDuration;

/// `[retention]`: how long anything is kept. What is open is kept always.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Resolved alerts with their history, since their last change. Default: for good.
    pub resolved_alerts: Option<LongDuration>,
    /// The records of requests. Default `90d`.
    pub records: LongDuration,
    /// Requests as they came. Default `30d`.
    pub raw_requests: LongDuration,
    /// What all of it may take, in bytes: above it, the oldest leave, first requests as they came,
    /// then those that wait for a replay, then records, then resolved alerts. Default: no limit.
    pub max_store_bytes: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            resolved_alerts: None,
            records: LongDuration::days(90),
            raw_requests: LongDuration::days(30),
            max_store_bytes: None,
        }
    }
}

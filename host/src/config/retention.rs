//! `[retention]`: ages and sizes above which stored data is deleted.

use serde::Deserialize;

use super::LongDuration;

/// `[retention]`: ages and sizes above which [`housekeeping`](crate::housekeeping) deletes stored data.
/// Alerts that are not resolved stay.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// Age of a resolved alert since its last change, at which it is deleted with its history. Default:
    /// never.
    pub resolved_alerts: Option<LongDuration>,
    /// Age at which the record of a request is deleted. Default `90d`.
    pub records: LongDuration,
    /// Age at which headers and body of a request are deleted. Default `30d`.
    pub raw_requests: LongDuration,
    /// Time after which delivered deliveries are deleted, and the recorded reasons why a destination was
    /// not told. Default `30d`.
    pub deliveries: LongDuration,
    /// Age at which an entry of the audit is deleted. Default `365d`.
    pub audit: LongDuration,
    /// Largest size of the stored data, in bytes. Above it, the oldest are deleted: first headers and
    /// bodies of requests, then requests that wait for a replay, then records, then delivered
    /// deliveries, then resolved alerts, then entries of the audit. Default: no limit.
    pub max_store_bytes: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            resolved_alerts: None,
            records: LongDuration::days(90),
            raw_requests: LongDuration::days(30),
            deliveries: LongDuration::days(30),
            audit: LongDuration::days(365),
            max_store_bytes: None,
        }
    }
}

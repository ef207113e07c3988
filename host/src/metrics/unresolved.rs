//! Gauges of alerts that are not resolved, by status and urgency.
//!
//! [`housekeeping`](crate::housekeeping) counts them.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tocsin_plugin_api::Urgency;

use crate::alert::Status;

/// Gauges of alerts that are not resolved.
#[derive(Debug)]
pub(crate) struct UnresolvedMetrics(Family<Labels, Gauge>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    status: &'static str,
    urgency: &'static str,
}

impl Default for UnresolvedMetrics {
    fn default() -> Self {
        let metrics = Self(Family::default());
        metrics.set(|_, _| 0);
        metrics
    }
}

impl UnresolvedMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Alerts that are not resolved, counted every few seconds";
        registry.register("unresolved_alerts", help, self.0.clone());
    }

    /// Sets every gauge to the number of alerts with its status and urgency.
    pub(crate) fn set(&self, count: impl Fn(Status, Urgency) -> u64) {
        for status in Status::ALL.into_iter().filter(|status| *status != Status::Resolved) {
            for urgency in Urgency::ALL {
                let labels = Labels { status: status.as_str(), urgency: urgency.as_str() };
                let count = i64::try_from(count(status, urgency)).unwrap_or(i64::MAX);
                self.0.get_or_create(&labels).set(count);
            }
        }
    }
}

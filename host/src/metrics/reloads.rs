//! Metrics of the last reload, named as those of Prometheus and Alertmanager.

use jiff::Timestamp;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// Metrics of the last reload. The start of the host counts as one that succeeded.
#[derive(Debug)]
pub(crate) struct ReloadMetrics {
    successful: Gauge,
    succeeded_at: Gauge,
}

impl Default for ReloadMetrics {
    fn default() -> Self {
        let metrics = Self { successful: Gauge::default(), succeeded_at: Gauge::default() };
        metrics.ended(true, Timestamp::now());
        metrics
    }
}

impl ReloadMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "1 if the last reload succeeded, else 0";
        registry.register("config_last_reload_successful", help, self.successful.clone());
        let help = "Time of the last reload that succeeded, in seconds since 1970";
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            help,
            self.succeeded_at.clone(),
        );
    }

    /// Notes the end of a reload.
    pub(crate) fn ended(&self, has_succeeded: bool, now: Timestamp) {
        self.successful.set(has_succeeded.into());
        if has_succeeded {
            self.succeeded_at.set(now.as_second());
        }
    }
}

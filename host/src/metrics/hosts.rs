//! Gauges of the hosts that share a store.
//!
//! [`hosts`](crate::hosts) sets them with each report of this host.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// Gauges of the hosts that share a store.
#[derive(Debug)]
pub(crate) struct HostMetrics {
    hosts: Family<StateLabels, Gauge>,
    differences: Gauge,
    duties: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl Default for HostMetrics {
    fn default() -> Self {
        let metrics = Self {
            hosts: Family::default(),
            differences: Gauge::default(),
            duties: Gauge::default(),
        };
        // Every state is shown from the start.
        ["alive", "silent", "stopped"].into_iter().for_each(|state| metrics.count(state, 0));
        metrics
    }
}

impl HostMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Hosts on the store of this host, by state";
        registry.register("hosts", help, self.hosts.clone());
        let help =
            "Differences between hosts on the same store that have lasted for more than a minute";
        registry.register("host_differences", help, self.differences.clone());
        let help =
            "Duties that this host holds: housekeeping, routing, and one for each destination";
        registry.register("duties_held", help, self.duties.clone());
    }

    /// Sets the number of hosts in a state.
    pub(crate) fn count(&self, state: &'static str, hosts: usize) {
        let hosts = i64::try_from(hosts).unwrap_or(i64::MAX);
        self.hosts.get_or_create(&StateLabels { state }).set(hosts);
    }

    /// Sets the number of differences that have lasted for too long.
    pub(crate) fn differ(&self, differences: usize) {
        self.differences.set(i64::try_from(differences).unwrap_or(i64::MAX));
    }

    /// Sets the number of duties of this host.
    pub(crate) fn hold(&self, duties: usize) {
        self.duties.set(i64::try_from(duties).unwrap_or(i64::MAX));
    }
}

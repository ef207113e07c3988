//! What the host counts, in Prometheus' terms.
//!
//! Whoever counts holds its counters: nothing is looked up by label on the way of a request.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::alert::PluginId;

/// Everything that the host counts.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Of the store.
    pub store: Arc<StoreMetrics>,
    /// Of the calls into plugins.
    pub calls: Arc<CallMetrics>,
    /// Open connections to the webhook listener.
    pub connections: Gauge,
    requests: Family<RequestLabels, Counter>,
    call_seconds: Family<PluginLabels, Histogram, fn() -> Histogram>,
    panics: Family<PluginLabels, Counter>,
    deadlines: Family<PluginLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    integration: String,
    plugin: String,
    version: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    integration: String,
    plugin: String,
    version: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tocsin");
        let requests = Family::default();
        registry.register("requests", "Webhook requests by what came of them", requests.clone());
        let call_seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-6, 4.0, 12)));
        registry.register("plugin_call_seconds", "Time in the plugin", call_seconds.clone());
        let panics = Family::default();
        registry.register("plugin_panics", "Calls in which a plugin panicked", panics.clone());
        let deadlines = Family::default();
        let help = "Calls of a plugin that were given up at the deadline";
        registry.register("plugin_deadlines", help, deadlines.clone());
        let connections = Gauge::default();
        let help = "Open connections to the webhook listener";
        registry.register("connections", help, connections.clone());
        let store = Arc::new(StoreMetrics::default());
        store.register(&mut registry);
        let calls = Arc::new(CallMetrics::default());
        calls.register(&mut registry);
        let registry = Mutex::new(registry);
        Self { registry, store, calls, connections, requests, call_seconds, panics, deadlines }
    }

    /// The counters of one integration with one plugin.
    pub fn integration(&self, name: &str, plugin: &PluginId) -> IntegrationMetrics {
        let outcome = |outcome| {
            self.requests.get_or_create_owned(&RequestLabels {
                integration: name.into(),
                plugin: plugin.name.clone(),
                version: plugin.version.clone(),
                outcome,
            })
        };
        let labels = PluginLabels {
            integration: name.into(),
            plugin: plugin.name.clone(),
            version: plugin.version.clone(),
        };
        IntegrationMetrics {
            events: outcome("events"),
            ignored: outcome("ignored"),
            unauthorized: outcome("unauthorized"),
            malformed: outcome("malformed"),
            failed: outcome("failed"),
            call_seconds: self.call_seconds.get_or_create_owned(&labels),
            panics: self.panics.get_or_create_owned(&labels),
            deadlines: self.deadlines.get_or_create_owned(&labels),
        }
    }

    /// All counters in Prometheus' text format, `OpenMetrics` flavour.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

/// The counters of one integration with one plugin.
#[derive(Debug)]
pub struct IntegrationMetrics {
    /// Requests that became events.
    pub events: Counter,
    /// Genuine requests without an alert.
    pub ignored: Counter,
    /// Requests of who they should not be from.
    pub unauthorized: Counter,
    /// Requests that make no sense.
    pub malformed: Counter,
    /// Requests that the plugin or the store failed on.
    pub failed: Counter,
    /// Time in the plugin.
    pub call_seconds: Histogram,
    /// Calls that panicked.
    pub panics: Counter,
    /// Calls that were given up.
    pub deadlines: Counter,
}

/// The counters of the threads that call plugins.
#[derive(Debug, Default)]
pub struct CallMetrics {
    /// Threads that serve calls.
    pub threads: Gauge,
    /// Threads left behind in calls that did not return.
    pub stuck_threads: Gauge,
}

impl CallMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("call_threads", "Threads that call plugins", self.threads.clone());
        let help = "Threads left behind in calls that did not return";
        registry.register("stuck_threads", help, self.stuck_threads.clone());
    }
}

/// The counters of the store.
#[derive(Debug)]
pub struct StoreMetrics {
    commit_seconds: Histogram,
    batch_size: Histogram,
    failures: Counter,
    /// What it takes on disk; set when the metrics are asked for.
    pub size_bytes: Gauge,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(exponential_buckets(1e-4, 2.0, 14)),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            failures: Counter::default(),
            size_bytes: Gauge::default(),
        }
    }
}

impl StoreMetrics {
    /// A commit of that many submissions took that long.
    pub fn committed(&self, submissions: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_size.observe(submissions as f64);
    }

    /// A commit failed.
    pub fn failed(&self) {
        self.failures.inc();
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Time of a commit with its sync";
        registry.register("commit_seconds", help, self.commit_seconds.clone());
        let help = "Submissions that shared a commit";
        registry.register("commit_batch_size", help, self.batch_size.clone());
        registry.register("commit_failures", "Commits that failed", self.failures.clone());
        let help = "What the store takes on disk";
        registry.register("store_size_bytes", help, self.size_bytes.clone());
    }
}

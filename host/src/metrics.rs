//! Counters, gauges and histograms of the host, for Prometheus.
//!
//! Code that counts holds its own counters, so that no request pays for a look-up by label.

pub(crate) mod database;
mod format;
mod hosts;
mod process;
mod refusals;
mod reloads;
mod traces;
mod unresolved;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use jiff::Timestamp;

use self::{
    database::DatabaseMetrics, hosts::HostMetrics, process::ProcessMetrics,
    refusals::RefusalMetrics, reloads::ReloadMetrics, unresolved::UnresolvedMetrics,
};
pub(crate) use self::{
    format::TextFormat,
    traces::{Dropped, TraceMetrics},
};
use crate::{
    alert::PluginId,
    delivery::{AttemptResult, DestinationState},
    limits::reached::LimitsReached,
    request::{Quarantined, RequestOutcome},
};

/// All metrics of the host. [`encode`](Self::encode) gives their text.
pub(crate) struct Metrics {
    exposed: Mutex<Exposed>,
    /// Counters of limits that were reached.
    pub limits: Arc<LimitsReached>,
    /// Metrics of the [`store`](crate::store).
    pub store: Arc<StoreMetrics>,
    /// Metrics of the [threads that call plugins](crate::call).
    pub calls: Arc<CallMetrics>,
    /// Metrics of the [delivery engine](crate::notify).
    pub deliveries: Arc<DeliveryMetrics>,
    /// Metrics of the TLS of the listeners.
    pub tls: TlsMetrics,
    /// Counters of the spans of [traces](crate::traces).
    pub traces: Arc<TraceMetrics>,
    /// Open connections to the webhook listener.
    pub connections: Gauge,
    /// Open connections to the admin listener.
    pub admin_connections: Gauge,
    /// Log lines that were dropped. Updated when the metrics are requested.
    pub lost_log_lines: Counter,
    /// Counters of refused webhooks.
    pub refusals: RefusalMetrics,
    /// Metrics of the last [reload](crate::reload).
    pub reloads: ReloadMetrics,
    /// Gauges of the hosts that share a store.
    pub hosts: HostMetrics,
    /// Gauges of alerts that are not resolved.
    pub unresolved: UnresolvedMetrics,
    families: Families,
}

struct Exposed {
    registry: Registry,
    /// Label sets in the registry. A set of nothing in force has the time since when.
    label_sets: HashMap<PluginLabels, Option<Instant>>,
}

/// Metrics by [`PluginLabels`]: integration or destination, plugin and version.
struct Families {
    requests: Family<RequestLabels, Counter>,
    template_errors: Family<PluginLabels, Counter>,
    call_seconds: Family<PluginLabels, Histogram, fn() -> Histogram>,
    slow_calls: Family<PluginLabels, Counter>,
    panics: Family<PluginLabels, Counter>,
    deadlines: Family<PluginLabels, Counter>,
    stuck_threads: Family<PluginLabels, Gauge>,
    breaker_open: Family<PluginLabels, Gauge>,
    breaker_trips: Family<PluginLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    plugin_api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    #[prometheus(flatten)]
    owner: Owner,
    plugin: String,
    version: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    #[prometheus(flatten)]
    owner: Owner,
    plugin: String,
    version: String,
}

/// The part of the configuration that uses a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// The integration with this name.
    Integration(String),
    /// The destination with this name.
    Destination(String),
}

impl EncodeLabelSet for Owner {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let label = match self {
            Self::Integration(name) => ("integration", name.as_str()),
            Self::Destination(name) => ("destination", name.as_str()),
        };
        label.encode(encoder.encode_label())
    }
}

/// Time after which metrics of an integration or a version that is no longer in force are removed, so that
/// upgrades do not leave more and more of them. Prometheus has scraped their last values by then.
const KEPT: Duration = Duration::from_secs(60 * 60);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates all metrics at zero.
    pub(crate) fn new() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(ProcessMetrics::new()));
        let registry = all.sub_registry_with_prefix("tocsin");
        register_build_info(registry);
        let families = Families::register(registry);
        let refusals = RefusalMetrics::default();
        refusals.register(registry);
        let connections = Gauge::default();
        let help = "Open connections to the webhook listener";
        registry.register("connections", help, connections.clone());
        let admin_connections = Gauge::default();
        let help = "Open connections to the admin listener";
        registry.register("admin_connections", help, admin_connections.clone());
        let tls = TlsMetrics::default();
        tls.register(registry);
        let lost_log_lines = Counter::default();
        let help = "Log lines that were dropped because standard error could not be written";
        registry.register("log_lines_lost", help, lost_log_lines.clone());
        let limits = Arc::<LimitsReached>::default();
        limits.register(registry);
        let store =
            Arc::new(StoreMetrics { limits: Arc::clone(&limits), ..StoreMetrics::default() });
        store.register(registry);
        let hosts = HostMetrics::default();
        hosts.register(registry);
        let unresolved = UnresolvedMetrics::default();
        unresolved.register(registry);
        let calls = Arc::new(CallMetrics { limits: Arc::clone(&limits), ..CallMetrics::default() });
        calls.register(registry);
        let deliveries = Arc::<DeliveryMetrics>::default();
        deliveries.register(registry);
        let reloads = ReloadMetrics::default();
        reloads.register(registry);
        let traces = Arc::<TraceMetrics>::default();
        traces.register(registry);
        let exposed = Mutex::new(Exposed { registry: all, label_sets: HashMap::new() });
        Self {
            exposed,
            limits,
            store,
            calls,
            deliveries,
            tls,
            traces,
            connections,
            admin_connections,
            lost_log_lines,
            refusals,
            reloads,
            hosts,
            unresolved,
            families,
        }
    }

    /// Returns the [`IntegrationMetrics`] of one integration with one version of its plugin.
    pub(crate) fn integration(&self, name: &str, plugin: &PluginId) -> IntegrationMetrics {
        let labels = self.labels(Owner::Integration(name.into()), plugin);
        self.store.expect(name);
        IntegrationMetrics {
            requests: OUTCOMES
                .map(|outcome| self.families.requests.get_or_create_owned(&labels.with(outcome))),
            template_errors: self.families.template_errors.get_or_create_owned(&labels),
            plugin: Arc::new(self.families.of(labels)),
        }
    }

    /// Returns the [`PluginMetrics`] of one destination with one version of its plugin.
    pub(crate) fn destination(&self, name: &str, plugin: &PluginId) -> PluginMetrics {
        self.families.of(self.labels(Owner::Destination(name.into()), plugin))
    }

    /// Adds a label set to those that are shown.
    fn labels(&self, owner: Owner, plugin: &PluginId) -> PluginLabels {
        let PluginId { name, version } = plugin.clone();
        let labels = PluginLabels { owner, plugin: name, version };
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.label_sets.insert(labels.clone(), None);
        labels
    }

    /// Returns all metrics in a [`TextFormat`]. `in_force` has the [`PluginMetrics`] of every integration and
    /// destination in force, with true if its breaker is open, or `None` if it has no breaker.
    pub(crate) fn encode<'m>(
        &self,
        format: TextFormat,
        in_force: impl IntoIterator<Item = (&'m PluginMetrics, Option<bool>)>,
    ) -> String {
        format.write(self.encode_at(Instant::now(), in_force))
    }

    fn encode_at<'m>(
        &self,
        now: Instant,
        in_force: impl IntoIterator<Item = (&'m PluginMetrics, Option<bool>)>,
    ) -> String {
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut in_use = HashSet::new();
        // A breaker closes by itself in time, and that of a replaced version no longer matters.
        self.families.breaker_open.clear();
        for (metrics, is_open) in in_force {
            in_use.insert(&metrics.labels);
            if let Some(is_open) = is_open {
                self.families.breaker_open.get_or_create(&metrics.labels).set(is_open.into());
            }
        }
        exposed.label_sets.retain(|labels, unused_since| {
            if in_use.contains(labels) || self.families.has_stuck_threads(labels) {
                *unused_since = None;
                return true;
            }
            let unused_since = *unused_since.get_or_insert(now);
            let is_kept = now.saturating_duration_since(unused_since) < KEPT;
            if !is_kept {
                self.families.remove(labels);
            }
            is_kept
        });
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &exposed.registry);
        text
    }
}

/// Adds a metric whose labels say which host runs.
fn register_build_info(registry: &mut Registry) {
    let labels =
        BuildLabels { version: env!("CARGO_PKG_VERSION"), plugin_api: tocsin_plugin_api::VERSION };
    let info = Family::<BuildLabels, Gauge>::default();
    info.get_or_create(&labels).set(1);
    registry.register("build_info", "1, with the version of the host", info);
}

/// Every [`RequestOutcome`], in the order of the counters.
const OUTCOMES: [RequestOutcome; 7] = RequestOutcome::ALL;

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register("requests", "Webhook requests by outcome", requests.clone());
        let template_errors = Family::default();
        let help = "Titles and descriptions whose template failed, so that the plugin's were used";
        registry.register("template_errors", help, template_errors.clone());
        let call_seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-6, 4.0, 12)));
        registry.register("plugin_call_seconds", "Time in the plugin", call_seconds.clone());
        let slow_calls = Family::default();
        let help = "Calls of a plugin that returned, but took as long as `slow_call` or longer";
        registry.register("plugin_slow_calls", help, slow_calls.clone());
        let panics = Family::default();
        registry.register("plugin_panics", "Calls in which a plugin panicked", panics.clone());
        let deadlines = Family::default();
        let help = "Calls of a plugin that reached their deadline";
        registry.register("plugin_deadlines", help, deadlines.clone());
        let stuck_threads = Family::default();
        let help = "Threads stuck in calls of a plugin that did not return";
        registry.register("plugin_stuck_threads", help, stuck_threads.clone());
        let breaker_open = Family::default();
        let help = "1 while calls of a plugin are refused because it failed repeatedly";
        registry.register("plugin_breaker_open", help, breaker_open.clone());
        let breaker_trips = Family::default();
        let help = "Times that a breaker opened because a plugin failed repeatedly";
        registry.register("plugin_breaker_trips", help, breaker_trips.clone());
        Self {
            requests,
            template_errors,
            call_seconds,
            slow_calls,
            panics,
            deadlines,
            stuck_threads,
            breaker_open,
            breaker_trips,
        }
    }

    fn of(&self, labels: PluginLabels) -> PluginMetrics {
        PluginMetrics {
            call_seconds: self.call_seconds.get_or_create_owned(&labels),
            slow_calls: self.slow_calls.get_or_create_owned(&labels),
            panics: self.panics.get_or_create_owned(&labels),
            deadlines: self.deadlines.get_or_create_owned(&labels),
            stuck_threads: self.stuck_threads.get_or_create_owned(&labels),
            breaker_trips: self.breaker_trips.get_or_create_owned(&labels),
            labels,
        }
    }

    fn has_stuck_threads(&self, labels: &PluginLabels) -> bool {
        self.stuck_threads.get(labels).is_some_and(|threads| threads.get() != 0)
    }

    fn remove(&self, labels: &PluginLabels) {
        for outcome in OUTCOMES {
            self.requests.remove(&labels.with(outcome));
        }
        self.call_seconds.remove(labels);
        self.stuck_threads.remove(labels);
        for counters in [
            &self.template_errors,
            &self.slow_calls,
            &self.panics,
            &self.deadlines,
            &self.breaker_trips,
        ] {
            counters.remove(labels);
        }
    }
}

impl PluginLabels {
    fn with(&self, outcome: RequestOutcome) -> RequestLabels {
        let Self { owner, plugin, version } = self.clone();
        let outcome = outcome.as_str();
        RequestLabels { owner, plugin, version, outcome }
    }
}

/// Metrics of one integration with one version of its plugin.
#[derive(Debug)]
pub(crate) struct IntegrationMetrics {
    /// Requests by outcome, in the order of [`RequestOutcome::ALL`].
    requests: [Counter; 7],
    /// Titles and descriptions whose template failed.
    pub template_errors: Counter,
    /// Metrics of the calls of the plugin.
    pub plugin: Arc<PluginMetrics>,
}

/// Metrics of the calls of one version of a plugin for one integration or destination.
#[derive(Debug)]
pub(crate) struct PluginMetrics {
    /// Time in the plugin.
    pub call_seconds: Histogram,
    /// Calls that returned, but took as long as `plugins.slow_call` or longer.
    pub slow_calls: Counter,
    /// Calls that panicked.
    pub panics: Counter,
    /// Calls that reached their deadline.
    pub deadlines: Counter,
    /// Threads stuck in calls that did not return, including those before the last reload.
    pub stuck_threads: Gauge,
    /// Times that the breaker opened.
    pub breaker_trips: Counter,
    labels: PluginLabels,
}

impl PluginMetrics {
    /// Returns the integration or the destination that uses the plugin.
    pub(crate) fn owner(&self) -> &Owner {
        &self.labels.owner
    }
}

impl Owner {
    /// Returns the name, if an integration uses the plugin.
    pub(crate) fn integration(&self) -> Option<&str> {
        match self {
            Self::Integration(name) => Some(name),
            Self::Destination(_) => None,
        }
    }

    /// Returns the name, if a destination uses the plugin.
    pub(crate) fn destination(&self) -> Option<&str> {
        match self {
            Self::Integration(_) => None,
            Self::Destination(name) => Some(name),
        }
    }
}

impl IntegrationMetrics {
    /// Counts a request with this [`RequestOutcome`].
    pub(crate) fn count(&self, outcome: RequestOutcome) {
        for (known, counter) in OUTCOMES.iter().zip(&self.requests) {
            if *known == outcome {
                counter.inc();
            }
        }
    }
}

/// Metrics of the TLS of the listeners.
#[derive(Debug, Default)]
pub(crate) struct TlsMetrics {
    expires: Family<ListenerLabel, Gauge>,
    failed_handshakes: Family<ListenerLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

impl TlsMetrics {
    fn register(&self, registry: &mut Registry) {
        let help = "Time at which the certificate of a listener expires, in seconds since 1970";
        registry.register("tls_certificate_expiry_timestamp_seconds", help, self.expires.clone());
        let help = "TLS handshakes with a listener that failed";
        registry.register("tls_handshakes_failed", help, self.failed_handshakes.clone());
    }

    /// Returns the counter of handshakes with a listener that failed.
    pub(crate) fn failed_handshakes(&self, listener: &'static str) -> Counter {
        self.failed_handshakes.get_or_create_owned(&ListenerLabel { listener })
    }

    /// Sets the time at which the certificate of each listener with TLS expires.
    pub(crate) fn survey(&self, certificates: impl Iterator<Item = (&'static str, Timestamp)>) {
        self.expires.clear();
        for (listener, expires_at) in certificates {
            self.expires.get_or_create(&ListenerLabel { listener }).set(expires_at.as_second());
        }
    }
}

/// Metrics of the threads that [call](crate::call) plugins.
#[derive(Debug, Default)]
pub(crate) struct CallMetrics {
    /// Threads that call plugins.
    pub threads: Gauge,
    /// Threads stuck in calls that did not return.
    pub stuck_threads: Gauge,
    /// Counters of limits, for the system's limit on threads.
    pub limits: Arc<LimitsReached>,
}

impl CallMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("call_threads", "Threads that call plugins", self.threads.clone());
        let help = "Threads stuck in calls that did not return";
        registry.register("stuck_threads", help, self.stuck_threads.clone());
    }
}

/// Metrics of the [delivery engine](crate::notify).
#[derive(Debug)]
pub(crate) struct DeliveryMetrics {
    attempts: Family<AttemptLabels, Counter>,
    seconds: Family<DestinationLabel, Histogram, fn() -> Histogram>,
    waiting: Family<DestinationLabel, Gauge>,
    dead: Family<DestinationLabel, Gauge>,
    parked: Family<DestinationLabel, Gauge>,
    oldest_waiting: Family<DestinationLabel, Gauge>,
    routing_lag: Histogram,
    /// Destinations that have the gauges.
    surveyed: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    destination: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabel {
    destination: String,
}

impl Default for DeliveryMetrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            // From 5 ms to three days.
            seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 4.0, 13))
            }),
            waiting: Family::default(),
            dead: Family::default(),
            parked: Family::default(),
            oldest_waiting: Family::default(),
            routing_lag: Histogram::new(exponential_buckets(0.001, 4.0, 10)),
            surveyed: Mutex::default(),
        }
    }
}

impl DeliveryMetrics {
    fn register(&self, registry: &mut Registry) {
        let help = "Attempts to deliver, by result";
        registry.register("delivery_attempts", help, self.attempts.clone());
        let help = "Time from a change of an alert until the destination has the news";
        registry.register("delivery_seconds", help, self.seconds.clone());
        registry.register("deliveries_waiting", "Deliveries that wait", self.waiting.clone());
        let help = "Deliveries that were given up and not retried or discarded since";
        registry.register("deliveries_dead", help, self.dead.clone());
        let help = "1 while nothing is sent to a destination before an operator changes something";
        registry.register("destination_parked", help, self.parked.clone());
        let help = "Seconds since the change that the oldest waiting delivery is about";
        registry.register("delivery_oldest_waiting_seconds", help, self.oldest_waiting.clone());
        let help = "Time from a change of an alert until it is decided who is told";
        registry.register("routing_lag_seconds", help, self.routing_lag.clone());
    }

    /// Returns the [`DestinationMetrics`] of one destination.
    pub(crate) fn destination(&self, name: &str) -> DestinationMetrics {
        let attempts = AttemptResult::ALL.map(|result| {
            let (destination, result) = (name.to_owned(), result.as_str());
            self.attempts.get_or_create_owned(&AttemptLabels { destination, result })
        });
        let label = DestinationLabel { destination: name.to_owned() };
        DestinationMetrics { attempts, seconds: self.seconds.get_or_create_owned(&label) }
    }

    /// Notes the time from a change until it was decided who is told.
    pub(crate) fn routed(&self, lag: Duration) {
        self.routing_lag.observe(lag.as_secs_f64());
    }

    /// Notes the numbers of all destinations: those with a state in the store, and those `in_force`.
    pub(crate) fn survey<'n>(
        &self,
        in_force: impl IntoIterator<Item = &'n str>,
        states: &[DestinationState],
        now: Timestamp,
    ) {
        let mut unstored: BTreeSet<_> = in_force.into_iter().map(str::to_owned).collect();
        let mut next = unstored.clone();
        for state in states {
            unstored.remove(&state.name);
            next.insert(state.name.clone());
            let age = state.oldest_waiting.map_or(0, |oldest| now.duration_since(oldest).as_secs());
            let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
            let (waiting, dead) = (count(state.waiting), count(state.dead));
            self.set(&state.name, [waiting, dead, state.parked.is_some().into(), age.max(0)]);
        }
        for name in unstored {
            self.set(&name, [0; 4]);
        }
        let mut surveyed = self.surveyed.lock().unwrap_or_else(PoisonError::into_inner);
        for destination in surveyed.difference(&next).cloned() {
            let label = DestinationLabel { destination };
            for family in self.gauges() {
                family.remove(&label);
            }
        }
        *surveyed = next;
    }

    fn set(&self, destination: &str, values: [i64; 4]) {
        let label = DestinationLabel { destination: destination.to_owned() };
        for (family, value) in self.gauges().into_iter().zip(values) {
            family.get_or_create(&label).set(value);
        }
    }

    fn gauges(&self) -> [&Family<DestinationLabel, Gauge>; 4] {
        [&self.waiting, &self.dead, &self.parked, &self.oldest_waiting]
    }
}

/// Metrics of the deliveries to one destination.
#[derive(Debug)]
pub(crate) struct DestinationMetrics {
    /// Attempts by result, in the order of [`AttemptResult::ALL`].
    attempts: [Counter; 5],
    seconds: Histogram,
}

impl DestinationMetrics {
    /// Counts an attempt with this [`AttemptResult`].
    pub(crate) fn count(&self, result: AttemptResult) {
        for (known, counter) in AttemptResult::ALL.iter().zip(&self.attempts) {
            if *known == result {
                counter.inc();
            }
        }
    }

    /// Notes the time from a change until the destination has the news.
    pub(crate) fn delivered_after(&self, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
    }
}

/// Metrics of the [`store`](crate::store).
#[derive(Debug)]
pub struct StoreMetrics {
    /// Counters of limits that were reached.
    pub limits: Arc<LimitsReached>,
    /// Metrics of a database server.
    pub database: DatabaseMetrics,
    commit_seconds: Histogram,
    batch_size: Histogram,
    failures: Counter,
    /// Size on disk, in bytes. Updated when the metrics are requested.
    pub size_bytes: Gauge,
    /// Size of the stored data, in bytes. Updated by [`housekeeping`](crate::housekeeping).
    pub used_bytes: Gauge,
    /// 1 if the store accepts no data until a restart.
    pub is_lost: Gauge,
    quarantined: Family<QuarantineLabels, Gauge>,
    pushed_out: Family<QuarantineLabels, Counter>,
    forgotten: Family<ForgottenLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuarantineLabels {
    integration: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForgottenLabels {
    what: &'static str,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            limits: Arc::default(),
            database: DatabaseMetrics::default(),
            commit_seconds: Histogram::new(exponential_buckets(1e-4, 2.0, 14)),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            failures: Counter::default(),
            size_bytes: Gauge::default(),
            used_bytes: Gauge::default(),
            is_lost: Gauge::default(),
            quarantined: Family::default(),
            pushed_out: Family::default(),
            forgotten: Family::default(),
        }
    }
}

impl StoreMetrics {
    /// Counts a commit of that many submissions, and the time that it took.
    pub fn committed(&self, submissions: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_size.observe(submissions as f64);
    }

    /// Counts a commit that failed.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// Shows the numbers of an integration although none of its requests has waited for a replay yet.
    fn expect(&self, integration: &str) {
        let labels = QuarantineLabels { integration: integration.to_owned() };
        drop(self.quarantined.get_or_create(&labels));
        drop(self.pushed_out.get_or_create(&labels));
    }

    /// Sets the numbers of [`Quarantined`] requests, which wait for a replay. Updated when the metrics are
    /// requested.
    pub fn waiting(&self, quarantined: &[Quarantined]) {
        for Quarantined { integration, count, pushed_out, .. } in quarantined {
            let labels = QuarantineLabels { integration: integration.clone() };
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.quarantined.get_or_create(&labels).set(count);
            let counter = self.pushed_out.get_or_create(&labels);
            counter.inc_by(pushed_out.saturating_sub(counter.get()));
        }
    }

    /// Counts alerts, records or requests that were deleted because of their age or size.
    pub fn forgot(&self, what: &'static str, count: usize) {
        self.forgotten.get_or_create(&ForgottenLabels { what }).inc_by(count as u64);
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Requests that wait for a replay because a plugin failed on them";
        registry.register("quarantined_requests", help, self.quarantined.clone());
        let help = "Requests that waited for a replay and were dropped for newer ones";
        registry.register("quarantine_pushed_out", help, self.pushed_out.clone());
        let help = "Alerts, records and requests that were deleted because of their age or size";
        registry.register("forgotten", help, self.forgotten.clone());
        let help = "Time of a commit including its sync";
        registry.register("commit_seconds", help, self.commit_seconds.clone());
        let help = "Submissions in one commit";
        registry.register("commit_batch_size", help, self.batch_size.clone());
        registry.register("commit_failures", "Commits that failed", self.failures.clone());
        let help = "Size of the store on disk";
        registry.register("store_size_bytes", help, self.size_bytes.clone());
        let help = "Size of the stored data, which `retention.max_store_bytes` bounds";
        registry.register("store_used_bytes", help, self.used_bytes.clone());
        let help = "1 if the disk failed or a file of the store was removed or replaced, so that \
                    nothing is stored until a restart";
        registry.register("store_lost", help, self.is_lost.clone());
        self.database.register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(version: &str) -> PluginId {
        PluginId { name: "demo".into(), version: version.into() }
    }

    #[test]
    fn removes_metrics_an_hour_after_their_integration_is_no_longer_in_force() {
        let (metrics, start) = (Metrics::new(), Instant::now());
        let (old, new) =
            (metrics.integration("ops", &id("1")), metrics.integration("ops", &id("2")));
        old.count(RequestOutcome::Events);
        old.plugin.stuck_threads.inc();
        let shown = |minutes: u64| {
            let now = start + Duration::from_secs(60 * minutes);
            let text = metrics.encode_at(now, [(&*new.plugin, Some(false))]);
            ["version=\"1\"", "version=\"2\""].map(|version| text.contains(version))
        };
        assert_eq!(shown(0), [true, true]);
        assert_eq!(shown(70), [true, true], "its threads are still there");
        old.plugin.stuck_threads.dec();
        assert_eq!(shown(80), [true, true]);
        assert_eq!(shown(139), [true, true]);
        assert_eq!(shown(140), [false, true]);
        // The old values were removed: a new integration of that name starts at zero.
        metrics.integration("ops", &id("1"));
        let text = metrics.encode_at(start, [(&*new.plugin, None)]);
        assert!(text.contains("version=\"1\",outcome=\"events\"} 0"), "{text}");
    }

    #[test]
    fn shows_the_present_state_of_a_breaker() {
        let metrics = Metrics::new();
        let ops = metrics.integration("ops", &id("1"));
        let line = |is_open| {
            let text = metrics.encode(TextFormat::OpenMetrics, [(&*ops.plugin, is_open)]);
            let open = text.lines().filter(|line| line.starts_with("tocsin_plugin_breaker_open{"));
            open.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(line(Some(true)), ["1"]);
        assert_eq!(line(Some(false)), ["0"]);
        assert_eq!(line(None), [""; 0], "no plugin, no breaker");
    }
}

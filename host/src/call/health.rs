//! The failures of a plugin in one integration or destination: counted, logged, and judged by the circuit breaker.
//!
//! Nothing here calls the plugin.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{Timestamp, Unit};
use ulid::Ulid;

use super::breaker::{Breaker, BreakerState};
use crate::{
    alert::PluginId, events::bounded_reason, limits::line_limit::LineLimit, metrics::PluginMetrics,
    printable::one_line, problem::Problem,
};

/// The health of a plugin in one integration or destination, see [`Caller::health`](super::Caller::health).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerHealth {
    /// The reason why the plugin cannot be called now; none while it serves.
    pub problem: Option<Problem>,
    /// The last failure of a plugin that serves again.
    pub last_failure: Option<Problem>,
}

/// The state of the circuit breaker of a plugin in one integration or destination, see
/// [`Caller::breaker`](super::Caller::breaker).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerReport {
    /// The state of the breaker.
    pub state: BreakerState,
    /// The time of the next call; none while the plugin is called.
    pub retry_at: Option<Timestamp>,
    /// The number of failures within the last minute.
    pub failures: usize,
    /// The number of times that the breaker opened since the integration or destination was last set up.
    pub trips: u64,
}

/// The failures of a plugin in one integration or destination, its counters, and its log lines.
pub(super) struct Health {
    plugin: Arc<PluginId>,
    pub(super) metrics: Arc<PluginMetrics>,
    /// True if `failures` holds anything that a success changes. Spares every call the lock.
    has_failed: AtomicBool,
    failures: Mutex<Failures>,
    slow_lines: Mutex<LineLimit>,
}

/// The cause of a call, for log lines.
#[derive(Clone, Copy, Debug)]
pub(super) enum CallCause {
    /// The start of the plugin, or a question about itself.
    Start,
    /// The request with this id.
    Request(Ulid),
    /// The delivery with this id.
    Delivery(Ulid),
}

impl CallCause {
    fn request(self) -> Option<Ulid> {
        if let Self::Request(id) = self { Some(id) } else { None }
    }

    fn delivery(self) -> Option<Ulid> {
        if let Self::Delivery(id) = self { Some(id) } else { None }
    }
}

#[derive(Default)]
struct Failures {
    breaker: Breaker,
    last: Option<(String, Timestamp)>,
    /// True if the last instance could not be made.
    has_no_instance: bool,
}

impl Health {
    pub(super) fn new(plugin: Arc<PluginId>, metrics: Arc<PluginMetrics>) -> Self {
        Self {
            plugin,
            metrics,
            has_failed: AtomicBool::new(false),
            failures: Mutex::default(),
            slow_lines: Mutex::default(),
        }
    }

    /// Admits a call, see [`Breaker::admit`]; otherwise returns how long to wait before the next try.
    /// After a back-off the breaker admits one call at a time.
    pub(super) fn admit(&self) -> Result<(), Duration> {
        if !self.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.failures().breaker.admit(Instant::now())
    }

    /// Returns the rest of a [back-off](Breaker::back_off), if there is one.
    pub(super) fn back_off(&self) -> Option<Duration> {
        if !self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        self.failures().breaker.back_off(Instant::now())
    }

    /// Counts a call that returned an outcome.
    pub(super) fn succeeded(&self) {
        if self.has_failed.load(Ordering::Acquire) {
            let mut failures = self.failures();
            if failures.breaker.succeeded(Instant::now()) {
                let (plugin, owner) = (&self.plugin, self.metrics.owner());
                tracing::info!(
                    event = "plugin_recovered",
                    integration = owner.integration(),
                    destination = owner.destination(),
                    %plugin,
                    "a plugin that was not called after repeated failures serves again",
                );
            }
            failures.has_no_instance = false;
            self.has_failed.store(!failures.breaker.is_clear(), Ordering::Release);
        }
    }

    /// Counts a failure, of a call or of a start. `what` is the end of a sentence that starts with the
    /// plugin.
    pub(super) fn failed(&self, what: &str, cause: CallCause) {
        let (plugin, owner) = (&self.plugin, self.metrics.owner());
        let what = shown(what);
        let mut failures = self.failures();
        if failures.breaker.failed(Instant::now()) {
            self.metrics.breaker_trips.inc();
        }
        failures.last = Some((what.clone(), Timestamp::now()));
        self.has_failed.store(true, Ordering::Release);
        let backs_off = failures.breaker.back_off(Instant::now()).is_some();
        tracing::error!(
            event = "plugin_failed",
            request_id = cause.request().map(tracing::field::display),
            delivery_id = cause.delivery().map(tracing::field::display),
            integration = owner.integration(),
            destination = owner.destination(),
            %plugin,
            what,
            backs_off,
            "a plugin failed",
        );
    }

    /// Counts a failure to [make an instance](super::RunnablePlugin::instance): without one the plugin
    /// does not serve.
    pub(super) fn failed_without_instance(&self, what: &str, cause: CallCause) {
        self.failures().has_no_instance = true;
        self.failed(what, cause);
    }

    /// Counts a panic in the destructor of an instance. The breaker does not count it: no request
    /// suffered.
    pub(super) fn panicked_in_destructor(&self, error: &dyn std::fmt::Display) {
        self.metrics.panics.inc();
        let what = format!("{error} in its destructor");
        tracing::error!(
            event = "plugin_failed",
            plugin = %self.plugin,
            what,
            "a plugin failed",
        );
        self.failures().last = Some((shown(&what), Timestamp::now()));
    }

    /// Counts and logs a slow call.
    #[cold]
    pub(super) fn was_slow(&self, cause: CallCause, took: Duration) {
        self.metrics.slow_calls.inc();
        let admitted =
            self.slow_lines.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        let Some(left_out) = admitted else { return };
        let PluginId { name, version } = &*self.plugin;
        let owner = self.metrics.owner();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            event = "plugin_slow",
            request_id = cause.request().map(tracing::field::display),
            delivery_id = cause.delivery().map(tracing::field::display),
            integration = owner.integration(),
            destination = owner.destination(),
            plugin = name,
            version,
            took_ms,
            left_out,
            "a plugin was slow",
        );
    }

    /// Reports the health. A plugin without an instance serves if the last instance could be made.
    pub(super) fn report(&self, has_instance: bool) -> CallerHealth {
        let failures = self.failures();
        let Some((what, at)) = &failures.last else { return CallerHealth::default() };
        let PluginId { name, version } = &*self.plugin;
        let state = match failures.breaker.state(Instant::now()) {
            BreakerState::Closed => "",
            BreakerState::HalfOpen => "; it was not called for a while and is now tried again",
            BreakerState::Open(left) => {
                &format!("; it is not called for another {} s", left.as_secs() + 1)
            }
        };
        let message = format!("plugin `{name} {version}` {what}, at {at:.0}{state}");
        let problem = Problem::new("plugin-failed", message)
            .with_hint("report it to the plugin's author, or drop in another version");
        let has_no_instance = !has_instance && failures.has_no_instance;
        if failures.breaker.back_off(Instant::now()).is_some() || has_no_instance {
            CallerHealth { problem: Some(problem), last_failure: None }
        } else {
            CallerHealth { problem: None, last_failure: Some(problem) }
        }
    }

    /// Reports the state of the breaker.
    pub(super) fn breaker(&self) -> BreakerReport {
        let (failures, now) = (self.failures(), Instant::now());
        let state = failures.breaker.state(now);
        let retry_at = match state {
            BreakerState::Open(left) => {
                let at = Timestamp::now() + left;
                Some(at.round(Unit::Second).unwrap_or(at))
            }
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        let (recent, trips) = (failures.breaker.failures(now), failures.breaker.trips());
        BreakerReport { state, retry_at, failures: recent, trips }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a plugin's text about a failure on one line, and bounds its length.
fn shown(what: &str) -> String {
    bounded_reason(one_line(what).into_owned())
}

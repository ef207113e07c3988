//! The instance of a plugin in one integration or destination: made from the options, and replaced if it failed.
//!
//! An instance that panicked or did not return is not used again: the next call makes a new one.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::gauge::Gauge;
use tocsin_plugin_api::{
    OptionsError, Request,
    abi::{CallError, NewInstanceError},
    manifest,
    request::Header,
};

use super::{
    CallFailure, CallLimits, CallOutcome, CallResult, IncomingRequest,
    health::{CallCause, Health},
    notifier::{NotifierInput, NotifierResult},
    pool::{Expired, Work},
    runtime::{PluginInstance, RunnablePlugin},
};
use crate::{
    metrics::PluginMetrics,
    system::timeout::{RunError, run_with_timeout},
};

/// Failure to make the first [instance](RunnablePlugin::instance) of a plugin.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The plugin refused its options: the operator has to correct them.
    Refused(OptionsError),
    /// The plugin failed.
    Failed(CallError),
    /// The plugin did not return in time.
    TimedOut(Duration),
    /// The system refused a thread. Another try may succeed.
    NoThread(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused its options: {error}"),
            Self::Failed(error) => write!(f, "{error} while it was started"),
            Self::TimedOut(timeout) => write!(f, "did not start within {timeout:?}"),
            Self::NoThread(error) => write!(f, "could not be started: it {error}"),
        }
    }
}

/// The place of the one [`PluginInstance`] that serves an integration or a destination.
pub(crate) struct InstanceSlot {
    pub(super) plugin: Arc<dyn RunnablePlugin>,
    options: Vec<u8>,
    pub(super) health: Health,
    current: ArcSwapOption<SlotInstance>,
    /// Held while an instance is made, so that only one is.
    making: Mutex<()>,
    pub(super) deadline: Duration,
    slow: Duration,
}

impl InstanceSlot {
    /// Creates a slot without an instance.
    pub(super) fn new(
        plugin: Arc<dyn RunnablePlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<PluginMetrics>,
    ) -> Self {
        let health = Health::new(Arc::clone(&plugin.admitted().id), metrics);
        Self {
            plugin,
            options,
            health,
            current: ArcSwapOption::empty(),
            making: Mutex::default(),
            deadline: limits.deadline,
            slow: limits.slow.unwrap_or(Duration::MAX),
        }
    }

    pub(super) fn has_instance(&self) -> bool {
        self.current.load().is_some()
    }

    /// Makes the first instance, on a thread that stays stuck if the plugin does not return in time,
    /// see [`run_with_timeout`]. Another instance is made and dropped before, so that a destructor that
    /// panics is found before the plugin serves.
    pub(super) fn start(
        self: &Arc<Self>,
        timeout: Duration,
        stuck_threads: Gauge,
    ) -> Result<(), StartError> {
        let (slot, start) = (Arc::clone(self), self.plugin.begin_start());
        let make = move || {
            // The start is under way until the plugin returns, however late.
            let _start = start;
            let closed = slot.plugin.instance(&slot.options).map(PluginInstance::close);
            if let Ok(Err(error)) = &closed {
                slot.health.panicked_in_destructor(error);
            }
            closed.and_then(|_| slot.make().map(drop))
        };
        let left_behind = vec![stuck_threads, self.health.metrics.stuck_threads.clone()];
        let thread = thread::Builder::new().name("plugin-start".into());
        match run_with_timeout(timeout, thread, left_behind, make) {
            Ok(made) => made.map_err(|error| match error {
                NewInstanceError::Refused(error) => StartError::Refused(error),
                NewInstanceError::Call(error) => StartError::Failed(error),
                error => StartError::Failed(CallError::NotUnderstood(error.to_string())),
            }),
            Err(RunError::TimedOut(timeout)) => Err(StartError::TimedOut(timeout)),
            Err(RunError::Panicked) => {
                let what = "the thread that made it panicked".into();
                Err(StartError::Failed(CallError::Panicked(what)))
            }
            Err(not_run @ RunError::NoThread(_)) => Err(StartError::NoThread(not_run.to_string())),
        }
    }

    /// Counts a start that failed. Options that were refused do not count: they are the operator's
    /// error and are not applied.
    pub(super) fn could_not_start(&self, error: &StartError) {
        if !matches!(error, StartError::Refused(_)) {
            self.health.failed_without_instance(&error.to_string(), CallCause::Start);
        }
    }

    /// Calls the plugin, with a new instance if there is none.
    fn call<T>(
        self: &Arc<Self>,
        cause: CallCause,
        call: impl FnOnce(&dyn PluginInstance) -> Result<T, CallError>,
    ) -> Result<(T, Duration), CallFailure> {
        // A back-off may have begun while the call waited for its turn.
        if let Some(left) = self.health.back_off() {
            return Err(CallFailure::BackingOff(left));
        }
        let current = match self.current.load_full() {
            Some(current) => current,
            None => self.make().map_err(|error| self.no_instance(&error, cause))?,
        };
        let started = Instant::now();
        let result = current.with(call);
        let took = started.elapsed();
        self.health.metrics.call_seconds.observe(took.as_secs_f64());
        if took >= self.slow {
            self.health.was_slow(cause, took);
        }
        match result {
            Ok(value) => {
                self.health.succeeded();
                Ok((value, took))
            }
            Err(error) => {
                self.remove(&current);
                self.health.failed(&error.to_string(), cause);
                Err(self.failure(error))
            }
        }
    }

    fn make(self: &Arc<Self>) -> Result<Arc<SlotInstance>, NewInstanceError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        let instance = self.plugin.instance(&self.options)?;
        let made = Arc::new(SlotInstance { instance: Some(instance), slot: Arc::downgrade(self) });
        self.current.store(Some(Arc::clone(&made)));
        Ok(made)
    }

    /// Takes an instance out of use, unless another one has replaced it already.
    fn remove(&self, failed: &Arc<SlotInstance>) {
        let is_current = |current: &Option<Arc<SlotInstance>>| {
            current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed))
        };
        self.current.rcu(|current| if is_current(current) { None } else { current.clone() });
    }

    fn no_instance(&self, error: &NewInstanceError, cause: CallCause) -> CallFailure {
        self.health.failed_without_instance(&error.to_string(), cause);
        match error {
            NewInstanceError::Call(error) => self.failure(error.clone()),
            error => CallFailure::Unusable(format!("the plugin {error}")),
        }
    }

    fn failure(&self, error: CallError) -> CallFailure {
        match error {
            CallError::Panicked(message) => {
                self.health.metrics.panics.inc();
                CallFailure::Panicked(message)
            }
            error => CallFailure::Unusable(format!("the plugin {error}")),
        }
    }
}

impl Work<IncomingRequest, CallResult> for Arc<InstanceSlot> {
    fn call(&self, request: &IncomingRequest) -> CallResult {
        let head = &request.head;
        let headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| Header::new(name.as_str(), value.as_bytes()))
            .collect();
        let query = head.uri.query().unwrap_or_default();
        let lent = Request::new(head.method.as_str(), query, &headers, &request.body);
        let cause = CallCause::Request(request.id);
        let (outcome, took) = InstanceSlot::call(self, cause, |instance| instance.receive(&lent))?;
        Ok(CallOutcome { outcome, took })
    }

    fn give_up(&self, request: &IncomingRequest, expired: Expired) -> CallResult {
        Err(self.gave_up(CallCause::Request(request.id), expired))
    }

    fn returned_late(&self) {
        self.health.metrics.stuck_threads.dec();
    }
}

impl Work<NotifierInput, NotifierResult> for Arc<InstanceSlot> {
    fn call(&self, input: &NotifierInput) -> NotifierResult {
        let (output, _) = InstanceSlot::call(self, input.cause, |instance| {
            input.read(&instance.call(manifest::NOTIFY, &input.json)?)
        })?;
        Ok(output)
    }

    fn give_up(&self, input: &NotifierInput, expired: Expired) -> NotifierResult {
        Err(self.gave_up(input.cause, expired))
    }

    fn returned_late(&self) {
        self.health.metrics.stuck_threads.dec();
    }
}

impl InstanceSlot {
    /// Counts a call that was given up.
    fn gave_up(&self, cause: CallCause, expired: Expired) -> CallFailure {
        self.health.metrics.deadlines.inc();
        match expired {
            Expired::DuringCall => {
                // The instance may hold a lock that the next call would wait for.
                self.current.store(None);
                self.health.metrics.stuck_threads.inc();
                self.health.failed(&format!("did not answer within {:?}", self.deadline), cause);
                CallFailure::Deadline(self.deadline)
            }
            Expired::BeforeCall => CallFailure::Deadline(self.deadline),
            Expired::NoThread(error) => CallFailure::NoThread(error),
        }
    }
}

/// A [`PluginInstance`] in use, which is closed on a thread of its own when the last call drops it.
struct SlotInstance {
    /// None only while the instance is dropped.
    instance: Option<Box<dyn PluginInstance>>,
    slot: Weak<InstanceSlot>,
}

impl SlotInstance {
    fn with<T>(
        &self,
        call: impl FnOnce(&dyn PluginInstance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        match &self.instance {
            Some(instance) => call(&**instance),
            None => Err(CallError::NotUnderstood("its instance was closed".into())),
        }
    }
}

impl Drop for SlotInstance {
    fn drop(&mut self) {
        let (Some(instance), slot) = (self.instance.take(), self.slot.clone()) else { return };
        // The thread that drops the last handle may be one that serves requests, and a destructor may
        // never return.
        let close = move || {
            if let Err(error) = instance.close() {
                match slot.upgrade() {
                    Some(slot) => slot.health.panicked_in_destructor(&error),
                    None => tracing::error!(
                        event = "plugin_destructor_failed",
                        %error,
                        "the destructor of a plugin failed",
                    ),
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("plugin-close".into()).spawn(close) {
            tracing::error!(
                event = "plugin_destructor_not_run",
                %error,
                "the destructor of a plugin is not run: cannot start a thread",
            );
        }
    }
}

//! Calls a plugin in this process, through its library.
//!
//! An instance that panicked or did not return is not used again: the next call makes a new one from
//! the same options.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::{Timestamp, Unit};
use tocsin_plugin_api::{
    OptionsError, Request,
    abi::{CallError, Instance, NewInstanceError},
    outcome::Outcome,
    request::Header,
};
use ulid::Ulid;

use super::{
    Breaker, BreakerReport, BreakerState, CallFailure, CallLimits, CallResult, Called, Caller,
    CallerHealth, IncomingRequest, Judged,
    pool::{Lane, Pool, Work},
};
use crate::{
    alert::PluginId,
    events::bounded_reason,
    line_limit::LineLimit,
    metrics::IntegrationMetrics,
    plugins::library::LoadedPlugin,
    printable::one_line,
    problem::Problem,
    timeout::{RunError, run_with_timeout},
};

/// Why a plugin has no instance as it is started.
#[derive(Debug)]
pub enum StartError {
    /// Its options are at fault.
    Refused(OptionsError),
    /// The plugin is.
    Failed(CallError),
    /// It did not come back in time.
    GivenUp(Duration),
    /// The system gives no thread, which may pass.
    NoThread(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused its options: {error}"),
            Self::Failed(error) => write!(f, "{error}, as it was started"),
            Self::GivenUp(patience) => write!(f, "did not start within {patience:?}"),
            Self::NoThread(error) => write!(f, "could not be started: it {error}"),
        }
    }
}

/// A plugin, loaded into this process, for one integration.
pub struct InProcess {
    has_started: bool,
    pool: Pool,
    lane: Arc<Lane>,
    seat: Arc<Seat>,
}

impl InProcess {
    /// A caller of the plugin with these options, a JSON object. Its first instance is made at once.
    ///
    /// # Errors
    ///
    /// Where there can't be one.
    pub fn start(
        pool: &Pool,
        plugin: Arc<LoadedPlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<IntegrationMetrics>,
    ) -> (Self, Result<(), StartError>) {
        let seat = Arc::new(Seat::new(plugin, options, limits, metrics));
        let first = seat.first(pool, limits.time_to_start());
        if let Err(error) = &first {
            seat.could_not_start(error);
        }
        (Self::of(pool, seat, first.is_ok()), first)
    }

    /// The same for a plugin that is known not to start with these options: it is tried when it is
    /// called.
    pub fn not_started(
        pool: &Pool,
        plugin: Arc<LoadedPlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<IntegrationMetrics>,
        error: &StartError,
    ) -> Self {
        let seat = Arc::new(Seat::new(plugin, options, limits, metrics));
        seat.could_not_start(error);
        Self::of(pool, seat, false)
    }

    fn of(pool: &Pool, seat: Arc<Seat>, has_started: bool) -> Self {
        let lane = pool.lane(Box::new(Arc::clone(&seat)), seat.deadline);
        Self { has_started, pool: pool.clone(), lane, seat }
    }
}

impl Caller for InProcess {
    fn call(&self, request: Arc<IncomingRequest>, then: Called) {
        match self.seat.admit() {
            Err(left) => then(Err(CallFailure::BackingOff(left))),
            Ok(()) => self.pool.call(&self.lane, request, then),
        }
    }

    fn is_started(&self) -> bool {
        self.has_started || self.seat.instance.load().is_some()
    }

    fn health(&self) -> CallerHealth {
        let trouble = self.seat.trouble();
        let Some((what, at)) = &trouble.last else { return CallerHealth::default() };
        let plugin = &self.seat.plugin.plugin.id;
        let version = format!("{} {}", plugin.name, plugin.version);
        let said = format!("plugin `{version}` {what}, at {at:.0}");
        let advice = "report it to the plugin's author, or drop in another version";
        let state = match trouble.breaker.state(Instant::now()) {
            BreakerState::Closed => "",
            BreakerState::HalfOpen => "; it was left alone and is tried again",
            BreakerState::Open(left) => {
                &format!("; it is left alone for another {} s", left.as_secs() + 1)
            }
        };
        let problem = Problem::new("plugin-failed", format!("{said}{state}"));
        let sentence = Some(problem.with_hint(advice));
        let without_instance = self.seat.instance.load().is_none() && trouble.without_instance;
        if trouble.breaker.left(Instant::now()).is_some() || without_instance {
            CallerHealth { problem: sentence, last_failure: None }
        } else {
            CallerHealth { problem: None, last_failure: sentence }
        }
    }

    fn breaker(&self) -> BreakerReport {
        let (trouble, now) = (self.seat.trouble(), Instant::now());
        let state = trouble.breaker.state(now);
        let retry_at = match state {
            BreakerState::Open(left) => {
                let at = Timestamp::now() + left;
                Some(at.round(Unit::Second).unwrap_or(at))
            }
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        let (failures, trips) = (trouble.breaker.failures(now), trouble.breaker.trips());
        BreakerReport { state, retry_at, failures, trips }
    }
}

/// Puts a plugin's words about a failure on one line, and bounds them.
fn words(what: &str) -> String {
    bounded_reason(one_line(what).into_owned())
}

/// Where an instance sits: made from its options, replaced when it failed.
struct Seat {
    plugin: Arc<LoadedPlugin>,
    options: Vec<u8>,
    metrics: Arc<IntegrationMetrics>,
    instance: ArcSwapOption<Seated>,
    /// Held while an instance is made, so that one is.
    making: Mutex<()>,
    /// Whether `trouble` holds anything that a success changes; spares every call the lock.
    is_troubled: AtomicBool,
    trouble: Mutex<Trouble>,
    deadline: Duration,
    slow: Duration,
    slow_lines: Mutex<LineLimit>,
}

#[derive(Default)]
struct Trouble {
    breaker: Breaker,
    last: Option<(String, Timestamp)>,
    without_instance: bool,
}

impl Work for Arc<Seat> {
    fn call(&self, request: &IncomingRequest) -> CallResult {
        // It may have begun while the call waited for its turn.
        if let Some(left) = self.back_off() {
            return Err(CallFailure::BackingOff(left));
        }
        let instance = match self.instance.load_full() {
            Some(instance) => instance,
            None => self.make().map_err(|error| self.no_instance(&error, request.id))?,
        };
        let headers: Vec<_> = request
            .head
            .headers
            .iter()
            .map(|(name, value)| Header::new(name.as_str(), value.as_bytes()))
            .collect();
        let query = request.head.uri.query().unwrap_or_default();
        let lent = Request::new(request.head.method.as_str(), query, &headers, &request.body);
        let started = Instant::now();
        let result = instance.receive(&lent);
        let took = started.elapsed();
        self.metrics.call_seconds.observe(took.as_secs_f64());
        if took >= self.slow {
            self.was_slow(request.id, took);
        }
        match result {
            Ok(outcome) => {
                self.succeeded();
                Ok(Judged { outcome, took })
            }
            Err(error) => {
                self.unseat(&instance);
                Err(self.call_failed(error, request.id))
            }
        }
    }

    fn gave_up(&self, request: Ulid, was_called: bool) {
        self.metrics.deadlines.inc();
        if was_called {
            // It may hold a lock that the next call would wait for.
            self.instance.store(None);
            self.metrics.stuck_threads.inc();
            self.failed(&format!("did not answer within {:?}", self.deadline), Some(request));
        }
    }

    fn came_back(&self) {
        self.metrics.stuck_threads.dec();
    }
}

impl Seat {
    fn new(
        plugin: Arc<LoadedPlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<IntegrationMetrics>,
    ) -> Self {
        Self {
            plugin,
            options,
            metrics,
            instance: ArcSwapOption::empty(),
            making: Mutex::default(),
            is_troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
            deadline: limits.deadline,
            slow: limits.slow.unwrap_or(Duration::MAX),
            slow_lines: Mutex::default(),
        }
    }

    /// Makes and drops one instance on trial, so that a destructor that panics is known before it
    /// matters, and then the first that serves.
    fn first(self: &Arc<Self>, pool: &Pool, patience: Duration) -> Result<(), StartError> {
        let (seat, loading) = (Arc::clone(self), self.plugin.begin());
        let make = move || {
            // The load is under way until the plugin comes back, however late.
            let _loading = loading;
            let trial = seat.plugin.module.instance(&seat.options).map(Instance::close);
            if let Ok(Err(error)) = &trial {
                seat.panicked_in_destructor(error);
            }
            trial.and_then(|_| seat.make().map(drop))
        };
        let left_behind = vec![pool.stuck_threads_gauge(), self.metrics.stuck_threads.clone()];
        let thread = thread::Builder::new().name("plugin-start".into());
        match run_with_timeout(patience, thread, left_behind, make) {
            Ok(made) => made.map_err(|error| match error {
                NewInstanceError::Refused(error) => StartError::Refused(error),
                NewInstanceError::Call(error) => StartError::Failed(error),
                error => StartError::Failed(CallError::NotUnderstood(error.to_string())),
            }),
            Err(RunError::TimedOut(patience)) => Err(StartError::GivenUp(patience)),
            Err(RunError::Panicked) => {
                let what = "the thread that made it panicked".into();
                Err(StartError::Failed(CallError::Panicked(what)))
            }
            Err(not_done @ RunError::NoThread(_)) => {
                Err(StartError::NoThread(not_done.to_string()))
            }
        }
    }

    /// Options that were refused are the operator's trouble, and kept out of force.
    fn could_not_start(&self, error: &StartError) {
        if !matches!(error, StartError::Refused(_)) {
            self.trouble().without_instance = true;
            self.failed(&error.to_string(), None);
        }
    }

    fn panicked_in_destructor(&self, error: &CallError) {
        self.metrics.panics.inc();
        let what = format!("{error}, in its destructor");
        tracing::error!(
            event = "plugin_failed",
            plugin = %self.plugin.plugin.id,
            what,
            "a plugin failed",
        );
        self.trouble().last = Some((words(&what), Timestamp::now()));
    }

    fn make(self: &Arc<Self>) -> Result<Arc<Seated>, NewInstanceError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = self.instance.load_full() {
            return Ok(instance);
        }
        let instance = self.plugin.module.instance(&self.options)?;
        let seated = Arc::new(Seated { instance: Some(instance), seat: Arc::downgrade(self) });
        self.instance.store(Some(Arc::clone(&seated)));
        Ok(seated)
    }

    /// Takes an instance out of use, unless another one has its place already.
    fn unseat(&self, failed: &Arc<Seated>) {
        let is_there = |current: &Option<Arc<Seated>>| {
            current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed))
        };
        self.instance.rcu(|current| if is_there(current) { None } else { current.clone() });
    }

    fn no_instance(&self, error: &NewInstanceError, request: Ulid) -> CallFailure {
        self.trouble().without_instance = true;
        match error {
            NewInstanceError::Call(error) => self.call_failed(error.clone(), request),
            error => {
                self.failed(&error.to_string(), Some(request));
                CallFailure::Unusable(format!("the plugin {error}"))
            }
        }
    }

    fn call_failed(&self, error: CallError, request: Ulid) -> CallFailure {
        self.failed(&error.to_string(), Some(request));
        match error {
            CallError::Panicked(message) => {
                self.metrics.panics.inc();
                CallFailure::Panicked(message)
            }
            error => CallFailure::Unusable(format!("the plugin {error}")),
        }
    }

    fn failed(&self, what: &str, request: Option<Ulid>) {
        let (plugin, integration) = (&self.plugin.plugin.id, self.metrics.integration());
        let mut trouble = self.trouble();
        if trouble.breaker.failed(Instant::now()) {
            self.metrics.breaker_trips.inc();
        }
        trouble.last = Some((words(what), Timestamp::now()));
        self.is_troubled.store(true, Ordering::Release);
        let backs_off = trouble.breaker.left(Instant::now()).is_some();
        let request_id = request.map(tracing::field::display);
        let what = words(what);
        tracing::error!(
            event = "plugin_failed",
            request_id,
            integration,
            %plugin,
            what,
            backs_off,
            "a plugin failed",
        );
    }

    #[cold]
    fn was_slow(&self, request_id: Ulid, took: Duration) {
        self.metrics.slow_calls.inc();
        let admitted =
            self.slow_lines.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        let Some(left_out) = admitted else { return };
        let PluginId { name, version } = &*self.plugin.plugin.id;
        let integration = self.metrics.integration();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            event = "plugin_slow",
            %request_id,
            integration,
            plugin = name,
            version,
            took_ms,
            left_out,
            "a plugin was slow",
        );
    }

    fn succeeded(&self) {
        if self.is_troubled.load(Ordering::Acquire) {
            let mut trouble = self.trouble();
            if trouble.breaker.succeeded(Instant::now()) {
                let (plugin, integration) = (&self.plugin.plugin.id, self.metrics.integration());
                tracing::info!(
                    event = "plugin_recovered",
                    integration,
                    %plugin,
                    "a plugin that was left alone serves again",
                );
            }
            trouble.without_instance = false;
            self.is_troubled.store(!trouble.breaker.is_calm(), Ordering::Release);
        }
    }

    fn admit(&self) -> Result<(), Duration> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return Ok(());
        }
        self.trouble().breaker.admit(Instant::now())
    }

    fn back_off(&self) -> Option<Duration> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return None;
        }
        self.trouble().breaker.left(Instant::now())
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance in use. The destructor of a plugin may panic, too: then it is said.
struct Seated {
    /// None only while it is dropped.
    instance: Option<Instance>,
    seat: Weak<Seat>,
}

impl Seated {
    fn receive(&self, request: &Request<'_>) -> Result<Outcome, CallError> {
        let dropped = || Err(CallError::NotUnderstood("its instance is gone".into()));
        self.instance.as_ref().map_or_else(dropped, |instance| instance.receive(request))
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let (Some(instance), seat) = (self.instance.take(), self.seat.clone()) else { return };
        // The last to let go may be a thread of the runtime, and a destructor may never return.
        let close = move || {
            if let Err(error) = instance.close() {
                match seat.upgrade() {
                    Some(seat) => seat.panicked_in_destructor(&error),
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

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

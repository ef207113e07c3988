//! Calls a plugin for one integration or destination, on any runtime.
//!
//! Requests are assigned to integrations elsewhere, and notifications to destinations.

use std::{fmt, sync::Arc};

use tocsin_plugin_api::step::NotifyCall;

use super::{
    BreakerReport, CallFailure, CallLimits, CallResult, CallerHealth, IncomingRequest,
    OnNotifierResult, OnResult, StartError,
    instance_slot::InstanceSlot,
    notifier::{NotifierInput, NotifierResult},
    pool::{Lane, Pool, Work},
    runtime::RunnablePlugin,
};
use crate::metrics::PluginMetrics;

/// A plugin with the options of one integration or destination, called under a deadline and behind a
/// circuit breaker. `R` and `A` are the requests and answers of its [`Pool`].
pub(crate) struct Caller<R = IncomingRequest, A = CallResult> {
    has_started: bool,
    pool: Pool<R, A>,
    lane: Arc<Lane<R, A>>,
    slot: Arc<InstanceSlot>,
}

/// A notifier plugin with the options of one destination.
pub(crate) type NotifierCaller = Caller<NotifierInput, NotifierResult>;

impl<R: Send + Sync + 'static, A: 'static> Caller<R, A>
where
    Arc<InstanceSlot>: Work<R, A>,
{
    /// Creates a caller of a plugin with options, a JSON object, and makes the first instance. The caller
    /// is usable even if that fails: the next call tries again.
    ///
    /// # Errors
    ///
    /// The second value says why there is no first instance.
    pub(crate) fn start(
        pool: &Pool<R, A>,
        plugin: Arc<dyn RunnablePlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<PluginMetrics>,
    ) -> (Self, Result<(), StartError>) {
        let slot = Arc::new(InstanceSlot::new(plugin, options, limits, metrics));
        let first = slot.start(limits.start_timeout(), pool.stuck_threads_gauge());
        if let Err(error) = &first {
            slot.could_not_start(error);
        }
        (Self::of(pool, slot, first.is_ok()), first)
    }

    /// Creates a caller of a plugin that is known not to start with these options, see
    /// [`start`](Self::start): an instance is made by the first call.
    pub(crate) fn not_started(
        pool: &Pool<R, A>,
        plugin: Arc<dyn RunnablePlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<PluginMetrics>,
        error: &StartError,
    ) -> Self {
        let slot = Arc::new(InstanceSlot::new(plugin, options, limits, metrics));
        slot.could_not_start(error);
        Self::of(pool, slot, false)
    }

    fn of(pool: &Pool<R, A>, slot: Arc<InstanceSlot>, has_started: bool) -> Self {
        let lane = pool.lane(Box::new(Arc::clone(&slot)), slot.deadline);
        Self { has_started, pool: pool.clone(), lane, slot }
    }
}

impl Caller {
    /// Lets the plugin translate a request, and calls `then` with the [`CallResult`], even if the
    /// plugin panics or hangs. A call may wait for a thread as long as the deadline, and take as long
    /// again.
    pub(crate) fn call(&self, request: Arc<IncomingRequest>, then: OnResult) {
        match self.slot.health.admit() {
            Err(left) => then(Err(CallFailure::BackingOff(left))),
            Ok(()) => self.pool.call(&self.lane, request, then),
        }
    }
}

impl NotifierCaller {
    /// Asks the plugin for its description or for the next step of an attempt, and calls `then` with the
    /// [`NotifierResult`], even if the plugin panics or hangs. The time is limited as for
    /// [`Caller::call`].
    ///
    /// The answer belongs to the question: a [`Step`](super::NotifierOutput::Step) to
    /// [`NotifyCall::Next`], a [`Description`](super::NotifierOutput::Description) to
    /// [`NotifyCall::Describe`]. No step sends more requests than an attempt may have.
    pub(crate) fn notify(&self, call: &NotifyCall, then: OnNotifierResult) {
        let input = match NotifierInput::of(call) {
            Ok(input) => input,
            Err(too_large) => return then(Err(too_large)),
        };
        match self.slot.health.admit() {
            Err(left) => then(Err(CallFailure::BackingOff(left))),
            Ok(()) => self.pool.call(&self.lane, Arc::new(input), then),
        }
    }
}

impl<R, A> Caller<R, A> {
    /// Returns the plugin that is called.
    pub(crate) fn plugin(&self) -> &Arc<dyn RunnablePlugin> {
        &self.slot.plugin
    }

    /// Returns whether there has ever been an instance.
    pub(crate) fn is_started(&self) -> bool {
        self.has_started || self.slot.has_instance()
    }

    /// Reports the [`CallerHealth`] of the plugin.
    pub(crate) fn health(&self) -> CallerHealth {
        self.slot.health.report(self.slot.has_instance())
    }

    /// Reports the [state](super::BreakerState) of the breaker, and the failures that count.
    pub(crate) fn breaker(&self) -> BreakerReport {
        self.slot.health.breaker()
    }
}

impl<R, A> fmt::Debug for Caller<R, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("plugin", &self.plugin().admitted().id)
            .finish_non_exhaustive()
    }
}

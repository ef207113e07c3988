//! Calls a plugin for one integration, on any runtime.
//!
//! Requests are assigned to integrations elsewhere.

use std::{fmt, sync::Arc};

use super::{
    BreakerReport, CallFailure, CallLimits, CallPool, CallResult, CallerHealth, IncomingRequest,
    OnResult, StartError, instance_slot::InstanceSlot, pool::Lane, runtime::RunnablePlugin,
};
use crate::metrics::IntegrationMetrics;

/// A plugin with the options of one integration, called under a deadline and behind a circuit breaker.
pub(crate) struct Caller {
    has_started: bool,
    pool: CallPool,
    lane: Arc<Lane<IncomingRequest, CallResult>>,
    slot: Arc<InstanceSlot>,
}

impl Caller {
    /// Creates a caller of a plugin with options, a JSON object, and makes the first instance. The caller
    /// is usable even if that fails: the next call tries again.
    ///
    /// # Errors
    ///
    /// The second value says why there is no first instance.
    pub(crate) fn start(
        pool: &CallPool,
        plugin: Arc<dyn RunnablePlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<IntegrationMetrics>,
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
        pool: &CallPool,
        plugin: Arc<dyn RunnablePlugin>,
        options: Vec<u8>,
        limits: CallLimits,
        metrics: Arc<IntegrationMetrics>,
        error: &StartError,
    ) -> Self {
        let slot = Arc::new(InstanceSlot::new(plugin, options, limits, metrics));
        slot.could_not_start(error);
        Self::of(pool, slot, false)
    }

    fn of(pool: &CallPool, slot: Arc<InstanceSlot>, has_started: bool) -> Self {
        let lane = pool.lane(Box::new(Arc::clone(&slot)), slot.deadline);
        Self { has_started, pool: pool.clone(), lane, slot }
    }

    /// Lets the plugin translate a request, and calls `then` with the [`CallResult`], even if the
    /// plugin panics or hangs. A call may wait for a thread as long as the deadline, and take as long
    /// again.
    pub(crate) fn call(&self, request: Arc<IncomingRequest>, then: OnResult) {
        match self.slot.health.admit() {
            Err(left) => then(Err(CallFailure::BackingOff(left))),
            Ok(()) => self.pool.call(&self.lane, request, then),
        }
    }

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

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("plugin", &self.plugin().admitted().id)
            .finish_non_exhaustive()
    }
}

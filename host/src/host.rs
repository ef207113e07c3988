//! The running host: the configuration in force, its integrations, and handles to the store and the
//! threads, shared by all requests.
//!
//! The module `run` builds, binds and stops a host. The modules `ingest` and `api` answer requests.

pub(crate) mod audit;
pub(crate) mod delivery_desk;
pub(crate) mod in_force;
pub(crate) mod reloads;

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use self::{
    delivery_desk::DeliveryDesk,
    in_force::InForce,
    reloads::{ReloadReason, ReloadResult},
};
use crate::{
    call::{CallPool, NotifierPool, PluginRuntime},
    integration::REFUSED_RECORDED,
    limits::{
        body_memory::BodyMemory,
        line_limit::LineLimits,
        rate_limit::{Rate, RateLimits},
    },
    metrics::Metrics,
    single_flight::{Panicked, SingleFlight},
    store::Store,
    traces::Traces,
};

/// Everything that requests share.
pub(crate) struct Host {
    /// All counters of the host.
    pub metrics: Metrics,
    /// The store of alerts and requests.
    pub store: Arc<dyn Store>,
    /// The runtime of the plugins.
    pub runtime: Box<dyn PluginRuntime>,
    pub(crate) pool: CallPool,
    pub(crate) notifier_pool: NotifierPool,
    pub(crate) reloads: SingleFlight<ReloadReason, ReloadResult>,
    /// The memory that the bodies of all requests share.
    pub(crate) body_memory: Arc<BodyMemory>,
    /// Wrong tokens by address.
    pub(crate) wrong_tokens: RateLimits,
    /// Requests to integrations that do not exist and that use the disk as a record would.
    pub(crate) refused_records: RateLimits,
    /// Log lines about requests to integrations that do not exist, by kind.
    pub(crate) refusal_lines: LineLimits,
    /// The number of connections that the webhook listener serves, if the limit on open files allows
    /// fewer than are configured.
    pub(crate) fewer_connections: Option<usize>,
    /// The size of the store while it exceeds its limit.
    pub(crate) over_size: ArcSwapOption<OverSize>,
    /// Sentences on the differences between hosts on the same store that last for too long.
    pub(crate) host_differences: ArcSwap<Vec<String>>,
    /// The meeting point of the delivery engine and the rest of the host.
    pub(crate) delivery_desk: Arc<DeliveryDesk>,
    /// The traces of requests.
    pub(crate) traces: Traces,
    in_force: ArcSwap<InForce>,
    phase: Phase,
}

/// Parts of a [`Host`], each ready for use.
pub(crate) struct Parts {
    pub(crate) in_force: InForce,
    pub(crate) metrics: Metrics,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) runtime: Box<dyn PluginRuntime>,
    pub(crate) pool: CallPool,
    pub(crate) notifier_pool: NotifierPool,
    /// As [`Host::fewer_connections`].
    pub(crate) fewer_connections: Option<usize>,
    pub(crate) traces: Traces,
}

/// A store that is larger than `retention.max_store_bytes`, in bytes.
#[derive(Debug)]
pub(crate) struct OverSize {
    pub(crate) used: u64,
    pub(crate) most: u64,
}

#[derive(Default)]
struct Phase {
    serves: AtomicBool,
    stops: AtomicBool,
}

impl Host {
    /// Joins the parts. The host does not serve yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            in_force,
            metrics,
            store,
            runtime,
            pool,
            notifier_pool,
            fewer_connections,
            traces,
        } = parts;
        let server = &in_force.config.config.server;
        let wrong_tokens = NonZeroU32::new(server.max_wrong_tokens_per_minute);
        Self {
            body_memory: BodyMemory::new(server.body_memory()),
            wrong_tokens: RateLimits::new(None, wrong_tokens.map(Rate::per_minute)),
            refused_records: RateLimits::new(Some(Rate::per_minute(REFUSED_RECORDED)), None),
            refusal_lines: LineLimits::default(),
            fewer_connections,
            over_size: ArcSwapOption::empty(),
            host_differences: ArcSwap::default(),
            metrics,
            store,
            runtime,
            pool,
            notifier_pool,
            reloads: SingleFlight::default(),
            delivery_desk: Arc::default(),
            traces,
            in_force: ArcSwap::from_pointee(in_force),
            phase: Phase::default(),
        }
    }

    /// Returns the configuration and the integrations in force. A caller that needs both asks once, so
    /// that they belong together.
    pub(crate) fn in_force(&self) -> Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Replaces the configuration and the integrations in one step. Requests that arrive from now on
    /// see only the new ones.
    pub(crate) fn put_into_force(&self, next: InForce) {
        self.in_force.store(Arc::new(next));
        self.delivery_desk.reloaded();
    }

    /// Records the addresses that the listeners are bound to. A configured port 0 stands for any.
    pub(crate) fn set_addresses(&self, webhooks: SocketAddr, admin: SocketAddr) {
        self.in_force.rcu(|present| {
            let mut next = InForce::clone(present);
            let config = &mut next.config.config;
            (config.server.listen, config.admin.listen) = (webhooks, admin);
            next
        });
    }

    /// Returns a sentence if the limit on open files leaves room for fewer connections than are
    /// configured.
    pub(crate) fn connections_notice(&self) -> Option<String> {
        let served = self.fewer_connections?;
        let wanted = self.in_force().config.config.server.max_connections;
        Some(format!(
            "{served} connections are served at once instead of {wanted} (`server.max_connections`), \
             since the limit on open files leaves no room for more; hint: raise it (`ulimit -n`, or \
             `LimitNOFILE=` of systemd)"
        ))
    }

    /// Returns the number of threads that are stuck in plugin calls.
    pub(crate) fn stuck_threads(&self) -> usize {
        self.pool.stuck_threads()
    }

    /// Returns why the last reload failed, if it failed.
    pub(crate) fn reload_problem(&self) -> Option<String> {
        match self.reloads.last()? {
            Ok(result) => result.err(),
            Err(Panicked) => Some(reloads::PANICKED.into()),
        }
    }

    /// Returns whether the host takes webhooks.
    pub(crate) fn is_serving(&self) -> bool {
        self.phase.serves.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// Returns whether the host is shutting down.
    pub(crate) fn is_stopping(&self) -> bool {
        self.phase.stops.load(Ordering::Acquire)
    }

    /// Marks the host as one that takes webhooks.
    pub(crate) fn begin_serving(&self) {
        self.phase.serves.store(true, Ordering::Release);
    }

    /// Marks the host as one that shuts down.
    pub(crate) fn begin_stopping(&self) {
        self.phase.stops.store(true, Ordering::Release);
    }
}

//! The running host: what is shared between its listeners, how it starts and stops.
//!
//! It answers no request itself, and how it goes over to another configuration is in
//! [`crate::reload`].

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};

use crate::{
    api,
    body_memory::BodyMemory,
    call::Pool,
    config::{ConfigErrors, LoadedConfig},
    housekeeping,
    http::sender::is_proxy,
    http::server::{self, AddressLimit, Beyond, Counted, Limits, Stop, Stopper, stop_sign},
    ingest,
    integration::{
        Integrations, REFUSED_RECORDED,
        builder::Builder,
        rate::{Rate, RateLimits},
    },
    line_limit::LineLimits,
    metrics::Metrics,
    plugins::{
        Catalog, Libraries,
        journal::LoadJournal,
        verification::{Verifier, unreadable_folder},
    },
    process_limits,
    reload::Turns,
    sandbox::probe::ChildProbe,
    store::{Store, sqlite::SqliteStore},
};

/// Everything that requests share.
pub struct Host {
    /// What the host counts.
    pub metrics: Metrics,
    /// Where alerts are kept.
    pub store: Arc<dyn Store>,
    /// The libraries of this process.
    pub libraries: Libraries,
    pub(crate) pool: Pool,
    pub(crate) reloads: Turns,
    /// The memory that the bodies of all requests may take.
    pub(crate) body_memory: Arc<BodyMemory>,
    /// Wrong tokens of each address.
    pub(crate) wrong_tokens: RateLimits,
    /// Requests to integrations that do not exist and that take the disk as a record would.
    pub(crate) refused_records: RateLimits,
    /// Lines about requests to integrations that do not exist, by their kind.
    pub(crate) refusal_lines: LineLimits,
    /// How many connections the listener for webhooks serves, if those are fewer than it should.
    pub(crate) fewer_connections: Option<usize>,
    /// The size of the store, while that is more than it may be.
    pub(crate) over_size: ArcSwapOption<OverSize>,
    in_force: ArcSwap<InForce>,
    phase: Phase,
}

/// A store that is larger than `retention.max_store_bytes`, in bytes.
#[derive(Debug)]
pub(crate) struct OverSize {
    pub(crate) used: u64,
    pub(crate) most: u64,
}

/// What a request sees of the configuration: all of one, with the integrations made from it.
pub struct InForce {
    /// The configuration.
    pub config: LoadedConfig,
    /// Its integrations.
    pub integrations: Integrations,
}

#[derive(Default)]
struct Phase {
    serves: AtomicBool,
    stops: AtomicBool,
}

impl Host {
    /// Loads plugins and opens the store.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] where the configuration is wrong, or a plugin that it requires cannot serve;
    /// anything else where the store can't be opened.
    pub fn prepare(config: LoadedConfig) -> anyhow::Result<Arc<Self>> {
        // Only SQLite URLs pass the checks of the configuration.
        let path = config.store_path().unwrap_or_else(|| PathBuf::from("tocsin.db"));
        let journal = LoadJournal::open(&LoadJournal::path(&path));
        let metrics = Metrics::new();
        let libraries = Libraries::new(
            journal,
            metrics.calls.stuck_threads.clone(),
            Some(Box::new(ChildProbe)),
        );
        let pool = Pool::new(Arc::clone(&metrics.calls)).context("cannot start a thread")?;
        let (integrations, errors) = Builder {
            config: &config,
            catalog: read_catalog(&config, &Catalog::default())?,
            present: &Integrations::default(),
            libraries: &libraries,
            pool: &pool,
            metrics: &metrics,
            tries_again: true,
            is_start: true,
            is_stopping: &|| false,
            hung: RefCell::default(),
        }
        .build();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors).into());
        }
        let store = SqliteStore::open(&path, &holder(&config), Arc::clone(&metrics.store))?;
        let (server, admin) = (&config.config.server, &config.config.admin);
        let open_files = process_limits::raise_open_files();
        let fit = process_limits::connections_that_fit(
            server.max_connections,
            admin.max_connections,
            open_files,
        );
        let fewer_connections = (fit < server.max_connections).then_some(fit);
        let wrong_tokens = NonZeroU32::new(server.max_wrong_tokens_per_minute);
        Ok(Arc::new(Self {
            body_memory: BodyMemory::new(server.body_memory()),
            wrong_tokens: RateLimits::new(None, wrong_tokens.map(Rate::per_minute)),
            refused_records: RateLimits::new(Some(Rate::per_minute(REFUSED_RECORDED)), None),
            refusal_lines: LineLimits::default(),
            fewer_connections,
            over_size: ArcSwapOption::empty(),
            metrics,
            store: Arc::new(store),
            libraries,
            pool,
            reloads: Turns::default(),
            in_force: ArcSwap::from_pointee(InForce { config, integrations }),
            phase: Phase::default(),
        }))
    }

    /// The configuration and the integrations that are in force. Who needs both asks once.
    pub fn in_force(&self) -> Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Has every request from now on see this, and none of what was before.
    pub(crate) fn put_into_force(&self, next: InForce) {
        self.in_force.store(Arc::new(next));
    }

    /// A sentence if the limit on open files leaves room for fewer connections than are configured.
    pub(crate) fn connections_notice(&self) -> Option<String> {
        let served = self.fewer_connections?;
        let wanted = self.in_force().config.config.server.max_connections;
        Some(format!(
            "{served} connections are served at once instead of {wanted} (`server.max_connections`), \
             since the limit on open files leaves no room for more; hint: raise it (`ulimit -n`, or \
             `LimitNOFILE=` of systemd)"
        ))
    }

    /// Threads left behind in calls that did not return.
    pub fn stuck_threads(&self) -> usize {
        self.pool.stuck_threads()
    }

    /// Whether webhooks are taken.
    pub fn is_serving(&self) -> bool {
        self.phase.serves.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// Whether the host is coming to its end.
    pub fn is_stopping(&self) -> bool {
        self.phase.stops.load(Ordering::Acquire)
    }

    /// Port 0 means any: from here on it is known which.
    fn bound_to(&self, webhooks: SocketAddr, admin: SocketAddr) {
        self.in_force.rcu(|present| {
            let mut config = present.config.clone();
            (config.config.server.listen, config.config.admin.listen) = (webhooks, admin);
            InForce { config, integrations: present.integrations.clone() }
        });
    }
}

/// Reads the plugins folder of a configuration; what lies there as it did earlier is not read again.
///
/// # Errors
///
/// [`ConfigErrors`] where it can't be listed, or can't be trusted as a whole.
pub fn read_catalog(config: &LoadedConfig, earlier: &Catalog) -> Result<Catalog, ConfigErrors> {
    let verifier = Verifier::new(config)?;
    Catalog::read(&config.plugins_dir(), &verifier, earlier)
        .map_err(|error| unreadable_folder(config, &error).into())
}

fn holder(config: &LoadedConfig) -> String {
    format!(
        "the tocsin process {} on {} since {:.0} (admin API at {})",
        std::process::id(),
        rustix::system::uname().nodename().to_string_lossy(),
        Timestamp::now(),
        config.config.admin.listen,
    )
}

/// A host whose listeners are bound: it can be told where it is reached before it serves.
pub struct BoundHost {
    host: Arc<Host>,
    webhooks: TcpListener,
    admin: TcpListener,
}

impl BoundHost {
    /// Binds both listeners.
    ///
    /// # Errors
    ///
    /// Where an address is in use, or not this machine's.
    pub async fn bind(host: Arc<Host>) -> anyhow::Result<Self> {
        let (listen, admin) = {
            let in_force = host.in_force();
            let config = &in_force.config.config;
            (config.server.listen, config.admin.listen)
        };
        let webhooks = bind("server.listen", listen)?;
        let admin = bind("admin.listen", admin)?;
        host.bound_to(webhooks.local_addr()?, admin.local_addr()?);
        Ok(Self { host, webhooks, admin })
    }

    /// The host behind the listeners.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Serves until the sign to stop; then finishes what is in flight, commits it, and closes the
    /// store.
    pub async fn serve(self, mut stop: Stop) {
        let Self { host, webhooks, admin } = self;
        let (limits, admin_connections, per_address, patience) = {
            let in_force = host.in_force();
            let (server, admin) = (&in_force.config.config.server, &in_force.config.config.admin);
            let max_connections = host.fewer_connections.unwrap_or(server.max_connections);
            let limits = Limits { max_connections, ..Limits::from(server) };
            (
                limits,
                admin.max_connections,
                server.connections_per_address(),
                server.shutdown_timeout,
            )
        };
        if let Some(notice) = host.connections_notice() {
            tracing::warn!(notice, "fewer connections are served than configured");
        }
        let counted = |open_connections: &Gauge| Counted {
            open_connections: open_connections.clone(),
            limits: Arc::clone(&host.metrics.limits),
        };
        let (admin_stopper, admin_stop) = stop_sign();
        let api = server::serve(
            admin,
            api::router(Arc::clone(&host)),
            Limits { max_connections: admin_connections, ..limits.clone() },
            Beyond::Reserve(api::health_router(Arc::clone(&host))),
            counted(&host.metrics.admin_connections),
            admin_stop,
        );
        let api = tokio::spawn(api);
        let proxies = Arc::clone(&host);
        let ingest = server::serve(
            webhooks,
            ingest::router(Arc::clone(&host)),
            limits,
            Beyond::Wait(AddressLimit {
                most: per_address,
                is_exempt: Box::new(move |address| {
                    let in_force = proxies.in_force();
                    is_proxy(address, &in_force.config.config.server.trusted_proxies)
                }),
            }),
            counted(&host.metrics.connections),
            stop.clone(),
        );
        let ingest = tokio::spawn(ingest);
        let upkeep = tokio::spawn(housekeeping::run(Arc::clone(&host), stop.clone()));
        host.phase.serves.store(true, Ordering::Release);
        tracing::info!("webhooks are served");
        stop.wait().await;
        host.phase.stops.store(true, Ordering::Release);
        tracing::info!("stopping: finishing what is in flight");
        let end = Instant::now() + patience;
        if tokio::time::timeout_at(end, ingest).await.is_err() {
            tracing::warn!(
                ?patience,
                "gave up on requests in flight; their senders will try again"
            );
        }
        // It ends between two steps.
        let _ = upkeep.await;
        finish(&host, admin_stopper, api, end).await;
        tracing::info!("stopped");
    }
}

async fn finish(host: &Arc<Host>, admin: Stopper, api: tokio::task::JoinHandle<()>, end: Instant) {
    // A plugin that is being loaded may come back yet, and is not at fault then.
    while host.reloads.is_under_way() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    admin.stop();
    // A client that keeps an API connection open does not keep the host.
    let _ = tokio::time::timeout(Duration::from_secs(2), api).await;
    let config = host.in_force().config.clone();
    host.put_into_force(InForce { config, integrations: Integrations::default() });
    host.libraries.close();
    // Closing folds the log into the database, which may take a moment. Nobody else needs this thread
    // any more, and another one may not begin, where a plugin hangs as it is loaded.
    host.store.close();
}

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).with_context(|| {
        format!(
            "cannot listen on {address}\nhint: stop what uses it, or write another address at `{key}`"
        )
    })
}

/// How many connections the system keeps until they are accepted. One more would be tried again by its
/// sender's system after a second, which may be longer than the sender waits.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

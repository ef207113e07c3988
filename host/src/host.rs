//! The running host: what is shared between its listeners, how it starts, reloads and stops.
//!
//! It answers no request itself.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::{
    api,
    call::Pool,
    config::{ConfigErrors, LoadedConfig},
    ingest,
    integration::{Integration, Integrations},
    metrics::Metrics,
    plugins::{
        Catalog, Libraries,
        admission::one_line,
        verification::{Verifier, unreadable_folder},
    },
    server::{self, Limits, Stop, Stopper, stop_sign},
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
    config: ArcSwap<LoadedConfig>,
    integrations: ArcSwap<Integrations>,
    pool: Pool,
    phase: Phase,
    /// Held during a reload: of two, the later one has the last word.
    reloading: Mutex<()>,
    reload_problem: Mutex<Option<String>>,
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
    /// [`ConfigErrors`] where the configuration asks for what is not there; anything else where the
    /// store can't be opened.
    pub fn prepare(config: LoadedConfig) -> anyhow::Result<Arc<Self>> {
        let (metrics, libraries) = (Metrics::new(), Libraries::default());
        let pool = Pool::new(Arc::clone(&metrics.calls));
        let integrations = build(&config, &libraries, &pool, &metrics)?;
        // Only SQLite URLs pass the checks of the configuration.
        let path = config.store_path().unwrap_or_else(|| PathBuf::from("tocsin.db"));
        let store = SqliteStore::open(&path, &holder(&config), Arc::clone(&metrics.store))?;
        Ok(Arc::new(Self {
            metrics,
            store: Arc::new(store),
            libraries,
            config: ArcSwap::from_pointee(config),
            integrations: ArcSwap::from_pointee(integrations),
            pool,
            phase: Phase::default(),
            reloading: Mutex::default(),
            reload_problem: Mutex::default(),
        }))
    }

    /// The configuration that is in force.
    pub fn config(&self) -> Guard<Arc<LoadedConfig>> {
        self.config.load()
    }

    /// The integrations that are in force.
    pub fn integrations(&self) -> Guard<Arc<Integrations>> {
        self.integrations.load()
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

    /// Why the last reload changed nothing, if it did not.
    pub fn reload_problem(&self) -> Option<String> {
        self.reload_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads configuration and plugins again, and goes over to them in one step. Listeners, the store
    /// and the log stay as they are.
    ///
    /// # Errors
    ///
    /// What is wrong; then everything goes on as it was.
    pub fn reload(&self) -> anyhow::Result<()> {
        let _reloading = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.try_reload();
        let problem = result.as_ref().err().map(sentence);
        *self.reload_problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        result
    }

    fn try_reload(&self) -> anyhow::Result<()> {
        let present = self.config.load();
        let mut config = LoadedConfig::read(&present.document.path)?;
        let integrations = build(&config, &self.libraries, &self.pool, &self.metrics)?;
        refuse_losses(&self.integrations.load(), &integrations)?;
        let (new, old) = (&mut config.config, &present.config);
        anyhow::ensure!(
            old.admin.listen.ip().is_loopback() || !new.admin.tokens.is_empty(),
            "`admin.tokens` is empty while the API still listens on {}\n\
             hint: keep a token until the host is restarted",
            old.admin.listen,
        );
        for (section, changed) in [
            ("server.listen", new.server.listen != old.server.listen),
            ("admin.listen", new.admin.listen != old.admin.listen),
            ("store.url", new.store.url != old.store.url),
            ("server.max_connections", new.server.max_connections != old.server.max_connections),
            ("server.header_timeout", new.server.header_timeout != old.server.header_timeout),
            ("log.level", new.log.level != old.log.level),
            ("log.format", new.log.format != old.log.format),
        ] {
            if changed {
                tracing::warn!(section, "changed, but takes effect only with a restart");
            }
        }
        (new.server.listen, new.admin.listen) = (old.server.listen, old.admin.listen);
        self.integrations.store(Arc::new(integrations));
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// Port 0 means any: from here on it is known which.
    fn bound_to(&self, webhooks: SocketAddr, admin: SocketAddr) {
        let mut config = LoadedConfig::clone(&self.config.load());
        (config.config.server.listen, config.config.admin.listen) = (webhooks, admin);
        self.config.store(Arc::new(config));
    }
}

/// A reload must not take down what works: a plugin that is at fault only now keeps the host as it is.
fn refuse_losses(present: &Integrations, next: &Integrations) -> anyhow::Result<()> {
    let lost = |integration: &&Arc<Integration>| {
        let before = present.by_name.get(&integration.name);
        let served = before.is_some_and(|before| before.serves());
        let problem = next.by_name.get(&integration.name)?.health().problem?;
        served.then(|| format!("integration `{}`: {problem}", integration.name))
    };
    let losses: Vec<_> = next.sorted().iter().filter_map(lost).collect();
    anyhow::ensure!(losses.is_empty(), "{}", losses.join("; "));
    Ok(())
}

/// An error on one line, as everybody who asks for the host's health may read it.
fn sentence(error: &anyhow::Error) -> String {
    let errors = error.downcast_ref::<ConfigErrors>();
    let text = errors.map_or_else(|| format!("{error:#}"), ConfigErrors::sentence);
    one_line(&text)
}

fn build(
    config: &LoadedConfig,
    libraries: &Libraries,
    pool: &Pool,
    metrics: &Metrics,
) -> anyhow::Result<Integrations> {
    let catalog = read_catalog(config)?;
    let (integrations, errors) = Integrations::build(config, catalog, libraries, pool, metrics);
    if errors.is_empty() { Ok(integrations) } else { Err(ConfigErrors(errors).into()) }
}

/// Reads the plugins folder of a configuration.
///
/// # Errors
///
/// [`ConfigErrors`] where it can't be listed, or can't be trusted as a whole.
pub fn read_catalog(config: &LoadedConfig) -> Result<Catalog, ConfigErrors> {
    let verifier = Verifier::new(config)?;
    Catalog::read(&config.plugins_dir(), &verifier)
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
            let config = host.config();
            (config.config.server.listen, config.config.admin.listen)
        };
        let webhooks = bind("server.listen", listen).await?;
        let admin = bind("admin.listen", admin).await?;
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
        let (limits, patience) = {
            let config = host.config();
            (Limits::from(&config.config.server), config.config.server.shutdown_timeout)
        };
        let (admin_stopper, admin_stop) = stop_sign();
        let api = server::serve(
            admin,
            api::router(Arc::clone(&host)),
            Limits { max_connections: 256, ..limits.clone() },
            prometheus_client::metrics::gauge::Gauge::default(),
            admin_stop,
        );
        let api = tokio::spawn(api);
        let connections = host.metrics.connections.clone();
        let ingest = ingest::router(Arc::clone(&host));
        let ingest = server::serve(webhooks, ingest, limits, connections, stop.clone());
        let ingest = tokio::spawn(ingest);
        host.phase.serves.store(true, Ordering::Release);
        tracing::info!("webhooks are served");
        stop.wait().await;
        host.phase.stops.store(true, Ordering::Release);
        tracing::info!("stopping: finishing what is in flight");
        if tokio::time::timeout(patience, ingest).await.is_err() {
            tracing::warn!(
                ?patience,
                "gave up on requests in flight; their senders will try again"
            );
        }
        finish(&host, admin_stopper, api).await;
        tracing::info!("stopped");
    }
}

async fn finish(host: &Arc<Host>, admin: Stopper, api: tokio::task::JoinHandle<()>) {
    admin.stop();
    // A client that keeps an API connection open does not keep the host.
    let _ = tokio::time::timeout(Duration::from_secs(2), api).await;
    host.integrations.store(Arc::new(Integrations::default()));
    let store = Arc::clone(&host.store);
    // Closing folds the log into the database, which may take a moment.
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}\nhint: stop what uses it, or write another address at `{key}`"
        )
    })
}

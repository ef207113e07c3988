//! Makes the host from its configuration: plugins, store, metrics and limits.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::{
    call::{CallPool, InProcessRuntime, NotifierPool},
    config::{ConfigErrors, LoadedConfig},
    host::{Host, Parts, in_force::InForce},
    metrics::Metrics,
    plugin_user::occasion::{Occasion, Resources},
    plugins::journal::LoadJournal,
    sandbox::probe::ChildProbe,
    store,
    system::process_limits,
    traces::Traces,
};

/// Loads plugins, opens the store, and joins both to a host. Has to be called in the runtime of the host.
///
/// # Errors
///
/// [`ConfigErrors`] if the configuration is wrong, or a plugin that it requires cannot serve; anything
/// else if the store cannot be opened.
pub(super) fn build(config: LoadedConfig) -> anyhow::Result<Arc<Host>> {
    let store_config = config.store_config().context("`store.url` names no known store")?;
    // The load journal may be in the same folder, and makes its own.
    store::check_folder(&store_config)?;
    let journal = LoadJournal::open(&config.load_journal(&store_config));
    let metrics = Metrics::new();
    let runtime = InProcessRuntime::new(
        journal,
        metrics.calls.stuck_threads.clone(),
        Some(Box::new(ChildProbe)),
    );
    let pool = CallPool::new(Arc::clone(&metrics.calls)).context("cannot start a thread")?;
    let notifier_pool =
        NotifierPool::new(Arc::clone(&metrics.calls)).context("cannot start a thread")?;
    let resources = Resources {
        runtime: &runtime,
        pool: &pool,
        notifier_pool: &notifier_pool,
        metrics: &metrics,
    };
    let occasion =
        Occasion { resources, is_start: true, retries_failed: true, is_stopping: &|| false };
    let (in_force, errors) = InForce::empty(config.clone()).next(config, occasion)?;
    if !errors.is_empty() {
        return Err(ConfigErrors::in_order(errors).into());
    }
    let config = &in_force.config;
    let store = store::open(&store_config, &holder(config), Arc::clone(&metrics.store))?;
    let fewer_connections = fewer_connections(config);
    let traces = Traces::new(Handle::current(), Arc::clone(&metrics.traces));
    traces.configure(&config.config.tracing).map_err(|problem| anyhow!("{problem}"))?;
    let runtime = Box::new(runtime);
    let parts =
        Parts { in_force, metrics, store, runtime, pool, notifier_pool, fewer_connections, traces };
    Ok(Arc::new(Host::new(parts)))
}

/// Returns the number of connections that the limit on open files allows, if that is fewer than are
/// configured.
fn fewer_connections(config: &LoadedConfig) -> Option<usize> {
    let (server, admin) = (&config.config.server, &config.config.admin);
    let open_files = process_limits::raise_open_files();
    let fit = process_limits::connections_that_fit(
        server.max_connections,
        admin.max_connections,
        open_files,
    );
    (fit < server.max_connections).then_some(fit)
}

/// Describes this process for a second host that finds the database locked.
fn holder(config: &LoadedConfig) -> String {
    format!(
        "the tocsin process {} on {} since {:.0} (admin API at {})",
        std::process::id(),
        rustix::system::uname().nodename().to_string_lossy(),
        Timestamp::now(),
        config.config.admin.listen,
    )
}

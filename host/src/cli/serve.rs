//! `tocsin serve`: the host as a process, with its signals.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    api::status,
    config::LoadedConfig,
    host::{BoundHost, Host},
    log,
    reload::Cause,
    server::{self, Stopper, stop_sign},
    watch,
};

pub(super) fn serve(config: &Path) -> anyhow::Result<()> {
    let config = LoadedConfig::read(config)?;
    log::start(&config.config.log);
    // What changes from here on is noticed, though it takes a while until somebody watches.
    let seen = watch::look(&config);
    let runtime = server::runtime().context("cannot start the runtime")?;
    // Whatever waits for the store waits in this runtime.
    let entered = runtime.enter();
    let host = Host::prepare(config)?;
    drop(entered);
    runtime.block_on(async {
        let bound = BoundHost::bind(Arc::clone(&host)).await?;
        announce(&host);
        let (stopper, stop) = stop_sign();
        listen_to_signals(&host, stopper)?;
        watch::start(&host, seen).context("cannot start a thread")?;
        bound.serve(stop).await;
        Ok(())
    })
}

fn announce(host: &Host) {
    for integration in status::integration_list(host) {
        let (name, endpoint) = (integration.name, integration.endpoint);
        match integration.problem {
            Some(problem) => tracing::error!(integration = name, endpoint, problem, "broken"),
            None => {
                tracing::info!(integration = name, endpoint, state = integration.state, "ready");
            }
        }
    }
    for plugin in status::plugin_list(host) {
        if let Some(problem) = plugin.problem {
            tracing::warn!(file = plugin.file, problem, "a plugin is not as it should be");
        }
    }
    let in_force = host.in_force();
    let config = &in_force.config.config;
    let (webhooks, admin) = (config.server.listen, config.admin.listen);
    tracing::info!(%webhooks, %admin, version = env!("CARGO_PKG_VERSION"), "listening");
}

fn listen_to_signals(host: &Arc<Host>, stopper: Stopper) -> anyhow::Result<()> {
    let context = "cannot listen to signals";
    let mut terminate = signal(SignalKind::terminate()).context(context)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(context)?;
    let mut hangup = signal(SignalKind::hangup()).context(context)?;
    // A limit on the size of files is then a full disk, which passes, and not a reason to die.
    let _ = signal(SignalKind::from_raw(SIGXFSZ)).context(context)?;
    let host = Arc::clone(host);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => stopper.stop(),
                _ = interrupt.recv() => stopper.stop(),
                _ = hangup.recv() => {
                    let host = Arc::clone(&host);
                    // Loading plugins takes its time; signals are heard meanwhile.
                    tokio::task::spawn_blocking(move || reload(&host));
                }
            }
        }
    });
    Ok(())
}

/// The signal of a process that writes beyond its limit, on every Linux but MIPS.
const SIGXFSZ: i32 = 25;

fn reload(host: &Host) {
    match host.reload(Cause::Asked) {
        Ok(changes) => {
            tracing::info!(changes = changes.len(), "configuration and plugins were read again");
            changes.iter().for_each(|change| tracing::info!(%change, "reloaded"));
            announce(host);
        }
        Err(problem) => {
            tracing::error!(problem, "nothing was reloaded, everything goes on as it was");
        }
    }
}

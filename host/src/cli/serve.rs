//! `tocsin serve`: the host as a process, with its signals.

use std::{io, path::Path, sync::Arc};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    api::status::PluginList,
    config::LoadedConfig,
    config_warnings,
    host::{BoundHost, Host},
    http::server::{self, Stopper, stop_sign},
    log, process_limits,
    reload::Cause,
    watch,
};

pub(super) fn serve(config: &Path) -> anyhow::Result<()> {
    process_limits::share_arena();
    let config = LoadedConfig::read(config)?;
    log::start(&config.config.log).context("cannot start the log")?;
    process_limits::harden();
    // What changes from here on is noticed, though it takes a while until somebody watches.
    let seen = watch::look(&config);
    let runtime = server::runtime().context("cannot start the runtime")?;
    // Whatever waits for the store waits in this runtime.
    let entered = runtime.enter();
    // Before plugins are loaded: one that is being loaded when the host is told to stop is not at fault.
    let signals = Signals::listen().context("cannot listen to signals")?;
    let host = Host::prepare(config)?;
    drop(entered);
    let served = runtime.block_on(async {
        let bound = BoundHost::bind(Arc::clone(&host)).await?;
        announce(&host);
        let warned = Arc::clone(&host);
        tokio::task::spawn_blocking(move || config_warnings::log(&warned));
        let (stopper, stop) = stop_sign();
        tokio::spawn(signals.heed(Arc::clone(&host), stopper));
        watch::start(&host, seen).context("cannot start a thread")?;
        bound.serve(stop).await;
        Ok(())
    });
    // Everything is committed. A reload that hangs in a plugin is not waited for.
    runtime.shutdown_background();
    served
}

fn announce(host: &Host) {
    let in_force = host.in_force();
    let PluginList { plugins, integrations } = PluginList::of(&in_force, &host.libraries);
    for integration in integrations {
        let (name, endpoint) = (integration.name, integration.endpoint);
        match integration.problem {
            Some(problem) => tracing::error!(integration = name, endpoint, problem, "broken"),
            None => {
                tracing::info!(integration = name, endpoint, state = integration.state, "ready");
            }
        }
    }
    for plugin in plugins {
        if let Some(problem) = plugin.problem {
            tracing::warn!(file = plugin.file, problem, "a plugin is not as it should be");
        }
    }
    let config = &in_force.config.config;
    let (webhooks, admin) = (config.server.listen, config.admin.listen);
    tracing::info!(%webhooks, %admin, version = env!("CARGO_PKG_VERSION"), "listening");
}

/// What the process is told. It is heard from the beginning, and heeded once the host serves.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        // A limit on the size of files is then a full disk, which passes, and not a reason to die.
        let _ = signal(SignalKind::from_raw(SIGXFSZ))?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn heed(mut self, host: Arc<Host>, stopper: Stopper) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => stopper.stop(),
                _ = self.interrupt.recv() => stopper.stop(),
                _ = self.hangup.recv() => {
                    let host = Arc::clone(&host);
                    // Loading plugins takes its time; signals are heard meanwhile.
                    tokio::task::spawn_blocking(move || reload(&host));
                }
            }
        }
    }
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

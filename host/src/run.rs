//! The life of a host process: build, bind, serve, stop.
//!
//! Only this module imports all others. [`mod@build`] makes the host, [`listeners`] binds and serves,
//! [`signals`] handles signals of the operating system, and this file decides the order.

mod build;
mod listeners;
mod signals;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use tokio::{task::JoinHandle, time::Instant};

use self::{build::build, listeners::Listeners, signals::Signals};
use crate::{
    api::status::{PluginList, destination_list},
    config::LoadedConfig,
    config_warnings,
    host::{Host, in_force::InForce},
    hosts, housekeeping,
    http::server::{self, Stop, Stopper, stop_sign},
    notify, watch,
};

/// Runs a host until it is told to stop.
///
/// # Errors
///
/// [`ConfigErrors`](crate::config::ConfigErrors) if the configuration is wrong or a required plugin
/// cannot serve; anything else if the store cannot be opened or a listener cannot be bound.
pub(crate) fn run(config: LoadedConfig) -> anyhow::Result<()> {
    // Changes from here on are noticed, though the watcher starts later.
    let snapshot = watch::look(&config);
    let runtime = server::runtime().context("cannot start the runtime")?;
    // The store's answers are awaited in this runtime.
    let entered = runtime.enter();
    // Signals come before plugins: a plugin that loads while the host is told to stop has not failed.
    let signals = Signals::listen().context("cannot listen to signals")?;
    let host = build(config)?;
    notify::prepare(&*host.store, &host.in_force());
    drop(entered);
    let served = runtime.block_on(async {
        let listeners = Listeners::bind(&host)?;
        announce(&host);
        let warned = Arc::clone(&host);
        tokio::task::spawn_blocking(move || config_warnings::log(&warned));
        let (stopper, stop) = stop_sign();
        tokio::spawn(signals.handle(Arc::clone(&host), stopper));
        watch::start(&host, snapshot).context("cannot start a thread")?;
        serve(&host, listeners, stop).await;
        Ok(())
    });
    // Everything is committed. The stop does not wait for a reload that hangs in a plugin.
    runtime.shutdown_background();
    served
}

/// Serves until the signal to stop. Then finishes the requests in flight, commits them, and closes the
/// store.
async fn serve(host: &Arc<Host>, listeners: Listeners, mut stop: Stop) {
    let shutdown_timeout = host.in_force().config.config.server.shutdown_timeout;
    if let Some(notice) = host.connections_notice() {
        tracing::warn!(
            event = "connections_reduced",
            notice,
            "fewer connections are served than configured",
        );
    }
    let (admin_stopper, admin_stop) = stop_sign();
    let (webhooks, admin) = listeners.serve(host, stop.clone(), admin_stop);
    let housekeeping = tokio::spawn(housekeeping::run(Arc::clone(host), stop.clone()));
    let count = tokio::spawn(housekeeping::alert_count::run(Arc::clone(host), stop.clone()));
    let deliveries = notify::start(host, stop.clone());
    let heartbeat = tokio::spawn(hosts::heartbeat::run(Arc::clone(host), stop.clone()));
    host.begin_serving();
    tracing::info!(event = "serving", "webhooks are served");
    stop.wait().await;
    host.begin_stopping();
    tracing::info!(event = "stopping", "stopping: finishing requests in flight");
    let end = Instant::now() + shutdown_timeout;
    if tokio::time::timeout_at(end, webhooks).await.is_err() {
        tracing::warn!(
            event = "shutdown_timed_out",
            ?shutdown_timeout,
            "gave up on requests in flight; their senders will try again"
        );
    }
    // Housekeeping ends between two steps, and the engine when no attempt runs any more.
    let _ = housekeeping.await;
    let _ = count.await;
    let _ = deliveries.await;
    let _ = heartbeat.await;
    finish(host, admin_stopper, admin, end).await;
    host.traces.flush().await;
    tracing::info!(event = "stopped", "stopped");
}

async fn finish(host: &Arc<Host>, admin_stopper: Stopper, admin: JoinHandle<()>, end: Instant) {
    // A plugin that is still loading may return in time, and has not failed then.
    while host.reloads.is_running() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    admin_stopper.stop();
    // A client that keeps an API connection open does not delay the stop.
    let _ = tokio::time::timeout(Duration::from_secs(2), admin).await;
    let config = host.in_force().config.clone();
    host.put_into_force(InForce::empty(config));
    host.runtime.close();
    // Closing copies the write-ahead log into the database, which may take a moment. It runs on this
    // thread: nothing else needs it now, and a new thread may not start while a plugin hangs as it
    // loads.
    host.store.close();
}

/// Logs the integrations, the destinations, the plugins with a problem, and the addresses.
fn announce(host: &Host) {
    let in_force = host.in_force();
    let PluginList { plugins, integrations } = PluginList::of(&in_force, &*host.runtime);
    for integration in integrations {
        let (name, endpoint) = (integration.name, integration.endpoint);
        match integration.problem {
            Some(problem) => tracing::error!(
                event = "integration_broken",
                integration = name,
                endpoint,
                problem,
                place = integration.place,
                "broken",
            ),
            None => {
                tracing::info!(
                    event = "integration_ready",
                    integration = name,
                    endpoint,
                    state = integration.state.as_str(),
                    "ready",
                );
            }
        }
    }
    for destination in destination_list(&in_force, Vec::new()) {
        match destination.problem {
            Some(problem) => tracing::error!(
                event = "destination_broken",
                destination = destination.name,
                problem,
                place = destination.place,
                "a destination is broken",
            ),
            None => tracing::info!(
                event = "destination_ready",
                destination = destination.name,
                status = destination.status.as_str(),
                "a destination is set up",
            ),
        }
    }
    for plugin in plugins {
        if let Some(problem) = plugin.problem {
            tracing::warn!(
                event = "plugin_problem",
                file = plugin.file,
                problem,
                "a plugin has a problem",
            );
        }
    }
    for certificate in in_force.config.certificates(Timestamp::now()) {
        tracing::info!(
            event = "certificate",
            listener = certificate.listener.section(),
            file = %certificate.path.display(),
            expires_at = %certificate.expires_at,
            "a listener speaks TLS",
        );
    }
    let config = &in_force.config.config;
    let (webhooks, admin) = (config.server.listen, config.admin.listen);
    tracing::info!(
        event = "listening",
        %webhooks,
        %admin,
        version = env!("CARGO_PKG_VERSION"),
        "listening",
    );
}

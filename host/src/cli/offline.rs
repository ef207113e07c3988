//! Plugins and integrations with their problems: from the running host, or loaded here as `serve` would.
//!
//! Nothing is changed, and no host is started.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::{
    Inventory,
    client::{Client, Unreachable},
    output,
};
use crate::{
    api::status::{
        DestinationStatus, IntegrationStatus, PluginStatus, describe_plugins, destination_list,
        integration_list,
    },
    call::{CallPool, InProcessRuntime, NotifierPool},
    config::{ConfigErrors, LoadedConfig},
    host::in_force::InForce,
    metrics::Metrics,
    plugin_user::occasion::{Occasion, Resources},
    plugins::journal::LoadJournal,
    sandbox::probe::ChildProbe,
};

/// Everything that a host would load, without a host.
pub(super) struct OfflineState {
    pub(super) in_force: InForce,
    pub(super) runtime: InProcessRuntime,
    pub(super) errors: ConfigErrors,
}

impl OfflineState {
    pub(super) fn load(config: &Path) -> anyhow::Result<Self> {
        let config = LoadedConfig::read(config)?;
        let store = config.store_config();
        let journal = store.map(|store| LoadJournal::peek(&config.load_journal(&store)));
        let metrics = Metrics::new();
        let stuck_threads = metrics.calls.stuck_threads.clone();
        let runtime = InProcessRuntime::new(
            journal.unwrap_or_default(),
            stuck_threads,
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
            Occasion { resources, is_start: false, retries_failed: true, is_stopping: &|| false };
        let (in_force, errors) = InForce::empty(config.clone()).next(config, occasion)?;
        Ok(Self { in_force, runtime, errors: ConfigErrors(errors) })
    }

    pub(super) fn integrations(&self) -> Vec<IntegrationStatus> {
        integration_list(&self.in_force)
    }

    /// Describes the destinations, as if nothing waited for them: the store is the host's.
    pub(super) fn destinations(&self) -> Vec<DestinationStatus> {
        destination_list(&self.in_force, Vec::new())
    }

    pub(super) fn plugins(&self) -> Vec<PluginStatus> {
        describe_plugins(&self.in_force, &self.runtime)
    }
}

/// Returns the answer of the running host, or `None` if the host is [`Unreachable`].
pub(super) fn ask_host<T: DeserializeOwned>(
    inventory: &Inventory,
    path: &str,
) -> anyhow::Result<Option<T>> {
    match Client::new(&inventory.connection)?.get(path) {
        Ok(answer) => Ok(Some(answer)),
        // If the operator named the URL, another source would be wrong.
        Err(error) if error.is::<Unreachable>() && inventory.connection.url.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn load_offline(inventory: &Inventory) -> anyhow::Result<OfflineState> {
    let offline = OfflineState::load(&inventory.connection.config.config)?;
    output::print_error("no host is running: this is what `tocsin serve` would load");
    if !offline.errors.0.is_empty() {
        output::print_error(&format!("error: {}", offline.errors));
    }
    Ok(offline)
}

/// Prints each problem after the name of the file or integration that has it, and its place in the
/// configuration if it has one.
pub(super) fn print_problems<'p>(
    problems: impl Iterator<Item = (&'p str, &'p Option<String>, Option<&'p String>)>,
) -> anyhow::Result<()> {
    for (what, problem, place) in problems {
        if let Some(problem) = problem {
            output::print_line("")?;
            output::print_line(&format!("`{what}` {problem}"))?;
            if let Some(place) = place {
                output::print_line(&format!("  at {place}"))?;
            }
        }
    }
    Ok(())
}

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
    api::status::{IntegrationStatus, PluginStatus, describe_integrations, describe_plugins},
    call::{CallPool, InProcessRuntime},
    config::{ConfigErrors, LoadedConfig},
    integration::{
        Integrations,
        builder::{Builder, Resources},
    },
    metrics::Metrics,
    plugins::journal::LoadJournal,
    sandbox::probe::ChildProbe,
};

/// Plugins and [`Integrations`] as a host would load them, without a host.
pub(super) struct OfflineState {
    pub(super) config: LoadedConfig,
    pub(super) integrations: Integrations,
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
        let resources = Resources { runtime: &runtime, pool: &pool, metrics: &metrics };
        let (integrations, errors) =
            Builder::new(&config, &Integrations::default(), resources)?.build();
        Ok(Self { config, integrations, runtime, errors: ConfigErrors(errors) })
    }

    pub(super) fn integrations(&self) -> Vec<IntegrationStatus> {
        describe_integrations(&self.integrations, &self.config)
    }

    pub(super) fn plugins(&self) -> Vec<PluginStatus> {
        describe_plugins(&self.integrations, &self.runtime)
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

/// Prints each problem after the name of the file or integration that has it.
pub(super) fn print_problems<'p>(
    problems: impl Iterator<Item = (&'p str, &'p Option<String>)>,
) -> anyhow::Result<()> {
    for (what, problem) in problems {
        if let Some(problem) = problem {
            output::print_line("")?;
            output::print_line(&format!("`{what}` {problem}"))?;
        }
    }
    Ok(())
}

//! `tocsin check`, `tocsin plugins`, `tocsin integrations`: what there is, and what is wrong with it.

use std::{path::Path, sync::Arc};

use serde::de::DeserializeOwned;

use super::{
    CheckFailed, Inventory,
    client::{Client, Unreachable},
    table,
};
use crate::{
    api::status::{
        IntegrationList, IntegrationStatus, PluginList, PluginStatus, describe_integrations,
        describe_plugins,
    },
    call::Pool,
    config::{ConfigErrors, LoadedConfig},
    host::read_catalog,
    integration::Integrations,
    metrics::Metrics,
    plugins::Libraries,
    store::sqlite::SqliteStore,
};

/// Everything loaded as a host would, and nothing changed.
struct Rehearsal {
    config: LoadedConfig,
    integrations: Integrations,
    libraries: Libraries,
    errors: ConfigErrors,
}

impl Rehearsal {
    fn hold(config: &Path) -> anyhow::Result<Self> {
        let config = LoadedConfig::read(config)?;
        let catalog = read_catalog(&config)?;
        let (metrics, libraries) = (Metrics::new(), Libraries::default());
        let pool = Pool::new(Arc::clone(&metrics.calls));
        let (integrations, errors) =
            Integrations::build(&config, catalog, &libraries, &pool, &metrics);
        Ok(Self { config, integrations, libraries, errors: ConfigErrors(errors) })
    }

    fn integrations(&self) -> Vec<IntegrationStatus> {
        describe_integrations(&self.integrations, &self.config)
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        describe_plugins(&self.integrations, &self.libraries)
    }
}

pub(super) fn check(config: &Path) -> anyhow::Result<()> {
    let rehearsal = Rehearsal::hold(config)?;
    let store = rehearsal.config.store_path().map(|path| SqliteStore::check(&path));
    let (integrations, plugins) = (rehearsal.integrations(), rehearsal.plugins());
    print_integrations(&integrations)?;
    for plugin in &plugins {
        if let Some(problem) = &plugin.problem {
            eprintln!("warning: `{}` {problem}", plugin.file);
        }
    }
    let broken = integrations.iter().filter(|integration| integration.problem.is_some());
    let mut faults = rehearsal.errors.0.len();
    for integration in broken {
        faults += 1;
        let problem = integration.problem.as_deref().unwrap_or_default();
        eprintln!("error: integration `{}`: {problem}", integration.name);
    }
    if !rehearsal.errors.0.is_empty() {
        eprintln!("error: {}", rehearsal.errors);
    }
    if let Some(Err(error)) = store {
        faults += 1;
        eprintln!("error: {error:#}");
    }
    if faults > 0 {
        let things = if faults == 1 { "thing is" } else { "things are" };
        return Err(
            CheckFailed(format!("{faults} {things} wrong with `{}`", config.display())).into()
        );
    }
    table::print_line(&format!("`{}` is good", config.display()))
}

pub(super) fn plugins(inventory: &Inventory) -> anyhow::Result<()> {
    let live = ask::<PluginList>(inventory, "/api/v1/plugins")?;
    let plugins = match live {
        Some(list) => list.plugins,
        None => rehearse(inventory)?.plugins(),
    };
    if inventory.json {
        return table::print_json(&PluginList { plugins });
    }
    if plugins.is_empty() {
        return table::print_line("no plugins");
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let row = |plugin: &PluginStatus| {
        vec![
            text(&plugin.name),
            text(&plugin.version),
            plugin.state.clone(),
            plugin.integrations.join(", "),
            plugin.file.clone(),
        ]
    };
    let header = ["PLUGIN", "VERSION", "STATE", "INTEGRATIONS", "FILE"];
    table::print(&header, &plugins.iter().map(row).collect::<Vec<_>>())?;
    print_problems(plugins.iter().map(|plugin| (plugin.file.as_str(), &plugin.problem)))
}

pub(super) fn integrations(inventory: &Inventory) -> anyhow::Result<()> {
    let live = ask::<IntegrationList>(inventory, "/api/v1/integrations")?;
    let integrations = match live {
        Some(list) => list.integrations,
        None => rehearse(inventory)?.integrations(),
    };
    if inventory.json {
        return table::print_json(&IntegrationList { integrations });
    }
    print_integrations(&integrations)?;
    let problems = integrations.iter().map(|one| (one.name.as_str(), &one.problem));
    print_problems(problems)
}

/// What the running host says; none where none answers.
fn ask<T: DeserializeOwned>(inventory: &Inventory, path: &str) -> anyhow::Result<Option<T>> {
    match Client::new(&inventory.connection)?.get(path) {
        Ok(answer) => Ok(Some(answer)),
        // Somebody who names a host means that host.
        Err(error) if error.is::<Unreachable>() && inventory.connection.url.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

fn rehearse(inventory: &Inventory) -> anyhow::Result<Rehearsal> {
    let rehearsal = Rehearsal::hold(&inventory.connection.config.config)?;
    eprintln!("no host is running: this is what `tocsin serve` would find");
    if !rehearsal.errors.0.is_empty() {
        eprintln!("error: {}", rehearsal.errors);
    }
    Ok(rehearsal)
}

fn print_integrations(integrations: &[IntegrationStatus]) -> anyhow::Result<()> {
    if integrations.is_empty() {
        return table::print_line("no integrations");
    }
    let row = |integration: &IntegrationStatus| {
        let plugin = integration.plugin.as_ref();
        vec![
            integration.name.clone(),
            integration.state.clone(),
            plugin.map_or_else(|| "-".into(), ToString::to_string),
            integration.urgency.to_string(),
            integration.endpoint.clone(),
        ]
    };
    let header = ["INTEGRATION", "STATE", "PLUGIN", "URGENCY", "ENDPOINT"];
    table::print(&header, &integrations.iter().map(row).collect::<Vec<_>>())
}

fn print_problems<'p>(
    problems: impl Iterator<Item = (&'p str, &'p Option<String>)>,
) -> anyhow::Result<()> {
    for (what, problem) in problems {
        if let Some(problem) = problem {
            table::print_line(&format!("\n`{what}` {problem}"))?;
        }
    }
    Ok(())
}

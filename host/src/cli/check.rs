//! `tocsin check`: whether a host would serve with this configuration.
//!
//! It changes nothing.

use std::path::Path;

use super::{CheckFailed, integrations::print_integrations, rehearsal::Rehearsal, table};
use crate::store::sqlite::SqliteStore;

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

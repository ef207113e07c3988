//! `tocsin check`: whether a host would serve with this configuration.
//!
//! It changes nothing.

mod options;

use std::path::Path;

use super::{
    CheckFailed, Connection,
    client::{Client, Unreachable},
    integrations::print_integrations,
    rehearsal::Rehearsal,
    reload::{DRY_RUN, print_changes},
    table,
};
use crate::{api::reload::ReloadReport, config::ConfigErrors, store::sqlite::SqliteStore};

pub(super) fn check(connection: &Connection) -> anyhow::Result<()> {
    let config = &*connection.config.config;
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
    let schemas = options::report(&rehearsal);
    for warning in &schemas.warnings {
        eprintln!("warning: {warning}");
    }
    let errors = ConfigErrors([rehearsal.errors.0.as_slice(), &schemas.errors].concat());
    let mut faults = errors.0.len();
    for integration in broken {
        faults += 1;
        let problem = integration.problem.as_deref().unwrap_or_default();
        eprintln!("error: integration `{}`: {problem}", integration.name);
    }
    if !errors.0.is_empty() {
        eprintln!("error: {errors}");
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
    print_what_a_reload_would_change(connection, config)?;
    table::print_line(&format!("`{}` is good", config.display()))
}

/// Asks the host that runs with this configuration, if there is one.
fn print_what_a_reload_would_change(connection: &Connection, config: &Path) -> anyhow::Result<()> {
    let report: ReloadReport = match Client::new(connection)?.post(DRY_RUN) {
        Ok(report) => report,
        Err(error) if error.is::<Unreachable>() => return Ok(()),
        Err(error) => {
            eprintln!("warning: the running host does not say what a reload would change: {error}");
            return Ok(());
        }
    };
    if std::fs::canonicalize(config).is_ok_and(|path| path == report.config) {
        return print_changes("would change", &report.changes);
    }
    eprintln!(
        "warning: the host that runs there has another configuration, `{}`",
        report.config.display()
    );
    Ok(())
}

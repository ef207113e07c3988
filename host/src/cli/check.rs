//! `tocsin check`: loads everything as [`serve`](super::serve) would, and prints every problem.
//!
//! The command changes nothing. It sends nothing to the servers of destinations.

mod certificates;
mod contacts;
mod listeners;
mod options;
mod report;
mod running_host;

use clap::Args;
use jiff::Timestamp;

use self::{
    report::{CheckReport, Finding},
    running_host::RunningHost,
};
use super::{
    CheckFailed, Connection, destinations::print_destinations, integrations::print_integrations,
    offline::OfflineState, output, reload::print_changes,
};
use crate::{
    config::{ConfigError, ConfigErrors, LoadedConfig, StorePaths},
    config_warnings,
    host::in_force::InForce,
    plugin_user::{PluginUsers, role::Role},
    problem::Problem,
    store,
};

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    connection: Connection,
    /// Use no network: do not resolve the names of the servers that destinations contact, and do not try the
    /// addresses of the listeners
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn check(options: &Check) -> anyhow::Result<()> {
    let mut report = CheckReport {
        config: options.connection.config.config.display().to_string(),
        ..CheckReport::default()
    };
    let checked = check_all(options, &mut report);
    if options.json {
        match checked.as_ref().err() {
            None => report.is_good = true,
            Some(error) => match error.downcast_ref::<ConfigErrors>() {
                Some(errors) => report.errors.extend(errors.0.iter().map(Finding::from)),
                None if error.is::<CheckFailed>() => {}
                None => report.errors.push(Finding::of_text(&format!("{error:#}"))),
            },
        }
        output::print_json(&report)?;
    }
    checked
}

/// Prints everything except JSON, and gathers everything for it.
fn check_all(options: &Check, report: &mut CheckReport) -> anyhow::Result<()> {
    let connection = &options.connection;
    let config = &*connection.config.config;
    let is_text = !options.json;
    let print_error = |text: &str| {
        if is_text {
            output::print_error(text);
        }
    };
    let offline = OfflineState::load(config)?;
    let loaded = &offline.in_force.config;
    let paths = loaded.store_paths();
    let is_asked = |paths: &&StorePaths| !(options.offline && paths.store.is_remote());
    let store = paths.as_ref().filter(is_asked).map(|paths| store::check(&paths.store));
    let (integrations, plugins) = (offline.integrations(), offline.plugins());
    let destinations = offline.destinations();
    if is_text {
        print_integrations(&integrations)?;
        if !destinations.is_empty() {
            output::print_line("")?;
            print_destinations(&destinations)?;
        }
    }
    for plugin in &plugins {
        if let Some(problem) = &plugin.problem {
            print_error(&format!("warning: `{}` {problem}", plugin.file));
        }
    }
    let schemas = options::report(&offline);
    let own = loaded.warnings.iter().map(ConfigError::sentence);
    let routes = config_warnings::of_routes(&offline.in_force);
    let routes = routes.iter().map(ConfigError::sentence);
    let contacts = contacts::warnings(&offline.in_force, options.offline)?;
    let backups = paths.as_ref().and_then(|paths| backup_warning(loaded, paths));
    let certificates = certificates::check(loaded, Timestamp::now());
    if is_text {
        certificates::print(&certificates.expiries)?;
    }
    let certificate_warnings = certificates.warnings.iter().map(ConfigError::sentence);
    let warnings = own.chain(routes).chain(schemas.warnings).chain(contacts).chain(backups);
    for warning in warnings.chain(certificate_warnings) {
        print_error(&format!("warning: {warning}"));
        report.warnings.push(Finding::of_text(&warning));
    }
    let host = RunningHost::ask(connection, loaded)?;
    let listeners = if options.offline { Vec::new() } else { host.listener_errors(loaded) };
    let in_force = &offline.in_force;
    let broken = broken(in_force, &in_force.integrations)
        .chain(broken(in_force, &in_force.destinations))
        .collect::<Vec<_>>();
    let errors =
        [offline.errors.0.as_slice(), &schemas.errors, &broken, &listeners, &certificates.errors];
    let errors = errors.concat();
    let errors = ConfigErrors::in_order(errors);
    if !errors.0.is_empty() {
        print_error(&format!("error: {errors}"));
        report.errors.extend(errors.0.iter().map(Finding::from));
    }
    if let Some(Err(error)) = store {
        print_error(&format!("error: {error:#}"));
        report.errors.push(Finding::of_text(&format!("{error:#}")));
    }
    (report.integrations, report.destinations) = (integrations, destinations);
    report.plugins = plugins;
    report.certificates = certificates.expiries;
    let faults = report.errors.len();
    if faults > 0 {
        let problems = if faults == 1 { "problem" } else { "problems" };
        return Err(CheckFailed(format!("{faults} {problems} in `{}`", config.display())).into());
    }
    if let Some(warning) = &host.warning {
        print_error(&format!("warning: {warning}"));
        report.warnings.push(Finding::of_text(warning));
    }
    if is_text && let Some(reload) = &host.report {
        print_changes("would change", &reload.changes)?;
    }
    report.reload = host.report;
    if is_text { output::print_line(&format!("`{}` is good", config.display())) } else { Ok(()) }
}

/// Returns the problems of integrations or destinations that no plugin can serve, each at the key that names
/// the plugin.
fn broken<'f, R: Role>(
    in_force: &'f InForce,
    users: &'f PluginUsers<R>,
) -> impl Iterator<Item = ConfigError> + 'f {
    users.sorted().into_iter().filter_map(|user| {
        let Problem { message, hint, .. } = user.health().problem?;
        let error = in_force.plugin_error::<R>(&user.name, message);
        Some(hint.into_iter().fold(error, ConfigError::hint))
    })
}

/// Returns a warning if backups cannot be made where the configuration says.
fn backup_warning(config: &LoadedConfig, paths: &StorePaths) -> Option<String> {
    let is_missing = config.config.store.backup_dir.is_some() && !paths.backup_dir.is_dir();
    let error = config
        .document
        .error_at(&["store", "backup_dir"], "is not a folder, so no backup can be made there")
        .hint("make the folder, owned by the user of the host");
    is_missing.then(|| error.sentence())
}

//! `tocsin check`: loads everything as [`serve`](super::serve) would, and prints every problem.
//!
//! The command changes nothing. It sends nothing to the servers of destinations.

mod contacts;
mod options;

use clap::Args;

use super::{
    CheckFailed, Connection,
    client::{ApiError, Client, Unreachable},
    destinations::print_destinations,
    integrations::print_integrations,
    offline::OfflineState,
    output,
    reload::{DRY_RUN, print_changes},
};
use crate::{
    api::reload::ReloadReport,
    config::{ConfigError, ConfigErrors, LoadedConfig},
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
    /// Do not resolve the names of the servers that destinations contact
    #[arg(long)]
    offline: bool,
}

pub(super) fn check(options: &Check) -> anyhow::Result<()> {
    let connection = &options.connection;
    let config = &*connection.config.config;
    let offline = OfflineState::load(config)?;
    let store = offline.in_force.config.store_config().map(|config| store::check(&config));
    let (integrations, plugins) = (offline.integrations(), offline.plugins());
    print_integrations(&integrations)?;
    let destinations = offline.destinations();
    if !destinations.is_empty() {
        output::print_line("")?;
        print_destinations(&destinations)?;
    }
    for plugin in &plugins {
        if let Some(problem) = &plugin.problem {
            output::print_error(&format!("warning: `{}` {problem}", plugin.file));
        }
    }
    let schemas = options::report(&offline);
    let own = offline.in_force.config.warnings.iter().map(ConfigError::sentence);
    let routes = config_warnings::of_routes(&offline.in_force);
    let routes = routes.iter().map(ConfigError::sentence);
    let contacts = contacts::warnings(&offline.in_force, options.offline)?;
    for warning in own.chain(routes).chain(schemas.warnings).chain(contacts) {
        output::print_error(&format!("warning: {warning}"));
    }
    let in_force = &offline.in_force;
    let broken = broken(in_force, &in_force.integrations)
        .chain(broken(in_force, &in_force.destinations))
        .collect::<Vec<_>>();
    let errors = [offline.errors.0.as_slice(), &schemas.errors, &broken].concat();
    let errors = ConfigErrors::in_order(errors);
    let mut faults = errors.0.len();
    if !errors.0.is_empty() {
        output::print_error(&format!("error: {errors}"));
    }
    if let Some(Err(error)) = store {
        faults += 1;
        output::print_error(&format!("error: {error:#}"));
    }
    if faults > 0 {
        let problems = if faults == 1 { "problem" } else { "problems" };
        return Err(CheckFailed(format!("{faults} {problems} in `{}`", config.display())).into());
    }
    print_what_a_reload_would_change(connection, &offline.in_force.config)?;
    output::print_line(&format!("`{}` is good", config.display()))
}

/// Returns the problems of integrations or destinations that no plugin can serve, each at the key that names
/// the plugin.
fn broken<'f, R: Role>(
    in_force: &'f InForce,
    users: &'f PluginUsers<R>,
) -> impl Iterator<Item = ConfigError> + 'f {
    users.sorted().into_iter().filter_map(|user| {
        let Problem { message, hint, .. } = user.health().problem?;
        let key = [R::TABLE, &user.name, "plugin"];
        let error = in_force.config.document.error_at(&key, message);
        Some(hint.into_iter().fold(error, ConfigError::hint))
    })
}

/// Asks the host that runs with this configuration, if there is one, and prints its [`ReloadReport`].
fn print_what_a_reload_would_change(
    connection: &Connection,
    config: &LoadedConfig,
) -> anyhow::Result<()> {
    let report: ReloadReport = match Client::new(connection)?.post(DRY_RUN) {
        Ok(report) => report,
        Err(error) => {
            if let Some(reason) = why_unknown(&error, config) {
                output::print_error(&format!(
                    "warning: cannot tell what a reload would change: {reason}"
                ));
            }
            return Ok(());
        }
    };
    let path = &config.document.path;
    if std::fs::canonicalize(path).is_ok_and(|path| path == report.config) {
        return print_changes("would change", &report.changes);
    }
    output::print_error(&format!(
        "warning: the running host uses another configuration, `{}`",
        report.config.display()
    ));
    Ok(())
}

/// Returns the reason why a running host gave no answer, or `None` if no host seems to run.
fn why_unknown(error: &anyhow::Error, config: &LoadedConfig) -> Option<String> {
    if let Some(Unreachable { base, .. }) = error.downcast_ref() {
        let holder = store::holder(&config.store_config()?)?;
        return Some(format!(
            "the store is in use by {holder}, but no host answers at {base}\n\
             hint: if the host's API is elsewhere, name its URL with `--url`"
        ));
    }
    let is_locked_out =
        error.downcast_ref::<ApiError>().is_some_and(|refused| refused.status.as_u16() == 401);
    let hint = if is_locked_out {
        "\nhint: if the tokens in the file have changed since the host read it, name the host with `--url`, and \
         one of its tokens in TOCSIN_ADMIN_TOKEN"
    } else {
        ""
    };
    Some(format!("the running host says: {error:#}{hint}"))
}

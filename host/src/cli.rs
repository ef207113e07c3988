//! The command line: commands and their options, output for people, and exit codes.
//!
//! 0 is success, 2 an error in the command or the configuration, 1 any other failure.

mod alerts;
mod arguments;
mod check;
mod client;
mod deliveries;
mod destinations;
mod integrations;
mod offline;
mod output;
mod pages;
mod plugins;
mod reload;
mod requests;
mod routes;
mod serve;
mod silences;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{ConfigErrors, ExposedConfig, UnreadableConfig},
    log, sandbox,
};

/// Alerting host: receives webhooks, turns them into alerts with plugins, and stores them before it answers
#[derive(Debug, Parser)]
#[command(name = "tocsin", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host: receive webhooks, store alerts, serve the admin API
    ///
    /// The host reloads its configuration and its plugins when they change, and on SIGHUP. On SIGTERM and
    /// SIGINT it finishes requests in flight, commits them, and stops. Logs go to standard error.
    Serve(ConfigFile),
    /// Check the configuration and load the plugins as `serve` would, without changing anything
    ///
    /// If a host runs with this configuration, also shows what a reload would change.
    Check(check::Check),
    /// Make the running host reload its configuration and its plugins, as SIGHUP does
    Reload(reload::Reload),
    /// List the plugins and their problems; inspect, lock, certify or create a plugin
    ///
    /// Asks the running host. If no host answers, reads the folder itself.
    Plugins(plugins::Plugins),
    /// List the integrations, their endpoints and their problems
    ///
    /// Asks the running host. If no host answers, reads the configuration itself.
    Integrations(Inventory),
    /// List the destinations, their problems and what waits for them; show or test one
    ///
    /// Asks the running host. If no host answers, reads the configuration itself, without the deliveries.
    Destinations(destinations::Destinations),
    /// List, show, acknowledge, resolve and annotate alerts; needs a running host
    Alerts(alerts::Alerts),
    /// List, show and replay webhook requests; needs a running host
    Requests(requests::Requests),
    /// List, show, retry and discard deliveries of news about alerts; needs a running host
    Deliveries(deliveries::Deliveries),
    /// Explain who is told of an alert, when, and why another destination is not
    Routes(routes::RoutesCommand),
    /// List, add and end silences, during which nobody is told of alerts; needs a running host
    Silences(silences::Silences),
    /// Child process in which a plugin runs before the host trusts it
    #[command(name = sandbox::SUBCOMMAND, hide = true)]
    PluginSandbox,
}

#[derive(Args, Clone, Debug)]
struct ConfigFile {
    /// Configuration file of the host
    #[arg(long, value_name = "FILE", env = "TOCSIN_CONFIG", default_value = "tocsin.toml")]
    config: PathBuf,
}

#[derive(Args, Clone, Debug)]
struct Connection {
    #[command(flatten)]
    config: ConfigFile,
    /// URL of the admin API, such as `http://127.0.0.1:8081`, instead of the one in the configuration
    ///
    /// The token is then read from the environment variable TOCSIN_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", env = "TOCSIN_ADMIN_URL")]
    url: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Inventory {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

/// Runs the command of this process's arguments, and returns the exit code.
pub fn main() -> u8 {
    let result = match Cli::parse().command {
        Command::Serve(file) => serve::serve(&file.config),
        Command::Check(options) => check::check(&options),
        Command::Reload(reload) => reload::reload(&reload),
        Command::Plugins(plugins) => plugins::run(plugins),
        Command::Integrations(inventory) => integrations::list(&inventory),
        Command::Destinations(destinations) => destinations::run(destinations),
        Command::Alerts(alerts) => alerts::run(alerts),
        Command::Requests(requests) => requests::run(requests),
        Command::Deliveries(deliveries) => deliveries::run(deliveries),
        Command::Routes(routes) => routes::run(routes),
        Command::Silences(silences) => silences::run(silences),
        Command::PluginSandbox => return sandbox::child::main(),
    };
    // Log lines come before the error that ended the command.
    log::flush();
    match result {
        Ok(()) => 0,
        Err(error) if is_closed_pipe(&error) => 0,
        Err(error) => {
            output::print_error(&format!("error: {error:#}"));
            if is_usage_error(&error) { 2 } else { 1 }
        }
    }
}

/// Summary of a check that found errors, each of which was printed before.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CheckFailed(String);

/// Error in the arguments of a command, exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn is_usage_error(error: &anyhow::Error) -> bool {
    error.is::<ConfigErrors>()
        || error.is::<UnreadableConfig>()
        || error.is::<ExposedConfig>()
        || error.is::<CheckFailed>()
        || error.is::<UsageError>()
}

/// Returns true if the reader of the output, such as `head`, closed it.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_accepts_the_definition_of_the_command_line() {
        Cli::command().debug_assert();
    }
}

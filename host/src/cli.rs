//! The command line: what people type, what they see, and how a command ends.
//!
//! 0 is success, 2 a message in the command or the configuration, 1 any other failure.

mod alerts;
mod check;
mod client;
mod integrations;
mod offline;
mod output;
mod plugins;
mod reload;
mod requests;
mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{ConfigErrors, ExposedConfig, UnreadableConfig},
    log, sandbox,
};

/// Alerts from webhooks, understood by plugins, on disk before the sender is answered.
#[derive(Debug, Parser)]
#[command(name = "tocsin", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host: take webhooks, keep alerts, serve the admin API
    ///
    /// SIGTERM and SIGINT stop it once everything in flight is committed. It reads its configuration
    /// and its plugins again when they change, and on SIGHUP. Logs go to standard error.
    Serve(ConfigFile),
    /// Load everything as `serve` would, change nothing, and say what is wrong
    ///
    /// Where a host runs with this configuration, it is asked what a reload would change.
    Check(Connection),
    /// Have the running host read its configuration and its plugins again, as SIGHUP does
    Reload(reload::Reload),
    /// List the files of the plugins folder, and what is wrong with them
    ///
    /// Asks the running host. Where none answers, looks at the folder itself.
    Plugins(plugins::Plugins),
    /// List the integrations, their endpoints, and what is wrong with them
    ///
    /// Asks the running host. Where none answers, looks at the configuration itself.
    Integrations(Inventory),
    /// List, show, acknowledge, resolve and annotate alerts, through the running host
    Alerts(alerts::Alerts),
    /// List and show what became of requests, and run them again, through the running host
    Requests(requests::Requests),
    /// What `certify` and `schema` run a plugin in, and a host tries it in before it loads it
    #[command(name = sandbox::SUBCOMMAND, hide = true)]
    PluginTrial,
}

#[derive(Args, Clone, Debug)]
struct ConfigFile {
    /// The host's configuration
    #[arg(long, value_name = "FILE", env = "TOCSIN_CONFIG", default_value = "tocsin.toml")]
    config: PathBuf,
}

#[derive(Args, Clone, Debug)]
struct Connection {
    #[command(flatten)]
    config: ConfigFile,
    /// The admin API, instead of the configuration's; its token is then TOCSIN_ADMIN_TOKEN
    #[arg(long, value_name = "URL", env = "TOCSIN_ADMIN_URL")]
    url: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Inventory {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON, as the API gives it
    #[arg(long)]
    json: bool,
}

/// Runs the command that was typed, and gives the exit code.
pub fn main() -> u8 {
    let result = match Cli::parse().command {
        Command::Serve(file) => serve::serve(&file.config),
        Command::Check(connection) => check::check(&connection),
        Command::Reload(reload) => reload::reload(&reload),
        Command::Plugins(plugins) => plugins::run(plugins),
        Command::Integrations(inventory) => integrations::list(&inventory),
        Command::Alerts(alerts) => alerts::run(alerts),
        Command::Requests(requests) => requests::run(requests),
        Command::PluginTrial => return sandbox::child::main(),
    };
    // What was logged comes before the error that ended it.
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

/// A check that found something; it was said already, save for the summary.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CheckFailed(String);

/// A usage error, exit code 2.
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

/// Whoever reads the list, such as `head`, had enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

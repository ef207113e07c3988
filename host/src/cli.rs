//! The command line: commands and their options, output for people, and exit codes.
//!
//! 0 is success, 2 an error in the command or the configuration, 1 any other failure.

mod alerts;
mod arguments;
mod audit;
mod backup;
mod check;
mod client;
mod completions;
mod deliveries;
mod destinations;
mod hosts;
mod integrations;
mod man;
mod offline;
mod output;
mod pages;
mod plugins;
mod reload;
mod requests;
mod restore;
mod routes;
mod serve;
mod silences;
mod times;

use std::{iter, path::PathBuf};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource,
};

use crate::{
    config::{ConfigErrors, ExposedConfig, UnreadableConfig},
    log, sandbox,
};

/// Alerting host: receives webhooks, turns them into alerts with plugins, and stores them before it answers
#[derive(Debug, Parser)]
#[command(name = "tocsin", version, propagate_version = true, after_help = EVERYWHERE)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

const EVERYWHERE: &str =
    "The options --config, --url, --ca, --json and --utc may stand before or after the command.";

/// Options that may stand before the command, too. The commands that use them describe them.
#[derive(Args, Debug)]
struct Everywhere {
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, global = true, hide = true, value_name = "URL", value_parser = parse_url)]
    url: Option<String>,
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    json: bool,
    /// Print times in UTC instead of the local time zone
    #[arg(long, global = true)]
    utc: bool,
}

/// Ids of the options in [`Everywhere`] that only some commands have.
const OF_SOME_COMMANDS: [&str; 4] = ["config", "url", "ca", "json"];

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
    /// Make a backup of the store, verified, also while the host runs
    ///
    /// The running host writes the file into `store.backup_dir`, by default beside the database. If no host
    /// runs, or with `--to`, this command writes the file.
    Backup(backup::BackupCommand),
    /// Put a backup in the place of the store; the host has to be stopped
    ///
    /// The former database is kept beside it, under a name that is printed.
    Restore(restore::Restore),
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
    /// List the hosts that share a store, and what each serves; needs a running host
    Hosts(hosts::Hosts),
    /// List the acts of people and programs, done and refused; needs a running host
    Audit(audit::Audit),
    /// Print a script with which a shell completes the commands and options of `tocsin`
    ///
    /// For bash: `tocsin completions bash > /usr/share/bash-completion/completions/tocsin`
    Completions(completions::Completions),
    /// Write the manual pages, one for each command
    Man(man::Man),
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
    /// URL of the admin API, such as `https://host:8081` or `127.0.0.1:8081`, instead of the one in the
    /// configuration
    ///
    /// The token is then read from the environment variable TOCSIN_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", env = "TOCSIN_ADMIN_URL", value_parser = parse_url)]
    url: Option<String>,
    /// File with the certificates of the authorities that are trusted for https, in PEM format, beside
    /// those of the system
    #[arg(long, value_name = "FILE", env = "TOCSIN_ADMIN_CA")]
    ca: Option<PathBuf>,
}

/// Parses the URL of an API; an address without a scheme is one of http.
fn parse_url(text: &str) -> Result<String, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Option<http::Uri> = whole.parse().ok();
    let is_usable = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    if is_usable {
        return Ok(whole.trim_end_matches('/').to_owned());
    }
    Err("write `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`".into())
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
    // The child process in which a plugin runs before the host trusts it. It is no command for people.
    if std::env::args_os().nth(1).is_some_and(|command| command == sandbox::SUBCOMMAND) {
        return sandbox::child::main();
    }
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    times::set_zone(cli.everywhere.utc);
    let mut command = cli.command;
    if let Command::Plugins(plugins) = &mut command {
        // An option that stands at an outer command is passed on to the inner ones, and so is the variable.
        plugins.forget_default_config(&matches);
    }
    let result = refuse_needless(&matches).and_then(|()| run(command));
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

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(file) => serve::serve(&file.config),
        Command::Check(options) => check::check(&options),
        Command::Reload(reload) => reload::reload(&reload),
        Command::Backup(command) => backup::run(&command),
        Command::Restore(command) => restore::run(&command),
        Command::Plugins(plugins) => plugins::run(plugins),
        Command::Integrations(inventory) => integrations::list(&inventory),
        Command::Destinations(destinations) => destinations::run(destinations),
        Command::Alerts(alerts) => alerts::run(alerts),
        Command::Requests(requests) => requests::run(requests),
        Command::Deliveries(deliveries) => deliveries::run(deliveries),
        Command::Routes(routes) => routes::run(routes),
        Command::Silences(silences) => silences::run(silences),
        Command::Hosts(options) => hosts::run(&options),
        Command::Audit(options) => audit::list(&options),
        Command::Completions(completions) => completions::print(&completions),
        Command::Man(man) => man::write(&man),
    }
}

/// Refuses an option of [`Everywhere`] that the command does not use.
fn refuse_needless(matches: &ArgMatches) -> anyhow::Result<()> {
    let (mut command, mut name) = (Cli::command(), String::from("tocsin"));
    for sub in levels(matches).filter_map(ArgMatches::subcommand_name) {
        let Some(found) = command.find_subcommand(sub) else { break };
        name = format!("{name} {sub}");
        command = found.clone();
    }
    for id in OF_SOME_COMMANDS {
        let is_used = command.get_arguments().any(|argument| argument.get_id() == id);
        if !is_used && is_given(matches, id) {
            let hint = format!("hint: `{name} --help` lists the options");
            return Err(UsageError(format!("`{name}` has no option `--{id}`\n{hint}")).into());
        }
    }
    Ok(())
}

/// Returns true if an option is given on the command line, before or after the command.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    levels(matches).any(|level| {
        let is_known = level.try_contains_id(id).is_ok();
        is_known && level.value_source(id) == Some(ValueSource::CommandLine)
    })
}

/// Returns the arguments of the program, then those of each command below.
fn levels(matches: &ArgMatches) -> impl Iterator<Item = &ArgMatches> {
    iter::successors(Some(matches), |level| level.subcommand().map(|(_, inner)| inner))
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
    use super::*;

    #[test]
    fn clap_accepts_the_definition_of_the_command_line() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_url_needs_no_scheme_and_has_no_path_of_its_own() {
        for (text, url) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("localhost:8081", "http://localhost:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("https://host/", "https://host"),
            ("https://host/tocsin/", "https://host/tocsin"),
        ] {
            assert_eq!(parse_url(text).as_deref(), Ok(url));
        }
        for wrong in ["", "http://", "ftp://host", "a b", ":8081", "https://host?x=1"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}

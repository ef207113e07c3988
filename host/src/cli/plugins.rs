//! `tocsin plugins`: the files of the plugins folder, and what can be done with one.

mod certify;
mod inspect;
mod list;
mod lock;
mod new;
mod retry;
mod schema;

use clap::{Args, Subcommand};

use super::Inventory;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Plugins {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: Inventory,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every file of the plugins folder, and what is wrong with it (what `tocsin plugins` does
    /// alone)
    List(Inventory),
    /// Show what a file is and whether this host would load it, without running a byte of it
    ///
    /// Works on any file. Exits 1 if this host would not load it.
    Inspect(inspect::Inspect),
    /// Write the hashes of the plugins in the folder into the lock file
    ///
    /// With `verify = "checksum"` under `[plugins]`, the host loads these plugins and no others. Run
    /// it when you trust what lies in the folder.
    Lock(lock::Lock),
    /// Try a plugin again that was left aside because a host died as it was loaded
    ///
    /// Asks the running host. Where none answers, the next one tries it.
    Retry(retry::Retry),
    /// Write a whole plugin crate to begin from: options, fixtures, tests and a README
    New(new::New),
    /// Run a plugin in child processes, and judge it before anybody ships it
    ///
    /// Each check is passed, warned, failed or skipped. Exits with 1 if any failed. Needs no
    /// configuration and no host.
    Certify(certify::Certify),
    /// Print the JSON Schema of a plugin's options
    ///
    /// This runs the plugin, in a child process with a deadline.
    Schema(schema::PrintSchema),
}

pub(super) fn run(plugins: Plugins) -> anyhow::Result<()> {
    match plugins.verb.unwrap_or(Verb::List(plugins.list)) {
        Verb::List(inventory) => list::list(&inventory),
        Verb::Inspect(args) => inspect::inspect(&args),
        Verb::Lock(lock) => lock::lock(&lock),
        Verb::Retry(retry) => retry::retry(&retry),
        Verb::New(args) => new::new(&args),
        Verb::Certify(certify) => certify::run(&certify),
        Verb::Schema(schema) => schema::print(&schema),
    }
}

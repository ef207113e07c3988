//! `tocsin plugins`: commands for the plugins folder, for one plugin, and for plugin authors.

mod certify;
mod inspect;
mod list;
mod lock;
mod new;
mod retry;
mod schema;

use clap::{ArgMatches, Args, Subcommand};

use super::{Inventory, is_given};

#[derive(Args, Debug)]
pub(super) struct Plugins {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: Inventory,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the files of the plugins folder and their problems (the default)
    List(Inventory),
    /// Show what a file contains and if this host would load it, without running its code
    ///
    /// Works on any file. Exits with 1 if this host would not load the file.
    Inspect(inspect::Inspect),
    /// Write the hashes of the plugins in the folder into the lock file
    ///
    /// With `verify = "checksum"` under `[plugins]`, the host loads only plugins whose hashes are in the
    /// lock file. Run this command if you trust the present files of the folder.
    Lock(lock::Lock),
    /// Load a plugin again that was set aside because the host died while loading it
    ///
    /// Asks the running host. If no host answers, the next host that starts tries the plugin.
    Retry(retry::Retry),
    /// Create the crate of a new plugin, with options, fixtures, tests and a README
    New(new::New),
    /// Test a plugin before it is published, in child processes
    ///
    /// Each check is passed, warned, failed or skipped. Exits with 1 if a check failed. Needs no
    /// configuration and no running host.
    Certify(certify::Certify),
    /// Print the JSON Schema of a plugin's options
    ///
    /// Runs code of the plugin in a child process with a timeout of 10 seconds.
    Schema(schema::PrintSchema),
}

impl Plugins {
    /// Takes the configuration from the verb that needs none, unless it is given on the command line.
    pub(super) fn forget_default_config(&mut self, matches: &ArgMatches) {
        if let Some(Verb::Inspect(inspect)) = &mut self.verb
            && !is_given(matches, "config")
        {
            inspect.config = None;
        }
    }
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

//! `tocsin reload`: makes the running host reload its configuration and its plugins.

use clap::Args;

use super::{Connection, client::Client, output};
use crate::{api::reload::ReloadReport, config::change::ConfigChange};

#[derive(Args, Debug)]
pub(super) struct Reload {
    #[command(flatten)]
    connection: Connection,
    /// Change nothing; show what a reload would change
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

pub(super) fn reload(reload: &Reload) -> anyhow::Result<()> {
    let path = if reload.dry_run { DRY_RUN } else { "/api/v1/reload" };
    let report: ReloadReport = Client::new(&reload.connection)?.post(path)?;
    if reload.json {
        return output::print_json(&report);
    }
    let what = if reload.dry_run { "would change" } else { "changed" };
    print_changes(what, &report.changes)
}

/// Route that returns what a reload would change.
pub(super) const DRY_RUN: &str = "/api/v1/reload?dry_run=true";

/// Prints the [`ConfigChange`]s of a reload. `what` is `changed` or `would change`.
pub(super) fn print_changes(what: &str, changes: &[ConfigChange]) -> anyhow::Result<()> {
    if changes.is_empty() {
        return output::print_line(&format!("a reload {what} nothing"));
    }
    output::print_line(&format!("a reload {what}:"))?;
    changes.iter().try_for_each(|change| output::print_line(&format!("  {change}")))
}

//! `tocsin backup`: makes a backup of the store, through the running host or without one.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::Args;

use super::{Connection, UsageError, client::Client, output};
use crate::{
    api::backup::BackupReport,
    config::StorePaths,
    store::{self, backup::BackupTarget},
};

/// Longest time of a backup: a large store on a slow disk takes minutes.
const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Args, Debug)]
pub(super) struct BackupCommand {
    #[command(flatten)]
    connection: Connection,
    /// Write this file, on this machine, instead of one with the time in its name in `store.backup_dir`
    ///
    /// The command reads the database itself, whether a host runs or not. Run it as the user of the host or as
    /// root.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "to")]
    replace: bool,
    /// Delete older backups in `store.backup_dir` afterwards, so that this many are left
    #[arg(long, value_name = "COUNT", conflicts_with = "to")]
    keep: Option<NonZeroUsize>,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &BackupCommand) -> anyhow::Result<()> {
    let BackupCommand { connection, to, replace, keep, json } = command;
    let report = match to {
        Some(_) if connection.url.is_some() => {
            return Err(UsageError(
                "`--to` reads the database on this machine, and cannot be used with a URL\n\
                 hint: leave out `--to`, or `--url` and the variable TOCSIN_ADMIN_URL"
                    .into(),
            )
            .into());
        }
        Some(path) => {
            let target = BackupTarget { path: path.clone(), replaces: *replace };
            make_here(connection, Some(target), None)?
        }
        None if connection.url.is_none() && !is_host_running(connection)? => {
            make_here(connection, None, *keep)?
        }
        None => {
            let query = keep.map(|keep| format!("?keep={keep}")).unwrap_or_default();
            let client = Client::with_timeout(connection, TIMEOUT)?;
            client.post(&format!("/api/v1/backup{query}"))?
        }
    };
    if *json {
        return output::print_json(&report);
    }
    output::print_line(&format!(
        "`{}` is a verified backup: {}, {} bytes",
        report.path,
        counted(report.alerts, "alert"),
        report.bytes
    ))?;
    report.deleted.iter().try_for_each(|path| output::print_line(&format!("deleted `{path}`")))
}

fn is_host_running(connection: &Connection) -> anyhow::Result<bool> {
    let paths = StorePaths::read(&connection.config.config)?;
    Ok(store::holder(&paths.store).is_some())
}

fn make_here(
    connection: &Connection,
    target: Option<BackupTarget>,
    keep: Option<NonZeroUsize>,
) -> anyhow::Result<BackupReport> {
    let paths = StorePaths::read(&connection.config.config)?;
    let target = target.unwrap_or_else(|| paths.store.backup_in(&paths.backup_dir));
    let backup = store::back_up(&paths.store, &target)?;
    Ok(BackupReport::new(&backup, &paths, keep)?)
}

/// Returns a number with its noun, such as `2 alerts`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

//! `tocsin restore`: puts a backup in the place of the store of a host that is stopped.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{ConfigFile, backup::counted, output};
use crate::{
    config::StorePaths,
    store::{self, backup::Restored},
};

#[derive(Args, Debug)]
pub(super) struct Restore {
    #[command(flatten)]
    config: ConfigFile,
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RestoreReport {
    store: String,
    former: Option<String>,
    alerts: u64,
    schema: i64,
    warning: Option<String>,
}

pub(super) fn run(restore: &Restore) -> anyhow::Result<()> {
    let paths = StorePaths::read(&restore.config.config)?;
    let holder = format!("`tocsin restore`, process {}", std::process::id());
    let Restored { store, former, alerts, schema, warning } =
        store::restore(&paths.store, &restore.file, &holder)?;
    let store = store.display().to_string();
    let former = former.map(|path| path.display().to_string());
    if let Some(warning) = &warning {
        output::print_error(&format!("warning: {warning}"));
    }
    if restore.json {
        return output::print_json(&RestoreReport { store, former, alerts, schema, warning });
    }
    let file = restore.file.display();
    output::print_line(&format!(
        "`{store}` is restored from `{file}`: {}",
        counted(alerts, "alert")
    ))?;
    match former {
        Some(former) => output::print_line(&format!("the former database is `{former}`")),
        None => Ok(()),
    }
}

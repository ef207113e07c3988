//! Saves what a host still holds open of a database whose files were removed or replaced.
//!
//! The files of the database itself are left as they lie.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use rusqlite::{Connection, backup::Backup};

use crate::private_file::{self, beside};

/// Copies the whole database into a new file beside its old path, and logs the name of that file.
pub(super) fn save(connection: &Connection, database: &Path) {
    match copy(connection, database) {
        Ok(saved) => tracing::error!(
            saved = %saved.display(),
            "all alerts were saved into a new file; hint: to go on with it, move it to `{}` while no \
             host runs, and remove `{}` and `{}` there",
            database.display(),
            beside(database, "-wal").display(),
            beside(database, "-shm").display(),
        ),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the alerts could not be saved");
        }
    }
}

fn copy(connection: &Connection, database: &Path) -> anyhow::Result<PathBuf> {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let path = beside(database, &format!(".saved-{now}"));
    let context = || format!("cannot write `{}`", path.display());
    let file = private_file::create_new(&path).with_context(context)?;
    let mut copy = Connection::open(&path).with_context(context)?;
    Backup::new(connection, &mut copy)?.step(-1).with_context(context)?;
    copy.close().map_err(|(_, error)| error).with_context(context)?;
    file.sync_all().with_context(context)?;
    Ok(path)
}

//! Emergency copy of a database whose files were removed or replaced while the host has them open.
//!
//! The files of the database itself are not changed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{backup::make_independent, identity::SAVED};
use crate::system::private_file::{self, beside};

/// Number of tries. The disk may be full, and an operator may be making room.
const TRIES: u32 = 10;
/// The pause before another try.
const PAUSE: Duration = Duration::from_secs(1);

/// Copies the whole database into a new file beside its old path, and logs the name of that file.
pub(super) fn save(connection: &Connection, database: &Path) {
    for left in (0..TRIES).rev() {
        match copy(connection, database) {
            Ok(saved) => {
                return tracing::error!(
                    event = "alerts_rescued",
                    saved = %saved.display(),
                    "all alerts were saved into a new file; hint: to use it, move it to `{}` \
                     while no host runs, and remove `{}` and `{}` there",
                    database.display(),
                    beside(database, "-wal").display(),
                    beside(database, "-shm").display(),
                );
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    event = "alert_rescue_failed",
                    error,
                    tries_left = left,
                    "the alerts cannot be saved; hint: free disk space"
                );
            }
        }
        thread::sleep(PAUSE);
    }
}

fn copy(connection: &Connection, database: &Path) -> anyhow::Result<PathBuf> {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let path = beside(database, &format!("{SAVED}{now}"));
    let copied = copy_into(&path, connection).with_context(|| format!("`{}`", path.display()));
    if copied.is_err() {
        // An incomplete copy is useless.
        let _ = fs::remove_file(&path);
    }
    copied.map(|()| path)
}

fn copy_into(path: &Path, connection: &Connection) -> anyhow::Result<()> {
    let file = private_file::create_new(path)?;
    let mut copy = Connection::open(path)?;
    let step = Backup::new(connection, &mut copy)?.step(-1)?;
    anyhow::ensure!(step == StepResult::Done, "the database is in use ({step:?})");
    copy.close().map_err(|(_, error)| error)?;
    make_independent(path)?;
    file.sync_all()?;
    // The name of the file has to be on disk, too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
}

//! Write-ahead logs whose database is gone.
//!
//! SQLite applies whatever log lies beside a database, even one that was written for another database,
//! and deletes the log of a database that is missing or empty. Such a log may be the last trace of
//! alerts: it is renamed, never removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    identity::inode,
    lock::{Before, KnownDatabase},
};
use crate::private_file::beside;

/// Renames the log beside a database if it belongs to another one, and returns its new path.
///
/// A log belongs to another database if the database is missing or empty, or if the log is the one that
/// the last host wrote and the database is not. A backup of both files has a log of its own.
pub(super) fn set_aside(database: &Path, before: Before) -> io::Result<Option<PathBuf>> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = beside(database, "-wal");
    let is_foreign = match before {
        Before::Known(KnownDatabase { inodes: (known_database, known_log), .. }) => {
            inode(&log) == known_log && inode(database) != known_database
        }
        Before::SomeHost | Before::Nothing => false,
    };
    if length(&log) == 0 || !(is_foreign || length(database) == 0) {
        return Ok(None);
    }
    let now = Timestamp::now().strftime(".orphaned-%Y%m%dT%H%M%S%3fZ").to_string();
    let aside = beside(&log, &now);
    fs::rename(&log, &aside)?;
    // The index of that log is made anew from the log that follows.
    let _ = fs::remove_file(beside(database, "-shm"));
    Ok(Some(aside))
}

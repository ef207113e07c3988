//! Write-ahead logs whose database was removed or replaced.
//!
//! SQLite applies whatever log lies beside a database, even one that was written for another database,
//! and deletes the log of a database that is missing or empty. Such a log may be the last trace of
//! alerts: it is renamed, never removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::{
    identity::inode,
    lock::{Before, KnownDatabase},
};
use crate::system::private_file::beside;

/// Renames the log beside a database if it belongs to another one, and returns its new path.
///
/// A log belongs to another database if the database is missing or empty, or if the log is the one that
/// the last host wrote and the database is not: every host writes a number of its own into the file
/// before it writes anything else, and notes that number. A backup of both files, or a copy of the whole
/// folder, keeps its log.
pub(super) fn set_aside(database: &Path, before: Before) -> io::Result<Option<PathBuf>> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = beside(database, "-wal");
    if length(&log) == 0 {
        return Ok(None);
    }
    let is_foreign = match before {
        Before::Known(KnownDatabase { session, inodes: (_, known_log), .. }) => {
            inode(&log) == known_log && session_of(database) != Some(session)
        }
        Before::SomeHost | Before::Nothing => false,
    };
    if !(is_foreign || length(database) == 0) {
        return Ok(None);
    }
    let now = Timestamp::now().strftime(".orphaned-%Y%m%dT%H%M%S%3fZ").to_string();
    let aside = beside(&log, &now);
    fs::rename(&log, &aside)?;
    // The index of that log is made anew from the log that follows.
    let _ = fs::remove_file(beside(database, "-shm"));
    Ok(Some(aside))
}

/// Returns the number of the last session from the database file alone, whatever its log says; none if
/// there is none, or the file cannot be read.
pub(super) fn session_of(database: &Path) -> Option<u64> {
    let escaped = database.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let file = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).ok()?;
    let sql = "SELECT value FROM meta WHERE key = 'session'";
    file.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().map(i64::cast_unsigned)
}

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
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{
    identity::inode,
    lock::{Before, KnownDatabase},
};
use crate::system::private_file::beside;

/// Renames the log beside a database if it belongs to another one, and returns its new path.
///
/// A log belongs to another database if the database is missing or empty, or if the log is the one that
/// the last host wrote and the database is not: every host notes a number of its own, and writes it into
/// the file before it writes anything else. A backup of both files, or a copy of the whole
/// folder, keeps its log.
pub(super) fn set_aside(database: &Path, before: Before) -> io::Result<Option<PathBuf>> {
    if !is_foreign(database, before) {
        return Ok(None);
    }
    let log = beside(database, "-wal");
    let now = Timestamp::now().strftime(".orphaned-%Y%m%dT%H%M%S%3fZ").to_string();
    let aside = beside(&log, &now);
    fs::rename(&log, &aside)?;
    // The index of that log is made anew from the log that follows.
    let _ = fs::remove_file(beside(database, "-shm"));
    Ok(Some(aside))
}

/// Returns true if the log beside a database belongs to another one, see [`set_aside`].
pub(super) fn is_foreign(database: &Path, before: Before) -> bool {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = beside(database, "-wal");
    if length(&log) == 0 {
        return false;
    }
    let is_foreign = match before {
        Before::Known(KnownDatabase { session, next_session, inodes: (_, known_log), .. }) => {
            let is_known = |found| found == session || Some(found) == next_session;
            // A power cut during a checkpoint leaves a database that cannot be read without its log.
            let is_another = |found: Option<u64>| !found.is_some_and(is_known);
            inode(&log) == known_log && read_session(database).is_ok_and(is_another)
        }
        Before::SomeHost | Before::Nothing => false,
    };
    is_foreign || length(database) == 0
}

/// Returns the number of the last session from the database file alone, whatever its log says; none if
/// there is none, or the file cannot be read.
pub(super) fn session_of(database: &Path) -> Option<u64> {
    read_session(database).ok().flatten()
}

/// Opens a database for reading. If it has no log, no file is created beside it.
pub(super) fn open_to_read(database: &Path) -> rusqlite::Result<Connection> {
    let has_log = fs::metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > 0);
    if !has_log {
        return open_without_log(database);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(database, flags)
}

/// Opens a database file as if it had no log. Nothing is created beside it.
pub(super) fn open_without_log(database: &Path) -> rusqlite::Result<Connection> {
    let path = database.to_string_lossy();
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

fn read_session(database: &Path) -> rusqlite::Result<Option<u64>> {
    let file = open_without_log(database)?;
    let sql = "SELECT value FROM meta WHERE key = 'session'";
    let session = file.query_row(sql, [], |row| row.get::<_, i64>(0)).optional()?;
    Ok(session.map(i64::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_log_if_the_last_host_had_only_announced_its_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        let connection = Connection::open(&database).expect("a database");
        let session = "CREATE TABLE meta (key, value); INSERT INTO meta VALUES ('session', 10)";
        connection.execute_batch(session).expect("a session");
        drop(connection);
        let log = beside(&database, "-wal");
        fs::write(&log, "a log").expect("written");
        let note = |next_session| {
            let inodes = (inode(&database), inode(&log));
            Before::Known(KnownDatabase { salt: 1, session: 9, next_session, alerts: 0, inodes })
        };
        assert_eq!(set_aside(&database, note(Some(10))).expect("it looks"), None);
        assert!(set_aside(&database, note(Some(11))).expect("it looks").is_some());
    }

    #[test]
    fn keeps_the_log_of_a_database_that_a_power_cut_left_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        fs::write(&database, [7; 4096]).expect("written");
        let log = beside(&database, "-wal");
        fs::write(&log, "a log").expect("written");
        let inodes = (inode(&database), inode(&log));
        let known = KnownDatabase { salt: 1, session: 9, next_session: None, alerts: 0, inodes };
        assert_eq!(set_aside(&database, Before::Known(known)).expect("it looks"), None);
    }
}

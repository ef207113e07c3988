//! Mark of a database that a host has open, by which a copy of `tocsin.db` without its log is recognized.
//!
//! A host writes the mark into the database file when it starts, and removes it when it stops in an orderly
//! way. While it runs, and after it was killed, the log lies beside the file. So a marked file without a log
//! was copied from a running host, and lacks what only the log had.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use rusqlite::{Connection, OptionalExtension};

use super::{health::Health, orphaned_log};
use crate::system::private_file::beside;

/// Place of the version in the header that tells databases with a log from others, and its value for them
/// (<https://www.sqlite.org/fileformat.html#file_format_version_numbers>).
const HEADER_VERSION: (u64, u8) = (18, 2);

/// Notes the number of a host's session, and that the session goes on.
pub(super) fn begin(connection: &Connection, session: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES ('session', ?1), ('in_use', ?1) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(sql, [session.cast_signed()]).map(drop)
}

/// Removes the mark when a host stops, on a connection that has the log open: a new log for this change alone could
/// be lost in a power cut. If nothing may be written any more, the mark stays.
pub(super) fn end(connection: &Connection, health: &Health) {
    if health.write_stop().is_none() {
        // With the mark, a later copy without its log is reported once too often.
        let _ = connection.execute("DELETE FROM meta WHERE key = 'in_use'", []);
    }
}

/// Removes the session and the mark from a copy.
pub(super) fn forget(copy: &Connection) -> rusqlite::Result<()> {
    copy.execute("DELETE FROM meta WHERE key IN ('session', 'in_use')", []).map(drop)
}

/// Returns true if a database file was copied from a running host without its log. No connection of this
/// process may be open: closing the file would release the locks of SQLite.
pub(super) fn is_copy_without_log(database: &Path) -> bool {
    let has_no_log = beside(database, "-wal").symlink_metadata().is_err();
    has_no_log
        && expects_log(database).unwrap_or_default()
        && is_marked(database).unwrap_or_default()
}

/// Returns false for a file that a tool wrote as a whole, such as `VACUUM INTO`.
fn expects_log(database: &Path) -> io::Result<bool> {
    let (place, version) = HEADER_VERSION;
    let mut found = [0];
    File::open(database)?.read_exact_at(&mut found, place)?;
    Ok(found == [version])
}

fn is_marked(database: &Path) -> rusqlite::Result<bool> {
    // A host of an earlier version leaves an old mark, but not with its own session.
    let sql = "SELECT 1 FROM meta AS mark JOIN meta AS session USING (value) \
               WHERE mark.key = 'in_use' AND session.key = 'session'";
    let file = orphaned_log::open_without_log(database)?;
    Ok(file.query_row(sql, [], |_| Ok(())).optional()?.is_some())
}

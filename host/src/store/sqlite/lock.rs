//! Lock of a database for one host. The lock dies with its holder, names it, and remembers which database
//! was in use.
//!
//! SQLite's own locks would let two hosts take turns, and both would give out the same numbers. Therefore
//! the database itself is locked, and a file beside it that can hold text. Removing that file gives no
//! second host the database.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::system::private_file::{self, beside};

/// Lock of a database, released when dropped.
///
/// The lock has to outlive every connection of this process: closing any descriptor of the database would
/// release SQLite's own locks (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks>).
pub(super) struct DatabaseLock {
    note: File,
    _database: File,
    /// The database in use, for the next start; until that is known, the one of the last host.
    known: Option<KnownDatabase>,
    holder: String,
    /// Read when the lock was taken.
    before: Before,
}

/// A database as it was when a host used it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownDatabase {
    /// The random number that every new database draws.
    pub(super) salt: u64,
    /// The random number that the host drew at its start, and wrote into the database file.
    pub(super) session: u64,
    /// The random number that the next host had drawn, and may have written into the database file before
    /// it ended.
    pub(super) next_session: Option<u64>,
    /// The highest number of an alert.
    pub(super) alerts: u64,
    /// The inodes of the database and of its write-ahead log while it was in use.
    pub(super) inodes: (u64, u64),
}

/// The traces of earlier hosts beside a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// No host has used the database.
    Nothing,
    /// A host has locked the database, but noted nothing about it.
    SomeHost,
    /// A host used this database.
    Known(KnownDatabase),
}

impl DatabaseLock {
    /// Locks a database, and creates it empty if it is missing.
    ///
    /// # Errors
    ///
    /// If another host holds it, or a file cannot be opened or locked.
    pub(super) fn acquire(database: &Path, holder: &str) -> anyhow::Result<Self> {
        let path = path_of(database);
        let context = || format!("cannot lock the store: `{}`", path.display());
        let was_there = path.symlink_metadata().is_ok();
        let mut note = private_file::open(&path).with_context(context)?;
        let text = text_of(&mut note);
        let held = || in_use(database, holder_in(&text));
        try_lock(&note).with_context(context)?.then_some(()).ok_or_else(held)?;
        // The earlier holder may have written until now.
        note.rewind().with_context(context)?;
        let text = text_of(&mut note);
        let held = || in_use(database, None);
        let context = || format!("cannot open the store `{}`", database.display());
        let file = private_file::open_for_reading(database).with_context(context)?;
        try_lock(&file).with_context(context)?.then_some(()).ok_or_else(held)?;
        // The file may have been replaced between the two steps.
        let (opened, named) = (file.metadata()?, fs::metadata(database).with_context(context)?);
        anyhow::ensure!(
            (opened.dev(), opened.ino()) == (named.dev(), named.ino()),
            "the store `{}` was replaced while it was opened\nhint: start the host again",
            database.display()
        );
        let known = known_in(&text);
        let before = match known {
            Some(known) => Before::Known(known),
            None if was_there => Before::SomeHost,
            None => Before::Nothing,
        };
        let holder = holder.to_owned();
        let mut lock = Self { note, _database: file, known, holder, before };
        lock.write(true).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(lock)
    }

    /// Returns the traces of earlier hosts, as they were before this one wrote its own.
    pub(super) fn before(&self) -> Before {
        self.before
    }

    /// Notes the number that this host is about to write into the database. A power cut can keep that
    /// number and lose the note of it, and the log would then seem to belong to another database.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn announce(&mut self, session: u64) -> std::io::Result<()> {
        // Without a note of an earlier host, nothing is compared.
        let Some(known) = &mut self.known else { return Ok(()) };
        known.next_session = Some(session);
        self.write(true)
    }

    /// Notes the database in use. The note survives a power cut.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn remember(&mut self, known: KnownDatabase) -> std::io::Result<()> {
        self.known = Some(known);
        self.write(true)
    }

    /// Returns the holder of a database's lock in its own words; none if the lock is free.
    pub(super) fn holder(database: &Path) -> Option<String> {
        let mut note = File::open(path_of(database)).ok()?;
        let name = holder_in(&text_of(&mut note)).map(str::to_owned);
        // Locked only if a host was killed or still runs: a host that starts at this moment would find
        // it locked.
        let is_held = || matches!(note.try_lock_shared(), Err(TryLockError::WouldBlock));
        name.filter(|_| is_held())
    }

    /// Returns the note of earlier hosts beside a database, without locking anything.
    pub(super) fn peek(database: &Path) -> Before {
        let Ok(mut note) = File::open(path_of(database)) else { return Before::Nothing };
        known_in(&text_of(&mut note)).map_or(Before::SomeHost, Before::Known)
    }

    fn write(&mut self, is_held: bool) -> std::io::Result<()> {
        let mut text = format!("{}\n", if is_held { &*self.holder } else { "" });
        if let Some(known) = self.known {
            let KnownDatabase { salt, session, next_session, alerts, inodes } = known;
            let (database, log) = inodes;
            let line = format!(
                "database {salt:016x} session {session:016x} alerts {alerts} inodes {database} {log}\n"
            );
            text.push_str(&line);
            if let Some(next) = next_session {
                text.push_str(&format!("next session {next:016x}\n"));
            }
        }
        // The file is cut off only after the note is on disk: without a note, the next start could not
        // compare the databases.
        self.note.rewind()?;
        self.note.write_all(text.as_bytes())?;
        self.note.sync_data()?;
        self.note.set_len(text.len() as u64)
    }
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        // The file stays: removing it would let a third host lock another file of the same name.
        let _ = self.write(false);
    }
}

fn path_of(database: &Path) -> PathBuf {
    beside(database, ".lock")
}

/// Returns false if another host holds the lock.
fn try_lock(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns the error for a database that another host uses.
pub(super) fn in_use(database: &Path, holder: Option<&str>) -> anyhow::Error {
    anyhow::anyhow!(
        "the store `{}` is in use by {}\n\
         hint: stop that host, or give this one a `store.url` of its own",
        database.display(),
        holder.unwrap_or("another host"),
    )
}

/// A note that cannot be read is ignored: it is not needed.
fn text_of(note: &mut File) -> String {
    let mut text = String::new();
    let _ = note.take(4096).read_to_string(&mut text);
    text
}

/// None if the last holder stopped in an orderly way.
fn holder_in(text: &str) -> Option<&str> {
    text.lines().next().map(str::trim).filter(|line| !line.is_empty())
}

fn known_in(text: &str) -> Option<KnownDatabase> {
    let words: Vec<_> = text.lines().nth(1)?.split(' ').collect();
    let ["database", salt, "session", session, "alerts", alerts, "inodes", database, log] =
        words[..]
    else {
        return None;
    };
    let next = text.lines().nth(2).and_then(|line| line.strip_prefix("next session "));
    Some(KnownDatabase {
        salt: u64::from_str_radix(salt, 16).ok()?,
        session: u64::from_str_radix(session, 16).ok()?,
        next_session: next.and_then(|next| u64::from_str_radix(next, 16).ok()),
        alerts: alerts.parse().ok()?,
        inodes: (database.parse().ok()?, log.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: KnownDatabase =
        KnownDatabase { salt: 17, session: 9, next_session: None, alerts: 3, inodes: (1, 2) };

    #[test]
    fn remembers_the_database_after_an_orderly_stop_and_after_a_kill() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        let mut lock = DatabaseLock::acquire(&database, "host 1").expect("free");
        assert_eq!(lock.before(), Before::Nothing);
        lock.remember(KNOWN).expect("written");
        assert_eq!(DatabaseLock::holder(&database).as_deref(), Some("host 1"));
        let note = fs::read(path_of(&database)).expect("a note");
        drop(lock);
        assert_eq!(DatabaseLock::peek(&database), Before::Known(KNOWN));
        assert_eq!(DatabaseLock::holder(&database), None);

        // The lock file is left as by a host that was killed.
        fs::write(path_of(&database), note).expect("written");
        let lock = DatabaseLock::acquire(&database, "host 2").expect("free");
        assert_eq!(lock.before(), Before::Known(KNOWN));
        drop(lock);
        assert_eq!(DatabaseLock::peek(&database), Before::Known(KNOWN), "it is not forgotten");
    }

    #[test]
    fn remembers_the_number_that_the_next_host_was_about_to_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        let mut lock = DatabaseLock::acquire(&database, "host 1").expect("free");
        lock.announce(10).expect("nothing to write");
        assert_eq!(DatabaseLock::peek(&database), Before::SomeHost);
        lock.remember(KNOWN).expect("written");
        lock.announce(10).expect("written");
        let announced = KnownDatabase { next_session: Some(10), ..KNOWN };
        assert_eq!(DatabaseLock::peek(&database), Before::Known(announced));
        lock.remember(KnownDatabase { session: 10, ..KNOWN }).expect("written");
        let taken = KnownDatabase { session: 10, ..KNOWN };
        assert_eq!(DatabaseLock::peek(&database), Before::Known(taken));
    }

    #[test]
    fn a_second_host_stays_locked_out_without_the_lock_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        let _first = DatabaseLock::acquire(&database, "host 1").expect("free");
        fs::remove_file(path_of(&database)).expect("removed");
        let error = DatabaseLock::acquire(&database, "host 2").err().expect("it is held");
        assert!(error.to_string().contains("is in use by another host"), "{error}");
    }

    #[test]
    fn a_symlink_in_place_of_the_lock_file_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, precious) = (folder.path().join("tocsin.db"), folder.path().join("notes"));
        fs::write(&precious, "precious").expect("written");
        std::os::unix::fs::symlink(&precious, path_of(&database)).expect("linked");
        let error = DatabaseLock::acquire(&database, "host").err().expect("a symlink");
        assert!(format!("{error:#}").contains("it is a symlink"), "{error:#}");
        assert_eq!(fs::read_to_string(&precious).expect("readable"), "precious");
    }
}

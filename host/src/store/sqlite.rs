//! The store in one SQLite file: the embedded default.
//!
//! One thread writes all waiting submissions in one transaction, the next makes it durable and
//! answers; a few threads read, each on its own connection, and never wait for the writer. One host
//! uses a database at a time.

mod lock;
mod reader;
mod rows;
mod syncer;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use ulid::Ulid;

use self::{lock::DatabaseLock, reader::Readers, syncer::Syncer, writer::Writer};
use super::{
    AlertPage, AlertQuery, Change, Changed, Committed, Pending, RequestRecord, Store, Submission,
};
use crate::{
    alert::{AlertIds, AlertRef, AlertWithHistory},
    metrics::StoreMetrics,
};

/// The version of the schema that this host writes, in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 1;
/// `TCSN`, in SQLite's `application_id`: this file is a Tocsin database.
const APPLICATION_ID: i64 = 0x5443_534e;

/// A store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    /// None once closed.
    threads: Mutex<Option<Threads>>,
    writer: writer::Queue,
    readers: reader::Queue,
}

struct Threads {
    writer: Writer,
    readers: Readers,
    _lock: DatabaseLock,
}

impl SqliteStore {
    /// Opens the database, and makes it where there is none. `holder` is what a second host is told
    /// about this one.
    ///
    /// # Errors
    ///
    /// Where another host holds it, it is no Tocsin database or a newer one, or the disk refuses.
    pub fn open(path: &Path, holder: &str, metrics: Arc<StoreMetrics>) -> anyhow::Result<Self> {
        let context = || format!("cannot open the store `{}`", path.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(context)?;
        }
        let path = &resolved(path).with_context(context)?;
        let lock = DatabaseLock::acquire(path, holder)?;
        let connection = connect(path).with_context(context)?;
        let ids = prepare_schema(&connection).with_context(context)?;
        let checkpoints = connect(path).with_context(context)?;
        let syncer = Syncer::start(path, checkpoints, Arc::clone(&metrics))?;
        let writer = Writer::start(connection, ids, metrics, syncer)?;
        let readers = Readers::start(path, ids)?;
        Ok(Self {
            path: path.to_owned(),
            writer: writer.queue(),
            readers: readers.queue(),
            threads: Mutex::new(Some(Threads { writer, readers, _lock: lock })),
        })
    }

    /// Reads the database's header without taking it into use, for `tocsin check`.
    ///
    /// # Errors
    ///
    /// Where there is a file that is no Tocsin database, or a newer one.
    pub fn check(path: &Path) -> anyhow::Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let context = || format!("cannot open the store `{}`", path.display());
        let connection = Connection::open_with_flags(path, flags).with_context(context)?;
        is_new(&connection).map(drop).with_context(context)
    }

    /// Which host has the database in use, in its own words; none where none has.
    pub fn holder(path: &Path) -> Option<String> {
        DatabaseLock::holder(&resolved(path).ok()?)
    }
}

impl Store for SqliteStore {
    fn commit(&self, submission: Submission, then: Committed) {
        self.writer.commit(submission, then);
    }

    fn change(&self, alert: AlertRef, change: Change, by: &str) -> Pending<Changed> {
        self.writer.change(alert, change, by.to_owned())
    }

    fn alert(&self, alert: AlertRef) -> Pending<Option<AlertWithHistory>> {
        self.readers.read(move |reader| reader.alert(alert))
    }

    fn alerts(&self, query: AlertQuery) -> Pending<AlertPage> {
        self.readers.read(move |reader| reader.alerts(&query))
    }

    fn request(&self, id: Ulid) -> Pending<Option<RequestRecord>> {
        self.readers.read(move |reader| reader.request(id))
    }

    fn problem(&self) -> Option<String> {
        self.writer.problem()
    }

    fn probe(&self) -> Pending<()> {
        self.writer.probe()
    }

    fn size_bytes(&self) -> u64 {
        let files = ["", "-wal"].map(|suffix| {
            let mut file = self.path.clone().into_os_string();
            file.push(suffix);
            fs::metadata(file).map_or(0, |metadata| metadata.len())
        });
        files.iter().sum()
    }

    fn close(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Threads { writer, readers, _lock }) = threads {
            // The last connection to close folds the write-ahead log into the file.
            readers.stop();
            writer.stop();
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// The file itself, whatever links lead to it: SQLite puts the log beside it, and two hosts have to
/// lock the same.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    if path.exists() {
        return path.canonicalize();
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn is_new(connection: &Connection) -> anyhow::Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(false),
        (APPLICATION_ID, newer) if newer > SCHEMA_VERSION => anyhow::bail!(
            "it was written by a newer Tocsin (schema {newer}, this host knows {SCHEMA_VERSION})\n\
             hint: use the newer host, or another file"
        ),
        (0, 0) => {
            let tables = "SELECT count(*) FROM sqlite_schema";
            let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
            anyhow::ensure!(
                tables == 0,
                "it is a database of another program\nhint: choose another file in `store.url`"
            );
            Ok(true)
        }
        _ => anyhow::bail!(
            "it is a database of another program\nhint: choose another file in `store.url`"
        ),
    }
}

fn prepare_schema(connection: &Connection) -> anyhow::Result<AlertIds> {
    let is_new = is_new(connection)?;
    // `normal` syncs where the order of writes matters and leaves the end of a transaction to the
    // syncer. The log is copied by the syncer, too. https://www.sqlite.org/wal.html
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    if is_new {
        let salt = Ulid::generate().random() as u64;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.execute_batch(include_str!("sqlite/schema.sql"))?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        let salt = (salt >> 1).cast_signed();
        connection.execute("INSERT INTO meta VALUES ('alert_id_salt', ?1)", [salt])?;
        connection.execute_batch("COMMIT")?;
    }
    let salt = "SELECT value FROM meta WHERE key = 'alert_id_salt'";
    let salt: Option<i64> = connection.query_row(salt, [], |row| row.get(0)).optional()?;
    Ok(AlertIds::new(salt.context("it is incomplete: `alert_id_salt` is missing")?.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    struct Folder(tempfile::TempDir);

    impl contract::Place for Folder {
        fn open(&self) -> Arc<dyn Store> {
            let path = self.0.path().join("tocsin.db");
            Arc::new(SqliteStore::open(&path, "a test", Arc::default()).expect("it opens"))
        }
    }

    #[test]
    fn keeps_the_contract() {
        contract::keep(|| Folder(tempfile::tempdir().expect("a folder")));
    }

    #[test]
    fn a_second_host_is_told_who_holds_the_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let first = SqliteStore::open(&path, "process 17 on alpha", Arc::default()).expect("free");
        let second = SqliteStore::open(&path, "process 18", Arc::default());
        let error = second.err().expect("it is held").to_string();
        assert!(error.contains("process 17 on alpha"), "{error}");
        first.close();
        SqliteStore::open(&path, "process 18", Arc::default()).expect("it was let go");
    }

    #[test]
    fn a_link_leads_to_the_same_lock_and_the_same_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("tocsin.db"), folder.path().join("link.db"));
        let store = SqliteStore::open(&path, "us", Arc::default()).expect("free");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        SqliteStore::open(&link, "others", Arc::default()).err().expect("it is held");
        store.close();
        let store = SqliteStore::open(&link, "us", Arc::default()).expect("free");
        (&store as &dyn Store).probe().wait().expect("the log is found");
    }

    #[test]
    fn a_file_of_another_program_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("other.db");
        let other = Connection::open(&path).expect("a database");
        other.execute_batch("CREATE TABLE t (x)").expect("a table");
        for error in [
            SqliteStore::open(&path, "us", Arc::default()).err().expect("not ours"),
            SqliteStore::check(&path).expect_err("not ours"),
        ] {
            assert!(format!("{error:#}").contains("database of another program"), "{error:#}");
        }
        other
            .execute_batch(
                "DROP TABLE t; PRAGMA application_id = 1413698382; PRAGMA user_version = 9",
            )
            .unwrap();
        let error = SqliteStore::open(&path, "us", Arc::default()).err().expect("newer");
        assert!(format!("{error:#}").contains("newer Tocsin"), "{error:#}");
    }
}

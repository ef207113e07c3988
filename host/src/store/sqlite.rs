//! The store in one SQLite file: the embedded default.
//!
//! One thread writes all waiting submissions in one transaction, the next makes it durable and
//! answers; a few threads read, each on its own connection, and never wait for the writer. One host
//! uses a database at a time.

mod chores;
mod life;
mod lock;
mod problem;
mod reader;
mod records;
mod rows;
mod step;
mod submission;
mod syncer;
mod transactions;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use rusqlite::{Connection, MAIN_DB, OpenFlags, OptionalExtension};
use ulid::Ulid;

use self::{
    lock::DatabaseLock,
    reader::{Reader, Readers},
    syncer::Syncer,
    transactions::TransactionTimes,
    writer::{Job, Writer},
};
use super::{
    AlertPage, AlertQuery, Change, Changed, Committed, Pending, Store,
    request::{
        Effect, Quarantined, RawRequest, RequestPage, RequestQuery, RequestRecord, Submission,
    },
    upkeep::{Chore, Tidied},
};
use crate::{
    alert::{AlertIds, AlertRef, AlertWithHistory},
    metrics::StoreMetrics,
};

/// How the schema of each version is made from the one before, the first from nothing. The number of
/// the last is the version that this host writes, in SQLite's `user_version`.
const SCHEMAS: [&str; 2] =
    [include_str!("sqlite/schema/1.sql"), include_str!("sqlite/schema/2.sql")];
const SCHEMA_VERSION: i64 = SCHEMAS.len() as i64;
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
        Self::start(path, holder, metrics).map_err(advised)
    }

    fn start(path: &Path, holder: &str, metrics: Arc<StoreMetrics>) -> anyhow::Result<Self> {
        let context = || format!("cannot open the store `{}`", path.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(context)?;
        }
        let path = &resolved(path).with_context(context)?;
        let lock = DatabaseLock::acquire(path, holder)?;
        let connection = connect(path).with_context(context)?;
        let ids = prepare_schema(&connection).with_context(context)?;
        settle_log(&connection).with_context(context)?;
        let checkpoints = connect(path).with_context(context)?;
        let times = Arc::<TransactionTimes>::default();
        let syncer = Syncer::start(path, checkpoints, Arc::clone(&metrics), Arc::clone(&times))?;
        let writer = Writer::start(connection, ids, metrics, syncer, Arc::clone(&times))
            .with_context(context)?;
        let readers = Readers::start(path, ids, &times, &writer.problem())?;
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
        let connection = Connection::open_with_flags(path, flags).with_context(context);
        let version = connection.and_then(|connection| version(&connection).with_context(context));
        version.map(drop).map_err(advised)
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

    fn rehearse(&self, submission: Submission) -> Pending<Vec<Effect>> {
        self.writer.ask(|responder| Job::Rehearse(submission, responder))
    }

    fn change(&self, alert: AlertRef, change: Change) -> Pending<Changed> {
        self.writer.ask(|responder| Job::Change(alert, change, responder))
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

    fn requests(&self, query: RequestQuery) -> Pending<RequestPage> {
        self.readers.read(move |reader| reader.requests(&query))
    }

    fn raw_request(&self, id: Ulid) -> Pending<Option<RawRequest>> {
        self.readers.read(move |reader| reader.raw_request(id))
    }

    fn quarantine(&self) -> Vec<Quarantined> {
        self.writer.quarantine()
    }

    fn tidy(&self, chore: Chore) -> Pending<Tidied> {
        self.writer.ask(|responder| Job::Tidy(chore, responder))
    }

    fn problem(&self) -> Option<String> {
        self.writer.problem()
    }

    fn damage(&self) -> Option<String> {
        self.writer.damage()
    }

    fn probe(&self) -> Pending<()> {
        self.writer.ask(Job::Probe)
    }

    fn used_bytes(&self) -> Pending<u64> {
        self.readers.read(Reader::used_bytes)
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

const NOT_WRITABLE: &str =
    "the user that the host runs as has to be able to write the file and its folder";

/// The same error, once and with what the operator can do, where SQLite or the system refused.
fn advised(error: anyhow::Error) -> anyhow::Error {
    if let Some(system) = error.downcast_ref::<io::Error>() {
        let is_denied = system.kind() == io::ErrorKind::PermissionDenied;
        return if is_denied { anyhow!("{error:#}\nhint: {NOT_WRITABLE}") } else { error };
    }
    let Some(refused) = error.downcast_ref::<rusqlite::Error>() else { return error };
    match hint(refused) {
        Some(hint) => anyhow!("{error}: {refused}\nhint: {hint}"),
        None => anyhow!("{error}: {refused}"),
    }
}

/// A refusal of SQLite on one line, with what the operator can do.
fn sentence(refused: &rusqlite::Error) -> String {
    hint(refused).map_or_else(|| refused.to_string(), |hint| format!("{refused}; hint: {hint}"))
}

fn hint(refused: &rusqlite::Error) -> Option<&'static str> {
    use rusqlite::ErrorCode as Code;
    match refused.sqlite_error_code()? {
        Code::DatabaseCorrupt | Code::NotADatabase => Some(
            "the file is damaged or no database: put a backup in its place, save what can be read \
             with `sqlite3 FILE .recover`, or choose another file in `store.url`",
        ),
        Code::DatabaseBusy => Some("another program holds it: `fuser FILE` says which"),
        Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied => Some(NOT_WRITABLE),
        _ => None,
    }
}

fn is_damage(refused: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(refused.sqlite_error_code(), Some(Code::DatabaseCorrupt | Code::NotADatabase))
}

/// The version of its schema; 0 where there is none yet.
fn version(connection: &Connection) -> anyhow::Result<i64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, known @ 1..=SCHEMA_VERSION) => Ok(known),
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
            Ok(0)
        }
        _ => anyhow::bail!(
            "it is a database of another program\nhint: choose another file in `store.url`"
        ),
    }
}

/// What a host that died left in the log may be in the system's memory alone, where its disk had
/// failed. In the database, it is on disk before anything is built on it.
fn settle_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn prepare_schema(connection: &Connection) -> anyhow::Result<AlertIds> {
    let version = version(connection)?;
    // SQLite opens a file all the same where it can only be read.
    let is_readonly = connection.is_readonly(MAIN_DB)?;
    anyhow::ensure!(!is_readonly, "it can't be written\nhint: {NOT_WRITABLE}");
    // `normal` syncs where the order of writes matters and leaves the end of a transaction to the
    // syncer. The log is copied by the syncer, too. https://www.sqlite.org/wal.html
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    if version < SCHEMA_VERSION {
        if version > 0 {
            let (from, to) = (version, SCHEMA_VERSION);
            tracing::info!(from, to, "the store goes over to a newer schema");
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        upgrade(connection, version)?;
        connection.execute_batch("COMMIT")?;
    }
    let salt = "SELECT value FROM meta WHERE key = 'alert_id_salt'";
    let salt: Option<i64> = connection.query_row(salt, [], |row| row.get(0)).optional()?;
    Ok(AlertIds::new(salt.context("it is incomplete: `alert_id_salt` is missing")?.cast_unsigned()))
}

/// Goes over from a version to the present one, within a transaction. A new database takes the same
/// way, from nothing.
fn upgrade(connection: &Connection, version: i64) -> anyhow::Result<()> {
    for schema in SCHEMAS.iter().skip(usize::try_from(version)?) {
        connection.execute_batch(schema)?;
    }
    if version == 0 {
        let salt = (Ulid::generate().random() as u64 >> 1).cast_signed();
        connection.execute("INSERT INTO meta VALUES ('alert_id_salt', ?1)", [salt])?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(connection.pragma_update(None, "user_version", SCHEMA_VERSION)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{contract, request::RawState, upkeep::Task};

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
    fn a_database_of_an_earlier_version_goes_on_with_all_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let old = Connection::open(&path).expect("a database");
        let id = Ulid::from_parts(1_700_000_000_000, 7);
        old.execute_batch(SCHEMAS[0]).expect("the schema of that time");
        old.execute_batch(
            "PRAGMA application_id = 1413698382; PRAGMA user_version = 1;
             INSERT INTO meta VALUES ('alert_id_salt', 17);
             INSERT INTO integrations VALUES (1, 'ops');
             INSERT INTO plugins VALUES (1, 'slack', '1.0.0');
             INSERT INTO alerts VALUES (1, 1, 1, 2, 3, 1, 1700000000000, 1700000000005, zeroblob(16),
                'over', '', 'k', NULL, NULL);
             INSERT INTO alerts VALUES (2, 1, 1, 1, 0, 5, 1700000000000, 1700000000009, zeroblob(16),
                'disk full', 'disk full', 'l', NULL, '[{\"label\":\"a\",\"value\":\"b\"}]');
             INSERT INTO deliveries VALUES (1, 'e');
             INSERT INTO changes VALUES (1, 1, 1700000000005, 3, 'api', NULL);",
        )
        .expect("what a host left behind");
        let bytes = id.to_bytes();
        old.execute(
            "INSERT INTO requests VALUES (?1, 1, 1, 1700000000000, 3, NULL, 'panicked')",
            [bytes.as_slice()],
        )
        .and_then(|_| {
            let raw = "INSERT INTO raw_requests VALUES (9, 1, ?1, 'q', 'h: v', x'00ff')";
            old.execute(raw, [bytes.as_slice()])
        })
        .expect("what a host left behind");
        drop(old);

        let store = SqliteStore::open(&path, "us", Arc::default()).expect("it goes over");
        let alert = |number| store.alert(AlertRef::Number(number)).wait().unwrap().unwrap();
        let over = alert(1);
        assert_eq!((over.alert.title.as_str(), over.history.len()), ("over", 2));
        assert_eq!(over.history[1].count, 1);
        let open = alert(2).alert;
        assert_eq!((open.occurrences, open.last_occurred_at), (5, open.created_at));
        assert_eq!((open.previous, open.resolves_at), (None, None));
        let record = store.request(id).wait().unwrap().expect("its record");
        assert_eq!((record.size_bytes, record.transaction, record.commit_us), (None, None, None));
        assert_eq!(record.raw, RawState::Quarantined);
        assert_eq!(store.quarantine()[0].count, 1);
        let raw = store.raw_request(id).wait().unwrap().expect("it is there as it came");
        assert_eq!((&raw.body[..], &raw.headers[..]), (&b"\x00\xff"[..], &b"h: v"[..]));
        store.close();
        SqliteStore::open(&path, "us", Arc::default()).expect("it went over once");
    }

    #[test]
    fn what_writes_nothing_does_not_end_a_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = SqliteStore::open(&path, "a test", Arc::default()).expect("it opens");
        let other = Connection::open(&path).expect("a database");
        other
            .execute_batch(
                "CREATE TRIGGER no BEFORE INSERT ON requests BEGIN SELECT raise(ABORT, 'no'); END",
            )
            .expect("a table that takes nothing");
        store.probe().wait().expect_err("a record can't be kept");
        assert!(store.problem().is_some());

        let task = Task::ResolveDue { now: jiff::Timestamp::now() };
        let tidied = store.tidy(Chore { task, limit: 10 }).wait().expect("nothing is due");
        assert_eq!(tidied, Tidied { count: 0, more: false });
        assert!(store.problem().is_some(), "a record still can't be kept");

        other.execute_batch("DROP TRIGGER no").expect("it is there");
        store.probe().wait().expect("a record can be kept");
        assert_eq!(store.problem(), None);
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

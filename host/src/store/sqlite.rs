//! Store in one SQLite file: the embedded default.
//!
//! The [`Writer`] thread writes all waiting jobs in one transaction, syncs it and answers. A few [`Readers`]
//! read, each on its own connection, and never wait for the writer. One host uses a database at a time.

mod access;
mod alert_changes;
mod audit;
mod backup;
mod checkpointer;
mod database;
mod delivery_job;
mod delivery_parts;
#[cfg(test)]
mod delivery_plans;
mod delivery_store;
mod durable;
mod duties;
mod emergency_copy;
mod feed_queries;
mod file_watch;
mod health;
mod hosts;
mod identity;
mod idle_yield;
mod in_use;
mod kept_statements;
mod lock;
mod open_files;
mod orphaned_log;
mod reader;
#[cfg(test)]
mod record_plans;
mod restore;
mod submission;
mod syncer;
mod transaction_times;
mod unindexed_keys;
#[cfg(test)]
mod upgrades;
mod write_job;
mod write_transaction;
mod writer;
mod writer_state;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use rusqlite::{Connection, MAIN_DB, OptionalExtension};
use tokio::sync::watch;
use ulid::Ulid;

use self::{
    backup::BackupDesk,
    durable::DurableTransaction,
    duties::Duties,
    hosts::ThisHost,
    identity::inode,
    lock::{DatabaseLock, KnownDatabase},
    reader::{Reader, Readers},
    transaction_times::TransactionTimes,
    write_job::WriteJob,
    writer::Writer,
};
use super::{
    AlertPage, AlertQuery, AlertStore, CommitCallback, Housekeeping, ManualChange,
    ManualChangeOutcome, Pending, RequestStore, Store, StoreHealth, UnresolvedCount,
    backup::{Backup, BackupError, BackupTarget, Restored},
    feed::{ChangePage, Cursor},
    housekeeping::{HousekeepingProgress, HousekeepingStep},
    sql::SqlError,
};
use crate::{
    alert::{AlertIds, AlertRef, AlertWithHistory},
    metrics::StoreMetrics,
    problem::Problem,
    request::{
        Effect, Quarantined, RawRequest, RequestPage, RequestQuery, RequestRecord, Submission,
    },
    system::private_file::{self, beside},
};

/// Scripts that make the schema of each version from the one before. The first script starts with an empty
/// database. SQLite's `user_version` holds the version.
const SCHEMAS: [&str; 8] = [
    include_str!("sqlite/schema/1.sql"),
    include_str!("sqlite/schema/2.sql"),
    include_str!("sqlite/schema/3.sql"),
    include_str!("sqlite/schema/4.sql"),
    include_str!("sqlite/schema/5.sql"),
    include_str!("sqlite/schema/6.sql"),
    include_str!("sqlite/schema/7.sql"),
    include_str!("sqlite/schema/8.sql"),
];
const SCHEMA_VERSION: i64 = SCHEMAS.len() as i64;
/// Size to which the write-ahead log is cut once all of it was copied into the database.
const LARGEST_LOG_BYTES: i64 = 64 * 1024 * 1024;
/// Mark of a Tocsin database in SQLite's `application_id`: `TCSN`.
const APPLICATION_ID: i64 = 0x5443_534e;

/// [`Store`] in one SQLite file, locked by a [`DatabaseLock`].
pub(super) struct SqliteStore {
    path: PathBuf,
    /// Inode of the database in use.
    inode: u64,
    backups: BackupDesk,
    /// None once the store is closed.
    threads: Mutex<Option<Threads>>,
    writer: writer::Queue,
    readers: reader::Queue,
    durable: Arc<DurableTransaction>,
    duties: Duties,
    this_host: ThisHost,
    /// A sentence if the database is not the one that an earlier host used here.
    identity_warning: Option<String>,
}

struct Threads {
    writer: Writer,
    readers: Readers,
    lock: DatabaseLock,
    known: KnownDatabase,
}

impl SqliteStore {
    /// Opens the database, and creates it if it is missing. The error of a second host names this one
    /// as `holder`.
    ///
    /// # Errors
    ///
    /// If another host has the database open, a newer host or another program wrote it, or the disk
    /// fails.
    pub(super) fn open(
        path: &Path,
        holder: &str,
        metrics: Arc<StoreMetrics>,
    ) -> anyhow::Result<Self> {
        Self::start(path, holder, metrics).map_err(advised)
    }

    fn start(path: &Path, holder: &str, metrics: Arc<StoreMetrics>) -> anyhow::Result<Self> {
        let context = || format!("cannot open the store `{}`", path.display());
        check_folder(path)?;
        let path = &resolved(path).with_context(context)?;
        let mut lock = DatabaseLock::acquire(path, holder)?;
        let was_empty = fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
        let orphan = orphaned_log::set_aside(path, lock.before()).with_context(context)?;
        let lacks_log = orphan.is_none() && in_use::is_copy_without_log(path);
        let connection = connect(path).with_context(context)?;
        let salt = prepare_schema(&connection).with_context(context)?;
        let ids = AlertIds::new(salt);
        let session = Ulid::generate().random() as u64 >> 1;
        lock.announce(session).with_context(context)?;
        in_use::begin(&connection, session).with_context(context)?;
        settle_log(&connection).with_context(context)?;
        for suffix in ["-wal", "-shm"] {
            private_file::tighten(&beside(path, suffix)).with_context(context)?;
        }
        let checkpoints = connect(path).with_context(context)?;
        let times = Arc::<TransactionTimes>::default();
        let durable = Arc::<DurableTransaction>::default();
        let limits = Arc::clone(&metrics.limits);
        let writer = Writer::start(
            path,
            connection,
            checkpoints,
            ids,
            metrics,
            Arc::clone(&times),
            Arc::clone(&durable),
        )
        .with_context(context)?;
        // The log was copied into the database and synced above.
        durable.advance(writer.transaction_at_start());
        let readers = Readers::start(path, ids, &times, &durable, &writer.health(), limits)?;
        let inodes = (inode(path), inode(&beside(path, "-wal")));
        // Read from the file itself, since the log may not have been copied.
        let session = orphaned_log::session_of(path).unwrap_or_default();
        let alerts = writer.highest_at_start();
        let found = KnownDatabase { salt, session, next_session: None, alerts, inodes };
        let before = lock.before();
        let identity_warning =
            identity::warning(path, before, found, was_empty, lacks_log, orphan.as_deref());
        if let Some(error) = &identity_warning {
            tracing::error!(
                event = "unexpected_store",
                error,
                "the store is not the one that a host used here last",
            );
        }
        lock.remember(found).with_context(context)?;
        Ok(Self {
            path: path.to_owned(),
            inode: inodes.0,
            backups: BackupDesk::new(),
            writer: writer.queue(),
            readers: readers.queue(),
            durable,
            duties: Duties::new(),
            this_host: ThisHost::new(),
            identity_warning,
            threads: Mutex::new(Some(Threads { writer, readers, lock, known: found })),
        })
    }

    /// Reads the database's header without taking it into use, for `tocsin check`.
    ///
    /// # Errors
    ///
    /// If a newer host or another program wrote the file, or if the database that a host used here, or
    /// uses now, was removed or replaced.
    pub(super) fn check(path: &Path) -> anyhow::Result<()> {
        check_folder(path)?;
        if let Ok(path) = resolved(path) {
            identity::check(&path)?;
            check_writable(&path)?;
        }
        if !path.exists() {
            return Ok(());
        }
        let context = || format!("cannot open the store `{}`", path.display());
        let connection = orphaned_log::open_to_read(path).with_context(context);
        let version = connection.and_then(|connection| version(&connection).with_context(context));
        version.map(drop).map_err(advised)
    }

    /// Makes a backup of a database from outside its host, whether a host uses it or not.
    ///
    /// # Errors
    ///
    /// If the database is missing, damaged or not the one that a host uses, or the file cannot be written.
    pub(super) fn back_up(path: &Path, target: &BackupTarget) -> anyhow::Result<Backup> {
        check_folder(path)?;
        backup::make_from_outside(&resolved(path)?, target)
    }

    /// Puts a backup in the place of a database that no host uses.
    ///
    /// # Errors
    ///
    /// If a host uses the database, the backup cannot be used, or the disk fails.
    pub(super) fn restore(path: &Path, backup: &Path, holder: &str) -> anyhow::Result<Restored> {
        restore::restore(path, backup, holder)
    }

    /// Returns the name of the host that has the database open; none if no host has.
    pub(super) fn holder(path: &Path) -> Option<String> {
        DatabaseLock::holder(&resolved(path).ok()?)
    }
}

impl AlertStore for SqliteStore {
    fn change(&self, alert: AlertRef, change: ManualChange) -> Pending<ManualChangeOutcome> {
        self.writer.ask(|responder| WriteJob::ManualChange(alert, change, responder))
    }

    fn alert(&self, alert: AlertRef) -> Pending<Option<AlertWithHistory>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.alert(alert)))
    }

    fn count_unresolved(&self, after: u64, limit: u64) -> Pending<UnresolvedCount> {
        self.readers.read(move |reader| reader.snapshot(|it| it.count_unresolved(after, limit)))
    }

    fn changes_since(&self, cursor: Cursor, limit: usize) -> Pending<ChangePage> {
        self.readers.feed(move |reader| reader.changes_since(&cursor, limit))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.durable.alert_changes()
    }

    fn alerts(&self, query: AlertQuery) -> Pending<AlertPage> {
        let AlertQuery { status, urgency, integration, since, search, .. } = &query;
        let is_by_index = status.is_none() && urgency.is_none() && integration.is_none();
        if is_by_index && since.is_none() && search.is_none() {
            return self.readers.read(move |reader| reader.snapshot(|it| it.alerts(&query)));
        }
        self.readers.search(move |reader| reader.snapshot(|it| it.alerts(&query)))
    }
}

impl RequestStore for SqliteStore {
    fn commit(&self, submission: Submission, then: CommitCallback) {
        self.writer.commit(submission, then);
    }

    fn rehearse(&self, submission: Submission) -> Pending<Vec<Effect>> {
        self.writer.ask(|responder| WriteJob::Rehearse(submission, responder))
    }

    fn request(&self, id: Ulid) -> Pending<Option<RequestRecord>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.request(id)))
    }

    fn requests(&self, query: RequestQuery) -> Pending<RequestPage> {
        let RequestQuery { outcome, integration, quarantined, .. } = &query;
        if outcome.is_none() && integration.is_none() && !quarantined {
            return self.readers.read(move |reader| reader.snapshot(|it| it.requests(&query)));
        }
        self.readers.search(move |reader| reader.snapshot(|it| it.requests(&query)))
    }

    fn raw_request(&self, id: Ulid) -> Pending<Option<RawRequest>> {
        self.readers.read(move |reader| reader.snapshot(|it| it.raw_request(id)))
    }

    fn quarantine(&self) -> Pending<Vec<Quarantined>> {
        // The lock makes this process the only writer of the file, so that its state in memory is
        // correct.
        Pending::ready(self.writer.quarantine())
    }
}

impl Housekeeping for SqliteStore {
    fn housekeep(&self, step: HousekeepingStep) -> Pending<HousekeepingProgress> {
        self.writer.ask(|responder| WriteJob::Housekeep(step, responder))
    }
}

impl StoreHealth for SqliteStore {
    fn last_write_error(&self) -> Option<Problem> {
        self.writer.last_write_error()
    }

    fn damage_found(&self) -> Option<Problem> {
        self.writer.damage()
    }

    fn identity_warning(&self) -> Option<String> {
        self.identity_warning.clone()
    }

    fn probe(&self) -> Pending<()> {
        self.writer.ask(WriteJob::Probe)
    }

    fn size_bytes(&self) -> Pending<u64> {
        let files = ["", "-wal"].map(|suffix| {
            fs::metadata(beside(&self.path, suffix)).map_or(0, |metadata| metadata.len())
        });
        Pending::ready(files.iter().sum())
    }

    fn used_bytes(&self) -> Pending<u64> {
        self.readers.read(Reader::used_bytes)
    }
}

impl Store for SqliteStore {
    fn back_up(&self, target: BackupTarget) -> Pending<Result<Backup, BackupError>> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Threads { writer, .. }) = &*threads else { return Pending::closed() };
        self.backups.start(&self.path, self.inode, writer.health(), target)
    }

    fn close(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A backup reads the database, which only the last connection to close folds into one file.
        self.backups.stop();
        if let Some(Threads { writer, readers, mut lock, known }) = threads {
            // The last connection to close folds the write-ahead log into the file.
            readers.stop();
            let alerts = writer.stop();
            if let Err(error) = lock.remember(KnownDatabase { alerts, ..known }) {
                tracing::warn!(
                    event = "store_identity_not_saved",
                    %error,
                    "cannot record which database was in use",
                );
            }
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Checks that the folder of a database exists.
pub(super) fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = access::folder_of(path);
    anyhow::ensure!(
        folder.is_dir(),
        "cannot open the store `{}`: the folder `{}` of the store does not exist\n\
         hint: make the folder, owned by the user of the host, or correct `store.url`",
        path.display(),
        folder.display()
    );
    Ok(())
}

/// Checks that this process may write a database and its folder, without writing. A host that has the database
/// open may do so, whoever runs this process.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    if DatabaseLock::holder(path).is_some() {
        return Ok(());
    }
    let refused = access::refused_folder(path)
        .or_else(|| access::refused(path, &["", "-wal", "-shm", ".lock"]));
    match refused {
        None => Ok(()),
        Some((file, error)) => anyhow::bail!(
            "cannot open the store `{}`: `{}`: {error}\nhint: {NOT_WRITABLE}",
            path.display(),
            file.display()
        ),
    }
}

/// Returns the path of the file itself, without links: SQLite puts the log beside the file, and two hosts
/// have to lock the same file.
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

/// Adds a hint to an error if SQLite or the system refused.
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

/// Returns the problem behind an error of a statement.
fn problem(refused: &SqlError) -> Problem {
    let problem = Problem::new("database-refused", refused.to_string());
    match refused.sqlite().and_then(hint) {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

fn hint(refused: &rusqlite::Error) -> Option<&'static str> {
    use rusqlite::ErrorCode as Code;
    match refused.sqlite_error_code()? {
        Code::DatabaseCorrupt | Code::NotADatabase => Some(
            "the file is damaged or no database: put a backup in its place, save what can be read \
             with `sqlite3 FILE .recover`, or choose another file in `store.url`",
        ),
        Code::ConstraintViolation => {
            Some("another program has written to the database: stop it, and restart the host")
        }
        Code::DatabaseBusy => Some("another program holds it: `fuser FILE` shows which"),
        Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied => Some(NOT_WRITABLE),
        _ => None,
    }
}

fn is_damage(refused: &SqlError) -> bool {
    use rusqlite::ErrorCode as Code;
    let code = refused.sqlite().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(Code::DatabaseCorrupt | Code::NotADatabase))
}

/// Returns the version of the schema; 0 for an empty database.
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

/// Copies the log into the database and syncs it. If the disk failed under a host that died, the end of its
/// log may be only in the system's memory.
fn settle_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Returns the random number that tells this database from others.
fn prepare_schema(connection: &Connection) -> anyhow::Result<u64> {
    let version = version(connection)?;
    // SQLite opens a read-only file without an error.
    let is_readonly = connection.is_readonly(MAIN_DB)?;
    anyhow::ensure!(!is_readonly, "it can't be written\nhint: {NOT_WRITABLE}");
    // `normal` syncs if the order of writes matters, and leaves the sync of a transaction to the
    // syncer. The checkpointer copies the log. https://www.sqlite.org/wal.html
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A flood of large requests does not leave a large log behind.
    connection.pragma_update(None, "journal_size_limit", LARGEST_LOG_BYTES)?;
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    if version < SCHEMA_VERSION {
        if version > 0 {
            let (from, to) = (version, SCHEMA_VERSION);
            tracing::info!(
                event = "store_schema_upgrade",
                from,
                to,
                "the store is upgraded to a newer schema",
            );
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        upgrade(connection, version)?;
        connection.execute_batch("COMMIT")?;
    }
    let salt = "SELECT value FROM meta WHERE key = 'alert_id_salt'";
    let salt: Option<i64> = connection.query_row(salt, [], |row| row.get(0)).optional()?;
    Ok(salt.context("it is incomplete: `alert_id_salt` is missing")?.cast_unsigned())
}

/// Upgrades a database from a version to the present one, within a transaction. A new database is upgraded
/// from an empty one.
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
mod contract {
    use super::tests::Folder;

    crate::store::contract::store_contract!(Folder::new());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::RawState;
    use crate::store::{
        StoreError,
        fixture::{StoreFixture, submission},
        housekeeping::HousekeepingTask,
    };

    pub(super) struct Folder(tempfile::TempDir);

    impl Folder {
        pub(super) fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }
    }

    impl StoreFixture for Folder {
        fn open(&self) -> Arc<dyn Store> {
            let path = self.0.path().join("tocsin.db");
            Arc::new(SqliteStore::open(&path, "a test", Arc::default()).expect("it opens"))
        }
    }

    #[test]
    fn a_request_that_waited_for_a_replay_in_schema_1_still_waits() {
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
        .expect("the data of a host of that time");
        let bytes = id.to_bytes();
        old.execute(
            "INSERT INTO requests VALUES (?1, 1, 1, 1700000000000, 3, NULL, 'panicked')",
            [bytes.as_slice()],
        )
        .and_then(|_| {
            let raw = "INSERT INTO raw_requests VALUES (9, 1, ?1, 'q', 'h: v', x'00ff')";
            old.execute(raw, [bytes.as_slice()])
        })
        .expect("the data of a host of that time");
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
        assert_eq!(store.quarantine().wait().unwrap()[0].count, 1);
        let raw = store.raw_request(id).wait().unwrap().expect("it is there as it came");
        assert_eq!((&raw.body[..], &raw.headers[..]), (&b"\x00\xff"[..], &b"h: v"[..]));
        store.close();
        SqliteStore::open(&path, "us", Arc::default()).expect("it went over once");
    }

    #[test]
    fn changes_that_are_not_on_disk_are_not_in_the_feed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = opened(&path);
        report(&store, "one").expect("it is kept");
        let other = Connection::open(&path).expect("a database");
        // Written like a transaction that the syncer has not synced yet.
        let unsynced =
            "INSERT INTO changes VALUES (1, 1, 0, 5, 'api', NULL, 1, NULL, NULL, 999999)";
        other.execute_batch(unsynced).expect("written");
        let page = store.changes_since(Cursor::start(), 10).wait();
        assert!(matches!(page, Err(StoreError::Unavailable(_))), "{page:?}");
        other.execute_batch("DELETE FROM changes").expect("taken back");
        let page = store.changes_since(Cursor::start(), 10).wait().expect("it reads");
        assert_eq!(page.changes.len(), 1);
    }

    fn opened(path: &Path) -> SqliteStore {
        SqliteStore::open(path, "a test", Arc::default()).expect("it opens")
    }

    fn report(store: &SqliteStore, title: &str) -> Result<Vec<Effect>, StoreError> {
        let event = tocsin_plugin_api::Event::create(title);
        store.submit(submission("ops", vec![event])).wait()
    }

    #[test]
    fn an_alert_number_in_use_is_an_error_and_not_an_occurrence_of_a_known_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = opened(&path);
        report(&store, "one").expect("it is kept");
        let other = Connection::open(&path).expect("a database");
        // A second host would write so, since it counts on its own.
        let copy = "INSERT INTO alerts SELECT 2, integration, plugin, status, urgency, occurrences, \
                    created_at, updated_at, request, 'theirs', description, 'k', link, details, \
                    last_occurred_at, due_at, previous, transaction_id, hops, 0, NULL, NULL, NULL, \
                    NULL FROM alerts";
        other.execute_batch(copy).expect("written");
        let error = report(&store, "two").expect_err("the number is taken").to_string();
        assert!(error.contains("UNIQUE constraint failed: alerts.number"), "{error}");
        assert!(error.contains("; hint: another program has written to the database"), "{error}");
        assert!(store.last_write_error().is_some());
    }

    #[test]
    fn after_the_database_is_removed_no_request_is_acknowledged_and_all_alerts_are_saved() {
        for (removed, what) in [("", "the database"), ("-wal", "the write-ahead log")] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("tocsin.db");
            let store = opened(&path);
            report(&store, "kept").expect("it is kept");
            fs::remove_file(beside(&path, removed)).expect("it is there");
            std::thread::sleep(file_watch::LOOK_AT_MOST_EVERY);
            let error = report(&store, "too late").expect_err("no host would find it").to_string();
            assert!(error.contains(what) && error.contains("was removed while"), "{error}");
            assert!(
                store
                    .last_write_error()
                    .is_some_and(|problem| problem.message.contains("was removed while"))
            );
            report(&store, "too late").expect_err("nor later");
            store.close();
            let saved: Vec<_> = fs::read_dir(folder.path())
                .expect("a folder")
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.to_string_lossy().contains(".db.saved-"))
                .collect();
            assert_eq!(saved.len(), 1, "{saved:?}");
            let store = opened(&saved[0]);
            let alert = store.alert(AlertRef::Number(1)).wait().unwrap().expect("it was saved");
            assert_eq!(alert.alert.title, "kept");
        }
    }

    #[test]
    fn a_backup_renamed_over_the_database_of_an_idle_host_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, backup) = (folder.path().join("tocsin.db"), folder.path().join("backup.db"));
        opened(&path).close();
        fs::copy(&path, &backup).expect("copied");
        let store = opened(&path);
        report(&store, "kept").expect("it is kept");
        fs::rename(&backup, &path).expect("renamed");
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while store.last_write_error().is_none() {
            assert!(std::time::Instant::now() < end, "it is not noticed");
            std::thread::yield_now();
        }
        assert!(
            store
                .last_write_error()
                .is_some_and(|problem| problem.message.contains("was replaced"))
        );
        store.close();
        let restored = opened(&path);
        assert_eq!(restored.alert(AlertRef::Number(1)).wait().unwrap(), None, "the backup alone");
        report(&restored, "afterwards").expect("it is whole");
    }

    #[test]
    fn the_log_of_a_host_that_was_killed_is_not_mixed_with_a_backup() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, backup) = (folder.path().join("tocsin.db"), folder.path().join("backup.db"));
        opened(&path).close();
        fs::copy(&path, &backup).expect("copied");
        let store = opened(&path);
        report(&store, "kept").expect("it is kept");
        // A host that is killed leaves the files as they are, and a lock file that no host holds.
        let left = tempfile::tempdir().expect("a folder");
        let left = left.path().join("tocsin.db");
        for suffix in ["", "-wal", "-shm"] {
            let linked = fs::hard_link(beside(&path, suffix), beside(&left, suffix));
            linked.expect("the same file system");
        }
        fs::copy(beside(&path, ".lock"), beside(&left, ".lock")).expect("copied");
        fs::rename(&backup, &left).expect("put in place");
        let restored = opened(&left);
        assert_eq!(restored.alert(AlertRef::Number(1)).wait().unwrap(), None, "the backup alone");
        let surprise = restored.identity_warning().expect("it is said");
        assert!(surprise.contains(".db-wal.orphaned-"), "{surprise}");
        drop(store);
    }

    #[test]
    fn an_older_or_empty_database_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = opened(&path);
        assert_eq!(store.identity_warning(), None);
        report(&store, "one").expect("it is kept");
        store.close();
        assert_eq!(opened(&path).identity_warning(), None);
        let copy = fs::read(&path).expect("a database");
        let store = opened(&path);
        report(&store, "two").expect("it is kept");
        store.close();

        fs::write(&path, copy).expect("an older copy");
        let older = opened(&path).identity_warning().expect("it is older");
        assert!(
            older.contains("holds alerts up to #1, though there were alerts up to #2"),
            "{older}"
        );
        fs::remove_file(&path).expect("it is there");
        let error = SqliteStore::check(&path).expect_err("it is gone").to_string();
        assert!(error.contains("is missing or empty, though a host used"), "{error}");
        fs::write(beside(&path, "-wal"), "what may be the last trace").expect("written");
        let store = opened(&path);
        let emptied = store.identity_warning().expect("it is empty");
        assert!(
            emptied.contains("is empty, though a host used a database with alerts up to #1"),
            "{emptied}"
        );
        assert!(emptied.contains(".db-wal.orphaned-") && emptied.contains("; hint: "), "{emptied}");
        store.close();
        assert_eq!(opened(&path).identity_warning(), None, "it is said once");
    }

    #[test]
    fn all_files_are_private() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let modes = || {
            ["", "-wal", "-shm", ".lock"].map(|suffix| {
                fs::metadata(beside(&path, suffix)).expect("it is there").permissions().mode()
                    & 0o777
            })
        };
        let store = opened(&path);
        assert_eq!(modes(), [0o600; 4]);
        store.close();
        for suffix in ["", ".lock"] {
            let loose = fs::Permissions::from_mode(0o664);
            fs::set_permissions(beside(&path, suffix), loose).expect("changed");
        }
        let _store = opened(&path);
        assert_eq!(modes(), [0o600; 4], "what was looser is tightened");
    }

    #[test]
    fn lists_of_alerts_are_filtered_in_the_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        opened(&path).close();
        let database = Connection::open(&path).expect("a database");
        let plan = "EXPLAIN QUERY PLAN SELECT number FROM alerts INDEXED BY listing \
                    WHERE status = 1 AND urgency = 3 AND integration = 1 AND number < 5 \
                    ORDER BY number DESC LIMIT 9";
        let mut plan = database.prepare(plan).expect("SQL");
        let steps = plan.query_map([], |row| row.get::<_, String>(3)).expect("a plan");
        let steps: Vec<_> = steps.collect::<Result<_, _>>().expect("steps");
        assert!(steps.len() == 1 && steps[0].contains("USING COVERING INDEX listing"), "{steps:?}");
    }

    #[test]
    fn too_many_searches_are_refused_and_do_not_delay_reading_one_alert() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = opened(&folder.path().join("tocsin.db"));
        report(&store, "one").expect("it is kept");
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let running = store.readers.search(move |_| Ok(may_go_on.recv().is_ok()));
        let query = || AlertQuery {
            status: Some(crate::alert::Status::Open),
            limit: 9,
            ..Default::default()
        };
        let waiting: Vec<_> = (0..100).map(|_| store.alerts(query())).collect();
        let alert = store.alert(AlertRef::Number(1)).wait().unwrap();
        assert!(alert.is_some(), "a read of one alert does not wait");
        go_on.send(()).expect("it waits");
        assert!(running.wait().expect("it is done"));
        let answers: Vec<_> = waiting.into_iter().map(Pending::wait).collect();
        let refused = answers.iter().filter(|answer| matches!(answer, Err(StoreError::Busy)));
        assert!(refused.count() >= 85, "{answers:?}");
        assert_eq!(store.alerts(query()).wait().expect("there is room again").alerts.len(), 1);
    }

    #[test]
    fn a_commit_that_writes_nothing_does_not_clear_the_write_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = SqliteStore::open(&path, "a test", Arc::default()).expect("it opens");
        let other = Connection::open(&path).expect("a database");
        other
            .execute_batch(
                "CREATE TRIGGER no BEFORE INSERT ON alerts BEGIN SELECT raise(ABORT, 'no'); END",
            )
            .expect("a table that takes nothing");
        store.probe().wait().expect_err("a record can't be kept");
        assert!(store.last_write_error().is_some());

        let task = HousekeepingTask::ResolveDue { now: jiff::Timestamp::now() };
        let progress =
            store.housekeep(HousekeepingStep { task, limit: 10 }).wait().expect("nothing is due");
        assert_eq!(progress, HousekeepingProgress { count: 0, more: false });
        assert!(store.last_write_error().is_some(), "a record still can't be kept");

        other.execute_batch("DROP TRIGGER no").expect("it is there");
        store.probe().wait().expect("a record can be kept");
        assert_eq!(store.last_write_error(), None);
    }

    #[test]
    fn a_second_host_learns_which_host_has_the_database_open() {
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
    fn a_symlink_to_a_database_has_the_same_lock_and_the_same_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("tocsin.db"), folder.path().join("link.db"));
        let store = SqliteStore::open(&path, "us", Arc::default()).expect("free");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        SqliteStore::open(&link, "others", Arc::default()).err().expect("it is held");
        store.close();
        let store = SqliteStore::open(&link, "us", Arc::default()).expect("free");
        store.probe().wait().expect("the log is found");
    }

    #[test]
    fn a_file_of_another_program_is_refused_and_not_changed() {
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

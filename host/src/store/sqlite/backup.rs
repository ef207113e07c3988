//! Backups of a database in use: one consistent, verified file, made beside the work of the host.
//!
//! The copy is a snapshot. A read transaction keeps the snapshot while pages are copied in small steps with
//! pauses, so that the host's writing thread and the disk have time for webhooks. The copy gets its name only
//! once it is verified and on disk. [`super::restore`] is the way back.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use jiff::Timestamp;
use rusqlite::{
    Connection, InterruptHandle, OpenFlags,
    backup::{Backup as PageCopy, StepResult},
};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
    process::nice,
};
use ulid::Ulid;

use super::{
    APPLICATION_ID, SCHEMA_VERSION,
    access::{self, folder_of},
    connect,
    health::Health,
    identity, in_use,
    lock::DatabaseLock,
    orphaned_log,
};
use crate::{
    problem::Problem,
    store::{
        Pending,
        backup::{Backup, BackupError, BackupTarget},
        pending,
    },
    system::private_file::{self, beside},
};

/// Number of pages that are copied and synced in one step: a megabyte, which a slow disk writes in a few
/// milliseconds.
const STEP_PAGES: i32 = 256;
/// Longest pause after a step. A pause is as long as the step was.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Priority of the copying thread below that of the threads that serve.
const NICENESS: i32 = 10;

/// Backups of the database of a running host, one at a time.
pub(super) struct BackupDesk {
    stop: Arc<StopSign>,
    is_running: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Request to end a backup early.
#[derive(Default)]
pub(super) struct StopSign {
    is_set: AtomicBool,
    query: Mutex<Option<InterruptHandle>>,
}

/// Number of rows in each table.
type Counts = BTreeMap<String, u64>;

impl BackupDesk {
    pub(super) fn new() -> Self {
        Self { stop: Arc::default(), is_running: Arc::default(), thread: Mutex::default() }
    }

    /// Makes a backup on a thread of its own. `inode` is the one of the database in use.
    pub(super) fn start(
        &self,
        database: &Path,
        inode: u64,
        health: Health,
        target: BackupTarget,
    ) -> Pending<Result<Backup, BackupError>> {
        let (responder, pending) = pending();
        if self.is_running.swap(true, Ordering::AcqRel) {
            responder.answer(Ok(Err(BackupError::Busy)));
            return pending;
        }
        let running = Running(Arc::clone(&self.is_running));
        let (database, stop) = (database.to_owned(), Arc::clone(&self.stop));
        let work = move || {
            // A refusal of the system leaves the priority as it is.
            let _ = nice(NICENESS);
            let is_in_place = || {
                ensure!(
                    !health.is_displaced() && identity::inode(&database) == inode,
                    "its file was removed or replaced while the host has it open"
                );
                Ok(())
            };
            let made = make(&database, &target, &stop, &is_in_place);
            drop(running);
            log(&target, &made);
            responder.answer(Ok(made.map_err(|error| BackupError::Failed(problem(&error)))));
        };
        let spawned = thread::Builder::new().name("store-backup".into()).spawn(work);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a thread, the closure and with it the responder are dropped, which answers so.
        *thread = spawned.ok();
        pending
    }

    /// Ends a backup that is being made, and waits for its thread.
    pub(super) fn stop(&self) {
        self.stop.set();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Mark of a running backup, removed when dropped.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl StopSign {
    fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        if let Some(query) = &*self.query() {
            query.interrupt();
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.is_set.load(Ordering::Acquire), "the host is stopping");
        Ok(())
    }

    /// Lets the sign interrupt the queries of a connection.
    fn interrupts(&self, connection: &Connection) -> anyhow::Result<()> {
        *self.query() = Some(connection.get_interrupt_handle());
        self.check()
    }

    fn query(&self) -> std::sync::MutexGuard<'_, Option<InterruptHandle>> {
        self.query.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(target: &BackupTarget, made: &anyhow::Result<Backup>) {
    match made {
        Ok(Backup { path, bytes, alerts, .. }) => tracing::info!(
            event = "backup_completed",
            path = %path.display(),
            bytes,
            alerts,
            "a backup was made",
        ),
        Err(error) => tracing::error!(
            event = "backup_failed",
            path = %target.path.display(),
            error = problem(error).one_line(),
            "a backup could not be made",
        ),
    }
}

fn problem(error: &anyhow::Error) -> Problem {
    Problem::from_text("backup-failed", &format!("{error:#}"))
}

/// Makes a backup of a database from outside its host, whether a host uses it or not.
///
/// # Errors
///
/// If the database is missing, damaged or not the one that a host uses, or the file cannot be written.
pub(super) fn make_from_outside(database: &Path, target: &BackupTarget) -> anyhow::Result<Backup> {
    let shown = database.display();
    ensure!(
        fs::metadata(database).is_ok_and(|metadata| metadata.len() > 0),
        "cannot back up the store `{shown}`: it is missing or empty\n\
         hint: `store.url` in the configuration says where it is expected"
    );
    identity::check(database)?;
    if let Some((file, error)) = access::refused(database, &["", "-wal", "-shm"]) {
        bail!(
            "cannot back up the store `{shown}`: `{}`: {error}\n\
             hint: run the command as the user of the host, or as root",
            file.display()
        );
    }
    let is_held = DatabaseLock::holder(database).is_some();
    let is_foreign = !is_held && orphaned_log::is_foreign(database, DatabaseLock::peek(database));
    ensure!(
        !is_foreign,
        "cannot back up the store `{shown}`: the `-wal` file beside it belongs to another database\n\
         hint: start the host once, which sets that file aside"
    );
    let _ = nice(NICENESS);
    make(database, target, &StopSign::default(), &|| Ok(()))
}

/// Makes a backup. `is_in_place` checks, once the database is open, that it is the right one.
fn make(
    database: &Path,
    target: &BackupTarget,
    stop: &StopSign,
    is_in_place: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Backup> {
    let begun_at = Timestamp::now();
    let (from, to) = (database.display(), target.path.display());
    check_target(database, target)?;
    let context = || format!("cannot back up the store `{from}` to `{to}`");
    let copy = NewFile::beside(&target.path, ".partial-").with_context(context)?;
    let made = || -> anyhow::Result<_> {
        let source = open(database).map_err(explained)?;
        is_in_place()?;
        let counts = copy_snapshot(&source, &copy, stop)?;
        close(source, database)?;
        make_independent(&copy.path)?;
        let (found, schema) = verify(&copy.path, stop)?;
        ensure!(found == counts, "the copy does not hold what was copied");
        is_in_place()?;
        let bytes = copy.file.metadata()?.len();
        copy.sync()?;
        Ok((found, schema, bytes))
    };
    let (counts, schema, bytes) = made().with_context(context)?;
    copy.publish(target).with_context(context)?;
    let alerts = counts.get("alerts").copied().unwrap_or_default();
    Ok(Backup { path: target.path.clone(), bytes, alerts, schema, begun_at })
}

/// Refuses a target that is a file of the database itself, or that exists and may not be replaced.
fn check_target(database: &Path, target: &BackupTarget) -> anyhow::Result<()> {
    let shown = target.path.display();
    let folder = folder_of(&target.path);
    ensure!(
        folder.is_dir(),
        "the folder `{}` for the backup does not exist\nhint: make it, or name another one",
        folder.display()
    );
    let Ok(there) = fs::metadata(&target.path) else { return Ok(()) };
    let files = ["", "-wal", "-shm", ".lock"].map(|suffix| beside(database, suffix));
    let is_own = files.iter().any(|file| {
        fs::metadata(file).is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
    });
    ensure!(
        !is_own,
        "`{shown}` is a file of the store itself\nhint: name another file for the backup"
    );
    ensure!(!there.is_dir(), "`{shown}` is a folder\nhint: name a file in it");
    ensure!(
        target.replaces,
        "`{shown}` exists already\nhint: name another file, or add `--replace`"
    );
    Ok(())
}

/// Opens a database that a host may use. The database is not changed, and a log beside it is left as it is.
fn open(database: &Path) -> rusqlite::Result<Connection> {
    let has_log = fs::metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(database, flags)?;
    source.busy_timeout(Duration::from_secs(5))?;
    source.pragma_update(None, "query_only", true)?;
    if has_log {
        let no_checkpoint = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        source.set_db_config(no_checkpoint, true)?;
    }
    Ok(source)
}

fn close(source: Connection, database: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot close `{}`", database.display());
    source.close().map_err(|(_, error)| error).with_context(context)
}

/// Copies the present state of a database into a new file, and returns the number of rows in its tables.
pub(super) fn copy_snapshot(
    source: &Connection,
    copy: &NewFile,
    stop: &StopSign,
) -> anyhow::Result<Counts> {
    let copied = || -> anyhow::Result<_> {
        // Without a transaction, every commit of the host would make the copy begin again.
        let snapshot = source.unchecked_transaction()?;
        let counts = counts(&snapshot)?;
        let mut to = Connection::open(&copy.path)?;
        // An unfinished copy is deleted, so that it needs no journal.
        to.pragma_update(None, "journal_mode", "off")?;
        to.pragma_update(None, "synchronous", "off")?;
        let pages = PageCopy::new(&snapshot, &mut to)?;
        loop {
            let began = Instant::now();
            let step = pages.step(STEP_PAGES)?;
            // Little is left for the last sync, during which the host's own syncs would have to wait.
            copy.file.sync_data()?;
            match step {
                StepResult::Done => break,
                StepResult::More => thread::sleep(began.elapsed().min(LONGEST_PAUSE)),
                // Another program holds the database.
                _ => thread::sleep(LONGEST_PAUSE),
            }
            stop.check()?;
        }
        drop(pages);
        to.close().map_err(|(_, error)| error)?;
        Ok(counts)
    };
    copied().map_err(explained)
}

/// Makes a copy a database of its own: one file without a log, which belongs to no session of a host.
pub(super) fn make_independent(copy: &Path) -> anyhow::Result<()> {
    let made = || -> rusqlite::Result<()> {
        let copy = connect(copy)?;
        copy.pragma_update(None, "journal_mode", "delete")?;
        in_use::forget(&copy)?;
        copy.close().map_err(|(_, error)| error)
    };
    made().map_err(explained)
}

/// Checks a copy as a whole, and returns the number of rows in its tables and the version of its schema.
pub(super) fn verify(copy: &Path, stop: &StopSign) -> anyhow::Result<(Counts, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let verified = || -> anyhow::Result<_> {
        let copy = Connection::open_with_flags(copy, flags)?;
        stop.interrupts(&copy)?;
        let schema = schema_of(&copy)?;
        let sql = "PRAGMA integrity_check(1)";
        let found: String = copy.query_row(sql, [], |row| row.get(0))?;
        ensure!(found == "ok", "{DAMAGED} ({found})\nhint: {DAMAGED_HINT}");
        Ok((counts(&copy)?, schema))
    };
    // A query that was interrupted fails for that reason alone.
    verified().map_err(|error| stop.check().err().unwrap_or_else(|| explained(error)))
}

/// Returns the version of the schema of a backup.
pub(super) fn schema_of(connection: &Connection) -> anyhow::Result<i64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, known @ 1..=SCHEMA_VERSION) => Ok(known),
        (APPLICATION_ID, newer) => bail!(
            "it was written by a newer Tocsin (schema {newer}, this one knows {SCHEMA_VERSION})\n\
             hint: use the newer `tocsin`"
        ),
        _ => bail!("it is no database of Tocsin\nhint: name a file that `tocsin backup` has made"),
    }
}

const DAMAGED: &str = "the database is damaged";
const DAMAGED_HINT: &str =
    "restore an earlier backup, or save what can be read with `sqlite3 FILE .recover`";

/// Adds a hint to an error of the database or of the disk.
pub(super) fn explained(error: impl Into<anyhow::Error>) -> anyhow::Error {
    use rusqlite::ErrorCode as Code;
    let error = error.into();
    let full = "hint: free disk space, or name a file on another disk";
    if let Some(system) = error.downcast_ref::<io::Error>() {
        let is_full =
            matches!(system.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge);
        return if is_full { anyhow!("{error:#}\n{full}") } else { error };
    }
    let Some(refused) = error.downcast_ref::<rusqlite::Error>() else { return error };
    match refused.sqlite_error_code() {
        Some(Code::NotADatabase) => {
            anyhow!(
                "it is no database ({refused})\nhint: name a file that `tocsin backup` has made"
            )
        }
        Some(Code::DatabaseCorrupt) => anyhow!("{DAMAGED} ({refused})\nhint: {DAMAGED_HINT}"),
        Some(Code::DiskFull | Code::SystemIoFailure) => anyhow!("{refused}\n{full}"),
        _ => error,
    }
}

fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut tables = connection.prepare(tables)?;
    let names = tables.query_map([], |row| row.get::<_, String>(0))?;
    let count = |name: String| {
        // The rows of `meta` differ between a database and its copy.
        let sql = format!("SELECT count(*) FROM \"{name}\" WHERE '{name}' <> 'meta'");
        let count = connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?;
        Ok((name, count.cast_unsigned()))
    };
    names.map(|name| count(name?)).collect()
}

/// File under a temporary name, deleted when dropped.
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    file: File,
}

impl NewFile {
    /// Creates an empty file with mode 0600, whose name is that of another with an addition.
    pub(super) fn beside(path: &Path, addition: &str) -> io::Result<Self> {
        let path = beside(path, &format!("{addition}{}", Ulid::generate()));
        Ok(Self { file: private_file::create_new(&path)?, path })
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives the file its name, for good.
    fn publish(&self, target: &BackupTarget) -> anyhow::Result<()> {
        let (from, to) = (&self.path, &target.path);
        let flags = if target.replaces { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match renameat_with(CWD, from, CWD, to, flags) {
            Ok(()) => {}
            // The file system does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) => {
                ensure!(target.replaces || !to.exists(), "it exists already");
                fs::rename(from, to)?;
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
        Ok(sync_folder(to)?)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // After `publish`, there is nothing under the temporary name.
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }
}

/// Syncs the name of a file.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

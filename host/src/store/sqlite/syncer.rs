//! Syncing thread: makes transactions durable, and only then answers their jobs.
//!
//! SQLite would sync the log inside every commit, and write nothing during the sync. Here the commits of
//! [`super::writer`] leave the log unsynced, and this thread syncs it for all of them. Answered jobs are as
//! durable as with `synchronous = FULL`. A second thread copies the log into the database, so that the
//! writer never has to.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use rusqlite::Connection;

use super::{
    durable::DurableTransaction,
    health::Health,
    open_files::OpenFiles,
    transaction_times::TransactionTimes,
    write_job::{JobResult, WriteJob},
};
use crate::{
    limits::line_limit::LineLimit,
    metrics::StoreMetrics,
    problem::Problem,
    store::StoreError,
    system::{fault_injection, private_file::beside},
};

/// A transaction that is written but not yet on disk.
pub(super) struct Batch {
    pub(super) jobs: Vec<WriteJob>,
    pub(super) done: Vec<JobResult>,
    pub(super) started: Instant,
    /// Number of the transaction.
    pub(super) transaction: i64,
    /// True if the transaction holds records of requests, so that its time is of interest.
    pub(super) holds_records: bool,
    /// True if the transaction may hold changes of alerts.
    pub(super) may_change_alerts: bool,
}

enum Message {
    Written(Batch),
    Refused(Vec<WriteJob>, Problem),
    /// A reminder to look at the files.
    Look,
    Stop,
}

/// The syncing and the checkpointing thread.
pub(super) struct Syncer {
    messages: SyncSender<Message>,
    turn: Arc<Mutex<()>>,
    health: Health,
    threads: [JoinHandle<()>; 2],
}

/// Sending half of the queue of the [`Syncer`].
pub(super) struct Queue {
    messages: SyncSender<Message>,
    turn: Arc<Mutex<()>>,
}

impl Queue {
    pub(super) fn written(&self, batch: Batch) {
        // The syncer outlives the writer.
        let _ = self.messages.send(Message::Written(batch));
    }

    pub(super) fn refused(&self, jobs: Vec<WriteJob>, reason: Problem) {
        let _ = self.messages.send(Message::Refused(jobs, reason));
    }

    /// Held by the writer during a transaction.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Interval between looks at the files while little or nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Shortest interval between looks at the files under load, since a look costs about as much as a request. A
/// transaction that ends later than that after the last look is not answered before the next one.
pub(super) const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Number of transactions after which the log, then some megabytes, is copied into the database.
const TRANSACTIONS_BETWEEN_CHECKPOINTS: usize = 512;
/// Growth after which the log is copied earlier, since requests are large.
const LARGEST_GROWTH_BYTES: u64 = 32 * 1024 * 1024;

impl Syncer {
    /// Starts the threads for a database, with a connection for checkpoints.
    pub(super) fn start(
        database: &Path,
        checkpoints: Connection,
        metrics: Arc<StoreMetrics>,
        times: Arc<TransactionTimes>,
        durable: Arc<DurableTransaction>,
    ) -> anyhow::Result<Self> {
        let (turn, health) = (Arc::default(), Health::default());
        // The writer passes on a batch once the batch before is on disk. Until then it gathers jobs,
        // since fewer and larger transactions cost each request less.
        let (messages, waiting) = mpsc::sync_channel(0);
        // Further requests for a checkpoint add nothing.
        let (nudges, nudged) = mpsc::sync_channel(1);
        let checkpointer = Checkpointer {
            connection: checkpoints,
            turn: Arc::clone(&turn),
            health: health.clone(),
            syncer: messages.clone(),
        };
        let checkpointer = spawn("store-checkpoint", move || checkpointer.serve(&nudged))?;
        let mut state = SyncerThread {
            files: OpenFiles::of(database),
            looked_at: Instant::now(),
            log: Log::of(database),
            metrics,
            times,
            durable,
            health: health.clone(),
            nudges,
            since_checkpoint: 0,
            log_bytes_at_checkpoint: 0,
            refusal_lines: LineLimit::default(),
            runtime: tokio::runtime::Handle::try_current().ok(),
        };
        let syncer = spawn("store-syncer", move || state.serve(&waiting))?;
        Ok(Self { messages, turn, health, threads: [syncer, checkpointer] })
    }

    pub(super) fn queue(&self) -> Queue {
        Queue { messages: self.messages.clone(), turn: Arc::clone(&self.turn) }
    }

    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Syncs and answers all waiting batches, and returns when that is done.
    pub(super) fn stop(self) {
        let _ = self.messages.send(Message::Stop);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(body).context("cannot start a thread")
}

/// State of the thread behind a [`Syncer`].
struct SyncerThread {
    files: OpenFiles,
    looked_at: Instant,
    log: Log,
    metrics: Arc<StoreMetrics>,
    times: Arc<TransactionTimes>,
    durable: Arc<DurableTransaction>,
    health: Health,
    nudges: SyncSender<()>,
    since_checkpoint: usize,
    log_bytes_at_checkpoint: u64,
    refusal_lines: LineLimit,
    /// Async runtime of the tasks that wait, if the store was opened inside one.
    runtime: Option<tokio::runtime::Handle>,
}

impl SyncerThread {
    fn serve(&mut self, waiting: &Receiver<Message>) {
        while let Ok(first) = waiting.recv() {
            let (mut batches, mut stops) = (Vec::new(), false);
            for message in std::iter::once(first).chain(waiting.try_iter()) {
                match message {
                    Message::Written(batch) => batches.push(batch),
                    Message::Refused(jobs, reason) => self.refuse(jobs, reason),
                    // The log and readiness report it; further jobs are refused.
                    Message::Look => drop(self.look_at_files()),
                    Message::Stop => stops = true,
                }
            }
            self.sync(batches);
            if stops {
                return;
            }
        }
    }

    fn sync(&mut self, batches: Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        self.since_checkpoint += batches.len();
        fault_injection::point("before-sync");
        if let Err(error) = self.log.sync() {
            self.metrics.failed();
            let message = format!("cannot sync `{}`: {error}", self.log.path.display());
            let reason = Problem::new("sync-failed", message);
            if self.log.is_lost {
                self.metrics.is_lost.set(1);
                self.health.stop_writes(reason.clone());
            }
            let jobs = batches.into_iter().flat_map(|batch| batch.jobs).collect();
            return self.refuse(jobs, reason);
        }
        fault_injection::point("synced");
        // Data in files that were removed is lost.
        let is_time = self.looked_at.elapsed() >= LOOK_AT_MOST_EVERY;
        if (is_time || self.health.is_displaced())
            && let Err(reason) = self.look_at_files()
        {
            self.metrics.failed();
            let jobs = batches.into_iter().flat_map(|batch| batch.jobs).collect();
            return self.refuse(jobs, reason);
        }
        if batches.iter().flat_map(|batch| &batch.jobs).any(WriteJob::is_a_proof) {
            self.health.set_write_error(None);
        }
        for batch in &batches {
            let took = batch.started.elapsed();
            self.metrics.committed(batch.jobs.len(), took);
            if batch.holds_records {
                self.times.synced(batch.transaction, took);
            }
            self.durable.advance(batch.transaction);
        }
        if batches.iter().any(|batch| batch.may_change_alerts) {
            self.durable.alerts_changed();
        }
        let log_bytes = self.files.log_bytes();
        self.log_bytes_at_checkpoint = self.log_bytes_at_checkpoint.min(log_bytes);
        if self.since_checkpoint >= TRANSACTIONS_BETWEEN_CHECKPOINTS
            || log_bytes > self.log_bytes_at_checkpoint + LARGEST_GROWTH_BYTES
        {
            (self.since_checkpoint, self.log_bytes_at_checkpoint) = (0, log_bytes);
            let _ = self.nudges.try_send(());
        }
        self.deliver(batches);
    }

    /// Checks that the files that were synced are those that a restart will find.
    fn look_at_files(&mut self) -> Result<(), Problem> {
        let looked = self.files.check();
        self.looked_at = Instant::now();
        if let Err(reason) = &looked
            && !self.health.is_displaced()
        {
            tracing::error!(
                event = "store_lost",
                error = reason.one_line(),
                "the store cannot store anything more",
            );
            self.metrics.is_lost.set(1);
            self.health.displace(reason.clone());
        }
        looked
    }

    /// Answers all jobs, if possible from one task of their runtime: from this thread, each waiting
    /// task would need a wake-up across threads.
    fn deliver(&self, batches: Vec<Batch>) {
        let deliver = move || {
            for Batch { jobs, done, .. } in batches {
                for (job, done) in jobs.into_iter().zip(done) {
                    job.answer(done);
                    fault_injection::point("answered");
                }
            }
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async { deliver() })),
            None => deliver(),
        }
    }

    fn refuse(&mut self, jobs: Vec<WriteJob>, reason: Problem) {
        if let Some(left_out) = self.refusal_lines.admit(Instant::now()) {
            let requests = jobs.len();
            tracing::error!(
                event = "store_commit_failed",
                error = reason.one_line(),
                requests,
                left_out,
                "the store cannot commit",
            );
        }
        self.health.set_write_error(Some(reason.clone()));
        let error = StoreError::Unavailable(reason);
        jobs.into_iter().for_each(|job| job.refuse(&error));
    }
}

/// SQLite's write-ahead log. It is there from the first transaction until the last connection closes.
struct Log {
    database: PathBuf,
    path: PathBuf,
    file: Option<File>,
    /// The disk was full. What the log lacks is still in memory.
    is_suspect: bool,
    /// The disk failed. The system may have forgotten what it could not write, so that the next sync
    /// succeeds without it (<https://lwn.net/Articles/752063/>): only a start, which verifies the log,
    /// can find out what is on disk.
    is_lost: bool,
}

impl Log {
    fn of(database: &Path) -> Self {
        let (database, path) = (database.to_owned(), beside(database, "-wal"));
        // Opened at once, so that the synced file is the log that SQLite writes to.
        let file = File::open(&path).ok();
        Self { database, path, file, is_suspect: false, is_lost: false }
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_lost, "the disk failed before; hint: restart the host");
        if self.is_suspect {
            return self.empty();
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        if let Err(error) = fault_injection::io("sync").and_then(|()| file.sync_data()) {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            self.is_suspect = matches!(error.kind(), StorageFull | QuotaExceeded);
            self.is_lost = !self.is_suspect;
            let hint = if self.is_lost { "; hint: restart the host" } else { "" };
            anyhow::bail!("{error}{hint}");
        }
        Ok(())
    }

    /// Copies everything into the database and syncs that, after which the log holds nothing that
    /// could be missing.
    fn empty(&mut self) -> anyhow::Result<()> {
        let connection = super::connect(&self.database)?;
        connection.pragma_update(None, "synchronous", "full")?;
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy: bool = connection.query_row(truncate, [], |row| row.get(0))?;
        anyhow::ensure!(!is_busy, "the log can't be copied while it is being read");
        self.is_suspect = false;
        Ok(())
    }
}

/// Copies the log into the database, and reminds the syncer to look at the files.
struct Checkpointer {
    connection: Connection,
    turn: Arc<Mutex<()>>,
    health: Health,
    syncer: SyncSender<Message>,
}

impl Checkpointer {
    fn serve(self, nudged: &Receiver<()>) {
        loop {
            match nudged.recv_timeout(LOOK_EVERY) {
                Ok(()) => {}
                // The time is kept here, since a timeout in the syncer would cost every batch.
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.syncer.send(Message::Look);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Most of the log is copied while the writer works, and the small rest while the writer
            // pauses: only a log that was copied completely is written again from its start, and so
            // stays small.
            fault_injection::point("checkpoint");
            self.checkpoint();
            fault_injection::point("half-checkpointed");
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.checkpoint();
            fault_injection::point("checkpointed");
        }
        self.health.prepare_close(&self.connection);
    }

    fn checkpoint(&self) {
        let passive = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = passive {
            // Until the next try, the log holds everything, and grows.
            tracing::warn!(
                event = "store_checkpoint_failed",
                %error,
                "cannot copy the log into the database",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_disk_refuses_every_sync_until_a_restart() {
        let mut log = Log::of(Path::new("nowhere"));
        log.is_lost = true;
        assert!(log.sync().expect_err("it is lost").to_string().contains("restart the host"));
    }

    #[test]
    fn a_full_disk_has_the_log_copied_before_the_next_sync_succeeds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let connection = super::super::connect(&path).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = wal; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
            )
            .expect("a transaction");
        let mut log = Log::of(&path);
        log.sync().expect("a log");
        let length = |log: &Log| std::fs::metadata(&log.path).expect("a log").len();
        assert!(length(&log) > 0);

        log.is_suspect = true;
        log.sync().expect("it is copied");
        assert_eq!((length(&log), log.is_suspect), (0, false));
        connection.execute_batch("INSERT INTO t VALUES (2)").expect("a transaction");
        log.sync().expect("the same log goes on");
        assert!(length(&log) > 0);
    }
}

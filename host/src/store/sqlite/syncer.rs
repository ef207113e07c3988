//! Makes transactions durable, and only then answers their jobs.
//!
//! SQLite would sync the log inside every commit. Here the commits of [`super::writer`] leave the log
//! unsynced, and the same thread syncs it afterwards, once for all transactions that it wrote. Answered jobs
//! are as durable as with `synchronous = FULL`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    checkpointer::Nudges,
    durable::DurableTransaction,
    file_watch::FileWatch,
    health::Health,
    transaction_times::TransactionTimes,
    write_job::{JobResult, WriteJob},
};
use crate::{
    limits::line_limit::LineLimit,
    metrics::StoreMetrics,
    problem::Problem,
    request::timeline::Moment,
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

/// Result of an attempt to write jobs.
pub(super) enum Attempt {
    Written(Batch),
    Refused(Vec<WriteJob>, Problem),
}

/// Number of transactions after which the log, then some megabytes, is copied into the database.
const TRANSACTIONS_BETWEEN_CHECKPOINTS: usize = 512;
/// Growth after which the log is copied earlier, since requests are large.
const LARGEST_GROWTH_BYTES: u64 = 32 * 1024 * 1024;

/// Syncs the log of a database, and answers the jobs of the transactions in it.
pub(super) struct Syncer {
    log: Log,
    watch: Arc<FileWatch>,
    metrics: Arc<StoreMetrics>,
    times: Arc<TransactionTimes>,
    durable: Arc<DurableTransaction>,
    health: Health,
    nudges: Nudges,
    since_checkpoint: usize,
    log_bytes_at_checkpoint: u64,
    refusal_lines: LineLimit,
    /// Async runtime of the tasks that wait, if the store was opened inside one.
    runtime: Option<tokio::runtime::Handle>,
}

impl Syncer {
    /// Opens the log of a database.
    pub(super) fn open(
        database: &Path,
        watch: Arc<FileWatch>,
        metrics: Arc<StoreMetrics>,
        times: Arc<TransactionTimes>,
        durable: Arc<DurableTransaction>,
        health: Health,
        nudges: Nudges,
    ) -> Self {
        Self {
            log: Log::of(database),
            watch,
            metrics,
            times,
            durable,
            health,
            nudges,
            since_checkpoint: 0,
            log_bytes_at_checkpoint: 0,
            refusal_lines: LineLimit::default(),
            runtime: tokio::runtime::Handle::try_current().ok(),
        }
    }

    /// Syncs all that was written, and answers all jobs in the order of the attempts.
    pub(super) fn settle(&mut self, attempts: Vec<Attempt>) {
        let written = attempts.iter().filter(|it| matches!(it, Attempt::Written(_))).count();
        let synced = if written > 0 { self.sync(written) } else { Ok(()) };
        let (mut batches, mut changed_alerts) = (Vec::with_capacity(written), false);
        for attempt in attempts {
            match (attempt, &synced) {
                (Attempt::Written(batch), Ok(())) => {
                    self.note_success(&batch);
                    changed_alerts |= batch.may_change_alerts;
                    batches.push(batch);
                }
                (Attempt::Written(batch), Err(reason)) => self.refuse(batch.jobs, reason.clone()),
                (Attempt::Refused(jobs, reason), _) => self.refuse(jobs, reason),
            }
        }
        if changed_alerts {
            self.durable.alerts_changed();
        }
        if !batches.is_empty() {
            self.checkpoint_if_due();
            self.deliver(batches);
        }
    }

    /// Syncs the log, and checks that it is the log that a restart will find.
    fn sync(&mut self, transactions: usize) -> Result<(), Problem> {
        self.since_checkpoint += transactions;
        fault_injection::point("before-sync");
        if let Err(error) = self.log.sync() {
            self.metrics.failed();
            let message = format!("cannot sync `{}`: {error}", self.log.path.display());
            let reason = Problem::new("sync-failed", message);
            if self.log.is_lost {
                self.metrics.is_lost.set(1);
                self.health.stop_writes(reason.clone());
            }
            return Err(reason);
        }
        fault_injection::point("synced");
        // Data in files that were removed is lost.
        self.watch.look_if_due().inspect_err(|_| self.metrics.failed())
    }

    fn note_success(&self, batch: &Batch) {
        if batch.jobs.iter().any(WriteJob::is_a_proof) {
            self.health.set_write_error(None);
        }
        for timeline in batch.jobs.iter().filter_map(WriteJob::timeline) {
            timeline.note(Moment::Synced);
        }
        let took = batch.started.elapsed();
        self.metrics.committed(batch.jobs.len(), took);
        if batch.holds_records {
            self.times.synced(batch.transaction, took);
        }
        self.durable.advance(batch.transaction);
    }

    fn checkpoint_if_due(&mut self) {
        let log_bytes = self.watch.log_bytes();
        self.log_bytes_at_checkpoint = self.log_bytes_at_checkpoint.min(log_bytes);
        if self.since_checkpoint >= TRANSACTIONS_BETWEEN_CHECKPOINTS
            || log_bytes > self.log_bytes_at_checkpoint + LARGEST_GROWTH_BYTES
        {
            (self.since_checkpoint, self.log_bytes_at_checkpoint) = (0, log_bytes);
            self.nudges.send();
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Pending, pending};

    /// Returns a syncer for a database with one transaction in its log.
    fn syncer() -> (tempfile::TempDir, rusqlite::Connection, Syncer) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let connection = super::super::connect(&path).expect("a database");
        let made = connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)");
        made.expect("a transaction");
        let health = Health::default();
        let watch = FileWatch::of(&path, health.clone(), Arc::default());
        let syncer = Syncer::open(
            &path,
            Arc::new(watch),
            Arc::default(),
            Arc::default(),
            Arc::default(),
            health,
            Nudges::to_nobody(),
        );
        (folder, connection, syncer)
    }

    fn written() -> (Attempt, Pending<()>) {
        let (responder, pending) = pending();
        let batch = Batch {
            jobs: vec![WriteJob::Probe(responder)],
            done: vec![JobResult::Probe],
            started: Instant::now(),
            transaction: 1,
            holds_records: false,
            may_change_alerts: false,
        };
        (Attempt::Written(batch), pending)
    }

    fn refused() -> (Attempt, Pending<()>) {
        let (responder, pending) = pending();
        let reason = Problem::new("database-refused", "it is full");
        (Attempt::Refused(vec![WriteJob::Probe(responder)], reason), pending)
    }

    #[test]
    fn the_last_attempt_decides_whether_there_is_a_write_error() {
        let (_folder, _connection, mut syncer) = syncer();
        for is_refused_last in [true, false] {
            let ((ok, succeeds), (bad, fails)) = (written(), refused());
            syncer.settle(if is_refused_last { vec![ok, bad] } else { vec![bad, ok] });
            succeeds.wait().expect("the failure of another job does not matter");
            let error = fails.wait().expect_err("it was refused").to_string();
            assert!(error.contains("it is full"), "{error}");
            assert_eq!(syncer.health.last_write_error().is_some(), is_refused_last);
        }
    }

    #[test]
    fn nothing_is_confirmed_that_could_not_be_synced() {
        let (_folder, _connection, mut syncer) = syncer();
        syncer.log.is_lost = true;
        let ((ok, written), (bad, refused)) = (written(), refused());
        syncer.settle(vec![ok, bad]);
        let error = written.wait().expect_err("it is not on disk").to_string();
        assert!(error.contains("cannot sync"), "{error}");
        let error = refused.wait().expect_err("it was refused").to_string();
        assert!(error.contains("it is full"), "{error}");
        assert_eq!(syncer.durable.wait_for(1, std::time::Duration::ZERO), None);
        assert!(syncer.health.write_stop().is_some(), "nothing more is written");
    }

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

//! Writing thread: one transaction and one sync for all waiting jobs.
//!
//! A [`WriteTransaction`] carries out the jobs. The thread then has the [`Syncer`] sync the transaction and
//! answer. Meanwhile the next jobs gather: the busier the host, the more requests share a sync.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use rusqlite::Connection;

use super::{
    checkpointer::{Checkpointer, Turn},
    durable::DurableTransaction,
    emergency_copy,
    file_watch::FileWatch,
    health::Health,
    idle_yield::IdleYield,
    in_use,
    kept_statements::{KeptStatements, StatementsOf},
    syncer::{Attempt, Batch, Syncer},
    transaction_times::TransactionTimes,
    write_job::{JobResult, WriteJob},
    write_transaction::WriteTransaction,
    writer_state::WriterState,
};
use crate::{
    alert::AlertIds,
    limits::reached::Limit,
    metrics::StoreMetrics,
    problem::Problem,
    request::{Effect, Quarantined, Submission, timeline::Moment},
    store::{
        CommitCallback, EVENTS_TOGETHER, Pending, Responder, StoreError,
        long_submission::{LongSubmission, Progress},
        pending,
        sql::{SqlError, SqlResult},
    },
    system::fault_injection,
};

/// Largest number of requests that share a commit: enough that the sync costs each next to nothing, few
/// enough that none waits long for the others. Requests with many events share it with fewer.
const LARGEST_BATCH: usize = 512;

/// Longest time for which [patient](WriteJob::is_patient) jobs wait for others.
const PATIENCE: Duration = Duration::from_millis(5);

/// Time without a job after which all [keys](super::unindexed_keys) are written, so that a host that rests has
/// none.
const REST: Duration = Duration::from_secs(1);
/// The same after keys could not be written.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Writing thread, with the checkpointing thread that works for it.
pub(super) struct Writer {
    jobs: Sender<WriteJob>,
    health: Health,
    quarantine: QuarantineBoard,
    highest: i64,
    transaction: i64,
    thread: JoinHandle<i64>,
    checkpointer: Checkpointer,
}

/// [Requests](Quarantined) that wait for a replay, by the number of the integration, as the last commit
/// left them.
type QuarantineBoard = Arc<Mutex<BTreeMap<i64, Quarantined>>>;

/// Sending half of the queue of the [`Writer`].
pub(super) struct Queue {
    jobs: Sender<WriteJob>,
    health: Health,
    quarantine: QuarantineBoard,
}

impl Writer {
    /// Starts the threads for a database, with a connection for each.
    pub(super) fn start(
        database: &Path,
        connection: Connection,
        checkpoints: Connection,
        ids: AlertIds,
        metrics: Arc<StoreMetrics>,
        times: Arc<TransactionTimes>,
        durable: Arc<DurableTransaction>,
    ) -> anyhow::Result<Self> {
        connection.set_prepared_statement_cache_capacity(64);
        let state = WriterState::read(&connection)?;
        let (highest, transaction) = (state.highest, state.transaction);
        let quarantine = QuarantineBoard::new(Mutex::new(state.quarantine.clone()));
        let (turn, health) = (Turn::default(), Health::default());
        let watch = Arc::new(FileWatch::of(database, health.clone(), Arc::clone(&metrics)));
        let checkpointer =
            Checkpointer::start(checkpoints, turn.clone(), health.clone(), Arc::clone(&watch))?;
        let syncer = Syncer::open(
            database,
            Arc::clone(&watch),
            Arc::clone(&metrics),
            Arc::clone(&times),
            durable,
            health.clone(),
            checkpointer.nudges(),
        );
        let (jobs, waiting) = mpsc::channel();
        let (database, board) = (database.to_owned(), Arc::clone(&quarantine));
        let thread = {
            let health = health.clone();
            let serve = move || {
                let mut thread = WriterThread {
                    database,
                    watch,
                    connection: &connection,
                    statements: StatementsOf::new(&connection),
                    ids,
                    state,
                    metrics,
                    syncer,
                    turn,
                    health,
                    times,
                    quarantine: board,
                    long: VecDeque::new(),
                    idle: IdleYield::default(),
                    rest: REST,
                };
                thread.serve(&waiting);
                thread.state.highest
            };
            thread::Builder::new().name("store-writer".into()).spawn(serve)
        };
        let thread = thread.context("cannot start a thread")?;
        Ok(Self { jobs, health, quarantine, highest, transaction, thread, checkpointer })
    }

    pub(super) fn queue(&self) -> Queue {
        let (health, quarantine) = (self.health.clone(), Arc::clone(&self.quarantine));
        Queue { jobs: self.jobs.clone(), health, quarantine }
    }

    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Returns a number not lower than that of any transaction in the database when it was opened.
    pub(super) fn transaction_at_start(&self) -> i64 {
        self.transaction
    }

    /// The number of the newest alert when the database was opened.
    pub(super) fn highest_at_start(&self) -> u64 {
        self.highest.cast_unsigned()
    }

    /// Commits all waiting jobs, closes the database, and returns the number of the newest alert.
    pub(super) fn stop(self) -> u64 {
        let _ = self.jobs.send(WriteJob::Stop);
        let highest = self.thread.join().unwrap_or(self.highest);
        self.checkpointer.stop();
        highest.cast_unsigned()
    }
}

impl Queue {
    pub(super) fn commit(&self, submission: Submission, then: CommitCallback) {
        // A closed store drops the job, and with it the callback.
        let _ = self.jobs.send(WriteJob::Commit(submission, then));
    }

    /// Has a job done that answers.
    pub(super) fn ask<T>(&self, job: impl FnOnce(Responder<T>) -> WriteJob) -> Pending<T> {
        let (responder, pending) = pending();
        let _ = self.jobs.send(job(responder));
        pending
    }

    /// Returns the queue for jobs that follow others.
    pub(super) fn jobs(&self) -> Sender<WriteJob> {
        self.jobs.clone()
    }

    pub(super) fn last_write_error(&self) -> Option<Problem> {
        self.health.last_write_error()
    }

    pub(super) fn damage(&self) -> Option<Problem> {
        self.health.damage()
    }

    pub(super) fn quarantine(&self) -> Vec<Quarantined> {
        let board = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = board.values().cloned().collect();
        all.sort_by(|one, other| one.integration.cmp(&other.integration));
        all
    }
}

/// State of the thread behind a [`Writer`].
struct WriterThread<'c> {
    database: PathBuf,
    watch: Arc<FileWatch>,
    connection: &'c Connection,
    statements: StatementsOf<'c>,
    ids: AlertIds,
    state: WriterState,
    metrics: Arc<StoreMetrics>,
    syncer: Syncer,
    turn: Turn,
    health: Health,
    times: Arc<TransactionTimes>,
    quarantine: QuarantineBoard,
    /// Submissions that need several transactions. They take turns: one part a transaction.
    long: VecDeque<LongSubmission>,
    idle: IdleYield,
    /// Time without a job after which the next slice of keys is written.
    rest: Duration,
}

impl WriterThread<'_> {
    fn serve(&mut self, waiting: &Receiver<WriteJob>) {
        let mut stops = false;
        while let Some(mut jobs) = self.gather(waiting, &mut stops) {
            fault_injection::point("gathered");
            jobs.extend(self.long.pop_front().map(WriteJob::Part));
            if self.state.keys.owes_slice() {
                jobs.push(WriteJob::IndexKeys);
            }
            // Jobs are done in the order of arrival, in which the keys of their records grow.
            jobs.sort_by_key(WriteJob::arrival);
            self.idle.earn(jobs.len());
            let mut attempts = Vec::new();
            self.write_together(jobs, &mut attempts);
            self.syncer.settle(attempts);
        }
        self.keep_times();
        // The files may have been removed since the last look.
        let _ = self.watch.look();
        if self.health.is_displaced() {
            emergency_copy::save(self.connection, &self.database);
        }
        in_use::end(self.connection, &self.health);
        self.health.prepare_close(self.connection);
    }

    /// Gathers the jobs of the next transaction, beside a part of a long submission. Returns `None`
    /// once all jobs from before the end are done.
    fn gather(&mut self, waiting: &Receiver<WriteJob>, stops: &mut bool) -> Option<Vec<WriteJob>> {
        let (mut jobs, mut events) = (Vec::new(), 0);
        for taken in 0..LARGEST_BATCH {
            if *stops || events >= EVENTS_TOGETHER {
                break;
            }
            let has_to_wait = taken == 0 && self.long.is_empty();
            let can_wait =
                !jobs.is_empty() && self.long.is_empty() && jobs.iter().all(WriteJob::is_patient);
            let job = if has_to_wait {
                self.first_job(waiting)
            } else if can_wait {
                waiting.recv_timeout(PATIENCE).ok()
            } else {
                waiting.try_recv().ok()
            };
            match job {
                Some(WriteJob::Stop) => *stops = true,
                None if has_to_wait => *stops = true,
                None => break,
                Some(WriteJob::Rehearse(submission, responder)) => {
                    let effects = self.rehearse(&submission);
                    responder.answer(effects.map_err(|error| unavailable(&error)));
                }
                Some(WriteJob::Commit(submission, then)) if LongSubmission::is_one(&submission) => {
                    self.long.push_back(LongSubmission::new(submission, then));
                }
                Some(job) => {
                    events += job.event_count();
                    jobs.push(job);
                }
            }
        }
        let is_over = *stops && jobs.is_empty() && self.long.is_empty();
        (!is_over).then_some(jobs)
    }

    /// Waits for the first job of a transaction. If none comes for a while, the job is to write keys.
    fn first_job(&mut self, waiting: &Receiver<WriteJob>) -> Option<WriteJob> {
        let is_done = self.state.keys.is_empty() || self.health.write_stop().is_some();
        match self.idle.receive(waiting, (!is_done).then_some(self.rest)) {
            Ok(job) => {
                self.rest = REST;
                Some(job)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.rest = Duration::ZERO;
                self.state.keys.sort(self.state.highest);
                Some(WriteJob::IndexKeys)
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Writes jobs in one transaction, which is not synced yet.
    fn write_together(&mut self, jobs: Vec<WriteJob>, attempts: &mut Vec<Attempt>) {
        if jobs.is_empty() {
            return;
        }
        if let Some(lost) = self.health.write_stop() {
            // Refused requests must not be in the store either.
            self.metrics.failed();
            return attempts.push(Attempt::Refused(jobs, lost));
        }
        let started = Instant::now();
        match self.transaction(&jobs) {
            Ok(done) => {
                note_written(&jobs, started);
                let (transaction, holds_records) = (self.state.transaction, holds_records(&jobs));
                let may_change_alerts = jobs.iter().any(WriteJob::may_change_alerts);
                let (jobs, done) = self.put_back_unfinished(jobs, done);
                attempts.push(Attempt::Written(Batch {
                    jobs,
                    done,
                    started,
                    transaction,
                    holds_records,
                    may_change_alerts,
                }));
            }
            // A failing job must not fail the others: each gets a transaction of its own.
            Err(error) if jobs.len() > 1 && !concerns_all(&error) => {
                for job in jobs {
                    self.write_together(vec![job], attempts);
                }
            }
            Err(error) => {
                if jobs.iter().any(|job| matches!(job, WriteJob::IndexKeys)) {
                    self.state.keys.put_off();
                    self.rest = REST_AFTER_FAILURE;
                }
                self.metrics.failed();
                self.health.note_damage(&error);
                attempts.push(Attempt::Refused(jobs, super::problem(&error)));
            }
        }
    }

    /// Lets a long submission wait for its next turn if a part of it was written and more is to come. With
    /// its last part, it is a submission as any other.
    fn put_back_unfinished(
        &mut self,
        mut jobs: Vec<WriteJob>,
        mut done: Vec<JobResult>,
    ) -> (Vec<WriteJob>, Vec<JobResult>) {
        let Some(place) = jobs.iter().position(|job| matches!(job, WriteJob::Part(_))) else {
            return (jobs, done);
        };
        if let (WriteJob::Part(long), JobResult::Commit(part)) =
            (jobs.remove(place), done.remove(place))
        {
            match long.advance(part) {
                Progress::Unfinished(long) => {
                    fault_injection::point("part-committed");
                    self.long.push_back(long);
                }
                Progress::Finished(submission, then, effects) => {
                    jobs.push(WriteJob::Commit(submission, then));
                    done.push(JobResult::Commit(effects));
                }
            }
        }
        (jobs, done)
    }

    fn transaction(&mut self, jobs: &[WriteJob]) -> SqlResult<Vec<JobResult>> {
        // A draft until the transaction is committed.
        let mut state = self.state.clone();
        // Numbers without a trace would be given again.
        if jobs.iter().any(WriteJob::keeps_transaction) {
            state.transaction += 1;
        }
        let done = self.write(jobs, &mut state)?;
        if std::mem::take(&mut state.quarantine_changed) {
            self.show(&state.quarantine);
        }
        for (integration, count) in std::mem::take(&mut state.malformed_pushed_out) {
            let detail = format_args!("integration `{}`", state.name_of(integration));
            self.metrics.limits.reached_times(Limit::Malformed, count, detail);
        }
        self.state = state;
        self.state.keys.adopt(self.state.highest);
        Ok(done)
    }

    fn write(&self, jobs: &[WriteJob], state: &mut WriterState) -> SqlResult<Vec<JobResult>> {
        // A checkpoint that has to see the log at rest waits for the end of a transaction.
        let _turn = self.turn.take();
        let transaction = Transaction::begin(self.connection, &self.statements)?;
        fault_injection::point("begun");
        // An idle host writes no times.
        let known = if holds_records(jobs) { self.times.write(&self.statements)? } else { 0 };
        let mut open = WriteTransaction::new(self.connection, &self.statements, self.ids, state);
        if open.state.keys.is_full() {
            open.state.keys.write_slice(open.kept)?;
        }
        let mut done = Vec::with_capacity(jobs.len());
        for job in jobs {
            done.push(job.apply(&mut open)?);
            fault_injection::point("applied");
        }
        fault_injection::point("before-commit");
        transaction.commit()?;
        fault_injection::point("committed");
        self.times.written(known);
        Ok(done)
    }

    /// Publishes the requests that wait for a replay, and reports those that were displaced.
    fn show(&mut self, quarantine: &BTreeMap<i64, Quarantined>) {
        for (number, waiting) in quarantine {
            let before = self.state.quarantine.get(number).map_or(0, |before| before.pushed_out);
            if waiting.pushed_out > before {
                let (times, integration) = (waiting.pushed_out - before, &waiting.integration);
                let detail = format_args!(
                    "integration `{integration}`, {} since the start",
                    waiting.pushed_out
                );
                self.metrics.limits.reached_times(Limit::Quarantine, times, detail);
            }
        }
        let mut board = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        board.clone_from(quarantine);
    }

    /// Returns the effects that a submission would have, and rolls back.
    fn rehearse(&self, submission: &Submission) -> SqlResult<Vec<Effect>> {
        let mut state = self.state.clone();
        let _turn = self.turn.take();
        // Dropped without being committed.
        let _transaction = Transaction::begin(self.connection, &self.statements)?;
        WriteTransaction::new(self.connection, &self.statements, self.ids, &mut state)
            .submit(submission)
    }

    /// The times of the last transactions, which no other one will write down.
    fn keep_times(&self) {
        let write = || {
            let transaction = Transaction::begin(self.connection, &self.statements)?;
            let known = self.times.write(&self.statements)?;
            transaction.commit().map(|()| known)
        };
        // The times may be lost without consequences.
        if self.health.write_stop().is_none()
            && let Ok(known) = write()
        {
            self.times.written(known);
        }
    }
}

/// Returns true if [`TransactionTimes`] keeps the time of a transaction.
fn holds_records(jobs: &[WriteJob]) -> bool {
    jobs.iter().any(|job| matches!(job, WriteJob::Commit(..) | WriteJob::Part(_)))
}

/// Notes the moments of a transaction for its requests that have a trace.
fn note_written(jobs: &[WriteJob], began: Instant) {
    for timeline in jobs.iter().filter_map(WriteJob::timeline) {
        timeline.note_first(Moment::WriteBegan, began);
        timeline.note(Moment::Written);
    }
}

fn unavailable(error: &SqlError) -> StoreError {
    StoreError::Unavailable(super::problem(error))
}

/// Returns true if the disk or the database failed rather than one job. A damaged page concerns only
/// jobs that need it.
fn concerns_all(error: &SqlError) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(
        error.sqlite().and_then(rusqlite::Error::sqlite_error_code),
        Some(
            Code::DiskFull
                | Code::SystemIoFailure
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::ReadOnly
                | Code::CannotOpen
                | Code::NotADatabase
                | Code::OutOfMemory
        )
    )
}

/// Rolls back unless it is committed.
struct Transaction<'t> {
    connection: &'t Connection,
    statements: &'t dyn KeptStatements,
}

impl<'t> Transaction<'t> {
    fn begin(connection: &'t Connection, statements: &'t dyn KeptStatements) -> SqlResult<Self> {
        statements.execute("BEGIN IMMEDIATE", &[])?;
        Ok(Self { connection, statements })
    }

    fn commit(self) -> SqlResult<()> {
        self.statements.execute("COMMIT", &[]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // If this fails, SQLite rolls back by itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

//! Threads that commit submissions.
//!
//! Each thread takes all submissions that wait, as far as one transaction bears them, and commits them with few
//! round trips. While one thread waits for the server's disk, another one prepares the next batch.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use tocsin_plugin_api::Action;
use tokio_postgres::types::ToSql;
use ulid::Ulid;

use super::{
    batch::{Batch, KeysOfBatch, Part, text},
    connection::Connection,
    failure::{Failure, is_disconnect},
    flush::flush,
    learned::Learned,
    lookup::look_up,
    memory::PostgresMemory,
    outcome,
    shared::Shared,
    statements::Statements,
};
use crate::{
    request::{Effect, Submission, timeline::Moment},
    store::{
        CommitCallback, EVENTS_TOGETHER, Responder, StoreError,
        long_submission::{LongSubmission, Progress},
        sql::{SqlError, Transaction},
    },
    system::fault_injection,
};

/// Number of threads, each with a [`Connection`].
pub(super) const THREADS: usize = 2;
/// Largest number of submissions in one transaction.
const LARGEST_BATCH: usize = 256;
/// Number of times that a [`Batch`] is decided, if other hosts change the same rows.
const MOST_TRIES: u32 = 100;
/// Longest pause between two tries, in milliseconds.
const LONGEST_PAUSE_MS: u32 = 20;
/// Number of times that a [`Batch`] is begun again after its connection was lost.
const MOST_CONNECTIONS: u32 = 2;

/// Job for a thread.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all jobs are commits, which need no box of their own"
)]
enum Job {
    Commit(Submission, CommitCallback),
    Rehearse(Box<Submission>, Responder<Vec<Effect>>),
    Stop,
}

/// Threads that commit submissions.
pub(super) struct Ingest {
    jobs: Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

/// Sending half of the queue of [`Ingest`].
#[derive(Clone)]
pub(super) struct Queue(Sender<Job>);

impl Queue {
    /// Commits a [`Submission`]. A closed store drops the callback.
    pub(super) fn commit(&self, submission: Submission, then: CommitCallback) {
        let _ = self.0.send(Job::Commit(submission, then));
    }

    /// Tells the effects that a submission would have.
    pub(super) fn rehearse(&self, submission: Submission, responder: Responder<Vec<Effect>>) {
        let _ = self.0.send(Job::Rehearse(Box::new(submission), responder));
    }
}

impl Ingest {
    pub(super) fn start(shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let long = Arc::new(Mutex::new(VecDeque::new()));
        let start = |_| {
            let thread = thread::Builder::new().name("store-ingest".into());
            let (shared, waiting, long) =
                (Arc::clone(shared), Arc::clone(&waiting), Arc::clone(&long));
            let mut ingest = IngestThread { shared, connection: None, long };
            thread.spawn(move || ingest.serve(&waiting)).context("cannot start a thread")
        };
        let threads = (0..THREADS).map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { jobs, threads })
    }

    pub(super) fn queue(&self) -> Queue {
        Queue(self.jobs.clone())
    }

    /// Commits all submissions that wait, and ends the threads.
    pub(super) fn stop(self) {
        for _ in &self.threads {
            let _ = self.jobs.send(Job::Stop);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Submission, or the next part of one, that a thread commits.
enum Unit {
    Whole(Submission, CommitCallback),
    Part(LongSubmission),
}

impl Unit {
    fn submission(&self) -> &Submission {
        match self {
            Self::Whole(submission, _) => submission,
            Self::Part(long) => long.submission(),
        }
    }

    fn before(&self) -> &[Effect] {
        match self {
            Self::Whole(..) => &[],
            Self::Part(long) => long.effects(),
        }
    }

    fn refuse(self, error: &StoreError) {
        match self {
            Self::Whole(_, then) => then(Err(error.clone())),
            Self::Part(long) => long.refuse(error),
        }
    }
}

/// Connection of a thread, with the statements that are prepared on it.
struct Held {
    connection: Connection,
    statements: Statements,
}

/// State of one thread.
struct IngestThread {
    shared: Arc<Shared>,
    connection: Option<Held>,
    /// Submissions that need several transactions. They take turns: one part a transaction.
    long: Arc<Mutex<VecDeque<LongSubmission>>>,
}

impl IngestThread {
    fn serve(&mut self, waiting: &Mutex<Receiver<Job>>) {
        let mut stops = false;
        while !stops {
            let mut units = Vec::new();
            self.gather(waiting, &mut units, &mut stops);
            if !units.is_empty() {
                self.commit_together(units);
            }
        }
        // Parts of submissions from before the end.
        while let Some(long) = self.next_part() {
            self.commit_together(vec![Unit::Part(long)]);
        }
        if let Some(held) = self.connection.take() {
            self.shared.give_back(held.connection, None);
        }
    }

    fn next_part(&self) -> Option<LongSubmission> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn gather(&mut self, waiting: &Mutex<Receiver<Job>>, units: &mut Vec<Unit>, stops: &mut bool) {
        units.extend(self.next_part().map(Unit::Part));
        let waiting = match waiting.try_lock() {
            Ok(waiting) => waiting,
            Err(TryLockError::Poisoned(waiting)) => waiting.into_inner(),
            // Another thread waits for the next submission.
            Err(TryLockError::WouldBlock) if !units.is_empty() => return,
            Err(TryLockError::WouldBlock) => waiting.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let mut events = 0;
        while units.len() < LARGEST_BATCH && events < EVENTS_TOGETHER {
            let job = if units.is_empty() {
                waiting.recv().unwrap_or(Job::Stop)
            } else {
                match waiting.try_recv() {
                    Ok(job) => job,
                    Err(_) => return,
                }
            };
            match job {
                Job::Stop => {
                    *stops = true;
                    return;
                }
                Job::Rehearse(submission, responder) => {
                    let effects = self.rehearse(&submission);
                    responder.answer(effects.map_err(|failure| failure.for_caller()));
                    if units.is_empty() {
                        return;
                    }
                }
                Job::Commit(submission, then) if LongSubmission::is_one(&submission) => {
                    let long = LongSubmission::new(submission, then);
                    units.push(Unit::Part(long));
                    events += EVENTS_TOGETHER;
                }
                Job::Commit(submission, then) => {
                    events += submission.event_count();
                    units.push(Unit::Whole(submission, then));
                }
            }
        }
    }

    /// Commits units in one transaction, and answers them.
    fn commit_together(&mut self, mut units: Vec<Unit>) {
        // Keys of records grow in the order of arrival.
        units.sort_by_key(|unit| unit.submission().request_id);
        let started = Instant::now();
        for unit in &units {
            if let Some(timeline) = unit.submission().timeline.as_deref() {
                timeline.note_first(Moment::WriteBegan, started);
            }
        }
        match self.committed(&units, started) {
            Ok(effects) => {
                for (unit, effects) in units.into_iter().zip(effects) {
                    self.answer(unit, effects);
                }
            }
            // A failing submission must not fail the others: each gets a transaction of its own.
            Err(failure) if units.len() > 1 && !failure.concerns_all() => {
                for unit in units {
                    self.commit_together(vec![unit]);
                }
            }
            Err(failure) => {
                let error = self.shared.note_failure(&failure);
                for unit in units {
                    unit.refuse(&error);
                }
            }
        }
    }

    fn answer(&self, unit: Unit, effects: Vec<Effect>) {
        match unit {
            Unit::Whole(_, then) => then(Ok(effects)),
            Unit::Part(long) => match long.advance(effects) {
                Progress::Finished(_, then, effects) => then(Ok(effects)),
                Progress::Unfinished(long) => {
                    self.long.lock().unwrap_or_else(PoisonError::into_inner).push_back(long);
                }
            },
        }
    }

    /// Commits units, as often as it takes, and returns the effects of each.
    fn committed(&mut self, units: &[Unit], started: Instant) -> Result<Vec<Vec<Effect>>, Failure> {
        let (mut tries, mut connections) = (0, 0);
        loop {
            let held = match self.connection.take() {
                Some(held) if !held.connection.is_closed() => held,
                _ => Held {
                    connection: self.shared.connection(&self.shared.ingest)?,
                    statements: Statements::default(),
                },
            };
            let result = self.transaction(&held, units, started);
            match result {
                Ok(effects) => {
                    self.connection = Some(held);
                    return Ok(effects);
                }
                Err(Failure::Conflict { is_deadlock }) => {
                    let rollback = held.connection.batch_execute("ROLLBACK");
                    if self.shared.wait(rollback).is_ok() {
                        self.connection = Some(held);
                    } else {
                        drop(Connection::take(held.connection));
                    }
                    tries += 1;
                    self.shared.metrics.database.retried(is_deadlock);
                    if tries == MOST_TRIES {
                        return Err(Failure::Conflict { is_deadlock });
                    }
                    if tries > 2 {
                        // Two hosts that disturb each other do not go on in step.
                        let most = u64::from(tries.min(LONGEST_PAUSE_MS));
                        thread::sleep(Duration::from_millis(fastrand::u64(0..most)));
                    }
                }
                Err(failure) => {
                    let is_lost = matches!(&failure, Failure::Sql(error) if is_disconnect(error));
                    self.shared.give_back(held.connection, Some(&failure));
                    connections += 1;
                    if !is_lost || connections == MOST_CONNECTIONS {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Decides on units and commits them.
    fn transaction(
        &self,
        held: &Held,
        units: &[Unit],
        started: Instant,
    ) -> Result<Vec<Vec<Effect>>, Failure> {
        let Held { connection, .. } = held;
        let parts = self.parts(connection, units)?;
        let (batch, numbers) = self.decided(held, &parts)?;
        let times = self.shared.unwritten_times();
        let (transaction, learned) =
            self.write(held, &parts, &batch, &times).inspect_err(|_| {
                // A second try gives alerts the same numbers.
                self.shared.numbers().give_back(&numbers, None);
            })?;
        for timeline in units.iter().filter_map(|unit| unit.submission().timeline.as_deref()) {
            timeline.note(Moment::Written);
        }
        fault_injection::point("before-commit");
        let commit = self.shared.wait(connection.batch_execute("COMMIT"));
        if let Err(failure) = commit {
            outcome::of_failed_commit(&self.shared, failure, transaction)?;
        }
        fault_injection::point("committed");
        self.shared.forget_times(&times);
        if let Some(learned) = learned {
            self.shared.learn(learned);
        }
        self.shared.note_commit(transaction, started, units.len());
        Ok(batch.effects)
    }

    /// Returns the parts that the units are about to commit.
    fn parts<'u>(
        &self,
        connection: &Connection,
        units: &'u [Unit],
    ) -> Result<Vec<Part<'u>>, Failure> {
        let mut parts = Vec::with_capacity(units.len());
        for unit in units {
            let submission = unit.submission();
            let names = self.names(connection, submission)?;
            let was_accepted = match submission.replayed_by {
                Some(_) => self.was_accepted(connection, submission.request_id)?,
                None => false,
            };
            parts.push(Part::new(submission, unit.before(), names, was_accepted, EVENTS_TOGETHER));
        }
        Ok(parts)
    }

    /// Returns the numbers under which the names of a submission are stored. New names are committed at once, so
    /// that no other transaction waits for them.
    fn names(
        &self,
        connection: &Connection,
        submission: &Submission,
    ) -> Result<(i64, Option<i64>), Failure> {
        let known = |sql: &'static str, values: Vec<String>| {
            let values: Vec<&(dyn ToSql + Sync)> =
                values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            let row = self.shared.wait(connection.query_one(sql, &values))?;
            Ok::<i64, Failure>(row.get(0))
        };
        let integration = self.shared.names().integrations.get(&submission.integration).copied();
        let integration = match integration {
            Some(integration) => integration,
            None => {
                let integration = known(INTEGRATION, vec![text(&submission.integration).into()])?;
                let name = Arc::clone(&submission.integration);
                self.shared.names().integrations.insert(name, integration);
                integration
            }
        };
        let Some(plugin) = &submission.plugin else { return Ok((integration, None)) };
        let known_plugin = self.shared.names().plugins.get(plugin).copied();
        if let Some(plugin) = known_plugin {
            return Ok((integration, Some(plugin)));
        }
        let names = [&plugin.name, &plugin.version].map(|name| text(name).into());
        let number = known(PLUGIN, names.to_vec())?;
        self.shared.names().plugins.insert(Arc::clone(plugin), number);
        Ok((integration, Some(number)))
    }

    /// Returns true if the events of a request were accepted when it came.
    fn was_accepted(&self, connection: &Connection, request: Ulid) -> Result<bool, Failure> {
        let sql = "SELECT outcome FROM tocsin.requests WHERE id = $1 \
                   UNION ALL SELECT 0 FROM tocsin.alerts WHERE request = $1 AND recorded = 1 LIMIT 1";
        let id = request.to_bytes();
        let row = self.shared.wait(connection.query_opt(sql, &[&&id[..]]))?;
        let outcome: Option<i64> = row.map(|row| row.get(0));
        Ok(outcome == Some(0))
    }

    /// Begins a transaction, reads the rows that the keys of the parts lead to, and decides. Returns the numbers of
    /// new alerts, too.
    fn decided<'p>(
        &self,
        held: &Held,
        parts: &'p [Part<'p>],
    ) -> Result<(Batch<'p>, Vec<i64>), Failure> {
        let keys = KeysOfBatch::of(parts);
        let creates = |part: &Part<'_>| {
            part.events().iter().filter(|event| event.action == Action::Create).count()
        };
        let needed = parts.iter().map(creates).sum::<usize>();
        let missing = needed.saturating_sub(self.shared.numbers().len());
        let begin_text = self.shared.begin();
        let (mut batch, mut drawn) = self.shared.wait(async {
            // The time limit of the transaction holds for the query, too.
            let begin =
                async { Ok::<_, SqlError>(held.connection.batch_execute(&begin_text).await?) };
            let look_up = look_up(&held.connection, &held.statements, &keys, missing);
            let ((), found) = tokio::try_join!(begin, look_up)?;
            Ok::<_, SqlError>(found)
        })?;
        loop {
            let mut numbers = self.shared.numbers();
            numbers.add(&drawn);
            let mut taken = numbers.take(needed);
            if taken.len() == needed {
                let used = batch.decide(parts, &taken);
                let unused = taken.split_off(used);
                numbers.give_back(&unused, taken.last().copied());
                return Ok((batch, taken));
            }
            // Another thread was faster.
            numbers.give_back(&taken, None);
            drop(numbers);
            let none = KeysOfBatch::default();
            let draw = look_up(&held.connection, &held.statements, &none, needed);
            (_, drawn) = self.shared.wait(draw)?;
        }
    }

    /// Writes the decisions. Returns the number of the transaction, and the knowledge that it has gained, if any.
    fn write(
        &self,
        held: &Held,
        parts: &[Part<'_>],
        batch: &Batch<'_>,
        times: &[(i64, i64)],
    ) -> Result<(i64, Option<Learned>), Failure> {
        let Held { connection, statements } = held;
        let flush = flush(connection, statements, parts, batch, times, self.shared.offset);
        let transaction = self.shared.wait(flush)?;
        let is_left = |part: &Part<'_>| part.is_last() && part.is_concluded_alone();
        let left = || parts.iter().zip(&batch.effects).filter(|(part, _)| is_left(part));
        // Most batches have none.
        let learned = if left().next().is_some() {
            let database = self.shared.blocking(connection);
            let mut memory = PostgresMemory::new(&self.shared, &database);
            let mut open =
                Transaction { database: &database, ids: self.shared.ids, memory: &mut memory };
            for (part, effects) in left() {
                let origin = open.origin(part.submission)?;
                open.conclude(&origin, part.before, effects)?;
            }
            Some(memory.learned())
        } else {
            None
        };
        fault_injection::point("applied");
        Ok((transaction, learned))
    }

    /// Returns the effects that a submission would have, and writes nothing.
    fn rehearse(&mut self, submission: &Submission) -> Result<Vec<Effect>, Failure> {
        let held = Held {
            connection: self.shared.connection(&self.shared.work)?,
            statements: Statements::default(),
        };
        let names = self.names(&held.connection, submission)?;
        let was_accepted = match submission.replayed_by {
            Some(_) => self.was_accepted(&held.connection, submission.request_id)?,
            None => false,
        };
        let parts = [Part::new(submission, &[], names, was_accepted, usize::MAX)];
        let decided = self.decided(&held, &parts).map(|(mut batch, numbers)| {
            self.shared.numbers().give_back(&numbers, None);
            batch.effects.pop().unwrap_or_default()
        });
        drop(parts);
        // Ends the transaction, which has written nothing.
        let failure = decided.as_ref().err().unwrap_or(&Failure::CHANGED);
        self.shared.give_back(held.connection, Some(failure));
        decided
    }
}

/// Returns the number of a name, and stores the name if it is new.
const INTEGRATION: &str = "WITH new AS (INSERT INTO tocsin.integrations (name) VALUES ($1) \
     ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id) SELECT id FROM new";
const PLUGIN: &str = "WITH new AS (INSERT INTO tocsin.plugins (name, version) VALUES ($1, $2) \
     ON CONFLICT (name, version) DO UPDATE SET name = excluded.name RETURNING id) SELECT id FROM new";

//! Connections, caches and the state of the server, which all threads of the store share.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use tokio::{runtime::Handle, sync::watch, time::timeout};
use ulid::Ulid;

use super::{
    connection::{Connection, refused},
    database::Blocking,
    failure::{Failure, is_disconnect},
    learned::Learned,
    terms::Terms,
};
use crate::{
    alert::AlertIds,
    limits::reached::Limit,
    metrics::StoreMetrics,
    problem::Problem,
    request::Share,
    store::{
        StoreError,
        sql::{Names, SqlError, TaskPlaces},
    },
};

/// Time for the answer of a server beyond its own time limit for statements.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time after which the server ends a transaction whose host sends no further statement: a host that was frozen
/// must not keep others from its duties. Shorter than a lease.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Number of times of transactions that are kept until they are written.
const MOST_TIMES: usize = 10_000;

/// Connections and state that all threads of the store share.
pub(super) struct Shared {
    pub(super) runtime: Handle,
    /// Connections for webhooks.
    pub(super) ingest: Pool,
    /// Connections for everything else.
    pub(super) work: Pool,
    pub(super) ids: AlertIds,
    /// Id of this host among those that use the database.
    pub(super) this_host: Ulid,
    /// Difference between the numbers of transactions in the store and those of PostgreSQL.
    pub(super) offset: i64,
    pub(super) statement_timeout: Duration,
    pub(super) metrics: Arc<StoreMetrics>,
    numbers: Mutex<Numbers>,
    names: Mutex<Names>,
    places: Mutex<TaskPlaces>,
    times: Mutex<VecDeque<(i64, i64)>>,
    pushed_out: Mutex<BTreeMap<i64, u64>>,
    terms: Mutex<Terms>,
    work_of_other_hosts: watch::Sender<u64>,
    last_write_error: Mutex<Option<Problem>>,
    changed: watch::Sender<u64>,
}

/// Numbers for new alerts that this host has drawn and not used.
#[derive(Default)]
pub(super) struct Numbers {
    drawn: BTreeSet<i64>,
    /// The highest number that this host has used. Later alerts get higher ones.
    used: i64,
}

impl Numbers {
    /// Adds numbers that were drawn.
    pub(super) fn add(&mut self, drawn: &[i64]) {
        self.drawn.extend(drawn);
    }

    /// Returns how many numbers are there.
    pub(super) fn len(&self) -> usize {
        self.drawn.len()
    }

    /// Takes numbers, the lowest first.
    pub(super) fn take(&mut self, count: usize) -> Vec<i64> {
        let taken: Vec<i64> = self.drawn.iter().copied().take(count).collect();
        for number in &taken {
            self.drawn.remove(number);
        }
        self.used = taken.last().copied().unwrap_or(0).max(self.used);
        taken
    }

    /// Gives numbers back that were not used. Those below a number that is in use are lost.
    pub(super) fn give_back(&mut self, unused: &[i64], last_used: Option<i64>) {
        let Some(first) = unused.first() else { return };
        let is_last = unused.last() == Some(&self.used);
        if is_last {
            self.used = last_used.unwrap_or(first - 1);
            self.drawn.extend(unused);
        }
    }
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "each is set once, at the start")]
    pub(super) fn new(
        runtime: Handle,
        ingest: Pool,
        work: Pool,
        ids: AlertIds,
        this_host: Ulid,
        offset: i64,
        statement_timeout: Duration,
        metrics: Arc<StoreMetrics>,
    ) -> Self {
        Self {
            runtime,
            ingest,
            work,
            ids,
            this_host,
            offset,
            statement_timeout,
            metrics,
            numbers: Mutex::default(),
            names: Mutex::default(),
            places: Mutex::default(),
            times: Mutex::default(),
            pushed_out: Mutex::default(),
            terms: Mutex::default(),
            work_of_other_hosts: watch::Sender::new(0),
            last_write_error: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Waits for a [`Connection`], on a thread outside the runtime.
    pub(super) fn connection(&self, pool: &Pool) -> Result<Connection, Failure> {
        self.runtime.block_on(pool.get()).map_err(refused)
    }

    /// Waits for the server, but not for ever.
    pub(super) fn wait<T, E>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        self.metrics.database.round_trip();
        // The clock of the runtime is at hand only within it.
        match self.runtime.block_on(async { timeout(self.patience(), answer).await }) {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Sql(SqlError::Silent)),
        }
    }

    /// Returns a connection as a [`Database`](crate::store::sql::Database).
    pub(super) fn blocking<'c>(&'c self, connection: &'c Connection) -> Blocking<'c> {
        let metrics = &self.metrics.database;
        Blocking { connection, runtime: &self.runtime, patience: self.patience(), metrics }
    }

    fn patience(&self) -> Duration {
        self.statement_timeout + PATIENCE
    }

    /// Gives a [`Connection`] back to its pool, or closes one that is of no more use.
    pub(super) fn give_back(&self, connection: Connection, failure: Option<&Failure>) {
        let is_broken = match failure {
            None => false,
            Some(Failure::Conflict { .. }) => {
                self.wait(connection.batch_execute("ROLLBACK")).is_err()
            }
            Some(Failure::Sql(error)) if !is_disconnect(error) => {
                self.wait(connection.batch_execute("ROLLBACK")).is_err()
            }
            Some(_) => true,
        };
        if is_broken {
            drop(Connection::take(connection));
        }
    }

    /// Returns the text that begins a transaction that writes. Poolers may give each transaction another
    /// connection, so that no setting is one of the session.
    pub(super) fn begin(&self) -> String {
        let (timeout, idle) = (self.statement_timeout.as_millis(), LONGEST_PAUSE.as_millis());
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL search_path = tocsin; \
             SET LOCAL statement_timeout = {timeout}; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}"
        )
    }

    /// Returns the text that begins a transaction that reads one state of the database.
    pub(super) fn begin_snapshot(&self) -> String {
        let timeout = self.statement_timeout.as_millis();
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = tocsin; \
             SET LOCAL statement_timeout = {timeout}"
        )
    }

    /// Returns the numbers under which names are stored, as far as this host knows them.
    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        locked(&self.names)
    }

    /// Keeps what a transaction has learned, since it is committed.
    pub(super) fn learn(&self, learned: Learned) {
        let Learned { names: new, places, has_number, quarantined, pushed_out } = learned;
        if let Some(places) = places {
            *locked(&self.places) = places;
        }
        let mut names = locked(&self.names);
        names.integrations.extend(new.integrations);
        names.plugins.extend(new.plugins);
        names.destinations.extend(new.destinations);
        names.used_destinations.extend(new.used_destinations);
        for (integration, share) in &pushed_out {
            let of = |(_, number): &(&Arc<str>, &i64)| *number == integration;
            let name = names.integrations.iter().find(of).map_or("", |(name, _)| name);
            let limit = match share {
                Share::Quarantine => Limit::Quarantine,
                Share::Malformed => Limit::Malformed,
            };
            self.metrics.limits.reached(limit, format_args!("integration `{name}`"));
        }
        drop(names);
        let mut waiting = locked(&self.pushed_out);
        for integration in quarantined {
            waiting.entry(integration).or_default();
        }
        let of_quarantine = pushed_out.iter().filter(|(_, share)| *share == Share::Quarantine);
        for (integration, _) in of_quarantine {
            *waiting.entry(*integration).or_default() += 1;
        }
        drop(waiting);
        if has_number {
            self.note_change();
        }
    }

    /// Returns the number of requests that this host has deleted from the quarantine because of others, for each
    /// integration whose requests have waited for a replay.
    pub(super) fn pushed_out(&self) -> BTreeMap<i64, u64> {
        locked(&self.pushed_out).clone()
    }

    pub(super) fn places(&self) -> MutexGuard<'_, TaskPlaces> {
        locked(&self.places)
    }

    pub(super) fn numbers(&self) -> MutexGuard<'_, Numbers> {
        locked(&self.numbers)
    }

    /// Returns the times of transactions that are not written yet, each with the number of the transaction.
    pub(super) fn unwritten_times(&self) -> Vec<(i64, i64)> {
        locked(&self.times).iter().copied().collect()
    }

    /// Forgets times, since they are written.
    pub(super) fn forget_times(&self, written: &[(i64, i64)]) {
        locked(&self.times).retain(|time| !written.contains(time));
    }

    /// Notes that a transaction with records is committed.
    pub(super) fn note_commit(&self, transaction: i64, started: Instant, count: usize) {
        let took = started.elapsed();
        let microseconds = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let mut times = locked(&self.times);
        times.push_back((transaction, microseconds));
        if times.len() > MOST_TIMES {
            times.pop_front();
        }
        drop(times);
        self.metrics.committed(count, took);
        *locked(&self.last_write_error) = None;
        self.note_change();
    }

    /// Tells readers of the feed that there may be changes.
    pub(super) fn note_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Returns the terms in which this host holds duties.
    pub(super) fn terms(&self) -> MutexGuard<'_, Terms> {
        locked(&self.terms)
    }

    /// Tells holders of duties that another host may have made work for them.
    pub(super) fn note_work_of_other_hosts(&self) {
        self.work_of_other_hosts.send_modify(|count| *count += 1);
    }

    pub(super) fn work_of_other_hosts(&self) -> watch::Receiver<u64> {
        self.work_of_other_hosts.subscribe()
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Notes that a request was not committed, and returns the error for its sender.
    pub(super) fn note_failure(&self, failure: &Failure) -> StoreError {
        self.metrics.failed();
        let error = failure.for_caller();
        if let StoreError::Unavailable(problem) = &error {
            *locked(&self.last_write_error) = Some(problem.clone());
        }
        error
    }

    pub(super) fn last_write_error(&self) -> Option<Problem> {
        locked(&self.last_write_error).clone()
    }

    /// Notes that requests can be committed.
    pub(super) fn note_writable(&self) {
        *locked(&self.last_write_error) = None;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

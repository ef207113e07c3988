//! Store in a PostgreSQL database, which several hosts may use at once.
//!
//! The threads of [`Ingest`] commit webhooks in batches. Everything else is a job of its own on a connection of a
//! pool, by the statements that all databases share. No setting and no lock is one of a session, so that a pooler
//! may give each transaction another connection.

mod address;
mod alert_queries;
mod batch;
mod connection;
mod database;
mod delivery_store;
mod dialect;
mod duties;
mod failure;
mod feed_queries;
mod flush;
mod hosts;
mod ingest;
mod learned;
mod lookup;
mod memory;
mod outcome;
mod schema;
mod shared;
mod statements;
mod terms;
#[cfg(test)]
mod tests;
mod watcher;
mod work;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{runtime::Runtime, sync::watch};
use ulid::Ulid;

pub use self::address::{InvalidAddress, PostgresAddress};
use self::{
    connection::{Connector, pool, refused},
    ingest::Ingest,
    shared::Shared,
    watcher::Watcher,
};
use super::{
    AlertPage, AlertQuery, AlertStore, CommitCallback, Housekeeping, ManualChange,
    ManualChangeOutcome, Pending, RequestStore, Store, StoreHealth, UnresolvedCount,
    backup::{Backup, BackupError, BackupTarget},
    feed::{ChangePage, Cursor},
    housekeeping::{HousekeepingProgress, HousekeepingStep},
    pending,
    sql::values,
};
use crate::{
    alert::{AlertRef, AlertWithHistory},
    metrics::StoreMetrics,
    problem::Problem,
    request::{
        Effect, Quarantined, RawRequest, RequestPage, RequestQuery, RequestRecord, Submission,
    },
};

/// Opens an alert that is taken back.
const TRY_ALERT: &str = "INSERT INTO alerts (number, integration, plugin, status, urgency, occurrences, \
     created_at, updated_at, request, title, transaction_id, hops, recorded) \
     VALUES (?1, 0, 0, 0, 0, 1, 0, 0, '', 'probe', 0, 0, 0)";

/// Time for jobs that run when the store is closed.
const LONGEST_STOP: Duration = Duration::from_secs(10);

/// [`Store`] in a PostgreSQL database.
pub(super) struct PostgresStore {
    shared: Arc<Shared>,
    queue: ingest::Queue,
    identity_warning: Option<String>,
    /// None once the store is closed.
    running: Mutex<Option<Running>>,
}

struct Running {
    ingest: Ingest,
    watcher: Watcher,
    runtime: Runtime,
}

impl PostgresStore {
    /// Connects to the database, and makes or upgrades its schema.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses, or a newer host or another program made the schema.
    pub(super) fn open(
        address: &PostgresAddress,
        metrics: Arc<StoreMetrics>,
    ) -> anyhow::Result<Self> {
        let context = || format!("cannot open the store `{address}`");
        // The runtime only passes bytes between the connections and the threads that wait for them.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-postgres")
            .enable_all()
            .build()
            .with_context(context)?;
        let connector = Connector::new(address).with_context(context)?;
        let _entered = runtime.enter();
        let ingest = pool(address, connector.clone(), ingest::THREADS)?;
        let work = pool(address, connector, address.connections)?;
        let found = runtime
            .block_on(async {
                let connection = work.get().await.map_err(explained)?;
                schema::check_server(&connection).await?;
                schema::prepare(&connection).await
            })
            .map_err(with_hint)
            .with_context(context)?;
        let shared = Arc::new(Shared::new(
            runtime.handle().clone(),
            ingest,
            work,
            found.ids,
            Ulid::generate(),
            found.offset,
            address.statement_timeout,
            metrics,
        ));
        let ingest = Ingest::start(&shared).with_context(context)?;
        let queue = ingest.queue();
        let watcher = Watcher::start(&shared).with_context(context)?;
        let identity_warning = found.was_restored.then(|| {
            format!(
                "the database `{}` was restored from a dump since a host used it last",
                address.database()
            )
        });
        if let Some(warning) = &identity_warning {
            tracing::warn!(event = "store_restored", warning, "the store was restored");
        }
        let running = Mutex::new(Some(Running { ingest, watcher, runtime }));
        Ok(Self { shared, queue, identity_warning, running })
    }

    /// Checks that a host could open the database, without changing it.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses, or a newer host or another program made the schema.
    pub(super) fn check(address: &PostgresAddress) -> anyhow::Result<()> {
        let context = || format!("cannot open the store `{address}`");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connector = Connector::new(address).with_context(context)?;
        let _entered = runtime.enter();
        let pool = pool(address, connector, 1)?;
        runtime
            .block_on(async {
                let connection = pool.get().await.map_err(explained)?;
                schema::check(&connection).await
            })
            .map_err(with_hint)
            .with_context(context)
    }
}

/// Returns an error of the server with its cause and a hint for the operator.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    let Some(refused) = error.downcast_ref::<tokio_postgres::Error>() else { return error };
    let message = match error.chain().next() {
        Some(context) if !context.is::<tokio_postgres::Error>() => {
            format!("{context}: {}", super::sql::with_cause(refused))
        }
        _ => super::sql::with_cause(refused),
    };
    match failure::hint(refused) {
        Some(hint) => anyhow::anyhow!("{message}\nhint: {hint}"),
        None => anyhow::anyhow!("{message}"),
    }
}

/// Returns an error of a pool with a hint for the operator.
fn explained(error: deadpool_postgres::PoolError) -> anyhow::Error {
    match refused(error).for_caller() {
        super::StoreError::Unavailable(Problem { message, hint: Some(hint), .. }) => {
            anyhow::anyhow!("{message}\nhint: {hint}")
        }
        error => anyhow::anyhow!("{error}"),
    }
}

impl AlertStore for PostgresStore {
    fn change(&self, alert: AlertRef, change: ManualChange) -> Pending<ManualChangeOutcome> {
        work::write(&self.shared, move |open| open.change(alert, &change))
    }

    fn alert(&self, alert: AlertRef) -> Pending<Option<AlertWithHistory>> {
        work::read(&self.shared, move |snapshot| snapshot.alert(alert))
    }

    fn alerts(&self, query: AlertQuery) -> Pending<AlertPage> {
        work::read(&self.shared, move |snapshot| alert_queries::alerts(snapshot, &query))
    }

    fn count_unresolved(&self, after: u64, limit: u64) -> Pending<UnresolvedCount> {
        work::read(&self.shared, move |snapshot| snapshot.count_unresolved(after, limit))
    }

    fn changes_since(&self, cursor: Cursor, limit: usize) -> Pending<ChangePage> {
        work::read_unframed(&self.shared, move |shared, database| {
            feed_queries::changes_since(shared, database, &cursor, limit)
        })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed()
    }
}

impl RequestStore for PostgresStore {
    fn commit(&self, submission: Submission, then: CommitCallback) {
        self.queue.commit(submission, then);
    }

    fn rehearse(&self, submission: Submission) -> Pending<Vec<Effect>> {
        let (responder, pending) = pending();
        self.queue.rehearse(submission, responder);
        pending
    }

    fn request(&self, id: Ulid) -> Pending<Option<RequestRecord>> {
        work::read(&self.shared, move |snapshot| snapshot.request(id))
    }

    fn requests(&self, query: RequestQuery) -> Pending<RequestPage> {
        work::read(&self.shared, move |snapshot| snapshot.requests(&query))
    }

    fn raw_request(&self, id: Ulid) -> Pending<Option<RawRequest>> {
        work::read(&self.shared, move |snapshot| snapshot.raw_request(id))
    }

    fn quarantine(&self) -> Pending<Vec<Quarantined>> {
        let pushed_out = self.shared.pushed_out();
        work::read(&self.shared, move |snapshot| alert_queries::quarantine(snapshot, &pushed_out))
    }
}

impl Housekeeping for PostgresStore {
    fn housekeep(&self, step: HousekeepingStep) -> Pending<HousekeepingProgress> {
        work::write(&self.shared, move |open| open.housekeep(&step))
    }
}

impl StoreHealth for PostgresStore {
    fn last_write_error(&self) -> Option<Problem> {
        self.shared.last_write_error()
    }

    fn damage_found(&self) -> Option<Problem> {
        None
    }

    fn identity_warning(&self) -> Option<String> {
        self.identity_warning.clone()
    }

    fn probe(&self) -> Pending<()> {
        work::run(&self.shared, |shared| {
            work::transaction(shared, &|open| {
                // Only a real attempt can tell whether an alert could be stored.
                open.database.execute("SAVEPOINT probe", &[])?;
                let number = -1 - i64::from(fastrand::u32(..));
                open.database.execute(TRY_ALERT, values![number])?;
                open.database.execute("ROLLBACK TO probe", &[])?;
                let sql = "INSERT INTO meta AS m VALUES ('probes', 1) \
                           ON CONFLICT (key) DO UPDATE SET value = m.value + 1";
                open.database.execute(sql, &[]).map(drop)
            })?;
            shared.note_writable();
            Ok(())
        })
    }

    fn size_bytes(&self) -> Pending<u64> {
        work::read(&self.shared, alert_queries::size_bytes)
    }

    fn used_bytes(&self) -> Pending<u64> {
        // PostgreSQL uses the room of deleted rows again, without saying how much there is.
        work::read(&self.shared, alert_queries::size_bytes)
    }
}

impl Store for PostgresStore {
    fn back_up(&self, _: BackupTarget) -> Pending<Result<Backup, BackupError>> {
        Pending::ready(Err(BackupError::Failed(no_backup())))
    }

    fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { ingest, watcher, runtime }) = running else { return };
        let shared = Arc::clone(&self.shared);
        let stop = move || {
            ingest.stop();
            watcher.stop();
            hosts::stop(&shared);
            shared.ingest.close();
            shared.work.close();
            runtime.shutdown_timeout(LONGEST_STOP);
        };
        // The thread of the caller may belong to another runtime, which must not wait for this one.
        let thread = std::thread::Builder::new().name("store-stop".into()).spawn(stop);
        if let Ok(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns the answer to a request for a backup: PostgreSQL has better tools.
pub(super) fn no_backup() -> Problem {
    Problem::new("no-backup-of-postgresql", "the store is a PostgreSQL database, which Tocsin does not back up")
        .with_hint("use `pg_dump`, or `pg_basebackup` with an archive of the log: see \"Running several hosts\" in the guide")
}

/// Returns [`no_backup`] as an error of the command line, with its hint on a line of its own.
pub(super) fn no_backup_error() -> anyhow::Error {
    let Problem { message, hint, .. } = no_backup();
    anyhow::anyhow!("{message}\nhint: {}", hint.unwrap_or_default())
}

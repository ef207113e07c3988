//! Work beside webhooks: reads of one state of the database, and transactions of one job each.
//!
//! A job runs on a thread outside the runtime, with a connection of the pool.

use std::sync::Arc;

use super::{
    connection::Connection,
    database::Blocking,
    failure::{Failure, is_disconnect},
    memory::PostgresMemory,
    shared::Shared,
};
use crate::store::{
    Pending, StoreError, pending,
    sql::{Snapshot, SqlError, Transaction},
};

/// Number of times that a job is tried, if other hosts change the same rows.
const MOST_TRIES: u32 = 100;
/// Number of times that a job is begun again after its connection was lost.
const MOST_CONNECTIONS: u32 = 2;

/// Reads one state of the database.
pub(super) fn read<T, F>(shared: &Arc<Shared>, read: F) -> Pending<T>
where
    T: Send + 'static,
    F: Fn(&Snapshot<'_>) -> Result<T, SqlError> + Send + 'static,
{
    run(shared, move |shared| {
        with_connection(shared, |connection| {
            let database = shared.blocking(connection);
            database.wait(connection.batch_execute(&shared.begin_snapshot()))?;
            let times = shared.unwritten_times();
            let snapshot =
                Snapshot { database: &database, ids: shared.ids, unwritten_times: &times };
            let result = read(&snapshot)?;
            database.wait(connection.batch_execute("COMMIT"))?;
            Ok(result)
        })
    })
}

/// Does a job in a [`Transaction`], and returns its result once it is committed.
pub(super) fn write<T, F>(shared: &Arc<Shared>, work: F) -> Pending<T>
where
    T: Send + 'static,
    F: Fn(&mut Transaction<'_>) -> Result<T, SqlError> + Send + 'static,
{
    run(shared, move |shared| {
        let result = transaction(shared, &work);
        if let Err(failure) = &result {
            shared.note_failure(failure);
        }
        result
    })
}

/// Does a job in a [`Transaction`], on the thread of the caller.
pub(super) fn transaction<T>(
    shared: &Shared,
    work: &dyn Fn(&mut Transaction<'_>) -> Result<T, SqlError>,
) -> Result<T, Failure> {
    with_connection(shared, |connection| {
        let database = shared.blocking(connection);
        database.wait(connection.batch_execute(&shared.begin()))?;
        let mut memory = PostgresMemory::new(shared, &database);
        let mut open = Transaction { database: &database, ids: shared.ids, memory: &mut memory };
        let result = work(&mut open)?;
        database.wait(connection.batch_execute("COMMIT"))?;
        shared.learn(memory.learned());
        Ok(result)
    })
}

/// Runs a job on a thread of its own. A closed store drops the job, and with it the answer.
pub(super) fn run<T, F>(shared: &Arc<Shared>, job: F) -> Pending<T>
where
    T: Send + 'static,
    F: FnOnce(&Shared) -> Result<T, Failure> + Send + 'static,
{
    let (responder, pending) = pending();
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn_blocking(move || {
        let result = job(&shared);
        responder.answer(result.map_err(|failure| failure.for_caller()));
    });
    pending
}

/// Uses a [`Connection`] of the pool, as often as it takes.
fn with_connection<T>(
    shared: &Shared,
    mut using: impl FnMut(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (mut tries, mut connections) = (0, 0);
    loop {
        let connection = shared.connection(&shared.work)?;
        let result = using(&connection);
        shared.give_back(connection, result.as_ref().err());
        match result {
            Err(Failure::Conflict { is_deadlock }) if tries < MOST_TRIES => {
                shared.metrics.database.retried(is_deadlock);
                tries += 1;
            }
            Err(Failure::Sql(error)) if is_disconnect(&error) && connections < MOST_CONNECTIONS => {
                connections += 1;
            }
            result => return result,
        }
    }
}

/// Reads with statements that each see all that was committed before.
pub(super) fn read_unframed<T, F>(shared: &Arc<Shared>, read: F) -> Pending<T>
where
    T: Send + 'static,
    F: Fn(&Shared, &Blocking<'_>) -> Result<Result<T, StoreError>, SqlError> + Send + 'static,
{
    let (responder, pending) = pending();
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn_blocking(move || {
        let result =
            with_connection(&shared, |connection| Ok(read(&shared, &shared.blocking(connection))?));
        responder.answer(result.map_err(|failure| failure.for_caller()).flatten());
    });
    pending
}

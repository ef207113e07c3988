//! The outcome of a commit whose answer did not arrive.
//!
//! The server may have committed, or not, or be about to: a new connection asks it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    connection::Connection,
    failure::{Failure, is_disconnect},
    shared::Shared,
};
use crate::store::sql::SqlError;

/// Time for which the server is asked.
const ASKED_FOR: Duration = Duration::from_secs(15);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The state of a transaction as the server knows it, and the row that every transaction of webhooks writes. After
/// a failover to a server that lacks the transaction, its number may be that of another one.
const STATE: &str = "SELECT pg_xact_status(($1::bigint - $2::bigint)::text::xid8), \
     EXISTS (SELECT 1 FROM tocsin.transactions WHERE id = $1)";

/// Finds out whether a transaction is committed although its commit failed.
///
/// # Errors
///
/// If it is not, or if that cannot be found out.
pub(super) fn of_failed_commit(
    shared: &Shared,
    failure: Failure,
    transaction: i64,
) -> Result<(), Failure> {
    let is_unknown = matches!(&failure, Failure::Sql(error) if is_disconnect(error));
    if !is_unknown {
        return Err(failure);
    }
    tracing::warn!(
        event = "commit_in_doubt",
        transaction,
        error = %failure,
        "the connection broke during a commit: asking the server whether it is committed",
    );
    let end = Instant::now() + ASKED_FOR;
    loop {
        match state(shared, transaction) {
            Ok(State::Committed) => return Ok(()),
            Ok(State::Aborted) => return Err(failure),
            Ok(State::Running) | Err(_) if Instant::now() < end => thread::sleep(PAUSE),
            Ok(State::Running) | Err(_) => return Err(Failure::Unknown(failure.to_string())),
        }
    }
}

enum State {
    Committed,
    Aborted,
    /// The server has not noticed yet that the [`Connection`] is lost.
    Running,
}

fn state(shared: &Shared, transaction: i64) -> Result<State, Failure> {
    // The threads for webhooks may hold all connections of their own pool, this one among them.
    let connection = shared.connection(&shared.work)?;
    let answer = shared.wait(connection.query_one(STATE, &[&transaction, &shared.offset]));
    let row = match answer {
        Ok(row) => row,
        // The server has not given this number yet: it is another one, or an older state of it.
        Err(Failure::Sql(SqlError::Postgres(error)))
            if error.code().is_some_and(|code| code.code() == "22023") =>
        {
            return Ok(State::Aborted);
        }
        Err(failure) => {
            drop(Connection::take(connection));
            return Err(failure);
        }
    };
    let (status, has_written): (Option<&str>, bool) = (row.get(0), row.get(1));
    Ok(match status {
        Some("in progress") => State::Running,
        Some("committed") if has_written => State::Committed,
        _ => State::Aborted,
    })
}

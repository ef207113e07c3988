//! Reasons why a transaction was not committed, and which of them deserve another try.

use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::{
    problem::Problem,
    store::{StoreError, sql::SqlError},
};

/// Reason why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Another host has changed a row since it was read.
    #[error("another host has changed the same rows")]
    Conflict {
        /// True if two transactions waited for each other.
        is_deadlock: bool,
    },
    /// The database refused, or cannot be reached.
    #[error(transparent)]
    Sql(SqlError),
    /// No connection can be had.
    #[error("{0}")]
    Away(String),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The connection broke during the commit, and it cannot be found out whether the transaction is committed.
    #[error("it is unknown whether the transaction was committed: {0}")]
    Unknown(String),
}

impl Failure {
    /// A row was not as it was read.
    pub(super) const CHANGED: Self = Self::Conflict { is_deadlock: false };
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        match &error {
            SqlError::Postgres(refused) if refused.code().is_some_and(is_conflict) => {
                let is_deadlock = refused.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED);
                Self::Conflict { is_deadlock }
            }
            _ => Self::Sql(error),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        SqlError::from(error).into()
    }
}

/// Returns true if the same transaction may succeed at once: serialization failures, deadlocks, and rows that
/// another host has written first. Of several statements on their way at once, the error of a later one may be
/// seen first, which says only that an earlier one failed.
fn is_conflict(code: &SqlState) -> bool {
    [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::IN_FAILED_SQL_TRANSACTION,
    ]
    .contains(&code)
}

/// Returns true if the connection is lost, or the server is: another connection is needed.
pub(super) fn is_disconnect(error: &SqlError) -> bool {
    let error = match error {
        SqlError::Postgres(error) => error,
        SqlError::Silent => return true,
        _ => return false,
    };
    match error.code() {
        None => true,
        Some(code) => {
            let class = code.code().get(..2);
            // Connection exceptions, and an operator who ends the server or its sessions.
            matches!(class, Some("08" | "57")) && *code != SqlState::QUERY_CANCELED
                || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        }
    }
}

impl Failure {
    /// Returns true if the server failed, rather than one submission of several.
    pub(super) fn concerns_all(&self) -> bool {
        match self {
            Self::Conflict { .. } => false,
            Self::Away(_) | Self::Closed | Self::Unknown(_) => true,
            Self::Sql(SqlError::Postgres(refused)) => {
                let code = refused.code().map(|code| &code.code()[..2]);
                // Insufficient resources, such as a full disk, and interventions of the operator.
                matches!(code, None | Some("08" | "53" | "57" | "58" | "25"))
            }
            Self::Sql(SqlError::Silent) => true,
            Self::Sql(_) => false,
        }
    }

    /// Returns the error for the caller of the store.
    pub(super) fn for_caller(&self) -> StoreError {
        let (code, message) = match self {
            Self::Closed => return StoreError::Closed,
            Self::Sql(SqlError::NotOnDuty) => return StoreError::NotOnDuty,
            Self::Sql(SqlError::Silent) | Self::Away(_) => ("database-away", self.to_string()),
            Self::Sql(error) if is_disconnect(error) => ("database-away", self.to_string()),
            Self::Unknown(_) => ("commit-unknown", self.to_string()),
            Self::Conflict { .. } | Self::Sql(_) => ("database-refused", self.to_string()),
        };
        let problem = Problem::new(code, message);
        StoreError::Unavailable(match self.hint() {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        })
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sql(SqlError::Postgres(error)) => hint(error),
            Self::Away(_) | Self::Sql(SqlError::Silent) | Self::Unknown(_) => Some(SEE_SERVER),
            _ => None,
        }
    }
}

/// Returns the advice for an operator about an error of the server, or of the way to it.
pub(super) fn hint(error: &tokio_postgres::Error) -> Option<&'static str> {
    let Some(code) = error.code() else {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        return Some(match cause.as_str() {
            "password missing" => "set `store.password`, or the variable `PGPASSWORD`",
            "database does not allow writes" => NAME_PRIMARY,
            _ => SEE_SERVER,
        });
    };
    Some(match code.code() {
        "53100" => "the disk of the server is full: free disk space there",
        "53300" => {
            "the server has no free connection: raise its `max_connections`, or lower \
             `store.connections` of the hosts"
        }
        "28P01" | "28000" => {
            "check the user and the password in `store.url` and `store.password`, and `pg_hba.conf` of \
             the server"
        }
        "3D000" => "make the database with `createdb`, owned by the user of `store.url`",
        "42501" => {
            "give the user of `store.url` the right to make a schema: \
             `GRANT CREATE ON DATABASE ... TO ...`"
        }
        "25006" => NAME_PRIMARY,
        "57014" => {
            "a statement took longer than `store.statement_timeout`: look for locks in \
             `pg_stat_activity` of the server"
        }
        "57P03" => "the server starts or stops: it takes connections later",
        code if code.starts_with("08") || code.starts_with("57P") => SEE_SERVER,
        _ => return None,
    })
}

const NAME_PRIMARY: &str = "the server only reads: name the primary in `store.url`, or all servers";
const SEE_SERVER: &str = "see whether PostgreSQL runs, and its log, and check `store.url`";

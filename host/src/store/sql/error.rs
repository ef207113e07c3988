//! Errors of statements.

/// Result of a statement.
pub(in crate::store) type SqlResult<T> = Result<T, SqlError>;

/// Reason why a statement failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum SqlError {
    /// SQLite refused the statement.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused the statement, or cannot be reached.
    #[error("{}", with_cause(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// PostgreSQL does not answer.
    #[error("PostgreSQL does not answer")]
    Silent,
    /// A column holds something that a host of this version does not write.
    #[error("column {column} of a row is not {expected}")]
    Column {
        /// Place of the column in its row, from 0.
        column: usize,
        /// Noun phrase for the kind of value that was expected.
        expected: &'static str,
    },
    /// A column holds text that is not the JSON of its type.
    #[error("column {column} of a row does not hold the JSON of its type: {source}")]
    Json {
        /// Place of the column in its row, from 0.
        column: usize,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// A value cannot be written as JSON.
    #[error("a value cannot be written as JSON: {0}")]
    ToJson(serde_json::Error),
    /// The host does not hold the duty that the transaction needs.
    #[error("another host holds the duty")]
    NotOnDuty,
    /// A query that always has a row returned none.
    #[error("a query returned no row")]
    NoRow,
}

impl SqlError {
    /// Returns the error of SQLite, if SQLite refused the statement.
    pub(in crate::store) fn sqlite(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Sqlite(error) => Some(error),
            _ => None,
        }
    }
}

/// Returns the message of an error of PostgreSQL. The error itself only says at which step it came.
pub(in crate::store) fn with_cause(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(refused), _) => format!("{} (SQLSTATE {})", refused.message(), refused.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

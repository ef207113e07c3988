//! Errors of statements.

/// Result of a statement.
pub(in crate::store) type SqlResult<T> = Result<T, SqlError>;

/// Reason why a statement failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum SqlError {
    /// SQLite refused the statement.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
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

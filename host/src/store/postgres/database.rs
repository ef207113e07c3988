//! The [`Database`] of PostgreSQL: a connection with an open transaction, used from a thread outside the runtime.

use std::{error::Error, time::Duration};

use bytes::BytesMut;
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::{
    Statement,
    types::{IsNull, ToSql, Type},
};

use super::{batch::text, connection::Connection, dialect::translated};
use crate::{
    metrics::database::DatabaseMetrics,
    store::sql::{Database, Row, SqlError, Value},
};

/// Number of statements that a [`Connection`] keeps. Lists are made of many conditions, each of which is a statement.
const MOST_STATEMENTS: usize = 500;

/// Connection with an open transaction. Each statement is one round trip.
pub(super) struct Blocking<'c> {
    pub(super) connection: &'c Connection,
    pub(super) runtime: &'c Handle,
    /// Time after which a server that does not answer is given up.
    pub(super) patience: Duration,
    pub(super) metrics: &'c DatabaseMetrics,
}

impl Blocking<'_> {
    /// Waits for the server, but not for ever.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, SqlError> {
        self.metrics.round_trip();
        match self.runtime.block_on(async { timeout(self.patience, answer).await }) {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(SqlError::Silent),
        }
    }

    fn prepared(&self, sql: &str) -> Result<Statement, SqlError> {
        let sql = translated(sql);
        if self.connection.statement_cache.size() > MOST_STATEMENTS {
            self.connection.statement_cache.clear();
        }
        self.wait(self.connection.prepare_cached(&sql))
    }
}

impl Database for Blocking<'_> {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, SqlError> {
        let statement = self.prepared(sql)?;
        let changed = self.wait(self.connection.execute_raw(&statement, values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    fn for_each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = self.wait(self.connection.query(&statement, &values))?;
        rows.iter().try_for_each(|row| each(&Row::Postgres(row)))
    }

    fn like(&self, column: &str, place: usize) -> String {
        format!("{column} ILIKE ?{place} ESCAPE '\\'")
    }

    fn row_lock(&self) -> &'static str {
        " FOR UPDATE"
    }
}

/// The type is that of the parameter, which PostgreSQL concludes from the statement.
impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        to: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => match *to {
                Type::INT4 => i32::try_from(*number)?.to_sql(to, out),
                Type::INT2 => i16::try_from(*number)?.to_sql(to, out),
                Type::BOOL => (*number != 0).to_sql(to, out),
                _ => number.to_sql(to, out),
            },
            Self::Text(value) => text(value).to_sql(to, out),
            Self::Bytes(bytes) => bytes.to_sql(to, out),
        }
    }

    fn accepts(to: &Type) -> bool {
        matches!(
            *to,
            Type::INT8
                | Type::INT4
                | Type::INT2
                | Type::BOOL
                | Type::TEXT
                | Type::VARCHAR
                | Type::BYTEA
        )
    }

    tokio_postgres::types::to_sql_checked!();
}

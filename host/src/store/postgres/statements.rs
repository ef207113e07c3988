//! Statements of one connection, prepared when they are first used.

use std::{cell::RefCell, ptr};

use tokio_postgres::{Client, Row, Statement, types::ToSql};

use crate::store::sql::SqlError;

/// Values of a statement.
pub(super) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// Prepared statements of one connection. The text of a statement is a constant, which is found by its address.
#[derive(Default)]
pub(super) struct Statements(RefCell<Vec<(&'static str, Statement)>>);

impl Statements {
    /// Returns all rows of a query.
    pub(super) async fn query(
        &self,
        client: &Client,
        sql: &'static str,
        values: Params<'_>,
    ) -> Result<Vec<Row>, SqlError> {
        let statement = self.prepared(client, sql).await?;
        Ok(client.query(&statement, values).await?)
    }

    /// Executes a statement, and returns the number of rows that it changed.
    pub(super) async fn execute(
        &self,
        client: &Client,
        sql: &'static str,
        values: Params<'_>,
    ) -> Result<u64, SqlError> {
        let statement = self.prepared(client, sql).await?;
        Ok(client.execute(&statement, values).await?)
    }

    async fn prepared(&self, client: &Client, sql: &'static str) -> Result<Statement, SqlError> {
        let known = |(text, _): &&(&'static str, Statement)| ptr::eq(*text, sql);
        if let Some((_, statement)) = self.0.borrow().iter().find(known) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(sql).await?;
        self.0.borrow_mut().push((sql, statement.clone()));
        Ok(statement)
    }
}

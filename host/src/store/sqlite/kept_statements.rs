//! Prepared statements that the writing thread keeps as long as it lives.
//!
//! The cache of rusqlite looks a statement up by its whole text, twice for each use. Here, the text of a
//! statement is a constant, which is found by its address.

use std::{
    cell::{Cell, Ref, RefCell},
    ptr,
};

use rusqlite::{Connection, Statement, ToSql, params_from_iter};

use crate::store::sql::{self, Database, Row, SqlResult, Value};

/// Prepared statements, each known by its text.
///
/// A trait, so that the lifetime of the connection is not part of every type that uses a statement.
pub(super) trait KeptStatements {
    /// Executes a statement, and returns the number of rows that it changed.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    fn execute(&self, sql: &'static str, values: &[&dyn ToSql]) -> SqlResult<usize>;

    /// Reads the first row of a query, if there is one. The closure may use other statements.
    ///
    /// # Errors
    ///
    /// If the database refuses it, or the closure fails.
    fn first_row(
        &self,
        sql: &'static str,
        values: &[&dyn ToSql],
        read: &mut dyn FnMut(&Row<'_>) -> SqlResult<()>,
    ) -> SqlResult<()>;
}

impl<'s> dyn KeptStatements + 's {
    /// Returns the first row of a query, if there is one. The closure may use other statements.
    ///
    /// # Errors
    ///
    /// If the database refuses it, or the closure fails.
    pub(super) fn query<T>(
        &self,
        sql: &'static str,
        values: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> SqlResult<T>,
    ) -> SqlResult<Option<T>> {
        let mut found = None;
        self.first_row(sql, values, &mut |row| {
            found = Some(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }
}

/// [`KeptStatements`] of a connection. A statement is prepared when it is first used.
pub(super) struct StatementsOf<'c> {
    connection: &'c Connection,
    kept: RefCell<Vec<Kept<'c>>>,
}

struct Kept<'c> {
    sql: &'static str,
    /// None while it is in use.
    statement: Cell<Option<Statement<'c>>>,
}

impl<'c> StatementsOf<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        let kept = |sql| Kept { sql, statement: Cell::default() };
        Self { connection, kept: RefCell::new(sql::FREQUENT.map(kept).into()) }
    }

    /// Uses a statement, which is kept afterwards.
    fn with<T>(
        &self,
        sql: &'static str,
        using: impl FnOnce(&mut Statement<'c>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        let place = self.place(sql).unwrap_or_else(|| {
            let mut kept = self.kept.borrow_mut();
            kept.push(Kept { sql, statement: Cell::default() });
            kept.len() - 1
        });
        self.with_kept(place, sql, using)
    }

    /// Uses a statement. One that is not kept comes from the cache of rusqlite.
    fn with_any<T>(
        &self,
        sql: &str,
        using: impl FnOnce(&mut Statement<'c>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        match self.place(sql) {
            Some(place) => self.with_kept(place, sql, using),
            None => using(&mut *self.connection.prepare_cached(sql)?),
        }
    }

    fn place(&self, sql: &str) -> Option<usize> {
        self.kept.borrow().iter().position(|kept| ptr::eq(kept.sql, sql))
    }

    /// Uses a kept statement. A statement that is in use already is prepared once more.
    fn with_kept<T>(
        &self,
        place: usize,
        sql: &str,
        using: impl FnOnce(&mut Statement<'c>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        let at = |kept| Ref::map(kept, |kept: &Vec<Kept<'c>>| &kept[place].statement);
        let idle = at(self.kept.borrow()).take();
        let mut statement = idle.map_or_else(|| self.connection.prepare(sql), Ok)?;
        let result = using(&mut statement);
        at(self.kept.borrow()).set(Some(statement));
        result
    }
}

impl KeptStatements for StatementsOf<'_> {
    fn execute(&self, sql: &'static str, values: &[&dyn ToSql]) -> SqlResult<usize> {
        self.with(sql, |statement| Ok(statement.execute(values)?))
    }

    fn first_row(
        &self,
        sql: &'static str,
        values: &[&dyn ToSql],
        read: &mut dyn FnMut(&Row<'_>) -> SqlResult<()>,
    ) -> SqlResult<()> {
        self.with(sql, |statement| match statement.query(values)?.next()? {
            Some(row) => read(&Row::Sqlite(row)),
            None => Ok(()),
        })
    }
}

impl Database for StatementsOf<'_> {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<usize> {
        self.with_any(sql, |statement| Ok(statement.execute(params_from_iter(values))?))
    }

    fn for_each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> SqlResult<()>,
    ) -> SqlResult<()> {
        self.with_any(sql, |statement| {
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                each(&Row::Sqlite(row))?;
            }
            Ok(())
        })
    }

    fn like(&self, column: &str, place: usize) -> String {
        self.connection.like(column, place)
    }

    fn row_lock(&self) -> &'static str {
        self.connection.row_lock()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;

    static INSERT: &str = "INSERT INTO t VALUES (?1)";
    static SMALLER: &str = "SELECT x FROM t WHERE x < ?1 ORDER BY x DESC";

    fn database() -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").expect("a table");
        connection
    }

    #[test]
    fn a_statement_is_kept_and_works_after_an_error() {
        let connection = database();
        let statements = StatementsOf::new(&connection);
        let kept: &dyn KeptStatements = &statements;
        let known = statements.kept.borrow().len();
        for x in 1..=3 {
            assert_eq!(kept.execute(INSERT, params![x]).expect("written"), 1);
            kept.execute(INSERT, params![x]).expect_err("it is there");
        }
        assert_eq!(statements.kept.borrow().len(), known + 1);
        connection.execute_batch("ALTER TABLE t RENAME TO u").expect("renamed");
        kept.execute(INSERT, params![4]).expect_err("no such table");
        connection.execute_batch("ALTER TABLE u RENAME TO t").expect("renamed");
        assert_eq!(kept.execute(INSERT, params![4]).expect("written"), 1);
    }

    #[test]
    fn a_statement_can_be_used_while_it_is_in_use() {
        let connection = database();
        let statements = StatementsOf::new(&connection);
        let kept: &dyn KeptStatements = &statements;
        let known = statements.kept.borrow().len();
        for x in 1..=3 {
            assert_eq!(kept.execute(INSERT, params![x]).expect("written"), 1);
        }
        let number = |row: &Row<'_>| row.get::<i64>(0);
        let below_that = |row: &Row<'_>| kept.query(SMALLER, params![number(row)?], number);
        let below = kept.query(SMALLER, params![4], below_that).expect("it reads");
        assert_eq!(below, Some(Some(2)));
        assert_eq!(kept.query(SMALLER, params![1], number).expect("it reads"), None);
        assert_eq!(statements.kept.borrow().len(), known + 2);
    }

    #[test]
    fn shared_statements_are_kept_if_they_are_frequent() {
        let connection = database();
        let statements = StatementsOf::new(&connection);
        let idle = || {
            let mut kept = statements.kept.borrow_mut();
            kept.iter_mut().filter_map(|kept| kept.statement.get_mut().as_ref()).count()
        };
        let database: &dyn Database = &statements;
        database.execute(INSERT, &[Value::from(1_i64)]).expect("written");
        assert_eq!(idle(), 0);
        let changes = "CREATE TABLE requests (id, integration, plugin, received_at, outcome, alert, \
                       reason, sender, size, plugin_us, transaction_id, effects)";
        connection.execute_batch(changes).expect("a table");
        let record = sql::FREQUENT.into_iter().find(|sql| sql.contains("INTO requests"));
        database
            .execute(record.expect("it is frequent"), &[const { Value::Null }; 12])
            .expect("written");
        assert_eq!(idle(), 1);
    }
}

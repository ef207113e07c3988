//! Prepared statements that the writing thread keeps as long as it lives.
//!
//! The cache of rusqlite looks a statement up by its whole text, twice for each use. Here, the text of a
//! statement is a constant, which is found by its address.

use std::{
    cell::{Cell, Ref, RefCell},
    ptr,
};

use rusqlite::{Connection, Row, Statement, ToSql};

/// Prepared statements, each known by its text.
///
/// A trait, so that the lifetime of the connection is not part of every type that uses a statement.
pub(super) trait KeptStatements {
    /// Executes a statement, and returns the number of rows that it changed.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    fn execute(&self, sql: &'static str, values: &[&dyn ToSql]) -> rusqlite::Result<usize>;

    /// Reads the first row of a query, if there is one. The closure may use other statements.
    ///
    /// # Errors
    ///
    /// If the database refuses it, or the closure fails.
    fn first_row(
        &self,
        sql: &'static str,
        values: &[&dyn ToSql],
        read: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()>;
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
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
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
        Self { connection, kept: RefCell::default() }
    }

    /// Uses a statement. A statement that is in use already is prepared once more.
    fn with<T>(
        &self,
        sql: &'static str,
        using: impl FnOnce(&mut Statement<'c>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let place = self.kept.borrow().iter().position(|kept| ptr::eq(kept.sql, sql));
        let place = place.unwrap_or_else(|| {
            let mut kept = self.kept.borrow_mut();
            kept.push(Kept { sql, statement: Cell::default() });
            kept.len() - 1
        });
        let at = |kept| Ref::map(kept, |kept: &Vec<Kept<'c>>| &kept[place].statement);
        let idle = at(self.kept.borrow()).take();
        let mut statement = idle.map_or_else(|| self.connection.prepare(sql), Ok)?;
        let result = using(&mut statement);
        at(self.kept.borrow()).set(Some(statement));
        result
    }
}

impl KeptStatements for StatementsOf<'_> {
    fn execute(&self, sql: &'static str, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        self.with(sql, |statement| statement.execute(values))
    }

    fn first_row(
        &self,
        sql: &'static str,
        values: &[&dyn ToSql],
        read: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.with(sql, |statement| match statement.query(values)?.next()? {
            Some(row) => read(row),
            None => Ok(()),
        })
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
        for x in 1..=3 {
            assert_eq!(statements.execute(INSERT, params![x]), Ok(1));
            statements.execute(INSERT, params![x]).expect_err("it is there");
        }
        assert_eq!(statements.kept.borrow().len(), 1);
        connection.execute_batch("ALTER TABLE t RENAME TO u").expect("renamed");
        statements.execute(INSERT, params![4]).expect_err("no such table");
        connection.execute_batch("ALTER TABLE u RENAME TO t").expect("renamed");
        assert_eq!(statements.execute(INSERT, params![4]), Ok(1));
    }

    #[test]
    fn a_statement_can_be_used_while_it_is_in_use() {
        let connection = database();
        let statements = StatementsOf::new(&connection);
        for x in 1..=3 {
            assert_eq!(statements.execute(INSERT, params![x]), Ok(1));
        }
        let kept: &dyn KeptStatements = &statements;
        let number = |row: &Row<'_>| row.get::<_, i64>(0);
        let below_that = |row: &Row<'_>| kept.query(SMALLER, params![number(row)?], number);
        assert_eq!(kept.query(SMALLER, params![4], below_that), Ok(Some(Some(2))));
        assert_eq!(kept.query(SMALLER, params![1], number), Ok(None));
        assert_eq!(statements.kept.borrow().len(), 2);
    }
}

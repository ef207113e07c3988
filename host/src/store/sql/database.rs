//! Interface to a database.

use super::{error::SqlError, row::Row, value::Value};

/// Connection to a database. Statements are prepared when they are first used, and kept.
pub(in crate::store) trait Database {
    /// Executes a statement that returns no rows, and returns the number of rows that it changed.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, SqlError>;

    /// Passes all rows of a query to a closure, in their order, until it fails. The closure may use other
    /// statements.
    ///
    /// # Errors
    ///
    /// If the database refuses it, or the closure fails.
    fn for_each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError>;

    /// Returns a condition that a column matches a pattern of `LIKE`, in which `\` escapes. The pattern is the
    /// parameter at a place, and ASCII letters match in either case.
    fn like(&self, column: &str, place: usize) -> String;

    /// Returns the end of a query that keeps others from changing its rows until the end of the transaction;
    /// empty if nobody else writes.
    fn row_lock(&self) -> &'static str;
}

impl<'d> dyn Database + 'd {
    /// Returns the first row of a query; none if it has no row.
    ///
    /// # Errors
    ///
    /// If the database refuses it, or the closure fails.
    pub(in crate::store) fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let mut first = None;
        self.for_each(sql, values, &mut |row| {
            if first.is_none() {
                first = Some(read(row)?);
            }
            Ok(())
        })?;
        Ok(first)
    }

    /// Returns the first row of a query that always has a [`Row`].
    ///
    /// # Errors
    ///
    /// If the database refuses it, the closure fails, or there is no row.
    pub(in crate::store) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.first(sql, values, read)?.ok_or(SqlError::NoRow)
    }

    /// Returns all rows of a query.
    ///
    /// # Errors
    ///
    /// If the database refuses it, or the closure fails.
    pub(in crate::store) fn all<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut all = Vec::new();
        self.for_each(sql, values, &mut |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }
}

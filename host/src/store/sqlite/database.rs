//! The [`Database`] of SQLite: a connection.

use rusqlite::{
    Connection, ToSql, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use crate::store::sql::{Database, Row, SqlError, Value};

impl Database for Connection {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, SqlError> {
        Ok(self.prepare_cached(sql)?.execute(params_from_iter(values))?)
    }

    fn for_each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            each(&Row::Sqlite(row))?;
        }
        Ok(())
    }

    fn like(&self, column: &str, place: usize) -> String {
        format!("{column} LIKE ?{place} ESCAPE '\\'")
    }

    fn row_lock(&self) -> &'static str {
        // A database has one writer.
        ""
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tocsin_plugin_api::Urgency;
    use ulid::Ulid;

    use super::*;
    use crate::store::sql::values;

    #[test]
    fn values_are_read_as_they_were_written() {
        let connection = Connection::open_in_memory().expect("a database");
        let database: &dyn Database = &connection;
        let create = "CREATE TABLE t (number INTEGER, text TEXT, bytes BLOB, none INTEGER) STRICT";
        database.execute(create, values![]).expect("a table");
        let (id, time) = (Ulid::from_parts(1, 2), Timestamp::UNIX_EPOCH);
        let insert = "INSERT INTO t VALUES (?1, ?2, ?3, ?4)";
        let values = values![Urgency::High, "é", id, None::<i64>];
        assert_eq!(database.execute(insert, values).expect("written"), 1);
        database.execute(insert, values![true, None::<&str>, None::<Ulid>, time]).expect("written");
        let sql = "SELECT * FROM t ORDER BY number";
        let first = database.one(sql, values![], |row| {
            assert_eq!((row.get::<bool>(0)?, row.get::<Timestamp>(3)?), (true, time));
            assert_eq!((row.text_or_null(1)?, row.bytes_or_null(2)?), (None, None));
            row.get::<Option<Ulid>>(2)
        });
        assert_eq!(first.expect("a row"), None);
        let urgencies = database.all(sql, values![], |row| row.get::<Urgency>(0));
        assert_eq!(urgencies.expect("rows"), [Urgency::Medium, Urgency::High]);
        let sql = "SELECT text, bytes, 7 FROM t WHERE text = ?1";
        let read = |row: &Row<'_>| {
            assert_eq!((row.text(0)?, row.get::<Ulid>(1)?), ("é", id));
            row.get::<Urgency>(2)
        };
        let error = database.one(sql, values!["é"], read).expect_err("no such urgency");
        assert_eq!(error.to_string(), "column 2 of a row is not the place of a known variant");
        let error = database.one(sql, values!["e"], read).expect_err("no row");
        assert_eq!(error.to_string(), "a query returned no row");
    }
}

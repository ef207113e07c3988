//! Rows of queries, and the types that are read from their columns.

use jiff::Timestamp;
use rusqlite::types::{FromSqlError, ValueRef};
use serde::de::DeserializeOwned;
use tocsin_plugin_api::{Urgency, notification::Kind};
use tokio_postgres::types::Type;
use ulid::Ulid;

use super::error::SqlError;
use crate::{
    alert::{ChangeKind, Status},
    delivery::AttemptResult,
    request::RequestOutcome,
};

/// Row of a query.
#[derive(Clone, Copy)]
pub(in crate::store) enum Row<'r> {
    /// Row of SQLite.
    Sqlite(&'r rusqlite::Row<'r>),
    /// Row of PostgreSQL.
    Postgres(&'r tokio_postgres::Row),
}

/// Value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::store) enum Column<'r> {
    /// No value.
    Null,
    /// Number.
    Integer(i64),
    /// Text.
    Text(&'r str),
    /// Bytes.
    Bytes(&'r [u8]),
}

/// Type that can be read from a [`Column`].
pub(in crate::store) trait FromColumn: Sized {
    /// Noun phrase for values of this type, for errors.
    const NAME: &'static str;

    /// Reads a value; none if the column holds another one.
    fn from_column(column: Column<'_>) -> Option<Self>;
}

impl Row<'_> {
    /// Returns the value of a column, the first of which is 0.
    ///
    /// # Errors
    ///
    /// If there is no such column, or it has a type that no column of the store has.
    pub(in crate::store) fn column(&self, column: usize) -> Result<Column<'_>, SqlError> {
        match self {
            Self::Sqlite(row) => column_of_sqlite(row, column),
            Self::Postgres(row) => column_of_postgres(row, column),
        }
    }

    /// Reads a column.
    ///
    /// # Errors
    ///
    /// If the column does not hold a value of this type.
    pub(in crate::store) fn get<T: FromColumn>(&self, column: usize) -> Result<T, SqlError> {
        let expected = SqlError::Column { column, expected: T::NAME };
        T::from_column(self.column(column)?).ok_or(expected)
    }

    /// Returns true if a column has no value.
    ///
    /// # Errors
    ///
    /// If there is no such column.
    pub(in crate::store) fn is_null(&self, column: usize) -> Result<bool, SqlError> {
        Ok(self.column(column)? == Column::Null)
    }

    /// Returns the text of a column.
    ///
    /// # Errors
    ///
    /// If the column does not hold text.
    pub(in crate::store) fn text(&self, column: usize) -> Result<&str, SqlError> {
        self.text_or_null(column)?.ok_or(SqlError::Column { column, expected: String::NAME })
    }

    /// Returns the text of a column; none if it has no value.
    ///
    /// # Errors
    ///
    /// If the column holds something else.
    pub(in crate::store) fn text_or_null(&self, column: usize) -> Result<Option<&str>, SqlError> {
        match self.column(column)? {
            Column::Null => Ok(None),
            Column::Text(text) => Ok(Some(text)),
            _ => Err(SqlError::Column { column, expected: String::NAME }),
        }
    }

    /// Returns the bytes of a column; none if it has no value.
    ///
    /// # Errors
    ///
    /// If the column holds something else.
    pub(in crate::store) fn bytes_or_null(&self, column: usize) -> Result<Option<&[u8]>, SqlError> {
        match self.column(column)? {
            Column::Null => Ok(None),
            Column::Bytes(bytes) => Ok(Some(bytes)),
            _ => Err(SqlError::Column { column, expected: <Vec<u8>>::NAME }),
        }
    }

    /// Reads a column that holds JSON.
    ///
    /// # Errors
    ///
    /// If the column does not hold the JSON of this type.
    pub(in crate::store) fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T, SqlError> {
        serde_json::from_str(self.text(column)?).map_err(|source| SqlError::Json { column, source })
    }
}

fn column_of_sqlite<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<Column<'r>, SqlError> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Column::Null,
        ValueRef::Integer(number) => Column::Integer(number),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(FromSqlError::other);
            Column::Text(text.map_err(rusqlite::Error::from)?)
        }
        ValueRef::Blob(bytes) => Column::Bytes(bytes),
        ValueRef::Real(_) => return Err(SqlError::Column { column, expected: "a number" }),
    })
}

/// Conditions are numbers, as in SQLite.
fn column_of_postgres(row: &tokio_postgres::Row, column: usize) -> Result<Column<'_>, SqlError> {
    let Some(described) = row.columns().get(column) else {
        return Err(SqlError::Column { column, expected: "there" });
    };
    let value = match *described.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(Column::Integer),
        Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(|it| Column::Integer(it.into())),
        Type::BOOL => row.try_get::<_, Option<bool>>(column)?.map(|it| Column::Integer(it.into())),
        Type::TEXT | Type::VARCHAR | Type::NAME => {
            row.try_get::<_, Option<&str>>(column)?.map(Column::Text)
        }
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(column)?.map(Column::Bytes),
        _ => return Err(SqlError::Column { column, expected: "of a type that the store uses" }),
    };
    Ok(value.unwrap_or(Column::Null))
}

impl FromColumn for i64 {
    const NAME: &'static str = "a number";

    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Integer(number) => Some(number),
            _ => None,
        }
    }
}

/// Numbers of the host are stored as signed ones with the same bits.
impl FromColumn for u64 {
    const NAME: &'static str = "a number";

    fn from_column(column: Column<'_>) -> Option<Self> {
        i64::from_column(column).map(i64::cast_unsigned)
    }
}

impl FromColumn for u32 {
    const NAME: &'static str = "a number from 0 to 2^32 - 1";

    fn from_column(column: Column<'_>) -> Option<Self> {
        i64::from_column(column)?.try_into().ok()
    }
}

impl FromColumn for u16 {
    const NAME: &'static str = "a number from 0 to 65535";

    fn from_column(column: Column<'_>) -> Option<Self> {
        i64::from_column(column)?.try_into().ok()
    }
}

/// Flags and conditions are numbers.
impl FromColumn for bool {
    const NAME: &'static str = "0 or 1";

    fn from_column(column: Column<'_>) -> Option<Self> {
        i64::from_column(column).map(|number| number != 0)
    }
}

impl FromColumn for String {
    const NAME: &'static str = "text";

    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    const NAME: &'static str = "bytes";

    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Bytes(bytes) => Some(bytes.to_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Ulid {
    const NAME: &'static str = "an id of 16 bytes";

    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Bytes(bytes) => Some(Self::from_bytes(bytes.try_into().ok()?)),
            _ => None,
        }
    }
}

/// Times are stored in milliseconds since 1970.
impl FromColumn for Timestamp {
    const NAME: &'static str = "a time";

    fn from_column(column: Column<'_>) -> Option<Self> {
        Self::from_millisecond(i64::from_column(column)?).ok()
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Null => Some(None),
            column => T::from_column(column).map(Some),
        }
    }
}

macro_rules! read_by_place {
    ($($type:ty),+) => {$(
        /// Variants are stored as their place in `ALL`.
        impl FromColumn for $type {
            const NAME: &'static str = "the place of a known variant";

            fn from_column(column: Column<'_>) -> Option<Self> {
                Self::ALL.get(usize::try_from(i64::from_column(column)?).ok()?).copied()
            }
        }
    )+};
}

read_by_place!(Urgency, Status, ChangeKind, RequestOutcome, Kind, AttemptResult);

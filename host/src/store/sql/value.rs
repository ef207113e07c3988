//! Parameters of statements.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;
use tocsin_plugin_api::{Urgency, notification::Kind};
use ulid::Ulid;

use super::error::SqlError;
use crate::{
    alert::{Actor, ChangeKind, Status},
    delivery::AttemptResult,
    request::RequestOutcome,
};

/// Parameter of a statement, in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Value<'v> {
    /// No value.
    Null,
    /// Number. Flags are 0 or 1, times are milliseconds since 1970, and variants are their place in `ALL`.
    Integer(i64),
    /// Text.
    Text(Cow<'v, str>),
    /// Bytes, for example those of an id.
    Bytes(Cow<'v, [u8]>),
}

/// Makes a slice of [`Value`]s of expressions that can be converted to them.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::Value::from($value)),*]
    };
}
pub(in crate::store) use values;

/// Returns a value as JSON.
///
/// # Errors
///
/// If the value cannot be written as JSON.
pub(in crate::store) fn json(value: &impl Serialize) -> Result<String, SqlError> {
    serde_json::to_string(value).map_err(SqlError::ToJson)
}

/// Returns the place of a variant among all, its stored form.
pub(in crate::store) fn place<T: PartialEq>(all: &[T], variant: &T) -> i64 {
    let place = all.iter().position(|one| one == variant).unwrap_or(0);
    i64::try_from(place).unwrap_or(0)
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

/// No stored number is above the largest signed one.
impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value<'_> {
    fn from(number: usize) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Integer(flag.into())
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Integer(time.as_millisecond())
    }
}

impl From<Ulid> for Value<'_> {
    fn from(id: Ulid) -> Self {
        Self::Bytes(Cow::Owned(id.to_bytes().to_vec()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

/// Actors are stored as text.
impl From<&Actor> for Value<'_> {
    fn from(actor: &Actor) -> Self {
        Self::from(actor.to_string())
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::from(text.as_str())
    }
}

impl<'v> From<&'v Arc<str>> for Value<'v> {
    fn from(text: &'v Arc<str>) -> Self {
        Self::from(&**text)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'v> From<&'v [u8; 16]> for Value<'v> {
    fn from(bytes: &'v [u8; 16]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! written_by_place {
    ($($type:ty),+) => {$(
        /// Variants are stored as their place in `ALL`.
        impl From<$type> for Value<'_> {
            fn from(variant: $type) -> Self {
                Self::Integer(place(&<$type>::ALL, &variant))
            }
        }
    )+};
}

written_by_place!(Urgency, Status, ChangeKind, RequestOutcome, Kind, AttemptResult);

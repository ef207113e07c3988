//! Conversion of rows to alerts and back, for the writer and the readers.

use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef},
};
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{Detail, Urgency, notification::Kind};
use ulid::Ulid;

use crate::{
    alert::{
        Alert, AlertIds, AlertRef, AlertWithHistory, ChangeKind, Difference, HistoryEntry,
        PluginId, Status, life,
    },
    delivery::AttemptResult,
    request::{Effect, RequestOutcome},
};

/// The columns that [`alert`] reads, in its order.
pub(super) const ALERT: &str = "SELECT a.number, i.name, p.name, p.version, a.title, \
     a.description, a.urgency, a.status, a.dedup_key, a.link, a.details, a.occurrences, a.request, \
     a.created_at, a.updated_at, a.last_occurred_at, a.previous, a.due_at, a.hops \
     FROM alerts a JOIN integrations i ON i.id = a.integration JOIN plugins p ON p.id = a.plugin";

pub(super) fn alert(row: &Row<'_>, ids: AlertIds) -> rusqlite::Result<Alert> {
    let number = row.get::<_, i64>(0)?.cast_unsigned();
    let created_at = time(row, 13)?;
    let title: String = row.get(4)?;
    Ok(Alert {
        id: ids.id(number, created_at),
        number,
        integration: row.get(1)?,
        plugin: PluginId { name: row.get(2)?, version: row.get(3)? },
        description: match row.get::<_, Option<String>>(5)? {
            Some(same) if same.is_empty() => Some(title.clone()),
            description => description,
        },
        title,
        urgency: row.get::<_, Stored<Urgency>>(6)?.0,
        status: row.get::<_, Stored<Status>>(7)?.0,
        dedup_key: row.get(8)?,
        link: row.get(9)?,
        details: details(row, 10)?,
        occurrences: row.get::<_, i64>(11)?.cast_unsigned(),
        request_id: row.get::<_, Stored<Ulid>>(12)?.0,
        last_occurred_at: optional_time(row, 15)?.unwrap_or(created_at),
        previous: row.get::<_, Option<i64>>(16)?.map(i64::cast_unsigned),
        resolves_at: optional_time(row, 17)?,
        created_at,
        updated_at: time(row, 14)?,
        hops: row.get(18)?,
    })
}

pub(super) fn details(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<Detail>> {
    let Some(json) = row.get_ref(column)?.as_str_or_null()? else { return Ok(Vec::new()) };
    serde_json::from_str(json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let out_of_range = rusqlite::Error::IntegralValueOutOfRange;
    let milliseconds = row.get(column)?;
    Timestamp::from_millisecond(milliseconds).map_err(|_| out_of_range(column, milliseconds))
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => time(row, column).map(Some),
    }
}

/// Returns the number of the alert that an [`AlertRef`] leads to, if the alert exists.
pub(super) fn resolve(
    connection: &Connection,
    ids: AlertIds,
    alert: AlertRef,
) -> rusqlite::Result<Option<u64>> {
    let number = match alert {
        AlertRef::Number(number) => Some(number),
        AlertRef::Id(id) => ids.number(id),
    };
    let Some(stored) = number.and_then(|number| i64::try_from(number).ok()) else {
        return Ok(None);
    };
    let found = connection
        .prepare_cached("SELECT created_at FROM alerts WHERE number = ?1")?
        .query_row([stored], |row| time(row, 0))
        .optional()?;
    Ok(found.map(|created_at| (stored.cast_unsigned(), created_at)).and_then(
        |(number, created_at)| {
            let matches = match alert {
                AlertRef::Number(_) => true,
                AlertRef::Id(id) => ids.id(number, created_at) == id,
            };
            matches.then_some(number)
        },
    ))
}

/// Returns an existing [`Alert`] with its history.
pub(super) fn with_history(
    connection: &Connection,
    ids: AlertIds,
    number: u64,
) -> rusqlite::Result<AlertWithHistory> {
    let alert = connection
        .prepare_cached(&format!("{ALERT} WHERE a.number = ?1"))?
        .query_row([number.cast_signed()], |row| alert(row, ids))?;
    let mut history = vec![life::opening(&alert.integration, alert.request_id, alert.created_at)];
    let mut changes = connection.prepare_cached(
        "SELECT at, change, by, request, count, last_at, data FROM changes WHERE alert = ?1 \
         ORDER BY seq",
    )?;
    let changes = changes.query_map([number.cast_signed()], history_entry)?;
    for change in changes {
        history.push(change?);
    }
    Ok(AlertWithHistory { alert, history })
}

/// Reads a [`HistoryEntry`] from the columns `at, change, by, request, count, last_at, data`.
pub(super) fn history_entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    let at = time(row, 0)?;
    let data = row.get_ref(6)?.as_str_or_null()?;
    let EntryData { differences, note, next } =
        data.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    Ok(HistoryEntry {
        at,
        change: row.get::<_, Stored<ChangeKind>>(1)?.0,
        by: row.get_ref(2)?.as_str()?.into(),
        request_id: row.get::<_, Option<Stored<Ulid>>>(3)?.map(|Stored(id)| id),
        count: row.get::<_, i64>(4)?.cast_unsigned(),
        last_at: optional_time(row, 5)?.unwrap_or(at),
        differences,
        note,
        next,
    })
}

/// Returns the stored form of what only some entries have; none if this one has nothing of it.
pub(super) fn entry_data(entry: &HistoryEntry) -> Option<String> {
    let HistoryEntry { differences, note, next, .. } = entry;
    if differences.is_empty() && note.is_none() && next.is_none() {
        return None;
    }
    let data = BorrowedEntryData { differences, note: note.as_deref(), next: *next };
    // Strings and numbers can always be written as JSON.
    serde_json::to_string(&data).ok()
}

/// JSON in `changes.data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EntryData {
    differences: Vec<Difference>,
    note: Option<String>,
    next: Option<u64>,
}

/// [`EntryData`] to be written.
#[derive(Serialize)]
struct BorrowedEntryData<'e> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    differences: &'e [Difference],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Value in its stored form: a variant as its place in `ALL`, an id as bytes.
pub(super) struct Stored<T>(pub(super) T);

fn place<T: PartialEq>(all: &[T], value: &T) -> ToSqlOutput<'static> {
    let place = all.iter().position(|one| one == value).unwrap_or(0);
    ToSqlOutput::from(i64::try_from(place).unwrap_or(0))
}

fn at_place<T: Copy>(all: &[T], value: ValueRef<'_>) -> FromSqlResult<Stored<T>> {
    let place = value.as_i64()?;
    let found = usize::try_from(place).ok().and_then(|place| all.get(place));
    found.map(|one| Stored(*one)).ok_or(FromSqlError::OutOfRange(place))
}

macro_rules! stored_by_place {
    ($($type:ty),+) => {$(
        impl ToSql for Stored<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(place(&<$type>::ALL, &self.0))
            }
        }

        impl FromSql for Stored<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                at_place(&<$type>::ALL, value)
            }
        }
    )+};
}

stored_by_place!(Urgency, Status, ChangeKind, RequestOutcome, Kind, AttemptResult);

impl FromSql for Stored<Ulid> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(Ulid::from_bytes(bytes)))
    }
}

/// Returns the text of [effects](Effect): a letter each, with the number of the alert.
pub(super) fn write_effects(effects: &[Effect]) -> String {
    let word = |effect: &Effect| {
        let letter = match effect {
            Effect::Opened(_) => 'o',
            Effect::Occurred(_) => 'c',
            Effect::Acknowledged(_) => 'a',
            Effect::Resolved(_) => 'r',
            Effect::Duplicate(_) => 'd',
            Effect::NoMatch => 'n',
            Effect::Suppressed => 's',
        };
        effect.alert().map_or_else(|| letter.to_string(), |number| format!("{letter}{number}"))
    };
    effects.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Reads the text of [`write_effects`]. Unknown words are left out.
pub(super) fn read_effects(text: &str) -> Vec<Effect> {
    let read = |word: &str| {
        let number = word.get(1..)?.parse().ok();
        Some(match word.as_bytes().first()? {
            b'o' => Effect::Opened(number?),
            b'c' => Effect::Occurred(number?),
            b'a' => Effect::Acknowledged(number?),
            b'r' => Effect::Resolved(number?),
            b'd' => Effect::Duplicate(number),
            b'n' => Effect::NoMatch,
            b's' => Effect::Suppressed,
            _ => return None,
        })
    };
    text.split_whitespace().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_read_as_they_were_written() {
        let effects = [
            Effect::Opened(1),
            Effect::Occurred(20),
            Effect::Acknowledged(3),
            Effect::Resolved(u64::MAX),
            Effect::Duplicate(Some(7)),
            Effect::Duplicate(None),
            Effect::NoMatch,
            Effect::Suppressed,
        ];
        assert_eq!(read_effects(&write_effects(&effects)), effects);
        assert_eq!(read_effects("o x é 12"), []);
    }
}

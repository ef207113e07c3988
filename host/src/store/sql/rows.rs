//! Conversion of rows to alerts and back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Detail;

use super::{database::Database, error::SqlResult, row::Row, value::values};
use crate::alert::{
    Alert, AlertIds, AlertRef, AlertWithHistory, Difference, HistoryEntry, PluginId, life,
};

/// The columns that [`alert`] reads, in its order.
pub(in crate::store) const ALERT: &str = "SELECT a.number, i.name, p.name, p.version, a.title, \
     a.description, a.urgency, a.status, a.dedup_key, a.link, a.details, a.occurrences, a.request, \
     a.created_at, a.updated_at, a.last_occurred_at, a.previous, a.due_at, a.hops \
     FROM alerts a JOIN integrations i ON i.id = a.integration JOIN plugins p ON p.id = a.plugin";

pub(in crate::store) fn alert(row: &Row<'_>, ids: AlertIds) -> SqlResult<Alert> {
    let number: u64 = row.get(0)?;
    let created_at: Timestamp = row.get(13)?;
    let title: String = row.get(4)?;
    Ok(Alert {
        id: ids.id(number, created_at),
        number,
        integration: row.get(1)?,
        plugin: PluginId { name: row.get(2)?, version: row.get(3)? },
        description: match row.get::<Option<String>>(5)? {
            Some(same) if same.is_empty() => Some(title.clone()),
            description => description,
        },
        title,
        urgency: row.get(6)?,
        status: row.get(7)?,
        dedup_key: row.get(8)?,
        link: row.get(9)?,
        details: details(row, 10)?,
        occurrences: row.get(11)?,
        request_id: row.get(12)?,
        last_occurred_at: row.get::<Option<_>>(15)?.unwrap_or(created_at),
        previous: row.get(16)?,
        resolves_at: row.get(17)?,
        created_at,
        updated_at: row.get(14)?,
        hops: row.get(18)?,
    })
}

/// Reads details from a column that may have no value.
pub(super) fn details(row: &Row<'_>, column: usize) -> SqlResult<Vec<Detail>> {
    if row.is_null(column)? { Ok(Vec::new()) } else { row.json(column) }
}

/// Returns the number of the alert that an [`AlertRef`] leads to, if the alert exists.
pub(super) fn resolve(
    database: &dyn Database,
    ids: AlertIds,
    alert: AlertRef,
) -> SqlResult<Option<u64>> {
    let number = match alert {
        AlertRef::Number(number) => Some(number),
        AlertRef::Id(id) => ids.number(id),
    };
    let Some(stored) = number.and_then(|number| i64::try_from(number).ok()) else {
        return Ok(None);
    };
    let sql = "SELECT created_at FROM alerts WHERE number = ?1";
    let found = database.first(sql, values![stored], |row| row.get(0))?;
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
    database: &dyn Database,
    ids: AlertIds,
    number: u64,
) -> SqlResult<AlertWithHistory> {
    let sql = format!("{ALERT} WHERE a.number = ?1");
    let alert = database.one(&sql, values![number], |row| alert(row, ids))?;
    let mut history = vec![life::opening(&alert.integration, alert.request_id, alert.created_at)];
    let sql = "SELECT at, change, by, request, count, last_at, data FROM changes \
               WHERE alert = ?1 ORDER BY seq";
    history.extend(database.all(sql, values![number], history_entry)?);
    Ok(AlertWithHistory { alert, history })
}

/// Reads a [`HistoryEntry`] from the columns `at, change, by, request, count, last_at, data`.
pub(in crate::store) fn history_entry(row: &Row<'_>) -> SqlResult<HistoryEntry> {
    let at: Timestamp = row.get(0)?;
    let data = row.text_or_null(6)?;
    let EntryData { differences, note, next } =
        data.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    Ok(HistoryEntry {
        at,
        change: row.get(1)?,
        by: row.text(2)?.into(),
        request_id: row.get(3)?,
        count: row.get(4)?,
        last_at: row.get::<Option<_>>(5)?.unwrap_or(at),
        differences,
        note,
        next,
    })
}

/// Returns the stored form of what only some entries have; none if this one has nothing of it.
pub(in crate::store) fn entry_data(entry: &HistoryEntry) -> Option<String> {
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

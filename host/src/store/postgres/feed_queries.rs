//! The query for the feed of changes.
//!
//! The feed is in the order of transactions. Within a transaction, changes are in the order of their alerts, and for
//! one alert in the order in which they were made. A transaction with a lower number may commit after one with a
//! higher number, so that a reader goes only up to the horizon: all transactions below it have ended.

use super::{database::Blocking, shared::Shared};
use crate::{
    alert::{HistoryEntry, life},
    store::{
        StoreError,
        feed::{ChangePage, Cursor, FeedChange, MOST_CHANGES},
        sql::{Database, Row, SqlError, history_entry, values},
    },
};

/// The transaction after all that have begun, and the first that has not ended. Those of other databases on the
/// server do not count: a transaction without proof of another database is taken as one of this database. The
/// snapshot is taken before the locks are read, so that no transaction is overlooked.
const HORIZON: &str = "SELECT CAST(CAST(pg_snapshot_xmax(s) AS TEXT) AS BIGINT), \
     (SELECT min(CAST(CAST(x AS TEXT) AS BIGINT)) FROM pg_snapshot_xip(s) x \
     WHERE NOT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock' \
     AND l.transactionid = CAST(x AS xid) \
     AND a.datid <> (SELECT oid FROM pg_database WHERE datname = current_database())) \
     AND NOT EXISTS (SELECT 1 FROM pg_prepared_xacts p \
     WHERE p.transaction = CAST(x AS xid) AND p.database <> current_database())) \
     FROM pg_current_snapshot() s";

const OPENINGS: &str = "SELECT a.transaction_id, a.number, a.created_at, a.request, i.name \
     FROM tocsin.alerts a JOIN tocsin.integrations i ON i.id = a.integration \
     WHERE (a.transaction_id, a.number) > (?1, ?2) AND a.transaction_id < ?3 \
     ORDER BY a.transaction_id, a.number LIMIT ?4";

const ENTRIES: &str = "SELECT at, change, by, request, count, last_at, data, transaction_id, alert, seq \
     FROM tocsin.changes WHERE (transaction_id, alert, seq) > (?1, ?2, ?3) AND transaction_id < ?4 \
     ORDER BY transaction_id, alert, seq LIMIT ?5";

/// Order of changes: transaction, alert, place in the history. Openings have the place 0.
type Position = (i64, i64, i64);

/// Transactions as one statement sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Horizon {
    /// Number below which all transactions have ended.
    ended: i64,
    /// Number that the next transaction gets.
    next: i64,
}

/// Returns the horizon. It may be lower than one before, if a transaction of another database has just ended.
pub(super) fn horizon(shared: &Shared, database: &Blocking<'_>) -> Result<Horizon, SqlError> {
    let database: &dyn Database = database;
    let (next, oldest) = database
        .one(HORIZON, values![], |row| Ok((row.get::<i64>(0)?, row.get::<Option<i64>>(1)?)))?;
    let ended = oldest.map_or(next, |oldest| oldest.min(next));
    Ok(Horizon { ended: ended + shared.offset, next: next + shared.offset })
}

/// Returns the changes after a [`Cursor`]. The statements are outside a transaction: each sees all that was
/// committed before it, and thus everything below the horizon.
pub(super) fn changes_since(
    shared: &Shared,
    database: &Blocking<'_>,
    cursor: &Cursor,
    limit: usize,
) -> Result<Result<ChangePage, StoreError>, SqlError> {
    let Horizon { ended: horizon, next } = horizon(shared, database)?;
    let store = shared.ids.database();
    let position = match cursor.place() {
        Some(place) => read(place, store),
        None if cursor.is_start() => Some((0, 0, 0)),
        None => Some((horizon, 0, 0)),
    };
    // A cursor of now may be of a transaction that has not begun.
    let Some(mut position) = position.filter(|(transaction, ..)| *transaction <= next) else {
        return Ok(Err(StoreError::UnknownCursor));
    };
    let limit = i64::try_from(limit.clamp(1, MOST_CHANGES)).unwrap_or(i64::MAX);
    let database: &dyn Database = database;
    let (transaction, alert, place) = position;
    // The opening of an alert comes before its entries.
    let openings = database.all(OPENINGS, values![transaction, alert, horizon, limit], opening)?;
    let values = values![transaction, alert, place, horizon, limit];
    let entries = database.all(ENTRIES, values, entry)?;
    let mut changes: Vec<(Position, HistoryEntry)> = openings.into_iter().chain(entries).collect();
    changes.sort_by_key(|(position, _)| *position);
    changes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if let Some((last, _)) = changes.last() {
        position = *last;
    }
    let change = |((_, alert, place), entry): (Position, HistoryEntry)| FeedChange {
        alert: alert.cast_unsigned(),
        place: place.cast_unsigned(),
        entry,
    };
    let changes = changes.into_iter().map(change).collect();
    Ok(Ok(ChangePage { changes, cursor: Cursor::after(write(position, store)) }))
}

fn opening(row: &Row<'_>) -> Result<(Position, HistoryEntry), SqlError> {
    let entry = life::opening(row.text(4)?, row.get(3)?, row.get(2)?);
    Ok(((row.get(0)?, row.get(1)?, 0), entry))
}

fn entry(row: &Row<'_>) -> Result<(Position, HistoryEntry), SqlError> {
    Ok(((row.get(7)?, row.get(8)?, row.get(9)?), history_entry(row)?))
}

/// Returns the text for a [`Cursor`]. The number of the database keeps it from being used with another one.
fn write((transaction, alert, place): Position, store: u64) -> String {
    format!("{store:x}-{transaction}-{alert}-{place}")
}

/// Reads the text of a [`Cursor`]; none if another store made it.
fn read(text: &str, store: u64) -> Option<Position> {
    let mut words = text.split('-');
    if u64::from_str_radix(words.next()?, 16).ok()? != store {
        return None;
    }
    let mut number = || words.next()?.parse::<i64>().ok();
    let position = (number()?, number()?, number()?);
    words.next().is_none().then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_database_is_unknown() {
        let position = (3, 1007, 2);
        let text = write(position, 0xabc);
        assert_eq!(read(&text, 0xabc), Some(position));
        assert_eq!(read(&text, 0xabd), None);
        for text in ["", "abc", "abc-1-2", "abc-1-2-3-4", "abc-1-2-x"] {
            assert_eq!(read(text, 0xabc), None, "{text}");
        }
    }
}

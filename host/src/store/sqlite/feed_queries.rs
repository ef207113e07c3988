//! The query for the feed of changes.
//!
//! The feed is made of the openings, which are the alerts in the order of their numbers, and of the
//! histories in the order of the transactions that wrote them. Within a transaction, changes are in the
//! order of their alerts, and for one alert in the order in which they were made.

use std::time::Duration;

use super::reader::Reader;
use crate::{
    alert::{HistoryEntry, life},
    problem::Problem,
    store::{
        StoreError,
        feed::{ChangePage, Cursor, FeedChange, MOST_CHANGES},
        sql::{self, Database, Row, SqlResult, values},
    },
};

/// Largest time for which a reader waits until what it sees is on disk.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Place in the feed: all changes up to it were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    /// Number of the last alert whose opening was read.
    opened: i64,
    /// Last history entry that was read.
    entry: EntryKey,
}

/// Order of history entries: transaction, alert, place in the history.
type EntryKey = (i64, i64, i64);

/// Change with its place in the order of all changes. Openings have the place 0 in their history.
type Keyed = (EntryKey, HistoryEntry);

impl Reader {
    /// Returns the changes after a [`Cursor`].
    ///
    /// The snapshot may hold transactions that are not on disk yet. Leaving these out would not do,
    /// since they may have rewritten older entries. The reader waits until all of the snapshot is on disk.
    pub(super) fn changes_since(
        &self,
        cursor: &Cursor,
        limit: usize,
    ) -> SqlResult<Result<ChangePage, StoreError>> {
        let snapshot = self.connection.unchecked_transaction()?;
        let database: &dyn Database = &*snapshot;
        let newest = newest(database)?;
        let Some(durable) = self.durable.wait_for(newest.entry.0, LONGEST_WAIT) else {
            let message = "the newest changes are not on disk yet";
            return Ok(Err(StoreError::Unavailable(Problem::new("not-on-disk-yet", message))));
        };
        let database_id = self.ids.database();
        let position = match cursor.place() {
            Some(place) => Position::read(place, database_id),
            None if cursor.is_start() => Some(Position::default()),
            None => Some(Position { entry: (newest.entry.0 + 1, 0, 0), ..newest }),
        };
        let Some(mut position) = position
            .filter(|position| position.opened <= newest.opened && position.entry.0 <= durable + 1)
        else {
            return Ok(Err(StoreError::UnknownCursor));
        };
        let limit = i64::try_from(limit.clamp(1, MOST_CHANGES)).unwrap_or(i64::MAX);
        let mut openings = openings(database, position, limit)?.into_iter().peekable();
        let mut entries = entries(database, position, limit)?.into_iter().peekable();
        let mut changes = Vec::new();
        for _ in 0..limit {
            let is_opening = match (openings.peek(), entries.peek()) {
                (Some((opening, _)), Some((entry, _))) => opening < entry,
                (opening, _) => opening.is_some(),
            };
            let next = if is_opening { openings.next() } else { entries.next() };
            let Some((key, entry)) = next else { break };
            if is_opening {
                position.opened = key.1;
            } else {
                position.entry = key;
            }
            let (_, alert, place) = key;
            let (alert, place) = (alert.cast_unsigned(), place.cast_unsigned());
            changes.push(FeedChange { alert, place, entry });
        }
        Ok(Ok(ChangePage { changes, cursor: Cursor::after(position.write(database_id)) }))
    }
}

/// Returns the number of the newest alert, and the last transaction that changed an alert.
fn newest(database: &dyn Database) -> SqlResult<Position> {
    let sql = "SELECT ifnull((SELECT max(number) FROM alerts), 0), \
               max(ifnull((SELECT max(transaction_id) FROM changes), 0), \
                   ifnull((SELECT transaction_id FROM alerts ORDER BY number DESC LIMIT 1), 0))";
    database
        .one(sql, values![], |row| Ok(Position { opened: row.get(0)?, entry: (row.get(1)?, 0, 0) }))
}

fn openings(database: &dyn Database, position: Position, limit: i64) -> SqlResult<Vec<Keyed>> {
    let sql = "SELECT a.transaction_id, a.number, a.created_at, a.request, i.name FROM alerts a \
               JOIN integrations i ON i.id = a.integration \
               WHERE a.number > ?1 ORDER BY a.number LIMIT ?2";
    let opening = |row: &Row<'_>| {
        let (created_at, request_id) = (row.get(2)?, row.get(3)?);
        let entry = life::opening(row.text(4)?, request_id, created_at);
        Ok(((row.get(0)?, row.get(1)?, 0), entry))
    };
    database.all(sql, values![position.opened, limit], opening)
}

fn entries(database: &dyn Database, position: Position, limit: i64) -> SqlResult<Vec<Keyed>> {
    let sql = "SELECT at, change, by, request, count, last_at, data, transaction_id, alert, seq \
               FROM changes WHERE (transaction_id, alert, seq) > (?1, ?2, ?3) \
               ORDER BY transaction_id, alert, seq LIMIT ?4";
    let (transaction, alert, place) = position.entry;
    let entry =
        |row: &Row<'_>| Ok(((row.get(7)?, row.get(8)?, row.get(9)?), sql::history_entry(row)?));
    database.all(sql, values![transaction, alert, place, limit], entry)
}

impl Position {
    /// Returns the text for a [`Cursor`]. The number of the database keeps it from being used with another
    /// one.
    fn write(self, database: u64) -> String {
        let Self { opened, entry: (transaction, alert, place) } = self;
        format!("{database:x}-{opened}-{transaction}-{alert}-{place}")
    }

    /// Reads the text of a cursor; none if another store made it.
    fn read(text: &str, database: u64) -> Option<Self> {
        let mut words = text.split('-');
        if u64::from_str_radix(words.next()?, 16).ok()? != database {
            return None;
        }
        let mut number = || words.next()?.parse::<i64>().ok();
        let (opened, entry) = (number()?, (number()?, number()?, number()?));
        words.next().is_none().then_some(Self { opened, entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_database_is_unknown() {
        let position = Position { opened: 3, entry: (1007, 2, 1) };
        let text = position.write(0xabc);
        assert_eq!(Position::read(&text, 0xabc), Some(position));
        assert_eq!(Position::read(&text, 0xabd), None);
        for text in ["", "abc", "abc-1-2-3", "abc-1-2-3-4-5", "abc-1-2-3-x"] {
            assert_eq!(Position::read(text, 0xabc), None, "{text}");
        }
    }
}

//! Counts of alerts that are not resolved.

use rusqlite::Row;

use super::{reader::Reader, rows::Stored};
use crate::store::UnresolvedCount;

/// The index `listing` holds all of these columns.
const COUNT: &str = "SELECT status, urgency, count(*) FROM alerts INDEXED BY listing \
                     WHERE number > ?1 AND number <= ?2 AND status < 2 GROUP BY status, urgency";
const NEXT: &str = "SELECT min(number) FROM alerts WHERE number > ?1";

impl Reader {
    pub(super) fn count_unresolved(
        &self,
        after: u64,
        limit: u64,
    ) -> rusqlite::Result<UnresolvedCount> {
        let stored = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let (from, to) = (stored(after), stored(after.saturating_add(limit)));
        let snapshot = self.connection.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached(COUNT)?;
        let read = |row: &Row<'_>| {
            let (Stored(status), Stored(urgency)) = (row.get(0)?, row.get(1)?);
            Ok((status, urgency, row.get::<_, i64>(2)?.cast_unsigned()))
        };
        let counts = statement.query_map([from, to], read)?.collect::<rusqlite::Result<_>>()?;
        let mut statement = snapshot.prepare_cached(NEXT)?;
        let next: Option<i64> = statement.query_row([to], |row| row.get(0))?;
        let next = next.map(|next| next.cast_unsigned().saturating_sub(1));
        Ok(UnresolvedCount { counts, next })
    }
}

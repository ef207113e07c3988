//! Counts of alerts that are not resolved.

use super::{error::SqlResult, snapshot::Snapshot, value::values};
use crate::store::UnresolvedCount;

/// The index `listing` holds all of these columns.
const COUNT: &str = "SELECT status, urgency, count(*) FROM alerts INDEXED BY listing \
                     WHERE number > ?1 AND number <= ?2 AND status < 2 GROUP BY status, urgency";
const NEXT: &str = "SELECT min(number) FROM alerts WHERE number > ?1";

impl Snapshot<'_> {
    /// Counts the unresolved alerts among those with the `limit` numbers after `after`.
    pub(in crate::store) fn count_unresolved(
        &self,
        after: u64,
        limit: u64,
    ) -> SqlResult<UnresolvedCount> {
        let to = after.saturating_add(limit);
        let counts = self
            .database
            .all(COUNT, values![after, to], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let next = self.database.one(NEXT, values![to], |row| row.get::<Option<u64>>(0))?;
        Ok(UnresolvedCount { counts, next: next.map(|next| next.saturating_sub(1)) })
    }
}

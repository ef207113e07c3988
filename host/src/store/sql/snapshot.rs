//! State of a database that queries read.
//!
//! Other files of this folder add the queries of their subject.

use super::{database::Database, error::SqlResult, value::values};
use crate::alert::AlertIds;

/// State of a database. All queries of a snapshot see the same state.
pub(in crate::store) struct Snapshot<'s> {
    pub(in crate::store) database: &'s dyn Database,
    pub(in crate::store) ids: AlertIds,
    /// Times of transactions that were not in their table before the snapshot: the number of the transaction,
    /// and microseconds.
    pub(in crate::store) unwritten_times: &'s [(i64, i64)],
}

impl Snapshot<'_> {
    /// Returns the number under which an integration is stored; none if nothing of it is stored.
    pub(in crate::store) fn integration(&self, name: &str) -> SqlResult<Option<i64>> {
        let sql = "SELECT id FROM integrations WHERE name = ?1";
        self.database.first(sql, values![name], |row| row.get(0))
    }
}

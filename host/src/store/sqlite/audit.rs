//! The [`AuditStore`] of SQLite: passes each call on to the writing thread or to a reader.

use super::SqliteStore;
use crate::store::{
    Pending,
    audit::{AuditEntry, AuditPage, AuditQuery, AuditStore},
};

impl AuditStore for SqliteStore {
    fn add_to_audit(&self, entry: AuditEntry) -> Pending<u64> {
        self.write(move |open| open.add_to_audit(&entry))
    }

    fn audit(&self, query: AuditQuery) -> Pending<AuditPage> {
        let AuditQuery { actor, action, object, since, until, .. } = &query;
        let is_filtered = [actor, action, object].into_iter().any(Option::is_some);
        if is_filtered || since.is_some() || until.is_some() {
            return self.readers.search(move |reader| reader.snapshot(|it| it.audit(&query)));
        }
        self.readers.read(move |reader| reader.snapshot(|it| it.audit(&query)))
    }
}

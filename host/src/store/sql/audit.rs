//! Writes, lists and deletes entries of the audit.

use jiff::Timestamp;

use super::{
    error::SqlResult,
    pattern,
    row::Row,
    snapshot::Snapshot,
    transaction::Transaction,
    value::{Value, values},
};
use crate::store::{
    audit::{AuditEntry, AuditPage, AuditQuery},
    housekeeping::HousekeepingProgress,
};

impl Transaction<'_> {
    /// Adds an entry, and returns its number.
    pub(in crate::store) fn add_to_audit(&self, entry: &AuditEntry) -> SqlResult<u64> {
        let sql = "INSERT INTO audit \
                   (at, actor, action, object, result, detail, status, request, address) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING number";
        let values = values![
            entry.at,
            &entry.actor,
            &entry.action,
            entry.object.as_deref(),
            &entry.result,
            entry.detail.as_deref(),
            entry.status,
            entry.request,
            entry.address.as_deref(),
        ];
        self.database.one(sql, values, |row| row.get(0))
    }

    /// Deletes the oldest entries. They are written in the order of their times, except after a clock was set
    /// back, so that no index of times is needed.
    pub(in crate::store) fn forget_audit(
        &self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> SqlResult<HousekeepingProgress> {
        let before = before.map_or(i64::MAX, Timestamp::as_millisecond);
        let sql = "DELETE FROM audit WHERE at < ?1 \
                   AND number IN (SELECT number FROM audit ORDER BY number LIMIT ?2)";
        let count = self.database.execute(sql, values![before, limit])?;
        Ok(HousekeepingProgress::of(count, limit))
    }
}

impl Snapshot<'_> {
    /// Returns a page of the audit, newest entry first.
    pub(in crate::store) fn audit(&self, query: &AuditQuery) -> SqlResult<AuditPage> {
        let mut sql =
            "SELECT number, at, actor, action, object, result, detail, status, request, address \
             FROM audit WHERE true"
                .to_owned();
        let mut values: Vec<Value<'_>> = Vec::new();
        if let Some(text) = &query.actor {
            values.push(pattern::containing(text).into());
            sql.push_str(&format!(" AND {}", self.database.like("actor", values.len())));
        }
        let mut condition = |condition: &str, value: Value<'static>| {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        };
        if let Some(action) = &query.action {
            condition("action =", action.clone().into());
        }
        if let Some(object) = &query.object {
            // The object itself, or a kind of objects: the first word.
            let start = format!("{object} ");
            let length = start.chars().count();
            condition(&format!("substr(object || ' ', 1, {length}) ="), start.into());
        }
        if let Some(since) = query.since {
            condition("at >=", since.into());
        }
        if let Some(until) = query.until {
            condition("at <", until.into());
        }
        if let Some(before) = query.before {
            condition("number <", before.into());
        }
        // An extra row tells whether there is a next page.
        sql.push_str(&format!(" ORDER BY number DESC LIMIT {}", query.limit + 1));
        let mut entries = self.database.all(&sql, &values, entry)?;
        let has_more = entries.len() > query.limit;
        entries.truncate(query.limit);
        let next = entries.last().map(|entry| entry.number).filter(|_| has_more);
        Ok(AuditPage { entries, next })
    }
}

fn entry(row: &Row<'_>) -> SqlResult<AuditEntry> {
    Ok(AuditEntry {
        number: row.get(0)?,
        at: row.get(1)?,
        actor: row.text(2)?.into(),
        action: row.get(3)?,
        object: row.get(4)?,
        result: row.get(5)?,
        detail: row.get(6)?,
        status: row.get(7)?,
        request: row.get(8)?,
        address: row.get(9)?,
    })
}

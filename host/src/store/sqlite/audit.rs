//! The [`AuditStore`] of SQLite: writes, lists and deletes entries of the audit.

use jiff::Timestamp;
use rusqlite::{Row, ToSql, params};

use super::{
    SqliteStore,
    delivery_rows::milliseconds,
    reader::Reader,
    rows::{self, Stored},
    write_transaction::WriteTransaction,
};
use crate::store::{
    Pending,
    audit::{AuditEntry, AuditPage, AuditQuery, AuditStore},
    housekeeping::HousekeepingProgress,
};

impl AuditStore for SqliteStore {
    fn add_to_audit(&self, entry: AuditEntry) -> Pending<u64> {
        self.write(move |open| open.add_to_audit(&entry))
    }

    fn audit(&self, query: AuditQuery) -> Pending<AuditPage> {
        let AuditQuery { actor, action, object, since, until, .. } = &query;
        let is_filtered = [actor, action, object].into_iter().any(Option::is_some);
        if is_filtered || since.is_some() || until.is_some() {
            return self.readers.search(move |reader| reader.audit(&query));
        }
        self.readers.read(move |reader| reader.audit(&query))
    }
}

impl WriteTransaction<'_> {
    fn add_to_audit(&self, entry: &AuditEntry) -> rusqlite::Result<u64> {
        let sql = "INSERT INTO audit VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.statement(sql)?.execute(params![
            milliseconds(entry.at),
            entry.actor.to_string(),
            entry.action,
            entry.object,
            entry.result,
            entry.detail,
            entry.status,
            entry.request.map(|id| id.to_bytes().to_vec()),
            entry.address,
        ])?;
        Ok(self.connection.last_insert_rowid().cast_unsigned())
    }

    /// Deletes the oldest entries. They are written in the order of their times, except after a clock was set
    /// back, so that no index of times is needed.
    pub(super) fn forget_audit(
        &self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> rusqlite::Result<HousekeepingProgress> {
        let before = before.map_or(i64::MAX, milliseconds);
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "DELETE FROM audit WHERE at < ?1 \
                   AND number IN (SELECT number FROM audit ORDER BY number LIMIT ?2)";
        let count = self.statement(sql)?.execute(params![before, limit_rows])?;
        Ok(HousekeepingProgress::of(count, limit))
    }
}

impl Reader {
    fn audit(&self, query: &AuditQuery) -> rusqlite::Result<AuditPage> {
        let mut sql =
            "SELECT number, at, actor, action, object, result, detail, status, request, address \
                       FROM audit WHERE 1"
                .to_owned();
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut condition = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(text) = &query.actor {
            condition(" AND instr(lower(actor), ?) > 0", Box::new(text.to_ascii_lowercase()));
        }
        if let Some(action) = &query.action {
            condition(" AND action = ?", Box::new(action.clone()));
        }
        if let Some(object) = &query.object {
            let sql = " AND (object = ? OR substr(object, 1, length(?) + 1) = ? || ' ')";
            condition(sql, Box::new(object.clone()));
        }
        if let Some(since) = query.since {
            condition(" AND at >= ?", Box::new(milliseconds(since)));
        }
        if let Some(until) = query.until {
            condition(" AND at < ?", Box::new(milliseconds(until)));
        }
        if let Some(before) = query.before {
            condition(" AND number < ?", Box::new(i64::try_from(before).unwrap_or(i64::MAX)));
        }
        // An extra row tells whether there is a next page.
        sql.push_str(&format!(" ORDER BY number DESC LIMIT {}", query.limit + 1));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), entry)?;
        let mut entries = rows.collect::<Result<Vec<_>, _>>()?;
        let has_more = entries.len() > query.limit;
        entries.truncate(query.limit);
        let next = entries.last().map(|entry| entry.number).filter(|_| has_more);
        Ok(AuditPage { entries, next })
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        at: rows::time(row, 1)?,
        actor: row.get_ref(2)?.as_str()?.into(),
        action: row.get(3)?,
        object: row.get(4)?,
        result: row.get(5)?,
        detail: row.get(6)?,
        status: row.get(7)?,
        request: row.get::<_, Option<Stored<_>>>(8)?.map(|Stored(id)| id),
        address: row.get(9)?,
    })
}

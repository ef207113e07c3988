//! Queries for records of requests, and for kept requests.
//!
//! The id of a request begins with its time, so that lists need no index of times. The record of a request is
//! either a row of `requests` or, if the request opened one alert and did nothing else, in the row of that
//! alert.

use std::net::IpAddr;

use ulid::Ulid;

use super::{
    effects,
    error::SqlResult,
    housekeeping::first_id,
    row::Row,
    snapshot::Snapshot,
    value::{Value, values},
};
use crate::{
    alert::PluginId,
    request::{
        Effect, EventEffect, RawRequest, RawState, Replay, RequestOutcome, RequestPage,
        RequestQuery, RequestRecord,
    },
};

/// The columns that [`Snapshot::record`] reads, in its order.
const COLUMNS: &str = "SELECT r.id, i.name, p.name, p.version, r.outcome, r.reason, r.alert, \
     r.received_at, r.sender, r.size, r.plugin_us, r.transaction_id, r.effects, k.quarantined, \
     y.at, y.by, y.tries, y.outcome, y.reason, y.effects, q.name, q.version, t.us";
/// The table of records, and the view of those in rows of alerts.
const REQUESTS: &str = "requests";
const FOLDED: &str = "folded_requests";
/// The request of a record, if that is kept.
const KEPT: &str = "LEFT JOIN kept_requests k ON k.request = r.id";
/// The records of requests that wait for a replay. They are few, and lead to their records, none of which is
/// in the row of an alert.
const WAITING: &str = "FROM kept_requests k CROSS JOIN requests r";
/// The names that records refer to, and replays.
const NAMES: &str = "JOIN integrations i ON i.id = r.integration \
     LEFT JOIN plugins p ON p.id = r.plugin \
     LEFT JOIN replays y ON y.request = r.id LEFT JOIN plugins q ON q.id = y.plugin \
     LEFT JOIN transactions t ON t.id = r.transaction_id";

/// Number of [`Effect`]s that fill a page, however few records it has. A single record can have as many.
const MOST_EFFECTS: usize = 100_000;

impl Snapshot<'_> {
    pub(in crate::store) fn request(&self, id: Ulid) -> SqlResult<Option<RequestRecord>> {
        self.database.first(&one(), values![id], |row| self.record(row))
    }

    pub(in crate::store) fn requests(&self, query: &RequestQuery) -> SqlResult<RequestPage> {
        let integration = match &query.integration {
            None => None,
            Some(name) => match self.integration(name)? {
                None => return Ok(RequestPage::default()),
                known => known,
            },
        };
        let (sql, values) = list(query, integration);
        let (mut requests, mut effects, mut has_more) = (Vec::<RequestRecord>::new(), 0, false);
        self.database.for_each(&sql, &values, &mut |row| {
            if has_more || requests.len() == query.limit || effects >= MOST_EFFECTS {
                has_more = true;
                return Ok(());
            }
            let record = self.record(row)?;
            let replayed = record.replay.as_ref().map_or(0, |replay| replay.effects.len());
            effects += record.effects.len() + replayed;
            requests.push(record);
            Ok(())
        })?;
        let next = requests.last().map(|request| request.id).filter(|_| has_more);
        Ok(RequestPage { requests, next })
    }

    pub(in crate::store) fn raw_request(&self, id: Ulid) -> SqlResult<Option<RawRequest>> {
        let sql = "SELECT query, headers, body FROM kept_requests WHERE request = ?1";
        self.database.first(sql, values![id], |row| {
            let bytes = |column| row.get::<Vec<u8>>(column).map(bytes::Bytes::from);
            Ok(RawRequest { query: row.get(0)?, headers: bytes(1)?, body: bytes(2)? })
        })
    }

    fn record(&self, row: &Row<'_>) -> SqlResult<RequestRecord> {
        let alert = row.get::<Option<_>>(6)?;
        let effects = match row.text_or_null(12)? {
            Some(text) => effects::read_effects(text),
            None => alert.map(Effect::Opened).into_iter().collect(),
        };
        let transaction = row.get::<Option<i64>>(11)?;
        let commit_us = transaction.and_then(|transaction| self.unwritten_time(transaction));
        Ok(RequestRecord {
            id: row.get(0)?,
            integration: row.get(1)?,
            plugin: plugin(row, 2)?,
            sender: row.bytes_or_null(8)?.and_then(address),
            size_bytes: row.get(9)?,
            outcome: row.get(4)?,
            reason: row.get(5)?,
            alert,
            effects: effects.into_iter().map(EventEffect::from).collect(),
            received_at: row.get(7)?,
            plugin_us: row.get(10)?,
            commit_us: if commit_us.is_none() { row.get(22)? } else { commit_us },
            transaction: transaction.map(i64::cast_unsigned),
            raw: match row.get(13)? {
                None => RawState::Absent,
                Some(false) => RawState::Kept,
                Some(true) => RawState::Quarantined,
            },
            replay: replay(row)?,
        })
    }

    /// Returns the time of a transaction, in microseconds, if it was not in its table before this snapshot.
    fn unwritten_time(&self, transaction: i64) -> Option<u64> {
        let mut times = self.unwritten_times.iter();
        times.find(|(id, _)| *id == transaction).map(|(_, us)| us.cast_unsigned())
    }
}

/// Returns the query for the record with an id.
pub(in crate::store) fn one() -> String {
    let of = |table| format!("{COLUMNS} FROM {table} r {KEPT} {NAMES} WHERE r.id = ?1");
    format!("{} UNION ALL {}", of(REQUESTS), of(FOLDED))
}

/// Returns the query for a list, newest first, with its values.
pub(in crate::store) fn list(
    query: &RequestQuery,
    integration: Option<i64>,
) -> (String, Vec<Value<'static>>) {
    let mut conditions = String::new();
    let mut values = Vec::new();
    let mut condition = |column: &str, value: Value<'static>| {
        values.push(value);
        conditions.push_str(&format!(" AND {column} ?{}", values.len()));
    };
    if let Some(integration) = integration {
        condition("r.integration =", integration.into());
    }
    if let Some(since) = query.since {
        condition("r.id >=", first_id(Some(since)).into());
    }
    if let Some(until) = query.until {
        condition("r.id <", first_id(Some(until)).into());
    }
    if let Some(before) = query.before {
        condition("r.id <", before.into());
    }
    if let Some(outcome) = query.outcome {
        let place = RequestOutcome::ALL.iter().position(|one| *one == outcome).unwrap_or(0);
        conditions.push_str(&format!(" AND r.outcome = {place}"));
        if outcome != RequestOutcome::Events {
            // The condition of the partial index. SQLite does not conclude it from the outcome.
            conditions.push_str(" AND r.outcome > 0");
        }
    }
    let of = |table| format!("{COLUMNS} FROM {table} r {KEPT} {NAMES} WHERE true{conditions}");
    let all = if query.quarantined {
        format!(
            "{COLUMNS} {WAITING} {NAMES} WHERE r.id = k.request AND k.quarantined = 1{conditions}"
        )
    } else if query.outcome.is_none_or(|outcome| outcome == RequestOutcome::Events) {
        // SQLite merges the two, each in the order of its index.
        format!("{} UNION ALL {}", of(REQUESTS), of(FOLDED))
    } else {
        of(REQUESTS)
    };
    // An extra row tells whether there is a next page.
    (format!("{all} ORDER BY 1 DESC LIMIT {}", query.limit + 1), values)
}

fn replay(row: &Row<'_>) -> SqlResult<Option<Replay>> {
    let Some(at) = row.get(14)? else { return Ok(None) };
    let effects = effects::read_effects(row.text(19)?);
    Ok(Some(Replay {
        at,
        by: row.text(15)?.into(),
        tries: row.get(16)?,
        plugin: plugin(row, 20)?,
        outcome: row.get(17)?,
        reason: row.get(18)?,
        effects: effects.into_iter().map(EventEffect::from).collect(),
    }))
}

/// A plugin whose name and version are in this column and the next.
fn plugin(row: &Row<'_>, column: usize) -> SqlResult<Option<PluginId>> {
    let (name, version) = (row.get::<Option<String>>(column)?, row.get(column + 1)?);
    Ok(name.zip(version).map(|(name, version)| PluginId { name, version }))
}

fn address(octets: &[u8]) -> Option<String> {
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(address.to_string())
}

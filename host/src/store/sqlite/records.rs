//! The queries for records of requests, and for requests as they came.
//!
//! A request's id begins with its time: neither the newest first nor a time needs an index.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Row, ToSql};
use ulid::Ulid;

use super::{
    chores::first_id,
    reader::Reader,
    rows::{self, Stored},
};
use crate::{
    alert::PluginId,
    store::request::{
        Effect, EventEffect, RawRequest, RawState, Replay, RequestOutcome, RequestPage,
        RequestQuery, RequestRecord,
    },
};

/// The columns that [`Reader::record`] reads, in its order.
const COLUMNS: &str = "SELECT r.id, i.name, p.name, p.version, r.outcome, r.reason, r.alert, \
     r.received_at, r.sender, r.size, r.plugin_us, r.transaction_id, r.effects, k.quarantined, \
     y.at, y.by, y.tries, y.outcome, y.reason, y.effects, q.name, q.version";
/// All records, each with its request if that is kept.
const ALL: &str = "FROM requests r LEFT JOIN kept_requests k ON k.request = r.id";
/// The records of requests that wait for a replay. They are few, and lead to their records.
const WAITING: &str = "FROM kept_requests k CROSS JOIN requests r ON r.id = k.request";
/// The names that records refer to, and replays.
const NAMES: &str = "JOIN integrations i ON i.id = r.integration \
     LEFT JOIN plugins p ON p.id = r.plugin \
     LEFT JOIN replays y ON y.request = r.id LEFT JOIN plugins q ON q.id = y.plugin";

impl Reader {
    pub(super) fn request(&self, id: Ulid) -> rusqlite::Result<Option<RequestRecord>> {
        let sql = format!("{COLUMNS} {ALL} {NAMES} WHERE r.id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_row([id.to_bytes().as_slice()], |row| self.record(row)).optional()
    }

    pub(super) fn requests(&self, query: &RequestQuery) -> rusqlite::Result<RequestPage> {
        let (from, condition) =
            if query.quarantined { (WAITING, "k.quarantined = 1") } else { (ALL, "1") };
        let mut sql = format!("{COLUMNS} {from} {NAMES} WHERE {condition}");
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut condition = |column: &str, value: Box<dyn ToSql>| {
            values.push(value);
            sql.push_str(&format!(" AND {column} ?{}", values.len()));
        };
        let id = |bytes: [u8; 16]| Box::new(bytes.to_vec());
        if let Some(integration) = &query.integration {
            let Some(integration) = self.integration(integration)? else {
                return Ok(RequestPage::default());
            };
            condition("r.integration =", Box::new(integration));
        }
        if let Some(since) = query.since {
            condition("r.id >=", id(first_id(Some(since))));
        }
        if let Some(until) = query.until {
            condition("r.id <", id(first_id(Some(until))));
        }
        if let Some(before) = query.before {
            condition("r.id <", id(before.to_bytes()));
        }
        if let Some(outcome) = query.outcome {
            let place = RequestOutcome::ALL.iter().position(|one| *one == outcome).unwrap_or(0);
            // As a number in the text, so that the partial index is seen to hold it.
            sql.push_str(&format!(" AND r.outcome = {place}"));
        }
        // One more than asked for tells whether there is a next page.
        sql.push_str(&format!(" ORDER BY r.id DESC LIMIT {}", query.limit + 1));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut requests = statement
            .query_map(rusqlite::params_from_iter(values), |row| self.record(row))?
            .collect::<Result<Vec<_>, _>>()?;
        let has_more = requests.len() > query.limit;
        requests.truncate(query.limit);
        let next = requests.last().map(|request| request.id).filter(|_| has_more);
        Ok(RequestPage { requests, next })
    }

    pub(super) fn raw_request(&self, id: Ulid) -> rusqlite::Result<Option<RawRequest>> {
        let sql = "SELECT query, headers, body FROM kept_requests WHERE request = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let raw = statement.query_row([id.to_bytes().as_slice()], |row| {
            let bytes = |column| row.get::<_, Vec<u8>>(column).map(bytes::Bytes::from);
            Ok(RawRequest { query: row.get(0)?, headers: bytes(1)?, body: bytes(2)? })
        });
        raw.optional()
    }

    fn record(&self, row: &Row<'_>) -> rusqlite::Result<RequestRecord> {
        let unsigned =
            |column| row.get::<_, Option<i64>>(column).map(|value| value.map(i64::cast_unsigned));
        let alert = unsigned(6)?;
        let outcome = row.get::<_, Stored<RequestOutcome>>(4)?.0;
        let effects = match row.get_ref(12)?.as_str_or_null()? {
            Some(text) => rows::read_effects(text),
            None => alert.map(Effect::Opened).into_iter().collect(),
        };
        let transaction = row.get::<_, Option<i64>>(11)?;
        let commit_us = transaction.map(|id| self.times.of(id, &self.connection)).transpose()?;
        Ok(RequestRecord {
            id: row.get::<_, Stored<Ulid>>(0)?.0,
            integration: row.get(1)?,
            plugin: plugin(row, 2)?,
            sender: row.get_ref(8)?.as_blob_or_null()?.and_then(address),
            size_bytes: unsigned(9)?,
            outcome,
            reason: row.get(5)?,
            alert,
            effects: effects.into_iter().map(EventEffect::from).collect(),
            received_at: rows::time(row, 7)?,
            plugin_us: unsigned(10)?,
            commit_us: commit_us.flatten(),
            transaction: transaction.map(i64::cast_unsigned),
            raw: match row.get(13)? {
                None => RawState::Absent,
                Some(false) => RawState::Kept,
                Some(true) => RawState::Quarantined,
            },
            replay: replay(row)?,
        })
    }
}

fn replay(row: &Row<'_>) -> rusqlite::Result<Option<Replay>> {
    let Some(at) = rows::optional_time(row, 14)? else { return Ok(None) };
    let effects = rows::read_effects(row.get_ref(19)?.as_str()?);
    Ok(Some(Replay {
        at,
        by: row.get(15)?,
        tries: row.get::<_, i64>(16)?.cast_unsigned(),
        plugin: plugin(row, 20)?,
        outcome: row.get::<_, Stored<RequestOutcome>>(17)?.0,
        reason: row.get(18)?,
        effects: effects.into_iter().map(EventEffect::from).collect(),
    }))
}

/// A plugin whose name and version are in this column and the next.
fn plugin(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<PluginId>> {
    let (name, version) = (row.get::<_, Option<String>>(column)?, row.get(column + 1)?);
    Ok(name.zip(version).map(|(name, version)| PluginId { name, version }))
}

fn address(octets: &[u8]) -> Option<String> {
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(address.to_string())
}

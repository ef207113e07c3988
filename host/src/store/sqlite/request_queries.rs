//! Queries for records of requests, and for kept requests.
//!
//! The id of a request begins with its time, so that lists need no index of times. The record of a request is
//! either a row of `requests` or, if the request opened one alert and did nothing else, in the row of that
//! alert.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Row, ToSql};
use ulid::Ulid;

use super::{
    housekeeping::first_id,
    reader::Reader,
    rows::{self, Stored},
};
use crate::{
    alert::PluginId,
    request::{
        Effect, EventEffect, RawRequest, RawState, Replay, RequestOutcome, RequestPage,
        RequestQuery, RequestRecord,
    },
};

/// The columns that [`Reader::record`] reads, in its order.
const COLUMNS: &str = "SELECT r.id, i.name, p.name, p.version, r.outcome, r.reason, r.alert, \
     r.received_at, r.sender, r.size, r.plugin_us, r.transaction_id, r.effects, k.quarantined, \
     y.at, y.by, y.tries, y.outcome, y.reason, y.effects, q.name, q.version";
/// The table of records, and the view of those in rows of alerts.
const REQUESTS: &str = "requests";
const FOLDED: &str = "folded_requests";
/// The request of a record, if that is kept.
const KEPT: &str = "LEFT JOIN kept_requests k ON k.request = r.id";
/// The records of requests that wait for a replay. They are few, and lead to their records, none of which is
/// in the row of an alert.
const WAITING: &str = "FROM kept_requests k CROSS JOIN requests r ON r.id = k.request";
/// The names that records refer to, and replays.
const NAMES: &str = "JOIN integrations i ON i.id = r.integration \
     LEFT JOIN plugins p ON p.id = r.plugin \
     LEFT JOIN replays y ON y.request = r.id LEFT JOIN plugins q ON q.id = y.plugin";

/// Number of effects that fill a page, however few records it has. A single record can have as many.
const MOST_EFFECTS: usize = 100_000;

impl Reader {
    pub(super) fn request(&self, id: Ulid) -> rusqlite::Result<Option<RequestRecord>> {
        let mut statement = self.connection.prepare_cached(&one())?;
        statement.query_row([id.to_bytes().as_slice()], |row| self.record(row)).optional()
    }

    pub(super) fn requests(&self, query: &RequestQuery) -> rusqlite::Result<RequestPage> {
        let integration = match &query.integration {
            None => None,
            Some(name) => match self.integration(name)? {
                None => return Ok(RequestPage::default()),
                known => known,
            },
        };
        let (sql, values) = list(query, integration);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let (mut requests, mut effects, mut has_more) = (Vec::<RequestRecord>::new(), 0, false);
        for record in
            statement.query_map(rusqlite::params_from_iter(values), |row| self.record(row))?
        {
            let record = record?;
            if requests.len() == query.limit || effects >= MOST_EFFECTS {
                has_more = true;
                break;
            }
            let replayed = record.replay.as_ref().map_or(0, |replay| replay.effects.len());
            effects += record.effects.len() + replayed;
            requests.push(record);
        }
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

/// Returns the query for the record with an id.
fn one() -> String {
    let of = |table| format!("{COLUMNS} FROM {table} r {KEPT} {NAMES} WHERE r.id = ?1");
    format!("{} UNION ALL {}", of(REQUESTS), of(FOLDED))
}

/// Returns the query for a list, newest first, with its values.
fn list(query: &RequestQuery, integration: Option<i64>) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions = String::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut condition = |column: &str, value: Box<dyn ToSql>| {
        values.push(value);
        conditions.push_str(&format!(" AND {column} ?{}", values.len()));
    };
    let id = |bytes: [u8; 16]| Box::new(bytes.to_vec());
    if let Some(integration) = integration {
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
        conditions.push_str(&format!(" AND r.outcome = {place}"));
        if outcome != RequestOutcome::Events {
            // The condition of the partial index. SQLite does not conclude it from the outcome.
            conditions.push_str(" AND r.outcome > 0");
        }
    }
    let of = |table| format!("{COLUMNS} FROM {table} r {KEPT} {NAMES} WHERE 1{conditions}");
    let all = if query.quarantined {
        format!("{COLUMNS} {WAITING} {NAMES} WHERE k.quarantined = 1{conditions}")
    } else if query.outcome.is_none_or(|outcome| outcome == RequestOutcome::Events) {
        // SQLite merges the two, each in the order of its index.
        format!("{} UNION ALL {}", of(REQUESTS), of(FOLDED))
    } else {
        of(REQUESTS)
    };
    // An extra row tells whether there is a next page.
    (format!("{all} ORDER BY 1 DESC LIMIT {}", query.limit + 1), values)
}

fn replay(row: &Row<'_>) -> rusqlite::Result<Option<Replay>> {
    let Some(at) = rows::optional_time(row, 14)? else { return Ok(None) };
    let effects = rows::read_effects(row.get_ref(19)?.as_str()?);
    Ok(Some(Replay {
        at,
        by: row.get_ref(15)?.as_str()?.into(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::Connection;
    use tocsin_plugin_api::Event;

    use super::*;
    use crate::request::Submission;
    use crate::store::{
        Store,
        fixture::submission,
        sqlite::{
            SqliteStore,
            housekeeping::{FORGET_TRANSACTIONS, OLDEST_RECORDS},
        },
    };

    #[test]
    fn records_with_very_many_effects_come_in_smaller_pages() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = SqliteStore::open(&path, "a test", Arc::default()).expect("it opens");
        let store: &dyn Store = &store;
        let mut ids = Vec::new();
        for second in 0..6_u64 {
            let request_id = Ulid::from_parts(1_700_000_000_000 + 1000 * second, 0);
            let sent = submission("ops", vec![Event::create("x"), Event::create("y")]);
            store.submit(Submission { request_id, ..sent }).wait().expect("it commits");
            ids.push(request_id);
        }
        let other = Connection::open(&path).expect("a database");
        let effects = |place: usize, count: usize| {
            let sql = "UPDATE requests SET effects = ?2 WHERE id = ?1";
            let id = ids[place].to_bytes();
            other.execute(sql, (id.as_slice(), "n ".repeat(count))).expect("it is there");
        };
        effects(4, 60_000);
        effects(3, 40_000);
        effects(2, 100_000);
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let query = RequestQuery { limit: 5, before, ..RequestQuery::default() };
            let page = store.requests(query).wait().expect("it reads");
            let place = |id: Ulid| ids.iter().position(|one| *one == id);
            let places = page.requests.iter().filter_map(|record| place(record.id));
            pages.push(places.collect::<Vec<_>>());
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(pages, [vec![5, 4, 3], vec![2], vec![1, 0]]);
    }

    /// Returns the steps of a query's plan, each as SQLite describes it.
    fn plan(database: &Connection, sql: &str) -> Vec<String> {
        let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("SQL");
        let values = vec![None::<i64>; plan.parameter_count()];
        let values = rusqlite::params_from_iter(values);
        let steps = plan.query_map(values, |row| row.get::<_, String>(3)).expect("a plan");
        steps.collect::<Result<_, _>>().expect("steps")
    }

    #[test]
    fn records_are_read_in_the_order_of_their_indexes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
        let database = Connection::open(&path).expect("a database");
        let all = || RequestQuery { limit: 9, ..RequestQuery::default() };
        let of = |outcome| RequestQuery { outcome: Some(outcome), ..all() };
        let until = Some(jiff::Timestamp::UNIX_EPOCH);
        let (rows, folded) = (["SCAN r", "SEARCH r USING PRIMARY KEY"], "INDEX recorded");
        for (query, reads) in [
            (all(), &[rows[0], folded][..]),
            (
                RequestQuery { before: Some(Ulid::nil()), ..all() },
                &[rows[1], "recorded (request<?"],
            ),
            (RequestQuery { until, since: until, ..all() }, &[rows[1], "recorded (request>? AND"]),
            (of(RequestOutcome::Events), &[rows[0], folded]),
            (of(RequestOutcome::Ignored), &["INDEX unusual (outcome=?)"]),
        ] {
            for integration in [None, Some(1)] {
                let (sql, _) = list(&query, integration);
                let steps = plan(&database, &sql);
                let has = |read: &str| steps.iter().any(|step| step.contains(read));
                assert!(reads.iter().all(|read| has(read)), "{query:?}: {steps:?}");
                assert_eq!(has("MERGE (UNION ALL)"), reads.len() == 2, "{query:?}: {steps:?}");
                assert!(!has("TEMP B-TREE"), "{query:?}: {steps:?}");
            }
        }
        let steps = plan(&database, &one());
        let has = |read: &str| steps.iter().any(|step| step.contains(read));
        assert!(has("r USING PRIMARY KEY (id=?)"), "{steps:?}");
        assert!(has("alerts USING INDEX recorded (request=?)"), "{steps:?}");
        let (sql, _) = list(&RequestQuery { quarantined: true, ..all() }, None);
        assert!(plan(&database, &sql)[0].contains("INDEX quarantine"), "they are few");
    }

    #[test]
    fn the_oldest_records_are_found_in_the_order_of_their_indexes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
        let database = Connection::open(&path).expect("a database");
        for sql in [OLDEST_RECORDS, FORGET_TRANSACTIONS] {
            let steps = plan(&database, sql);
            let has = |read: &str| steps.iter().any(|step| step.contains(read));
            assert!(has("MERGE (UNION ALL)") && has("INDEX recorded"), "{sql}: {steps:?}");
            assert!(!has("TEMP B-TREE"), "{sql}: {steps:?}");
        }
    }
}

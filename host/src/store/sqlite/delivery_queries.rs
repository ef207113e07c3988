//! The queries for deliveries, destinations, silences, timers and facts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use jiff::Timestamp;
use rusqlite::{OptionalExtension, ToSql, params_from_iter};
use tocsin_plugin_api::Urgency;
use ulid::Ulid;

use super::{
    delivery_rows::{self, DELIVERY, SILENCE, milliseconds},
    reader::Reader,
    rows::{self, Stored},
};
use crate::{
    alert::{AlertOutline, Status},
    delivery::{DeliveryStatus, DeliveryWithAttempts, DestinationState, Fact, Silence, Timer},
    store::deliveries::{DeliveryPage, DeliveryQuery},
    store::feed::Cursor,
};

/// The columns of outlines of alerts, without details.
const OUTLINES: &str = "SELECT number, integration, urgency, status, NULL FROM alerts \
     WHERE number BETWEEN ?1 AND ?2 ORDER BY number";

/// The columns of outlines of alerts.
const OUTLINES_WITH_DETAILS: &str = "SELECT number, integration, urgency, status, details \
     FROM alerts WHERE number BETWEEN ?1 AND ?2 ORDER BY number";

impl Reader {
    pub(super) fn router_cursor(&self) -> rusqlite::Result<Option<Cursor>> {
        let sql = "SELECT cursor FROM router";
        let cursor: Option<String> =
            self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
        Ok(cursor.and_then(|cursor| cursor.parse().ok()))
    }

    pub(super) fn due_timers(&self, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Timer>> {
        let sql = "SELECT t.id, t.due_at, t.alert, n.name, t.cause FROM timers t \
                   JOIN destinations n ON n.id = t.destination \
                   WHERE t.due_at <= ?1 ORDER BY t.due_at, t.id LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map([milliseconds(now), limit], delivery_rows::timer)?.collect()
    }

    pub(super) fn next_timer(&self) -> rusqlite::Result<Option<Timestamp>> {
        let sql = "SELECT due_at FROM timers ORDER BY due_at LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row([], |row| rows::time(row, 0)).optional()
    }

    pub(super) fn destinations(&self) -> rusqlite::Result<Vec<DestinationState>> {
        let snapshot = self.connection.unchecked_transaction()?;
        let sql = "SELECT id, name, parked_at, parked_reason, parked_settings, paused_until \
                   FROM destinations WHERE used = 1 OR parked_at IS NOT NULL \
                   OR paused_until IS NOT NULL";
        let mut statement = snapshot.prepare_cached(sql)?;
        let state = |row: &rusqlite::Row<'_>| {
            let state = DestinationState {
                name: row.get(1)?,
                parked: delivery_rows::parked(row, 2)?,
                paused_until: rows::optional_time(row, 5)?,
                ..DestinationState::default()
            };
            Ok((row.get::<_, i64>(0)?, state))
        };
        let mut states: BTreeMap<_, _> =
            statement.query_map([], state)?.collect::<Result<_, _>>()?;
        let sql = "SELECT destination, since FROM deliveries INDEXED BY deliveries_active WHERE state < 3";
        let mut waiting = snapshot.prepare_cached(sql)?;
        let mut waiting = waiting.query([])?;
        while let Some(row) = waiting.next()? {
            let Some(state) = states.get_mut(&row.get::<_, i64>(0)?) else { continue };
            let since = rows::time(row, 1)?;
            state.waiting += 1;
            state.oldest_waiting =
                Some(state.oldest_waiting.map_or(since, |oldest| oldest.min(since)));
        }
        let sql = "SELECT destination, count(*) FROM deliveries INDEXED BY deliveries_dead \
                   WHERE state = 4 AND told_by IS NULL GROUP BY destination";
        let mut dead = snapshot.prepare_cached(sql)?;
        let mut dead = dead.query([])?;
        while let Some(row) = dead.next()? {
            if let Some(state) = states.get_mut(&row.get::<_, i64>(0)?) {
                state.dead = row.get::<_, i64>(1)?.cast_unsigned();
            }
        }
        let mut states: Vec<_> = states.into_values().collect();
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    pub(super) fn deliveries(&self, query: &DeliveryQuery) -> rusqlite::Result<DeliveryPage> {
        let snapshot = self.connection.unchecked_transaction()?;
        let destination = match &query.destination {
            Some(name) => match delivery_rows::destination(&snapshot, name)? {
                Some(destination) => Some(destination),
                None => return Ok(DeliveryPage::default()),
            },
            None => None,
        };
        // Rows of digests have this number.
        if query.alert == Some(0) {
            return Ok(DeliveryPage::default());
        }
        let (sql, values) = list(query, destination);
        let mut statement = snapshot.prepare_cached(&sql)?;
        let mut deliveries = statement
            .query_map(params_from_iter(values), delivery_rows::delivery)?
            .collect::<Result<Vec<_>, _>>()?;
        let has_more = deliveries.len() > query.limit;
        deliveries.truncate(query.limit);
        let next = deliveries.last().map(|delivery| delivery.id).filter(|_| has_more);
        Ok(DeliveryPage { deliveries, next })
    }

    pub(super) fn delivery(&self, id: Ulid) -> rusqlite::Result<Option<DeliveryWithAttempts>> {
        let snapshot = self.connection.unchecked_transaction()?;
        let id = id.to_bytes();
        let delivery = snapshot
            .prepare_cached(&delivery_rows::delivery_sql("d.id = ?1"))?
            .query_row([id.as_slice()], delivery_rows::delivery)
            .optional()?;
        let Some(delivery) = delivery else { return Ok(None) };
        let sql = "SELECT number, at, took_ms, result, reason, requests FROM attempts \
                   WHERE delivery = ?1 ORDER BY number";
        let attempt_log = snapshot
            .prepare_cached(sql)?
            .query_map([id.as_slice()], delivery_rows::attempt)?
            .collect::<Result<_, _>>()?;
        Ok(Some(DeliveryWithAttempts { delivery, attempt_log }))
    }

    pub(super) fn silences(&self, active_at: Option<Timestamp>) -> rusqlite::Result<Vec<Silence>> {
        let sql = format!("SELECT {SILENCE} FROM silences WHERE ends_at > ?1 ORDER BY id DESC");
        let after = active_at.map_or(i64::MIN, milliseconds);
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_map([after], delivery_rows::silence)?.collect()
    }

    pub(super) fn facts(&self, alert: u64) -> rusqlite::Result<Vec<Fact>> {
        let sql = "SELECT f.at, f.kind, n.name, f.reason FROM (SELECT * FROM facts \
                   WHERE alert = ?1 ORDER BY id DESC LIMIT 1000) f \
                   JOIN destinations n ON n.id = f.destination ORDER BY f.id";
        let alert = i64::try_from(alert).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map([alert], delivery_rows::fact)?.collect()
    }

    pub(super) fn outlines(
        &self,
        numbers: &BTreeSet<u64>,
        with_details: bool,
    ) -> rusqlite::Result<Vec<AlertOutline>> {
        let snapshot = self.connection.unchecked_transaction()?;
        let sql = if with_details { OUTLINES_WITH_DETAILS } else { OUTLINES };
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut integrations = HashMap::new();
        let mut outlines = Vec::with_capacity(numbers.len());
        let known = numbers.iter().copied().filter_map(|number| i64::try_from(number).ok());
        for (first, last) in delivery_rows::runs(known) {
            let mut rows = statement.query([first, last])?;
            while let Some(row) = rows.next()? {
                let integration = match integrations.entry(row.get::<_, i64>(1)?) {
                    Entry::Occupied(known) => Arc::clone(known.get()),
                    Entry::Vacant(unknown) => {
                        let name = delivery_rows::integration_name(&snapshot, *unknown.key())?;
                        Arc::clone(unknown.insert(name.into()))
                    }
                };
                outlines.push(AlertOutline {
                    number: row.get::<_, i64>(0)?.cast_unsigned(),
                    integration,
                    urgency: row.get::<_, Stored<Urgency>>(2)?.0,
                    status: row.get::<_, Stored<Status>>(3)?.0,
                    details: rows::details(row, 4)?,
                });
            }
        }
        Ok(outlines)
    }
}

/// Returns the query for a page of [deliveries](delivery_rows::delivery), and one row more, with its values.
pub(super) fn list(
    query: &DeliveryQuery,
    destination: Option<i64>,
) -> (String, Vec<Box<dyn ToSql>>) {
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut conditions = Vec::new();
    let mut value = |value: Box<dyn ToSql>| {
        values.push(value);
        values.len()
    };
    // Deliveries are read in the order of their ids. A query repeats the condition of the partial index that
    // it names, and `+` keeps SQLite from choosing an index on a column.
    let mut index = "";
    match query.status {
        Some(DeliveryStatus::Waiting) => {
            index = "INDEXED BY deliveries_unfinished";
            conditions.push("d.state <> 3 AND d.state <> 4".to_owned());
        }
        Some(DeliveryStatus::Dead) => {
            index = "INDEXED BY deliveries_unfinished";
            conditions.push("d.state <> 3 AND d.state = 4".to_owned());
        }
        Some(DeliveryStatus::Delivered) => conditions.push("+d.state = 3".to_owned()),
        None => {}
    }
    if let Some(destination) = destination {
        conditions.push(format!("+d.destination = ?{}", value(Box::new(destination))));
    }
    if let Some(alert) = query.alert {
        index = "";
        let place = value(Box::new(i64::try_from(alert).unwrap_or(i64::MAX)));
        conditions.push(format!(
            "d.seq IN (SELECT seq FROM deliveries WHERE alert = ?{place} \
                 UNION ALL SELECT (SELECT CASE WHEN last >= ?{place} THEN digest END \
                 FROM digest_alerts a WHERE a.destination = n.id AND a.first <= ?{place} \
                 ORDER BY a.first DESC LIMIT 1) FROM destinations n)"
        ));
    }
    if let Some(before) = query.before {
        conditions.push(format!("d.id < ?{}", value(Box::new(before.to_bytes().to_vec()))));
    }
    if conditions.is_empty() {
        conditions.push("1".to_owned());
    }
    // An extra row tells whether there is a next page.
    let limit = query.limit.saturating_add(1);
    let conditions = conditions.join(" AND ");
    let [columns, tables] = DELIVERY;
    let sql =
        format!("{columns} {index} {tables} WHERE {conditions} ORDER BY d.id DESC LIMIT {limit}");
    (sql, values)
}

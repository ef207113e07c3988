//! The queries for deliveries, destinations, silences, timers and facts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use jiff::Timestamp;
use ulid::Ulid;

use super::{
    delivery_rows::{self, DELIVERY, SILENCE},
    error::SqlResult,
    row::Row,
    rows,
    snapshot::Snapshot,
    value::{Value, values},
};
use crate::{
    alert::AlertOutline,
    delivery::{DeliveryStatus, DeliveryWithAttempts, DestinationState, Fact, Silence, Timer},
    store::{
        deliveries::{DeliveryPage, DeliveryQuery},
        feed::Cursor,
    },
};

/// The columns of outlines of alerts, without details.
const OUTLINES: &str = "SELECT number, integration, urgency, status, NULL FROM alerts \
     WHERE number BETWEEN ?1 AND ?2 ORDER BY number";

/// The columns of outlines of alerts.
const OUTLINES_WITH_DETAILS: &str = "SELECT number, integration, urgency, status, details \
     FROM alerts WHERE number BETWEEN ?1 AND ?2 ORDER BY number";

impl Snapshot<'_> {
    pub(in crate::store) fn router_cursor(&self) -> SqlResult<Option<Cursor>> {
        let sql = "SELECT cursor FROM router";
        let cursor: Option<String> = self.database.first(sql, values![], |row| row.get(0))?;
        Ok(cursor.and_then(|cursor| cursor.parse().ok()))
    }

    pub(in crate::store) fn due_timers(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> SqlResult<Vec<Timer>> {
        let sql = "SELECT t.id, t.due_at, t.alert, n.name, t.cause FROM timers t \
                   JOIN destinations n ON n.id = t.destination \
                   WHERE t.due_at <= ?1 ORDER BY t.due_at, t.id LIMIT ?2";
        self.database.all(sql, values![now, limit], delivery_rows::timer)
    }

    pub(in crate::store) fn next_timer(&self) -> SqlResult<Option<Timestamp>> {
        let sql = "SELECT due_at FROM timers ORDER BY due_at LIMIT 1";
        self.database.first(sql, values![], |row| row.get(0))
    }

    pub(in crate::store) fn destinations(&self) -> SqlResult<Vec<DestinationState>> {
        let sql = "SELECT id, name, parked_at, parked_reason, parked_settings, paused_until \
                   FROM destinations WHERE used = 1 OR parked_at IS NOT NULL \
                   OR paused_until IS NOT NULL";
        let state = |row: &Row<'_>| {
            let state = DestinationState {
                name: row.get(1)?,
                parked: delivery_rows::parked(row, 2)?,
                paused_until: row.get(5)?,
                ..DestinationState::default()
            };
            Ok((row.get::<i64>(0)?, state))
        };
        let mut states: BTreeMap<_, _> =
            self.database.all(sql, values![], state)?.into_iter().collect();
        let sql = "SELECT destination, since FROM deliveries INDEXED BY deliveries_active WHERE state < 3";
        self.database.for_each(sql, values![], &mut |row| {
            let Some(state) = states.get_mut(&row.get::<i64>(0)?) else { return Ok(()) };
            let since = row.get(1)?;
            state.waiting += 1;
            state.oldest_waiting =
                Some(state.oldest_waiting.map_or(since, |oldest| oldest.min(since)));
            Ok(())
        })?;
        let sql = "SELECT destination, count(*) FROM deliveries INDEXED BY deliveries_dead \
                   WHERE state = 4 AND told_by IS NULL GROUP BY destination";
        self.database.for_each(sql, values![], &mut |row| {
            if let Some(state) = states.get_mut(&row.get::<i64>(0)?) {
                state.dead = row.get(1)?;
            }
            Ok(())
        })?;
        let mut states: Vec<_> = states.into_values().collect();
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    pub(in crate::store) fn deliveries(&self, query: &DeliveryQuery) -> SqlResult<DeliveryPage> {
        let destination = match &query.destination {
            Some(name) => match delivery_rows::destination(self.database, name)? {
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
        let mut deliveries = self.database.all(&sql, &values, delivery_rows::delivery)?;
        let has_more = deliveries.len() > query.limit;
        deliveries.truncate(query.limit);
        let next = deliveries.last().map(|delivery| delivery.id).filter(|_| has_more);
        Ok(DeliveryPage { deliveries, next })
    }

    pub(in crate::store) fn delivery(&self, id: Ulid) -> SqlResult<Option<DeliveryWithAttempts>> {
        let sql = delivery_rows::delivery_sql("d.id = ?1");
        let delivery = self.database.first(&sql, values![id], delivery_rows::delivery)?;
        let Some(delivery) = delivery else { return Ok(None) };
        let sql = "SELECT number, at, took_ms, result, reason, requests FROM attempts \
                   WHERE delivery = ?1 ORDER BY number";
        let attempt_log = self.database.all(sql, values![id], delivery_rows::attempt)?;
        Ok(Some(DeliveryWithAttempts { delivery, attempt_log }))
    }

    pub(in crate::store) fn silences(
        &self,
        active_at: Option<Timestamp>,
    ) -> SqlResult<Vec<Silence>> {
        let sql = format!("SELECT {SILENCE} FROM silences WHERE ends_at > ?1 ORDER BY id DESC");
        let after = active_at.map_or(i64::MIN, Timestamp::as_millisecond);
        self.database.all(&sql, values![after], delivery_rows::silence)
    }

    pub(in crate::store) fn facts(&self, alert: u64) -> SqlResult<Vec<Fact>> {
        let sql = "SELECT f.at, f.kind, n.name, f.reason FROM (SELECT * FROM facts \
                   WHERE alert = ?1 ORDER BY id DESC LIMIT 1000) f \
                   JOIN destinations n ON n.id = f.destination ORDER BY f.id";
        self.database.all(sql, values![alert], delivery_rows::fact)
    }

    pub(in crate::store) fn outlines(
        &self,
        numbers: &BTreeSet<u64>,
        with_details: bool,
    ) -> SqlResult<Vec<AlertOutline>> {
        let sql = if with_details { OUTLINES_WITH_DETAILS } else { OUTLINES };
        let mut integrations = HashMap::new();
        let mut outlines = Vec::with_capacity(numbers.len());
        let known = numbers.iter().copied().filter_map(|number| i64::try_from(number).ok());
        for (first, last) in delivery_rows::runs(known) {
            self.database.for_each(sql, values![first, last], &mut |row| {
                let integration = match integrations.entry(row.get::<i64>(1)?) {
                    Entry::Occupied(known) => Arc::clone(known.get()),
                    Entry::Vacant(unknown) => {
                        let name = delivery_rows::integration_name(self.database, *unknown.key())?;
                        Arc::clone(unknown.insert(name.into()))
                    }
                };
                outlines.push(AlertOutline {
                    number: row.get(0)?,
                    integration,
                    urgency: row.get(2)?,
                    status: row.get(3)?,
                    details: rows::details(row, 4)?,
                });
                Ok(())
            })?;
        }
        Ok(outlines)
    }
}

/// Returns the query for a page of [deliveries](delivery_rows::delivery), and one row more, with its values.
pub(in crate::store) fn list(
    query: &DeliveryQuery,
    destination: Option<i64>,
) -> (String, Vec<Value<'static>>) {
    let mut values = Vec::new();
    let mut conditions = Vec::new();
    let mut value = |value: Value<'static>| {
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
        conditions.push(format!("+d.destination = ?{}", value(destination.into())));
    }
    if let Some(alert) = query.alert {
        index = "";
        let place = value(alert.into());
        conditions.push(format!(
            "d.seq IN (SELECT seq FROM deliveries WHERE alert = ?{place} \
                 UNION ALL SELECT (SELECT CASE WHEN last >= ?{place} THEN digest END \
                 FROM digest_alerts a WHERE a.destination = n.id AND a.first <= ?{place} \
                 ORDER BY a.first DESC LIMIT 1) FROM destinations n)"
        ));
    }
    if let Some(before) = query.before {
        conditions.push(format!("d.id < ?{}", value(before.into())));
    }
    if conditions.is_empty() {
        conditions.push("true".to_owned());
    }
    // An extra row tells whether there is a next page.
    let limit = query.limit.saturating_add(1);
    let conditions = conditions.join(" AND ");
    let [columns, tables] = DELIVERY;
    let sql =
        format!("{columns} {index} {tables} WHERE {conditions} ORDER BY d.id DESC LIMIT {limit}");
    (sql, values)
}

//! Queries that are written for PostgreSQL alone: lists of alerts, and numbers about the whole store.

use std::collections::BTreeMap;

use tocsin_plugin_api::Urgency;

use crate::{
    alert::Status,
    request::Quarantined,
    store::{
        AlertPage, AlertQuery,
        sql::{ALERT, Snapshot, SqlError, Value, alert, containing, values},
    },
};

/// Parameters of a query, each with its place.
#[derive(Default)]
struct Parameters(Vec<Value<'static>>);

impl Parameters {
    /// Adds a [`Value`], and returns the text that stands for it.
    fn add(&mut self, value: impl Into<Value<'static>>) -> String {
        self.0.push(value.into());
        format!("CAST(?{} AS BIGINT)", self.0.len())
    }
}

/// Returns a page of alerts, newest first.
///
/// A list with a filter reads each combination of integration, urgency and status in the order of the index
/// `alerts_listing`, and no further than the page.
pub(super) fn alerts(snapshot: &Snapshot<'_>, query: &AlertQuery) -> Result<AlertPage, SqlError> {
    let database = snapshot.database;
    let mut parameters = Parameters::default();
    let integration = match &query.integration {
        None => None,
        Some(name) => match snapshot.integration(name)? {
            None => return Ok(AlertPage::default()),
            known => known,
        },
    };
    let mut conditions = Vec::new();
    if let Some(before) = query.before {
        conditions.push(format!("number < {}", parameters.add(before)));
    }
    if let Some(since) = query.since {
        conditions.push(format!("created_at >= {}", parameters.add(since)));
    }
    if let Some(text) = &query.search {
        parameters.0.push(containing(text).into());
        let place = parameters.0.len();
        let columns = ["title", "description", "dedup_key", "details"];
        conditions.push(format!("({})", columns.map(|it| database.like(it, place)).join(" OR ")));
    }
    // An extra row tells whether there is a next page.
    let end = format!("ORDER BY number DESC LIMIT {}", parameters.add(query.limit + 1));
    let is_filtered = integration.is_some() || query.urgency.is_some() || query.status.is_some();
    let numbers = if is_filtered {
        let values = |all: usize, one: Option<String>| {
            one.unwrap_or_else(|| {
                (0..all).map(|place| place.to_string()).collect::<Vec<_>>().join("), (")
            })
        };
        let urgencies = values(Urgency::ALL.len(), query.urgency.map(|it| parameters.add(it)));
        let statuses = values(Status::ALL.len(), query.status.map(|it| parameters.add(it)));
        let integrations = match integration {
            Some(integration) => format!("VALUES ({})", parameters.add(integration)),
            None => "SELECT id FROM integrations".to_owned(),
        };
        conditions.insert(0, "integration = i.id AND urgency = u.id AND status = s.id".into());
        format!(
            "SELECT a.number FROM ({integrations}) i (id) \
             CROSS JOIN (VALUES ({urgencies})) u (id) CROSS JOIN (VALUES ({statuses})) s (id) \
             CROSS JOIN LATERAL (SELECT number FROM alerts WHERE {} {end}) a {end}",
            conditions.join(" AND ")
        )
    } else {
        conditions.push("true".into());
        format!("SELECT number FROM alerts WHERE {} {end}", conditions.join(" AND "))
    };
    let sql = format!("{ALERT} WHERE a.number IN ({numbers}) ORDER BY a.number DESC");
    let mut alerts = database.all(&sql, &parameters.0, |row| alert(row, snapshot.ids))?;
    let has_more = alerts.len() > query.limit;
    alerts.truncate(query.limit);
    let next = alerts.last().map(|alert| alert.number).filter(|_| has_more);
    Ok(AlertPage { alerts, next })
}

/// Returns, for each integration, the requests that wait for a replay. Integrations whose requests have waited are
/// there, too, each with the number of requests that this host has deleted because of others.
pub(super) fn quarantine(
    snapshot: &Snapshot<'_>,
    pushed_out: &BTreeMap<i64, u64>,
) -> Result<Vec<Quarantined>, SqlError> {
    let sql = "SELECT i.name, i.id, count(k.size), CAST(coalesce(sum(k.size), 0) AS BIGINT) \
               FROM integrations i LEFT JOIN kept_requests k ON k.integration = i.id AND k.quarantined = 1 \
               GROUP BY i.name, i.id ORDER BY i.name";
    let mut all = snapshot.database.all(sql, values![], |row| {
        let pushed_out = pushed_out.get(&row.get(1)?).copied();
        let (integration, count, bytes) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let waiting =
            Quarantined { integration, count, bytes, pushed_out: pushed_out.unwrap_or(0) };
        Ok((waiting, pushed_out.is_some()))
    })?;
    all.retain(|(waiting, is_known)| waiting.count > 0 || *is_known);
    Ok(all.into_iter().map(|(waiting, _)| waiting).collect())
}

/// Returns the size of all tables and indexes, in bytes.
pub(super) fn size_bytes(snapshot: &Snapshot<'_>) -> Result<u64, SqlError> {
    let sql = "SELECT CAST(coalesce(sum(pg_total_relation_size(c.oid)), 0) AS BIGINT) FROM pg_class c \
               WHERE c.relnamespace = to_regnamespace('tocsin') AND c.relkind = 'r'";
    snapshot.database.one(sql, values![], |row| row.get(0))
}

//! Queries for alerts.

use super::{error::SqlResult, pattern, rows, snapshot::Snapshot, value::Value};
use crate::{
    alert::{AlertRef, AlertWithHistory},
    store::{AlertPage, AlertQuery},
};

impl Snapshot<'_> {
    /// Returns one alert with its history.
    pub(in crate::store) fn alert(&self, alert: AlertRef) -> SqlResult<Option<AlertWithHistory>> {
        rows::resolve(self.database, self.ids, alert)?
            .map(|number| rows::with_history(self.database, self.ids, number))
            .transpose()
    }

    /// Returns a page of alerts, newest first.
    pub(in crate::store) fn alerts(&self, query: &AlertQuery) -> SqlResult<AlertPage> {
        // Filters in the index that holds all of these columns, in the order in which alerts are shown.
        let mut sql = "SELECT number FROM alerts INDEXED BY listing WHERE true".to_owned();
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut condition = |column: &str, value: Value<'static>| {
            values.push(value);
            sql.push_str(&format!(" AND {column} ?{}", values.len()));
        };
        if let Some(status) = query.status {
            condition("status =", status.into());
        }
        if let Some(urgency) = query.urgency {
            condition("urgency =", urgency.into());
        }
        if let Some(name) = &query.integration {
            let Some(integration) = self.integration(name)? else {
                return Ok(AlertPage::default());
            };
            condition("integration =", integration.into());
        }
        if let Some(since) = query.since {
            condition("created_at >=", since.into());
        }
        if let Some(before) = query.before {
            condition("number <", before.into());
        }
        if let Some(text) = &query.search {
            values.push(pattern::containing(text).into());
            let columns = ["title", "description", "dedup_key", "details"]
                .map(|column| self.database.like(column, values.len()));
            sql.push_str(&format!(" AND ({})", columns.join(" OR ")));
        }
        // An extra row tells whether there is a next page.
        let limit = query.limit + 1;
        let sql = format!(
            "{} WHERE a.number IN ({sql} ORDER BY number DESC LIMIT {limit}) ORDER BY a.number DESC",
            rows::ALERT
        );
        let mut alerts = self.database.all(&sql, &values, |row| rows::alert(row, self.ids))?;
        let has_more = alerts.len() > query.limit;
        alerts.truncate(query.limit);
        let next = alerts.last().map(|alert| alert.number).filter(|_| has_more);
        Ok(AlertPage { alerts, next })
    }
}

//! Reads the rows that all keys of a batch lead to, in one round trip.

use std::borrow::Cow;

use jiff::Timestamp;
use tokio_postgres::Client;

use super::{
    batch::{AlertRow, Batch, Key, KeysOfBatch, Problem},
    statements::{Params, Statements},
};
use crate::{
    alert::{
        Status,
        life::{AlertState, LastEntry},
    },
    store::sql::{Row, SqlError, history_entry},
};

/// The last entry of the history of the alert `k.alert`.
macro_rules! last_entry {
    () => {
        "LEFT JOIN LATERAL (SELECT at, change, by, request, count, last_at, data, seq FROM tocsin.changes \
         WHERE alert = a.number ORDER BY seq DESC LIMIT 1) c ON true"
    };
}

/// Events that were seen, with the alerts that they concerned. The sub-queries with `LIMIT` let PostgreSQL use
/// the unique index whatever it believes of the size of a table.
const SEEN: &str = concat!(
    "SELECT c.at, c.change, c.by, c.request, c.count, c.last_at, c.data, c.seq, \
     k.place, s.alert, a.number \
     FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (integration, event_id, place) \
     CROSS JOIN LATERAL (SELECT alert FROM tocsin.seen_events \
     WHERE integration = k.integration AND event_id = k.event_id LIMIT 1) s \
     LEFT JOIN LATERAL (SELECT number FROM tocsin.alerts WHERE number = s.alert LIMIT 1) a ON true ",
    last_entry!()
);

/// The last alerts of dedup keys.
const PROBLEMS: &str = concat!(
    "SELECT c.at, c.change, c.by, c.request, c.count, c.last_at, c.data, c.seq, \
     k.place, p.alert, a.number, a.version, a.status, a.updated_at, a.occurrences, \
     a.last_occurred_at, a.due_at, a.title, a.description, a.urgency, a.link, a.details \
     FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (integration, dedup_key, place) \
     CROSS JOIN LATERAL (SELECT alert FROM tocsin.problems \
     WHERE integration = k.integration AND dedup_key = k.dedup_key LIMIT 1) p \
     LEFT JOIN LATERAL (SELECT number, xmin::text::bigint AS version, status, updated_at, occurrences, \
     coalesce(last_occurred_at, created_at) AS last_occurred_at, due_at, title, description, urgency, \
     link, details FROM tocsin.alerts WHERE number = p.alert LIMIT 1) a ON true ",
    last_entry!()
);

/// Numbers for new alerts.
const NUMBERS: &str = "SELECT nextval('tocsin.alert_numbers') FROM generate_series(1, $1::bigint)";

/// Reads the rows that keys lead to, and draws numbers for new alerts.
pub(super) async fn look_up<'s>(
    client: &Client,
    statements: &Statements,
    keys: &KeysOfBatch<'s>,
    numbers: usize,
) -> Result<(Batch<'s>, Vec<i64>), SqlError> {
    let rows = async |sql: &'static str, keys: &[(i64, &str)]| {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (integrations, texts): (Vec<i64>, Vec<&str>) = keys.iter().copied().unzip();
        statements.query(client, sql, &[&integrations, &texts]).await
    };
    let draw = async {
        if numbers == 0 {
            return Ok(Vec::new());
        }
        let count = i64::try_from(numbers).unwrap_or(i64::MAX);
        let params: Params<'_> = &[&count];
        statements.query(client, NUMBERS, params).await
    };
    let (seen, problems, numbers) =
        tokio::try_join!(rows(SEEN, &keys.event_ids), rows(PROBLEMS, &keys.dedup_keys), draw)?;
    let mut batch = Batch::default();
    for row in &seen {
        let row = Row::Postgres(row);
        let alert: Option<i64> = row.get(9)?;
        if let Some(number) = row.get::<Option<i64>>(10)? {
            batch.last_entries.insert(number, last_entry(&row)?);
        }
        batch.seen.insert(key(&keys.event_ids, &row)?, alert);
    }
    for row in &problems {
        let row = Row::Postgres(row);
        let alert = row.get(9)?;
        if let Some(number) = row.get::<Option<i64>>(10)? {
            batch.last_entries.insert(number, last_entry(&row)?);
            batch.alerts.insert(number, alert_row(&row, number)?);
        }
        batch
            .problems
            .insert(key(&keys.dedup_keys, &row)?, Problem { was: Some(alert), now: alert });
    }
    let numbers = numbers.iter().map(|row| Row::Postgres(row).get(0)).collect::<Result<_, _>>()?;
    Ok((batch, numbers))
}

/// Returns the key that led to a [`Row`].
fn key<'s>(keys: &[(i64, &'s str)], row: &Row<'_>) -> Result<Key<'s>, SqlError> {
    let place: i64 = row.get(8)?;
    let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
    let missing = SqlError::Column { column: 8, expected: "the place of a key" };
    keys.get(place).map(|(integration, key)| (*integration, Cow::Borrowed(*key))).ok_or(missing)
}

fn last_entry(row: &Row<'_>) -> Result<Option<LastEntry>, SqlError> {
    let Some(place) = row.get::<Option<u64>>(7)? else { return Ok(None) };
    Ok(Some(LastEntry { place, entry: history_entry(row)? }))
}

fn alert_row<'s>(row: &Row<'_>, number: i64) -> Result<AlertRow<'s>, SqlError> {
    let text = |column| Ok::<_, SqlError>(row.get::<Option<String>>(column)?.unwrap_or_default());
    let title = row.get::<String>(17)?;
    let description = match row.text_or_null(18)? {
        Some("") => title.clone(),
        description => description.unwrap_or_default().to_owned(),
    };
    Ok(AlertRow {
        version: Some(row.get(11)?),
        state: AlertState {
            number: number.cast_unsigned(),
            status: row.get::<Status>(12)?,
            updated_at: row.get::<Timestamp>(13)?,
        },
        occurrences: row.get(14)?,
        last_occurred_at: row.get(15)?,
        due_at: row.get(16)?,
        title: title.into(),
        description: description.into(),
        urgency: row.get(19)?,
        link: text(20)?.into(),
        details: text(21)?.into(),
        is_changed: false,
    })
}

//! Writes what a [`Batch`] has decided, in an open transaction and one round trip.
//!
//! Each statement says how many rows it has to write. Another number means that another host was faster: the batch
//! is then decided again. Rows are written in the order of their keys, so that two batches rarely wait for each
//! other in a circle.

use tokio_postgres::{Client, types::ToSql};

use super::{
    batch::{AlertRow, Batch, Key, Part, Record, WrittenEntry},
    failure::Failure,
    statements::{Params, Statements},
};
use crate::{
    request::Effect,
    store::sql::{Octets, Value, entry_data, write_effects},
};

/// Writes the number of the open transaction: its row proves later that it was committed. The parameter, here and
/// below, is the difference between the numbers in the store and those of PostgreSQL.
const TRANSACTION: &str = "INSERT INTO tocsin.transactions (id) \
     VALUES (pg_current_xact_id()::text::bigint + $1::bigint) RETURNING id";

const SEE: &str = "INSERT INTO tocsin.seen_events SELECT * \
     FROM unnest($1::bigint[], $2::text[], $3::bigint[]) ON CONFLICT (integration, event_id) DO NOTHING";

const ADD_PROBLEMS: &str = "INSERT INTO tocsin.problems SELECT * \
     FROM unnest($1::bigint[], $2::text[], $3::bigint[]) ON CONFLICT (integration, dedup_key) DO NOTHING";

const MOVE_PROBLEMS: &str = "UPDATE tocsin.problems p SET alert = u.now \
     FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS u (integration, dedup_key, now, was) \
     WHERE p.integration = u.integration AND p.dedup_key = u.dedup_key AND p.alert = u.was";

const OPEN: &str = "INSERT INTO tocsin.alerts (transaction_id, number, integration, plugin, status, urgency, \
     occurrences, created_at, updated_at, request, title, description, dedup_key, link, details, \
     last_occurred_at, due_at, previous, hops, recorded, sender, size, plugin_us, event_id) \
     SELECT pg_current_xact_id()::text::bigint + $1::bigint, * FROM unnest($2::bigint[], $3::bigint[], \
     $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], \
     $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[], $17::bigint[], \
     $18::bigint[], $19::bigint[], $20::bigint[], $21::bytea[], $22::bigint[], $23::bigint[], $24::text[])";

/// Locks rows in the order of their numbers.
const LOCK: &str =
    "SELECT 1 FROM tocsin.alerts WHERE number = ANY($1::bigint[]) ORDER BY number FOR UPDATE";

const UPDATE: &str = "UPDATE tocsin.alerts a SET status = u.status, occurrences = u.occurrences, \
     updated_at = u.updated_at, last_occurred_at = u.last_occurred_at, due_at = u.due_at \
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
     $7::bigint[]) AS u (number, version, status, occurrences, updated_at, last_occurred_at, due_at) \
     WHERE a.number = u.number AND a.xmin::text::bigint = u.version";

const COUNT_HOPS: &str = "UPDATE tocsin.alerts a SET hops = u.hops \
     FROM unnest($1::bigint[], $2::bigint[]) AS u (number, hops) \
     WHERE a.number = u.number AND a.hops < u.hops";

const ADD_ENTRIES: &str = "INSERT INTO tocsin.changes (transaction_id, alert, seq, at, change, by, request, count, \
     last_at, data) SELECT pg_current_xact_id()::text::bigint + $1::bigint, * FROM unnest($2::bigint[], \
     $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bigint[], $9::bigint[], $10::text[]) \
     ON CONFLICT (alert, seq) DO NOTHING";

const REPLACE_ENTRIES: &str = "UPDATE tocsin.changes c SET count = u.count, request = u.request, \
     last_at = u.last_at, data = u.data, transaction_id = pg_current_xact_id()::text::bigint + $1::bigint \
     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bigint[], $8::text[]) \
     AS u (alert, seq, was, count, request, last_at, data) \
     WHERE c.alert = u.alert AND c.seq = u.seq AND c.count = u.was";

const REMOVE_BEGINNINGS: &str = "DELETE FROM tocsin.requests WHERE id = ANY($1::bytea[])";

const RECORD: &str = "INSERT INTO tocsin.requests (transaction_id, id, integration, plugin, received_at, outcome, \
     alert, reason, sender, size, plugin_us, effects) \
     SELECT pg_current_xact_id()::text::bigint + $1::bigint, * FROM unnest($2::bytea[], $3::bigint[], \
     $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::bytea[], $10::bigint[], \
     $11::bigint[], $12::text[])";

const KEEP_TIMES: &str = "UPDATE tocsin.transactions t SET us = u.us \
     FROM unnest($1::bigint[], $2::bigint[]) AS u (id, us) WHERE t.id = u.id";

/// Writes the decisions on the parts, and the times of earlier transactions. Returns the number of the
/// transaction.
pub(super) async fn flush(
    client: &Client,
    statements: &Statements,
    parts: &[Part<'_>],
    batch: &Batch<'_>,
    times: &[(i64, i64)],
    offset: i64,
) -> Result<i64, Failure> {
    let write = Write { client, statements, offset };
    // The first statement to be polled is the first to be sent.
    let (transaction, ..) = tokio::try_join!(
        write.number(),
        see(&write, batch),
        move_problems(&write, batch),
        open(&write, parts, batch),
        update(&write, batch),
        write_history(&write, batch),
        record(&write, parts, batch),
        keep_times(&write, times),
    )?;
    Ok(transaction)
}

/// Connection with an open transaction.
struct Write<'w> {
    client: &'w Client,
    statements: &'w Statements,
    offset: i64,
}

impl Write<'_> {
    async fn number(&self) -> Result<i64, Failure> {
        let rows = self.statements.query(self.client, TRANSACTION, &[&self.offset]).await?;
        rows.first().map(|row| row.get(0)).ok_or(Failure::CHANGED)
    }

    /// Writes rows, all of which have to be written.
    async fn all<const N: usize>(
        &self,
        sql: &'static str,
        rows: &Columns<'_, N>,
    ) -> Result<(), Failure> {
        if rows.len() == 0 {
            return Ok(());
        }
        self.exactly(sql, &rows.values(), rows.len()).await
    }

    /// Writes rows, all of which have to be written, with the number of the transaction.
    async fn all_in_transaction<const N: usize>(
        &self,
        sql: &'static str,
        rows: &Columns<'_, N>,
    ) -> Result<(), Failure> {
        if rows.len() == 0 {
            return Ok(());
        }
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&self.offset];
        values.extend(rows.values());
        self.exactly(sql, &values, rows.len()).await
    }

    /// Executes a statement that has to change a number of rows.
    async fn exactly(
        &self,
        sql: &'static str,
        values: Params<'_>,
        count: usize,
    ) -> Result<(), Failure> {
        let changed = self.statements.execute(self.client, sql, values).await?;
        if changed == count as u64 { Ok(()) } else { Err(Failure::CHANGED) }
    }

    /// Executes a statement that may change any number of rows.
    async fn any(&self, sql: &'static str, values: Params<'_>) -> Result<(), Failure> {
        Ok(self.statements.execute(self.client, sql, values).await.map(drop)?)
    }
}

/// Rows of a statement, by their columns.
struct Columns<'v, const N: usize>([Vec<Value<'v>>; N]);

impl<'v, const N: usize> Columns<'v, N> {
    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0.iter().map(|column| column as &(dyn ToSql + Sync)).collect()
    }

    fn len(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }
}

impl<'v, const N: usize> FromIterator<[Value<'v>; N]> for Columns<'v, N> {
    fn from_iter<I: IntoIterator<Item = [Value<'v>; N]>>(rows: I) -> Self {
        let mut columns = [const { Vec::new() }; N];
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        Self(columns)
    }
}

/// Makes a row of [`Columns`].
macro_rules! row {
    ($($value:expr),* $(,)?) => {
        [$(Value::from($value)),*]
    };
}

async fn see(write: &Write<'_>, batch: &Batch<'_>) -> Result<(), Failure> {
    let mut seen: Vec<&(Key<'_>, Option<i64>)> = batch.newly_seen.iter().collect();
    seen.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let rows = seen.iter().map(|((integration, id), alert)| row![*integration, &**id, *alert]);
    write.all(SEE, &rows.collect()).await
}

async fn move_problems(write: &Write<'_>, batch: &Batch<'_>) -> Result<(), Failure> {
    let changed = batch.problems.iter().filter(|(_, problem)| problem.was != Some(problem.now));
    let mut changed: Vec<_> = changed.collect();
    changed.sort_unstable_by_key(|(key, _)| *key);
    let (new, known): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(|(_, problem)| problem.was.is_none());
    let new =
        new.iter().map(|((integration, key), problem)| row![*integration, &**key, problem.now]);
    let known = known
        .iter()
        .map(|((integration, key), problem)| row![*integration, &**key, problem.now, problem.was]);
    let (new, known) = (new.collect(), known.collect());
    tokio::try_join!(write.all(ADD_PROBLEMS, &new), write.all(MOVE_PROBLEMS, &known))?;
    Ok(())
}

async fn open(write: &Write<'_>, parts: &[Part<'_>], batch: &Batch<'_>) -> Result<(), Failure> {
    let rows = batch.openings.iter().filter_map(|opening| {
        let alert = batch.alerts.get(&opening.number)?;
        let (part, event) = (&parts[opening.part], opening.event);
        let submission = part.submission;
        let Facts { sender, size, plugin_us } = facts(part);
        let created_at = part.cause.at;
        // Empty: the same as the title, which is stored once.
        let description = if alert.description == alert.title { "" } else { &alert.description };
        let hops = batch.hops.get(&opening.number).copied().unwrap_or(0).max(submission.hops);
        let (event_id, dedup_key) = (opening.event_id.as_deref(), opening.dedup_key.as_deref());
        // Empty: the same as the dedup key.
        let stored_id = if event_id == dedup_key { event_id.map(|_| "") } else { event_id };
        let is_later = alert.last_occurred_at != created_at;
        Some(row![
            opening.number,
            part.integration,
            part.plugin,
            alert.state.status,
            alert.urgency,
            alert.occurrences,
            created_at,
            alert.state.updated_at,
            submission.request_id,
            &*alert.title,
            event.description.as_ref().map(|_| description),
            dedup_key,
            event.link.as_ref().map(|_| &*alert.link),
            event.details.json(),
            is_later.then_some(alert.last_occurred_at),
            alert.due_at,
            opening.previous,
            hops,
            opening.is_folded,
            sender.filter(|_| opening.is_folded),
            size.filter(|_| opening.is_folded),
            plugin_us.filter(|_| opening.is_folded),
            stored_id,
        ])
    });
    write.all_in_transaction(OPEN, &rows.collect()).await
}

async fn update(write: &Write<'_>, batch: &Batch<'_>) -> Result<(), Failure> {
    let changed = batch.alerts.iter().filter(|(_, row)| row.is_changed && row.version.is_some());
    let mut changed: Vec<(&i64, &AlertRow<'_>)> = changed.collect();
    changed.sort_unstable_by_key(|(number, _)| **number);
    let numbers: Vec<i64> = changed.iter().map(|(number, _)| **number).collect();
    let rows = changed.iter().map(|(number, alert)| {
        row![
            **number,
            alert.version,
            alert.state.status,
            alert.occurrences,
            alert.state.updated_at,
            alert.last_occurred_at,
            alert.due_at,
        ]
    });
    let rows = rows.collect();
    let (alerts, hops): (Vec<i64>, Vec<i64>) =
        batch.hops.iter().map(|(alert, hops)| (*alert, i64::from(*hops))).unzip();
    let lock = async {
        // A single row needs no order.
        if numbers.len() > 1 { write.any(LOCK, &[&numbers]).await } else { Ok(()) }
    };
    let count_hops = async {
        if alerts.is_empty() { Ok(()) } else { write.any(COUNT_HOPS, &[&alerts, &hops]).await }
    };
    tokio::try_join!(lock, write.all(UPDATE, &rows), count_hops)?;
    Ok(())
}

async fn write_history(write: &Write<'_>, batch: &Batch<'_>) -> Result<(), Failure> {
    let request = |written: &WrittenEntry| Value::from(written.entry.request_id);
    let last_at = |written: &WrittenEntry| {
        let is_repeated = written.entry.count > 1;
        Value::from(is_repeated.then_some(written.entry.last_at))
    };
    let (added, replaced): (Vec<_>, Vec<_>) =
        batch.history.iter().partition(|(_, written)| written.replaces.is_none());
    let added = added.into_iter().map(|((alert, place), written)| {
        let entry = &written.entry;
        row![
            *alert,
            *place,
            entry.at,
            entry.change,
            &entry.by,
            request(written),
            entry.count,
            last_at(written),
            entry_data(entry),
        ]
    });
    let replaced = replaced.into_iter().map(|((alert, place), written)| {
        row![
            *alert,
            *place,
            written.replaces,
            written.entry.count,
            request(written),
            last_at(written),
            entry_data(&written.entry),
        ]
    });
    let (added, replaced) = (added.collect(), replaced.collect());
    tokio::try_join!(
        write.all_in_transaction(ADD_ENTRIES, &added),
        write.all_in_transaction(REPLACE_ENTRIES, &replaced),
    )?;
    Ok(())
}

async fn record(write: &Write<'_>, parts: &[Part<'_>], batch: &Batch<'_>) -> Result<(), Failure> {
    let records = || batch.records.iter().map(|record| (record, &parts[record.part]));
    let beginnings = records().filter(|(record, _)| record.replaces_beginning);
    let beginnings = beginnings.map(|(_, part)| row![part.submission.request_id]).collect();
    let rows = records().map(|(record, part)| {
        let Facts { sender, size, plugin_us } = facts(part);
        row![
            part.submission.request_id,
            part.integration,
            part.plugin,
            part.cause.at,
            record.outcome,
            record.effects.iter().find_map(|effect| effect.alert()),
            record.reason.as_deref(),
            sender,
            size,
            plugin_us,
            effects(record),
        ]
    });
    let rows = rows.collect();
    tokio::try_join!(
        write.all(REMOVE_BEGINNINGS, &beginnings),
        write.all_in_transaction(RECORD, &rows),
    )?;
    Ok(())
}

/// Returns the stored form of the [`Effect`]s of a request; none if they are one new alert, which the column `alert`
/// says already.
fn effects(record: &Record) -> Option<String> {
    match &record.effects[..] {
        [] | [Effect::Opened(_)] => None,
        effects => Some(write_effects(effects)),
    }
}

async fn keep_times(write: &Write<'_>, times: &[(i64, i64)]) -> Result<(), Failure> {
    if times.is_empty() {
        return Ok(());
    }
    let (ids, microseconds): (Vec<i64>, Vec<i64>) = times.iter().copied().unzip();
    write.any(KEEP_TIMES, &[&ids, &microseconds]).await
}

/// Columns of a [`Record`] that say how its request came.
struct Facts<'v> {
    sender: Option<Value<'v>>,
    size: Option<usize>,
    plugin_us: Option<i64>,
}

fn facts(part: &Part<'_>) -> Facts<'static> {
    let submission = part.submission;
    let microseconds =
        |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let octets = |address| Value::Bytes(Octets::from(address).to_vec().into());
    Facts {
        sender: submission.sender.map(octets),
        size: submission.size_bytes,
        plugin_us: submission.plugin_time.map(microseconds),
    }
}

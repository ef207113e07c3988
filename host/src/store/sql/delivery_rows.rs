//! Conversion of rows to [deliveries](Delivery) and back.

use std::{collections::BTreeMap, iter};

use tocsin_plugin_api::{Urgency, notification::Kind};
use ulid::Ulid;

use super::{
    database::Database,
    error::SqlResult,
    row::{Column, FromColumn, Row},
    value::{Value, values},
};
use crate::delivery::{
    Attempt, Delivery, DeliveryStatus, DigestCount, Fact, Parked, Silence, Timer,
};

/// Largest number of kinds in [`Delivery::skipped`]. Beyond it, the oldest stays and the next ones leave.
const MOST_SKIPPED: usize = 50;

/// State of a [`Delivery`] as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for its time.
    Ready,
    /// Waits until earlier news about the same alert has ended.
    Behind,
    /// An attempt runs.
    InFlight,
    Delivered,
    Dead,
    /// Part of a message that has not ended.
    Told,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Ready, Self::Behind, Self::InFlight, Self::Delivered, Self::Dead, Self::Told];

    /// Returns true if attempts are made or will be made of the [`Delivery`] itself.
    pub(super) fn is_active(self) -> bool {
        matches!(self, Self::Ready | Self::Behind | Self::InFlight)
    }

    fn status(self) -> DeliveryStatus {
        match self {
            Self::Ready | Self::Behind | Self::InFlight | Self::Told => DeliveryStatus::Waiting,
            Self::Delivered => DeliveryStatus::Delivered,
            Self::Dead => DeliveryStatus::Dead,
        }
    }
}

impl From<State> for Value<'_> {
    fn from(state: State) -> Self {
        Self::from(State::ALL.iter().position(|one| *one == state).unwrap_or(0))
    }
}

impl FromColumn for State {
    const NAME: &'static str = "the state of a delivery";

    fn from_column(column: Column<'_>) -> Option<Self> {
        Self::ALL.get(usize::try_from(i64::from_column(column)?).ok()?).copied()
    }
}

/// A row of `deliveries`.
#[derive(Clone, Debug)]
pub(super) struct DeliveryRow {
    pub(super) seq: i64,
    pub(super) id: Ulid,
    pub(super) destination: i64,
    /// 0 for a digest.
    pub(super) alert: i64,
    pub(super) kind: Kind,
    pub(super) place: Option<i64>,
    pub(super) changed_at: i64,
    /// Change of the oldest news that the message stands for.
    pub(super) since: i64,
    pub(super) created_at: i64,
    pub(super) state: State,
    pub(super) attempts: u32,
    pub(super) due_at: i64,
    pub(super) in_doubt: bool,
    pub(super) opens: bool,
    pub(super) urgency: Urgency,
    pub(super) integration: i64,
    pub(super) reason: Option<String>,
    pub(super) skipped: Skipped,
    pub(super) told_by: Option<i64>,
    pub(super) discarded_by: Option<String>,
    pub(super) finished_at: Option<i64>,
}

/// The columns that [`DeliveryRow::read`] reads, in its order.
pub(in crate::store) const DELIVERY_ROW: &str = "seq, id, destination, alert, kind, place, changed_at, since, \
     created_at, state, attempts, due_at, in_doubt, opens, urgency, integration, reason, skipped, \
     told_by, discarded_by, finished_at";

impl DeliveryRow {
    pub(super) fn read(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            destination: row.get(2)?,
            alert: row.get(3)?,
            kind: row.get(4)?,
            place: row.get(5)?,
            changed_at: row.get(6)?,
            since: row.get(7)?,
            created_at: row.get(8)?,
            state: row.get(9)?,
            attempts: row.get(10)?,
            due_at: row.get(11)?,
            in_doubt: row.get(12)?,
            opens: row.get(13)?,
            urgency: row.get(14)?,
            integration: row.get(15)?,
            reason: row.get(16)?,
            skipped: row.get(17)?,
            told_by: row.get(18)?,
            discarded_by: row.get(19)?,
            finished_at: row.get(20)?,
        })
    }

    pub(super) fn is_digest(&self) -> bool {
        self.alert == 0
    }

    /// Returns true if an [`Attempt`] of the delivery may have reached the destination, or may do so now.
    pub(super) fn may_be_told(&self) -> bool {
        self.in_doubt || self.state == State::InFlight
    }
}

/// Kinds of earlier news that a [`Delivery`] replaces, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped(pub(in crate::store) Vec<Kind>);

impl Skipped {
    /// Adds later news. The same kind several times in a row is one.
    pub(super) fn push(&mut self, kind: Kind) {
        if self.0.last() == Some(&kind) {
            return;
        }
        self.0.push(kind);
        if self.0.len() > MOST_SKIPPED {
            self.0.remove(1);
        }
    }
}

impl From<&Skipped> for Value<'_> {
    fn from(skipped: &Skipped) -> Self {
        if skipped.0.is_empty() {
            return Self::Null;
        }
        let names: Vec<_> = skipped.0.iter().map(|kind| kind.as_str()).collect();
        Self::from(names.join(" "))
    }
}

impl FromColumn for Skipped {
    const NAME: &'static str = "the names of kinds";

    fn from_column(column: Column<'_>) -> Option<Self> {
        let names = Option::<String>::from_column(column)?.unwrap_or_default();
        Some(Self(names.split_whitespace().filter_map(Kind::from_name).collect()))
    }
}

/// Numbers of a digest, as they are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: i64,
    pub(super) first: i64,
    pub(super) last: i64,
    /// Numbers of alerts in the order of [`Urgency::ALL`].
    pub(super) urgencies: [u64; Urgency::ALL.len()],
    pub(super) integrations: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts an alert.
    pub(super) fn add(&mut self, alert: i64, urgency: Urgency, integration: &str) {
        self.first = if self.count == 0 { alert } else { self.first.min(alert) };
        self.last = self.last.max(alert);
        self.count += 1;
        if let Some(place) = Urgency::ALL.iter().position(|one| *one == urgency) {
            self.urgencies[place] += 1;
        }
        match self.integrations.get_mut(integration) {
            Some(number) => *number += 1,
            None => drop(self.integrations.insert(integration.to_owned(), 1)),
        }
    }

    /// Adds the numbers of another digest.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.first = if self.count == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.count += other.count;
        for (number, more) in self.urgencies.iter_mut().zip(other.urgencies) {
            *number += more;
        }
        for (integration, more) in &other.integrations {
            *self.integrations.entry(integration.clone()).or_default() += more;
        }
    }

    /// Reads the columns `count, first, last, urgencies, integrations`, from the place of the first.
    pub(super) fn read(row: &Row<'_>, from: usize) -> SqlResult<Self> {
        Ok(Self {
            count: row.get(from)?,
            first: row.get(from + 1)?,
            last: row.get(from + 2)?,
            urgencies: row.json(from + 3)?,
            integrations: row.json(from + 4)?,
        })
    }

    fn count(self) -> DigestCount {
        let urgencies = Urgency::ALL.into_iter().zip(self.urgencies).rev();
        let mut integrations: Vec<_> = self.integrations.into_iter().collect();
        integrations.sort_by(|(one, few), (other, many)| many.cmp(few).then(one.cmp(other)));
        DigestCount {
            count: self.count.cast_unsigned(),
            urgencies: urgencies.filter(|(_, number)| *number > 0).collect(),
            integrations,
            first: self.first.cast_unsigned(),
            last: self.last.cast_unsigned(),
        }
    }
}

/// The columns that [`delivery`] reads, in its order, and the tables after `FROM deliveries d`.
pub(super) const DELIVERY: [&str; 2] = [
    "SELECT d.id, n.name, d.alert, d.kind, d.state, d.attempts, d.reason, d.in_doubt, d.skipped, \
     d.changed_at, d.created_at, d.due_at, d.finished_at, m.id, g.count, g.first, g.last, \
     g.urgencies, g.integrations FROM deliveries d",
    "JOIN destinations n ON n.id = d.destination LEFT JOIN deliveries m ON m.seq = d.told_by \
     LEFT JOIN digests g ON g.delivery = d.seq",
];

/// Returns the query for [deliveries](delivery) on which a condition holds.
pub(super) fn delivery_sql(condition: &str) -> String {
    format!("{} {} WHERE {condition}", DELIVERY[0], DELIVERY[1])
}

pub(super) fn delivery(row: &Row<'_>) -> SqlResult<Delivery> {
    let alert: i64 = row.get(2)?;
    let state: State = row.get(4)?;
    let tally = if row.is_null(14)? { None } else { Some(Tally::read(row, 14)?) };
    Ok(Delivery {
        id: row.get(0)?,
        destination: row.get(1)?,
        alert: (alert > 0).then_some(alert.cast_unsigned()),
        kind: row.get(3)?,
        status: state.status(),
        in_flight: state == State::InFlight,
        attempts: row.get(5)?,
        reason: row.get(6)?,
        in_doubt: row.get(7)?,
        skipped: row.get::<Skipped>(8)?.0,
        told_by: row.get(13)?,
        digest: tally.map(Tally::count),
        changed_at: row.get(9)?,
        created_at: row.get(10)?,
        next_attempt_at: if state.is_active() { Some(row.get(11)?) } else { None },
        finished_at: row.get(12)?,
    })
}

/// Reads an [`Attempt`] from the columns `number, at, took_ms, result, reason, requests`.
pub(super) fn attempt(row: &Row<'_>) -> SqlResult<Attempt> {
    Ok(Attempt {
        number: row.get(0)?,
        at: row.get(1)?,
        took_ms: row.get(2)?,
        result: row.get(3)?,
        reason: row.get(4)?,
        requests: row.json(5)?,
    })
}

/// Reads a [`Timer`] from the columns `id, due_at, alert, name, cause`.
pub(super) fn timer(row: &Row<'_>) -> SqlResult<Timer> {
    Ok(Timer {
        id: row.get(0)?,
        due_at: row.get(1)?,
        alert: row.get(2)?,
        destination: row.get(3)?,
        cause: row.json(4)?,
    })
}

/// Reads a [`Fact`] from the columns `at, kind, name, reason`.
pub(super) fn fact(row: &Row<'_>) -> SqlResult<Fact> {
    Ok(Fact { at: row.get(0)?, kind: row.get(1)?, destination: row.get(2)?, reason: row.json(3)? })
}

/// The columns that [`silence`] reads, in its order.
pub(super) const SILENCE: &str = "id, conditions, starts_at, ends_at, by, reason, ended_by";

pub(super) fn silence(row: &Row<'_>) -> SqlResult<Silence> {
    Ok(Silence {
        id: row.get(0)?,
        conditions: row.json(1)?,
        starts_at: row.get(2)?,
        ends_at: row.get(3)?,
        by: row.text(4)?.into(),
        reason: row.get(5)?,
        ended_by: row.text_or_null(6)?.map(Into::into),
    })
}

/// Reads a [`Parked`] from the columns `parked_at, parked_reason, parked_settings`, from the place of the
/// first.
pub(super) fn parked(row: &Row<'_>, from: usize) -> SqlResult<Option<Parked>> {
    let Some(since) = row.get(from)? else { return Ok(None) };
    Ok(Some(Parked { since, reason: row.get(from + 1)?, settings: row.get(from + 2)? }))
}

/// Returns the number under which a destination is stored; none if nothing of it is stored.
pub(super) fn destination(database: &dyn Database, name: &str) -> SqlResult<Option<i64>> {
    let sql = "SELECT id FROM destinations WHERE name = ?1";
    database.first(sql, values![name], |row| row.get(0))
}

/// Returns the digest that told a destination of an alert.
pub(super) fn digest_of(
    database: &dyn Database,
    destination: i64,
    alert: i64,
) -> SqlResult<Option<i64>> {
    let sql = "SELECT last, digest FROM digest_alerts WHERE destination = ?1 AND first <= ?2 \
               ORDER BY first DESC LIMIT 1";
    let run: Option<(i64, i64)> =
        database.first(sql, values![destination, alert], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(run.filter(|(last, _)| *last >= alert).map(|(_, digest)| digest))
}

/// Returns the name under which an integration is stored.
pub(super) fn integration_name(database: &dyn Database, integration: i64) -> SqlResult<String> {
    let sql = "SELECT name FROM integrations WHERE id = ?1";
    database.one(sql, values![integration], |row| row.get(0))
}

/// Returns the first and the last number of each run of consecutive numbers. The numbers are sorted, and
/// all different.
pub(super) fn runs(numbers: impl Iterator<Item = i64>) -> impl Iterator<Item = (i64, i64)> {
    let mut numbers = numbers.peekable();
    iter::from_fn(move || {
        let first = numbers.next()?;
        let mut last = first;
        while numbers.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        Some((first, last))
    })
}

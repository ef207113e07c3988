//! Writes what the router decided: deliveries, and digests of many.
//!
//! A digest is counted in memory, and written once for each call: a storm costs no row for each alert.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use tocsin_plugin_api::notification::Kind;
use ulid::Ulid;

use super::{
    delivery_rows::{self, DELIVERY_ROW, DeliveryRow, Skipped, State, Tally},
    error::SqlResult,
    row::Row,
    transaction::Transaction,
    value::{json, values},
};
use crate::{
    delivery::{Fact, FactReason},
    store::deliveries::{NewDelivery, Routed},
    system::fault_injection,
};

/// Deliveries that a digest may replace, oldest first.
pub(in crate::store) const OPENINGS: &str = "SELECT seq FROM deliveries INDEXED BY deliveries_opening \
     WHERE destination = ?1 AND opens = 1 AND state = 0 AND in_doubt = 0 ORDER BY seq LIMIT ?2";

/// The digest of a destination that waits. `state < 3` is the condition of the partial index, which SQLite
/// uses only if the query has the same condition.
pub(in crate::store) const OPEN_DIGEST: &str = "SELECT d.seq, d.id, g.count, g.first, g.last, g.urgencies, \
     g.integrations FROM deliveries d INDEXED BY deliveries_active \
     JOIN digests g ON g.delivery = d.seq WHERE d.alert = 0 AND d.destination = ?1 \
     AND d.state < 3 AND d.state < 2 AND d.in_doubt = 0";

/// A digest that waits, with what this transaction adds to it.
struct OpenDigest {
    seq: i64,
    id: Ulid,
    tally: Tally,
    /// Alerts that this transaction adds.
    added: BTreeSet<i64>,
}

impl OpenDigest {
    fn add(&mut self, new: &NewDelivery) {
        let alert = new.alert.cast_signed();
        if self.added.insert(alert) {
            self.tally.add(alert, new.urgency, &new.integration);
        }
    }
}

/// The digests of a destination, read once for each call.
struct Digests {
    /// The digest that waits.
    open: Option<OpenDigest>,
    /// Highest number of an alert that a digest has told. A newer alert needs no look-up.
    last: i64,
}

impl Transaction<'_> {
    pub(in crate::store) fn route(&mut self, routed: &Routed) -> SqlResult<()> {
        fault_injection::point("routing");
        let mut all = BTreeMap::new();
        for new in &routed.deliveries {
            let destination = self.used_destination(&new.destination)?;
            let digests = match all.entry(destination) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.digests(destination)?),
            };
            self.route_one(destination, new, routed, digests)?;
        }
        for (destination, digests) in all {
            if let Some(digest) = digests.open.filter(|digest| !digest.added.is_empty()) {
                self.write_digest(destination, &digest)?;
            }
        }
        // A new timer may take the place of one that is done.
        for id in &routed.done_timers {
            self.database.execute("DELETE FROM timers WHERE id = ?1", values![*id])?;
        }
        routed.timers.iter().try_for_each(|timer| self.add_timer(timer))?;
        routed.facts.iter().try_for_each(|(alert, fact)| self.add_fact(*alert, fact))?;
        if let Some(cursor) = &routed.cursor {
            let sql = "INSERT INTO router (id, cursor) VALUES (1, ?1) \
                       ON CONFLICT (id) DO UPDATE SET cursor = excluded.cursor";
            self.database.execute(sql, values![cursor.to_string()])?;
        }
        fault_injection::point("routed");
        Ok(())
    }

    /// Forgets the place in the feed up to which changes were routed.
    pub(in crate::store) fn forget_cursor(&self) -> SqlResult<()> {
        self.database.execute("DELETE FROM router", values![]).map(drop)
    }

    fn route_one(
        &mut self,
        destination: i64,
        new: &NewDelivery,
        routed: &Routed,
        digests: &mut Digests,
    ) -> SqlResult<()> {
        let alert = new.alert.cast_signed();
        let opens_in_digest = new.kind == Kind::Opened && new.digest_above > 0;
        if opens_in_digest
            && alert > digests.last
            && let Some(digest) = &mut digests.open
        {
            // In a storm nearly every alert ends here, without a query.
            digest.add(new);
            digests.last = alert;
            return Ok(());
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE id = ?1)";
        if self.database.one(sql, values![new.id], |row| row.get(0))? {
            return Ok(());
        }
        if !matches!(new.kind, Kind::Escalated | Kind::Noted)
            && let Some(digest) = self.digest_that_told(destination, alert, digests)?
            && (new.kind == Kind::Opened || !self.has_own_message(destination, alert)?)
        {
            let reason = FactReason::InDigest { delivery: digest };
            let name = new.destination.to_string();
            let fact = Fact { at: routed.now, kind: new.kind, destination: name, reason };
            return self.add_fact(new.alert, &fact);
        }
        if opens_in_digest {
            if let Some(digest) = &mut digests.open {
                digest.add(new);
                return Ok(());
            }
            let openings = self.openings(destination, new.digest_above)?;
            if openings.len() >= new.digest_above as usize {
                let digest = self.begin_digest(destination, &openings, new, routed)?;
                digests.last = digests.last.max(digest.tally.last);
                digests.open = Some(digest);
                return Ok(());
            }
        }
        self.add_delivery(destination, new, routed)
    }

    fn digests(&self, destination: i64) -> SqlResult<Digests> {
        let open = |row: &Row<'_>| {
            Ok(OpenDigest {
                seq: row.get(0)?,
                id: row.get(1)?,
                tally: Tally::read(row, 2)?,
                added: BTreeSet::new(),
            })
        };
        let open = self.database.first(OPEN_DIGEST, values![destination], open)?;
        let sql = "SELECT last FROM digest_alerts WHERE destination = ?1 \
                   ORDER BY first DESC LIMIT 1";
        let last = self.database.first(sql, values![destination], |row| row.get(0))?;
        Ok(Digests { open, last: last.unwrap_or_default() })
    }

    /// Returns the id of the digest that told a destination of an alert.
    fn digest_that_told(
        &self,
        destination: i64,
        alert: i64,
        digests: &Digests,
    ) -> SqlResult<Option<Ulid>> {
        if alert > digests.last {
            return Ok(None);
        }
        if let Some(digest) = digests.open.as_ref().filter(|digest| digest.added.contains(&alert)) {
            return Ok(Some(digest.id));
        }
        let Some(digest) = delivery_rows::digest_of(self.database, destination, alert)? else {
            return Ok(None);
        };
        let sql = "SELECT id FROM deliveries WHERE seq = ?1";
        self.database.first(sql, values![digest], |row| row.get(0))
    }

    /// Returns true if a destination was sent, or will be sent, a message of its own about an alert.
    fn has_own_message(&self, destination: i64, alert: i64) -> SqlResult<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM deliveries \
                   WHERE alert = ?1 AND destination = ?2 AND told_by IS NULL AND state < 4)";
        self.database.one(sql, values![alert, destination], |row| row.get(0))
    }

    /// Returns deliveries that a digest may replace, oldest first, and no more than the limit.
    fn openings(&self, destination: i64, limit: u32) -> SqlResult<Vec<i64>> {
        let seqs = values![destination, limit];
        self.database.all(OPENINGS, seqs, |row| row.get(0))
    }

    /// Replaces deliveries and a new one by a digest, which has the id of the new one.
    fn begin_digest(
        &mut self,
        destination: i64,
        openings: &[i64],
        new: &NewDelivery,
        routed: &Routed,
    ) -> SqlResult<OpenDigest> {
        let now = routed.now.as_millisecond();
        let mut digest = DeliveryRow {
            kind: Kind::Digest,
            alert: 0,
            place: None,
            opens: false,
            ..self.draft(destination, new, now)?
        };
        let mut tally = Tally::default();
        let mut added = BTreeSet::new();
        let mut rows = Vec::with_capacity(openings.len());
        for seq in openings {
            let Some(row) = self.delivery_row(*seq)? else { continue };
            if added.insert(row.alert) {
                tally.add(
                    row.alert,
                    row.urgency,
                    &delivery_rows::integration_name(self.database, row.integration)?,
                );
            }
            digest.due_at = digest.due_at.min(row.due_at);
            digest.changed_at = digest.changed_at.min(row.since);
            rows.push(row);
        }
        digest.since = digest.changed_at;
        let alert = new.alert.cast_signed();
        if added.insert(alert) {
            tally.add(alert, new.urgency, &new.integration);
        }
        if self.has_active(destination, 0)? {
            digest.state = State::Behind;
        }
        let seq = self.insert(&digest)?;
        for row in rows {
            self.become_told(row.seq, seq)?;
            self.let_next_follow(row.destination, row.alert)?;
        }
        self.put_tally(seq, &tally)?;
        Ok(OpenDigest { seq, id: digest.id, tally, added })
    }

    fn write_digest(&mut self, destination: i64, digest: &OpenDigest) -> SqlResult<()> {
        self.put_tally(digest.seq, &digest.tally)?;
        for (first, last) in delivery_rows::runs(digest.added.iter().copied()) {
            // A run that goes on from the last page becomes longer.
            let sql = "UPDATE digest_alerts SET last = ?4 WHERE destination = ?1 AND digest = ?2 \
                       AND last = CAST(?3 AS BIGINT) - 1 AND first = (SELECT first FROM digest_alerts \
                       WHERE destination = ?1 AND first < ?3 ORDER BY first DESC LIMIT 1)";
            let values = values![destination, digest.seq, first, last];
            if self.database.execute(sql, values)? == 0 {
                let sql = "INSERT INTO digest_alerts (destination, digest, first, last) \
                           VALUES (?1, ?2, ?3, ?4) ON CONFLICT (destination, first) DO NOTHING";
                self.database.execute(sql, values)?;
            }
        }
        Ok(())
    }

    pub(super) fn put_tally(&self, digest: i64, tally: &Tally) -> SqlResult<()> {
        let sql = "INSERT INTO digests (delivery, count, first, last, urgencies, integrations) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (delivery) DO UPDATE SET \
                   count = excluded.count, first = excluded.first, last = excluded.last, \
                   urgencies = excluded.urgencies, integrations = excluded.integrations";
        let values = values![
            digest,
            tally.count,
            tally.first,
            tally.last,
            json(&tally.urgencies)?,
            json(&tally.integrations)?,
        ];
        self.database.execute(sql, values).map(drop)
    }

    /// Returns the numbers of a digest.
    pub(super) fn tally(&self, digest: i64) -> SqlResult<Tally> {
        let sql = "SELECT count, first, last, urgencies, integrations FROM digests \
                   WHERE delivery = ?1";
        let tally = self.database.first(sql, values![digest], |row| Tally::read(row, 0))?;
        Ok(tally.unwrap_or_default())
    }

    /// Adds a delivery, which replaces the content of a message that waits.
    fn add_delivery(
        &mut self,
        destination: i64,
        new: &NewDelivery,
        routed: &Routed,
    ) -> SqlResult<()> {
        let mut draft = self.draft(destination, new, routed.now.as_millisecond())?;
        let active = self.active(destination, draft.alert)?;
        if let Some(waiting) = active.iter().rfind(|row| !row.may_be_told()) {
            return self.replace(waiting, &draft);
        }
        if !active.is_empty() {
            draft.state = State::Behind;
        }
        self.insert(&draft).map(drop)
    }

    fn draft(&mut self, destination: i64, new: &NewDelivery, now: i64) -> SqlResult<DeliveryRow> {
        Ok(DeliveryRow {
            seq: 0,
            id: new.id,
            destination,
            alert: new.alert.cast_signed(),
            kind: new.kind,
            place: new.place.map(u64::cast_signed),
            changed_at: new.changed_at.as_millisecond(),
            since: new.changed_at.as_millisecond(),
            created_at: now,
            state: State::Ready,
            attempts: 0,
            due_at: now,
            in_doubt: false,
            opens: new.kind == Kind::Opened,
            urgency: new.urgency,
            integration: self.integration(&new.integration)?,
            reason: None,
            skipped: Skipped::default(),
            told_by: None,
            discarded_by: None,
            finished_at: None,
        })
    }

    /// Gives a message the content of later news. The content so far moves to a row of its own.
    ///
    /// The later news have no row yet.
    pub(super) fn replace(&mut self, message: &DeliveryRow, later: &DeliveryRow) -> SqlResult<()> {
        let mut skipped = message.skipped.clone();
        skipped.push(message.kind);
        later.skipped.0.iter().for_each(|kind| skipped.push(*kind));
        let is_own = matches!(later.kind, Kind::Escalated | Kind::Noted);
        let opens = (message.opens || later.opens) && !is_own;
        let sql = "UPDATE deliveries SET id = ?2, kind = ?3, place = ?4, changed_at = ?5, \
                   created_at = ?6, opens = ?7, urgency = ?8, integration = ?9, skipped = ?10 \
                   WHERE seq = ?1";
        self.database.execute(
            sql,
            values![
                message.seq,
                later.id,
                later.kind,
                later.place,
                later.changed_at,
                later.created_at,
                opens,
                later.urgency,
                later.integration,
                &skipped,
            ],
        )?;
        let told =
            DeliveryRow { state: State::Told, told_by: Some(message.seq), ..message.clone() };
        self.insert(&told).map(drop)
    }

    pub(super) fn insert(&self, row: &DeliveryRow) -> SqlResult<i64> {
        let columns = DELIVERY_ROW.trim_start_matches("seq, ");
        let sql = format!(
            "INSERT INTO deliveries ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) RETURNING seq"
        );
        self.database.one(
            &sql,
            values![
                row.id,
                row.destination,
                row.alert,
                row.kind,
                row.place,
                row.changed_at,
                row.since,
                row.created_at,
                row.state,
                row.attempts,
                row.due_at,
                row.in_doubt,
                row.opens,
                row.urgency,
                row.integration,
                row.reason.as_deref(),
                &row.skipped,
                row.told_by,
                row.discarded_by.as_deref(),
                row.finished_at,
            ],
            |row| row.get(0),
        )
    }
}

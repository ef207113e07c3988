//! Changes of deliveries: claims, results of attempts, and what people ask for.

use std::cmp::Reverse;

use jiff::Timestamp;
use ulid::Ulid;

use super::{
    delivery_parts::Chosen,
    delivery_rows::{self, DELIVERY_ROW, DeliveryRow, State},
    error::SqlResult,
    row::Row,
    transaction::Transaction,
    value::{json, values},
};
use crate::{
    alert::Actor,
    delivery::{AttemptResult, Parked},
    store::deliveries::{
        AfterAttempt, Claim, Claimed, ClaimedDelivery, Finished, Recovered, Which,
    },
    system::fault_injection,
};

/// Number of attempts of a delivery that are kept.
const ATTEMPTS_KEPT: i64 = 20;

/// Longest pause of a destination that is left when a host takes over, in milliseconds.
const LONGEST_PAUSE_LEFT: i64 = 24 * 60 * 60 * 1000;

/// The deliveries of a destination that have not ended.
pub(in crate::store) const CHOSEN_ACTIVE: &str = "SELECT alert, seq FROM deliveries \
     INDEXED BY deliveries_active WHERE destination = ?1 AND state < 3";

/// The dead messages of a destination.
pub(in crate::store) const CHOSEN_DEAD: &str = "SELECT alert, seq FROM deliveries \
     INDEXED BY deliveries_dead WHERE destination = ?1 AND state = 4 AND told_by IS NULL";

/// The deliveries of a destination that are due, without the columns.
pub(in crate::store) const DUE: &str = "FROM deliveries INDEXED BY deliveries_due \
     WHERE destination = ?1 AND state = 0 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3";

/// Time of the next delivery of a destination.
pub(in crate::store) const NEXT_DUE: &str = "SELECT due_at FROM deliveries INDEXED BY deliveries_due \
     WHERE destination = ?1 AND state = 0 ORDER BY due_at LIMIT 1";

/// The deliveries about an alert to a destination that have not ended, without the columns.
pub(in crate::store) const ACTIVE: &str = "FROM deliveries INDEXED BY deliveries_active \
     WHERE alert = ?1 AND destination = ?2 AND state < 3 ORDER BY seq";

/// The end of a delivery.
#[derive(Clone, Copy)]
struct End<'r> {
    state: State,
    reason: Option<&'r str>,
    in_doubt: bool,
    now: i64,
}

impl Transaction<'_> {
    pub(in crate::store) fn claim(&mut self, claim: &Claim) -> SqlResult<Claimed> {
        let sql = "SELECT id, parked_at, paused_until FROM destinations WHERE name = ?1";
        let known: Option<(i64, Option<i64>, Option<i64>)> =
            self.database.first(sql, values![&claim.destination], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let Some((destination, None, paused_until)) = known else {
            return Ok(Claimed::default());
        };
        let now = claim.now.as_millisecond();
        let is_paused = paused_until.is_some_and(|until| until > now);
        let mut deliveries = Vec::new();
        if !is_paused {
            let sql = format!("SELECT {DELIVERY_ROW} {DUE}");
            let due = values![destination, now, claim.limit];
            for row in self.database.all(&sql, due, DeliveryRow::read)? {
                deliveries.push(self.take(&row)?);
            }
        }
        let next: Option<Timestamp> =
            self.database.first(NEXT_DUE, values![destination], |row| row.get(0))?;
        let until = paused_until.and_then(|until| Timestamp::from_millisecond(until).ok());
        let next_due = match until {
            Some(until) if is_paused => next.map(|next| next.max(until)),
            _ => next,
        };
        Ok(Claimed { deliveries, next_due })
    }

    fn take(&self, row: &DeliveryRow) -> SqlResult<ClaimedDelivery> {
        let sql = "UPDATE deliveries SET state = 2, attempts = attempts + 1 WHERE seq = ?1";
        self.database.execute(sql, values![row.seq])?;
        let delivery = self.database.one(
            &delivery_rows::delivery_sql("d.seq = ?1"),
            values![row.seq],
            delivery_rows::delivery,
        )?;
        let sql = "SELECT state FROM notifier_states WHERE alert = ?1 AND destination = ?2";
        let state =
            self.database.first(sql, values![row.alert, row.destination], |row| row.json(0))?;
        Ok(ClaimedDelivery { delivery, place: row.place.map(i64::cast_unsigned), state })
    }

    pub(in crate::store) fn finish(&mut self, finished: &Finished) -> SqlResult<()> {
        fault_injection::point("finishing");
        let Some(row) = self.delivery_of(finished.id)? else { return Ok(()) };
        self.record_attempt(finished)?;
        // An attempt of a delivery that was replaced in the meantime changes nothing else.
        if !row.state.is_active() {
            return Ok(());
        }
        if let Some(state) = finished.state.as_ref().filter(|_| !row.is_digest()) {
            let sql = "INSERT INTO notifier_states (alert, destination, state) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (alert, destination) DO UPDATE SET state = excluded.state";
            self.database.execute(sql, values![row.alert, row.destination, json(state)?])?;
        }
        let now = finished.now.as_millisecond();
        let reason = finished.attempt.reason.as_deref();
        // An earlier attempt that is in doubt remains so.
        let in_doubt = row.in_doubt || finished.attempt.result == AttemptResult::InDoubt;
        match (&finished.next, &row.discarded_by) {
            (AfterAttempt::Delivered, _) => {
                self.end(
                    &row,
                    End { state: State::Delivered, reason: None, in_doubt: false, now },
                )?;
            }
            (AfterAttempt::Waits { until, in_doubt }, None) => {
                let sql = "UPDATE deliveries SET state = 0, due_at = ?2, in_doubt = ?3, reason = ?4 \
                           WHERE seq = ?1";
                self.database.execute(sql, values![row.seq, *until, *in_doubt, reason])?;
                if !in_doubt {
                    self.unite_waiting(row.destination, row.alert)?;
                }
            }
            (AfterAttempt::Waits { .. } | AfterAttempt::Dead, Some(by)) => {
                self.end(&row, End { state: State::Dead, reason: Some(by), in_doubt, now })?;
            }
            (AfterAttempt::Dead, None) => {
                self.end(&row, End { state: State::Dead, reason, in_doubt, now })?;
            }
        }
        fault_injection::point("finished");
        Ok(())
    }

    fn record_attempt(&self, finished: &Finished) -> SqlResult<()> {
        let attempt = &finished.attempt;
        let sql = "INSERT INTO attempts (delivery, number, at, took_ms, result, reason, requests) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                   ON CONFLICT (delivery, number) DO UPDATE SET at = excluded.at, \
                   took_ms = excluded.took_ms, result = excluded.result, \
                   reason = excluded.reason, requests = excluded.requests";
        let values = values![
            finished.id,
            attempt.number,
            attempt.at,
            attempt.took_ms,
            attempt.result,
            attempt.reason.as_deref(),
            json(&attempt.requests)?,
        ];
        self.database.execute(sql, values)?;
        let sql = "DELETE FROM attempts WHERE delivery = ?1 AND number <= ?2";
        let last_left = i64::from(attempt.number) - ATTEMPTS_KEPT;
        if last_left > 0 {
            self.database.execute(sql, values![finished.id, last_left])?;
        }
        Ok(())
    }

    pub(in crate::store) fn give_back(&mut self, ids: &[Ulid]) -> SqlResult<()> {
        for id in ids {
            let Some(row) = self.delivery_of(*id)?.filter(|row| row.state == State::InFlight)
            else {
                continue;
            };
            let sql = "UPDATE deliveries SET state = 0, attempts = \
                       CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE seq = ?1";
            self.database.execute(sql, values![row.seq])?;
            if let Some(by) = &row.discarded_by {
                // Discarding sets the time.
                let now = row.due_at;
                let in_doubt = row.in_doubt;
                self.end(&row, End { state: State::Dead, reason: Some(by), in_doubt, now })?;
            } else if !row.in_doubt {
                self.unite_waiting(row.destination, row.alert)?;
            }
        }
        Ok(())
    }

    pub(in crate::store) fn give_back_all(
        &mut self,
        name: &str,
        except: &[Ulid],
    ) -> SqlResult<u64> {
        let Some(destination) = delivery_rows::destination(self.database, name)? else {
            return Ok(0);
        };
        let sql = "SELECT id FROM deliveries INDEXED BY deliveries_in_flight \
                   WHERE state = 2 AND destination = ?1 ORDER BY seq";
        let mut ids: Vec<_> =
            self.database.all(sql, values![destination], |row| row.get::<Ulid>(0))?;
        ids.retain(|id| !except.contains(id));
        self.give_back(&ids)?;
        Ok(ids.len() as u64)
    }

    pub(in crate::store) fn recover_deliveries(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> SqlResult<Recovered> {
        let Some(destination) = delivery_rows::destination(self.database, name)? else {
            return Ok(Recovered::default());
        };
        let now = now.as_millisecond();
        let sql = format!(
            "SELECT {DELIVERY_ROW} FROM deliveries INDEXED BY deliveries_in_flight \
             WHERE state = 2 AND destination = ?1 ORDER BY seq"
        );
        let left = self.database.all(&sql, values![destination], DeliveryRow::read)?;
        for row in &left {
            if let Some(by) = &row.discarded_by {
                let end = End { state: State::Dead, reason: Some(by), in_doubt: true, now };
                self.end(row, end)?;
                continue;
            }
            let sql = "UPDATE deliveries SET state = 0, due_at = ?2, in_doubt = 1 WHERE seq = ?1";
            self.database.execute(sql, values![row.seq, now])?;
        }
        let sql = "UPDATE destinations SET paused_until = ?2 WHERE id = ?1 AND paused_until > ?2";
        let longest = now.saturating_add(LONGEST_PAUSE_LEFT);
        self.database.execute(sql, values![destination, longest])?;
        let sql = "SELECT parked_at, parked_reason, parked_settings, paused_until \
                   FROM destinations WHERE id = ?1";
        self.database.one(sql, values![destination], |row| {
            Ok(Recovered {
                in_doubt: left.len() as u64,
                parked: delivery_rows::parked(row, 0)?,
                paused_until: row.get(3)?,
            })
        })
    }

    pub(in crate::store) fn park(&mut self, name: &str, parked: Option<&Parked>) -> SqlResult<()> {
        let destination = self.destination(name)?;
        let sql = "UPDATE destinations SET parked_at = ?2, parked_reason = ?3, \
                   parked_settings = ?4, \
                   paused_until = CASE WHEN CAST(?2 AS BIGINT) IS NULL THEN NULL ELSE paused_until END \
                   WHERE id = ?1";
        let values = values![
            destination,
            parked.map(|parked| parked.since),
            parked.map(|parked| &parked.reason),
            parked.map(|parked| &parked.settings),
        ];
        self.database.execute(sql, values).map(drop)
    }

    pub(in crate::store) fn pause(&mut self, name: &str, until: Timestamp) -> SqlResult<()> {
        let destination = self.destination(name)?;
        let sql = "UPDATE destinations SET \
                   paused_until = CASE WHEN paused_until > ?2 THEN paused_until ELSE ?2 END \
                   WHERE id = ?1";
        self.database.execute(sql, values![destination, until]).map(drop)
    }

    /// Ends the pause of a destination whose deliveries a person wants to be attempted now.
    pub(super) fn end_pause_of(&self, which: &Which) -> SqlResult<()> {
        let (Which::DeadOf(name) | Which::AllOf(name)) = which else { return Ok(()) };
        let sql = "UPDATE destinations SET paused_until = NULL WHERE name = ?1";
        self.database.execute(sql, values![name]).map(drop)
    }

    pub(in crate::store) fn bring_forward(
        &mut self,
        name: Option<&str>,
        latest: Timestamp,
    ) -> SqlResult<u64> {
        let destinations = match name {
            Some(name) => delivery_rows::destination(self.database, name)?.into_iter().collect(),
            None => {
                let sql = "SELECT id FROM destinations";
                self.database.all(sql, values![], |row| row.get::<i64>(0))?
            }
        };
        let sql = "UPDATE deliveries INDEXED BY deliveries_due SET due_at = ?2 \
                   WHERE destination = ?1 AND state = 0 AND due_at > ?2";
        let mut count = 0;
        for destination in destinations {
            count += self.database.execute(sql, values![destination, latest])?;
        }
        Ok(count as u64)
    }

    /// Makes messages that a person chose due at once. The newest about each alert comes first, so that
    /// united deliveries get the content of the newest.
    pub(super) fn retry_deliveries(
        &mut self,
        chosen: &[Chosen],
        by: &Actor,
        now: Timestamp,
    ) -> SqlResult<u64> {
        let (mut count, now) = (0, now.as_millisecond());
        for chosen in chosen {
            // Changes between two parts may have united the message with others, or deleted it.
            let Some(row) = self.delivery_row(chosen.seq)? else { continue };
            match row.state {
                State::Ready => {
                    let sql = "UPDATE deliveries SET due_at = ?2 WHERE seq = ?1";
                    self.database.execute(sql, values![row.seq, now])?;
                }
                State::Dead => self.revive(&row, by, now)?,
                State::Behind | State::InFlight | State::Delivered | State::Told => continue,
            }
            count += 1;
        }
        Ok(count)
    }

    /// Lets a dead delivery wait again, together with other news about the same alert that wait.
    fn revive(&mut self, row: &DeliveryRow, by: &Actor, now: i64) -> SqlResult<()> {
        let active = self.active(row.destination, row.alert)?;
        let next = active.iter().find(|other| other.state != State::Behind);
        // Other news wait until it is known what became of a delivery in doubt.
        let displaced = next.filter(|next| row.in_doubt && !next.may_be_told());
        if let Some(displaced) = displaced {
            let sql = "UPDATE deliveries SET state = 1 WHERE seq = ?1";
            self.database.execute(sql, values![displaced.seq])?;
        }
        let is_next = next.is_none() || displaced.is_some();
        let state = if is_next { State::Ready } else { State::Behind };
        let sql = "UPDATE deliveries SET state = ?2, due_at = ?3, reason = ?4, finished_at = NULL \
                   WHERE seq = ?1";
        let reason = format!("{by} asked for another attempt");
        self.database.execute(sql, values![row.seq, state, now, reason])?;
        let sql = "UPDATE deliveries SET state = 5, finished_at = NULL WHERE told_by = ?1";
        self.database.execute(sql, values![row.seq])?;
        for other in active.iter().filter(|other| !other.may_be_told()) {
            let sql = "UPDATE deliveries SET due_at = ?2 WHERE seq = ?1";
            self.database.execute(sql, values![other.seq, now])?;
        }
        self.unite_waiting(row.destination, row.alert)
    }

    /// Ends messages that a person chose.
    pub(super) fn discard_deliveries(
        &mut self,
        chosen: &[Chosen],
        by: &Actor,
        now: Timestamp,
    ) -> SqlResult<u64> {
        let (mut count, now) = (0, now.as_millisecond());
        let reason = format!("discarded by {by}");
        for chosen in chosen {
            let Some(row) = self.delivery_row(chosen.seq)? else { continue };
            match row.state {
                State::Ready | State::Behind => {
                    let reason = Some(reason.as_str());
                    let in_doubt = row.in_doubt;
                    self.end(&row, End { state: State::Dead, reason, in_doubt, now })?;
                }
                State::InFlight => {
                    // If the delivery is given back, this is the time at which it ended.
                    let sql = "UPDATE deliveries SET discarded_by = ?2, due_at = ?3 WHERE seq = ?1";
                    self.database.execute(sql, values![row.seq, &reason, now])?;
                }
                State::Delivered | State::Dead | State::Told => continue,
            }
            count += 1;
        }
        Ok(count)
    }

    /// Returns the messages that a person chose: by their alerts, and the newest about each first. A
    /// delivery that is part of a message leads to the message.
    pub(super) fn chosen(&self, which: &Which) -> SqlResult<Vec<Chosen>> {
        let of = |name: &str, sql: &str| -> SqlResult<Vec<Chosen>> {
            let Some(destination) = delivery_rows::destination(self.database, name)? else {
                return Ok(Vec::new());
            };
            let chosen = |row: &Row<'_>| Ok(Chosen { alert: row.get(0)?, seq: row.get(1)? });
            self.database.all(sql, values![destination], chosen)
        };
        let mut all = match which {
            Which::One(id) => {
                let row = self.delivery_of(*id)?;
                let chosen = |row: DeliveryRow| Chosen {
                    alert: row.alert,
                    seq: row.told_by.unwrap_or(row.seq),
                };
                row.into_iter().map(chosen).collect()
            }
            Which::DeadOf(name) => of(name, CHOSEN_DEAD)?,
            Which::AllOf(name) => {
                let mut all = of(name, CHOSEN_ACTIVE)?;
                all.extend(of(name, CHOSEN_DEAD)?);
                all
            }
        };
        all.sort_by_key(|chosen| (chosen.alert, Reverse(chosen.seq)));
        Ok(all)
    }

    /// Ends a delivery and all that are part of it, and lets later news about the same alert follow.
    fn end(&mut self, row: &DeliveryRow, end: End<'_>) -> SqlResult<()> {
        let End { state, reason, in_doubt, now } = end;
        let sql = "UPDATE deliveries SET state = ?2, reason = ?3, in_doubt = ?4, finished_at = ?5, \
                   discarded_by = NULL WHERE seq = ?1";
        self.database.execute(sql, values![row.seq, state, reason, in_doubt, now])?;
        let sql = "UPDATE deliveries SET state = ?2, finished_at = ?3 WHERE told_by = ?1";
        self.database.execute(sql, values![row.seq, state, now])?;
        self.let_next_follow(row.destination, row.alert)
    }

    /// Makes the oldest news about an alert ready, unless other news are ready or in flight.
    pub(super) fn let_next_follow(&self, destination: i64, alert: i64) -> SqlResult<()> {
        let active = self.active(destination, alert)?;
        let Some(oldest) = active.first() else { return Ok(()) };
        if active.iter().any(|row| row.state != State::Behind) {
            return Ok(());
        }
        let sql = "UPDATE deliveries SET state = 0 WHERE seq = ?1";
        self.database.execute(sql, values![oldest.seq]).map(drop)
    }

    /// Unites the deliveries about an alert that wait and surely were not sent: the first one gets the
    /// content of the last one.
    fn unite_waiting(&mut self, destination: i64, alert: i64) -> SqlResult<()> {
        let mut waiting = self.active(destination, alert)?;
        waiting.retain(|row| !row.may_be_told());
        while let [message, later, ..] = &waiting[..] {
            self.take_over(message, later)?;
            waiting = self.active(destination, alert)?;
            waiting.retain(|row| !row.may_be_told());
        }
        Ok(())
    }

    fn take_over(&mut self, message: &DeliveryRow, later: &DeliveryRow) -> SqlResult<()> {
        let seqs = values![message.seq, later.seq];
        self.database.execute("DELETE FROM deliveries WHERE seq = ?1", values![later.seq])?;
        self.database.execute("UPDATE deliveries SET told_by = ?1 WHERE told_by = ?2", seqs)?;
        if message.is_digest() {
            let mut tally = self.tally(message.seq)?;
            tally.merge(&self.tally(later.seq)?);
            self.put_tally(message.seq, &tally)?;
            self.database.execute("DELETE FROM digests WHERE delivery = ?1", values![later.seq])?;
            self.database
                .execute("UPDATE digest_alerts SET digest = ?1 WHERE digest = ?2", seqs)?;
        }
        // An older delivery that was retried may be behind the later one, which was attempted last.
        let last = if later.state == State::Behind { message } else { later };
        let attempts = message.attempts.max(later.attempts);
        let sql = "UPDATE deliveries SET state = ?2, attempts = ?3, due_at = ?4, reason = ?5 \
                   WHERE seq = ?1";
        let values =
            values![message.seq, last.state, attempts, last.due_at, last.reason.as_deref()];
        self.database.execute(sql, values)?;
        self.replace(message, later)
    }

    /// Makes a delivery a part of a message, with all that are part of it.
    pub(super) fn become_told(&self, seq: i64, message: i64) -> SqlResult<()> {
        let sql = "UPDATE deliveries SET state = 5, told_by = ?2 WHERE seq = ?1";
        self.database.execute(sql, values![seq, message])?;
        let sql = "UPDATE deliveries SET told_by = ?2 WHERE told_by = ?1";
        self.database.execute(sql, values![seq, message]).map(drop)
    }

    /// Returns the deliveries about an alert to a destination that have not ended, oldest first.
    pub(super) fn active(&self, destination: i64, alert: i64) -> SqlResult<Vec<DeliveryRow>> {
        let sql = format!("SELECT {DELIVERY_ROW} {ACTIVE}");
        self.database.all(&sql, values![alert, destination], DeliveryRow::read)
    }

    pub(super) fn has_active(&self, destination: i64, alert: i64) -> SqlResult<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_active \
                   WHERE alert = ?1 AND destination = ?2 AND state < 3)";
        self.database.one(sql, values![alert, destination], |row| row.get(0))
    }

    pub(super) fn delivery_row(&self, seq: i64) -> SqlResult<Option<DeliveryRow>> {
        let sql = format!("SELECT {DELIVERY_ROW} FROM deliveries WHERE seq = ?1");
        self.database.first(&sql, values![seq], DeliveryRow::read)
    }

    fn delivery_of(&self, id: Ulid) -> SqlResult<Option<DeliveryRow>> {
        let sql = format!("SELECT {DELIVERY_ROW} FROM deliveries WHERE id = ?1");
        self.database.first(&sql, values![id], DeliveryRow::read)
    }
}

//! Changes of deliveries: claims, results of attempts, and what people ask for.

use std::cmp::Reverse;

use rusqlite::{OptionalExtension, params};
use ulid::Ulid;

use super::{
    delivery_parts::Chosen,
    delivery_rows::{self, DELIVERY_ROW, DeliveryRow, State, from_json, json, milliseconds},
    rows::{self, Stored},
    write_transaction::WriteTransaction,
};
use crate::{
    alert::Actor,
    delivery::{AttemptResult, Parked},
    store::deliveries::{AfterAttempt, Claim, Claimed, ClaimedDelivery, Finished, Which},
    system::fault_injection,
};
use jiff::Timestamp;

/// Number of attempts of a delivery that are kept.
const ATTEMPTS_KEPT: i64 = 20;

/// Longest pause of a destination that is left when the host starts, in milliseconds.
const LONGEST_PAUSE_LEFT: i64 = 24 * 60 * 60 * 1000;

/// The deliveries of a destination that have not ended.
pub(super) const CHOSEN_ACTIVE: &str = "SELECT alert, seq FROM deliveries \
     INDEXED BY deliveries_active WHERE destination = ?1 AND state < 3";

/// The dead messages of a destination.
pub(super) const CHOSEN_DEAD: &str = "SELECT alert, seq FROM deliveries \
     INDEXED BY deliveries_dead WHERE destination = ?1 AND state = 4 AND told_by IS NULL";

/// The deliveries of a destination that are due, without the columns.
pub(super) const DUE: &str = "FROM deliveries INDEXED BY deliveries_due \
     WHERE destination = ?1 AND state = 0 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3";

/// Time of the next delivery of a destination.
pub(super) const NEXT_DUE: &str = "SELECT due_at FROM deliveries INDEXED BY deliveries_due \
     WHERE destination = ?1 AND state = 0 ORDER BY due_at LIMIT 1";

/// The deliveries about an alert to a destination that have not ended, without the columns.
pub(super) const ACTIVE: &str = "FROM deliveries INDEXED BY deliveries_active \
     WHERE alert = ?1 AND destination = ?2 AND state < 3 ORDER BY seq";

/// The end of a delivery.
#[derive(Clone, Copy)]
struct End<'r> {
    state: State,
    reason: Option<&'r str>,
    in_doubt: bool,
    now: i64,
}

impl WriteTransaction<'_> {
    pub(super) fn claim(&mut self, claim: &Claim) -> rusqlite::Result<Claimed> {
        let sql = "SELECT id, parked_at, paused_until FROM destinations WHERE name = ?1";
        let known: Option<(i64, Option<i64>, Option<i64>)> = self
            .statement(sql)?
            .query_row([&claim.destination], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((destination, None, paused_until)) = known else {
            return Ok(Claimed::default());
        };
        let now = milliseconds(claim.now);
        let is_paused = paused_until.is_some_and(|until| until > now);
        let mut deliveries = Vec::new();
        if !is_paused {
            let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
            let sql = format!("SELECT {DELIVERY_ROW} {DUE}");
            let due: Vec<_> = self
                .statement(&sql)?
                .query_map(params![destination, now, limit], DeliveryRow::read)?
                .collect::<Result<_, _>>()?;
            for row in due {
                deliveries.push(self.take(&row)?);
            }
        }
        let next: Option<_> = self
            .statement(NEXT_DUE)?
            .query_row([destination], |row| rows::time(row, 0))
            .optional()?;
        let until = paused_until.and_then(|until| Timestamp::from_millisecond(until).ok());
        let next_due = match until {
            Some(until) if is_paused => next.map(|next| next.max(until)),
            _ => next,
        };
        Ok(Claimed { deliveries, next_due })
    }

    fn take(&self, row: &DeliveryRow) -> rusqlite::Result<ClaimedDelivery> {
        let sql = "UPDATE deliveries SET state = 2, attempts = attempts + 1 WHERE seq = ?1";
        self.statement(sql)?.execute([row.seq])?;
        let delivery = self
            .statement(&delivery_rows::delivery_sql("d.seq = ?1"))?
            .query_row([row.seq], delivery_rows::delivery)?;
        let sql = "SELECT state FROM notifier_states WHERE alert = ?1 AND destination = ?2";
        let state = self
            .statement(sql)?
            .query_row([row.alert, row.destination], |row| from_json(row, 0))
            .optional()?;
        Ok(ClaimedDelivery { delivery, place: row.place.map(i64::cast_unsigned), state })
    }

    pub(super) fn finish(&mut self, finished: &Finished) -> rusqlite::Result<()> {
        fault_injection::point("finishing");
        let Some(row) = self.delivery_of(finished.id)? else { return Ok(()) };
        self.record_attempt(finished)?;
        // An attempt of a delivery that was replaced in the meantime changes nothing else.
        if !row.state.is_active() {
            return Ok(());
        }
        if let Some(state) = finished.state.as_ref().filter(|_| !row.is_digest()) {
            let sql = "INSERT OR REPLACE INTO notifier_states VALUES (?1, ?2, ?3)";
            self.statement(sql)?.execute(params![row.alert, row.destination, json(state)?])?;
        }
        let now = milliseconds(finished.now);
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
                let until = milliseconds(*until);
                let sql = "UPDATE deliveries SET state = 0, due_at = ?2, in_doubt = ?3, reason = ?4 \
                           WHERE seq = ?1";
                self.statement(sql)?.execute(params![row.seq, until, in_doubt, reason])?;
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

    fn record_attempt(&self, finished: &Finished) -> rusqlite::Result<()> {
        let (id, attempt) = (finished.id.to_bytes(), &finished.attempt);
        let sql = "INSERT OR REPLACE INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.statement(sql)?.execute(params![
            id.as_slice(),
            attempt.number,
            milliseconds(attempt.at),
            i64::try_from(attempt.took_ms).unwrap_or(i64::MAX),
            Stored(attempt.result),
            attempt.reason,
            json(&attempt.requests)?,
        ])?;
        let sql = "DELETE FROM attempts WHERE delivery = ?1 AND number <= ?2";
        let last_left = i64::from(attempt.number) - ATTEMPTS_KEPT;
        if last_left > 0 {
            self.statement(sql)?.execute(params![id.as_slice(), last_left])?;
        }
        Ok(())
    }

    pub(super) fn give_back(&mut self, ids: &[Ulid]) -> rusqlite::Result<()> {
        for id in ids {
            let Some(row) = self.delivery_of(*id)?.filter(|row| row.state == State::InFlight)
            else {
                continue;
            };
            let sql = "UPDATE deliveries SET state = 0, attempts = max(attempts - 1, 0) \
                       WHERE seq = ?1";
            self.statement(sql)?.execute([row.seq])?;
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

    pub(super) fn give_back_all(&mut self, name: &str, except: &[Ulid]) -> rusqlite::Result<u64> {
        let Some(destination) = delivery_rows::destination(self.connection, name)? else {
            return Ok(0);
        };
        let sql = "SELECT id FROM deliveries INDEXED BY deliveries_in_flight \
                   WHERE state = 2 AND destination = ?1 ORDER BY seq";
        let id = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Stored<Ulid>>(0)?.0);
        let mut ids: Vec<_> =
            self.statement(sql)?.query_map([destination], id)?.collect::<Result<_, _>>()?;
        ids.retain(|id| !except.contains(id));
        self.give_back(&ids)?;
        Ok(ids.len() as u64)
    }

    pub(super) fn recover_deliveries(&mut self, now: Timestamp) -> rusqlite::Result<u64> {
        let now = milliseconds(now);
        let sql = format!(
            "SELECT {DELIVERY_ROW} FROM deliveries INDEXED BY deliveries_in_flight WHERE state = 2 ORDER BY seq"
        );
        let rows: Vec<_> =
            self.statement(&sql)?.query_map([], DeliveryRow::read)?.collect::<Result<_, _>>()?;
        for row in &rows {
            if let Some(by) = &row.discarded_by {
                let end = End { state: State::Dead, reason: Some(by), in_doubt: true, now };
                self.end(row, end)?;
                continue;
            }
            let sql = "UPDATE deliveries SET state = 0, due_at = ?2, in_doubt = 1 WHERE seq = ?1";
            self.statement(sql)?.execute([row.seq, now])?;
        }
        let sql = "UPDATE destinations SET paused_until = ?1 WHERE paused_until > ?1";
        self.statement(sql)?.execute([now.saturating_add(LONGEST_PAUSE_LEFT)])?;
        Ok(rows.len() as u64)
    }

    pub(super) fn park(&mut self, name: &str, parked: Option<&Parked>) -> rusqlite::Result<()> {
        let destination = self.destination(name)?;
        let sql = "UPDATE destinations SET parked_at = ?2, parked_reason = ?3, \
                   parked_settings = ?4, paused_until = iif(?2 IS NULL, NULL, paused_until) \
                   WHERE id = ?1";
        self.statement(sql)?
            .execute(params![
                destination,
                parked.map(|parked| milliseconds(parked.since)),
                parked.map(|parked| &parked.reason),
                parked.map(|parked| &parked.settings),
            ])
            .map(drop)
    }

    pub(super) fn pause(&mut self, name: &str, until: Timestamp) -> rusqlite::Result<()> {
        let destination = self.destination(name)?;
        let sql = "UPDATE destinations SET paused_until = max(?2, ifnull(paused_until, ?2)) \
                   WHERE id = ?1";
        self.statement(sql)?.execute(params![destination, milliseconds(until)]).map(drop)
    }

    /// Ends the pause of a destination whose deliveries a person wants to be attempted now.
    pub(super) fn end_pause_of(&self, which: &Which) -> rusqlite::Result<()> {
        let (Which::DeadOf(name) | Which::AllOf(name)) = which else { return Ok(()) };
        let sql = "UPDATE destinations SET paused_until = NULL WHERE name = ?1";
        self.statement(sql)?.execute([name]).map(drop)
    }

    pub(super) fn bring_forward(
        &mut self,
        name: Option<&str>,
        latest: Timestamp,
    ) -> rusqlite::Result<u64> {
        let destinations = match name {
            Some(name) => delivery_rows::destination(self.connection, name)?.into_iter().collect(),
            None => {
                let mut all = self.statement("SELECT id FROM destinations")?;
                all.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?
            }
        };
        let sql = "UPDATE deliveries INDEXED BY deliveries_due SET due_at = ?2 \
                   WHERE destination = ?1 AND state = 0 AND due_at > ?2";
        let mut count = 0;
        for destination in destinations {
            count += self.statement(sql)?.execute(params![destination, milliseconds(latest)])?;
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
    ) -> rusqlite::Result<u64> {
        let (mut count, now) = (0, milliseconds(now));
        for chosen in chosen {
            // Changes between two parts may have united the message with others, or deleted it.
            let Some(row) = self.delivery_row(chosen.seq)? else { continue };
            match row.state {
                State::Ready => {
                    let sql = "UPDATE deliveries SET due_at = ?2 WHERE seq = ?1";
                    self.statement(sql)?.execute([row.seq, now])?;
                }
                State::Dead => self.revive(&row, by, now)?,
                State::Behind | State::InFlight | State::Delivered | State::Told => continue,
            }
            count += 1;
        }
        Ok(count)
    }

    /// Lets a dead delivery wait again, together with other news about the same alert that wait.
    fn revive(&mut self, row: &DeliveryRow, by: &Actor, now: i64) -> rusqlite::Result<()> {
        let active = self.active(row.destination, row.alert)?;
        let next = active.iter().find(|other| other.state != State::Behind);
        // Other news wait until it is known what became of a delivery in doubt.
        let displaced = next.filter(|next| row.in_doubt && !next.may_be_told());
        if let Some(displaced) = displaced {
            let sql = "UPDATE deliveries SET state = 1 WHERE seq = ?1";
            self.statement(sql)?.execute([displaced.seq])?;
        }
        let is_next = next.is_none() || displaced.is_some();
        let state = if is_next { State::Ready } else { State::Behind };
        let sql = "UPDATE deliveries SET state = ?2, due_at = ?3, reason = ?4, finished_at = NULL \
                   WHERE seq = ?1";
        let reason = format!("{by} asked for another attempt");
        self.statement(sql)?.execute(params![row.seq, state, now, reason])?;
        let sql = "UPDATE deliveries SET state = 5, finished_at = NULL WHERE told_by = ?1";
        self.statement(sql)?.execute([row.seq])?;
        for other in active.iter().filter(|other| !other.may_be_told()) {
            let sql = "UPDATE deliveries SET due_at = ?2 WHERE seq = ?1";
            self.statement(sql)?.execute([other.seq, now])?;
        }
        self.unite_waiting(row.destination, row.alert)
    }

    /// Ends messages that a person chose.
    pub(super) fn discard_deliveries(
        &mut self,
        chosen: &[Chosen],
        by: &Actor,
        now: Timestamp,
    ) -> rusqlite::Result<u64> {
        let (mut count, now) = (0, milliseconds(now));
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
                    self.statement(sql)?.execute(params![row.seq, reason, now])?;
                }
                State::Delivered | State::Dead | State::Told => continue,
            }
            count += 1;
        }
        Ok(count)
    }

    /// Returns the messages that a person chose: by their alerts, and the newest about each first. A
    /// delivery that is part of a message leads to the message.
    pub(super) fn chosen(&self, which: &Which) -> rusqlite::Result<Vec<Chosen>> {
        let of = |name: &str, sql: &str| -> rusqlite::Result<Vec<Chosen>> {
            let Some(destination) = delivery_rows::destination(self.connection, name)? else {
                return Ok(Vec::new());
            };
            let chosen =
                |row: &rusqlite::Row<'_>| Ok(Chosen { alert: row.get(0)?, seq: row.get(1)? });
            self.statement(sql)?.query_map([destination], chosen)?.collect()
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
    fn end(&mut self, row: &DeliveryRow, end: End<'_>) -> rusqlite::Result<()> {
        let End { state, reason, in_doubt, now } = end;
        let sql = "UPDATE deliveries SET state = ?2, reason = ?3, in_doubt = ?4, finished_at = ?5, \
                   discarded_by = NULL WHERE seq = ?1";
        self.statement(sql)?.execute(params![row.seq, state, reason, in_doubt, now])?;
        let sql = "UPDATE deliveries SET state = ?2, finished_at = ?3 WHERE told_by = ?1";
        self.statement(sql)?.execute(params![row.seq, state, now])?;
        self.let_next_follow(row.destination, row.alert)
    }

    /// Makes the oldest news about an alert ready, unless other news are ready or in flight.
    pub(super) fn let_next_follow(&self, destination: i64, alert: i64) -> rusqlite::Result<()> {
        let active = self.active(destination, alert)?;
        let Some(oldest) = active.first() else { return Ok(()) };
        if active.iter().any(|row| row.state != State::Behind) {
            return Ok(());
        }
        let sql = "UPDATE deliveries SET state = 0 WHERE seq = ?1";
        self.statement(sql)?.execute([oldest.seq]).map(drop)
    }

    /// Unites the deliveries about an alert that wait and surely were not sent: the first one gets the
    /// content of the last one.
    fn unite_waiting(&mut self, destination: i64, alert: i64) -> rusqlite::Result<()> {
        let mut waiting = self.active(destination, alert)?;
        waiting.retain(|row| !row.may_be_told());
        while let [message, later, ..] = &waiting[..] {
            self.take_over(message, later)?;
            waiting = self.active(destination, alert)?;
            waiting.retain(|row| !row.may_be_told());
        }
        Ok(())
    }

    fn take_over(&mut self, message: &DeliveryRow, later: &DeliveryRow) -> rusqlite::Result<()> {
        let seqs = [message.seq, later.seq];
        self.statement("DELETE FROM deliveries WHERE seq = ?1")?.execute([later.seq])?;
        self.statement("UPDATE deliveries SET told_by = ?1 WHERE told_by = ?2")?.execute(seqs)?;
        if message.is_digest() {
            let mut tally = self.tally(message.seq)?;
            tally.merge(&self.tally(later.seq)?);
            self.put_tally(message.seq, &tally)?;
            self.statement("DELETE FROM digests WHERE delivery = ?1")?.execute([later.seq])?;
            self.statement("UPDATE digest_alerts SET digest = ?1 WHERE digest = ?2")?
                .execute(seqs)?;
        }
        // An older delivery that was retried may be behind the later one, which was attempted last.
        let last = if later.state == State::Behind { message } else { later };
        let attempts = message.attempts.max(later.attempts);
        let sql = "UPDATE deliveries SET state = ?2, attempts = ?3, due_at = ?4, reason = ?5 \
                   WHERE seq = ?1";
        let values = params![message.seq, last.state, attempts, last.due_at, last.reason];
        self.statement(sql)?.execute(values)?;
        self.replace(message, later)
    }

    /// Makes a delivery a part of a message, with all that are part of it.
    pub(super) fn become_told(&self, seq: i64, message: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE deliveries SET state = 5, told_by = ?2 WHERE seq = ?1";
        self.statement(sql)?.execute([seq, message])?;
        let sql = "UPDATE deliveries SET told_by = ?2 WHERE told_by = ?1";
        self.statement(sql)?.execute([seq, message]).map(drop)
    }

    /// Returns the deliveries about an alert to a destination that have not ended, oldest first.
    pub(super) fn active(
        &self,
        destination: i64,
        alert: i64,
    ) -> rusqlite::Result<Vec<DeliveryRow>> {
        let sql = format!("SELECT {DELIVERY_ROW} {ACTIVE}");
        self.statement(&sql)?.query_map([alert, destination], DeliveryRow::read)?.collect()
    }

    pub(super) fn has_active(&self, destination: i64, alert: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_active \
                   WHERE alert = ?1 AND destination = ?2 AND state < 3)";
        self.statement(sql)?.query_row([alert, destination], |row| row.get(0))
    }

    pub(super) fn delivery_row(&self, seq: i64) -> rusqlite::Result<Option<DeliveryRow>> {
        let sql = format!("SELECT {DELIVERY_ROW} FROM deliveries WHERE seq = ?1");
        self.statement(&sql)?.query_row([seq], DeliveryRow::read).optional()
    }

    fn delivery_of(&self, id: Ulid) -> rusqlite::Result<Option<DeliveryRow>> {
        let sql = format!("SELECT {DELIVERY_ROW} FROM deliveries WHERE id = ?1");
        let id = id.to_bytes();
        self.statement(&sql)?.query_row([id.as_slice()], DeliveryRow::read).optional()
    }

    /// Returns the number of a destination that has a delivery.
    pub(super) fn used_destination(&mut self, name: &str) -> rusqlite::Result<i64> {
        let destination = self.destination(name)?;
        if self.state.names.used_destinations.insert(destination) {
            let sql = "UPDATE destinations SET used = 1 WHERE id = ?1";
            self.statement(sql)?.execute([destination])?;
        }
        Ok(destination)
    }

    /// Returns the number under which a destination is stored.
    pub(super) fn destination(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.state.names.destinations.get(name) {
            return Ok(*id);
        }
        let sql = "INSERT INTO destinations (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
        self.statement(sql)?.execute([name])?;
        let sql = "SELECT id FROM destinations WHERE name = ?1";
        let id = self.statement(sql)?.query_row([name], |row| row.get(0))?;
        self.state.names.destinations.insert(name.into(), id);
        Ok(id)
    }
}

//! Steps of recurring tasks, within a transaction.
//!
//! [`crate::housekeeping`] decides when each task is due.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use ulid::Ulid;

use super::{alert_changes::state, write_transaction::WriteTransaction};
use crate::alert::life::{self, AlertState};
use crate::store::housekeeping::{
    Forgettable, HousekeepingProgress, HousekeepingStep, HousekeepingTask,
};

/// Largest size of the requests that one step deletes. The pages of large requests are many, and SQLite
/// frees them one by one.
const MOST_BYTES_AT_ONCE: i64 = 4 * 1024 * 1024;
/// Number of alerts that are looked at for each that may be changed.
const LOOKED_AT: i64 = 20;

/// The oldest records before an id, each with the number of the alert in whose row it is.
pub(super) const OLDEST_RECORDS: &str = "SELECT id, NULL FROM requests WHERE id < ?1 \
     UNION ALL SELECT id, alert FROM folded_requests WHERE id < ?1 ORDER BY 1 LIMIT ?2";
/// Deletes the times of transactions that are older than the oldest record.
pub(super) const FORGET_TRANSACTIONS: &str = "DELETE FROM transactions WHERE id IN \
     (SELECT id FROM transactions WHERE id < \
     (SELECT ifnull(transaction_id, 0) FROM (SELECT id, transaction_id FROM requests \
     UNION ALL SELECT id, transaction_id FROM folded_requests ORDER BY 1 LIMIT 1)) LIMIT ?1)";

impl WriteTransaction<'_> {
    pub(super) fn housekeep(
        &mut self,
        step: &HousekeepingStep,
    ) -> rusqlite::Result<HousekeepingProgress> {
        let limit = step.limit;
        match &step.task {
            HousekeepingTask::ResolveDue { now } => self.resolve_due(*now, limit),
            HousekeepingTask::ResolveAfter { integration, after } => {
                self.resolve_after(integration, *after, limit)
            }
            HousekeepingTask::Forget { what, before } => match what {
                Forgettable::RawRequests => self.forget_raw(false, *before, limit),
                Forgettable::Quarantine => self.forget_raw(true, *before, limit),
                Forgettable::Records => self.forget_records(*before, limit),
                Forgettable::ResolvedAlerts => self.forget_alerts(*before, limit),
                Forgettable::Deliveries => self.forget_deliveries(*before, limit),
                Forgettable::Audit => self.forget_audit(*before, limit),
            },
        }
    }

    fn resolve_due(
        &mut self,
        now: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<HousekeepingProgress> {
        let sql = "SELECT number, status, updated_at FROM alerts WHERE due_at <= ?1 \
                   ORDER BY due_at LIMIT ?2";
        let due: Vec<AlertState> = self
            .statement(sql)?
            .query_map(params![now.as_millisecond(), number(limit)], state)?
            .collect::<Result<_, _>>()?;
        due.iter().try_for_each(|alert| self.update(&life::on_silence(now, *alert)))?;
        Ok(HousekeepingProgress::of(due.len(), limit))
    }

    /// Goes through all alerts in the order of their numbers, since no index leads to the open alerts of an
    /// integration.
    fn resolve_after(
        &mut self,
        name: &Arc<str>,
        after: Option<Duration>,
        limit: usize,
    ) -> rusqlite::Result<HousekeepingProgress> {
        let integration = self.integration(name)?;
        let wanted = after.map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let known = "SELECT resolve_after FROM integrations WHERE id = ?1";
        let known: Option<i64> =
            self.statement(known)?.query_row([integration], |row| row.get(0))?;
        if known == wanted {
            return Ok(HousekeepingProgress { count: 0, more: false });
        }
        let from = self.state.adopted.get(&integration).copied().unwrap_or(0);
        let to = from + number(limit).saturating_mul(LOOKED_AT);
        let sql = "UPDATE alerts SET due_at = ifnull(last_occurred_at, created_at) + ?4 \
                   WHERE number > ?1 AND number <= ?2 AND integration = ?3 AND status < 2";
        let count = self.statement(sql)?.execute(params![from, to, integration, wanted])?;
        if to < self.state.highest {
            self.state.adopted.insert(integration, to);
            return Ok(HousekeepingProgress { count, more: true });
        }
        self.state.adopted.remove(&integration);
        let sql = "UPDATE integrations SET resolve_after = ?2 WHERE id = ?1";
        self.statement(sql)?.execute(params![integration, wanted])?;
        Ok(HousekeepingProgress { count, more: false })
    }

    fn forget_raw(
        &mut self,
        quarantined: bool,
        before: Option<Timestamp>,
        limit: usize,
    ) -> rusqlite::Result<HousekeepingProgress> {
        let sql = "SELECT seq, integration, size FROM kept_requests \
                   WHERE quarantined = ?1 AND request < ?2 ORDER BY seq LIMIT ?3";
        let oldest: Vec<(i64, i64, i64)> = self
            .statement(sql)?
            .query_map(params![quarantined, first_id(before), number(limit)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        let (mut count, mut bytes) = (0, 0);
        for (seq, integration, size) in &oldest {
            self.statement("DELETE FROM kept_requests WHERE seq = ?1")?.execute([seq])?;
            if quarantined {
                self.left_quarantine(*integration, *size);
            }
            count += 1;
            bytes += size;
            if bytes > MOST_BYTES_AT_ONCE {
                break;
            }
        }
        Ok(HousekeepingProgress { count, more: count < oldest.len() || count == limit })
    }

    fn forget_records(
        &mut self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> rusqlite::Result<HousekeepingProgress> {
        let oldest: Vec<(Vec<u8>, Option<i64>)> = self
            .statement(OLDEST_RECORDS)?
            .query_map(params![first_id(before), number(limit)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        for (id, folded_into) in &oldest {
            let sql = "DELETE FROM kept_requests WHERE request = ?1 \
                       RETURNING integration, size, quarantined";
            let kept: Option<(i64, i64, bool)> = self
                .statement(sql)?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            if let Some((integration, size, true)) = kept {
                self.left_quarantine(integration, size);
            }
            self.statement("DELETE FROM replays WHERE request = ?1")?.execute([id])?;
            match folded_into {
                Some(alert) => {
                    let sql = "UPDATE alerts SET recorded = 0, sender = NULL, size = NULL, \
                               plugin_us = NULL WHERE number = ?1";
                    self.statement(sql)?.execute([alert])?;
                }
                None => {
                    self.statement("DELETE FROM requests WHERE id = ?1")?.execute([id])?;
                }
            }
        }
        // A transaction holds one record or more.
        self.statement(FORGET_TRANSACTIONS)?.execute([number(limit)])?;
        Ok(HousekeepingProgress::of(oldest.len(), limit))
    }

    fn forget_alerts(
        &mut self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> rusqlite::Result<HousekeepingProgress> {
        // The newest alert stays: the next alert gets the number after it.
        let sql = "SELECT number FROM alerts a WHERE status = 2 AND updated_at < ?1 \
                   AND number < ?2 AND NOT EXISTS (SELECT 1 FROM deliveries d \
                   WHERE d.alert = a.number AND d.state NOT IN (3, 4)) \
                   ORDER BY updated_at LIMIT ?3";
        let before = before.map_or(i64::MAX, Timestamp::as_millisecond);
        let oldest: Vec<i64> = self
            .statement(sql)?
            .query_map(params![before, self.state.highest, number(limit)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if !oldest.is_empty() {
            // The rows that are deleted may be the last with the highest number of a transaction.
            let sql = "INSERT INTO meta VALUES ('transaction', ?1) \
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            self.statement(sql)?.execute([self.state.transaction])?;
        }
        for alert in &oldest {
            // The record may be kept for longer than its alert.
            let sql = "INSERT INTO requests SELECT id, integration, plugin, received_at, outcome, \
                       alert, reason, sender, size, plugin_us, transaction_id, effects \
                       FROM folded_requests WHERE alert = ?1";
            self.statement(sql)?.execute([alert])?;
            self.forget_keys(*alert)?;
            self.forget_told_of(*alert)?;
            self.statement("DELETE FROM changes WHERE alert = ?1")?.execute([alert])?;
            self.statement("DELETE FROM alerts WHERE number = ?1")?.execute([alert])?;
        }
        Ok(HousekeepingProgress::of(oldest.len(), limit))
    }

    /// Forgets the dedup key of an alert that is about to be deleted. Its event id stays seen.
    fn forget_keys(&mut self, alert: i64) -> rusqlite::Result<()> {
        // An earlier alert must not become the last one of the key again.
        let sql = "DELETE FROM problems WHERE alert <= ?1 AND (integration, dedup_key) = \
                   (SELECT integration, dedup_key FROM alerts WHERE number = ?1)";
        self.statement(sql)?.execute([alert])?;
        if self.state.keys.forget(alert) {
            // The row was the only place of the event id.
            let sql = "INSERT INTO seen_events SELECT integration, \
                       CASE event_id WHEN '' THEN dedup_key ELSE event_id END, number FROM alerts \
                       WHERE number = ?1 AND event_id IS NOT NULL \
                       ON CONFLICT (integration, event_id) DO NOTHING";
            self.statement(sql)?.execute([alert])?;
        }
        Ok(())
    }
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Ids begin with their time: the first of all that are not older.
pub(super) fn first_id(before: Option<Timestamp>) -> [u8; 16] {
    let Some(before) = before else { return [0xff; 16] };
    let milliseconds = u64::try_from(before.as_millisecond()).unwrap_or(0);
    Ulid::from_parts(milliseconds, 0).to_bytes()
}

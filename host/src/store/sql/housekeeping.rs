//! Steps of recurring tasks, within a transaction.
//!
//! [`crate::housekeeping`] decides when each task is due.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use ulid::Ulid;

use super::{alert_changes::state, error::SqlResult, transaction::Transaction, value::values};
use crate::{
    alert::life,
    store::housekeeping::{Forgettable, HousekeepingProgress, HousekeepingStep, HousekeepingTask},
};

/// Largest size of the requests that one step deletes. The pages of large requests are many, and SQLite
/// frees them one by one.
const MOST_BYTES_AT_ONCE: u64 = 4 * 1024 * 1024;
/// Number of alerts that are looked at for each that may be changed.
const LOOKED_AT: i64 = 20;

/// The oldest records before an id, each with the number of the alert in whose row it is.
pub(in crate::store) const OLDEST_RECORDS: &str = "SELECT id, CAST(NULL AS BIGINT) FROM requests WHERE id < ?1 \
     UNION ALL SELECT id, alert FROM folded_requests WHERE id < ?1 ORDER BY 1 LIMIT ?2";
/// Deletes the times of transactions that are older than the oldest record.
pub(in crate::store) const FORGET_TRANSACTIONS: &str = "DELETE FROM transactions WHERE id IN \
     (SELECT id FROM transactions WHERE id < \
     (SELECT coalesce(transaction_id, 0) FROM (SELECT id, transaction_id FROM requests \
     UNION ALL SELECT id, transaction_id FROM folded_requests ORDER BY 1 LIMIT 1) AS oldest) LIMIT ?1)";

impl Transaction<'_> {
    pub(in crate::store) fn housekeep(
        &mut self,
        step: &HousekeepingStep,
    ) -> SqlResult<HousekeepingProgress> {
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

    fn resolve_due(&mut self, now: Timestamp, limit: usize) -> SqlResult<HousekeepingProgress> {
        let sql = format!(
            "SELECT number, status, updated_at FROM alerts WHERE due_at <= ?1 \
             ORDER BY due_at LIMIT ?2{}",
            self.database.row_lock()
        );
        let due = self.database.all(&sql, values![now, limit], state)?;
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
    ) -> SqlResult<HousekeepingProgress> {
        let integration = self.integration(name)?;
        let wanted = after.map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let known = "SELECT resolve_after FROM integrations WHERE id = ?1";
        let known: Option<i64> =
            self.database.one(known, values![integration], |row| row.get(0))?;
        if known == wanted {
            return Ok(HousekeepingProgress { count: 0, more: false });
        }
        let from = self.memory.places().adopted.get(&integration).copied().unwrap_or(0);
        let to = from + i64::try_from(limit).unwrap_or(i64::MAX).saturating_mul(LOOKED_AT);
        let sql = "UPDATE alerts SET due_at = coalesce(last_occurred_at, created_at) + ?4 \
                   WHERE number > ?1 AND number <= ?2 AND integration = ?3 AND status < 2";
        let count = self.database.execute(sql, values![from, to, integration, wanted])?;
        if to < self.memory.highest()? {
            self.memory.places().adopted.insert(integration, to);
            return Ok(HousekeepingProgress { count, more: true });
        }
        self.memory.places().adopted.remove(&integration);
        let sql = "UPDATE integrations SET resolve_after = ?2 WHERE id = ?1";
        self.database.execute(sql, values![integration, wanted])?;
        Ok(HousekeepingProgress { count, more: false })
    }

    fn forget_raw(
        &mut self,
        quarantined: bool,
        before: Option<Timestamp>,
        limit: usize,
    ) -> SqlResult<HousekeepingProgress> {
        let sql = "SELECT seq, integration, size FROM kept_requests \
                   WHERE quarantined = ?1 AND request < ?2 ORDER BY seq LIMIT ?3";
        let values = values![quarantined, first_id(before), limit];
        let oldest = self
            .database
            .all(sql, values, |row| Ok((row.get::<i64>(0)?, row.get(1)?, row.get::<u64>(2)?)))?;
        let (mut count, mut bytes) = (0, 0);
        for (seq, integration, size) in &oldest {
            self.database.execute("DELETE FROM kept_requests WHERE seq = ?1", values![*seq])?;
            if quarantined {
                self.memory.left_quarantine(*integration, *size);
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
    ) -> SqlResult<HousekeepingProgress> {
        let oldest =
            self.database.all(OLDEST_RECORDS, values![first_id(before), limit], |row| {
                Ok((row.get::<Ulid>(0)?, row.get::<Option<i64>>(1)?))
            })?;
        for (id, folded_into) in &oldest {
            let sql = "DELETE FROM kept_requests WHERE request = ?1 \
                       RETURNING integration, size, quarantined";
            let kept = self.database.first(sql, values![*id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<bool>(2)?))
            })?;
            if let Some((integration, size, true)) = kept {
                self.memory.left_quarantine(integration, size);
            }
            self.database.execute("DELETE FROM replays WHERE request = ?1", values![*id])?;
            match folded_into {
                Some(alert) => {
                    let sql = "UPDATE alerts SET recorded = 0, sender = NULL, size = NULL, \
                               plugin_us = NULL WHERE number = ?1";
                    self.database.execute(sql, values![*alert])?;
                }
                None => {
                    self.database.execute("DELETE FROM requests WHERE id = ?1", values![*id])?;
                }
            }
        }
        // A transaction holds one record or more.
        self.database.execute(FORGET_TRANSACTIONS, values![limit])?;
        Ok(HousekeepingProgress::of(oldest.len(), limit))
    }

    fn forget_alerts(
        &mut self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> SqlResult<HousekeepingProgress> {
        // The newest alert stays: the next alert gets the number after it.
        let sql = "SELECT number FROM alerts a WHERE status = 2 AND updated_at < ?1 \
                   AND number < ?2 AND NOT EXISTS (SELECT 1 FROM deliveries d \
                   WHERE d.alert = a.number AND d.state NOT IN (3, 4)) \
                   ORDER BY updated_at LIMIT ?3";
        let before = before.map_or(i64::MAX, Timestamp::as_millisecond);
        let values = values![before, self.memory.highest()?, limit];
        let oldest = self.database.all(sql, values, |row| row.get::<i64>(0))?;
        if !oldest.is_empty() {
            // The rows that are deleted may be the last with the highest number of a transaction.
            let sql = "INSERT INTO meta (key, value) VALUES ('transaction', ?1) \
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            self.database.execute(sql, values![self.memory.transaction()?])?;
        }
        for alert in oldest.iter().copied() {
            // The record may be kept for longer than its alert.
            let sql = "INSERT INTO requests (id, integration, plugin, received_at, outcome, alert, \
                       reason, sender, size, plugin_us, transaction_id, effects) \
                       SELECT id, integration, plugin, received_at, outcome, alert, reason, sender, size, plugin_us, transaction_id, effects \
                       FROM folded_requests WHERE alert = ?1";
            self.database.execute(sql, values![alert])?;
            self.forget_keys(alert)?;
            self.forget_told_of(alert)?;
            self.database.execute("DELETE FROM changes WHERE alert = ?1", values![alert])?;
            self.database.execute("DELETE FROM alerts WHERE number = ?1", values![alert])?;
        }
        Ok(HousekeepingProgress::of(oldest.len(), limit))
    }

    /// Forgets the dedup key of an alert that is about to be deleted. Its event id stays seen.
    fn forget_keys(&mut self, alert: i64) -> SqlResult<()> {
        // An earlier alert must not become the last one of the key again.
        let sql = "DELETE FROM problems WHERE alert <= ?1 AND (integration, dedup_key) = \
                   (SELECT integration, dedup_key FROM alerts WHERE number = ?1)";
        self.database.execute(sql, values![alert])?;
        if self.memory.forget_keys(alert) {
            // The row was the only place of the event id.
            let sql = "INSERT INTO seen_events (integration, event_id, alert) SELECT integration, \
                       CASE event_id WHEN '' THEN dedup_key ELSE event_id END, number FROM alerts \
                       WHERE number = ?1 AND event_id IS NOT NULL \
                       ON CONFLICT (integration, event_id) DO NOTHING";
            self.database.execute(sql, values![alert])?;
        }
        Ok(())
    }
}

/// Ids begin with their time: the first of all that are not older.
pub(super) fn first_id(before: Option<Timestamp>) -> Ulid {
    let Some(before) = before else { return Ulid::from_bytes([0xff; 16]) };
    let milliseconds = u64::try_from(before.as_millisecond()).unwrap_or(0);
    Ulid::from_parts(milliseconds, 0)
}

//! Deletes deliveries and what belongs to them, within a transaction.
//!
//! [`super::housekeeping`] calls the functions here in its steps.

use jiff::Timestamp;

use super::{
    delivery_rows::{DELIVERY_ROW, DeliveryRow},
    error::SqlResult,
    transaction::Transaction,
    value::values,
};
use crate::store::housekeeping::HousekeepingProgress;

impl Transaction<'_> {
    /// Deletes the oldest delivered deliveries, facts, and silences that have ended.
    ///
    /// Deliveries that told of an alert that is not resolved stay: further news about the alert is sent
    /// only to destinations that know the alert. Each step looks at those after the last step, so that
    /// many that stay cost little.
    pub(super) fn forget_deliveries(
        &mut self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> SqlResult<HousekeepingProgress> {
        let sql = format!(
            "SELECT {DELIVERY_ROW} FROM deliveries INDEXED BY deliveries_finished \
             WHERE state = 3 AND finished_at < ?1 AND finished_at >= ?3 \
             AND (finished_at > ?3 OR seq > ?4) ORDER BY finished_at, seq LIMIT ?2"
        );
        let bound = before.map_or(i64::MAX, Timestamp::as_millisecond);
        let (time, place) = self.memory.places().last_looked_at.unwrap_or((i64::MIN, i64::MIN));
        let oldest =
            self.database.all(&sql, values![bound, limit, time, place], DeliveryRow::read)?;
        let looked_at = oldest.len();
        let last = oldest.last().filter(|_| looked_at == limit);
        let last = last.map(|row| (row.finished_at.unwrap_or(0), row.seq));
        self.memory.places().last_looked_at = last;
        let mut deleted = 0;
        for row in &oldest {
            if self.told_of_unresolved(row)? {
                continue;
            }
            deleted += 1;
            self.forget_delivery(row)?;
            // An alert that is not resolved may have further news, for which the notifier needs its value.
            let sql = "DELETE FROM notifier_states WHERE alert = ?1 AND destination = ?2 \
                       AND NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = ?1 AND destination = ?2) \
                       AND NOT EXISTS (SELECT 1 FROM alerts WHERE number = ?1 AND status < 2)";
            self.database.execute(sql, values![row.alert, row.destination])?;
        }
        // Facts are recorded in the order of their times, except after a clock was set back.
        let sql = "DELETE FROM facts WHERE at < ?1 \
                   AND id IN (SELECT id FROM facts ORDER BY id LIMIT ?2)";
        let facts = self.database.execute(sql, values![bound, limit - looked_at])?;
        if let Some(before) = before {
            let sql = "DELETE FROM silences WHERE ends_at < ?1";
            self.database.execute(sql, values![before])?;
        }
        Ok(HousekeepingProgress { count: deleted + facts, more: looked_at + facts == limit })
    }

    /// Returns true if a delivery told of an alert that is not resolved.
    fn told_of_unresolved(&self, row: &DeliveryRow) -> SqlResult<bool> {
        if row.is_digest() {
            let sql = "SELECT EXISTS (SELECT 1 FROM digest_alerts d INDEXED BY digest_alerts_of \
                       CROSS JOIN alerts a INDEXED BY listing \
                       WHERE d.digest = ?1 AND a.number BETWEEN d.first AND d.last AND a.status < 2)";
            return self.database.one(sql, values![row.seq], |row| row.get(0));
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM alerts WHERE number = ?1 AND status < 2)";
        self.database.one(sql, values![row.alert], |row| row.get(0))
    }

    /// Deletes what belongs to an alert, whose deliveries have all ended. Dead deliveries stay.
    pub(super) fn forget_told_of(&self, alert: i64) -> SqlResult<()> {
        for sql in [
            "DELETE FROM timers WHERE alert = ?1",
            "DELETE FROM facts WHERE alert = ?1",
            "DELETE FROM notifier_states WHERE alert = ?1",
        ] {
            self.database.execute(sql, values![alert])?;
        }
        let sql = format!("SELECT {DELIVERY_ROW} FROM deliveries WHERE alert = ?1 AND state = 3");
        let delivered = self.database.all(&sql, values![alert], DeliveryRow::read)?;
        delivered.iter().try_for_each(|row| self.forget_delivery(row))
    }

    fn forget_delivery(&self, row: &DeliveryRow) -> SqlResult<()> {
        if row.is_digest() {
            self.database
                .execute("DELETE FROM digest_alerts WHERE digest = ?1", values![row.seq])?;
            self.database.execute("DELETE FROM digests WHERE delivery = ?1", values![row.seq])?;
        }
        if row.attempts > 0 {
            let sql = "DELETE FROM attempts WHERE delivery = ?1";
            self.database.execute(sql, values![row.id])?;
        }
        self.database.execute("DELETE FROM deliveries WHERE seq = ?1", values![row.seq]).map(drop)
    }
}

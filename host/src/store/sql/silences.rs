//! Writes silences, timers and facts.

use jiff::Timestamp;
use tocsin_plugin_api::notification::Kind;

use super::{
    delivery_rows::{self, SILENCE},
    error::SqlResult,
    transaction::Transaction,
    value::{json, values},
};
use crate::{
    alert::Actor,
    delivery::{Fact, Silence, Timer, TimerCause},
};

impl Transaction<'_> {
    /// Adds a [`Silence`], and returns it with its number.
    pub(in crate::store) fn add_silence(&mut self, silence: &Silence) -> SqlResult<Silence> {
        let sql = format!(
            "INSERT INTO silences (conditions, starts_at, ends_at, by, reason, ended_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING {SILENCE}"
        );
        let values = values![
            json(&silence.conditions)?,
            silence.starts_at,
            silence.ends_at,
            &silence.by,
            &silence.reason,
            silence.ended_by.as_ref(),
        ];
        self.database.one(&sql, values, delivery_rows::silence)
    }

    /// Ends a [`Silence`] now, and returns it; none if it does not exist.
    pub(in crate::store) fn end_silence(
        &mut self,
        id: u64,
        by: &Actor,
        now: Timestamp,
    ) -> SqlResult<Option<Silence>> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        // A silence that has ended already stays as it is.
        let sql = "UPDATE silences SET ended_by = ?2, \
                   ends_at = CASE WHEN starts_at > ?3 THEN starts_at ELSE ?3 END \
                   WHERE id = ?1 AND ends_at > ?3";
        if self.database.execute(sql, values![id, by, now])? > 0 {
            let sql = "UPDATE timers SET due_at = ?2 WHERE silence = ?1 AND due_at > ?2";
            self.database.execute(sql, values![id, now])?;
        }
        let sql = format!("SELECT {SILENCE} FROM silences WHERE id = ?1");
        self.database.first(&sql, values![id], delivery_rows::silence)
    }

    pub(super) fn add_timer(&mut self, timer: &Timer) -> SqlResult<()> {
        let destination = self.destination(&timer.destination)?;
        let mut due_at = timer.due_at.as_millisecond();
        let silence = match timer.cause {
            TimerCause::SilenceEnds { silence } => Some(silence.cast_signed()),
            TimerCause::Escalation { .. } => None,
        };
        if let Some(silence) = silence {
            let sql = "SELECT EXISTS (SELECT 1 FROM timers INDEXED BY timers_of_alert \
                       WHERE alert = ?1 AND destination = ?2 AND silence = ?3)";
            let values = values![timer.alert, destination, silence];
            if self.database.one(sql, values, |row| row.get(0))? {
                return Ok(());
            }
            // The router may have seen the silence before it was ended early.
            let sql = "SELECT ends_at FROM silences WHERE id = ?1";
            let ends_at: Option<i64> =
                self.database.first(sql, values![silence], |row| row.get(0))?;
            due_at = due_at.min(ends_at.unwrap_or(due_at));
        }
        let sql = "INSERT INTO timers (due_at, alert, destination, silence, cause) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = values![due_at, timer.alert, destination, silence, json(&timer.cause)?];
        self.database.execute(sql, values).map(drop)
    }

    pub(super) fn add_fact(&mut self, alert: u64, fact: &Fact) -> SqlResult<()> {
        let destination = self.destination(&fact.destination)?;
        let reason = json(&fact.reason)?;
        // A problem that is reported again and again has the same fact each time.
        if fact.kind == Kind::Occurred {
            let sql = "SELECT kind = ?3 AND reason = ?4 FROM facts INDEXED BY facts_of_alert \
                       WHERE alert = ?1 AND destination = ?2 ORDER BY id DESC LIMIT 1";
            let values = values![alert, destination, fact.kind, &reason];
            if self.database.first(sql, values, |row| row.get(0))? == Some(true) {
                return Ok(());
            }
        }
        let sql = "INSERT INTO facts (alert, destination, kind, at, reason) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = values![alert, destination, fact.kind, fact.at, reason];
        self.database.execute(sql, values).map(drop)
    }
}

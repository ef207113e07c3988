//! Writes silences, timers and facts.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use tocsin_plugin_api::notification::Kind;

use super::{
    delivery_rows::{self, SILENCE, json, milliseconds},
    rows::Stored,
    write_transaction::WriteTransaction,
};
use crate::{
    alert::Actor,
    delivery::{Fact, Silence, Timer, TimerCause},
};

impl WriteTransaction<'_> {
    pub(super) fn add_silence(&mut self, silence: &Silence) -> rusqlite::Result<Silence> {
        let sql = "INSERT INTO silences VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6)";
        self.statement(sql)?.execute(params![
            json(&silence.conditions)?,
            milliseconds(silence.starts_at),
            milliseconds(silence.ends_at),
            silence.by.to_string(),
            silence.reason,
            silence.ended_by.as_ref().map(Actor::to_string),
        ])?;
        let sql = format!("SELECT {SILENCE} FROM silences WHERE id = ?1");
        let id = self.connection.last_insert_rowid();
        self.statement(&sql)?.query_row([id], delivery_rows::silence)
    }

    pub(super) fn end_silence(
        &mut self,
        id: u64,
        by: &Actor,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Silence>> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let now = milliseconds(now);
        // A silence that has ended already stays as it is.
        let sql = "UPDATE silences SET ended_by = ?2, ends_at = max(?3, starts_at) \
                   WHERE id = ?1 AND ends_at > ?3";
        if self.statement(sql)?.execute(params![id, by.to_string(), now])? > 0 {
            let sql = "UPDATE timers SET due_at = ?2 WHERE silence = ?1 AND due_at > ?2";
            self.statement(sql)?.execute([id, now])?;
        }
        let sql = format!("SELECT {SILENCE} FROM silences WHERE id = ?1");
        self.statement(&sql)?.query_row([id], delivery_rows::silence).optional()
    }

    pub(super) fn add_timer(&mut self, timer: &Timer) -> rusqlite::Result<()> {
        let destination = self.destination(&timer.destination)?;
        let silence = match timer.cause {
            TimerCause::SilenceEnds { silence } => Some(silence.cast_signed()),
            TimerCause::Escalation { .. } => None,
        };
        // The router may have seen the silence before it was ended early.
        let sql = "INSERT INTO timers SELECT NULL, \
                   min(?1, ifnull((SELECT ends_at FROM silences WHERE id = ?4), ?1)), ?2, ?3, ?4, ?5 \
                   WHERE ?4 IS NULL OR NOT EXISTS (SELECT 1 FROM timers INDEXED BY timers_of_alert \
                   WHERE alert = ?2 AND destination = ?3 AND silence = ?4)";
        self.statement(sql)?
            .execute(params![
                milliseconds(timer.due_at),
                timer.alert.cast_signed(),
                destination,
                silence,
                json(&timer.cause)?,
            ])
            .map(drop)
    }

    pub(super) fn add_fact(&mut self, alert: u64, fact: &Fact) -> rusqlite::Result<()> {
        let (alert, destination) = (alert.cast_signed(), self.destination(&fact.destination)?);
        let reason = json(&fact.reason)?;
        // A problem that is reported again and again has the same fact each time.
        if fact.kind == Kind::Occurred {
            let sql = "SELECT kind = ?3 AND reason = ?4 FROM facts INDEXED BY facts_of_alert \
                       WHERE alert = ?1 AND destination = ?2 ORDER BY id DESC LIMIT 1";
            let values = params![alert, destination, Stored(fact.kind), reason];
            let repeats: Option<bool> =
                self.statement(sql)?.query_row(values, |row| row.get(0)).optional()?;
            if repeats == Some(true) {
                return Ok(());
            }
        }
        let sql = "INSERT INTO facts VALUES (NULL, ?1, ?2, ?3, ?4, ?5)";
        let kind = Stored(fact.kind);
        let values = params![alert, destination, kind, milliseconds(fact.at), reason];
        self.statement(sql)?.execute(values).map(drop)
    }
}

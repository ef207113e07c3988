//! Reads the rows that the keys of an event lead to, and writes the changes that [`life`] decides on.
//!
//! The keys are in trees, and those of new alerts in [`unindexed_keys`]. Nothing can race them, because one
//! thread writes.

use rusqlite::params;
use tocsin_plugin_api::{Action, Urgency};

use super::{unindexed_keys, write_transaction::WriteTransaction};
use crate::{
    alert::{
        Event, Status,
        life::{
            self, AlertChange, Changes, Effect, EventOutcome, Found, LastEntry, Report, SeenEvent,
            Terms, UnresolvedAlert,
        },
    },
    store::sql::{self, Origin, Row, SqlResult, state},
};

impl WriteTransaction<'_> {
    /// Applies one event, with the event id by which it is known.
    pub(super) fn event(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        event_id: Option<&str>,
        terms: Terms,
    ) -> SqlResult<Effect> {
        let report = Report { event, terms, cause: &origin.cause };
        let (seen, last) = self.known(origin, event_id, event.dedup_key.as_deref())?;
        let seen = seen.map(|alert| self.seen_event(alert)).transpose()?;
        let outcome = match last {
            Some(last) if seen.is_none() => self.on_last_alert(last, report)?,
            _ => None,
        };
        let outcome = outcome
            .unwrap_or_else(|| life::on_event(report, Found { seen, ..self.nothing_found() }));
        self.write(origin, event, event_id, &outcome.changes)?;
        let EventOutcome { effect, is_seen, .. } = outcome;
        // The row of a new alert holds its event id.
        let is_kept = matches!(effect, Effect::Opened(_) | Effect::Duplicate(_)) || !is_seen;
        if let Some(event_id) = event_id.filter(|_| !is_kept) {
            let sql = "INSERT INTO seen_events VALUES (?1, ?2, ?3)";
            let alert = effect.alert().map(u64::cast_signed);
            self.kept.execute(sql, params![origin.integration, event_id, alert])?;
        }
        Ok(effect)
    }

    fn nothing_found(&self) -> Found<'static> {
        Found {
            next_number: (self.state.highest + 1).cast_unsigned(),
            seen: None,
            unresolved: None,
            last_resolved: None,
        }
    }

    /// Returns the alert of the event that was seen with an id, 0 if it concerned no alert, and the last alert
    /// with a dedup key.
    fn known(
        &self,
        origin: &Origin<'_>,
        event_id: Option<&str>,
        dedup_key: Option<&str>,
    ) -> SqlResult<(Option<i64>, Option<i64>)> {
        let (keys, integration) = (&self.state.keys, origin.integration);
        let seen = event_id.and_then(|id| keys.with_event_id(integration, id));
        let last = dedup_key.and_then(|key| keys.with_dedup_key(integration, key));
        let event_id = event_id.filter(|_| seen.is_none());
        let dedup_key = dedup_key.filter(|_| last.is_none());
        if event_id.is_none() && dedup_key.is_none() {
            return Ok((seen, last));
        }
        let sql = "SELECT (SELECT ifnull(alert, 0) FROM seen_events \
                   WHERE integration = ?1 AND event_id = ?2), \
                   (SELECT alert FROM problems WHERE integration = ?1 AND dedup_key = ?3)";
        let values = params![integration, event_id, dedup_key];
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (in_tree, last_in_tree) = self.kept.query(sql, values, read)?.unwrap_or_default();
        Ok((seen.or(in_tree), last.or(last_in_tree)))
    }

    fn seen_event(&self, alert: i64) -> SqlResult<SeenEvent> {
        let sql = "SELECT number FROM alerts WHERE number = ?1";
        let alert: Option<i64> = self.kept.query(sql, params![alert], |row| row.get(0))?;
        Ok(SeenEvent {
            alert: match alert {
                Some(number) => Some((number.cast_unsigned(), self.last_entry(number)?)),
                None => None,
            },
        })
    }

    /// Decides on an event with the last alert of its dedup key; none if the alert was deleted.
    fn on_last_alert(&self, number: i64, report: Report<'_>) -> SqlResult<Option<EventOutcome>> {
        let sql = "SELECT number, status, updated_at, occurrences, \
                   ifnull(last_occurred_at, created_at), title, description, urgency, link, details \
                   FROM alerts WHERE number = ?1";
        // Decides here, so that the texts of the row need not be copied.
        let decide = |row: &Row<'_>| {
            let mut found = self.nothing_found();
            if state(row)?.status == Status::Resolved {
                found.last_resolved = Some(number.cast_unsigned());
            } else {
                let last_entry = match report.event.action {
                    Action::Create => self.last_entry(number)?,
                    _ => None,
                };
                found.unresolved = Some(unresolved(row, last_entry)?);
            }
            Ok(life::on_event(report, found))
        };
        self.kept.query(sql, params![number], decide)
    }

    fn last_entry(&self, number: i64) -> SqlResult<Option<LastEntry>> {
        let sql = "SELECT at, change, by, request, count, last_at, data, seq FROM changes \
                   WHERE alert = ?1 ORDER BY seq DESC LIMIT 1";
        let last =
            |row: &Row<'_>| Ok(LastEntry { place: row.get(7)?, entry: sql::history_entry(row)? });
        self.kept.query(sql, &[&number], last)
    }

    /// Writes the [`Changes`] of an event.
    fn write(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        event_id: Option<&str>,
        changes: &Changes,
    ) -> SqlResult<()> {
        let Some(AlertChange::Open { number, urgency, previous, resolves_at }) = changes.alert
        else {
            return self.shared().update(changes);
        };
        let description = event.description.as_deref().map(|text| same_as(&event.title, text));
        let sql = "INSERT INTO alerts VALUES (?1, ?2, ?3, 0, ?4, 1, ?5, ?5, ?6, ?7, ?8, ?9, ?10, \
                   ?11, NULL, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
        let dedup_key = event.dedup_key.as_deref();
        let place = sql::place(&Urgency::ALL, &urgency);
        self.kept.execute(
            sql,
            params![
                number.cast_signed(),
                origin.integration,
                origin.plugin,
                place,
                origin.cause.at.as_millisecond(),
                origin.request.as_slice(),
                event.title,
                description,
                dedup_key,
                event.link,
                event.details.json(),
                resolves_at.map(jiff::Timestamp::as_millisecond),
                previous.map(u64::cast_signed),
                self.state.transaction,
                origin.submission.hops,
                origin.is_folded,
                origin.sender.as_deref().filter(|_| origin.is_folded),
                origin.size.filter(|_| origin.is_folded),
                origin.plugin_us.filter(|_| origin.is_folded),
                unindexed_keys::stored(event_id, dedup_key),
            ],
        )?;
        self.state.highest = number.cast_signed();
        self.state.keys.stage(number.cast_signed(), origin.integration, dedup_key, event_id);
        self.shared().write_history(changes.history.as_ref())
    }
}

fn unresolved<'r>(
    row: &'r Row<'_>,
    last_entry: Option<LastEntry>,
) -> SqlResult<UnresolvedAlert<'r>> {
    let title = row.text(5)?;
    Ok(UnresolvedAlert {
        state: state(row)?,
        occurrences: row.get(3)?,
        last_occurred_at: row.get(4)?,
        title,
        description: match row.text_or_null(6)? {
            Some("") => title,
            description => description.unwrap_or_default(),
        },
        urgency: row.get(7)?,
        link: row.text_or_null(8)?.unwrap_or_default(),
        details: row.text_or_null(9)?.unwrap_or_default(),
        last_entry,
    })
}

/// Returns the stored form of a description: empty if it is the same as the title, which is stored once.
fn same_as<'t>(title: &str, description: &'t str) -> &'t str {
    if description == title { "" } else { description }
}

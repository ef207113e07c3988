//! Reads the rows that the keys of an event lead to, and writes the changes that [`life`] decides on.
//!
//! Unique indexes guard both keys, so that nothing can race them. The rules are in [`life`].

use rusqlite::{Row, params};
use tocsin_plugin_api::{Action, Urgency};

use super::{
    rows::{self, Stored},
    submission::Origin,
    write_transaction::WriteTransaction,
};
use crate::{
    alert::{
        AlertRef, Event, HistoryEntry, Status,
        life::{
            self, AlertChange, AlertState, Cause, Changes, Effect, EventOutcome, Found,
            HistoryChange, LastEntry, Report, SeenEvent, Terms, UnresolvedAlert,
        },
    },
    store::{ManualChange, ManualChangeOutcome},
};

impl WriteTransaction<'_> {
    /// Applies one event, with the event id by which it is known.
    pub(super) fn event(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        event_id: Option<&str>,
        terms: Terms,
    ) -> rusqlite::Result<Effect> {
        let report = Report { event, terms, cause: &origin.cause };
        let Some(event_id) = event_id else { return Ok(self.report(origin, report)?.effect) };
        // Most events open an alert, whose number is thus written at once.
        let opens = life::may_open(event, terms).then_some(self.state.highest + 1);
        let sql = "INSERT INTO seen_events VALUES (?1, ?2, ?3) \
                   ON CONFLICT (integration, event_id) DO NOTHING";
        if self.kept.execute(sql, params![origin.integration, event_id, opens])? == 0 {
            let seen = Some(self.seen_event(origin, event_id)?);
            let outcome = life::on_event(report, Found { seen, ..self.nothing_found() });
            self.write(origin, event, &outcome.changes)?;
            return Ok(outcome.effect);
        }
        let EventOutcome { effect, is_seen, .. } = self.report(origin, report)?;
        let alert = effect.alert().map(u64::cast_signed);
        if !is_seen {
            let sql = "DELETE FROM seen_events WHERE integration = ?1 AND event_id = ?2";
            self.statement(sql)?.execute(params![origin.integration, event_id])?;
        } else if alert != opens {
            let sql = "UPDATE seen_events SET alert = ?3 WHERE integration = ?1 AND event_id = ?2";
            self.statement(sql)?.execute(params![origin.integration, event_id, alert])?;
        }
        Ok(effect)
    }

    /// Applies one event that was not seen before.
    fn report(
        &mut self,
        origin: &Origin<'_>,
        report: Report<'_>,
    ) -> rusqlite::Result<EventOutcome> {
        let event = report.event;
        let may_open = life::may_open(event, report.terms);
        if may_open {
            // The unique index tells whether the dedup key is free, so that no query is needed.
            let last_resolved = self.last_resolved(origin, event)?;
            let outcome = life::on_event(report, Found { last_resolved, ..self.nothing_found() });
            if self.write(origin, event, &outcome.changes)? {
                return Ok(outcome);
            }
        }
        let outcome = match self.on_unresolved(origin, report)? {
            Some(outcome) => outcome,
            // The index refused a key that no alert has.
            None if may_open => return Err(rusqlite::Error::QueryReturnedNoRows),
            None => life::on_event(report, self.nothing_found()),
        };
        self.write(origin, event, &outcome.changes)?;
        Ok(outcome)
    }

    fn nothing_found(&self) -> Found<'static> {
        Found {
            next_number: (self.state.highest + 1).cast_unsigned(),
            seen: None,
            unresolved: None,
            last_resolved: None,
        }
    }

    fn seen_event(&self, origin: &Origin<'_>, event_id: &str) -> rusqlite::Result<SeenEvent> {
        let sql = "SELECT a.number FROM seen_events d JOIN alerts a ON a.number = d.alert \
                   WHERE d.integration = ?1 AND d.event_id = ?2";
        let values = params![origin.integration, event_id];
        let alert: Option<i64> = self.kept.query(sql, values, |row| row.get(0))?;
        Ok(SeenEvent {
            alert: match alert {
                Some(number) => Some((number.cast_unsigned(), self.last_entry(number)?)),
                None => None,
            },
        })
    }

    fn last_resolved(&self, origin: &Origin<'_>, event: &Event) -> rusqlite::Result<Option<u64>> {
        // The query is not needed as long as no alert with a dedup key was ever resolved.
        let dedup_key = event.dedup_key.as_ref().filter(|_| self.state.has_former);
        let Some(dedup_key) = dedup_key else { return Ok(None) };
        let sql = "SELECT alert FROM former WHERE integration = ?1 AND dedup_key = ?2";
        let values = params![origin.integration, dedup_key];
        let alert: Option<i64> = self.kept.query(sql, values, |row| row.get(0))?;
        Ok(alert.map(i64::cast_unsigned))
    }

    /// Decides on an event with the unresolved alert of its dedup key; none if there is no such alert.
    fn on_unresolved(
        &self,
        origin: &Origin<'_>,
        report: Report<'_>,
    ) -> rusqlite::Result<Option<EventOutcome>> {
        let sql = "SELECT number, status, updated_at, occurrences, \
                   ifnull(last_occurred_at, created_at), title, description, urgency, link, details \
                   FROM alerts WHERE integration = ?1 AND dedup_key = ?2 AND status < 2";
        let values = params![origin.integration, report.event.dedup_key];
        // Decides here, so that the texts of the row need not be copied.
        let decide = |row: &Row<'_>| {
            let last_entry = match report.event.action {
                Action::Create => self.last_entry(row.get(0)?)?,
                _ => None,
            };
            let unresolved = Some(unresolved(row, last_entry)?);
            Ok(life::on_event(report, Found { unresolved, ..self.nothing_found() }))
        };
        self.kept.query(sql, values, decide)
    }

    fn last_entry(&self, number: i64) -> rusqlite::Result<Option<LastEntry>> {
        let sql = "SELECT at, change, by, request, count, last_at, data, seq FROM changes \
                   WHERE alert = ?1 ORDER BY seq DESC LIMIT 1";
        let last = |row: &Row<'_>| {
            let place = row.get::<_, i64>(7)?.cast_unsigned();
            Ok(LastEntry { place, entry: rows::history_entry(row)? })
        };
        self.kept.query(sql, &[&number], last)
    }

    /// Applies a [`ManualChange`].
    pub(super) fn change(
        &mut self,
        alert: AlertRef,
        change: &ManualChange,
    ) -> rusqlite::Result<ManualChangeOutcome> {
        let Some(number) = rows::resolve(self.connection, self.ids, alert)? else {
            return Ok(ManualChangeOutcome::NotFound);
        };
        let sql = "SELECT number, status, updated_at FROM alerts WHERE number = ?1";
        let state = self.statement(sql)?.query_row([number.cast_signed()], state)?;
        let cause = Cause { by: change.by.clone(), request_id: None, at: change.at };
        let Some(changes) = life::on_manual_action(&change.action, &cause, state) else {
            return Ok(ManualChangeOutcome::AlreadyResolved);
        };
        self.update(&changes)?;
        let changed = rows::with_history(self.connection, self.ids, number)?;
        Ok(ManualChangeOutcome::Done(Box::new(changed)))
    }

    /// Writes the [`Changes`] of an event. Returns false if nothing was written, because an unresolved alert
    /// has the dedup key of the alert that was to be opened.
    fn write(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        changes: &Changes,
    ) -> rusqlite::Result<bool> {
        let Some(AlertChange::Open { number, urgency, previous, resolves_at }) = changes.alert
        else {
            self.update(changes)?;
            return Ok(true);
        };
        let description = event.description.as_deref().map(|text| same_as(&event.title, text));
        let sql = "INSERT INTO alerts VALUES (?1, ?2, ?3, 0, ?4, 1, ?5, ?5, ?6, ?7, ?8, ?9, ?10, \
                   ?11, NULL, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) ON CONFLICT (integration, dedup_key) \
                   WHERE status < 2 AND dedup_key IS NOT NULL DO NOTHING";
        let inserted = self.kept.execute(
            sql,
            params![
                number.cast_signed(),
                origin.integration,
                origin.plugin,
                Stored(urgency),
                origin.cause.at.as_millisecond(),
                origin.request.as_slice(),
                event.title,
                description,
                event.dedup_key,
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
            ],
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        self.state.highest = number.cast_signed();
        self.write_history(changes.history.as_ref())?;
        Ok(true)
    }

    /// Writes [`Changes`] of alerts that exist.
    pub(super) fn update(&mut self, changes: &Changes) -> rusqlite::Result<()> {
        match changes.alert {
            None | Some(AlertChange::Open { .. }) => {}
            Some(AlertChange::Occur {
                number,
                occurrences,
                last_occurred_at,
                resolves_at,
                updated_at,
            }) => {
                let sql = "UPDATE alerts SET occurrences = ?2, updated_at = ?3, \
                           last_occurred_at = ?4, due_at = ?5 WHERE number = ?1";
                let values = params![
                    number.cast_signed(),
                    occurrences.cast_signed(),
                    updated_at.as_millisecond(),
                    last_occurred_at.as_millisecond(),
                    resolves_at.map(jiff::Timestamp::as_millisecond),
                ];
                self.kept.execute(sql, values)?;
            }
            Some(AlertChange::SetStatus { number, status, updated_at }) => {
                self.set_status(number.cast_signed(), status, updated_at.as_millisecond())?;
            }
            Some(AlertChange::Touch { number, updated_at }) => {
                let sql = "UPDATE alerts SET updated_at = ?2 WHERE number = ?1";
                let values = params![number.cast_signed(), updated_at.as_millisecond()];
                self.statement(sql)?.execute(values)?;
            }
        }
        self.write_history(changes.history.as_ref())
    }

    fn set_status(&mut self, number: i64, status: Status, updated_at: i64) -> rusqlite::Result<()> {
        if status != Status::Resolved {
            let sql = "UPDATE alerts SET status = ?2, updated_at = ?3 WHERE number = ?1";
            let values = params![number, Stored(status), updated_at];
            return self.statement(sql)?.execute(values).map(drop);
        }
        let sql = "UPDATE alerts SET status = 2, updated_at = ?2, due_at = NULL WHERE number = ?1";
        self.statement(sql)?.execute(params![number, updated_at])?;
        let sql = "INSERT INTO former SELECT integration, dedup_key, number FROM alerts \
                   WHERE number = ?1 AND dedup_key IS NOT NULL \
                   ON CONFLICT (integration, dedup_key) DO UPDATE SET alert = excluded.alert";
        self.statement(sql)?.execute([number])?;
        self.state.has_former = true;
        Ok(())
    }

    fn write_history(&self, change: Option<&HistoryChange>) -> rusqlite::Result<()> {
        let Some(HistoryChange { alert, replaces, entry }) = change else { return Ok(()) };
        let HistoryEntry { at, change, by, request_id, count, last_at, .. } = entry;
        let request = request_id.map(|id| id.to_bytes());
        let request = request.as_ref().map(<[u8; 16]>::as_slice);
        let data = rows::entry_data(entry);
        if let Some(place) = replaces {
            let sql = "UPDATE changes SET count = ?3, request = ?4, last_at = ?5, data = ?6, \
                       transaction_id = ?7 \
                       WHERE alert = ?1 AND seq = ?2";
            let values = params![
                alert.cast_signed(),
                place.cast_signed(),
                count.cast_signed(),
                request,
                last_at.as_millisecond(),
                data,
                self.state.transaction,
            ];
            return self.kept.execute(sql, values).map(drop);
        }
        let sql = "INSERT INTO changes VALUES (?1, \
                   (SELECT ifnull(max(seq), 0) + 1 FROM changes WHERE alert = ?1), \
                   ?2, ?3, ?4, ?5, 1, NULL, ?6, ?7)";
        let by = by.to_string();
        let values = params![
            alert.cast_signed(),
            at.as_millisecond(),
            Stored(*change),
            by,
            request,
            data,
            self.state.transaction,
        ];
        self.kept.execute(sql, values).map(drop)
    }
}

/// Reads an [`AlertState`] from the first columns of a row.
pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<AlertState> {
    Ok(AlertState {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        status: row.get::<_, Stored<Status>>(1)?.0,
        updated_at: rows::time(row, 2)?,
    })
}

fn unresolved<'r>(
    row: &'r Row<'_>,
    last_entry: Option<LastEntry>,
) -> rusqlite::Result<UnresolvedAlert<'r>> {
    let text = |column: usize| {
        let text = row.get_ref(column).map(|value| value.as_str_or_null());
        text.and_then(|text| Ok(text?))
    };
    let title = row.get_ref(5)?.as_str()?;
    Ok(UnresolvedAlert {
        state: state(row)?,
        occurrences: row.get::<_, i64>(3)?.cast_unsigned(),
        last_occurred_at: rows::time(row, 4)?,
        title,
        description: match text(6)? {
            Some("") => title,
            description => description.unwrap_or_default(),
        },
        urgency: row.get::<_, Stored<Urgency>>(7)?.0,
        link: text(8)?.unwrap_or_default(),
        details: text(9)?.unwrap_or_default(),
        last_entry,
    })
}

/// Returns the stored form of a description: empty if it is the same as the title, which is stored once.
fn same_as<'t>(title: &str, description: &'t str) -> &'t str {
    if description == title { "" } else { description }
}

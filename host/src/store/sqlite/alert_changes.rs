//! Reads the rows that the keys of an event lead to, and writes the changes that [`life`] decides on.
//!
//! The keys are in trees, and those of new alerts in [`unindexed_keys`]. Nothing can race them, because one
//! thread writes.

use rusqlite::{Row, params};
use tocsin_plugin_api::{Action, Urgency};

use super::{
    rows::{self, Stored},
    submission::Origin,
    unindexed_keys,
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
    ) -> rusqlite::Result<(Option<i64>, Option<i64>)> {
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

    fn seen_event(&self, alert: i64) -> rusqlite::Result<SeenEvent> {
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
    fn on_last_alert(
        &self,
        number: i64,
        report: Report<'_>,
    ) -> rusqlite::Result<Option<EventOutcome>> {
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

    /// Writes the [`Changes`] of an event.
    fn write(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        event_id: Option<&str>,
        changes: &Changes,
    ) -> rusqlite::Result<()> {
        let Some(AlertChange::Open { number, urgency, previous, resolves_at }) = changes.alert
        else {
            return self.update(changes);
        };
        let description = event.description.as_deref().map(|text| same_as(&event.title, text));
        let sql = "INSERT INTO alerts VALUES (?1, ?2, ?3, 0, ?4, 1, ?5, ?5, ?6, ?7, ?8, ?9, ?10, \
                   ?11, NULL, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
        let dedup_key = event.dedup_key.as_deref();
        self.kept.execute(
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
        self.write_history(changes.history.as_ref())
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
        self.statement(sql)?.execute(params![number, updated_at]).map(drop)
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

//! What events and people do to an alert within a transaction, and what its history says of it.
//!
//! Both keys are enforced here, by unique indexes, so that nothing can race them.

use rusqlite::{OptionalExtension, Row, params};
use tocsin_plugin_api::{Action, Event, Urgency};

use super::{
    rows::{self, EntryData, Stored},
    submission::Origin,
    write_transaction::WriteTransaction,
};
use crate::{
    alert::{Actor, AlertRef, ChangeKind, Difference, Status},
    store::{
        ManualAction, ManualChange, ManualChangeOutcome,
        request::{Effect, Terms},
    },
};

/// So many entries, and what is reported again no longer gets one of its own: the last one counts it.
const MOST_ENTRIES: i64 = 500;
/// Characters of what a report said otherwise; more are cut off.
const LONGEST_DIFFERENCE: usize = 200;

impl WriteTransaction<'_> {
    /// One event, whose id is given where it has one.
    pub(super) fn event(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        event_id: Option<&str>,
        terms: Terms,
    ) -> rusqlite::Result<Effect> {
        let Some(event_id) = event_id else { return self.act(origin, event, terms) };
        let opens = (event.action == Action::Create).then_some(self.state.highest + 1);
        let sql = "INSERT INTO deliveries VALUES (?1, ?2, ?3) \
                   ON CONFLICT (integration, event_id) DO NOTHING";
        if self.statement(sql)?.execute(params![origin.integration, event_id, opens])? == 0 {
            return self.duplicate(origin, event_id);
        }
        let effect = self.act(origin, event, terms)?;
        let alert = effect.alert().map(u64::cast_signed);
        if effect == Effect::Suppressed {
            // It may come again, or be replayed, once alerts open.
            let sql = "DELETE FROM deliveries WHERE integration = ?1 AND event_id = ?2";
            self.statement(sql)?.execute(params![origin.integration, event_id])?;
        } else if alert != opens {
            let sql = "UPDATE deliveries SET alert = ?3 WHERE integration = ?1 AND event_id = ?2";
            self.statement(sql)?.execute(params![origin.integration, event_id, alert])?;
        }
        Ok(effect)
    }

    fn act(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        terms: Terms,
    ) -> rusqlite::Result<Effect> {
        match event.action {
            Action::Create => self.create(origin, event, terms),
            Action::Acknowledge => self.by_key(origin, event, Status::Acknowledged),
            Action::Resolve => self.by_key(origin, event, Status::Resolved),
            // What a later plugin-api adds is refused before it gets here.
            _ => Ok(Effect::NoMatch),
        }
    }

    fn duplicate(&mut self, origin: &Origin<'_>, event_id: &str) -> rusqlite::Result<Effect> {
        // None also where the alert has been forgotten.
        let sql = "SELECT a.number FROM deliveries d JOIN alerts a ON a.number = d.alert \
                   WHERE d.integration = ?1 AND d.event_id = ?2";
        let values = params![origin.integration, event_id];
        let alert: Option<i64> =
            self.statement(sql)?.query_row(values, |row| row.get(0)).optional()?;
        if let Some(number) = alert {
            self.add_repeated(number, origin, ChangeKind::Duplicated, EntryData::default())?;
        }
        Ok(Effect::Duplicate(alert.map(i64::cast_unsigned)))
    }

    fn create(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        terms: Terms,
    ) -> rusqlite::Result<Effect> {
        if !terms.opens {
            let known = self.unresolved(origin, event, |_| Ok(()))?.is_some();
            return if known { self.occur(origin, event, terms) } else { Ok(Effect::Suppressed) };
        }
        let number = self.state.highest + 1;
        let previous = self.former(origin, event)?;
        // The unique index decides whether the problem is known, so that nothing can race it.
        let description = event.description.as_deref().map(|text| same_as(&event.title, text));
        let sql = "INSERT INTO alerts VALUES (?1, ?2, ?3, 0, ?4, 1, ?5, ?5, ?6, ?7, ?8, ?9, ?10, \
                   ?11, NULL, ?12, ?13) ON CONFLICT (integration, dedup_key) \
                   WHERE status < 2 AND dedup_key IS NOT NULL DO NOTHING";
        let inserted = self.statement(sql)?.execute(params![
            number,
            origin.integration,
            origin.plugin,
            Stored(event.urgency.unwrap_or(terms.default_urgency)),
            origin.now,
            origin.request.as_slice(),
            event.title,
            description,
            event.dedup_key,
            event.link,
            details(event),
            due(origin, terms),
            previous,
        ])?;
        if inserted == 0 {
            return self.occur(origin, event, terms);
        }
        self.state.highest = number;
        if let Some(previous) = previous {
            let next = Some(number.cast_unsigned());
            let data = EntryData { next, ..EntryData::default() };
            let by = origin.by().to_string();
            let entry = Entry::of(origin, &by, ChangeKind::Reopened, data);
            self.add(previous, &entry)?;
        }
        Ok(Effect::Opened(number.cast_unsigned()))
    }

    /// The resolved alert of the same problem, if there was one.
    fn former(&self, origin: &Origin<'_>, event: &Event) -> rusqlite::Result<Option<i64>> {
        // Where nothing was ever resolved, every alert is spared the look.
        let dedup_key = event.dedup_key.as_ref().filter(|_| self.state.has_former);
        let Some(dedup_key) = dedup_key else { return Ok(None) };
        let sql = "SELECT alert FROM former WHERE integration = ?1 AND dedup_key = ?2";
        let values = params![origin.integration, dedup_key];
        self.statement(sql)?.query_row(values, |row| row.get(0)).optional()
    }

    /// The alert of the event's problem that is not resolved: its number, status, and what `read` takes
    /// of the rest.
    fn unresolved<T>(
        &self,
        origin: &Origin<'_>,
        event: &Event,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<(i64, Status, T)>> {
        let sql = "SELECT number, status, title, description, urgency, link, details FROM alerts \
                   WHERE integration = ?1 AND dedup_key = ?2 AND status < 2";
        let found =
            self.statement(sql)?.query_row(params![origin.integration, event.dedup_key], |row| {
                Ok((row.get(0)?, row.get::<_, Stored<Status>>(1)?.0, read(row)?))
            });
        found.optional()
    }

    fn occur(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        terms: Terms,
    ) -> rusqlite::Result<Effect> {
        let found = self.unresolved(origin, event, |row| differences(row, event))?;
        let Some((number, _, differences)) = found else { return Ok(Effect::NoMatch) };
        let sql = "UPDATE alerts SET occurrences = occurrences + 1, \
                   updated_at = max(updated_at, ?2), \
                   last_occurred_at = max(ifnull(last_occurred_at, created_at), ?2), due_at = ?3 \
                   WHERE number = ?1";
        self.statement(sql)?.execute(params![number, origin.now, due(origin, terms)])?;
        let data = EntryData { differences, ..EntryData::default() };
        self.add_repeated(number, origin, ChangeKind::Occurred, data)?;
        Ok(Effect::Occurred(number.cast_unsigned()))
    }

    fn by_key(
        &mut self,
        origin: &Origin<'_>,
        event: &Event,
        target: Status,
    ) -> rusqlite::Result<Effect> {
        let found = self.unresolved(origin, event, |_| Ok(()))?;
        let Some((number, status, ())) = found else { return Ok(Effect::NoMatch) };
        if status != target {
            self.set_status(number, target, origin.now)?;
            let kind = match target {
                Status::Resolved => ChangeKind::Resolved,
                Status::Open | Status::Acknowledged => ChangeKind::Acknowledged,
            };
            let by = origin.by().to_string();
            self.add(number, &Entry::of(origin, &by, kind, EntryData::default()))?;
        }
        let number = number.cast_unsigned();
        Ok(match target {
            Status::Resolved => Effect::Resolved(number),
            Status::Open | Status::Acknowledged => Effect::Acknowledged(number),
        })
    }

    /// What somebody does by hand.
    pub(super) fn change(
        &mut self,
        alert: AlertRef,
        change: &ManualChange,
    ) -> rusqlite::Result<ManualChangeOutcome> {
        let Some(number) = rows::resolve(self.connection, self.ids, alert)? else {
            return Ok(ManualChangeOutcome::NotFound);
        };
        let stored = number.cast_signed();
        let status = "SELECT status FROM alerts WHERE number = ?1";
        let Stored(status) =
            self.statement(status)?.query_row([stored], |row| row.get::<_, Stored<Status>>(0))?;
        let now = change.at.as_millisecond();
        let (kind, target, data) = match (&change.action, status) {
            (ManualAction::Acknowledge, Status::Resolved) => {
                return Ok(ManualChangeOutcome::AlreadyResolved);
            }
            (ManualAction::Acknowledge, _) => {
                (ChangeKind::Acknowledged, Some(Status::Acknowledged), None)
            }
            (ManualAction::Resolve, _) => (ChangeKind::Resolved, Some(Status::Resolved), None),
            (ManualAction::Note(text), _) => (ChangeKind::Noted, None, Some(text.clone())),
        };
        if target != Some(status) {
            match target {
                Some(target) => self.set_status(stored, target, now)?,
                None => self.touch(stored, now)?,
            }
            let data = EntryData { note: data, ..EntryData::default() };
            self.add(
                stored,
                &Entry { at: now, kind, by: &change.by.to_string(), request: None, data },
            )?;
        }
        let changed = rows::with_history(self.connection, self.ids, number)?;
        Ok(ManualChangeOutcome::Done(Box::new(changed)))
    }

    /// Resolves an alert of which nothing was heard.
    pub(super) fn expire(&mut self, number: i64, now: i64) -> rusqlite::Result<()> {
        self.set_status(number, Status::Resolved, now)?;
        let (kind, data) = (ChangeKind::Resolved, EntryData::default());
        self.add(
            number,
            &Entry { at: now, kind, by: &Actor::AutomaticResolve.to_string(), request: None, data },
        )
    }

    fn set_status(&mut self, number: i64, status: Status, now: i64) -> rusqlite::Result<()> {
        if status != Status::Resolved {
            let sql =
                "UPDATE alerts SET status = ?2, updated_at = max(updated_at, ?3) WHERE number = ?1";
            return self.statement(sql)?.execute(params![number, Stored(status), now]).map(drop);
        }
        let sql = "UPDATE alerts SET status = 2, updated_at = max(updated_at, ?2), due_at = NULL \
                   WHERE number = ?1";
        self.statement(sql)?.execute(params![number, now])?;
        let sql = "INSERT INTO former SELECT integration, dedup_key, number FROM alerts \
                   WHERE number = ?1 AND dedup_key IS NOT NULL \
                   ON CONFLICT (integration, dedup_key) DO UPDATE SET alert = excluded.alert";
        self.statement(sql)?.execute([number])?;
        self.state.has_former = true;
        Ok(())
    }

    fn touch(&self, number: i64, now: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE alerts SET updated_at = max(updated_at, ?2) WHERE number = ?1";
        self.statement(sql)?.execute(params![number, now]).map(drop)
    }

    fn add(&self, number: i64, entry: &Entry<'_>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO changes VALUES (?1, \
                   (SELECT ifnull(max(seq), 0) + 1 FROM changes WHERE alert = ?1), \
                   ?2, ?3, ?4, ?5, 1, NULL, ?6)";
        let Entry { at, kind, by, request, data } = entry;
        let request = request.map(<[u8; 16]>::as_slice);
        let values = params![number, at, Stored(*kind), by, request, json(data)];
        self.statement(sql)?.execute(values).map(drop)
    }

    /// Adds what can happen again and again: what is as the last entry is counted by that.
    fn add_repeated(
        &self,
        number: i64,
        origin: &Origin<'_>,
        kind: ChangeKind,
        data: EntryData,
    ) -> rusqlite::Result<()> {
        let last = "SELECT seq, change, by, data FROM changes WHERE alert = ?1 \
                    ORDER BY seq DESC LIMIT 1";
        let by = origin.by().to_string();
        let entry = Entry::of(origin, &by, kind, data);
        let (by, data) = (entry.by, json(&entry.data));
        let last = self.statement(last)?.query_row([number], |row| {
            let is_kind = row.get::<_, Stored<ChangeKind>>(1)?.0 == kind;
            let is_same = row.get_ref(2)?.as_str()? == by
                && row.get_ref(3)?.as_str_or_null()? == data.as_deref();
            let seq: i64 = row.get(0)?;
            Ok((seq, is_kind && (is_same || seq >= MOST_ENTRIES)))
        });
        match last.optional()? {
            Some((seq, true)) => {
                let sql = "UPDATE changes SET count = count + 1, request = ?3, \
                           last_at = max(ifnull(last_at, at), ?4), data = ?5 \
                           WHERE alert = ?1 AND seq = ?2";
                let values = params![number, seq, origin.request.as_slice(), origin.now, data];
                self.statement(sql)?.execute(values).map(drop)
            }
            _ => self.add(number, &entry),
        }
    }
}

/// An entry of a history.
struct Entry<'e> {
    at: i64,
    kind: ChangeKind,
    by: &'e str,
    request: Option<&'e [u8; 16]>,
    data: EntryData,
}

impl<'e> Entry<'e> {
    fn of(origin: &'e Origin<'_>, by: &'e str, kind: ChangeKind, data: EntryData) -> Self {
        Self { at: origin.now, kind, by, request: Some(&origin.request), data }
    }
}

fn json(data: &EntryData) -> Option<String> {
    if *data == EntryData::default() {
        return None;
    }
    // Strings and numbers can always be written as JSON.
    serde_json::to_string(data).ok()
}

fn details(event: &Event) -> Option<String> {
    if event.details.is_empty() {
        return None;
    }
    serde_json::to_string(&event.details).ok()
}

/// When the alert resolves by itself, unless it is reported again.
fn due(origin: &Origin<'_>, terms: Terms) -> Option<i64> {
    let after = i64::try_from(terms.resolve_after?.as_millis()).unwrap_or(i64::MAX);
    Some(origin.now.saturating_add(after))
}

/// A message of one line is its own title, which is stored once.
fn same_as<'t>(title: &str, description: &'t str) -> &'t str {
    if description == title { "" } else { description }
}

/// What a further report says otherwise than the alert that has the columns of the row.
fn differences(row: &Row<'_>, event: &Event) -> rusqlite::Result<Vec<Difference>> {
    let title = row.get_ref(2)?.as_str()?;
    let text = |column: usize| {
        let text = row.get_ref(column).map(|value| value.as_str_or_null());
        text.and_then(|text| Ok(text?.unwrap_or_default()))
    };
    let description = match row.get_ref(3)?.as_str_or_null()? {
        Some("") => title,
        description => description.unwrap_or_default(),
    };
    let urgency = row.get::<_, Stored<Urgency>>(4)?.0;
    let reported_details = details(event);
    let pairs = [
        ("title", title, event.title.as_str()),
        ("description", description, event.description.as_deref().unwrap_or_default()),
        ("urgency", urgency.as_str(), event.urgency.unwrap_or(urgency).as_str()),
        ("link", text(5)?, event.link.as_deref().unwrap_or_default()),
        ("details", text(6)?, reported_details.as_deref().unwrap_or_default()),
    ];
    let differing = pairs.into_iter().filter(|(_, kept, reported)| kept != reported);
    let difference = |(field, kept, reported): (&str, &str, &str)| Difference {
        field: field.into(),
        kept: kept.chars().take(LONGEST_DIFFERENCE).collect(),
        reported: reported.chars().take(LONGEST_DIFFERENCE).collect(),
    };
    Ok(differing.map(difference).collect())
}

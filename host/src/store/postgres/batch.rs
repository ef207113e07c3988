//! Decisions on a batch of submissions, in memory.
//!
//! [`super::lookup`] reads the rows that all keys of the batch lead to, [`life`] decides on one event after the
//! other, and [`super::flush`] writes the result with few statements. Another host may change the same rows in
//! between. The statements notice it, and the batch is decided again.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, btree_map::Entry},
    ops::Range,
};

use jiff::Timestamp;
use tocsin_plugin_api::Urgency;

use crate::{
    alert::{
        Event, HistoryEntry, Status,
        life::{
            self, AlertChange, AlertState, Cause, Effect, Found, HistoryChange, LastEntry, Report,
            SeenEvent, Terms, UnresolvedAlert,
        },
    },
    request::{Content, RequestOutcome, Submission},
    store::sql::{cause, event_id, may_be_folded, unfinished},
};

/// Key of an event, within the integration with this number.
pub(super) type Key<'s> = (i64, Cow<'s, str>);

/// A submission, or the next part of a long one, with the numbers under which its names are stored.
pub(super) struct Part<'s> {
    pub(super) submission: &'s Submission,
    pub(super) integration: i64,
    pub(super) plugin: Option<i64>,
    pub(super) cause: Cause,
    /// Effects of the parts that are committed already.
    pub(super) before: &'s [Effect],
    /// Events of this part.
    pub(super) places: Range<usize>,
    /// Keys of these events.
    keys: Vec<Keys<'s>>,
}

/// Keys of one event.
struct Keys<'s> {
    event_id: Option<Cow<'s, str>>,
    dedup_key: Option<Cow<'s, str>>,
    /// True for an event without an id whose request was accepted before: a replay changes nothing.
    is_known: bool,
}

impl<'s> Part<'s> {
    /// Returns the [`Part`] of a submission after the events whose effects are known, with at most that many events.
    /// `was_accepted` is true for the replay of a request whose events were accepted when it came.
    pub(super) fn new(
        submission: &'s Submission,
        before: &'s [Effect],
        (integration, plugin): (i64, Option<i64>),
        was_accepted: bool,
        most: usize,
    ) -> Self {
        let events = events(submission);
        let places = before.len()..events.len().min(before.len().saturating_add(most));
        let keys = |place: usize| {
            let event = &events[place];
            let dedup_key = event.dedup_key.as_deref().map(text);
            // The request itself had no ids either, and its events were accepted.
            let is_known = was_accepted && event.event_id.is_none();
            let id = if is_known { None } else { event_id(submission, event, place) };
            Keys { event_id: id.map(without_nul), dedup_key, is_known }
        };
        Self {
            submission,
            integration,
            plugin,
            cause: cause(submission),
            before,
            keys: places.clone().map(keys).collect(),
            places,
        }
    }

    /// Returns true if the [`Record`] of the request is written with this part.
    pub(super) fn is_last(&self) -> bool {
        self.places.end == events(self.submission).len()
    }

    /// Returns true if the record is written by itself, after the [`Batch`]: that of a request that is kept, or run
    /// again.
    pub(super) fn is_concluded_alone(&self) -> bool {
        self.submission.kept.is_some() || self.submission.replayed_by.is_some()
    }

    pub(super) fn events(&self) -> &'s [Event] {
        &events(self.submission)[self.places.clone()]
    }

    fn terms(&self) -> Terms {
        match &self.submission.content {
            Content::Events { terms, .. } => *terms,
            Content::Nothing { .. } => Urgency::Medium.into(),
        }
    }
}

fn events(submission: &Submission) -> &[Event] {
    match &submission.content {
        Content::Events { events, .. } => events,
        Content::Nothing { .. } => &[],
    }
}

/// Returns a text as PostgreSQL can hold it: without the character NUL, for which the replacement character
/// stands.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if memchr::memchr(0, text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\0', "\u{fffd}"))
}

/// Returns the text of [`text`], without a copy where none is needed.
fn without_nul(key: Cow<'_, str>) -> Cow<'_, str> {
    match key {
        Cow::Borrowed(key) => text(key),
        // Ids of the host's own.
        Cow::Owned(key) => Cow::Owned(key),
    }
}

/// Row of an alert that events of the [`Batch`] may change.
pub(super) struct AlertRow<'s> {
    /// Version of the row that was read; none for an alert that the batch opens.
    pub(super) version: Option<i64>,
    pub(super) state: AlertState,
    pub(super) occurrences: u64,
    pub(super) last_occurred_at: Timestamp,
    pub(super) due_at: Option<Timestamp>,
    pub(super) title: Cow<'s, str>,
    /// Empty if the alert has none.
    pub(super) description: Cow<'s, str>,
    pub(super) urgency: Urgency,
    pub(super) link: Cow<'s, str>,
    pub(super) details: Cow<'s, str>,
    /// True if the batch has changed a row that was read.
    pub(super) is_changed: bool,
}

/// An alert that the batch opens.
pub(super) struct Opening<'s> {
    /// Place of the part in the batch.
    pub(super) part: usize,
    pub(super) event: &'s Event,
    pub(super) event_id: Option<Cow<'s, str>>,
    pub(super) dedup_key: Option<Cow<'s, str>>,
    pub(super) number: i64,
    pub(super) previous: Option<i64>,
    /// True if the row holds the record of its request.
    pub(super) is_folded: bool,
}

/// The last alert of a dedup key.
pub(super) struct Problem {
    /// The alert as it was read; none if the key had none.
    pub(super) was: Option<i64>,
    pub(super) now: i64,
}

/// An entry of a history that the batch writes.
pub(super) struct WrittenEntry {
    pub(super) entry: HistoryEntry,
    /// Count of the entry that was read and is replaced; none for an entry that is added.
    pub(super) replaces: Option<u64>,
}

/// The record of a request.
pub(super) struct Record {
    /// Place of the part in the batch.
    pub(super) part: usize,
    pub(super) outcome: RequestOutcome,
    pub(super) reason: Option<String>,
    /// All effects of the request.
    pub(super) effects: Vec<Effect>,
    /// True if an earlier part has left a record that says that the request is not finished.
    pub(super) replaces_beginning: bool,
}

/// Rows that the keys of a batch lead to, and all that the batch changes.
#[derive(Default)]
pub(super) struct Batch<'s> {
    /// Events that were seen, each with its alert.
    pub(super) seen: HashMap<Key<'s>, Option<i64>>,
    pub(super) problems: HashMap<Key<'s>, Problem>,
    pub(super) alerts: HashMap<i64, AlertRow<'s>>,
    /// The last entry of the history of each alert that exists.
    pub(super) last_entries: HashMap<i64, Option<LastEntry>>,

    pub(super) openings: Vec<Opening<'s>>,
    pub(super) newly_seen: Vec<(Key<'s>, Option<i64>)>,
    pub(super) history: BTreeMap<(i64, u64), WrittenEntry>,
    pub(super) hops: BTreeMap<i64, u32>,
    pub(super) records: Vec<Record>,
    /// Effects of each part.
    pub(super) effects: Vec<Vec<Effect>>,
}

/// Keys of a batch, each once and sorted, for the query that looks them up.
#[derive(Default)]
pub(super) struct KeysOfBatch<'k> {
    pub(super) event_ids: Vec<(i64, &'k str)>,
    pub(super) dedup_keys: Vec<(i64, &'k str)>,
}

impl<'k> KeysOfBatch<'k> {
    pub(super) fn of(parts: &'k [Part<'_>]) -> Self {
        let mut all = Self::default();
        for part in parts {
            for keys in part.keys.iter().filter(|keys| !keys.is_known) {
                all.event_ids.extend(keys.event_id.as_deref().map(|id| (part.integration, id)));
                all.dedup_keys.extend(keys.dedup_key.as_deref().map(|key| (part.integration, key)));
            }
        }
        for keys in [&mut all.event_ids, &mut all.dedup_keys] {
            keys.sort_unstable();
            keys.dedup();
        }
        all
    }
}

impl<'s> Batch<'s> {
    /// Decides on all events of the parts. The numbers are those for new alerts: at least one for each event that
    /// may open one. Returns how many of them are used.
    pub(super) fn decide(&mut self, parts: &'s [Part<'s>], numbers: &[i64]) -> usize {
        let mut used = 0;
        for (place, part) in parts.iter().enumerate() {
            let mut effects = Vec::with_capacity(part.keys.len());
            for (event, keys) in part.events().iter().zip(&part.keys) {
                let next = numbers.get(used).copied().unwrap_or(0);
                let effect = match keys.is_known {
                    true => Effect::Duplicate(None),
                    false => self.event(part, place, event, keys, next),
                };
                used += usize::from(matches!(effect, Effect::Opened(_)));
                self.count_hops(part, effect);
                effects.push(effect);
            }
            self.record(part, place, &effects);
            self.effects.push(effects);
        }
        used
    }

    fn event(
        &mut self,
        part: &'s Part<'s>,
        place: usize,
        event: &'s Event,
        keys: &'s Keys<'s>,
        next: i64,
    ) -> Effect {
        let borrowed = |key: &'s Cow<'s, str>| (part.integration, Cow::Borrowed(&**key));
        let id = keys.event_id.as_ref().map(borrowed);
        let dedup_key = keys.dedup_key.as_ref().map(borrowed);
        let seen = id.as_ref().and_then(|id| self.seen.get(id)).map(|alert| SeenEvent {
            alert: alert.and_then(|number| {
                let last = self.last_entries.get(&number)?;
                Some((number.cast_unsigned(), last.clone()))
            }),
        });
        let last = dedup_key.as_ref().and_then(|key| self.problems.get(key)).map(|it| it.now);
        let row = last.and_then(|number| self.alerts.get(&number));
        let is_resolved = row.is_some_and(|row| row.state.status == Status::Resolved);
        let last_entry = last.and_then(|number| self.last_entries.get(&number)?.clone());
        let found = Found {
            next_number: next.cast_unsigned(),
            seen,
            unresolved: row.filter(|_| !is_resolved).map(|row| row.unresolved(last_entry)),
            last_resolved: row.filter(|_| is_resolved).map(|row| row.state.number),
        };
        let report = Report { event, terms: part.terms(), cause: &part.cause };
        let outcome = life::on_event(report, found);
        let opened =
            outcome.changes.alert.as_ref().and_then(|change| self.change(part, change, event));
        if let Some((number, previous)) = opened {
            if let Some(key) = dedup_key.clone() {
                let known = self.problems.entry(key);
                known
                    .and_modify(|problem| problem.now = number)
                    .or_insert(Problem { was: None, now: number });
            }
            let (event_id, dedup_key) = (id.clone(), dedup_key.map(|(_, key)| key));
            self.openings.push(Opening {
                part: place,
                event,
                event_id: event_id.map(|(_, id)| id),
                dedup_key,
                number,
                previous,
                is_folded: may_be_folded(part.submission),
            });
        }
        if let Some(change) = outcome.changes.history {
            self.add_to_history(change);
        }
        let is_new = outcome.is_seen && !matches!(outcome.effect, Effect::Duplicate(_));
        if let Some(id) = id.filter(|_| is_new) {
            let alert = outcome.effect.alert().map(u64::cast_signed);
            self.seen.insert(id.clone(), alert);
            self.newly_seen.push((id, alert));
        }
        outcome.effect
    }

    /// Applies the change of an alert. Returns the number of a new alert, and of the one before it.
    fn change(
        &mut self,
        part: &'s Part<'s>,
        change: &AlertChange,
        event: &'s Event,
    ) -> Option<(i64, Option<i64>)> {
        match change {
            AlertChange::Open { number, urgency, previous, resolves_at } => {
                let number = number.cast_signed();
                self.alerts
                    .insert(number, AlertRow::new(number, part, event, *urgency, *resolves_at));
                self.last_entries.insert(number, None);
                return Some((number, previous.map(u64::cast_signed)));
            }
            AlertChange::Occur {
                number,
                occurrences,
                last_occurred_at,
                resolves_at,
                updated_at,
            } => {
                let row = self.changed(*number, *updated_at)?;
                row.occurrences = *occurrences;
                row.last_occurred_at = *last_occurred_at;
                row.due_at = *resolves_at;
            }
            AlertChange::SetStatus { number, status, updated_at } => {
                let row = self.changed(*number, *updated_at)?;
                row.state.status = *status;
                if *status == Status::Resolved {
                    row.due_at = None;
                }
            }
            AlertChange::Touch { number, updated_at } => {
                self.changed(*number, *updated_at)?;
            }
        }
        None
    }

    /// Returns the row of an alert that changes.
    fn changed(&mut self, number: u64, updated_at: Timestamp) -> Option<&mut AlertRow<'s>> {
        let row = self.alerts.get_mut(&number.cast_signed())?;
        row.is_changed = true;
        row.state.updated_at = updated_at;
        Some(row)
    }

    fn add_to_history(&mut self, change: HistoryChange) {
        let HistoryChange { alert, replaces, entry } = change;
        let alert = alert.cast_signed();
        let last = self.last_entries.entry(alert).or_default();
        let place = replaces.unwrap_or_else(|| last.as_ref().map_or(0, |last| last.place) + 1);
        match self.history.entry((alert, place)) {
            Entry::Occupied(mut written) => written.get_mut().entry = entry.clone(),
            Entry::Vacant(free) => {
                let replaces = replaces.and(last.as_ref()).map(|last| last.entry.count);
                free.insert(WrittenEntry { entry: entry.clone(), replaces });
            }
        }
        *last = Some(LastEntry { place, entry });
    }

    /// Keeps the hops of a report with its alert, if no report before had more. Most requests have none.
    fn count_hops(&mut self, part: &Part<'_>, effect: Effect) {
        let (hops, is_new) = (part.submission.hops, matches!(effect, Effect::Opened(_)));
        let Some(alert) = effect.alert().filter(|_| hops > 0 && !is_new) else { return };
        let known = self.hops.entry(alert.cast_signed()).or_default();
        *known = hops.max(*known);
    }

    fn record(&mut self, part: &Part<'_>, place: usize, effects: &[Effect]) {
        let is_replay = part.submission.replayed_by.is_some();
        if !part.is_last() {
            if part.before.is_empty() && !is_replay {
                self.records.push(Record {
                    part: place,
                    outcome: RequestOutcome::Failed,
                    reason: Some(unfinished(part.submission)),
                    effects: effects.to_vec(),
                    replaces_beginning: false,
                });
            }
            return;
        }
        if part.is_concluded_alone() {
            return;
        }
        let effects = [part.before, effects].concat();
        let (outcome, reason) = match &part.submission.content {
            Content::Events { remark, .. } => {
                (RequestOutcome::of_effects(&effects), remark.as_deref())
            }
            Content::Nothing { outcome, reason } => (*outcome, Some(reason.as_str())),
        };
        let is_folded =
            may_be_folded(part.submission) && matches!(effects[..], [Effect::Opened(_)]);
        if !is_folded {
            self.records.push(Record {
                part: place,
                outcome,
                reason: reason.map(|reason| text(reason).into_owned()),
                effects,
                replaces_beginning: !part.before.is_empty(),
            });
        }
    }
}

impl<'s> AlertRow<'s> {
    /// Returns the row of an alert that an event opens.
    fn new(
        number: i64,
        part: &Part<'_>,
        event: &'s Event,
        urgency: Urgency,
        due_at: Option<Timestamp>,
    ) -> Self {
        let at = part.cause.at;
        let optional = |value: &'s Option<String>| value.as_deref().map(text).unwrap_or_default();
        let number = number.cast_unsigned();
        Self {
            version: None,
            state: AlertState { number, status: Status::Open, updated_at: at },
            occurrences: 1,
            last_occurred_at: at,
            due_at,
            title: text(&event.title),
            description: optional(&event.description),
            urgency,
            link: optional(&event.link),
            details: event.details.json().map(text).unwrap_or_default(),
            is_changed: false,
        }
    }

    fn unresolved(&self, last_entry: Option<LastEntry>) -> UnresolvedAlert<'_> {
        UnresolvedAlert {
            state: self.state,
            occurrences: self.occurrences,
            last_occurred_at: self.last_occurred_at,
            title: &self.title,
            description: &self.description,
            urgency: self.urgency,
            link: &self.link,
            details: &self.details,
            last_entry,
        }
    }
}

//! Rules of an alert's life: the changes that an event or a person makes, or that follow if an alert is
//! not reported again.
//!
//! The rules are pure functions. Within one transaction, a [store](crate::store) reads the rows that the
//! keys of an event lead to, asks the rules, and writes the [`Changes`] that they return. No rule is in
//! a store. Transactions follow one another, so that none can race another for a key.

use std::time::Duration;

use jiff::Timestamp;
use tocsin_plugin_api::{Action, Urgency};
use ulid::Ulid;

use super::{Actor, ChangeKind, Difference, Event, HistoryEntry, Status};

/// Number of history entries from which repeated reports no longer get entries of their own. The last
/// entry counts them.
const MOST_ENTRIES: u64 = 500;
/// Largest number of characters of each side of a [`Difference`].
const LONGEST_DIFFERENCE: usize = 200;

/// Request, person or clock behind [`Changes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Person or program that acts.
    pub by: Actor,
    /// Request that led to the change, if one did.
    pub request_id: Option<Ulid>,
    /// Time of the change.
    pub at: Timestamp,
}

/// Settings of an integration for the events of its plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Urgency of alerts for which the plugin found none.
    pub default_urgency: Urgency,
    /// False in a maintenance window: events that would open an alert are recorded and open none.
    pub opens: bool,
    /// Time without another report after which an alert resolves automatically.
    pub resolve_after: Option<Duration>,
}

impl From<Urgency> for Terms {
    fn from(default_urgency: Urgency) -> Self {
        Self { default_urgency, opens: true, resolve_after: None }
    }
}

/// Effect of one [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The event opened the alert with this number.
    Opened(u64),
    /// The event was one more occurrence of the alert with this number.
    Occurred(u64),
    /// The event acknowledged the alert with this number.
    Acknowledged(u64),
    /// The event resolved the alert with this number.
    Resolved(u64),
    /// The event's `event_id` was seen before, in this alert if that is known: nothing changed.
    Duplicate(Option<u64>),
    /// The event acknowledges or resolves an alert that is not open: nothing changed.
    NoMatch,
    /// The event would have opened an alert, in a maintenance window: nothing changed.
    Suppressed,
}

impl Effect {
    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Occurred(_) => "occurred",
            Self::Acknowledged(_) => "acknowledged",
            Self::Resolved(_) => "resolved",
            Self::Duplicate(_) => "duplicate",
            Self::NoMatch => "no_match",
            Self::Suppressed => "suppressed",
        }
    }

    /// Returns the number of the alert that the event concerns.
    pub fn alert(self) -> Option<u64> {
        match self {
            Self::Opened(number)
            | Self::Occurred(number)
            | Self::Acknowledged(number)
            | Self::Resolved(number) => Some(number),
            Self::Duplicate(number) => number,
            Self::NoMatch | Self::Suppressed => None,
        }
    }
}

/// Action on an alert by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManualAction {
    /// Acknowledge the alert: a person works on it.
    Acknowledge,
    /// Resolve the alert: the problem is over.
    Resolve,
    /// Add a note to the history.
    Note(String),
}

/// [`Event`] with everything that its rules need beside the store.
#[derive(Clone, Copy, Debug)]
pub struct Report<'e> {
    /// The event.
    pub event: &'e Event,
    /// [`Terms`] of its integration.
    pub terms: Terms,
    /// Cause of all changes that the event makes.
    pub cause: &'e Cause,
}

/// Rows that the keys of an [`Event`] lead to.
#[derive(Debug)]
pub struct Found<'r> {
    /// Number that the next alert gets.
    pub next_number: u64,
    /// Earlier event with the same event id in the same integration.
    pub seen: Option<SeenEvent>,
    /// Unresolved alert with the same dedup key in the same integration.
    pub unresolved: Option<UnresolvedAlert<'r>>,
    /// Number of the last resolved alert with the same dedup key in the same integration, if the alert
    /// still exists.
    pub last_resolved: Option<u64>,
}

/// Event that was seen before.
#[derive(Debug)]
pub struct SeenEvent {
    /// Alert of the earlier event with the last entry of its history; none if the event concerned no
    /// alert or the alert was deleted.
    pub alert: Option<(u64, Option<LastEntry>)>,
}

/// State of any [`Alert`](super::Alert).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertState {
    /// Number of the alert.
    pub number: u64,
    /// Status of the alert.
    pub status: Status,
    /// Time of its last change.
    pub updated_at: Timestamp,
}

/// Alert that further reports of the same problem belong to.
#[derive(Debug)]
pub struct UnresolvedAlert<'r> {
    /// Number, status and time.
    pub state: AlertState,
    /// Number of reports so far.
    pub occurrences: u64,
    /// Time of the last report.
    pub last_occurred_at: Timestamp,
    /// Title of the alert.
    pub title: &'r str,
    /// Description of the alert, empty if it has none.
    pub description: &'r str,
    /// Urgency of the alert.
    pub urgency: Urgency,
    /// Link of the alert, empty if it has none.
    pub link: &'r str,
    /// JSON of the alert's [`Details`](super::Details), empty if it has none.
    pub details: &'r str,
    /// Last entry of the history. Needed only for [`Action::Create`].
    pub last_entry: Option<LastEntry>,
}

/// Last [`HistoryEntry`] of an alert. The opening is not an entry.
#[derive(Clone, Debug)]
pub struct LastEntry {
    /// Place in the history, counted from 1.
    pub place: u64,
    /// The entry.
    pub entry: HistoryEntry,
}

/// [`Effect`] and [`Changes`] of one event.
#[derive(Debug, PartialEq)]
pub struct EventOutcome {
    /// Effect for the record of the request.
    pub effect: Effect,
    /// True if the event id counts as seen from now on.
    pub is_seen: bool,
    /// Changes to be written.
    pub changes: Changes,
}

/// Changes to be written, in the order of the fields.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Change of an alert.
    pub alert: Option<AlertChange>,
    /// Change of a history, of the same alert or of an earlier one.
    pub history: Option<HistoryChange>,
}

/// Change of one [`Alert`](super::Alert), with the new values.
#[derive(Debug, PartialEq)]
pub enum AlertChange {
    /// Opens an alert. Title, description, keys, link and details are those of the event.
    Open {
        /// Number of the new alert.
        number: u64,
        /// Urgency of the new alert.
        urgency: Urgency,
        /// Resolved alert of the same problem before this one.
        previous: Option<u64>,
        /// Time of the automatic resolve.
        resolves_at: Option<Timestamp>,
    },
    /// Counts one more report.
    Occur {
        /// Number of the alert.
        number: u64,
        /// Number of reports.
        occurrences: u64,
        /// Time of the last report.
        last_occurred_at: Timestamp,
        /// Time of the automatic resolve.
        resolves_at: Option<Timestamp>,
        /// Time of the last change.
        updated_at: Timestamp,
    },
    /// Sets the status. A resolved alert has no time of an automatic resolve, and becomes the last
    /// resolved alert of its dedup key.
    SetStatus {
        /// Number of the alert.
        number: u64,
        /// The new status.
        status: Status,
        /// Time of the last change.
        updated_at: Timestamp,
    },
    /// Sets the time of the last change.
    Touch {
        /// Number of the alert.
        number: u64,
        /// Time of the last change.
        updated_at: Timestamp,
    },
}

/// Change of one history: a [`HistoryEntry`] at its end, or the new state of its last entry.
#[derive(Debug, PartialEq)]
pub struct HistoryChange {
    /// Number of the alert.
    pub alert: u64,
    /// Place of the last entry if `entry` replaces it; none if `entry` is added.
    pub replaces: Option<u64>,
    /// The entry. An entry that replaces another one differs from it in `count`, `last_at`,
    /// `request_id` and `differences`.
    pub entry: HistoryEntry,
}

/// Decides on a [`Report`] with the rows that were [`Found`].
pub fn on_event(report: Report<'_>, found: Found<'_>) -> EventOutcome {
    let Report { event, terms, cause } = report;
    if let Some(SeenEvent { alert }) = found.seen {
        let number = alert.as_ref().map(|(number, _)| *number);
        let history =
            alert.map(|(number, last)| repeat(number, ChangeKind::Duplicated, cause, last, vec![]));
        let changes = Changes { alert: None, history };
        return EventOutcome { effect: Effect::Duplicate(number), is_seen: true, changes };
    }
    let (effect, changes) = match (event.action, found.unresolved) {
        (Action::Create, Some(alert)) => {
            (Effect::Occurred(alert.state.number), occur(report, alert))
        }
        (Action::Create, None) if terms.opens => {
            let number = found.next_number;
            (Effect::Opened(number), open(report, number, found.last_resolved))
        }
        // The event may come again, or be replayed, once alerts open.
        (Action::Create, None) => {
            let (effect, changes) = (Effect::Suppressed, Changes::default());
            return EventOutcome { effect, is_seen: false, changes };
        }
        (Action::Acknowledge, Some(UnresolvedAlert { state, .. })) => {
            (Effect::Acknowledged(state.number), set_status(state, Status::Acknowledged, cause))
        }
        (Action::Resolve, Some(UnresolvedAlert { state, .. })) => {
            (Effect::Resolved(state.number), set_status(state, Status::Resolved, cause))
        }
        // The actions of a later plugin-api are refused before they get here.
        _ => (Effect::NoMatch, Changes::default()),
    };
    EventOutcome { effect, is_seen: true, changes }
}

/// Decides on a [`ManualAction`]. Returns `None` if the alert is resolved and thus cannot be
/// acknowledged.
pub fn on_manual_action(
    action: &ManualAction,
    cause: &Cause,
    alert: AlertState,
) -> Option<Changes> {
    match action {
        ManualAction::Acknowledge if alert.status == Status::Resolved => None,
        ManualAction::Acknowledge => Some(set_status(alert, Status::Acknowledged, cause)),
        ManualAction::Resolve => Some(set_status(alert, Status::Resolved, cause)),
        ManualAction::Note(text) => {
            let AlertState { number, updated_at, .. } = alert;
            let updated_at = updated_at.max(cause.at);
            let entry =
                HistoryEntry { note: Some(text.clone()), ..entry(ChangeKind::Noted, cause) };
            Some(Changes {
                alert: Some(AlertChange::Touch { number, updated_at }),
                history: Some(HistoryChange { alert: number, replaces: None, entry }),
            })
        }
    }
}

/// Decides on an alert whose time of the automatic resolve has come.
pub fn on_silence(now: Timestamp, alert: AlertState) -> Changes {
    let cause = Cause { by: Actor::AutomaticResolve, request_id: None, at: now };
    set_status(alert, Status::Resolved, &cause)
}

/// Returns the first [`HistoryEntry`] of an alert. No store keeps this entry, since the alert holds the
/// same data.
pub fn opening(integration: &str, request_id: Ulid, created_at: Timestamp) -> HistoryEntry {
    let by = Actor::Integration(integration.into());
    let cause = Cause { by, request_id: Some(request_id), at: created_at };
    entry(ChangeKind::Created, &cause)
}

fn open(report: Report<'_>, number: u64, last_resolved: Option<u64>) -> Changes {
    let Report { event, terms, cause } = report;
    let history = last_resolved.map(|previous| {
        let entry = HistoryEntry { next: Some(number), ..entry(ChangeKind::Reopened, cause) };
        HistoryChange { alert: previous, replaces: None, entry }
    });
    let alert = AlertChange::Open {
        number,
        urgency: event.urgency.unwrap_or(terms.default_urgency),
        previous: last_resolved,
        resolves_at: resolves_at(cause.at, terms),
    };
    Changes { alert: Some(alert), history }
}

fn occur(report: Report<'_>, alert: UnresolvedAlert<'_>) -> Changes {
    let Report { event, terms, cause } = report;
    let differences = differences(&alert, event);
    let AlertState { number, updated_at, .. } = alert.state;
    let change = AlertChange::Occur {
        number,
        occurrences: alert.occurrences + 1,
        last_occurred_at: alert.last_occurred_at.max(cause.at),
        resolves_at: resolves_at(cause.at, terms),
        updated_at: updated_at.max(cause.at),
    };
    let history = repeat(number, ChangeKind::Occurred, cause, alert.last_entry, differences);
    Changes { alert: Some(change), history: Some(history) }
}

fn set_status(alert: AlertState, status: Status, cause: &Cause) -> Changes {
    if alert.status == status {
        return Changes::default();
    }
    let kind = match status {
        Status::Resolved => ChangeKind::Resolved,
        Status::Open | Status::Acknowledged => ChangeKind::Acknowledged,
    };
    let AlertState { number, updated_at, .. } = alert;
    let updated_at = updated_at.max(cause.at);
    let entry = entry(kind, cause);
    Changes {
        alert: Some(AlertChange::SetStatus { number, status, updated_at }),
        history: Some(HistoryChange { alert: number, replaces: None, entry }),
    }
}

/// Adds an entry of a kind that can come again and again. If the last entry is the same, it counts the
/// new one.
fn repeat(
    alert: u64,
    kind: ChangeKind,
    cause: &Cause,
    last: Option<LastEntry>,
    differences: Vec<Difference>,
) -> HistoryChange {
    match last {
        Some(LastEntry { place, entry: last })
            if last.change == kind
                && (place >= MOST_ENTRIES
                    || (last.by == cause.by && last.differences == differences)) =>
        {
            let entry = HistoryEntry {
                count: last.count + 1,
                last_at: last.last_at.max(cause.at),
                request_id: cause.request_id,
                differences,
                ..last
            };
            HistoryChange { alert, replaces: Some(place), entry }
        }
        _ => {
            let entry = HistoryEntry { differences, ..entry(kind, cause) };
            HistoryChange { alert, replaces: None, entry }
        }
    }
}

fn entry(change: ChangeKind, cause: &Cause) -> HistoryEntry {
    HistoryEntry {
        at: cause.at,
        change,
        by: cause.by.clone(),
        request_id: cause.request_id,
        count: 1,
        last_at: cause.at,
        differences: Vec::new(),
        note: None,
        next: None,
    }
}

fn resolves_at(reported_at: Timestamp, terms: Terms) -> Option<Timestamp> {
    let after = terms.resolve_after?;
    Some(reported_at.checked_add(after).unwrap_or(Timestamp::MAX))
}

/// Returns the fields in which a further report differs from its alert.
fn differences(alert: &UnresolvedAlert<'_>, event: &Event) -> Vec<Difference> {
    let urgency = event.urgency.unwrap_or(alert.urgency);
    let pairs = [
        ("title", alert.title, event.title.as_str()),
        ("description", alert.description, event.description.as_deref().unwrap_or_default()),
        ("urgency", alert.urgency.as_str(), urgency.as_str()),
        ("link", alert.link, event.link.as_deref().unwrap_or_default()),
        ("details", alert.details, event.details.json().unwrap_or_default()),
    ];
    let differing = pairs.into_iter().filter(|(_, kept, reported)| kept != reported);
    let difference = |(field, kept, reported): (&str, &str, &str)| Difference {
        field: field.into(),
        kept: kept.chars().take(LONGEST_DIFFERENCE).collect(),
        reported: reported.chars().take(LONGEST_DIFFERENCE).collect(),
    };
    differing.map(difference).collect()
}

#[cfg(test)]
mod tests;

//! Kinds of news, and the notification that a notifier gets.

use tocsin_plugin_api::notification::{self, Change, Digest, Kind, Notification, Subject, Time};

use crate::{
    alert::{Alert, AlertWithHistory, ChangeKind, HistoryEntry, Status},
    config::DeliveryConfig,
    delivery::DigestCount,
    store::deliveries::ClaimedDelivery,
};
use jiff::Timestamp;

/// Returns the kind of the news of a change; none if nobody is told of such a change.
pub(super) fn kind_of(change: ChangeKind) -> Option<Kind> {
    match change {
        ChangeKind::Created => Some(Kind::Opened),
        ChangeKind::Occurred => Some(Kind::Occurred),
        ChangeKind::Acknowledged => Some(Kind::Acknowledged),
        ChangeKind::Resolved => Some(Kind::Resolved),
        ChangeKind::Noted => Some(Kind::Noted),
        ChangeKind::Duplicated | ChangeKind::Reopened => None,
    }
}

/// Addresses in notifications, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// Address of an alert, with `{number}` and `{id}` in place of its number and id.
    pub alert: Option<String>,
    /// Address of the list of alerts.
    pub alerts: Option<String>,
}

impl Links {
    /// Returns the addresses of a configuration.
    pub(super) fn of_config(config: &DeliveryConfig) -> Self {
        Self { alert: config.alert_url.clone(), alerts: config.alerts_url.clone() }
    }

    fn of(&self, alert: &Alert) -> Option<String> {
        let template = self.alert.as_ref()?;
        let number = alert.number.to_string();
        Some(template.replace("{number}", &number).replace("{id}", &alert.id.to_string()))
    }
}

/// Returns the notification of a delivery about an alert.
pub(super) fn about_alert(
    claimed: &ClaimedDelivery,
    subject: &AlertWithHistory,
    links: &Links,
    now: Timestamp,
) -> Notification {
    let alert = Subject::Alert(Box::new(shown(&subject.alert, links)));
    let mut notification = about(claimed, alert, now);
    let place = claimed.place.and_then(|place| usize::try_from(place).ok());
    let entry = place.and_then(|place| subject.history.get(place));
    notification.change = entry.map(change);
    notification
}

/// Returns the notification of a digest.
pub(super) fn about_digest(
    claimed: &ClaimedDelivery,
    count: &DigestCount,
    links: &Links,
    now: Timestamp,
) -> Notification {
    let DigestCount { count, urgencies, integrations, first, last } = count.clone();
    let mut digest = Digest::default();
    (digest.count, digest.urgencies, digest.integrations) = (count, urgencies, integrations);
    (digest.first, digest.last, digest.url) = (first, last, links.alerts.clone());
    about(claimed, Subject::Digest(digest), now)
}

fn about(claimed: &ClaimedDelivery, subject: Subject, now: Timestamp) -> Notification {
    let delivery = &claimed.delivery;
    let id = delivery.id.to_string();
    let mut notification = Notification::about(id, delivery.kind, subject, time(now));
    notification.destination.clone_from(&delivery.destination);
    notification.skipped.clone_from(&delivery.skipped);
    notification.attempt = delivery.attempts;
    notification.in_doubt = delivery.in_doubt;
    notification.state.clone_from(&claimed.state);
    notification
}

fn shown(alert: &Alert, links: &Links) -> notification::Alert {
    let mut shown = notification::Alert::new(
        alert.number,
        &*alert.title,
        alert.urgency,
        time(alert.created_at),
    );
    shown.id = alert.id.to_string();
    shown.url = links.of(alert);
    shown.integration.clone_from(&alert.integration);
    shown.description.clone_from(&alert.description);
    shown.status = match alert.status {
        Status::Open => notification::Status::Open,
        Status::Acknowledged => notification::Status::Acknowledged,
        Status::Resolved => notification::Status::Resolved,
    };
    shown.dedup_key.clone_from(&alert.dedup_key);
    shown.link.clone_from(&alert.link);
    shown.details.clone_from(&alert.details);
    shown.hops = alert.hops;
    shown.occurrences = alert.occurrences;
    shown.last_occurred_at = time(alert.last_occurred_at);
    shown.updated_at = time(alert.updated_at);
    shown
}

fn change(entry: &HistoryEntry) -> Change {
    let change = Change::new(time(entry.last_at), entry.by.to_string());
    match &entry.note {
        Some(note) => change.with_note(&**note),
        None => change,
    }
}

pub(super) fn time(at: Timestamp) -> Time {
    Time::from_unix_milliseconds(at.as_millisecond())
}

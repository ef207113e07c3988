//! Alert as Alertmanager's API takes it, made of news about a Tocsin alert.
//!
//! The labels are the same in all news about an alert, since Alertmanager takes other labels for another
//! alert. Status, occurrences and notes are annotations.
//!
//! Alertmanager resolves an alert without `endsAt` itself, after its `resolve_timeout`. Tocsin does not
//! repeat an open alert all the time, as Prometheus does. So an open alert gets an `endsAt` in the far
//! future, which the end in the news of the resolved alert replaces (`Alert.Merge` in Alertmanager's
//! `types/types.go`).

use serde_json::{Map, Value, json};
use tocsin_plugin_api::{
    Urgency,
    notification::{Alert, Digest, Kind, Notification, Status, Subject, Time},
};
use tocsin_plugin_kit::link::is_web_address;

use crate::labels::SENT;

const DAY: i64 = 24 * 60 * 60;

/// Time after which Alertmanager resolves an open alert, in seconds, if there is no more news about it.
const OPEN: i64 = 365 * DAY;

/// Time after which Alertmanager resolves the alert of a test, in seconds.
const TEST: i64 = 5 * 60;

/// Time after which Alertmanager resolves the alert of a digest, in seconds. No news ends a digest.
const DIGEST: i64 = DAY;

/// Returns the body of a request; none if the news is about a subject of a later plugin-api.
pub(crate) fn body(news: &Notification) -> Option<Value> {
    let alert = match &news.subject {
        Subject::Alert(alert) => of_alert(news, alert),
        Subject::Digest(digest) => of_digest(news, digest),
        _ => return None,
    };
    Some(json!([alert]))
}

fn of_alert(news: &Notification, alert: &Alert) -> Value {
    let labels = json!({
        "alertname": alert.title,
        "severity": severity(alert.urgency),
        "integration": alert.integration,
        SENT: alert.id,
    });
    let mut annotations = Map::new();
    let mut annotate = |name: &str, value: &str| {
        if !value.is_empty() {
            annotations.insert(name.into(), value.into());
        }
    };
    annotate("summary", &alert.title);
    annotate("description", alert.description.as_deref().unwrap_or_default());
    let details = alert.details.iter().map(|detail| format!("{}: {}", detail.label, detail.value));
    annotate("details", &details.collect::<Vec<_>>().join("\n"));
    annotate("status", alert.status.as_str());
    annotate("occurrences", &alert.occurrences.to_string());
    annotate("link", alert.link.as_deref().unwrap_or_default());
    let note = news.change.as_ref().and_then(|change| change.note.as_deref());
    annotate("note", note.unwrap_or_default());
    let starts_at = alert.created_at;
    let ends_at = match (news.kind, alert.status) {
        (Kind::Test, _) => news.attempted_at.plus_seconds(TEST),
        (_, Status::Resolved) => resolved_at(news, alert),
        _ => news.attempted_at.plus_seconds(OPEN),
    };
    whole(&labels, &annotations, starts_at, ends_at, alert.url.as_deref())
}

/// Returns the time at which the alert was resolved. A later note changes `updated_at`, and moves the end.
fn resolved_at(news: &Notification, alert: &Alert) -> Time {
    let change = news.change.as_ref().filter(|_| news.kind == Kind::Resolved);
    change.map_or(alert.updated_at, |change| change.at)
}

fn of_digest(news: &Notification, digest: &Digest) -> Value {
    let urgency = digest.urgencies.iter().map(|(urgency, _)| *urgency).max();
    let labels = json!({
        "alertname": "TocsinDigest",
        "severity": severity(urgency.unwrap_or(Urgency::Low)),
        SENT: news.delivery_id,
    });
    let mut annotations = Map::new();
    annotations.insert("summary".into(), format!("{} new alerts", digest.count).into());
    let urgencies = digest.urgencies.iter().map(|(urgency, count)| format!("{urgency}: {count}"));
    let integrations = digest.integrations.iter().map(|(name, count)| format!("{name}: {count}"));
    let counts: Vec<_> = urgencies.chain(integrations).collect();
    annotations.insert("details".into(), counts.join("\n").into());
    let at = news.attempted_at;
    whole(&labels, &annotations, at, at.plus_seconds(DIGEST), digest.url.as_deref())
}

fn whole(
    labels: &Value,
    annotations: &Map<String, Value>,
    starts_at: Time,
    ends_at: Time,
    url: Option<&str>,
) -> Value {
    let mut alert = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": starts_at.to_string(),
        // Alertmanager refuses an alert that ends before it starts.
        "endsAt": ends_at.max(starts_at).to_string(),
    });
    if let Some(url) = url.filter(|url| is_web_address(url)) {
        alert["generatorURL"] = url.into();
    }
    alert
}

/// Returns the value of the label `severity`, in the words that most configurations of Alertmanager use.
/// An integration reads each of them as the same urgency again.
fn severity(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Critical => "critical",
        Urgency::High => "high",
        Urgency::Medium => "warning",
        _ => "info",
    }
}

//! The events that the alerts of a notification become, one each and in their order.
//!
//! An alert that is over says no more than which one it is: what it was about is in the alert that
//! it opened.

use std::borrow::Cow;

use tocsin_plugin_api::Event;

use crate::{
    keys,
    link::link,
    notification::{Alert, Notification, Status},
    urgency::UrgencyRule,
    wording::{ALERTNAME, Wording, Words},
};

/// So many events a host takes of one request. More alerts than these are left out: a storm has to
/// page somebody, and each notification of its group would be refused.
const MOST_EVENTS: usize = 1000;

/// The labels of the details that are no label or annotation.
mod label {
    pub(crate) const STARTED: &str = "Started";
    pub(crate) const TRUNCATED: &str = "Truncated";
}

/// How alerts become events.
pub(crate) struct Events {
    pub(crate) wording: Wording,
    pub(crate) urgency: UrgencyRule,
    /// Whether repeats count, so that no event has an id: see `keys.rs`.
    pub(crate) reopen: bool,
}

impl Events {
    /// The events of a notification.
    pub(crate) fn of(&self, notification: &Notification<'_>) -> Vec<Event> {
        let truncated = truncated(notification);
        let alerts = notification.alerts.iter().take(MOST_EVENTS);
        alerts.map(|alert| self.event(alert, notification, truncated.as_deref())).collect()
    }

    fn event(
        &self,
        alert: &Alert<'_>,
        notification: &Notification<'_>,
        truncated: Option<&str>,
    ) -> Event {
        let mut event = match alert.status {
            Status::Firing => self.firing(alert, notification, truncated),
            Status::Resolved => Event::resolve(alert.key.as_str()),
        };
        event.event_id = keys::event_id(alert).filter(|_| !self.reopen);
        event
    }

    fn firing(
        &self,
        alert: &Alert<'_>,
        notification: &Notification<'_>,
        truncated: Option<&str>,
    ) -> Event {
        let words = self.wording.of(alert);
        let mut event = Event::create(words.title.as_str())
            .urgency(self.urgency.of(&alert.labels))
            .dedup_key(alert.key.as_str());
        for (label, value) in details(alert, &words, truncated) {
            event = event.detail(label, value);
        }
        if let Some(link) = link(alert, notification) {
            event = event.link(link);
        }
        event.description = words.description;
        event
    }
}

/// The labels, the name of the rule first, then the annotations that neither title nor description
/// tells, then what else helps.
fn details<'a>(
    alert: &'a Alert<'_>,
    words: &Words<'_>,
    truncated: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    let (name, other_labels): (Vec<_>, Vec<_>) =
        alert.labels.iter().partition(|(name, _)| name.as_str() == ALERTNAME);
    let annotations = alert.annotations.iter().filter(|(name, _)| !words.tell(name));
    let annotations: Vec<_> = annotations.collect();
    let pairs = name.into_iter().chain(other_labels).chain(annotations);
    let started = alert.started.map(|time| (label::STARTED, time.to_string().into()));
    pairs
        .map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_ref())))
        .chain(started)
        .chain(truncated.map(|text| (label::TRUNCATED, text.into())))
}

/// What is said of alerts that are not in the notification, or that a host would not take.
fn truncated(notification: &Notification<'_>) -> Option<String> {
    let more = |count: u64| match count {
        1 => "1 more alert".to_owned(),
        count => format!("{count} more alerts"),
    };
    let by_sender = Some(notification.truncated)
        .filter(|count| *count > 0)
        .map(|count| format!("Alertmanager left out {} of this group (max_alerts)", more(count)));
    let here = notification.alerts.len().saturating_sub(MOST_EVENTS);
    let here = u64::try_from(here).ok().filter(|count| *count > 0).map(|count| {
        format!(
            "Tocsin left out {} of this notification, which has over {MOST_EVENTS}",
            more(count)
        )
    });
    let sentences: Vec<_> = by_sender.into_iter().chain(here).collect();
    Some(sentences.join("; ")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{json, value::RawValue};
    use tocsin_plugin_api::Urgency;

    use super::*;

    fn events_with(reopen: bool, notification: &serde_json::Value) -> Vec<Event> {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let wording = Wording::new(names(&["summary"]), names(&["description", "message"]));
        let urgency = UrgencyRule::new("severity".into(), BTreeMap::new());
        let (wording, urgency) = (wording.expect("names"), urgency.expect("a rule"));
        let text = notification.to_string();
        let raw: &RawValue = serde_json::from_str(&text).expect("JSON");
        let notification = Notification::read(raw).expect("a notification");
        Events { wording, urgency, reopen }.of(&notification)
    }

    fn events(notification: &serde_json::Value) -> Vec<Event> {
        events_with(true, notification)
    }

    fn down(status: &str) -> serde_json::Value {
        json!({
            "status": status,
            "labels": {"alertname": "Down", "severity": "page", "a": "<b>", "instance": "db1"},
            "annotations": {"summary": "db1 is down", "description": "since noon",
                            "message": "not used", "runbook_url": "https://x.example/runbook"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2026-01-01T01:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": "c0ffee",
        })
    }

    fn notification(alerts: &[serde_json::Value]) -> serde_json::Value {
        json!({"version": "4", "alerts": alerts, "externalURL": "http://alertmanager:9093"})
    }

    #[test]
    fn a_firing_alert_opens_one() {
        let expected = Event::create("db1 is down")
            .description("since noon")
            .urgency(Urgency::Critical)
            .dedup_key("c0ffee")
            .link("http://prometheus:9090/graph")
            .detail("alertname", "Down")
            .detail("a", "<b>")
            .detail("instance", "db1")
            .detail("severity", "page")
            .detail("message", "not used")
            .detail("runbook_url", "https://x.example/runbook")
            .detail("Started", "2026-01-01T00:00:00Z");
        assert_eq!(events(&notification(&[down("firing")])), [expected]);
    }

    #[test]
    fn a_resolved_alert_says_which_one_is_over() {
        assert_eq!(events(&notification(&[down("resolved")])), [Event::resolve("c0ffee")]);
    }

    #[test]
    fn without_reopen_the_same_events_have_ids() {
        let both = notification(&[down("firing"), down("resolved")]);
        let ids = ["firing c0ffee 2026-01-01T00:00:00Z", "resolved c0ffee 2026-01-01T00:00:00Z"];
        let with_ids = events(&both).into_iter().zip(ids).map(|(event, id)| event.event_id(id));
        assert_eq!(events_with(false, &both), with_ids.collect::<Vec<_>>());
    }

    #[test]
    fn the_link_falls_back_to_alertmanager() {
        let mut alert = down("firing");
        alert["generatorURL"] = json!("javascript:alert(1)");
        let link = |notification: &serde_json::Value| events(notification)[0].link.clone();
        let mut notification = notification(&[alert]);
        assert_eq!(link(&notification).as_deref(), Some("http://alertmanager:9093"));
        notification["externalURL"] = json!("");
        assert_eq!(link(&notification), None);
    }

    fn truncated_of(notification: &serde_json::Value) -> Option<String> {
        let last = events(notification)[0].details.last().cloned().expect("details");
        (last.label == "Truncated").then_some(last.value)
    }

    #[test]
    fn what_alertmanager_left_out_is_said_in_every_alert() {
        let mut notification = notification(&[down("firing"), down("firing")]);
        assert_eq!(truncated_of(&notification), None);
        notification["truncatedAlerts"] = json!(3);
        let text = "Alertmanager left out 3 more alerts of this group (max_alerts)";
        for event in events(&notification) {
            assert_eq!(event.details.last().map(|detail| detail.value.as_str()), Some(text));
        }
        notification["truncatedAlerts"] = json!(1);
        let text = "Alertmanager left out 1 more alert of this group (max_alerts)";
        assert_eq!(truncated_of(&notification).as_deref(), Some(text));
    }

    #[test]
    fn no_more_events_than_a_host_takes() {
        let mut notification = notification(&vec![down("firing"); 1002]);
        notification["truncatedAlerts"] = json!(1);
        assert_eq!(events(&notification).len(), 1000);
        let text = "Alertmanager left out 1 more alert of this group (max_alerts); \
                    Tocsin left out 2 more alerts of this notification, which has over 1000";
        assert_eq!(truncated_of(&notification).as_deref(), Some(text));
        notification["alerts"].as_array_mut().expect("a list").truncate(1000);
        assert_eq!(events(&notification).len(), 1000);
    }
}

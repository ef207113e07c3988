//! Events for the host, one for each alert of a notification and in the same order.
//!
//! The event of a resolved alert has only keys: title and description are in the Tocsin alert that
//! the event of the firing alert opened.

use std::borrow::Cow;

use tocsin_plugin_api::Event;
use tocsin_plugin_kit::{json::JsonError, text::is_blank};

use crate::{
    alert_text::{ALERTNAME, AlertText, TextSources},
    keys::{self, KeyPrefix},
    link,
    notification::{Alert, Notification, Status},
    urgency::UrgencyRule,
};

/// Number of details that a host keeps of an event.
const DETAILS_LIMIT: usize = 100;

/// Labels of the details that this plugin adds to the labels and annotations of an alert.
mod label {
    pub(crate) const STARTED: &str = "Started";
    pub(crate) const TRUNCATED: &str = "Truncated";
    pub(crate) const LEFT_OUT: &str = "Left out";
}

/// Builder of events, with the operator's options.
pub(crate) struct EventBuilder {
    pub(crate) text_sources: TextSources,
    pub(crate) urgency: UrgencyRule,
    pub(crate) key_prefix: KeyPrefix,
    /// Option `reopen`. With `true`, events have no ids: see [`keys`].
    pub(crate) reopen: bool,
}

impl EventBuilder {
    /// Builds the events of a notification, one for each alert.
    ///
    /// # Errors
    ///
    /// If the notification lacks a value for [`KeyPrefix`].
    pub(crate) fn events(&self, notification: &Notification<'_>) -> Result<Vec<Event>, JsonError> {
        let group = Group {
            key_prefix: self.key_prefix.of(notification)?,
            link: link::of_group(notification),
            truncated: truncated(notification),
        };
        Ok(notification.alerts.iter().map(|alert| self.event(alert, &group)).collect())
    }

    fn event(&self, alert: &Alert<'_>, group: &Group<'_>) -> Event {
        let prefixed = |key: &str| [&group.key_prefix, key].concat();
        let key = prefixed(&alert.key);
        let mut event = match alert.status {
            Status::Firing => self.firing(alert, group).dedup_key(key),
            Status::Resolved => Event::resolve(key),
        };
        let event_id = keys::event_id(alert).filter(|_| !self.reopen);
        event.event_id = event_id.map(|id| prefixed(&id));
        event
    }

    fn firing(&self, alert: &Alert<'_>, group: &Group<'_>) -> Event {
        let text = self.text_sources.text(alert);
        let mut event = Event::create(text.title.as_str()).urgency(self.urgency.of(&alert.labels));
        for (label, value) in details(alert, &text, group.truncated.as_deref()) {
            event = event.detail(label, value);
        }
        if let Some(link) = link::of_alert(alert).or(group.link) {
            event = event.link(link);
        }
        event.description = text.description;
        event
    }
}

/// Parts that all events of a [`Notification`] share.
struct Group<'a> {
    key_prefix: String,
    link: Option<&'a str>,
    truncated: Option<String>,
}

/// Returns the details of a firing alert: its labels, the label with the rule's name first; the
/// annotations that are neither title nor description; then notes of this plugin. Labels and
/// annotations beyond [`DETAILS_LIMIT`] are counted in a note instead of shown.
fn details<'a>(
    alert: &'a Alert<'_>,
    text: &AlertText<'_>,
    truncated: Option<&'a str>,
) -> Vec<(&'a str, Cow<'a, str>)> {
    let (name, other_labels): (Vec<_>, Vec<_>) =
        alert.labels.iter().partition(|(name, _)| name.as_str() == ALERTNAME);
    let annotations = alert.annotations.iter().filter(|(name, _)| !text.shows_in_full(name));
    let pairs = name.into_iter().chain(other_labels).chain(annotations);
    let pairs = pairs.filter(|(_, value)| !is_blank(value));
    let mut details: Vec<_> =
        pairs.map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_ref()))).collect();
    let started = alert.started.map(|time| (label::STARTED, time.to_string().into()));
    let truncated = truncated.map(|text| (label::TRUNCATED, text.into()));
    let notes = usize::from(started.is_some()) + usize::from(truncated.is_some());
    if details.len() + notes > DETAILS_LIMIT {
        let left_out = details.split_off(DETAILS_LIMIT - notes - 1).len();
        let text = format!("{left_out} more labels and annotations");
        details.push((label::LEFT_OUT, text.into()));
    }
    details.into_iter().chain(started).chain(truncated).collect()
}

/// Returns a note on the alerts of the group that Alertmanager left out of the notification.
fn truncated(notification: &Notification<'_>) -> Option<String> {
    let more = match notification.truncated {
        0 => return None,
        1 => "1 more alert".to_owned(),
        count => format!("{count} more alerts"),
    };
    Some(format!("Alertmanager left out {more} of this group (max_alerts)"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tocsin_plugin_api::Urgency;
    use tocsin_plugin_kit::json::Object;

    use super::*;

    fn events_with(reopen: bool, notification: &serde_json::Value) -> Vec<Event> {
        events_of("", reopen, notification)
    }

    fn events_of(prefix: &str, reopen: bool, notification: &serde_json::Value) -> Vec<Event> {
        let key_prefix = KeyPrefix::new(Some(prefix).filter(|prefix| !prefix.is_empty()));
        let key_prefix = key_prefix.expect("a prefix");
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let text_sources =
            TextSources::new(names(&["summary"]), names(&["description", "message"]));
        let urgency = UrgencyRule::new("severity".into(), BTreeMap::new());
        let (text_sources, urgency) = (text_sources.expect("names"), urgency.expect("a rule"));
        let text = notification.to_string();
        let body = Object::from_body(text.as_bytes()).expect("an object");
        let notification = Notification::read(&body).expect("a notification");
        let builder = EventBuilder { text_sources, urgency, key_prefix, reopen };
        builder.events(&notification).expect("events")
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
    fn a_firing_alert_opens_an_alert() {
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
    fn a_resolved_alert_has_its_key_only() {
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
    fn every_alert_notes_how_many_alertmanager_left_out() {
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
    fn every_alert_of_a_notification_becomes_an_event() {
        let mut notification = notification(&vec![down("firing"); 1002]);
        notification["truncatedAlerts"] = json!(1);
        assert_eq!(events(&notification).len(), 1002);
        let text = "Alertmanager left out 1 more alert of this group (max_alerts)";
        assert_eq!(truncated_of(&notification).as_deref(), Some(text));
    }

    #[test]
    fn details_over_the_limit_are_counted_and_the_notes_stay() {
        let mut alert = down("firing");
        let labels =
            |count: usize| (0..count).map(|at| (format!("l{at:03}"), json!("x"))).collect();
        alert["annotations"] = json!({});
        let mut details = |count: usize, truncated: u64| {
            alert["labels"] = serde_json::Value::Object(labels(count));
            let mut notification = notification(&[alert.clone()]);
            notification["truncatedAlerts"] = json!(truncated);
            events(&notification).remove(0).details
        };
        let full = details(98, 3);
        assert_eq!((full.len(), full[97].label.as_str()), (100, "l097"));
        let over = details(99, 3);
        assert_eq!((over.len(), over[96].label.as_str()), (100, "l096"));
        let last: Vec<_> = over[97..].iter().map(|it| (&*it.label, &*it.value)).collect();
        let truncated = "Alertmanager left out 3 more alerts of this group (max_alerts)";
        assert_eq!(
            last,
            [
                ("Left out", "2 more labels and annotations"),
                ("Started", "2026-01-01T00:00:00Z"),
                ("Truncated", truncated)
            ]
        );
        assert_eq!(details(99, 0).len(), 100);
        assert_eq!(details(5000, 0)[98].value, "4902 more labels and annotations");
    }

    #[test]
    fn blank_labels_and_annotations_are_no_details() {
        let mut alert = down("firing");
        alert["labels"]["a"] = json!("\u{3164}");
        alert["labels"]["control"] = json!("\u{0}\u{1b}");
        alert["labels"]["hieroglyph"] = json!("\u{13441}");
        alert["annotations"]["runbook_url"] = json!("\u{2800}\u{E0041}");
        let events = events(&notification(&[alert]));
        let labels: Vec<_> = events[0].details.iter().map(|it| it.label.as_str()).collect();
        assert_eq!(labels, ["alertname", "instance", "severity", "message", "Started"]);
    }

    #[test]
    fn the_prefix_is_in_both_keys_and_in_no_text() {
        let mut alerts = [down("firing"), down("resolved")];
        alerts[0]["annotations"] = json!({});
        alerts[0]["labels"] = json!({});
        let events = events_of("{receiver}/", false, &{
            let mut notification = notification(&alerts);
            notification["receiver"] = json!("eu");
            notification
        });
        let keys: Vec<_> = events
            .iter()
            .map(|event| (event.dedup_key.as_deref(), event.event_id.as_deref()))
            .collect();
        let key = Some("eu/c0ffee");
        assert_eq!(
            keys,
            [
                (key, Some("eu/firing c0ffee 2026-01-01T00:00:00Z")),
                (key, Some("eu/resolved c0ffee 2026-01-01T00:00:00Z"))
            ]
        );
        assert_eq!(events[0].title, "alert c0ffee");
    }
}

//! News for another Tocsin host, with the template of the README: the plugin `alertmanager` of that host
//! receives it, through its built library.

use serde_json::{Value as Json, json};
use tocsin_plugin_api::{
    Action, Event, Request, Urgency,
    capability::{Notifier, Plugin},
    notification::{Alert, Digest, Kind, Notification, Status, Subject, Time},
    outcome::Outcome,
    step::Step,
    testing::{Library, Subject as _},
};
use webhook_out::{Options, WebhookOut};

/// Returns the template in the section of the README.
fn template() -> String {
    let readme = include_str!("../README.md");
    let section = readme.split("\n## From one Tocsin host to another\n").nth(1).expect("a section");
    section.split("\"\"\"").nth(1).expect("a template").to_owned()
}

/// Returns the events that the other host finds in the request.
fn received(receiver: &Library, notification: &Notification) -> Vec<Event> {
    let options: Json = json!({"url": "https://other", "bearer": "t0ken", "body": template()});
    let options: Options = serde_json::from_value(options).expect("options");
    let sender = WebhookOut::new(options).unwrap_or_else(|error| panic!("{error}"));
    let Step::Send { request } = sender.next(notification, &[]) else { panic!("no request") };
    let mut webhook = Request::post(request.body.as_bytes());
    for header in &request.headers {
        webhook = webhook.with_header(&header.name, header.value.as_bytes());
    }
    match receiver.receive(&json!({"bearer_token": "t0ken"}), &webhook) {
        Ok(Outcome::Events { events, .. }) => events,
        other => panic!("{other:?}"),
    }
}

fn alert(status: Status) -> Alert {
    let at = Time::from_unix_seconds(1_767_225_600);
    let mut alert = Alert::new(7, "disk \"full\" on db1", Urgency::High, at);
    alert.description = Some("two\nlines".into());
    (alert.status, alert.url) = (status, Some("https://tocsin.example/alerts/7".into()));
    alert
}

#[test]
fn news_opens_and_resolves_alerts_at_the_other_host() {
    let receiver = Library::build("alertmanager");
    an_alert_opens_and_resolves_one_alert(&receiver);
    a_digest_opens_one_alert(&receiver);
}

fn an_alert_opens_and_resolves_one_alert(receiver: &Library) {
    let at = Time::from_unix_seconds(1_767_225_700);
    let opened =
        received(receiver, &Notification::new("d1", Kind::Opened, alert(Status::Open), at));
    let [opened] = opened.as_slice() else { panic!("{opened:?}") };
    assert_eq!((opened.action, opened.title.as_str()), (Action::Create, "disk \"full\" on db1"));
    assert_eq!(opened.description.as_deref(), Some("two\nlines"));
    assert_eq!(opened.urgency, Some(Urgency::High));
    assert_eq!(opened.link.as_deref(), Some("https://tocsin.example/alerts/7"));
    let resolved =
        received(receiver, &Notification::new("d2", Kind::Resolved, alert(Status::Resolved), at));
    assert_eq!(resolved[0].action, Action::Resolve);
    assert_eq!(resolved[0].dedup_key, opened.dedup_key);
}

fn a_digest_opens_one_alert(receiver: &Library) {
    let mut digest = Digest::default();
    (digest.count, digest.urgencies) = (30, vec![(Urgency::Critical, 30)]);
    let at = Time::from_unix_seconds(1_767_225_700);
    let events =
        received(receiver, &Notification::about("d1", Kind::Digest, Subject::Digest(digest), at));
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.title, "30 new alerts: 30 critical");
    assert_eq!(event.dedup_key.as_deref(), Some("d1"));
}

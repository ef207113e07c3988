//! The plugin as a destination: requests for news of every kind, the verdict on answers, and alerts that
//! come back.

use alertmanager::{Alertmanager, Options};
use serde_json::{Value as Json, json};
use tocsin_plugin_api::{
    capability::Notifier,
    notification::{Alert, Change, Digest, Kind, Notification, Status, Subject, Time},
    prelude::*,
    step::{HttpAnswer, HttpRequest, Step},
};

fn plugin(options: Json) -> Alertmanager {
    let options: Options = serde_json::from_value(options).expect("options of the right types");
    Alertmanager::new(options).unwrap_or_else(|error| panic!("{error}"))
}

fn sender() -> Alertmanager {
    plugin(json!({"url": "http://alertmanager:9093"}))
}

fn refused(mut options: Json) -> String {
    if options.get("url").is_none() {
        options["url"] = "http://alertmanager:9093".into();
    }
    match serde_json::from_value::<Options>(options) {
        Ok(options) => Alertmanager::new(options).err().expect("refused").to_string(),
        Err(error) => error.to_string(),
    }
}

/// Returns the time this many seconds after the beginning of 2026.
fn at(seconds: i64) -> Time {
    Time::from_unix_seconds(1_767_225_600).plus_seconds(seconds)
}

fn alert(status: Status) -> Alert {
    let mut alert = Alert::new(12, "disk full", Urgency::Medium, at(0));
    alert.id = "01JD2Z6Q3MWV8K5R9T1X0C4N7B".into();
    (alert.integration, alert.status) = ("ops".into(), status);
    alert.url = Some("https://tocsin.example/alerts/12".into());
    alert.details = vec![
        Detail { label: "Host".into(), value: "db1".into() },
        Detail { label: "Disk".into(), value: "sda".into() },
    ];
    (alert.occurrences, alert.updated_at) = (2, at(90));
    alert
}

fn news(kind: Kind, status: Status) -> Notification {
    let mut notification = Notification::new("d1", kind, alert(status), at(100));
    notification.change = Some(Change::new(at(60), "api token anna"));
    notification
}

fn request(plugin: &Alertmanager, notification: &Notification) -> HttpRequest {
    match plugin.next(notification, &[]) {
        Step::Send { request } => request,
        other => panic!("{other:?}"),
    }
}

fn sent(notification: &Notification) -> Json {
    let body: Json = serde_json::from_str(&request(&sender(), notification).body).expect("JSON");
    assert_eq!(body.as_array().map(Vec::len), Some(1));
    body[0].clone()
}

#[test]
fn an_open_alert_is_posted_with_an_end_in_the_far_future() {
    let request = request(&sender(), &news(Kind::Opened, Status::Open));
    assert_eq!(request.method, "POST");
    assert_eq!(request.url, "http://alertmanager:9093/api/v2/alerts");
    assert_eq!(
        sent(&news(Kind::Opened, Status::Open)),
        json!({
            "labels": {
                "alertname": "disk full",
                "severity": "warning",
                "integration": "ops",
                "tocsin_alert": "01JD2Z6Q3MWV8K5R9T1X0C4N7B",
            },
            "annotations": {
                "summary": "disk full",
                "details": "Host: db1\nDisk: sda",
                "status": "open",
                "occurrences": "2",
            },
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2027-01-01T00:01:40Z",
            "generatorURL": "https://tocsin.example/alerts/12",
        })
    );
}

#[test]
fn a_resolved_alert_ends_when_it_was_resolved_and_keeps_its_labels() {
    let resolved = sent(&news(Kind::Resolved, Status::Resolved));
    assert_eq!(resolved["endsAt"], "2026-01-01T00:01:00Z", "the time of the change");
    for (kind, status) in [
        (Kind::Opened, Status::Open),
        (Kind::Acknowledged, Status::Acknowledged),
        (Kind::Occurred, Status::Open),
        (Kind::Noted, Status::Resolved),
        (Kind::Escalated, Status::Open),
    ] {
        let other = sent(&news(kind, status));
        assert_eq!(other["labels"], resolved["labels"], "{kind}");
        assert_eq!(other["annotations"]["status"], status.as_str());
        let is_over = other["endsAt"].as_str() < Some("2026-02");
        assert_eq!(is_over, status == Status::Resolved, "{kind}");
    }
}

#[test]
fn an_alert_never_ends_before_it_starts() {
    let mut notification = news(Kind::Resolved, Status::Resolved);
    notification.change = Some(Change::new(at(-5), "integration ops"));
    let sent = sent(&notification);
    assert_eq!(sent["endsAt"], sent["startsAt"]);
}

#[test]
fn a_note_is_an_annotation() {
    let mut notification = news(Kind::Noted, Status::Acknowledged);
    notification.change = Some(Change::new(at(60), "anna").with_note("on it"));
    assert_eq!(sent(&notification)["annotations"]["note"], "on it");
}

#[test]
fn tests_and_digests_end_by_themselves() {
    let test = sent(&news(Kind::Test, Status::Open));
    assert_eq!(test["endsAt"], "2026-01-01T00:06:40Z");
    let mut digest = Digest::default();
    digest.count = 23;
    digest.urgencies = vec![(Urgency::Critical, 2), (Urgency::High, 21)];
    digest.integrations = vec![("ops".into(), 23)];
    let digest = Subject::Digest(digest);
    let digest = sent(&Notification::about("d7", Kind::Digest, digest, at(0)));
    assert_eq!(
        digest["labels"],
        json!({"alertname": "TocsinDigest", "severity": "critical", "tocsin_alert": "d7"})
    );
    assert_eq!(digest["annotations"]["details"], "critical: 2\nhigh: 21\nops: 23");
    assert_eq!(digest["endsAt"], "2026-01-02T00:00:00Z");
}

#[test]
fn a_link_that_alertmanager_would_refuse_is_left_out() {
    let mut alert = alert(Status::Open);
    alert.url = Some("not a link".into());
    let sent = sent(&Notification::new("d1", Kind::Opened, alert, at(0)));
    assert_eq!(sent.get("generatorURL"), None);
}

#[test]
fn a_credential_is_sent_and_marked_as_secret() {
    for (options, value) in [
        (json!({"bearer_token": "t0ken"}), "Bearer t0ken"),
        (json!({"basic_auth": {"username": "am", "password": ["s3cret"]}}), "Basic YW06czNjcmV0"),
    ] {
        let mut options = options;
        options["url"] = "https://alertmanager.example/prefix/".into();
        let request = request(&plugin(options), &news(Kind::Opened, Status::Open));
        assert_eq!(request.url, "https://alertmanager.example/prefix/api/v2/alerts");
        let header = request.headers.iter().find(|header| header.name == "authorization");
        assert_eq!(header.map(|it| (it.value.as_str(), it.secret)), Some((value, true)));
    }
}

#[test]
fn the_status_of_the_answer_decides() {
    let step = |status| {
        sender().next(&news(Kind::Opened, Status::Open), &[HttpAnswer::new("post", status)])
    };
    assert_eq!(step(200), Step::delivered());
    assert_eq!(step(503), Step::retry("the server failed (503)"));
    assert!(matches!(step(400), Step::Rejected { .. }));
    assert!(matches!(step(401), Step::DestinationBroken { .. }));
}

// The two roles.

#[test]
fn options_of_an_integration_are_refused_for_a_destination() {
    assert_eq!(
        refused(json!({"key_prefix": "a"})),
        "`key_prefix`: an option of integrations, and `url` makes this a destination\n\
         hint: remove it, or remove `url` if this is an integration"
    );
    for options in [
        json!({"unauthenticated": true}),
        json!({"title_annotations": []}),
        json!({"description_annotations": ["a"]}),
        json!({"severity_label": "level"}),
        json!({"urgencies": {"p1": "critical"}}),
        json!({"reopen": false}),
    ] {
        assert!(refused(options.clone()).contains("an option of integrations"), "{options}");
    }
}

#[test]
fn an_address_or_a_credential_that_cannot_be_used_is_refused_without_secrets() {
    for (options, key) in [
        (json!({"url": "alertmanager:9093/s3cret"}), "url"),
        (json!({"url": "http://a/?s3cret"}), "url"),
        (json!({"url": "http://a/api/v2/alerts/"}), "url"),
        (json!({"bearer_token": ["s3cret", "other"]}), "bearer_token"),
        (json!({"bearer_token": "s3cret x"}), "bearer_token"),
        (json!({"basic_auth": {"username": "a:b", "password": "s3cret"}}), "basic_auth.username"),
        (
            json!({"basic_auth": {"username": "a", "password": ["s3cret", "x"]}}),
            "basic_auth.password",
        ),
        (
            json!({"bearer_token": "s3cret", "basic_auth": {"username": "a", "password": "s3cret"}}),
            "basic_auth",
        ),
    ] {
        let error = refused(options);
        assert!(error.starts_with(&format!("`{key}`: ")) && error.contains("\nhint: "), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_destination_without_an_address_can_send_nothing() {
    let integration = plugin(json!({"bearer_token": "t0ken"}));
    assert_eq!(integration.describe().contacts, [""; 0]);
    let step = integration.next(&news(Kind::Opened, Status::Open), &[]);
    assert_eq!(
        step,
        Step::destination_broken(
            "the option `url` is missing; hint: set it to the address of Alertmanager in the options of \
             the destination"
        )
    );
    assert_eq!(sender().describe().contacts, ["http://alertmanager:9093"]);
    assert_eq!(sender().describe().kinds, Kind::ALL);
}

#[test]
fn an_integration_with_an_address_keeps_requests_for_later() {
    let refusal = sender().receive(&Request::post(b"{}"));
    assert!(matches!(refusal, Err(Refusal::Failed { .. })), "{refusal:?}");
}

// Loops.

/// Returns the notification of Alertmanager about an alert that was posted to it.
fn returned(posted: &Json, status: &str) -> Json {
    json!({
        "status": status,
        "labels": posted["labels"],
        "annotations": posted["annotations"],
        "startsAt": posted["startsAt"],
        "endsAt": posted["endsAt"],
        "generatorURL": posted["generatorURL"],
        "fingerprint": "1a30ba71cca2921f",
    })
}

fn receive(alerts: &[Json]) -> Received {
    let body = json!({"version": "4", "status": "firing", "alerts": alerts}).to_string();
    let integration = plugin(json!({"unauthenticated": true}));
    integration.receive(&Request::post(body.as_bytes())).expect("a notification")
}

#[test]
fn alerts_that_come_back_are_ignored() {
    let posted = sent(&news(Kind::Opened, Status::Open));
    let ignored = Received::ignored(
        "a Tocsin host has sent all alerts of the notification (label `tocsin_alert`)",
    );
    for status in ["firing", "resolved"] {
        assert_eq!(receive(&[returned(&posted, status)]), ignored);
    }
    assert_eq!(receive(&[]), Received::ignored("the notification has no alerts"));
}

#[test]
fn other_alerts_of_the_same_group_are_received() {
    let posted = sent(&news(Kind::Opened, Status::Open));
    let mut other = returned(&posted, "firing");
    other["labels"] = json!({"alertname": "disk full", "integration": "ops"});
    other["fingerprint"] = "0".into();
    let Received::Events { events, .. } = receive(&[returned(&posted, "firing"), other]) else {
        panic!("ignored")
    };
    let keys: Vec<_> = events.iter().map(|event| event.dedup_key.as_deref()).collect();
    assert_eq!(keys, [Some("0")]);
}

#[test]
fn the_severity_means_the_same_urgency_on_the_way_back() {
    for urgency in Urgency::ALL {
        let mut alert = alert(Status::Open);
        alert.urgency = urgency;
        let posted = sent(&Notification::new("d1", Kind::Opened, alert, at(0)));
        let mut other = returned(&posted, "firing");
        other["labels"].as_object_mut().expect("labels").remove("tocsin_alert");
        let Received::Events { events, .. } = receive(&[other]) else { panic!("ignored") };
        assert_eq!(events[0].urgency, Some(urgency));
    }
}

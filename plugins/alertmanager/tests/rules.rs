//! What comes of whole requests: the order of the rules, what repeats come to, and the errors in
//! options.

use alertmanager::Alertmanager;
use serde_json::{Value as Json, json};
use tocsin_plugin_api::{
    abi::NewInstanceError,
    prelude::*,
    testing::{Library, Value},
};

const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

fn plugin(mut options: Json) -> Alertmanager {
    options["bearer_token"] = TOKEN.into();
    Value::instance(&options).unwrap_or_else(|error| panic!("{error}"))
}

fn receive(options: Json, body: &[u8]) -> Result<Received, Refusal> {
    let bearer = format!("Bearer {TOKEN}");
    let request = Request::post(body)
        .with_header("content-type", b"application/json")
        .with_header("authorization", bearer.as_bytes());
    plugin(options).receive(&request)
}

fn events(options: Json, body: &Json) -> Vec<Event> {
    match receive(options, body.to_string().as_bytes()) {
        Ok(Received::Events { events, reply: None }) => events,
        other => panic!("{other:?}"),
    }
}

fn alert(status: &str, fingerprint: &str, started: &str) -> Json {
    json!({
        "status": status,
        "labels": {"alertname": "Down", "instance": fingerprint},
        "annotations": {"summary": format!("{fingerprint} is down")},
        "startsAt": started,
        "fingerprint": fingerprint,
    })
}

fn group(alerts: &[Json]) -> Json {
    json!({"version": "4", "status": "firing", "alerts": alerts})
}

fn refused(options: &Json) -> String {
    match Value::<Alertmanager>::instance(options) {
        Err(NewInstanceError::Refused(error)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

const NOON: &str = "2026-03-01T12:00:00Z";
const ONE: &str = "2026-03-01T13:00:00Z";

// The order of the rules.

#[test]
fn the_sender_is_judged_before_everything_else() {
    let plugin = plugin(json!({}));
    for (content_type, body) in [
        (&b"application/json"[..], &br#"{"version":"4","alerts":[]}"#[..]),
        (b"application/json", b"{"),
        (b"text/plain", b"\xff"),
        (b"", b""),
    ] {
        let request = Request::post(body).with_header("content-type", content_type);
        let missing = Refusal::unauthorized("`Authorization` is missing");
        assert_eq!(plugin.receive(&request), Err(missing));
        let wrong = request.with_header("authorization", b"Bearer wrong");
        let refusal = Refusal::unauthorized("the bearer token is not one of those configured");
        assert_eq!(plugin.receive(&wrong), Err(refusal));
    }
}

#[test]
fn query_and_body_carry_no_token() {
    let query = format!("token={TOKEN}&bearer_token={TOKEN}");
    let body = format!(r#"{{"version":"4","alerts":[],"bearer_token":"{TOKEN}"}}"#);
    let request = Request::new("POST", &query, &[], body.as_bytes());
    let refusal = Refusal::unauthorized("`Authorization` is missing");
    assert_eq!(plugin(json!({})).receive(&request), Err(refusal));
}

#[test]
fn a_notification_without_alerts_is_ignored() {
    let ignored = Received::ignored("there are no alerts in the notification");
    assert_eq!(receive(json!({}), br#"{"version":"4","alerts":[]}"#), Ok(ignored));
}

#[test]
fn one_alert_that_makes_no_sense_refuses_the_whole_notification() {
    let group = group(&[alert("firing", "a", NOON), alert("silenced", "b", NOON)]);
    let refusal = Refusal::malformed("`alerts[1].status`: neither `firing` nor `resolved`");
    assert_eq!(receive(json!({}), group.to_string().as_bytes()), Err(refusal));
}

#[test]
fn no_reason_repeats_what_was_sent() {
    for body in [
        r#""s3cret""#,
        r#"{"version":"s3cret"}"#,
        r#"{"version":"4","alerts":"s3cret"}"#,
        r#"{"version":"4","alerts":["s3cret"]}"#,
        r#"{"version":"4","alerts":[{"status":"s3cret","fingerprint":"a"}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":["s3cret"]}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","fingerprint":"a","startsAt":"s3cret"}]}"#,
        r#"{"version":"4","alerts":[],"externalURL":{"s3cret":1}} s3cret"#,
    ] {
        match receive(json!({}), body.as_bytes()) {
            Err(Refusal::Malformed { reason, .. }) => {
                assert!(!reason.contains("s3cret"), "{reason}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_title_of_invisible_characters_alone_is_replaced_by_the_next_source() {
    for blank in
        ["\u{2800}", "\u{3164}", "\u{115F}\u{1160}", "\u{FFA0}", "\u{E0041}\u{E007F}", "\u{200B}"]
    {
        let mut alert = alert("firing", "a", NOON);
        alert["annotations"] = json!({"headline": blank, "summary": "seen", "description": blank});
        let options = json!({"title_annotations": ["headline", "summary"]});
        let title = |alert: &Json| {
            let event = events(options.clone(), &group(std::slice::from_ref(alert))).remove(0);
            assert_eq!(event.description, None, "{blank:?}");
            event.title
        };
        assert_eq!(title(&alert), "seen", "{blank:?}");
        alert["annotations"]["summary"] = blank.into();
        assert_eq!(title(&alert), "Down on a", "{blank:?}");
        alert["labels"]["instance"] = blank.into();
        assert_eq!(title(&alert), "Down", "{blank:?}");
        alert["labels"]["alertname"] = blank.into();
        assert_eq!(title(&alert), "alert a", "{blank:?}");
        alert["fingerprint"] = blank.into();
        assert_eq!(title(&alert), "alert", "{blank:?}");
    }
}

#[test]
fn an_alert_without_a_status_has_that_of_its_group() {
    let mut alert = alert("firing", "a", NOON);
    alert.as_object_mut().expect("an object").remove("status");
    let mut group = group(&[alert]);
    assert_eq!(events(json!({}), &group)[0].action, Action::Create);
    group["status"] = "resolved".into();
    assert_eq!(events(json!({}), &group), [Event::resolve("a")]);
    group["status"] = Json::Null;
    let reason = "`alerts[0].status`: is missing, and the group has none either";
    assert_eq!(receive(json!({}), group.to_string().as_bytes()), Err(Refusal::malformed(reason)));
}

// Groups, and what repeats come to.

#[test]
fn each_alert_of_a_group_is_an_event_in_its_order() {
    let group = group(&[
        alert("firing", "b", NOON),
        alert("resolved", "c", NOON),
        alert("firing", "a", ONE),
    ]);
    let events = events(json!({}), &group);
    let told = events.iter().map(|event| (event.action, event.dedup_key.as_deref()));
    let expected =
        [(Action::Create, Some("b")), (Action::Resolve, Some("c")), (Action::Create, Some("a"))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(events[2].title, "a is down");
}

#[test]
fn without_reopen_an_alert_is_the_same_delivery_whatever_is_sent_beside_it() {
    let alone = group(&[alert("firing", "a", NOON)]);
    let mut repeated = group(&[alert("resolved", "b", NOON), alert("firing", "a", NOON)]);
    repeated["truncatedAlerts"] = json!(2);
    repeated["groupKey"] = json!("{}:{}");
    repeated["alerts"][1]["annotations"]["summary"] = json!("a is down, 7 times");
    let id = |group, at: usize| events(json!({"reopen": false}), group)[at].event_id.clone();
    assert_eq!(id(&alone, 0).as_deref(), Some("firing a 2026-03-01T12:00:00Z"));
    assert_eq!(id(&repeated, 1), id(&alone, 0));
}

#[test]
fn without_reopen_every_firing_period_is_a_delivery_of_its_own_and_so_is_its_end() {
    let group = group(&[
        alert("firing", "a", NOON),
        alert("resolved", "a", NOON),
        alert("firing", "a", ONE),
        alert("resolved", "a", ONE),
        alert("firing", "b", NOON),
    ]);
    let events = events(json!({"reopen": false}), &group);
    let mut ids: Vec<_> = events.iter().filter_map(|event| event.event_id.as_deref()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn what_fires_again_since_the_same_time_is_no_duplicate_but_the_same_problem() {
    let statuses = ["firing", "firing", "resolved", "firing", "resolved"];
    let group = group(&statuses.map(|status| alert(status, "a", NOON)));
    let by_default = events(json!({}), &group);
    assert_eq!(by_default.len(), 5);
    for event in &by_default {
        assert_eq!((event.dedup_key.as_deref(), &event.event_id), (Some("a"), &None));
    }
    assert_eq!(events(json!({"reopen": true}), &group), by_default);
}

// Several Alertmanagers in one integration.

fn from(receiver: &str, url: &str) -> Json {
    let mut group = group(&[alert("firing", "a", NOON), alert("resolved", "b", NOON)]);
    group["receiver"] = receiver.into();
    group["externalURL"] = url.into();
    group
}

#[test]
fn equal_alerts_of_two_alertmanagers_are_one_problem_unless_a_prefix_tells_them_apart() {
    let (eu, us) = (from("tocsin-eu", "http://eu.example"), from("tocsin-us", "http://us.example"));
    let keys = |prefix: Option<&str>, reopen: bool, body: &Json| -> Vec<_> {
        let events = events(json!({"key_prefix": prefix, "reopen": reopen}), body);
        events.into_iter().map(|event| (event.dedup_key, event.event_id)).collect()
    };
    for reopen in [true, false] {
        for same in [None, Some("x/")] {
            assert_eq!(keys(same, reopen, &eu), keys(same, reopen, &us), "{same:?}");
        }
        for other in ["{receiver}", "{externalURL}", "x/{receiver}/"] {
            let (eu, us) = (keys(Some(other), reopen, &eu), keys(Some(other), reopen, &us));
            for ((eu_key, eu_id), (us_key, us_id)) in eu.iter().zip(&us) {
                assert_ne!(eu_key, us_key, "{other}");
                assert!(eu_id != us_id || reopen, "{other}");
            }
        }
    }
    let key = |prefix, body| keys(Some(prefix), false, body).remove(0);
    let id = "x/firing a 2026-03-01T12:00:00Z";
    assert_eq!(key("x/", &eu), (Some("x/a".into()), Some(id.into())));
    let id = "tocsin-us firing a 2026-03-01T12:00:00Z";
    assert_eq!(key("{receiver} ", &us), (Some("tocsin-us a".into()), Some(id.into())));
}

#[test]
fn alerts_that_a_prefix_can_not_tell_apart_are_refused() {
    let group = group(&[alert("firing", "a", NOON)]).to_string();
    let refusal = Refusal::malformed("`receiver`: is missing, and `key_prefix` is made of it");
    let options = json!({"key_prefix": "{receiver}"});
    assert_eq!(receive(options, group.as_bytes()), Err(refusal));
}

// Sizes.

#[test]
fn a_group_of_a_hundred_thousand_alerts_is_as_many_events_in_their_order() {
    for status in ["firing", "resolved"] {
        let alerts = (0..100_000).map(|at| {
            format!(
                r#"{{"status":"{status}","labels":{{"alertname":"Down"}},"fingerprint":"{at}"}}"#
            )
        });
        let alerts = alerts.collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"version":"4","status":"firing","alerts":[{alerts}]}}"#);
        let Ok(Received::Events { events, .. }) = receive(json!({}), body.as_bytes()) else {
            panic!("no events");
        };
        assert_eq!(events.len(), 100_000);
        let misplaced = events.iter().zip(0..).find(|(event, at): &(&Event, u32)| {
            event.dedup_key.as_deref() != Some(at.to_string().as_str())
        });
        assert_eq!(misplaced, None);
    }
}

/// What comes of a notification is not many times as large as it is.
fn assert_bounded(body: &str) -> usize {
    assert!(body.len() <= 1 << 20, "{}", body.len());
    match receive(json!({}), body.as_bytes()) {
        Ok(Received::Events { events, .. }) => {
            let json = serde_json::to_string(&events).expect("JSON");
            assert!(json.len() <= 16 << 20, "{} bytes", json.len());
            events.len()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_common_to_a_group_does_not_multiply() {
    let alert = r#"{"status":"firing","fingerprint":"a"}"#;
    let alerts = vec![alert; 5000].join(",");
    let url = format!("http://x/{}", "a".repeat(800_000));
    let body = format!(r#"{{"version":"4","alerts":[{alerts}],"externalURL":"{url}"}}"#);
    assert_eq!(assert_bounded(&body), 5000);
    let body = body.replace(&url, &url[..8 * 1024]);
    assert_eq!(assert_bounded(&body), 5000);
    let alerts = vec![alert; 27_000].join(",");
    let body = format!(
        r#"{{"version":"4","alerts":[{alerts}],"externalURL":"{}","truncatedAlerts":1}}"#,
        &url[..256]
    );
    assert_eq!(assert_bounded(&body), 27_000);
}

#[test]
fn an_alert_of_many_or_long_labels_is_one_event() {
    let labels: Vec<_> = (0..80_000).map(|at| format!(r#""{at}":"x""#)).collect();
    for labels in [labels.join(","), format!(r#""alertname":"{}""#, "é ".repeat(300_000))] {
        let alert = format!(r#"{{"status":"firing","labels":{{{labels}}},"startsAt":"{NOON}"}}"#);
        assert_eq!(assert_bounded(&format!(r#"{{"version":"4","alerts":[{alert}]}}"#)), 1);
    }
}

// Options.

#[test]
fn a_credential_or_the_decision_to_go_without_is_needed() {
    assert_eq!(
        refused(&json!({})),
        "`bearer_token`: missing, and so is `basic_auth`: anyone could raise alerts\n\
         hint: set one of them to what Alertmanager shows, or set `unauthenticated = true` if \
         anyone may"
    );
    assert_eq!(refused(&json!({"unauthenticated": false})), refused(&json!({})));
    assert_eq!(
        refused(&json!({"bearer_token": "s3cret", "unauthenticated": true})),
        "`unauthenticated`: contradicts `bearer_token`, which would never be looked at\n\
         hint: remove one of the two"
    );
    let account = json!({"username": "am", "password": "s3cret"});
    assert_eq!(
        refused(&json!({"basic_auth": account, "unauthenticated": true})),
        "`unauthenticated`: contradicts `basic_auth`, which would never be looked at\n\
         hint: remove one of the two"
    );
}

#[test]
fn an_option_that_makes_no_sense_is_named_with_what_to_do() {
    let error = |key: &str, value: Json| refused(&json!({"bearer_token": "t", key: value}));
    assert_eq!(
        error("title_annotations", json!([""])),
        "`title_annotations[0]`: empty\nhint: remove it; it would name no annotation"
    );
    assert_eq!(
        error("description_annotations", json!(["a", ""])),
        "`description_annotations[1]`: empty\nhint: remove it; it would name no annotation"
    );
    assert_eq!(
        error("severity_label", json!("")),
        "`severity_label`: empty\nhint: remove it; then it is `severity`"
    );
    assert_eq!(
        error("urgencies", json!({"P1": "high", "p1": "low"})),
        "`urgencies.p1`: there twice, in another case\nhint: remove one of the two"
    );
    let empty = "`key_prefix`: empty\nhint: remove it; then keys have no prefix";
    assert_eq!(error("key_prefix", json!("")), empty);
    assert_eq!(error("key_prefix", json!(" ")), empty);
    assert_eq!(
        error("key_prefix", json!("x".repeat(129))),
        "`key_prefix`: longer than 128 characters\n\
         hint: some letters are enough to tell Alertmanagers apart"
    );
    assert_eq!(
        error("key_prefix", json!("{cluster}")),
        "`key_prefix`: has braces with something else than `{receiver}` or `{externalURL}`\n\
         hint: these two are what can be put in; other text is taken as it is, without braces"
    );
    assert_eq!(
        error("basic_auth", json!({"username": "", "password": ""})),
        "`basic_auth.password`: a secret must not be empty"
    );
    assert_eq!(
        error("basic_auth", json!({"username": "a:b", "password": "p"})),
        "`basic_auth.username`: has a colon, at which a user name ends\n\
         hint: RFC 7617 forbids it; choose another one"
    );
}

#[test]
fn an_option_that_is_misspelt_is_named_with_what_is_expected() {
    assert_eq!(
        refused(&json!({"token": "t"})),
        "`token`: unknown field `token`, expected one of `bearer_token`, `basic_auth`, \
         `unauthenticated`, `title_annotations`, `description_annotations`, `severity_label`, \
         `urgencies`, `reopen`, `key_prefix`"
    );
    assert_eq!(
        refused(&json!({"bearer_token": "t", "urgencies": {"p1": "urgent"}})),
        "`urgencies.p1`: unknown variant `urgent`, expected one of `low`, `medium`, `high`, \
         `critical`"
    );
    assert_eq!(
        refused(&json!({"basic_auth": {"user": "am"}})),
        "`basic_auth.user`: unknown field `user`, expected `username` or `password`"
    );
    assert_eq!(
        refused(&json!({"basic_auth": {"username": "am"}})),
        "`basic_auth`: missing field `password`"
    );
}

#[test]
fn no_error_in_options_shows_a_secret() {
    for options in [
        json!({"bearer_token": 31337}),
        json!({"bearer_token": ["31337", ""]}),
        json!({"bearer_token": "31337", "unauthenticated": true}),
        json!({"basic_auth": "am:31337"}),
        json!({"basic_auth": ["am", "31337"]}),
        json!({"basic_auth": {"username": ":", "password": "31337"}}),
        json!({"basic_auth": {"username": "", "password": ["31337", ""]}}),
        json!({"basic_auth": {"username": "am", "password": 31337}}),
        json!({"basic_auth": {"username": "am", "password": "31337"}, "unauthenticated": true}),
    ] {
        assert!(!refused(&options).contains("31337"), "{}", refused(&options));
    }
}

#[test]
fn the_schema_documents_every_option() {
    let schema = Library::build("alertmanager").options_schema();
    assert_eq!(schema["additionalProperties"], json!(false));
    let properties = schema["properties"].as_object().expect("an object");
    let mut keys: Vec<&str> = properties.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "basic_auth",
        "bearer_token",
        "description_annotations",
        "key_prefix",
        "reopen",
        "severity_label",
        "title_annotations",
        "unauthenticated",
        "urgencies",
    ];
    assert_eq!(keys, expected);
    for (key, property) in properties {
        assert!(property["description"].is_string(), "{key}: {property}");
    }
    assert_eq!(properties["title_annotations"]["default"], json!(["summary"]));
    assert_eq!(properties["description_annotations"]["default"], json!(["description", "message"]));
    assert_eq!(properties["severity_label"]["default"], json!("severity"));
    assert_eq!(properties["reopen"]["default"], json!(true));
}

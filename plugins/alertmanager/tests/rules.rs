//! Answers to whole requests: order of the checks, repeats, limits, and errors in options.

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

// Order of the checks.

#[test]
fn checks_the_credentials_before_anything_else() {
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
fn ignores_tokens_in_query_and_body() {
    let query = format!("token={TOKEN}&bearer_token={TOKEN}");
    let body = format!(r#"{{"version":"4","alerts":[],"bearer_token":"{TOKEN}"}}"#);
    let request = Request::new("POST", &query, &[], body.as_bytes());
    let refusal = Refusal::unauthorized("`Authorization` is missing");
    assert_eq!(plugin(json!({})).receive(&request), Err(refusal));
}

#[test]
fn ignores_a_notification_without_alerts() {
    let ignored = Received::ignored("the notification has no alerts");
    assert_eq!(receive(json!({}), br#"{"version":"4","alerts":[]}"#), Ok(ignored));
}

#[test]
fn refuses_the_whole_notification_if_one_alert_is_malformed() {
    let group = group(&[alert("firing", "a", NOON), alert("silenced", "b", NOON)]);
    let refusal = Refusal::malformed("`alerts[1].status`: neither `firing` nor `resolved`");
    assert_eq!(receive(json!({}), group.to_string().as_bytes()), Err(refusal));
}

#[test]
fn no_reason_quotes_the_request() {
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
fn takes_the_title_from_the_next_source_if_one_is_invisible() {
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
fn an_alert_without_a_status_takes_that_of_its_group() {
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

// Groups and repeats.

#[test]
fn each_alert_of_a_group_becomes_an_event_in_the_same_order() {
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
fn without_reopen_the_event_id_depends_on_the_alert_alone() {
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
fn without_reopen_each_firing_period_and_each_end_has_its_own_event_id() {
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
fn with_reopen_repeats_have_a_dedup_key_and_no_event_id() {
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
fn equal_alerts_of_two_alertmanagers_share_keys_unless_a_prefix_differs() {
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
fn refuses_a_notification_without_a_value_for_the_prefix() {
    let group = group(&[alert("firing", "a", NOON)]).to_string();
    let refusal = Refusal::malformed("`receiver`: is missing, and `key_prefix` needs it");
    let options = json!({"key_prefix": "{receiver}"});
    assert_eq!(receive(options, group.as_bytes()), Err(refusal));
}

// Limits.

#[test]
fn a_group_of_a_hundred_thousand_alerts_becomes_as_many_events() {
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

/// Asserts that the events of a body are not many times as large as the body, and counts the
/// events.
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
fn shared_parts_of_a_group_do_not_multiply_its_size() {
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
fn an_alert_with_many_or_long_labels_becomes_one_event() {
    let labels: Vec<_> = (0..80_000).map(|at| format!(r#""{at}":"x""#)).collect();
    for labels in [labels.join(","), format!(r#""alertname":"{}""#, "é ".repeat(300_000))] {
        let alert = format!(r#"{{"status":"firing","labels":{{{labels}}},"startsAt":"{NOON}"}}"#);
        assert_eq!(assert_bounded(&format!(r#"{{"version":"4","alerts":[{alert}]}}"#)), 1);
    }
}

// Options.

#[test]
fn requires_credentials_or_unauthenticated() {
    assert_eq!(
        refused(&json!({})),
        "`bearer_token`: missing, and so is `basic_auth`, so anyone could raise alerts\n\
         hint: set one of them to the credential that Alertmanager sends, or set \
         `unauthenticated = true` to let anyone raise alerts; a destination needs `url`"
    );
    assert_eq!(refused(&json!({"unauthenticated": false})), refused(&json!({})));
    assert_eq!(
        refused(&json!({"bearer_token": "s3cret", "unauthenticated": true})),
        "`unauthenticated`: contradicts `bearer_token`, which would never be checked\n\
         hint: remove one of the two"
    );
    let account = json!({"username": "am", "password": "s3cret"});
    assert_eq!(
        refused(&json!({"basic_auth": account, "unauthenticated": true})),
        "`unauthenticated`: contradicts `basic_auth`, which would never be checked\n\
         hint: remove one of the two"
    );
}

#[test]
fn errors_in_options_name_the_option_and_a_remedy() {
    let error = |key: &str, value: Json| refused(&json!({"bearer_token": "t", key: value}));
    assert_eq!(
        error("title_annotations", json!([""])),
        "`title_annotations[0]`: empty\nhint: remove it; no annotation has an empty name"
    );
    assert_eq!(
        error("description_annotations", json!(["a", ""])),
        "`description_annotations[1]`: empty\nhint: remove it; no annotation has an empty name"
    );
    assert_eq!(
        error("severity_label", json!("")),
        "`severity_label`: empty\nhint: remove it to use the label `severity`"
    );
    assert_eq!(
        error("urgencies", json!({"P1": "high", "p1": "low"})),
        "`urgencies.p1`: repeated in another case\nhint: remove one of the two"
    );
    let empty = "`key_prefix`: empty\nhint: remove it; then keys have no prefix";
    assert_eq!(error("key_prefix", json!("")), empty);
    assert_eq!(error("key_prefix", json!(" ")), empty);
    assert_eq!(
        error("key_prefix", json!("x".repeat(129))),
        "`key_prefix`: longer than 128 characters\n\
         hint: a few letters are enough to tell Alertmanagers apart"
    );
    assert_eq!(
        error("key_prefix", json!("{cluster}")),
        "`key_prefix`: has braces with something else than `{receiver}` or `{externalURL}`\n\
         hint: use these two placeholders and text without braces"
    );
    assert_eq!(
        error("basic_auth", json!({"username": "", "password": ""})),
        "`basic_auth.password`: a secret must not be empty"
    );
    assert_eq!(
        error("basic_auth", json!({"username": "a:b", "password": "p"})),
        "`basic_auth.username`: contains a colon, which RFC 7617 does not allow in a user name\n\
         hint: choose another user name"
    );
}

#[test]
fn errors_in_options_name_a_misspelt_key_and_the_known_ones() {
    assert_eq!(
        refused(&json!({"token": "t"})),
        "`token`: unknown field `token`, expected one of `url`, `bearer_token`, `basic_auth`, \
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
fn no_error_in_options_quotes_a_secret() {
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
        "url",
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

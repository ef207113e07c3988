//! Hostile requests: the plugin answers each one, and its answers are safe to show.

use alertmanager::Alertmanager;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;
use tocsin_plugin_api::{prelude::*, testing::Value};
use tocsin_plugin_kit::{
    link::is_web_address,
    testing::{check_receive, config, content_types, damaged, long_texts, texts},
};

const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";
/// User name `am` and the token as password, in base64.
const BASIC: &str = "Basic YW06WGszdlQ5cFF6N0xtTjJyQjhzV2M0ZFlm";

const SCHEMES: [&str; 3] = ["", "Bearer ", "Basic "];

/// Text that Alertmanager or this plugin gives a meaning.
const FRAGMENTS: [&str; 3] = ["critical", "firing", "{receiver}"];

const NAMES: [&str; 10] = [
    "alertname",
    "instance",
    "severity",
    "summary",
    "description",
    "message",
    "runbook_url",
    "a",
    "",
    "é",
];

const TIMES: [&str; 8] = [
    "2026-03-01T12:00:00Z",
    "2018-08-03T09:52:26.739266876+02:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "-009999-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "",
];

/// Plugins with options of every kind, each with an `Authorization` that it accepts.
fn plugins() -> Vec<(Alertmanager, &'static str)> {
    let bearer = "Bearer Xk3vT9pQz7LmN2rB8sWc4dYf";
    let account = json!({"username": "am", "password": ["other", TOKEN]});
    [
        (json!({"bearer_token": TOKEN}), bearer),
        (
            json!({
                "bearer_token": ["other", TOKEN],
                "basic_auth": account,
                "title_annotations": ["a", "é"],
                "description_annotations": [],
                "severity_label": "a",
                "urgencies": {"X": "critical", "漢": "low"},
            }),
            BASIC,
        ),
        (json!({"unauthenticated": true, "reopen": false, "title_annotations": []}), "Digest x"),
        (json!({"unauthenticated": true, "key_prefix": "a/{externalURL}/"}), ""),
    ]
    .into_iter()
    .map(|(options, shown)| {
        (Value::instance(&options).unwrap_or_else(|error| panic!("{error}")), shown)
    })
    .collect()
}

/// Gives a body to every plugin and checks the answers.
fn check(content_type: Option<&[u8]>, body: &[u8]) -> Result<(), TestCaseError> {
    for (plugin, authorization) in plugins() {
        let mut request =
            Request::post(body).with_header("authorization", authorization.as_bytes());
        if let Some(content_type) = content_type {
            request = request.with_header("content-type", content_type);
        }
        match check_receive(&plugin, &request)? {
            Ok(Received::Events { events, reply }) => {
                prop_assert_eq!(reply, None);
                events.iter().try_for_each(check_event)?;
            }
            Ok(Received::Ignored { .. }) | Err(Refusal::Malformed { .. }) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
    Ok(())
}

/// Checks the rules of this plugin's events that [`check_receive`] does not know.
fn check_event(event: &Event) -> Result<(), TestCaseError> {
    prop_assert!(event.dedup_key.as_ref().is_some_and(|key| !key.is_empty()));
    if let Some(id) = &event.event_id {
        prop_assert!(id.contains(event.dedup_key.as_deref().unwrap_or_default()));
    }
    if event.action == Action::Resolve {
        prop_assert_eq!((&event.title, event.details.len()), (&String::new(), 0));
        return Ok(());
    }
    prop_assert_eq!(event.action, Action::Create);
    prop_assert!(!event.title.contains("  "));
    if let Some(text) = &event.description {
        prop_assert_eq!(text.trim(), text);
    }
    if let Some(link) = &event.link {
        prop_assert!(is_web_address(link), "{}", link);
    }
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    texts(&FRAGMENTS)
}

/// Generates a value in the place of a text; nearly always a text.
fn leaf() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        60 => text().prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => any::<f64>().prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
        1 => Just(json!([{"a": []}])),
    ]
}

fn pairs() -> impl Strategy<Value = serde_json::Value> {
    let name = prop_oneof![6 => select(&NAMES[..]).prop_map(str::to_owned), 1 => text()];
    let pairs = vec((name, leaf()), 0..8)
        .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect()));
    prop_oneof![30 => pairs, 1 => leaf()]
}

fn alert() -> impl Strategy<Value = serde_json::Value> {
    let status = prop_oneof![
        8 => Just(json!("firing")),
        8 => Just(json!("resolved")),
        1 => leaf(),
    ];
    let started = prop_oneof![
        8 => select(&TIMES[..3]).prop_map(serde_json::Value::from),
        1 => select(&TIMES[..]).prop_map(serde_json::Value::from),
        1 => leaf(),
    ];
    (status, pairs(), pairs(), started, leaf(), leaf()).prop_map(
        |(status, labels, annotations, started, link, fingerprint)| {
            json!({
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": started,
                "generatorURL": link,
                "fingerprint": fingerprint,
            })
        },
    )
}

fn notification() -> impl Strategy<Value = Vec<u8>> {
    let version = prop_oneof![20 => Just(json!("4")), 1 => leaf()];
    let truncated = prop_oneof![8 => any::<u64>().prop_map(serde_json::Value::from), 1 => leaf()];
    (version, vec(alert(), 0..5), truncated, leaf()).prop_map(
        |(version, alerts, truncated, link)| {
            let notification = json!({
                "version": version,
                "alerts": alerts,
                "truncatedAlerts": truncated,
                "externalURL": link,
            });
            notification.to_string().into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answers_any_bytes_of_any_type(
        content_type in content_types(&["application/json", "Application/JSON; charset=utf-8"]),
        body in vec(any::<u8>(), 0..300),
    ) {
        check(content_type.as_deref(), &body)?;
    }

    #[test]
    fn answers_notifications(body in notification()) {
        check(None, &body)?;
    }

    #[test]
    fn answers_damaged_notifications(body in damaged(notification())) {
        check(Some(b"application/json"), &body)?;
    }

    #[test]
    fn answers_long_texts(text in long_texts(&FRAGMENTS)) {
        let alert = json!({
            "status": "firing",
            "labels": {"alertname": text, "severity": text, "a": text},
            "annotations": {"summary": text, "description": text, "a": text},
            "generatorURL": text,
        });
        let body = json!({"version": "4", "alerts": [alert], "externalURL": text}).to_string();
        check(None, body.as_bytes())?;
    }

    #[test]
    fn refuses_every_other_authorization(
        shown in vec(any::<u8>(), 0..60),
        scheme in select(&SCHEMES[..]),
        body in damaged(notification()),
    ) {
        let shown = [scheme.as_bytes(), &shown].concat();
        let request = Request::post(&body).with_header("authorization", &shown);
        for (plugin, _) in &plugins()[..2] {
            let received = plugin.receive(&request);
            prop_assert!(matches!(received, Err(Refusal::Unauthorized { .. })), "{:?}", received);
        }
    }
}

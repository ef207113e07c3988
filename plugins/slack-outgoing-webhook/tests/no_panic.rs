//! Hostile requests: the plugin answers each one, and its answers are safe to show.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;
use slack_outgoing_webhook::SlackOutgoingWebhook;
use tocsin_plugin_api::{prelude::*, testing::Value};
use tocsin_plugin_kit::testing::{
    check_receive, config, content_types, damaged, long_texts, texts,
};

const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

const KEYS: [&str; 22] = [
    "token",
    "team_id",
    "team_domain",
    "service_id",
    "channel_id",
    "channel_name",
    "timestamp",
    "thread_ts",
    "post_id",
    "message_id",
    "user_id",
    "user_name",
    "text",
    "trigger_word",
    "bot_id",
    "bot_name",
    "bot",
    "ssl_check",
    "command",
    "type",
    "event",
    "challenge",
];

/// Text that a product or this plugin gives a meaning.
const FRAGMENTS: [&str; 39] = [
    "<", ">", "|", "&", "&lt;", "&amp;", ";", "@", "#", "!", "^", "U1", "here", "date^",
    "subteam^", "http://", "mailto:", "://", "high", "LOW", "critical", "medium", ".", "-", "_",
    "~", "*", "**", "@**", "@_*", "#**", "](", ")", "all", "@here", "P1", "tel:", "\u{200D}",
    "\u{2011}",
];

/// Plugins with options of every kind.
static PLUGINS: LazyLock<Vec<SlackOutgoingWebhook>> = LazyLock::new(|| {
    [
        json!({"token": TOKEN}),
        json!({
            "token": ["other", TOKEN],
            "bots": "accept",
            "urgency_pattern": r"(?i)(?<urgency>\w+)",
            "reply": "{{{title}}} {urgency} {channel} {user} {trigger}",
        }),
        json!({
            "unauthenticated": true,
            "bots": "ignore",
            "channels": ["#x", "U1"],
            "trigger_words": ["high", "é"],
            "urgencies": {"P1": "critical", "é": "high"},
            "reply": "<!{title}> @{user}{title} {channel}",
        }),
    ]
    .iter()
    .map(|options| Value::instance(options).unwrap_or_else(|error| panic!("{error}")))
    .collect()
});

/// Gives a body to every plugin and checks the answers.
fn check(content_type: Option<&[u8]>, body: &[u8]) -> Result<(), TestCaseError> {
    let mut request = Request::post(body);
    if let Some(content_type) = content_type {
        request = request.with_header("content-type", content_type);
    }
    for plugin in PLUGINS.iter() {
        if let Ok(Received::Events { events, .. }) = check_receive(plugin, &request)? {
            prop_assert_eq!(events.len(), 1);
            check_event(&events[0])?;
        }
    }
    Ok(())
}

fn json_request(body: &[u8]) -> Request<'_> {
    Request::post(body).with_header("content-type", b"application/json")
}

/// Checks the rules of this plugin's events that [`check_receive`] does not know.
fn check_event(event: &Event) -> Result<(), TestCaseError> {
    let description = event.description.as_deref().unwrap_or_default();
    prop_assert!(description.contains(&event.title));
    prop_assert!(!description.contains("  ") && !description.contains('\t'));
    prop_assert_eq!(description.trim(), description);
    prop_assert_eq!(&event.dedup_key, &event.event_id);
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    texts(&FRAGMENTS)
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(&KEYS[..]).prop_map(str::to_owned),
        1 => Just("text".into()),
        1 => text(),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => text(),
        1 => Just(TOKEN.into()),
        1 => "[0-9]{1,3}\\.[0-9]{6}",
        1 => "[0-9]{1,10}",
        1 => Just("".into()),
    ]
}

/// Encodes a value for a form, with none, some or all of its bytes escaped.
fn encoded(value: &str, escapes: u8) -> Vec<u8> {
    let escape = |byte: u8| match escapes {
        0 => false,
        1 => !byte.is_ascii_alphanumeric(),
        n => byte.is_multiple_of(n) || b"&=+%".contains(&byte),
    };
    let mut encoded = Vec::new();
    for byte in value.bytes() {
        match byte {
            b' ' if escapes == 2 => encoded.push(b'+'),
            byte if escape(byte) => encoded.extend(format!("%{byte:02X}").bytes()),
            byte => encoded.push(byte),
        }
    }
    encoded
}

fn form() -> impl Strategy<Value = Vec<u8>> {
    let pair = (key(), value(), 0..4_u8).prop_map(|(key, value, escapes)| {
        [encoded(&key, escapes), vec![b'='], encoded(&value, escapes)].concat()
    });
    (vec(pair, 0..12), any::<bool>(), text()).prop_map(|(mut pairs, genuine, text)| {
        if genuine {
            pairs.push(format!("token={TOKEN}").into());
            pairs.push([b"text=".to_vec(), encoded(&text, 1)].concat());
        }
        pairs.join(&b'&')
    })
}

fn json_body() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        4 => value().prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => any::<f64>().prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
    ];
    let any_value = leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(key(), inner, 0..3)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    (vec((key(), any_value), 0..10), any::<bool>(), text()).prop_map(|(fields, genuine, text)| {
        let mut members: Vec<String> =
            fields.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
        if genuine {
            members.push(format!(r#""token":"{TOKEN}","text":{}"#, json!(text)));
        }
        format!("{{{}}}", members.join(",")).into_bytes()
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answers_any_bytes_of_any_type(
        content_type in content_types(&[
            "application/x-www-form-urlencoded",
            "Application/JSON; charset=utf-8",
        ]),
        body in vec(any::<u8>(), 0..300),
    ) {
        check(content_type.as_deref(), &body)?;
    }

    #[test]
    fn answers_forms(body in form()) {
        check(None, &body)?;
    }

    #[test]
    fn answers_damaged_forms(body in damaged(form())) {
        check(None, &body)?;
    }

    #[test]
    fn answers_json_objects(body in json_body()) {
        check(Some(b"application/json"), &body)?;
    }

    #[test]
    fn answers_damaged_json_objects(body in damaged(json_body())) {
        check(Some(b"application/json"), &body)?;
    }

    #[test]
    fn answers_long_texts(text in long_texts(&FRAGMENTS)) {
        let body = [format!("token={TOKEN}&text=").into_bytes(), encoded(&text, 1)].concat();
        check(None, &body)?;
    }

    #[test]
    fn refuses_every_form_with_a_wrong_token(body in form(), token in "[a-z]{0,24}") {
        let body = [format!("token={token}&").into_bytes(), body].concat();
        let received = PLUGINS[0].receive(&Request::post(&body));
        prop_assert!(matches!(received, Err(Refusal::Unauthorized { .. })), "{:?}", received);
    }

    #[test]
    fn refuses_every_json_object_with_a_wrong_token(
        body in damaged(json_body()),
        token in "[a-z]{0,24}",
    ) {
        let start = format!(r#"{{"token":"{token}","#);
        let body = String::from_utf8_lossy(&body).replacen('{', &start, 1);
        let received = PLUGINS[0].receive(&json_request(body.as_bytes()));
        prop_assert!(
            matches!(received, Err(Refusal::Unauthorized { .. } | Refusal::Malformed { .. })),
            "{:?}",
            received
        );
    }

    #[test]
    fn a_form_and_json_with_the_same_text_have_the_same_answer(text in text()) {
        let start = format!("token={TOKEN}&post_id=1&text=").into_bytes();
        let body = [start, encoded(&text, 1)].concat();
        let as_form = PLUGINS[0].receive(&Request::post(&body));
        let body = json!({"token": TOKEN, "post_id": "1", "text": text}).to_string();
        let as_json = PLUGINS[0].receive(&json_request(body.as_bytes()));
        prop_assert_eq!(as_form, as_json);
    }
}

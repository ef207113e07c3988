//! Whatever arrives, the plugin answers, and what it answers keeps its promises.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;
use slack_outgoing_webhook::SlackOutgoingWebhook;
use tocsin_plugin_api::{prelude::*, testing::Value};

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

/// What texts are made of, and where they may break.
const FRAGMENTS: [&str; 52] = [
    "<",
    ">",
    "|",
    "&",
    "&lt;",
    "&amp;",
    ";",
    "@",
    "#",
    "!",
    "^",
    "U1",
    "here",
    "date^",
    "subteam^",
    "http://",
    "mailto:",
    "://",
    "high",
    "LOW",
    "critical",
    "medium",
    ".",
    "-",
    "_",
    " ",
    "\n",
    "\r\n",
    "\0",
    "\u{202E}",
    "\u{200D}",
    "é",
    "\u{301}",
    "漢",
    "🔥",
    "x",
    "~",
    "*",
    "**",
    "@**",
    "@_*",
    "#**",
    "](",
    ")",
    "all",
    "@here",
    "P1",
    "tel:",
    "\u{2800}",
    "\u{2011}",
    "\u{AD}",
    "\u{E0041}",
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

/// Gives the body to every plugin and holds it to what it promises.
fn check(content_type: Option<&[u8]>, body: &[u8]) -> Result<(), TestCaseError> {
    let mut request = Request::post(body);
    if let Some(content_type) = content_type {
        request = request.with_header("content-type", content_type);
    }
    for plugin in PLUGINS.iter() {
        let received = plugin.receive(&request);
        prop_assert_eq!(&received, &plugin.receive(&request));
        match received {
            Ok(Received::Events { events, .. }) => {
                prop_assert_eq!(events.len(), 1);
                check_event(&events[0])?;
            }
            Err(Refusal::Failed { reason }) => prop_assert!(false, "failed: {}", reason),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn json_request(body: &[u8]) -> Request<'_> {
    Request::post(body).with_header("content-type", b"application/json")
}

fn check_event(event: &Event) -> Result<(), TestCaseError> {
    let description = event.description.as_deref().unwrap_or_default();
    prop_assert!(!event.title.trim().is_empty());
    prop_assert!(event.title.chars().count() <= 1024);
    prop_assert!(!event.title.chars().any(char::is_control));
    prop_assert!(description.contains(&event.title));
    prop_assert!(!description.contains("  "));
    prop_assert_eq!(description.trim(), description);
    prop_assert!(description.chars().all(|c| c == '\n' || !c.is_control()));
    prop_assert_eq!(&event.dedup_key, &event.event_id);
    prop_assert!(event.details.iter().all(|detail| !detail.value.is_empty()));
    Ok(())
}

fn content_type() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        Just(Some(b"application/x-www-form-urlencoded".to_vec())),
        Just(Some(b"Application/JSON; charset=utf-8".to_vec())),
        vec(any::<u8>(), 0..20).prop_map(Some),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        8 => select(&FRAGMENTS[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => ".{0,20}",
    ];
    vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
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

/// A value with some of its bytes escaped, or all that need it, or none.
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

/// A body that was damaged on its way.
fn damaged(body: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 0..4);
    (body, damage).prop_map(|(mut body, damage)| {
        for (at, byte) in damage {
            let at = at.index(body.len() + 1);
            match byte {
                Some(byte) => body.insert(at, byte),
                None => body.truncate(at),
            }
        }
        body
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_of_any_type(content_type in content_type(), body in vec(any::<u8>(), 0..300)) {
        check(content_type.as_deref(), &body)?;
    }

    #[test]
    fn forms(body in form()) {
        check(None, &body)?;
    }

    #[test]
    fn damaged_forms(body in damaged(form())) {
        check(None, &body)?;
    }

    #[test]
    fn json_objects(body in json_body()) {
        check(Some(b"application/json"), &body)?;
    }

    #[test]
    fn damaged_json_objects(body in damaged(json_body())) {
        check(Some(b"application/json"), &body)?;
    }

    #[test]
    fn long_texts(fragments in vec(select(&FRAGMENTS[..]), 1..6), times in 1..3_000_usize) {
        let text = fragments.concat().repeat(times);
        let body = [format!("token={TOKEN}&text=").into_bytes(), encoded(&text, 1)].concat();
        check(None, &body)?;
    }

    #[test]
    fn a_wrong_token_gives_nothing_away(body in form(), token in "[a-z]{0,24}") {
        let body = [format!("token={token}&").into_bytes(), body].concat();
        let received = PLUGINS[0].receive(&Request::post(&body));
        prop_assert!(matches!(received, Err(Refusal::Unauthorized { .. })), "{:?}", received);
    }

    #[test]
    fn a_wrong_token_in_json_gives_nothing_away(
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
    fn what_is_encoded_arrives(text in text()) {
        let start = format!("token={TOKEN}&post_id=1&text=").into_bytes();
        let body = [start, encoded(&text, 1)].concat();
        let as_form = PLUGINS[0].receive(&Request::post(&body));
        let body = json!({"token": TOKEN, "post_id": "1", "text": text}).to_string();
        let as_json = PLUGINS[0].receive(&json_request(body.as_bytes()));
        prop_assert_eq!(as_form, as_json);
    }
}

//! Messages that many senders might send, for plugins of which nothing is known, and the parts of an
//! outcome.
//!
//! Those of a plugin's own senders come from its fixtures.

use serde_json::Value;

use super::examination::Baseline;
use crate::sandbox::{
    message::{Body, Bytes, Message},
    mutation,
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TEXT: &str = "text/plain";

/// For the first instance.
pub(super) fn usual() -> Vec<Message> {
    let message = |name: &str, content_type: &str, body: &str| {
        Message::new(format!("usual {name}"), content_type, body)
    };
    vec![
        message("empty body", "", ""),
        message("white space", TEXT, " \r\n\t "),
        message("line", TEXT, "disk full on db1"),
        message("lines", TEXT, "db1 is down\n\nsince 10:42\r\nsee https://example.com/runbook"),
        message("kernel panic", TEXT, "kernel panic - not syncing: VFS: unable to mount root fs"),
        message("hang", TEXT, "task postgres:4711 hangs for more than 120 seconds"),
        message("spin", TEXT, "cpu0 spins at 100 %"),
        message("emoji", "text/plain; charset=utf-8", "🔥 Köln: 日本 \u{202e}abc\u{0301}"),
        message(
            "form",
            FORM,
            "text=disk+full+on+db1&user_name=steve&channel_name=ops&timestamp=1355517523.000005",
        ),
        message("broken form", FORM, "text=%zz&=&&%&a=b=c&text=again"),
        message(
            "json",
            JSON,
            r#"{"text":"disk full on db1","severity":"critical","id":"4711","user":{"name":"steve"}}"#,
        ),
        message("json list", JSON, r#"[{"title":"a"},{"title":"b"}]"#),
        message("json text", JSON, r#""disk full""#),
        message("json null", JSON, "null"),
        message("broken json", JSON, r#"{"text":"disk full"#),
        message("json twice", JSON, r#"{"text":"a","text":"b"}"#),
        message(
            "firing",
            JSON,
            r#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DiskFull","severity":"critical"},"annotations":{"summary":"disk full"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"c0ffee"}]}"#,
        ),
        message(
            "xml",
            "application/xml",
            "<?xml version=\"1.0\"?><alert><title>disk full</title></alert>",
        ),
        Message::new("usual bytes", "application/octet-stream", (0..=255).collect::<Vec<u8>>()),
        Message::new("usual wrong utf-8", TEXT, &b"disk \xff\xfe full \xc3"[..]),
    ]
}

impl Baseline {
    /// Those that are known to give an outcome.
    pub(super) fn calm_messages(&self) -> Vec<Message> {
        let heard = self.messages.iter().zip(&self.outcomes);
        heard.filter(|(_, heard)| heard.is_some()).map(|(message, _)| message.clone()).collect()
    }

    /// The same, each cut to what a storm makes of it: a megabyte that is copied again and again
    /// would hide what the plugin does to the memory.
    pub(super) fn storm_messages(&self) -> Vec<Message> {
        let cut = |mut message: Message| {
            let mut body = message.body.bytes();
            body.truncate(mutation::LONGEST_BODY_BYTES);
            message.body = Body::Whole(Bytes(body));
            message
        };
        self.calm_messages().into_iter().map(cut).collect()
    }
}

/// An outcome without the keys of its events, and these keys.
pub(super) fn split_keys(outcome: &Value) -> (Value, Value) {
    let (mut content, mut keys) = (outcome.clone(), Vec::new());
    let events = content.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten();
    for event in events.filter_map(Value::as_object_mut) {
        let mut of_event = serde_json::Map::new();
        for key in ["dedup_key", "event_id"] {
            of_event.extend(event.remove(key).map(|value| (key.to_owned(), value)));
        }
        keys.push(Value::Object(of_event));
    }
    (content, keys.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_apart_from_what_people_read() {
        let outcome = json!({"outcome": "events", "events": [{"title": "a", "dedup_key": "k"}]});
        let (content, keys) = split_keys(&outcome);
        assert_eq!(content, json!({"outcome": "events", "events": [{"title": "a"}]}));
        assert_eq!(keys, json!([{"dedup_key": "k"}]));
    }
}

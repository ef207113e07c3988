//! Sample messages, such as many senders might send, for plugins without fixtures.
//!
//! The messages of a plugin's own senders come from its fixtures.

use crate::sandbox::message::Message;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TEXT: &str = "text/plain";

/// Returns the sample [messages](Message), for the first instance.
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

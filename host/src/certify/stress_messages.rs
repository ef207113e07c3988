//! Stress messages, made to keep a plugin busy: huge bodies, deep nesting, a million fields, and text
//! on which regular expressions backtrack.
//!
//! If possible, each is built into a message that the plugin accepts, so that the plugin does not
//! refuse it at once.

use serde_json::Value;

use super::baseline::{Baseline, TimedOutcome};
use crate::sandbox::message::{Body, Bytes, Message};

/// The largest body that a host accepts by default.
const BODY_BYTES: usize = 1024 * 1024;
const MILLION: usize = 1_000_000;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Texts on which parsers of markup and regular expressions backtrack.
pub(super) const UNITS: &[(&str, &str)] = &[
    ("letters", "a"),
    ("words", "critical "),
    ("spaces", " "),
    ("lines", "a\n"),
    ("carriage returns", "\r"),
    ("angle brackets", "<"),
    ("open links", "<https://example.com/|"),
    ("references", "&amp;amp;"),
    ("stars", "*_~`"),
    ("braces", "{{"),
    ("colons", "a:"),
    ("emoji", "👩‍👩‍👧"),
    ("accents", "\u{0301}"),
    ("capital dotted i", "İ"),
    ("zeros", "0"),
];

/// Returns stress messages that suit the messages of a [`Baseline`] that the plugin accepts.
pub(super) fn suited_to(baseline: &Baseline) -> Vec<Message> {
    let mut messages = bare();
    if let Some(known) = accepted(baseline, FORM) {
        messages.extend(forms(known));
    }
    if let Some(known) = accepted(baseline, JSON) {
        messages.extend(objects(known));
    }
    if let Some(known) = accepted(baseline, "text/plain") {
        messages.extend(UNITS.iter().map(|(name, unit)| {
            repeated(known, &format!("1 MiB of {name} as text"), "", unit, "")
        }));
    }
    let headers = messages[0].clone();
    messages.push(Message {
        name: "15 KiB of headers".into(),
        headers: (0..128).map(|at| (format!("x-{at}"), Bytes(vec![b'a'; 100]))).collect(),
        body: Body::default(),
        ..headers
    });
    messages
}

/// Returns stress messages for any plugin. No plugin has to accept one of them.
fn bare() -> Vec<Message> {
    let message = |name: &str, content_type: &str, prefix: &str, unit: &str, count: usize| {
        let message = Message::new(name, content_type, "");
        let body = Body::Repeated {
            prefix: prefix.into(),
            unit: unit.into(),
            count,
            suffix: Bytes::default(),
        };
        Message { body, ..message }
    };
    let fill = |unit: &str| BODY_BYTES / unit.len();
    vec![
        message("a form of a million fields", FORM, "", "a&", MILLION),
        message("a form of a million equal names", FORM, "", "a=b&", MILLION),
        message("a form of empty fields", FORM, "", "&", fill("&")),
        message("a form of percent signs", FORM, "text=", "%25", fill("%25")),
        message("JSON nested in lists", JSON, "", "[", fill("[")),
        message("JSON nested in tables", JSON, "", r#"{"a":"#, fill(r#"{"a":"#)),
        message("JSON of a million numbers", JSON, "[0", ",1", MILLION),
        message("JSON of one long number", JSON, "", "9", fill("9")),
        message("JSON of escapes", JSON, "\"", r"\u0000", fill(r"\u0000")),
        message(
            "bytes without meaning",
            "application/octet-stream",
            "",
            "\0\u{1b}",
            fill("\0\u{1b}"),
        ),
    ]
}

/// Returns a message of this type that gave events, or else one that at least gave an outcome.
fn accepted<'a>(baseline: &'a Baseline, content_type: &str) -> Option<&'a Message> {
    let of_type = |message: &Message| {
        let mut headers = message.headers.iter();
        headers.any(|(name, value)| {
            name == "content-type" && value.0.starts_with(content_type.as_bytes())
        })
    };
    let answered = baseline.messages.iter().zip(&baseline.outcomes);
    let mut answered = answered.filter(|(message, timed)| timed.is_some() && of_type(message));
    let gave_events = |timed: &Option<TimedOutcome>| {
        timed.as_ref().is_some_and(|timed| timed.outcome.get("events").is_some())
    };
    answered.find(|(_, timed)| gave_events(timed)).map(|(message, _)| message)
}

fn forms(known: &Message) -> Vec<Message> {
    let body = String::from_utf8_lossy(&known.body.bytes()).into_owned();
    let fields: Vec<_> = body.split('&').collect();
    let is_text =
        |field: &&&str| ["text=", "message=", "title="].iter().any(|n| field.starts_with(n));
    let longest = fields.iter().max_by_key(|field| field.len());
    let Some(text) = fields.iter().find(is_text).or(longest) else { return Vec::new() };
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let others = fields
        .iter()
        .filter(|field| field != &text)
        .fold(String::new(), |all, field| format!("{all}{field}&"));
    let in_text = UNITS.iter().map(|(what, unit)| {
        let unit = percent_encoded(unit);
        // The plugin may select messages by how the text begins.
        repeated(
            known,
            &format!("1 MiB of {what} in a form"),
            &format!("{others}{name}={value}+"),
            &unit,
            "",
        )
    });
    let mut messages: Vec<_> = in_text.collect();
    let with_fields = |what: &str, unit: &str| {
        let mut message = repeated(known, what, &format!("{body}&"), unit, "");
        if let Body::Repeated { count, .. } = &mut message.body {
            *count = MILLION;
        }
        message
    };
    messages.push(with_fields("an accepted form and a million fields", "a=b&"));
    messages.push(with_fields("an accepted form and a million equal names", &format!("{name}=a&")));
    messages
}

fn objects(known: &Message) -> Vec<Message> {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(&known.body.bytes()) else {
        return Vec::new();
    };
    let texts = object.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let is_text = |(key, _): &(&String, &str)| ["text", "message", "title"].contains(&key.as_str());
    let longest = texts.clone().max_by_key(|(_, text)| text.len());
    let Some((key, value)) = texts.clone().find(is_text).or(longest) else { return Vec::new() };
    let mut others = object.clone();
    others.remove(key);
    let others = Value::Object(others).to_string();
    // The text before the last brace, with a comma if there are other fields.
    let others = others.trim_end_matches('}');
    let others = if others.len() > 1 { format!("{others},") } else { others.to_owned() };
    let value = Value::from(value).to_string();
    let start = format!("{others}{}:{} ", Value::from(key.as_str()), value.trim_end_matches('"'));
    let in_text = UNITS.iter().map(|(what, unit)| {
        let unit = Value::from(*unit).to_string();
        let unit = &unit[1..unit.len() - 1];
        repeated(known, &format!("1 MiB of {what} in JSON"), &start, unit, "\"}")
    });
    let mut messages: Vec<_> = in_text.collect();
    let nested =
        |what: &str, unit: &str| repeated(known, what, &format!("{start}\",\"x\":"), unit, "");
    messages.push(nested("an accepted object nested in lists", "["));
    messages.push(nested("an accepted object nested in tables", r#"{"a":"#));
    messages.push(repeated(
        known,
        "an accepted object of many equal keys",
        &format!("{start}\""),
        r#","x":1"#,
        "}",
    ));
    messages
}

fn repeated(known: &Message, name: &str, prefix: &str, unit: &str, suffix: &str) -> Message {
    let count = BODY_BYTES.saturating_sub(prefix.len() + suffix.len()) / unit.len().max(1);
    let body =
        Body::Repeated { prefix: prefix.into(), unit: unit.into(), count, suffix: suffix.into() };
    Message { name: name.into(), body, ..known.clone() }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        b' ' => "+".into(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_an_object_keeps_its_other_fields() {
        let known = Message::new("known", JSON, r#"{"token":"t","text":"disk full"}"#);
        for message in objects(&known).iter().filter(|message| message.name.contains("MiB")) {
            let json: Value = serde_json::from_slice(&message.body.bytes()).expect("JSON");
            assert_eq!(json["token"], "t", "{}", message.name);
            assert!(json["text"].as_str().is_some_and(|text| text.starts_with("disk full ")));
            assert!(message.body.length_bytes() <= BODY_BYTES);
        }
        let alone = Message::new("known", JSON, r#"{"text":"disk full"}"#);
        let first = objects(&alone)[0].body.bytes();
        serde_json::from_slice::<Value>(&first).expect("JSON");
    }

    #[test]
    fn text_in_a_form_keeps_its_other_fields() {
        let known = Message::new("known", FORM, "token=t&text=outage%3A&user=steve");
        let first = String::from_utf8(forms(&known)[0].body.bytes()).expect("text");
        assert!(first.starts_with("token=t&user=steve&text=outage%3A+aaa"), "{}", &first[..60]);
    }
}

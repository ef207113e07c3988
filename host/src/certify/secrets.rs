//! The check `secrets`: no output of the plugin holds a secret of its options: no sentence about wrong
//! options, no reason, no event, no reply.
//!
//! The check puts a known value wherever the schema has a secret, and searches the output for it.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use super::{
    attempts::attempted,
    baseline::Baseline,
    context::{CheckContext, received},
    sent_secrets, tables,
    verdict::Verdict,
};
use crate::{
    plugins::schema,
    sandbox::{
        message::{Body, Bytes, Message},
        protocol::{MessageRun, Observation, Task},
    },
};

const CANARY: &str = "cNry5f1e0c9a7bqX";
const CANARY_NUMBER: u64 = 736_251_947_381;
/// Names of keys that usually hold a secret.
const SUSPICIOUS: &[&str] = &["token", "secret", "password", "passwd", "api_key", "apikey"];

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let Some(schema) = context.schema.as_ref().map(|schema| schema.json.clone()) else {
        return Verdict::skipped("the plugin has no valid schema");
    };
    let bases: Vec<_> = context.tables().iter().map(|table| table.options.clone()).collect();
    let unmarked = unmarked(&schema);
    let Some(base) = bases.first() else { return Verdict::skipped("the plugin has no options") };
    if tables::with_secret(&schema, base, &CANARY.into()).is_none() {
        return match unmarked {
            Some(key) => warned(&key),
            None => Verdict::skipped("the options of the plugin have no secret"),
        };
    }
    let mut faults = of_options(context, &schema, base);
    let (asked, more) = of_messages(context, &schema);
    faults.extend(more);
    let (attempts, more) = of_attempts(context, &schema);
    faults.extend(more);
    let asked = asked + attempts;
    match unmarked {
        Some(key) if faults.is_empty() => warned(&key),
        _ => Verdict::of_faults(&faults, format!("in no outcome of {asked} messages")),
    }
}

fn warned(key: &str) -> Verdict {
    Verdict::warned(format!(
        "`{key}` looks like a secret, but its type is not that of a secret\nhint: use `Secret` or `Secrets`"
    ))
}

/// Returns a key that is named like a secret and accepts any text.
fn unmarked(schema: &Value) -> Option<String> {
    let is_text = |property: &Value| {
        let of = schema::resolved(schema, property);
        let is_text = |schema: &Value| {
            let name = schema.get("type");
            let is_string = |name: &Value| name.as_str() == Some("string");
            let names = name.and_then(Value::as_array);
            !schema::is_secret(schema)
                && (name.is_some_and(is_string) || names.is_some_and(|n| n.iter().any(is_string)))
        };
        is_text(of) || schema::branches(of).iter().any(|b| is_text(schema::resolved(schema, b)))
    };
    let has_secret =
        |property: &Value| tables::with_secret(property, &Value::Null, &json!(1)).is_some();
    let properties = schema::properties(schema).into_iter();
    let mut named = properties.filter(|(key, property)| {
        let key = key.to_ascii_lowercase();
        let is_named =
            SUSPICIOUS.iter().any(|name| key == *name || key.ends_with(&format!("_{name}")));
        is_named && is_text(property) && !has_secret(property)
    });
    named.next().map(|(key, _)| key)
}

fn of_options(context: &mut CheckContext<'_>, schema: &Value, base: &Value) -> Vec<String> {
    let values = [
        ("a number in its place", json!(CANARY_NUMBER)),
        ("a negative number in its place", json!(-736_251_947_381_i64)),
        ("a fraction in its place", json!(736_251_947_381.5)),
        ("a list in its place", json!([CANARY, [CANARY], CANARY_NUMBER])),
        ("a table in its place", json!({ CANARY: CANARY })),
        ("white space around it", json!(format!(" {CANARY}\n"))),
        ("control characters in it", json!(format!("{CANARY}\u{0}\u{1b}"))),
        ("more text than anyone expects", json!(CANARY.repeat(1000))),
    ];
    let mut tables: Vec<_> = values
        .into_iter()
        .filter_map(|(what, value)| Some((what, tables::with_secret(schema, base, &value)?)))
        .collect();
    if let Some(Value::Object(mut table)) = tables::with_secret(schema, base, &CANARY.into()) {
        table.insert(tables::UNKNOWN_KEY.into(), 1.into());
        tables.push(("an unknown key beside it", table.into()));
        table = tables::with_secret(schema, base, &CANARY.into())
            .and_then(|table| table.as_object().cloned())
            .unwrap_or_default();
        for (key, _) in schema::properties(schema) {
            if !has_canary(&table.get(&key).cloned().unwrap_or_default().to_string()) {
                let mut wrong = table.clone();
                wrong.insert(key, json!({ "no_such_option": 1 }));
                tables.push(("another key of a wrong type", wrong.into()));
            }
        }
    }
    let options: Vec<_> = tables.iter().map(|(_, table)| table.clone()).collect();
    let record = context.sandbox.run(Task::Make(options));
    let sentences = record.observations.iter().filter_map(|observation| match observation {
        Observation::Refused { index, sentence } => Some((*index, sentence)),
        Observation::Failed { index, what, .. } => Some((*index, what)),
        _ => None,
    });
    let leaks = sentences.filter(|(_, sentence)| has_canary(sentence));
    let fault = |(index, sentence): (usize, &String)| {
        format!("repeats a secret of its options, with {}: {sentence}", tables[index].0)
    };
    leaks.map(fault).collect()
}

/// Returns the number of messages that were sent, and a sentence for each outcome with a secret.
fn of_messages(context: &mut CheckContext<'_>, schema: &Value) -> (usize, Vec<String>) {
    let sandbox = context.sandbox.clone();
    let baseline = context.baseline();
    let options: Vec<_> = baseline
        .options
        .iter()
        .map(|base| tables::with_secret(schema, base, &CANARY.into()).unwrap_or(base.clone()))
        .collect();
    let messages = messages(baseline, schema);
    let record = sandbox.run(Task::Receive(MessageRun {
        options,
        messages: messages.clone(),
        ..MessageRun::default()
    }));
    let mut faults: Vec<String> = received(&record)
        .filter(|(_, outcome, _)| has_canary(&outcome.to_string()))
        .map(|(index, outcome, _)| {
            let outcome_name = outcome.get("outcome").and_then(Value::as_str).unwrap_or("outcome");
            format!(
                "shows a secret of its options in `{outcome_name}`, receiving `{}`",
                messages[index].name
            )
        })
        .collect();
    let failed = record.observations.iter().filter_map(|observation| match observation {
        Observation::Failed { what, .. } if has_canary(what) => {
            Some(format!("repeats a secret of its options: {what}"))
        }
        _ => None,
    });
    faults.extend(failed);
    (messages.len(), faults)
}

/// Returns the number of attempts, and a sentence for each that shows a secret of its own options.
fn of_attempts(context: &mut CheckContext<'_>, schema: &Value) -> (usize, Vec<String>) {
    let baseline = context.baseline();
    let (mut count, mut faults) = (0, Vec::new());
    for attempt in attempted(baseline) {
        count += 1;
        let options = baseline.options.get(attempt.message.options);
        let secrets = options.map(|options| secrets_of(schema, options)).unwrap_or_default();
        faults.extend(sent_secrets::fault(&attempt, &secrets));
    }
    (count, faults)
}

/// Returns each message that gave an outcome twice: with the right secret instead of its own, or where
/// senders usually put a secret; and unchanged, so that its own secret is wrong.
fn messages(baseline: &Baseline, schema: &Value) -> Vec<Message> {
    let mut messages = Vec::new();
    let requests = baseline.answered_messages().into_iter();
    for message in requests.filter(|message| message.attempt.is_none()) {
        let olds = baseline.options.get(message.options);
        let olds = olds.map(|options| secrets_of(schema, options)).unwrap_or_default();
        let right = olds.iter().fold(message.clone(), |message, old| replaced(&message, old));
        if right != message {
            messages.push(right);
        } else {
            let mut right = message.clone();
            for name in ["x-token", "x-api-key", "x-auth-token"] {
                right.headers.push((name.into(), CANARY.into()));
            }
            let bearer = format!("Bearer {CANARY}");
            right.headers.push(("authorization".into(), bearer.as_str().into()));
            messages.push(right);
        }
        messages.push(message);
    }
    messages
}

/// Returns the texts of the options that are secrets by the schema.
fn secrets_of(schema: &Value, options: &Value) -> Vec<String> {
    let marked = tables::with_secret(schema, options, &CANARY.into()).unwrap_or_default();
    let mut secrets = Vec::new();
    collect(&marked, options, &mut secrets);
    secrets
}

fn collect(marked: &Value, options: &Value, secrets: &mut Vec<String>) {
    match (marked, options) {
        (Value::String(canary), _) if canary == CANARY => strings(options, secrets),
        (Value::Object(marked), Value::Object(options)) => {
            for (key, marked) in marked {
                collect(marked, options.get(key).unwrap_or(&Value::Null), secrets);
            }
        }
        (Value::Array(marked), Value::Array(options)) => {
            for option in options {
                marked.iter().for_each(|marked| collect(marked, option, secrets));
            }
        }
        _ => {}
    }
}

fn strings(value: &Value, to: &mut Vec<String>) {
    match value {
        Value::String(text) if !text.is_empty() => to.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, to)),
        _ => {}
    }
}

fn replaced(message: &Message, old: &str) -> Message {
    let bytes = |bytes: &[u8]| replace(bytes, old.as_bytes());
    let headers =
        message.headers.iter().map(|(name, value)| (name.clone(), Bytes(bytes(&value.0))));
    Message {
        headers: headers.collect(),
        query: message.query.replace(old, CANARY),
        body: Body::Whole(Bytes(bytes(&message.body.bytes()))),
        ..message.clone()
    }
}

fn replace(bytes: &[u8], old: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        if let Some(after) = rest.strip_prefix(old) {
            new.extend(CANARY.bytes());
            rest = after;
        } else {
            new.push(*first);
            rest = &rest[1..];
        }
    }
    new
}

/// Returns true if the text holds the canary, in any form to which a plugin may have changed it.
fn has_canary(text: &str) -> bool {
    let lower = text.to_lowercase();
    let number = CANARY_NUMBER.to_string();
    lower.contains(&CANARY.to_lowercase())
        || text.contains(number.as_str())
        || text.contains(BASE64_STANDARD.encode(CANARY).trim_end_matches('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_any_form() {
        for text in
            [format!("wrong token {CANARY}"), CANARY.to_uppercase(), BASE64_STANDARD.encode(CANARY)]
        {
            assert!(has_canary(&text), "{text}");
        }
        assert!(has_canary("invalid type: integer `736251947381`"));
        assert!(!has_canary("expected a string"));
    }

    #[test]
    fn finds_a_key_that_is_named_like_a_secret_and_has_another_type() {
        let schema = |property: Value| json!({"type": "object", "properties": property});
        let plain = schema(json!({"api_token": {"type": ["string", "null"]}}));
        assert_eq!(unmarked(&plain).as_deref(), Some("api_token"));
        let secret = json!({"type": "string", "format": "password", "writeOnly": true});
        let marked = schema(json!({"token": {"anyOf": [secret, {"type": "null"}]}}));
        assert_eq!(unmarked(&marked), None);
        assert_eq!(unmarked(&schema(json!({"token": {"type": "boolean"}}))), None);
    }
}

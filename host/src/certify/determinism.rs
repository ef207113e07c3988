//! Check `deterministic`: the same request gives the same outcome, alone, repeated, from many
//! threads, in another process and later.
//!
//! The keys of events are left out: they are for `keys-stable`.

use serde_json::Value;

use super::{
    Verdict, corpus,
    examination::{Examination, THREADS},
};

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    let repetition = examination.repetition();
    let content = |outcome: &Value| corpus::split_keys(outcome).0;
    let faults: Vec<_> = differences(repetition, content, "another outcome");
    if faults.is_empty()
        && let Some(trouble) = &repetition.trouble
    {
        return Verdict::failed(trouble);
    }
    let count = repetition.messages.len();
    Verdict::of_faults(
        &faults,
        format!("{count} messages, each again, in another process, and from {THREADS} threads"),
    )
}

/// The messages of which a part of the outcome was not always the same.
pub(super) fn differences(
    repetition: &super::examination::Repetition,
    part: impl Fn(&Value) -> Value,
    what: &str,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, (message, first)) in repetition.messages.iter().zip(&repetition.first).enumerate() {
        let first = part(first);
        let found = repetition.again.iter().find_map(|(when, again)| {
            let again: Vec<_> = again[at].iter().map(&part).collect();
            let in_a_row = again.iter().find(|other| Some(*other) != again.first());
            if let (Some(other), false) = (in_a_row, when.contains("threads")) {
                return Some(("asked again", again[0].clone(), other.clone()));
            }
            let other = again.iter().find(|other| **other != first)?;
            Some((*when, first.clone(), other.clone()))
        });
        if let Some((when, one, other)) = found {
            let place = first_difference(&one, &other);
            faults.push(format!("`{}` gave {what} {when}: {place}", message.name));
        }
    }
    faults
}

fn first_difference(one: &Value, other: &Value) -> String {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            let mut differing = keys.filter(|key| one.get(*key) != other.get(*key));
            differing.next().map_or_else(String::new, |key| {
                let value = |table: &serde_json::Map<String, Value>| {
                    table.get(key).cloned().unwrap_or_default()
                };
                match (value(one), value(other)) {
                    (one @ (Value::Object(_) | Value::Array(_)), other) => {
                        first_difference(&one, &other)
                    }
                    (one, other) => format!("`{key}` was {}, then {}", short(&one), short(&other)),
                }
            })
        }
        (Value::Array(one), Value::Array(other)) => {
            let differing = one.iter().zip(other).find(|(one, other)| one != other);
            differing.map_or_else(
                || format!("{} in a list, then {}", one.len(), other.len()),
                |(one, other)| first_difference(one, other),
            )
        }
        (one, other) => format!("{}, then {}", short(one), short(other)),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

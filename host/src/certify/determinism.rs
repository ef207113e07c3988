//! The check `deterministic`: the same request gives the same outcome, alone, repeated, from many
//! threads, in another process and later.
//!
//! The keys of events are left out: the check `keys-stable` compares them.

use serde_json::Value;

use super::{
    baseline::{Repetition, split_keys},
    context::{CheckContext, THREADS},
    verdict::Verdict,
};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let repetition = context.repetition();
    let content = |outcome: &Value| split_keys(outcome).0;
    let faults: Vec<_> = differences(repetition, content, "another outcome");
    if faults.is_empty()
        && let Some(failure) = &repetition.failure
    {
        return Verdict::failed(failure);
    }
    let count = repetition.messages.len();
    Verdict::of_faults(
        &faults,
        format!("{count} messages, each again, in another process, and from {THREADS} threads"),
    )
}

/// Returns a sentence for each message of a [`Repetition`] for which this part of the outcome was not
/// always the same.
pub(super) fn differences(
    repetition: &Repetition,
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

/// Returns the place of the first difference between two outcomes, and the value of each there.
fn first_difference(one: &Value, other: &Value) -> String {
    let (path, one, other) = part(String::new(), one, other);
    let path = if path.is_empty() { "it".into() } else { format!("`{path}`") };
    format!("{path} was {}, then {}", short(one), short(other))
}

fn part<'v>(path: String, one: &'v Value, other: &'v Value) -> (String, &'v Value, &'v Value) {
    const NONE: &Value = &Value::Null;
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys = one.keys().chain(other.keys());
            let Some(key) = keys.find(|key| one.get(*key) != other.get(*key)) else {
                return (path, NONE, NONE);
            };
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            part(path, one.get(key).unwrap_or(NONE), other.get(key).unwrap_or(NONE))
        }
        (Value::Array(one), Value::Array(other)) => {
            let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at));
            let at = at.unwrap_or_default();
            let (one, other) = (one.get(at).unwrap_or(NONE), other.get(at).unwrap_or(NONE));
            part(format!("{path}[{at}]"), one, other)
        }
        _ => (path, one, other),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_described_by_its_place() {
        let one = json!({"events": [{"title": "a", "details": [{"label": "x", "value": "1"}]}]});
        let other = json!({"events": [{"title": "a", "details": [{"label": "x", "value": "2"}]}]});
        insta::assert_snapshot!(first_difference(&one, &other), @r#"`events[0].details[0].value` was `"1"`, then `"2"`"#);
        let refused = json!({"outcome": "malformed"});
        insta::assert_snapshot!(first_difference(&one, &refused), @r#"`events` was `[{"details":[{"label":"x","value":"1"}],"title":"a"}]`, then `null`"#);
        insta::assert_snapshot!(first_difference(&json!([1]), &json!([])), @"`[0]` was `1`, then `null`");
    }
}

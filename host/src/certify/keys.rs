//! Check `keys-stable`: a sender's retry gives the same `dedup_key` and `event_id`, or a host could
//! not tell that it is one; and different messages do not share one `event_id`, or a host would drop
//! all but the first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Verdict, corpus,
    determinism::differences,
    examination::{Baseline, Examination},
};

/// Of so many different events, one has to have another id than the rest.
const ENOUGH_EVENTS: usize = 5;

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    let repetition = examination.repetition();
    let keys = |outcome: &Value| corpus::split_keys(outcome).1;
    let faults = differences(repetition, keys, "another key");
    if !faults.is_empty() {
        return Verdict::of_faults(&faults, "");
    }
    let count = repetition.messages.len();
    let settings = examination.settings;
    let acquaintance = examination.acquaintance();
    if let Some(id) = only_id(acquaintance) {
        return Verdict::warned(format!(
            "all events have the `event_id` `{id}`, so that a host would keep only the first\n\
             hint: take it from the request, or leave it out"
        ));
    }
    let expected = |name: &str| {
        let fixture = settings.fixtures.iter().find(|fixture| fixture.name == name)?;
        fixture.expect.get("dedup_key")?.as_str().map(str::to_owned)
    };
    if let Some((id, names)) = shared_id(acquaintance, &expected) {
        return Verdict::warned(format!(
            "fixtures `{}` expect different problems, and share the `event_id` `{id}`",
            names.join("` and `"),
        ));
    }
    Verdict::passed(format!("{count} messages"))
}

fn events(acquaintance: &Baseline) -> impl Iterator<Item = (&str, &Value)> {
    let heard = acquaintance.messages.iter().zip(&acquaintance.outcomes);
    heard.flat_map(|(message, heard)| {
        let events = heard.as_ref().and_then(|heard| heard.outcome.get("events")?.as_array());
        events.into_iter().flatten().map(|event| (message.name.as_str(), event))
    })
}

fn only_id(acquaintance: &Baseline) -> Option<&str> {
    let titles: BTreeSet<_> =
        events(acquaintance).map(|(_, event)| event.get("title").and_then(Value::as_str)).collect();
    let ids: BTreeSet<_> = events(acquaintance)
        .map(|(_, event)| event.get("event_id").and_then(Value::as_str))
        .collect();
    let only = ids.first().copied().flatten();
    only.filter(|_| ids.len() == 1 && titles.len() >= ENOUGH_EVENTS)
}

/// An id under which fixtures expect different problems.
fn shared_id<'e>(
    acquaintance: &'e Baseline,
    expected: &dyn Fn(&str) -> Option<String>,
) -> Option<(&'e str, [&'e str; 2])> {
    let mut first: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for (name, event) in events(acquaintance) {
        let id = event.get("event_id").and_then(Value::as_str);
        let (Some(id), Some(key)) = (id, expected(name)) else { continue };
        let (known, of) = first.entry(id).or_insert_with(|| (name, key.clone()));
        if *of != key {
            return Some((id, [*known, name]));
        }
    }
    None
}

//! The check `keys-stable`: a sender's retry gives the same `dedup_key` and `event_id`, by which a host
//! recognises it, and different messages do not share one `event_id`, or a host would drop all but the
//! first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    baseline::{Baseline, split_keys},
    context::CheckContext,
    determinism::differences,
    verdict::Verdict,
};

/// The number of different events that must not all have one id.
const ENOUGH_EVENTS: usize = 5;

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let repetition = context.repetition();
    let keys = |outcome: &Value| split_keys(outcome).1;
    let faults = differences(repetition, keys, "another key");
    if !faults.is_empty() {
        return Verdict::of_faults(&faults, "");
    }
    let count = repetition.messages.len();
    let settings = context.settings;
    let baseline = context.baseline();
    if let Some(id) = only_id(baseline) {
        return Verdict::warned(format!(
            "all events have the `event_id` `{id}`, so that a host would keep only the first\n\
             hint: take it from the request, or leave it out"
        ));
    }
    let expected = |name: &str| {
        let fixture = settings.fixtures.iter().find(|fixture| fixture.name == name)?;
        fixture.expect.get("dedup_key")?.as_str().map(str::to_owned)
    };
    if let Some((id, names)) = shared_id(baseline, &expected) {
        return Verdict::warned(format!(
            "fixtures `{}` expect different problems, and share the `event_id` `{id}`",
            names.join("` and `"),
        ));
    }
    Verdict::passed(format!("{count} messages"))
}

fn events(baseline: &Baseline) -> impl Iterator<Item = (&str, &Value)> {
    let outcomes = baseline.messages.iter().zip(&baseline.outcomes);
    outcomes.flat_map(|(message, timed)| {
        let events = timed.as_ref().and_then(|timed| timed.outcome.get("events")?.as_array());
        events.into_iter().flatten().map(|event| (message.name.as_str(), event))
    })
}

fn only_id(baseline: &Baseline) -> Option<&str> {
    let titles: BTreeSet<_> =
        events(baseline).map(|(_, event)| event.get("title").and_then(Value::as_str)).collect();
    let ids: BTreeSet<_> =
        events(baseline).map(|(_, event)| event.get("event_id").and_then(Value::as_str)).collect();
    let only = ids.first().copied().flatten();
    only.filter(|_| ids.len() == 1 && titles.len() >= ENOUGH_EVENTS)
}

/// Returns an id in the [`Baseline`] that events of different problems share, and the names of two of
/// their fixtures.
fn shared_id<'e>(
    baseline: &'e Baseline,
    expected: &dyn Fn(&str) -> Option<String>,
) -> Option<(&'e str, [&'e str; 2])> {
    let mut first: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for (name, event) in events(baseline) {
        let id = event.get("event_id").and_then(Value::as_str);
        let (Some(id), Some(key)) = (id, expected(name)) else { continue };
        let (known, of) = first.entry(id).or_insert_with(|| (name, key.clone()));
        if *of != key {
            return Some((id, [*known, name]));
        }
    }
    None
}

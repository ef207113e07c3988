//! The check `fixtures`: each fixture gives the outcome that it expects.

use tocsin_plugin_api::{outcome::Outcome, step::Step};

use super::{baseline::TimedOutcome, context::CheckContext, verdict::Verdict};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let settings = context.settings;
    let count = settings.fixtures.len() + settings.notifier_fixtures.len();
    if count == 0 {
        let hint = "give fixtures with --fixtures; the purpose of the plugin can't be guessed";
        return Verdict::skipped(format!("there are no fixtures\nhint: {hint}"));
    }
    let baseline = context.baseline();
    let mut faults = Vec::new();
    for (fixture, index) in settings.fixtures.iter().zip(&baseline.of_fixtures) {
        let fault = match index {
            None => Some("the plugin refuses its options".into()),
            Some(index) => match &baseline.outcomes[*index] {
                None => Some("the plugin gave no outcome".into()),
                Some(timed) => match outcome(&timed.outcome) {
                    Ok(outcome) => fixture.compare(&outcome).err(),
                    Err(error) => Some(error.to_string()),
                },
            },
        };
        faults.extend(fault.map(|fault| format!("`{}`: {fault}", fixture.name)));
    }
    let of_notifier = settings.notifier_fixtures.iter().zip(&baseline.of_notifier_fixtures);
    for (fixture, index) in of_notifier {
        let fault = match index {
            None => Some("the plugin refuses its options".into()),
            Some(index) => match steps(&baseline.outcomes[*index]) {
                Ok(steps) => fixture.compare(&steps).err(),
                Err(fault) => Some(fault),
            },
        };
        faults.extend(fault.map(|fault| format!("`{}`: {fault}", fixture.name)));
    }
    Verdict::of_faults(&faults, format!("{count} fixtures"))
}

/// Returns the steps of an attempt.
///
/// # Errors
///
/// If the attempt gave no steps, or one that cannot be read.
fn steps(timed: &Option<TimedOutcome>) -> Result<Vec<Step>, String> {
    let steps = timed.as_ref().and_then(|timed| timed.outcome.get("steps")?.as_array());
    let Some(steps) = steps else { return Err("the plugin gave no step".into()) };
    let read = |step: &serde_json::Value| match step.get("invalid").and_then(|why| why.as_str()) {
        Some(why) => Err(format!("the plugin gave a step that cannot be read: {why}")),
        None => serde_json::from_value(step.clone()).map_err(|error| error.to_string()),
    };
    steps.iter().map(read).collect()
}

fn outcome(json: &serde_json::Value) -> Result<Outcome, serde_json::Error> {
    Outcome::from_json(json.to_string().as_bytes())
}

//! The check `fixtures`: each fixture gives the outcome that it expects.

use tocsin_plugin_api::outcome::Outcome;

use super::{context::CheckContext, verdict::Verdict};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let settings = context.settings;
    if settings.fixtures.is_empty() {
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
    Verdict::of_faults(&faults, format!("{} fixtures", settings.fixtures.len()))
}

fn outcome(json: &serde_json::Value) -> Result<Outcome, serde_json::Error> {
    Outcome::from_json(json.to_string().as_bytes())
}

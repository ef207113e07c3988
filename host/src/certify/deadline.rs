//! The check `deadline`: no message keeps the plugin longer than the host waits.
//!
//! The check `no-panic` reports crashes and panics.

use std::time::Duration;

use super::{context::CheckContext, verdict::Verdict};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    if context.tables().is_empty() {
        // A plugin that never finishes an instance keeps the host waiting, too.
        let faults = hangs(context);
        return match faults.as_slice() {
            [] => Verdict::skipped("no options were found that the plugin accepts"),
            faults => Verdict::of_faults(faults, ""),
        };
    }
    let deadline = context.settings.deadline;
    let seed = context.settings.seed;
    let known = context.baseline();
    let known = known.messages.iter().zip(&known.outcomes).filter_map(|(message, timed)| {
        Some((message.name.clone(), message.length_bytes(), timed.as_ref()?.took))
    });
    let mut times: Vec<_> = known.collect();
    let stress = context.stress_results();
    let (sent, returned) =
        (stress.len(), stress.iter().filter(|result| result.took.is_some()).count());
    times.extend(stress.iter().filter_map(|r| Some((r.name.clone(), r.length_bytes, r.took?))));
    let fuzzed = context.fuzz_record();
    let hang = fuzzed.death.as_ref().filter(|death| death.is_timeout()).map(|death| {
        let at = fuzzed.at.map_or(0, |(_, index)| index);
        format!("{death}, receiving request {at} of seed {seed}")
    });
    let mut faults = hangs(context);
    faults.extend(hang);
    let late = times.iter().filter(|(_, _, took)| *took > deadline);
    faults.extend(late.map(|(name, length, took)| {
        format!("took {} for `{name}` ({length} bytes); the limit is {deadline:?}", rounded(*took))
    }));
    let slowest = times.iter().max_by_key(|(_, _, took)| *took);
    let slowest = slowest.map_or_else(String::new, |(name, _, took)| {
        format!("; slowest {} (`{name}`)", rounded(*took))
    });
    Verdict::of_faults(
        &faults,
        format!("{returned} of {sent} adversarial messages in {deadline:?} each{slowest}"),
    )
}

fn hangs(context: &CheckContext<'_>) -> Vec<String> {
    let hangs = context.failures.iter().filter(|failure| failure.is_hang);
    hangs.map(|failure| failure.sentence.clone()).collect()
}

fn rounded(took: Duration) -> String {
    match took.as_millis() {
        0 => format!("{} us", took.as_micros()),
        millis => format!("{millis} ms"),
    }
}

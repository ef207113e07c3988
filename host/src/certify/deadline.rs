//! Check `deadline`: no message keeps the plugin longer than the host waits, however it was made to.
//!
//! That a crash or panic is no answer either is for `no-panic` to say.

use std::time::Duration;

use super::{Verdict, examination::Examination};
use crate::sandbox::Death;

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    if examination.tables().is_empty() {
        // An instance that is never made keeps the host waiting, too.
        let faults = hangs(examination);
        return match faults.as_slice() {
            [] => Verdict::skipped("no options were found that it accepts"),
            faults => Verdict::of_faults(faults, ""),
        };
    }
    let deadline = examination.settings.deadline;
    let seed = examination.settings.seed;
    let known = examination.acquaintance();
    let known = known.messages.iter().zip(&known.outcomes).filter_map(|(message, heard)| {
        Some((message.name.clone(), message.body.length_bytes(), heard.as_ref()?.took))
    });
    let mut times: Vec<_> = known.collect();
    let ordeal = examination.ordeal();
    let (adversaries, came_back) =
        (ordeal.len(), ordeal.iter().filter(|ordeal| ordeal.took.is_some()).count());
    times.extend(ordeal.iter().filter_map(|o| Some((o.name.clone(), o.length_bytes, o.took?))));
    let storm = examination.storm();
    let hang = match &storm.death {
        Some(death @ (Death::Hung(_) | Death::Overtime(_))) => {
            let at = storm.at.map_or(0, |(_, index)| index);
            Some(format!("{death}, receiving request {at} of seed {seed}"))
        }
        _ => None,
    };
    let mut faults = hangs(examination);
    faults.extend(hang);
    let late = times.iter().filter(|(_, _, took)| *took > deadline);
    faults.extend(late.map(|(name, length, took)| {
        format!("took {} over `{name}` ({length} bytes); it has {deadline:?}", rounded(*took))
    }));
    let slowest = times.iter().max_by_key(|(_, _, took)| *took);
    let slowest = slowest.map_or_else(String::new, |(name, _, took)| {
        format!("; slowest {} (`{name}`)", rounded(*took))
    });
    Verdict::of_faults(
        &faults,
        format!("{came_back} of {adversaries} adversarial messages in {deadline:?} each{slowest}"),
    )
}

fn hangs(examination: &Examination<'_>) -> Vec<String> {
    let hangs = examination.troubles.iter().filter(|trouble| trouble.is_hang);
    hangs.map(|trouble| trouble.sentence.clone()).collect()
}

fn rounded(took: Duration) -> String {
    match took.as_millis() {
        0 => format!("{} us", took.as_micros()),
        millis => format!("{millis} ms"),
    }
}

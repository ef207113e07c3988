//! Check `no-panic`: neither a panic nor a crash, whatever options and messages were given in any of
//! the other checks, nor in a storm of random and mutated ones.
//!
//! A host catches panics, but it throws the instance away. A crash it does not catch.

use super::{Verdict, examination::Examination};
use crate::sandbox::{Death, Doing, Record, Said, message::Message, mutation};

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    let (requests, seed) = (examination.settings.requests, examination.settings.seed);
    let has_instance = !examination.tables().is_empty();
    let storm = has_instance.then(|| {
        let corpus = examination.acquaintance().storm_messages();
        let record = examination.storm();
        (fault_of(record, seed, &corpus), reached(record))
    });
    let calm = examination.troubles.iter().filter(|trouble| !trouble.is_hang);
    let mut faults: Vec<_> = calm.map(|trouble| trouble.sentence.clone()).collect();
    let Some((fault, reached)) = storm else {
        return match faults.as_slice() {
            [] => Verdict::skipped("no options were found that it accepts"),
            faults => Verdict::of_faults(faults, ""),
        };
    };
    faults.extend(fault);
    if faults.is_empty() && reached < requests {
        return Verdict::skipped(format!(
            "{reached} of {requests} requests without one; `deadline` says why not all"
        ));
    }
    Verdict::of_faults(&faults, format!("{requests} random and mutated requests of seed {seed}"))
}

/// How many requests of the storm were received.
pub(super) fn reached(storm: &Record) -> usize {
    let samples = storm.said.iter().filter_map(|said| match said {
        Said::Memory { requests, .. } => Some(*requests),
        _ => None,
    });
    match storm.at {
        Some((Doing::Receive, index)) => index,
        _ => samples.max().unwrap_or_default(),
    }
}

fn fault_of(storm: &Record, seed: u64, corpus: &[Message]) -> Option<String> {
    let place = |index: usize| {
        let message = mutation::message(corpus, seed, index);
        format!("receiving request {index} of seed {seed}, {}", shown(&message))
    };
    let failed = storm.said.iter().find_map(|said| match said {
        Said::Failed { doing: Doing::Receive, index, what } => {
            Some(format!("{what}, {}", place(*index)))
        }
        _ => None,
    });
    let died = || match (&storm.death, storm.at) {
        (None | Some(Death::Hung(_) | Death::Overtime(_)), _) => None,
        (Some(death), Some((Doing::Receive, index))) => Some(format!("{death}, {}", place(index))),
        (Some(death), _) => Some(death.to_string()),
    };
    failed.or_else(died)
}

/// The beginning of a message, enough to recognise it by.
fn shown(message: &Message) -> String {
    const LONGEST: usize = 60;
    let content_type = message.headers.iter().find(|(name, _)| name == "content-type");
    let content_type =
        content_type.map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned());
    let body = message.body.bytes();
    let start = body[..body.len().min(LONGEST)].escape_ascii();
    format!("`{}` of {} bytes: `{start}`", content_type.unwrap_or_default(), body.len())
}

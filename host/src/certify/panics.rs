//! The check `no-panic`: neither a panic nor a crash, with any options and messages of the other checks
//! and in a long run of random and mutated messages.
//!
//! A host survives a panic but drops the instance. A host does not survive a crash.

use tocsin_plugin_api::step::HttpAnswer;

use super::{context::CheckContext, verdict::Verdict};
use crate::sandbox::{
    Record,
    message::Message,
    mutation,
    protocol::{Observation, Operation},
};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let (requests, seed) = (context.settings.requests, context.settings.seed);
    let has_instance = !context.tables().is_empty();
    let fuzzed = has_instance.then(|| {
        let samples = context.baseline().fuzz_samples();
        let record = context.fuzz_record();
        (fault_of(record, seed, &samples), reached(record))
    });
    let crashes = context.failures.iter().filter(|failure| !failure.is_hang);
    let mut faults: Vec<_> = crashes.map(|failure| failure.sentence.clone()).collect();
    let Some((fault, reached)) = fuzzed else {
        return match faults.as_slice() {
            [] => Verdict::skipped("no options were found that the plugin accepts"),
            faults => Verdict::of_faults(faults, ""),
        };
    };
    faults.extend(fault);
    if faults.is_empty() && reached < requests {
        return Verdict::skipped(format!(
            "{reached} of {requests} requests were received, without a panic; `deadline` says why not all"
        ));
    }
    Verdict::of_faults(&faults, format!("{requests} random and mutated requests of seed {seed}"))
}

/// Returns the number of requests that were received in the [`Record`] of a fuzz run.
pub(super) fn reached(record: &Record) -> usize {
    let samples = record.observations.iter().filter_map(|observation| match observation {
        Observation::Memory { requests, .. } => Some(*requests),
        _ => None,
    });
    match record.at {
        Some((Operation::Receive, index)) => index,
        _ => samples.max().unwrap_or_default(),
    }
}

fn fault_of(record: &Record, seed: u64, samples: &[Message]) -> Option<String> {
    let place = |index: usize| {
        let message = mutation::message(samples, seed, index);
        let verb = if message.attempt.is_some() { "sending" } else { "receiving" };
        format!("{verb} request {index} of seed {seed}, {}", shown(&message))
    };
    let failed = record.observations.iter().find_map(|observation| match observation {
        Observation::Failed { operation: Operation::Receive, index, what } => {
            Some(format!("{what}, {}", place(*index)))
        }
        _ => None,
    });
    let died = || {
        let death = record.death.as_ref().filter(|death| !death.is_timeout())?;
        Some(match record.at {
            Some((Operation::Receive, index)) => format!("{death}, {}", place(index)),
            _ => death.to_string(),
        })
    };
    failed.or_else(died)
}

/// Returns the beginning of a message, enough to recognise it.
fn shown(message: &Message) -> String {
    const LONGEST: usize = 60;
    if let Some(attempt) = &message.attempt {
        let answer = |answer: &HttpAnswer| {
            let body = answer.body.as_bytes();
            let start = body[..body.len().min(LONGEST)].escape_ascii();
            format!("{} `{start}`", answer.status)
        };
        let answers: Vec<_> = attempt.answers.iter().map(answer).collect();
        return format!("answered {}", answers.join(", "));
    }
    let content_type = message.headers.iter().find(|(name, _)| name == "content-type");
    let content_type =
        content_type.map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned());
    let body = message.body.bytes();
    let start = body[..body.len().min(LONGEST)].escape_ascii();
    format!("`{}` of {} bytes: `{start}`", content_type.unwrap_or_default(), body.len())
}

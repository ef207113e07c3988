//! The check `pure`: making an instance, receiving and dropping use nothing but memory: no file, no
//! socket, no thread, no environment. A filter in the kernel detects violations.
//!
//! The filter does not see the clock, which can be read without a system call; the check
//! `deterministic` sees its effect on outcomes. The filter does not see code that runs while the library
//! is loaded either.

use serde_json::Value;

use super::{context::CheckContext, verdict::Verdict};
use crate::sandbox::{
    Death, Record, Sandbox,
    message::Message,
    protocol::{Confinement, MessageRun, Observation, Operation, Task},
    violation,
};

/// The number of violations after which the search ends.
const MOST_VIOLATIONS: usize = 4;

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let sandbox = context.sandbox.clone();
    let baseline = context.baseline();
    // Messages that never return need not be sent again.
    let (options, messages) = (&baseline.options, baseline.answered_messages());
    let found = violations(&sandbox, Confinement::SystemCalls, options, &messages);
    let found = found.and_then(|mut found| {
        // Starting a thread reads the environment, too. One violation for each place is enough.
        let more = violations(&sandbox, Confinement::Environment, options, &messages)?;
        let is_new = |other: &PlacedViolation| !found.iter().any(|one| one.place == other.place);
        let new: Vec<_> = more.into_iter().filter(is_new).collect();
        found.extend(new);
        Ok(found)
    });
    let mut sentences: Vec<String> = Vec::new();
    match found {
        Err(why) => {
            return Verdict::skipped(format!("this machine cannot confine a plugin: {why}"));
        }
        Ok(found) => {
            for PlacedViolation { what, place } in found {
                if !sentences.iter().any(|known| known.starts_with(&what)) {
                    sentences.push(format!("{what}, {place}"));
                }
            }
        }
    }
    if sentences.is_empty() {
        let count = messages.len();
        return Verdict::passed(format!("{count} messages under a filter of system calls"));
    }
    Verdict::failed(sentences.join("; "))
}

/// A violation in words, and the operation in which it happened.
struct PlacedViolation {
    what: String,
    place: String,
}

/// Returns the violations under a confinement. After a message with a violation, the search continues
/// with the next message.
fn violations(
    sandbox: &Sandbox,
    confinement: Confinement,
    options: &[Value],
    messages: &[Message],
) -> Result<Vec<PlacedViolation>, String> {
    let mut violations = Vec::new();
    let mut left = messages;
    while violations.len() < MOST_VIOLATIONS {
        let record = sandbox.run(Task::Receive(MessageRun {
            options: options.to_vec(),
            messages: left.to_vec(),
            confinement: Some(confinement),
            ..MessageRun::default()
        }));
        let Some(what) = violation_in(&record)? else { break };
        let (operation, index) = record.at.unwrap_or((Operation::New, 0));
        let place = match (operation, left.get(index)) {
            (Operation::Receive, Some(message)) => message.occupation(),
            _ => operation.to_string(),
        };
        violations.push(PlacedViolation { what, place });
        if operation != Operation::Receive {
            break;
        }
        left = left.get(index + 1..).unwrap_or_default();
    }
    Ok(violations)
}

fn violation_in(record: &Record) -> Result<Option<String>, String> {
    for observation in &record.observations {
        match observation {
            Observation::NotConfined(why) => return Err(why.clone()),
            Observation::Violation(violation) => return Ok(Some(violation.to_string())),
            _ => {}
        }
    }
    // glibc blocks all signals while it starts a thread or a process, even the one whose handler reports
    // the system call.
    if let Some(Death::Signal(libc::SIGSYS, _)) = record.death {
        return Ok(Some(violation::THREADS.into()));
    }
    // A panic that did not happen without the confinement is a violation, too: the confinement caused it.
    let failed = record.observations.iter().find_map(|observation| match observation {
        Observation::Failed { operation: Operation::New | Operation::Receive, what, .. } => {
            Some(what.clone())
        }
        _ => None,
    });
    Ok(failed.or(record.death.as_ref().map(ToString::to_string)))
}

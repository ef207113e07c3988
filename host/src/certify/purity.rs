//! Check `pure`: making an instance, receiving and dropping touch nothing but memory. No file, no
//! socket, no thread, no environment; seen by a filter in the kernel, not by the plugin's own word.
//!
//! The clock can be read without a system call, so it is not seen here: what it does to outcomes is
//! seen by `deterministic`. What runs while the library is loaded is not seen either.

use serde_json::Value;

use super::{
    Verdict,
    examination::{Examination, doing_words},
};
use crate::sandbox::{
    Confinement, Death, Doing, Questions, Record, Said, Sandbox, Task, message::Message, violation,
};

/// After so many deeds the picture is clear.
const MOST_DEEDS: usize = 4;

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    let trial = examination.trial.clone();
    let acquaintance = examination.acquaintance();
    // What does not return need not be tried again.
    let (options, messages) = (&acquaintance.options, acquaintance.calm_messages());
    let deeds = deeds(&trial, Confinement::SystemCalls, options, &messages);
    let more = deeds.clone().and_then(|mut deeds| {
        // Starting a thread reads the environment, too. That need not be told of the same place.
        let more = self::deeds(&trial, Confinement::Environment, options, &messages)?;
        let is_new = |deed: &Violation| !deeds.iter().any(|known| known.place == deed.place);
        let new: Vec<_> = more.into_iter().filter(is_new).collect();
        deeds.extend(new);
        Ok(deeds)
    });
    let mut told: Vec<String> = Vec::new();
    match more {
        Err(why) => {
            return Verdict::skipped(format!("a plugin can't be locked in on this machine: {why}"));
        }
        Ok(deeds) => {
            for Violation { what, place } in deeds {
                if !told.iter().any(|known| known.starts_with(&what)) {
                    told.push(format!("{what}, {place}"));
                }
            }
        }
    }
    if told.is_empty() {
        let count = messages.len();
        return Verdict::passed(format!("{count} messages under a filter of system calls"));
    }
    Verdict::failed(told.join("; "))
}

#[derive(Clone)]
struct Violation {
    what: String,
    place: String,
}

/// What it did under that lock, going on behind the message at which it did it.
fn deeds(
    trial: &Sandbox,
    confinement: Confinement,
    options: &[Value],
    messages: &[Message],
) -> Result<Vec<Violation>, String> {
    let mut deeds = Vec::new();
    let mut left = messages;
    while deeds.len() < MOST_DEEDS {
        let record = trial.run(Task::Ask(Questions {
            options: options.to_vec(),
            messages: left.to_vec(),
            confinement: Some(confinement),
            ..Questions::default()
        }));
        let Some(what) = deed_of(&record)? else { break };
        let (doing, index) = record.at.unwrap_or((Doing::New, 0));
        let place = match (doing, left.get(index)) {
            (Doing::Receive, Some(message)) => format!("receiving `{}`", message.name),
            _ => doing_words(doing).into(),
        };
        deeds.push(Violation { what, place });
        if doing != Doing::Receive {
            break;
        }
        left = left.get(index + 1..).unwrap_or_default();
    }
    Ok(deeds)
}

fn deed_of(record: &Record) -> Result<Option<String>, String> {
    for said in &record.said {
        match said {
            Said::NotConfined(why) => return Err(why.clone()),
            Said::Violation(deed) => return Ok(Some(deed.to_string())),
            _ => {}
        }
    }
    // glibc holds every signal back while it starts a thread or a process, even the one that would
    // have told which system call it was.
    if let Some(Death::Signal(libc::SIGSYS, _)) = record.death {
        return Ok(Some(violation::THREADS.into()));
    }
    // A panic that nobody saw without the lock is a sign of what was kept from it.
    let failed = record.said.iter().find_map(|said| match said {
        Said::Failed { doing: Doing::New | Doing::Receive, what, .. } => Some(what.clone()),
        _ => None,
    });
    Ok(failed.or(record.death.as_ref().map(ToString::to_string)))
}

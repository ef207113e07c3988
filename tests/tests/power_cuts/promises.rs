//! Promises that a host made to others while it was recorded, and their times.

use std::collections::{BTreeMap, BTreeSet};

use crate::trace::{Call, Record};

/// Promise that a host made by an answer, or that it relies on after it has sent a message.
#[derive(Clone, Debug)]
pub(crate) enum Promise {
    /// An alert with this title is kept, and the record of the request.
    Alert { title: String },
    /// The alert with this number is acknowledged or resolved.
    Acknowledged(u64),
    /// The alert with this number is resolved.
    Resolved(u64),
    /// The delivery with this id is known, and so is its attempt.
    Sent,
}

/// [Promises](Promise) with the place in the trace from which on they hold, and the id of the request or the
/// delivery.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) made: Vec<(usize, String, Promise)>,
    /// Titles of the alerts that were there before the recording.
    pub(crate) from_the_beginning: Vec<String>,
    /// True if the host deletes resolved alerts and records.
    pub(crate) forgets: bool,
    /// Numbers of alerts that somebody has asked to be resolved.
    pub(crate) resolved: BTreeSet<u64>,
}

impl Promises {
    /// Finds in a trace when each answer was given and each message was sent. `asked` has the promise of an
    /// answer 200 by the id of the request, and `destination` is the port of a receiver.
    ///
    /// # Panics
    ///
    /// If the trace lacks an answer.
    pub(crate) fn find(
        trace: &[Record],
        mut asked: BTreeMap<String, Promise>,
        destination: Option<u16>,
    ) -> Self {
        let mut promises = Self::default();
        for (at, record) in trace.iter().enumerate() {
            let Call::Send { port, bytes } = &record.call else { continue };
            let text = String::from_utf8_lossy(bytes);
            if Some(*port) == destination {
                if let Some(id) = header(&text, "idempotency-key") {
                    promises.made.push((at, id, Promise::Sent));
                }
                continue;
            }
            for answer in text.split("HTTP/1.1 ").filter(|answer| answer.starts_with("200 ")) {
                let id = header(answer, "x-request-id").unwrap_or_default();
                let Some(promise) = asked.remove(&id) else { continue };
                if let Promise::Resolved(number) = promise {
                    promises.resolved.insert(number);
                }
                promises.made.push((at, id, promise));
            }
        }
        assert!(asked.is_empty(), "answers that the trace lacks: {asked:?}");
        promises
    }

    /// Returns the promises that a host had made before a place in the trace.
    pub(crate) fn before(&self, cut: usize) -> &[(usize, String, Promise)] {
        &self.made[..self.made.partition_point(|(at, ..)| *at < cut)]
    }
}

fn header(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

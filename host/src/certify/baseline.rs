//! The findings that checks share: options that a plugin accepts, and its outcomes for messages.
//!
//! [`CheckContext`](super::context::CheckContext) finds them.

use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;

use crate::sandbox::{
    message::{Body, Bytes, Message},
    mutation,
};

/// The schema of a plugin's options and its validator.
pub(super) struct OptionsSchema {
    pub(super) json: Value,
    pub(super) validator: Validator,
}

/// An options table that the plugin accepts.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// A name for reports, such as `the options of fixture x`.
    pub(super) name: String,
    pub(super) options: Value,
}

/// The result of making an instance from an options table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Accepted,
    /// The plugin refused the options with this sentence.
    Refused(String),
    /// The plugin panicked, crashed or hung.
    Failed,
}

/// A panic, crash or hang, in whichever check it was met.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// True if a call did not return, which is for the check `deadline` to report.
    pub(super) is_hang: bool,
    /// The whole sentence.
    pub(super) sentence: String,
}

/// Messages, and the outcome of each when it was first sent.
pub(super) struct Baseline {
    pub(super) options: Vec<Value>,
    pub(super) messages: Vec<Message>,
    pub(super) outcomes: Vec<Option<TimedOutcome>>,
    /// The message of each fixture; `None` if the plugin refuses its options.
    pub(super) of_fixtures: Vec<Option<usize>>,
    /// The same for the fixtures of a notifier.
    pub(super) of_notifier_fixtures: Vec<Option<usize>>,
}

/// The outcome of a message, and the time that the call took.
#[derive(Clone, Debug)]
pub(super) struct TimedOutcome {
    pub(super) outcome: Value,
    pub(super) took: Duration,
}

/// The outcomes of messages that were sent again.
pub(super) struct Repetition {
    /// The messages that gave an outcome.
    pub(super) messages: Vec<Message>,
    /// The outcome that each gave first.
    pub(super) first: Vec<Value>,
    /// The outcomes that each gave in another process, several times in a row, with a name for the
    /// circumstances.
    pub(super) again: Vec<(&'static str, Vec<Vec<Value>>)>,
    /// The reason why the repetition stopped early.
    pub(super) failure: Option<String>,
}

/// The result of one [stress message](super::stress_messages).
pub(super) struct StressResult {
    pub(super) name: String,
    pub(super) length_bytes: usize,
    /// The time that the call took; `None` if it did not return.
    pub(super) took: Option<Duration>,
}

impl Baseline {
    /// Returns the messages that gave an outcome.
    pub(super) fn answered_messages(&self) -> Vec<Message> {
        let outcomes = self.messages.iter().zip(&self.outcomes);
        outcomes
            .filter(|(_, outcome)| outcome.is_some())
            .map(|(message, _)| message.clone())
            .collect()
    }

    /// Returns the messages that gave an outcome, each cut to the length that fuzzing keeps. Copying a
    /// megabyte again and again would hide how the plugin uses memory.
    pub(super) fn fuzz_samples(&self) -> Vec<Message> {
        let cut = |mut message: Message| {
            let mut body = message.body.bytes();
            body.truncate(mutation::LONGEST_BODY_BYTES);
            message.body = Body::Whole(Bytes(body));
            message
        };
        self.answered_messages().into_iter().map(cut).collect()
    }
}

/// Splits an outcome into the outcome without the keys of its events, and these keys.
pub(super) fn split_keys(outcome: &Value) -> (Value, Value) {
    let (mut content, mut keys) = (outcome.clone(), Vec::new());
    let events = content.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten();
    for event in events.filter_map(Value::as_object_mut) {
        let mut of_event = serde_json::Map::new();
        for key in ["dedup_key", "event_id"] {
            of_event.extend(event.remove(key).map(|value| (key.to_owned(), value)));
        }
        keys.push(Value::Object(of_event));
    }
    (content, keys.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn splits_the_keys_from_the_text_of_events() {
        let outcome = json!({"outcome": "events", "events": [{"title": "a", "dedup_key": "k"}]});
        let (content, keys) = split_keys(&outcome);
        assert_eq!(content, json!({"outcome": "events", "events": [{"title": "a"}]}));
        assert_eq!(keys, json!([{"dedup_key": "k"}]));
    }
}

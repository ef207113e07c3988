//! An attempt of a notifier against a server whose answers are written down before.
//!
//! Nothing is sent. The parent judges the steps.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tocsin_plugin_api::{
    abi::{CallError, Instance},
    manifest,
    notification::Notification,
    step::{HttpAnswer, LARGEST_STEP_BYTES, MOST_REQUESTS, NotifyCall, Step},
};

/// A notification, and the answers to the requests that the notifier sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScriptedAttempt {
    /// The notification.
    pub notification: Notification,
    /// The answers, in order. The last one is given again while the notifier sends requests.
    pub answers: Vec<HttpAnswer>,
}

/// The result of a [`ScriptedAttempt`] of one plugin.
#[derive(Debug)]
pub(super) struct PlayedAttempt {
    /// A JSON object: `outcome` is `attempt`, `description` is what the notifier says of itself, and
    /// `steps` is the list of its steps. A step that cannot be read is an object with the key `invalid`.
    pub outcome: Value,
    /// The duration of the longest call.
    pub longest: Duration,
}

impl ScriptedAttempt {
    /// Plays the attempt to its verdict, or until the notifier sends one request too many.
    ///
    /// # Errors
    ///
    /// If the plugin panics, or cannot read a question.
    pub(super) fn play(&self, instance: &Instance) -> Result<PlayedAttempt, CallError> {
        let mut longest = Duration::ZERO;
        let mut ask = |call: &NotifyCall| {
            // A question can always be written as JSON.
            let question = serde_json::to_vec(call).unwrap_or_default();
            let started = Instant::now();
            let answer = instance.call(manifest::NOTIFY, &question);
            longest = longest.max(started.elapsed());
            answer
        };
        let description = readable(&ask(&NotifyCall::Describe)?);
        let (mut steps, mut answers) = (Vec::new(), Vec::new());
        loop {
            let json = ask(&NotifyCall::next(self.notification.clone(), answers.clone()))?;
            let step = readable(&json);
            let request = match serde_json::from_value(step.clone()) {
                Ok(Step::Send { request }) => Some(request.name),
                Ok(_) => None,
                Err(error) => {
                    let is_known = step.get("invalid").is_some();
                    steps.push(if is_known { step } else { invalid(&error) });
                    break;
                }
            };
            steps.push(step);
            let answer = self.answers.get(answers.len()).or(self.answers.last());
            match (request, answer) {
                (Some(request), Some(answer)) if answers.len() < MOST_REQUESTS => {
                    let mut answer: HttpAnswer = answer.clone();
                    answer.request = request;
                    answers.push(answer);
                }
                _ => break,
            }
        }
        let outcome = json!({
            "outcome": "attempt", "description": description, "steps": steps,
        });
        Ok(PlayedAttempt { outcome, longest })
    }
}

/// Reads the JSON of a plugin, unless there is too much of it.
fn readable(json: &[u8]) -> Value {
    if json.len() > LARGEST_STEP_BYTES {
        return invalid(&format!(
            "it has {} bytes, at most {LARGEST_STEP_BYTES} are allowed",
            json.len()
        ));
    }
    serde_json::from_slice(json).unwrap_or_else(|error| invalid(&error))
}

fn invalid(why: &dyn std::fmt::Display) -> Value {
    json!({ "invalid": why.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_too_large_or_no_json_is_kept_as_the_reason() {
        let large = readable(&vec![b' '; LARGEST_STEP_BYTES + 1]);
        let why = "it has 1048577 bytes, at most 1048576 are allowed";
        assert_eq!(large, json!({ "invalid": why }));
        let broken = readable(br#"{"step": "#);
        let why = "EOF while parsing a value at line 1 column 9";
        assert_eq!(broken, json!({ "invalid": why }));
        assert_eq!(readable(br#"{"step": "delivered"}"#), json!({ "step": "delivered" }));
    }
}

//! Questions to a notifier and its answers, as JSON of bounded size.
//!
//! A plugin answers anything. This module refuses an answer that is too large or that breaks the rules of
//! an attempt, and says so in one sentence; it does not check the requests themselves.

use tocsin_plugin_api::{
    abi::CallError,
    step::{Description, LARGEST_STATE_BYTES, LARGEST_STEP_BYTES, MOST_REQUESTS, NotifyCall, Step},
};
use ulid::Ulid;

use super::{CallFailure, health::CallCause};
use crate::events::bounded_reason;

/// The largest question: a notification with the answers so far.
const LARGEST_INPUT_BYTES: usize = 8 * 1024 * 1024;

/// The answer of a notifier.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NotifierOutput {
    /// The answer to [`NotifyCall::Next`].
    Step(Box<Step>),
    /// The answer to [`NotifyCall::Describe`].
    Description(Description),
}

/// The result of a call of a notifier.
pub(crate) type NotifierResult = Result<NotifierOutput, CallFailure>;

/// A [`NotifyCall`] as it crosses the boundary.
#[derive(Debug)]
pub(crate) struct NotifierInput {
    pub(super) json: Vec<u8>,
    pub(super) cause: CallCause,
    /// The number of answers so far; none if the question is for a description.
    answers: Option<usize>,
}

impl NotifierInput {
    /// Writes a question as JSON.
    ///
    /// # Errors
    ///
    /// If the JSON is larger than 8 MiB.
    pub(super) fn of(call: &NotifyCall) -> Result<Self, CallFailure> {
        let (cause, answers) = match call {
            NotifyCall::Next { notification, answers } => {
                let delivery = Ulid::from_string(&notification.delivery_id);
                (delivery.map_or(CallCause::Start, CallCause::Delivery), Some(answers.len()))
            }
            _ => (CallCause::Start, None),
        };
        let json = serde_json::to_vec(call).map_err(|error| {
            CallFailure::Unusable(format!("the notification cannot be written as JSON: {error}"))
        })?;
        if json.len() > LARGEST_INPUT_BYTES {
            return Err(CallFailure::Unusable(format!(
                "the notification is too large for a plugin: {} bytes, at most {LARGEST_INPUT_BYTES}",
                json.len()
            )));
        }
        Ok(Self { json, cause, answers })
    }

    /// Reads the plugin's answer to the question.
    ///
    /// # Errors
    ///
    /// If the answer is too large, cannot be read, or breaks a rule.
    pub(super) fn read(&self, json: &[u8]) -> Result<NotifierOutput, CallError> {
        if json.len() > LARGEST_STEP_BYTES {
            return Err(CallError::Forbidden(format!(
                "it has {} bytes, at most {LARGEST_STEP_BYTES} are allowed",
                json.len()
            )));
        }
        let Some(answers) = self.answers else {
            let description =
                serde_json::from_slice(json).map_err(|error| not_understood(&error))?;
            return Ok(NotifierOutput::Description(description));
        };
        let step: Step = serde_json::from_slice(json).map_err(|error| not_understood(&error))?;
        match &step {
            Step::Send { .. } if answers >= MOST_REQUESTS => {
                return Err(CallError::Forbidden(format!(
                    "it is request {} of one attempt, at most {MOST_REQUESTS} are allowed",
                    answers + 1
                )));
            }
            Step::Delivered { state: Some(state) } => {
                let bytes = state.to_string().len();
                if bytes > LARGEST_STATE_BYTES {
                    return Err(CallError::Forbidden(format!(
                        "its state has {bytes} bytes, at most {LARGEST_STATE_BYTES} are allowed"
                    )));
                }
            }
            _ => {}
        }
        Ok(NotifierOutput::Step(Box::new(step)))
    }
}

fn not_understood(error: &serde_json::Error) -> CallError {
    CallError::NotUnderstood(bounded_reason(error.to_string()))
}

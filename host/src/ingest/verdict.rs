//! Turns a plugin's outcome into an answer to the sender and the content of a record.
//!
//! Nothing is answered or committed here; [`ingest`](super) and [`replay`](crate::replay) do that.

use std::time::Duration;

use ::http::StatusCode;
use jiff::Timestamp;
use tocsin_plugin_api::outcome::Reply;

use super::refusal::{RequestRefusal, SOON};
use crate::{
    call::{CallFailure, CallOutcome, CallResult, ReadOutcome},
    events::{self, EventsError},
    integration::Integration,
    request::{Content, RequestOutcome},
};

/// Answer to the sender, given once the outcome is on disk.
pub(crate) type Answer = Result<Option<Reply>, RequestRefusal>;

/// Code of the answer to a request of too many events, and the start of the reason in its record.
const TOO_MANY_EVENTS: &str = "too_many_events";

/// Result of a call of a plugin, for the record and for the sender.
pub(crate) struct Verdict {
    /// Content of the record.
    pub(crate) content: Content,
    /// Answer to the sender.
    pub(crate) answer: Answer,
    /// Time in the plugin, if it gave an outcome.
    pub(crate) plugin_time: Option<Duration>,
    /// Time until the plugin's breaker lets a call through, if it refused this one.
    pub(crate) backing_off: Option<Duration>,
}

impl Verdict {
    /// Makes a verdict of the result of a call. `now` decides if the integration is in maintenance.
    pub(crate) fn of(result: CallResult, integration: &Integration, now: Timestamp) -> Self {
        let CallOutcome { outcome, took } = match result {
            Ok(judged) => judged,
            Err(failure) => {
                let verdict = Self::failed(failure.to_string(), failure.retry_after());
                let backing_off = match failure {
                    CallFailure::BackingOff(left) => Some(left),
                    _ => None,
                };
                return Self { backing_off, ..verdict };
            }
        };
        let verdict = match outcome {
            ReadOutcome::Events { events, reply } => match events::bounded(events) {
                Ok(mut events) => {
                    let (reply, unsent) = events::bounded_reply(reply);
                    let remarks =
                        integration.apply_templates(&mut events).into_iter().chain(unsent);
                    let remark = remarks.reduce(|one, other| format!("{one}; {other}"));
                    let terms = integration.terms(now);
                    Self::new(Content::Events { events, terms, remark }, Ok(reply))
                }
                Err(error @ EventsError::TooMany(_)) => Self::too_many_events(&error),
                Err(error @ EventsError::Unusable(_)) => Self::failed(error.to_string(), SOON),
            },
            ReadOutcome::Ignored { reason } => {
                let reason = events::bounded_reason(reason);
                Self::new(nothing(RequestOutcome::Ignored, reason), Ok(None))
            }
            ReadOutcome::Unauthorized { reason } => {
                let reason = events::bounded_reason(reason);
                let refusal = RequestRefusal::unauthorized().with_detail(reason.clone());
                Self::new(nothing(RequestOutcome::Unauthorized, reason), Err(refusal))
            }
            ReadOutcome::Malformed { kind, reason } => {
                let reason = events::bounded_reason(reason);
                let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
                let refusal = RequestRefusal::malformed(status, kind.as_str(), reason.clone());
                Self::new(nothing(RequestOutcome::Malformed, reason), Err(refusal))
            }
            ReadOutcome::Failed { reason } => Self::failed(reason, SOON),
        };
        Self { plugin_time: Some(took), ..verdict }
    }

    fn new(content: Content, answer: Answer) -> Self {
        Self { content, answer, plugin_time: None, backing_off: None }
    }

    /// Creates the verdict of a plugin that failed. The sender is asked to try again.
    fn failed(reason: String, retry_after: Duration) -> Self {
        let reason = events::bounded_reason(reason);
        let message = "the integration cannot process webhooks now, try again";
        let refusal =
            RequestRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "plugin_failed", message)
                .with_detail(reason.clone())
                .retry_after(retry_after);
        Self::new(nothing(RequestOutcome::Failed, reason), Err(refusal))
    }

    /// Refuses a whole request of which its plugin made too many events. The sender is asked to try again, so
    /// that nothing is lost until an operator acts.
    fn too_many_events(error: &EventsError) -> Self {
        let message =
            "the webhook has more events than one webhook may have, send fewer or try again";
        let refusal =
            RequestRefusal::new(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_EVENTS, message)
                .with_detail(error.to_string())
                .retry_after(SOON);
        let reason = format!("{TOO_MANY_EVENTS}: {error}");
        Self::new(nothing(RequestOutcome::Refused, reason), Err(refusal))
    }

    /// Returns the outcome of the request as far as it is known before the commit.
    pub(crate) fn outcome(&self) -> RequestOutcome {
        match &self.content {
            Content::Events { .. } => RequestOutcome::Events,
            Content::Nothing { outcome, .. } => *outcome,
        }
    }

    /// Returns the reason, if the plugin failed.
    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.content {
            Content::Nothing { outcome: RequestOutcome::Failed, reason } => Some(reason),
            _ => None,
        }
    }
}

fn nothing(outcome: RequestOutcome, reason: String) -> Content {
    Content::Nothing { outcome, reason }
}

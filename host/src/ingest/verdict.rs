//! Which outcome becomes which answer, and what of it is recorded.
//!
//! It answers nobody and commits nothing: a webhook and a replay go on from here in their own ways.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use tocsin_plugin_api::outcome::{Outcome, Reply};

use super::refusal::{RequestRefusal, SOON};
use crate::{
    call::{CallFailure, CallResult, Judged},
    events::{self, EventsError},
    integration::Integration,
    request::{Content, RequestOutcome},
};

/// What the sender is told once the outcome is on disk.
pub(crate) type Answer = Result<Option<Reply>, RequestRefusal>;

/// The code of the answer to a request of too many events, and the beginning of the reason in its record.
const TOO_MANY_EVENTS: &str = "too_many_events";

/// What a call of a plugin comes to.
pub(crate) struct Verdict {
    /// What is recorded.
    pub(crate) content: Content,
    /// What the sender is told.
    pub(crate) answer: Answer,
    /// How long the plugin had it, if it gave an outcome.
    pub(crate) plugin_time: Option<Duration>,
    /// For how long the plugin is left alone, where it was not even called.
    pub(crate) backing_off: Option<Duration>,
}

impl Verdict {
    /// What comes of a call at that time.
    pub(crate) fn of(result: CallResult, integration: &Integration, now: Timestamp) -> Self {
        let Judged { outcome, took } = match result {
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
            Outcome::Events { events, reply } => match events::bounded(events) {
                Ok(mut events) => {
                    let (reply, unsent) = events::bounded_reply(reply);
                    let remarks = integration.word(&mut events).into_iter().chain(unsent);
                    let remark = remarks.reduce(|one, other| format!("{one}; {other}"));
                    let terms = integration.terms(now);
                    Self::new(Content::Events { events, terms, remark }, Ok(reply))
                }
                Err(error @ EventsError::TooMany(_)) => Self::too_many_events(&error),
                Err(error @ EventsError::Unusable(_)) => Self::failed(error.to_string(), SOON),
            },
            Outcome::Ignored { reason } => {
                let reason = events::bounded_reason(reason);
                Self::new(nothing(RequestOutcome::Ignored, reason), Ok(None))
            }
            Outcome::Unauthorized { reason } => {
                let reason = events::bounded_reason(reason);
                let refusal = RequestRefusal::unauthorized().detail(reason.clone());
                Self::new(nothing(RequestOutcome::Unauthorized, reason), Err(refusal))
            }
            Outcome::Malformed { kind, reason } => {
                let reason = events::bounded_reason(reason);
                let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
                let refusal = RequestRefusal::malformed(status, kind.as_str(), reason.clone());
                Self::new(nothing(RequestOutcome::Malformed, reason), Err(refusal))
            }
            Outcome::Failed { reason } => Self::failed(reason, SOON),
            _ => Self::failed("the plugin gave an outcome that is not known here".into(), SOON),
        };
        Self { plugin_time: Some(took), ..verdict }
    }

    fn new(content: Content, answer: Answer) -> Self {
        Self { content, answer, plugin_time: None, backing_off: None }
    }

    /// The sender is asked to try again.
    fn failed(reason: String, retry_after: Duration) -> Self {
        let reason = events::bounded_reason(reason);
        let message = "the integration cannot judge webhooks just now, try again";
        let refusal =
            RequestRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "plugin_failed", message)
                .detail(reason.clone())
                .retry_after(retry_after);
        Self::new(nothing(RequestOutcome::Failed, reason), Err(refusal))
    }

    /// Refuses a request as a whole whose plugin made more events of it than are taken of one. The
    /// sender is asked to try again: in time an operator hears of it, and nothing is lost meanwhile.
    fn too_many_events(error: &EventsError) -> Self {
        let message = "the webhook has more events than are taken of one, send fewer or try again";
        let refusal =
            RequestRefusal::new(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_EVENTS, message)
                .detail(error.to_string())
                .retry_after(SOON);
        let reason = format!("{TOO_MANY_EVENTS}: {error}");
        Self::new(nothing(RequestOutcome::Refused, reason), Err(refusal))
    }

    /// What becomes of the request, as far as it is known before it is committed.
    pub(crate) fn outcome(&self) -> RequestOutcome {
        match &self.content {
            Content::Events { .. } => RequestOutcome::Events,
            Content::Nothing { outcome, .. } => *outcome,
        }
    }
}

fn nothing(outcome: RequestOutcome, reason: String) -> Content {
    Content::Nothing { outcome, reason }
}

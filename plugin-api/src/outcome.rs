//! The result of a request: [`Received`], which a plugin returns, and [`Outcome`], which reaches the host.
//!
//! An outcome crosses the boundary as JSON. A reader ignores fields that it does not know, so that later
//! versions can add fields.

use serde::{Deserialize, Serialize};

use crate::{Event, Refusal, error::Malformed};

/// The result of a request that a plugin accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// Alert events. The host commits them in this order before it answers the sender. The host may commit
    /// very many events in several steps, so give events the keys that make a retry safe. The host refuses
    /// a request with more events than its limit.
    Events {
        /// At least one event.
        events: Vec<Event>,
        /// The answer to the sender, instead of `{}`.
        reply: Option<Reply>,
    },
    /// A genuine request that needs no alert. The sender gets 200, as for events.
    Ignored {
        /// The reason, for an operator who looks for the alert.
        reason: String,
    },
}

impl Received {
    /// A genuine request that needs no alert, for this reason.
    pub fn ignored(reason: impl Into<String>) -> Self {
        Self::Ignored { reason: reason.into() }
    }

    /// Events with the usual answer `{}`. An empty list is the same as [`ignored`](Self::ignored).
    pub fn events(events: Vec<Event>) -> Self {
        if events.is_empty() {
            return Self::ignored("no events in the request");
        }
        Self::Events { events, reply: None }
    }

    /// Sets the answer to the sender once the events are on disk. An ignored request keeps the usual
    /// answer.
    #[must_use]
    pub fn with_reply(mut self, new_reply: Reply) -> Self {
        if let Self::Events { reply, .. } = &mut self {
            *reply = Some(new_reply);
        }
        self
    }
}

impl From<Event> for Received {
    fn from(event: Event) -> Self {
        Self::events(vec![event])
    }
}

/// The body that a plugin gives for the answer 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The media type of the body, such as `application/json`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A reply in JSON, for [`Received::with_reply`].
    pub fn json(value: &serde_json::Value) -> Self {
        Self { content_type: "application/json".into(), body: value.to_string() }
    }
}

/// The outcome of a request, as the host reads it: [`Received`] and [`Refusal`] in one type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// See [`Received::Events`].
    Events {
        /// At least one event.
        events: Vec<Event>,
        /// The answer to the sender, instead of `{}`.
        reply: Option<Reply>,
    },
    /// See [`Received::Ignored`].
    Ignored {
        /// The reason.
        reason: String,
    },
    /// See [`Refusal::Unauthorized`].
    Unauthorized {
        /// The reason, for the operator.
        reason: String,
    },
    /// See [`Refusal::Malformed`].
    Malformed {
        /// The kind of fault.
        kind: Malformed,
        /// The reason, for the sender.
        reason: String,
    },
    /// See [`Refusal::Failed`].
    Failed {
        /// The reason, for the operator.
        reason: String,
    },
}

impl From<Result<Received, Refusal>> for Outcome {
    fn from(result: Result<Received, Refusal>) -> Self {
        match result {
            Ok(Received::Events { events, reply }) => Self::Events { events, reply },
            Ok(Received::Ignored { reason }) => Self::Ignored { reason },
            Err(Refusal::Unauthorized { reason }) => Self::Unauthorized { reason },
            Err(Refusal::Malformed { kind, reason }) => Self::Malformed { kind, reason },
            Err(Refusal::Failed { reason }) => Self::Failed { reason },
        }
    }
}

/// The form of an [`Outcome`] in JSON. serde reads a flat object in one pass and without a copy, which
/// it cannot do for a tagged enum.
#[derive(Default, Serialize, Deserialize)]
struct Wire {
    outcome: Kind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Reply>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Events,
    Ignored,
    Unauthorized,
    Malformed,
    Failed,
}

impl Outcome {
    /// Returns the name in JSON, records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Events { .. } => "events",
            Self::Ignored { .. } => "ignored",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Malformed { .. } => "malformed",
            Self::Failed { .. } => "failed",
        }
    }

    /// Returns the JSON that crosses the boundary.
    pub fn to_json(self) -> Vec<u8> {
        let mut json = Vec::with_capacity(512);
        // Writing strings and numbers to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, &Wire::from(self));
        json
    }

    /// Reads the JSON that crossed the boundary.
    ///
    /// # Errors
    ///
    /// If the JSON is not an outcome that this version knows.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let Wire { outcome, events, reply, reason, kind } = serde_json::from_slice(json)?;
        Ok(match outcome {
            Kind::Events if events.is_empty() => {
                Self::Ignored { reason: "no events in the request".into() }
            }
            Kind::Events => Self::Events { events, reply },
            Kind::Ignored => Self::Ignored { reason },
            Kind::Unauthorized => Self::Unauthorized { reason },
            Kind::Malformed => {
                let kind = kind.as_deref().map(Malformed::from_name).unwrap_or_default();
                Self::Malformed { kind, reason }
            }
            Kind::Failed => Self::Failed { reason },
        })
    }
}

impl From<Outcome> for Wire {
    fn from(outcome: Outcome) -> Self {
        let reasoned = |outcome, reason| Self { outcome, reason, ..Self::default() };
        match outcome {
            Outcome::Events { events, reply } => {
                Self { outcome: Kind::Events, events, reply, ..Self::default() }
            }
            Outcome::Ignored { reason } => reasoned(Kind::Ignored, reason),
            Outcome::Unauthorized { reason } => reasoned(Kind::Unauthorized, reason),
            Outcome::Malformed { kind, reason } => {
                Self { kind: Some(kind.as_str().into()), ..reasoned(Kind::Malformed, reason) }
            }
            Outcome::Failed { reason } => reasoned(Kind::Failed, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_crosses_the_boundary_unchanged() {
        let event = Event::create("t").urgency(crate::Urgency::High).detail("Channel", "ops");
        let reply = Reply::json(&serde_json::json!({"text": "done"}));
        for outcome in [
            Outcome::from(Ok(Received::from(event).with_reply(reply))),
            Outcome::from(Ok(Received::ignored("bot"))),
            Outcome::from(Err(Refusal::unauthorized("token"))),
            Outcome::from(Err(Refusal::malformed("text"))),
            Outcome::from(Err(Refusal::unsupported_media_type("xml"))),
            Outcome::from(Err(Refusal::failed("broken"))),
        ] {
            let json = outcome.clone().to_json();
            assert_eq!(Outcome::from_json(&json).expect("it was just written"), outcome);
        }
    }

    #[test]
    fn the_json_of_an_outcome_is_short_and_readable() {
        let event = Event::create("disk full").dedup_key("C1.1").event_id("C1.1");
        let json = Outcome::from(Ok(Received::from(event))).to_json();
        insta::assert_snapshot!(String::from_utf8_lossy(&json), @r#"{"outcome":"events","events":[{"action":"create","title":"disk full","dedup_key":"C1.1","event_id":"C1.1"}]}"#);
    }
}

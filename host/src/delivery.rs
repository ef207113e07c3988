//! Deliveries to destinations, their attempts, silences, and recorded reasons why a destination was not
//! told.
//!
//! A [`DeliveryStore`](crate::store::deliveries::DeliveryStore) keeps them. The module `notify` decides
//! when they are made and sent.

pub mod conditions;

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{Urgency, notification::Kind};
use ulid::Ulid;
use utoipa::ToSchema;

pub use self::conditions::Conditions;
use crate::alert::Actor;

/// A delivery of news about an alert to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// ULID. The destination gets it with every attempt.
    #[schema(value_type = String)]
    pub id: Ulid,
    /// The name of the destination.
    pub destination: String,
    /// The number of the alert; null for a digest.
    pub alert: Option<u64>,
    /// Kind of the news: `opened`, `acknowledged`, `resolved`, `occurred`, `noted`, `escalated` or
    /// `digest`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Status: waiting, delivered or dead.
    pub status: DeliveryStatus,
    /// True while an attempt runs.
    pub in_flight: bool,
    /// Number of attempts.
    pub attempts: u32,
    /// Reason for the status: of the last failure, or the person who discarded it.
    pub reason: Option<String>,
    /// True if nobody knows whether the last attempt reached the destination.
    pub in_doubt: bool,
    /// Kinds of earlier news that this delivery replaces, oldest first.
    #[schema(value_type = Vec<String>)]
    pub skipped: Vec<Kind>,
    /// The delivery whose message stands for this one, if it was replaced or is part of a digest. The
    /// status is then the status of that delivery.
    #[schema(value_type = Option<String>)]
    pub told_by: Option<Ulid>,
    /// Number of alerts, for a digest.
    pub digest: Option<DigestCount>,
    /// Time of the change that caused the delivery.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    /// Time at which the delivery was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the next attempt; null once the delivery has ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Time at which the delivery was delivered or became dead.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// Numbers of a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DigestCount {
    /// Number of alerts.
    pub count: u64,
    /// Number of alerts of each urgency that occurs, most urgent first.
    #[schema(value_type = Vec<(String, u64)>)]
    pub urgencies: Vec<(Urgency, u64)>,
    /// Number of alerts of each integration, largest number first.
    pub integrations: Vec<(String, u64)>,
    /// Number of the first alert.
    pub first: u64,
    /// Number of the last alert.
    pub last: u64,
}

/// Status of a [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// An attempt runs or is due later.
    Waiting,
    /// The destination has confirmed that it has the news.
    Delivered,
    /// No further attempt is made unless a person asks for it.
    Dead,
}

impl DeliveryStatus {
    /// All statuses.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// Returns the name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DeliveryStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.as_str() == text).ok_or_else(|| {
            format!("`{text}` is not a status: use `waiting`, `delivered` or `dead`")
        })
    }
}

/// A [`Delivery`] with its attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryWithAttempts {
    /// The delivery as it is now.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The attempts, oldest first. Only the newest are kept.
    pub attempt_log: Vec<Attempt>,
}

/// One attempt of a [`Delivery`]. All secrets are redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Time at which it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Duration in milliseconds.
    pub took_ms: u64,
    /// The requests that were sent, in order.
    pub requests: Vec<AttemptRequest>,
    /// Result of the attempt.
    pub result: AttemptResult,
    /// Reason of a failure.
    pub reason: Option<String>,
}

/// An HTTP request of an [`Attempt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptRequest {
    /// The notifier's name for the request, such as `post`.
    pub name: String,
    /// Method.
    pub method: String,
    /// URL.
    pub url: String,
    /// Status of the answer; null if there was none.
    pub status: Option<u16>,
    /// Time until the answer, or until the failure, in milliseconds.
    pub took_ms: u64,
    /// The first 1 KiB of the answer's body, or the reason why there was no answer.
    pub answer: String,
}

/// Result of an [`Attempt`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// The destination has the news.
    Delivered,
    /// A later attempt may succeed.
    Retry,
    /// Nobody knows whether the destination has the news. A later attempt finds out, or sends it again.
    InDoubt,
    /// The delivery can never succeed.
    Rejected,
    /// The destination does not work until an operator changes something.
    DestinationBroken,
}

impl AttemptResult {
    /// All results.
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Retry, Self::InDoubt, Self::Rejected, Self::DestinationBroken];

    /// Returns the name in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::InDoubt => "in_doubt",
            Self::Rejected => "rejected",
            Self::DestinationBroken => "destination_broken",
        }
    }
}

/// State of one destination in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationState {
    /// The name.
    pub name: String,
    /// Reason and time, if the destination is parked.
    pub parked: Option<Parked>,
    /// Time until which no attempt is made, after the answer 429.
    pub paused_until: Option<Timestamp>,
    /// Number of deliveries that wait.
    pub waiting: u64,
    /// Number of dead deliveries.
    pub dead: u64,
    /// Time of the change that caused the oldest waiting delivery.
    pub oldest_waiting: Option<Timestamp>,
}

/// The mark of a destination that does not work until an operator changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Time at which it was parked.
    pub since: Timestamp,
    /// Reason.
    pub reason: String,
    /// Digest of the destination's settings at that time. Other settings end the parking.
    pub settings: String,
}

/// A time in which alerts are opened as usual, but nobody is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Silence {
    /// Number of the silence: 1, 2, 3 ...
    pub id: u64,
    /// The alerts that are silenced. No conditions silence every alert.
    pub conditions: Conditions,
    /// Beginning.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// End.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Person or program that added it.
    #[schema(value_type = String)]
    pub by: Actor,
    /// Reason.
    pub reason: String,
    /// Person or program that ended it early, if somebody did.
    #[schema(value_type = Option<String>)]
    pub ended_by: Option<Actor>,
}

/// A recorded reason why a destination was not told of a change, or was told in another way than by a
/// message of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// Time at which it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Kind of the news.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// The destination.
    pub destination: String,
    /// The reason.
    pub reason: FactReason,
}

/// Reason of a [`Fact`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum FactReason {
    /// No route to the destination matched.
    NoRoute {
        /// For each route to the destination, the first condition that did not hold.
        routes: Vec<String>,
    },
    /// A silence held.
    Silenced {
        /// Number of the silence.
        silence: u64,
        /// Person or program that added the silence.
        by: String,
        /// Reason of the silence.
        reason: String,
    },
    /// A digest told the destination of the alert, and sends no further news about the alert.
    InDigest {
        /// The delivery of the digest.
        #[schema(value_type = String)]
        delivery: Ulid,
    },
    /// An escalation was not needed, because the alert was acknowledged or resolved by then.
    NotNeeded {
        /// Status of the alert.
        status: String,
    },
    /// The destination was never told that the alert was opened, so that further news would puzzle.
    NeverTold,
}

/// A point in time at which an alert is looked at again.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// Number in the store; 0 for a new one.
    pub id: u64,
    /// Time.
    pub due_at: Timestamp,
    /// Number of the alert.
    pub alert: u64,
    /// The destination.
    pub destination: String,
    /// Reason of the look.
    pub cause: TimerCause,
}

/// Reason of a [`Timer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum TimerCause {
    /// A route tells the destination if the alert is still open then.
    Escalation {
        /// Number of messages that the route has sent before.
        sent: u32,
        /// Name of the route, as messages show it.
        route: String,
    },
    /// A silence ends.
    SilenceEnds {
        /// Number of the silence.
        silence: u64,
    },
}

//! Requests as they are submitted to the store, recorded, and kept for a replay.
//!
//! A [`RequestStore`](crate::store::RequestStore) keeps them.

pub mod timeline;

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use self::timeline::Timeline;
pub use crate::alert::life::{Effect, Terms};
use crate::alert::{Actor, Event, PluginId};

/// Result of one request, for [`RequestStore::commit`](crate::store::RequestStore::commit).
#[derive(Clone, Debug)]
pub struct Submission {
    /// Id of the request. A replay has the id of the original request.
    pub request_id: Ulid,
    /// Time of arrival, or of the replay.
    pub received_at: Timestamp,
    /// The integration that received it.
    pub integration: Arc<str>,
    /// Plugin that judged the request, if one did.
    pub plugin: Option<Arc<PluginId>>,
    /// Address of the sender.
    pub sender: Option<IpAddr>,
    /// Length of the body, if the body was read.
    pub size_bytes: Option<usize>,
    /// Time that the plugin took.
    pub plugin_time: Option<Duration>,
    /// Events, or the reason why there are none.
    pub content: Content,
    /// The request itself, if it is to be kept.
    pub kept: Option<Kept>,
    /// Actor that asked for the request to be run again, if this is a replay.
    pub replayed_by: Option<Actor>,
    /// Number of Tocsin hosts that the news of the request has passed through. An alert keeps the largest
    /// number of all its reports, so that no report without hops hides a loop.
    pub hops: u32,
    /// Place for the moments of the commit, if the request has a trace.
    pub timeline: Option<Arc<Timeline>>,
}

impl Submission {
    /// Returns the number of events.
    pub fn event_count(&self) -> usize {
        match &self.content {
            Content::Events { events, .. } => events.len(),
            Content::Nothing { .. } => 0,
        }
    }
}

/// Events of a request, or the reason why there are none.
#[derive(Clone, Debug)]
pub enum Content {
    /// Events, at least one, each with a title or a dedup key as its action needs.
    Events {
        /// The events, in order.
        events: Vec<Event>,
        /// [`Terms`] of the integration for these events.
        terms: Terms,
        /// Problem on the way that does not affect the events.
        remark: Option<String>,
    },
    /// No events.
    Nothing {
        /// `ignored`, `malformed`, `failed`, `unauthorized` or `refused`.
        outcome: RequestOutcome,
        /// Reason why there are no events.
        reason: String,
    },
}

/// [`RawRequest`] to be kept, for a replay.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The request.
    pub raw: RawRequest,
    /// Bounded share that the request counts against; none if only `retention` limits how long it is
    /// kept.
    pub share: Option<(Share, ShareBounds)>,
}

/// Share of the kept requests of one integration. Each share has [`ShareBounds`] of its own, so that no
/// kind of request displaces another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Requests on which the plugin failed, and which wait for a replay.
    Quarantine,
    /// Requests that the plugin called malformed. Anybody can send these: most plugins cannot check a
    /// token in a body that they cannot read.
    Malformed,
}

/// Bounds of a [`Share`].
///
/// Above the bounds, requests of the sender that has most of the share are deleted: first the largest
/// one over 16 KiB, then the oldest. The oldest small requests always stay: as many as fit into a
/// hundredth of `count` and a quarter of `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareBounds {
    /// Largest number of requests.
    pub count: u64,
    /// Largest number of bytes, of heads and bodies.
    pub bytes: u64,
}

/// Request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRequest {
    /// The query string.
    pub query: String,
    /// The header lines, `name: value` each, in the order of their arrival.
    pub headers: bytes::Bytes,
    /// The body.
    pub body: bytes::Bytes,
}

impl RawRequest {
    /// Returns the size of head and body, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.query.len() + self.headers.len() + self.body.len()
    }
}

/// [`Effect`] of one event, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventEffect {
    /// `opened`, `occurred`, `acknowledged`, `resolved`; or, if nothing changed, `duplicate` (the event was
    /// seen before), `no_match` (the event acknowledges or resolves an alert that is not open) or
    /// `suppressed` (the event would have opened an alert, in a maintenance window).
    pub effect: String,
    /// Number of the alert that the event concerns.
    pub alert: Option<u64>,
}

impl From<Effect> for EventEffect {
    fn from(effect: Effect) -> Self {
        Self { effect: effect.name().into(), alert: effect.alert() }
    }
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// The plugin found alert events.
    Events,
    /// A genuine request from which no alert comes.
    Ignored,
    /// The plugin could not read the request.
    Malformed,
    /// The plugin failed on the request.
    Failed,
    /// The token is not that of the integration. The body is never kept.
    Unauthorized,
    /// The host refused the request: before its plugin ran, because the request was too large, too slow or
    /// over a rate; or afterwards, because the plugin made more events of it than one request may have.
    Refused,
    /// The request came in a maintenance window, and would have opened an alert otherwise.
    Maintenance,
}

impl RequestOutcome {
    /// All outcomes, in the order in which they are stored.
    pub const ALL: [Self; 7] = [
        Self::Events,
        Self::Ignored,
        Self::Malformed,
        Self::Failed,
        Self::Unauthorized,
        Self::Refused,
        Self::Maintenance,
    ];

    /// Returns the name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ignored => "ignored",
            Self::Malformed => "malformed",
            Self::Failed => "failed",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Maintenance => "maintenance",
        }
    }

    /// Returns the outcome of a request with these [effects](Effect).
    pub fn of_effects(effects: &[Effect]) -> Self {
        if effects.contains(&Effect::Suppressed) { Self::Maintenance } else { Self::Events }
    }
}

impl std::fmt::Display for RequestOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Record of a request, made of its [`Submission`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestRecord {
    /// Id of the request, as the sender got it in `X-Request-Id`.
    #[schema(value_type = String)]
    pub id: Ulid,
    /// The integration that received it.
    pub integration: String,
    /// The plugin that judged the request.
    pub plugin: Option<PluginId>,
    /// Address of the sender.
    pub sender: Option<String>,
    /// Length of the body, if the body was read.
    pub size_bytes: Option<u64>,
    /// Outcome when the request came.
    pub outcome: RequestOutcome,
    /// Reason why there are no events, or a problem on the way that does not affect the events.
    pub reason: Option<String>,
    /// Number of the first alert that the request concerns.
    pub alert: Option<u64>,
    /// Effects of the events, in their order.
    pub effects: Vec<EventEffect>,
    /// Time of arrival.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// Time that the plugin took, in microseconds.
    pub plugin_us: Option<u64>,
    /// Time until the transaction of this record was on disk, in microseconds. The time is known a moment
    /// after the sender was answered.
    pub commit_us: Option<u64>,
    /// Number of the transaction of this record. Transactions are numbered in their order. Requests of one
    /// transaction were committed in the order of their ids.
    pub transaction: Option<u64>,
    /// State of the kept request.
    pub raw: RawState,
    /// The last [`Replay`].
    pub replay: Option<Replay>,
}

/// State of a [`RawRequest`] in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawState {
    /// The request is not kept.
    Absent,
    /// The request is kept.
    Kept,
    /// The request is kept and waits for a replay, because the plugin failed on it.
    Quarantined,
}

/// Last replay of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Time of the replay.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Actor that asked for the replay.
    #[schema(value_type = String)]
    pub by: Actor,
    /// Number of replays so far.
    pub tries: u64,
    /// The plugin that judged the replay.
    pub plugin: Option<PluginId>,
    /// Outcome of the replay.
    pub outcome: RequestOutcome,
    /// Reason why there are no events.
    pub reason: Option<String>,
    /// Effects of the events, in their order.
    pub effects: Vec<EventEffect>,
}

/// Query for [records](RequestRecord) of requests. Filters that are `None` match every record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestQuery {
    /// Outcome of the requests.
    pub outcome: Option<RequestOutcome>,
    /// Name of the integration.
    pub integration: Option<String>,
    /// True for only the requests that wait for a replay.
    pub quarantined: bool,
    /// Earliest time of arrival.
    pub since: Option<Timestamp>,
    /// Exclusive latest time of arrival.
    pub until: Option<Timestamp>,
    /// Largest number of records on the page, 1 or more. A page has fewer if its records have very many
    /// effects.
    pub limit: usize,
    /// Exclusive upper bound of the ids.
    pub before: Option<Ulid>,
}

/// Page of [records](RequestRecord), newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPage {
    /// The records.
    pub requests: Vec<RequestRecord>,
    /// Start of the next page, if there is one: a value for [`RequestQuery::before`].
    pub next: Option<Ulid>,
}

/// Number and size of the [raw requests](RawRequest) of one integration that wait for a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// The integration's name.
    pub integration: String,
    /// Number of requests.
    pub count: u64,
    /// Number of bytes, of heads and bodies.
    pub bytes: u64,
    /// Number of requests that this host has displaced since its start, because others came.
    pub pushed_out: u64,
}

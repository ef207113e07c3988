//! What is kept of a request: what came of it, in which alerts, and the request as it came.
//!
//! It keeps nothing itself: that is for a [`Store`](crate::store::Store).

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Event;
use ulid::Ulid;
use utoipa::ToSchema;

pub use crate::alert::life::{Effect, Terms};
use crate::alert::{Actor, PluginId};

/// What came of one request.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The request's id; that of the first time, where it is replayed.
    pub request_id: Ulid,
    /// When it arrived, or is replayed.
    pub received_at: Timestamp,
    /// The integration that received it.
    pub integration: Arc<str>,
    /// The plugin that judged it, if one did.
    pub plugin: Option<Arc<PluginId>>,
    /// Who sent it.
    pub sender: Option<IpAddr>,
    /// The length of its body, if it was read.
    pub size_bytes: Option<usize>,
    /// How long the plugin had it.
    pub plugin_time: Option<Duration>,
    /// What came of it.
    pub content: Content,
    /// The request as it came, where it is to be kept.
    pub kept: Option<Kept>,
    /// Actor that asked for the request to be run again, if this is a replay.
    pub replayed_by: Option<Actor>,
}

impl Submission {
    /// How many events it has.
    pub fn event_count(&self) -> usize {
        match &self.content {
            Content::Events { events, .. } => events.len(),
            Content::Nothing { .. } => 0,
        }
    }
}

/// What came of a request, as far as it is recorded.
#[derive(Clone, Debug)]
pub enum Content {
    /// Events, at least one, each with a title or a dedup key as its action needs.
    Events {
        /// The events, in order.
        events: Vec<Event>,
        /// What the integration adds to them.
        terms: Terms,
        /// What went wrong on the way, though the events are good.
        remark: Option<String>,
    },
    /// No events, and why.
    Nothing {
        /// `ignored`, `malformed`, `failed`, `unauthorized` or `refused`.
        outcome: RequestOutcome,
        /// Why.
        reason: String,
    },
}

/// A request to be kept as it came.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The request.
    pub raw: RawRequest,
    /// The bounded share of its integration that it counts against; none if it is kept for as long as
    /// `retention` says.
    pub share: Option<(Share, ShareBounds)>,
}

/// A share of the requests that are kept of one integration. Each has bounds of its own, so that no
/// kind of request pushes out another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Requests on which the plugin failed. They wait for a replay.
    Quarantine,
    /// Requests that the plugin called malformed. Anybody can send these: most plugins cannot check a
    /// token in a body that they cannot read.
    Malformed,
}

/// Bounds of a share.
///
/// Above them, requests leave the share: of the sender that has most of it, first the largest one over
/// 16 KiB, then the oldest. The oldest small ones stay whoever comes after them: as many as a hundredth
/// of `count` and a quarter of `bytes` allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareBounds {
    /// How many.
    pub count: u64,
    /// How many bytes, of heads and bodies.
    pub bytes: u64,
}

/// A request as it came.
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
    /// What it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.query.len() + self.headers.len() + self.body.len()
    }
}

/// What one event of a request did, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventEffect {
    /// `opened`, `occurred`, `acknowledged`, `resolved`; or, where nothing changed, `duplicate` (the
    /// event was seen before), `no_match` (it acknowledges or resolves what is not open) or
    /// `suppressed` (it would have opened an alert, in a maintenance window).
    pub effect: String,
    /// The number of the alert that it concerns.
    pub alert: Option<u64>,
}

impl From<Effect> for EventEffect {
    fn from(effect: Effect) -> Self {
        Self { effect: effect.name().into(), alert: effect.alert() }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// The plugin found alert events.
    Events,
    /// A genuine request from which no alert comes.
    Ignored,
    /// It makes no sense.
    Malformed,
    /// The plugin failed on it.
    Failed,
    /// Its token is not that of the integration. Its body is never kept.
    Unauthorized,
    /// The host refused it: before any plugin saw it as too large, too slow, or over a rate, or after
    /// that because its plugin made more events of it than are taken of one request.
    Refused,
    /// It came in a maintenance window, and would have opened an alert otherwise.
    Maintenance,
}

impl RequestOutcome {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 7] = [
        Self::Events,
        Self::Ignored,
        Self::Malformed,
        Self::Failed,
        Self::Unauthorized,
        Self::Refused,
        Self::Maintenance,
    ];

    /// The name in JSON and on the command line.
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

    /// What came of events.
    pub fn of_effects(effects: &[Effect]) -> Self {
        if effects.contains(&Effect::Suppressed) { Self::Maintenance } else { Self::Events }
    }
}

impl std::fmt::Display for RequestOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of a request afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestRecord {
    /// Its id, as the sender got it in `X-Request-Id`.
    #[schema(value_type = String)]
    pub id: Ulid,
    /// The integration that received it.
    pub integration: String,
    /// The plugin that judged it.
    pub plugin: Option<PluginId>,
    /// The address of its sender.
    pub sender: Option<String>,
    /// The length of its body, if it was read.
    pub size_bytes: Option<u64>,
    /// What became of it when it came.
    pub outcome: RequestOutcome,
    /// Why, unless it made events; what went wrong on the way, where it did.
    pub reason: Option<String>,
    /// The number of the first alert that it touched.
    pub alert: Option<u64>,
    /// What each of its events did, in their order.
    pub effects: Vec<EventEffect>,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// How long the plugin had it, in microseconds.
    pub plugin_us: Option<u64>,
    /// How long the transaction that holds it took until it was on disk, in microseconds. It is known
    /// a moment after the sender was answered.
    pub commit_us: Option<u64>,
    /// The transaction that holds it, in their order; those of one transaction are in the order of
    /// their ids.
    pub transaction: Option<u64>,
    /// Whether the request is there as it came, and waits for a replay.
    pub raw: RawState,
    /// What came of it when it was run again, the last time.
    pub replay: Option<Replay>,
}

/// Whether a request is there as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawState {
    /// It is not.
    Absent,
    /// It is.
    Kept,
    /// It is, and waits to be run again, because the plugin failed on it.
    Quarantined,
}

/// What came of a request when it was run again, the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Actor that asked for the replay.
    #[schema(value_type = String)]
    pub by: Actor,
    /// How often it was run again.
    pub tries: u64,
    /// The plugin that judged it.
    pub plugin: Option<PluginId>,
    /// What became of it.
    pub outcome: RequestOutcome,
    /// Why, unless it made events.
    pub reason: Option<String>,
    /// What each of its events did, in their order.
    pub effects: Vec<EventEffect>,
}

/// Which requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestQuery {
    /// Only with this outcome.
    pub outcome: Option<RequestOutcome>,
    /// Only of this integration.
    pub integration: Option<String>,
    /// Only those that wait for a replay.
    pub quarantined: bool,
    /// Only those that arrived then or later.
    pub since: Option<Timestamp>,
    /// Only those that arrived before.
    pub until: Option<Timestamp>,
    /// How many at most, 1 or more. There are fewer on a page if they have very many effects.
    pub limit: usize,
    /// Only those before this one.
    pub before: Option<Ulid>,
}

/// Some records, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPage {
    /// The records.
    pub requests: Vec<RequestRecord>,
    /// Where the next page starts, if there is one: a value for [`RequestQuery::before`].
    pub next: Option<Ulid>,
}

/// The requests of one integration that wait for a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// The integration's name.
    pub integration: String,
    /// How many.
    pub count: u64,
    /// How many bytes, of heads and bodies.
    pub bytes: u64,
    /// How many left since the host was started, because others came.
    pub pushed_out: u64,
}

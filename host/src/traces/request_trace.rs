//! Facts and [moments](Moment) that a request leaves behind for its trace.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, Method, StatusCode, Version, header::USER_AGENT};
use ulid::Ulid;

use super::sampling::TraceParent;
use crate::{
    alert::PluginId,
    printable::one_line,
    request::{
        Effect, RequestOutcome,
        timeline::{Moment, Timeline},
    },
    store::StoreError,
};

/// Most characters of a text that a sender chooses.
const LONGEST_TEXT: usize = 256;
/// Most alerts that a trace names.
const MOST_ALERTS: usize = 10;

/// Facts about a request that are known when its headers have arrived.
pub(crate) struct Head {
    /// Id of the request.
    pub request_id: Ulid,
    /// Name in the path, and true if an integration has it.
    pub integration: (String, bool),
    /// Method.
    pub method: Method,
    /// Version of HTTP.
    pub version: Version,
    /// `user-agent`.
    pub user_agent: Option<String>,
    /// Address of the sender, behind trusted proxies.
    pub sender: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// True if the listener speaks TLS.
    pub is_tls: bool,
}

impl Head {
    /// Returns a text of a sender, cut to a length that a trace can hold.
    pub(crate) fn bounded(text: &str) -> String {
        one_line(text).chars().take(LONGEST_TEXT).collect()
    }

    /// Returns the `user-agent` of a request.
    pub(crate) fn user_agent(headers: &HeaderMap) -> Option<String> {
        let agent = headers.get(USER_AGENT)?;
        Some(Self::bounded(&String::from_utf8_lossy(agent.as_bytes())))
    }
}

/// The trace of a request, shared by the threads that work on it.
pub(crate) struct RequestTrace {
    pub(super) parent: TraceParent,
    pub(super) began_at: SystemTime,
    pub(super) head: Head,
    pub(super) timeline: Arc<Timeline>,
    pub(super) body_bytes: OnceLock<usize>,
    pub(super) judged: OnceLock<Judged>,
    pub(super) committed: OnceLock<Result<Committed, String>>,
}

/// Result of the [call](crate::call) of a plugin.
pub(super) struct Judged {
    pub(super) plugin: Option<Arc<PluginId>>,
    pub(super) outcome: RequestOutcome,
    /// The reason, if the call failed.
    pub(super) failure: Option<String>,
}

/// Result of a [commit](crate::store::RequestStore::commit).
pub(super) struct Committed {
    pub(super) outcome: RequestOutcome,
    pub(super) effects: usize,
    /// Numbers of the first alerts that the request concerns.
    pub(super) alerts: Vec<u64>,
}

impl RequestTrace {
    pub(super) fn begin(parent: TraceParent, head: Head) -> Self {
        Self {
            parent,
            began_at: SystemTime::now(),
            head,
            timeline: Arc::new(Timeline::begin()),
            body_bytes: OnceLock::new(),
            judged: OnceLock::new(),
            committed: OnceLock::new(),
        }
    }

    /// Notes that a [`Moment`] is now.
    pub(crate) fn note(&self, moment: Moment) {
        self.timeline.note(moment);
    }

    /// Notes that the body was read, or the request refused before.
    pub(crate) fn read(&self, body_bytes: Option<usize>) {
        self.note(Moment::ReadEnded);
        if let Some(bytes) = body_bytes {
            let _ = self.body_bytes.set(bytes);
        }
    }

    /// Notes that the call of a plugin has ended at a time. `plugin_time` is the time in the plugin, if it
    /// gave an outcome, and `failure` the reason if it gave none.
    pub(crate) fn judged(
        &self,
        at: Instant,
        plugin: Option<Arc<PluginId>>,
        plugin_time: Option<Duration>,
        (outcome, failure): (RequestOutcome, Option<&str>),
    ) {
        if let Some(called) = plugin_time.and_then(|took| at.checked_sub(took)) {
            self.timeline.note_at(Moment::Called, called);
        }
        self.timeline.note_at(Moment::Judged, at);
        let failure = failure.map(str::to_owned);
        let _ = self.judged.set(Judged { plugin, outcome, failure });
    }

    /// Notes that the store gets the request, and returns the [`Timeline`] for the moments of the commit.
    pub(crate) fn submitted(&self) -> Arc<Timeline> {
        self.note(Moment::Submitted);
        Arc::clone(&self.timeline)
    }

    /// Notes the answer of the store. Events that a maintenance has suppressed give another outcome.
    pub(crate) fn committed(
        &self,
        outcome: RequestOutcome,
        result: Result<&[Effect], &StoreError>,
    ) {
        self.note(Moment::Committed);
        let committed = match result {
            Ok(effects) => {
                let outcome = match outcome {
                    RequestOutcome::Events => RequestOutcome::of_effects(effects),
                    outcome => outcome,
                };
                let alerts = effects.iter().filter_map(|effect| effect.alert()).take(MOST_ALERTS);
                Ok(Committed { outcome, effects: effects.len(), alerts: alerts.collect() })
            }
            Err(error) => Err(error.to_string()),
        };
        let _ = self.committed.set(committed);
    }
}

/// Shows the id of the trace as W3C Trace Context writes it, for log lines.
impl fmt::Display for RequestTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.parent.trace_id)
    }
}

/// [Trace](RequestTrace) of a request that is over, with its answer.
pub(super) struct Finished {
    pub(super) trace: Arc<RequestTrace>,
    /// Time from the beginning to the answer.
    pub(super) took: Duration,
    /// The answer; none if the sender has hung up before.
    pub(super) answered: Option<Answered>,
}

/// Answer to a request.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// Code and detail of a refusal.
    pub(super) refusal: Option<(&'static str, String)>,
}

impl Finished {
    /// Ends a trace now.
    pub(super) fn now(trace: Arc<RequestTrace>, answered: Option<Answered>) -> Self {
        let took = trace.timeline.elapsed();
        Self { trace, took, answered }
    }
}

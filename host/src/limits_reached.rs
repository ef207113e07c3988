//! The limits that keep one client, line or file from holding up the rest, and how often each was
//! reached: counted for metrics, logged at most once a second, and told in readiness for a minute.
//!
//! No limit is enforced here.

use std::{
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::line_limit::LineLimit;

/// How long readiness tells of a limit after it was reached.
const RECENT: Duration = Duration::from_secs(60);

/// A limit that a client or the system can make the host reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `server.max_connections`.
    Connections,
    /// `server.max_connections_per_address`.
    ConnectionsPerAddress,
    /// `admin.max_connections`.
    AdminConnections,
    /// `server.write_timeout`.
    UnreadAnswers,
    /// `server.body_memory_bytes`.
    BodyMemory,
    /// `server.max_wrong_tokens_per_minute`.
    WrongTokens,
    /// `requests.quarantine_count` and `requests.quarantine_bytes`.
    Quarantine,
    /// The malformed requests of an integration that are kept.
    Malformed,
    /// Searches of the API that run or wait at once.
    Searches,
    /// Open files of the process.
    Descriptors,
    /// Threads of the process.
    Threads,
    /// The events of one request.
    Events,
}

impl Limit {
    const ALL: [Self; 12] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::AdminConnections,
        Self::UnreadAnswers,
        Self::BodyMemory,
        Self::WrongTokens,
        Self::Quarantine,
        Self::Malformed,
        Self::Searches,
        Self::Descriptors,
        Self::Threads,
        Self::Events,
    ];

    /// The label in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::AdminConnections => "admin_connections",
            Self::UnreadAnswers => "unread_answers",
            Self::BodyMemory => "body_memory",
            Self::WrongTokens => "wrong_tokens",
            Self::Quarantine => "quarantine",
            Self::Malformed => "malformed",
            Self::Searches => "searches",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Events => "events",
        }
    }

    /// The log message, and the beginning of the reason in readiness.
    fn message(self) -> &'static str {
        match self {
            Self::Connections => "connections wait because as many are open as may be",
            Self::ConnectionsPerAddress => "an address has as many connections as it may have",
            Self::AdminConnections => {
                "the admin listener, or an address there, has as many connections as it may have, and \
                 is answered about health alone"
            }
            Self::UnreadAnswers => "a client did not read its answers and was cut off",
            Self::BodyMemory => "large bodies were turned away because others take the memory",
            Self::WrongTokens => "an address sends many wrong tokens",
            Self::Quarantine => "requests that waited for a replay left because others came",
            Self::Malformed => "malformed requests are not kept as they came because others are",
            Self::Searches => "searches were turned away because others run",
            Self::Descriptors => "the system gives no more open files",
            Self::Threads => "the system gives no more threads",
            Self::Events => {
                "a request was refused because it has more events than are taken of one"
            }
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Connections => {
                "look for a client that keeps connections, or raise `server.max_connections`"
            }
            Self::ConnectionsPerAddress => {
                "if it is a proxy, name it in `server.trusted_proxies`; else look at that client, or \
                 raise `server.max_connections_per_address`"
            }
            Self::AdminConnections => {
                "look for a client that keeps connections, or raise `admin.max_connections`"
            }
            Self::UnreadAnswers => {
                "look at that client; `server.write_timeout` says how long one may take"
            }
            Self::BodyMemory => {
                "look for who sends so many large bodies, or raise `server.body_memory_bytes`"
            }
            Self::WrongTokens => {
                "if it is a sender of yours, correct its token; else block the address"
            }
            Self::Quarantine => {
                "mend the plugin and replay them, or raise `requests.quarantine_count` or \
                 `requests.quarantine_bytes`"
            }
            Self::Malformed => "`tocsin requests --outcome malformed` shows who sends them",
            Self::Searches => "ask again, or for less at once",
            Self::Descriptors => {
                "raise the limit on open files (`ulimit -n`, or `LimitNOFILE=` of systemd)"
            }
            Self::Threads => "raise the limit on threads (`ulimit -u`, or `TasksMax=` of systemd)",
            Self::Events => {
                "have its sender send less at once (Alertmanager: more labels in `group_by`)"
            }
        }
    }
}

/// How often each limit was reached.
#[derive(Debug, Default)]
pub struct LimitsReached {
    counters: Family<Labels, Counter>,
    states: [Mutex<State>; Limit::ALL.len()],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    limit: &'static str,
}

#[derive(Debug, Default)]
struct State {
    lines: LineLimit,
    last: Option<(Instant, String)>,
}

impl LimitsReached {
    /// Counts that a limit was reached, and logs it unless it was logged within a second. `detail` says
    /// by whom or by how much.
    pub fn reached(&self, limit: Limit, detail: impl Display) {
        self.reached_at(Instant::now(), limit, 1, &detail);
    }

    /// The same for several times at once.
    pub fn reached_times(&self, limit: Limit, times: u64, detail: impl Display) {
        self.reached_at(Instant::now(), limit, times, &detail);
    }

    fn reached_at(&self, now: Instant, limit: Limit, times: u64, detail: &dyn Display) {
        self.counters.get_or_create(&Labels { limit: limit.name() }).inc_by(times);
        let mut state = self.state(limit);
        let Some(left_out) = state.lines.admit(now) else {
            // The text of a moment ago is recent enough.
            if let Some((last, _)) = &mut state.last {
                *last = now;
            }
            return;
        };
        let detail: String = detail.to_string().chars().take(200).collect();
        tracing::warn!(
            event = "limit_reached",
            limit = limit.name(),
            detail,
            left_out,
            "{}",
            limit.message(),
        );
        state.last = Some((now, detail));
    }

    /// Returns a sentence with a hint for each limit that was reached within the last minute.
    pub fn recent(&self) -> Vec<String> {
        self.recent_at(Instant::now())
    }

    fn recent_at(&self, now: Instant) -> Vec<String> {
        let sentence = |limit: &Limit| {
            let state = self.state(*limit);
            let (last, detail) = state.last.as_ref()?;
            let is_recent = now.saturating_duration_since(*last) < RECENT;
            let (message, hint) = (limit.message(), limit.hint());
            is_recent.then(|| format!("within the last minute, {message} ({detail}); hint: {hint}"))
        };
        Limit::ALL.iter().filter_map(sentence).collect()
    }

    /// Has the counters shown, from zero.
    pub fn register(&self, registry: &mut Registry) {
        for limit in Limit::ALL {
            drop(self.counters.get_or_create(&Labels { limit: limit.name() }));
        }
        let help = "How often a limit was reached that keeps one client from holding up the others";
        registry.register("limit_reached", help, self.counters.clone());
    }

    fn state(&self, limit: Limit) -> MutexGuard<'_, State> {
        // Listed in the order of the variants.
        self.states[limit as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_reached_is_counted_and_told_for_a_minute() {
        let (limits, start) = (LimitsReached::default(), Instant::now());
        assert_eq!(limits.recent_at(start), [""; 0]);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        limits.reached_at(start, Limit::Malformed, 1, &"integration `ops`");
        limits.reached_at(at(50), Limit::Malformed, 3, &"integration `dev`");
        let told = limits.recent_at(at(109));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("(integration `dev`); hint: "), "{told:?}");
        assert_eq!(limits.recent_at(at(110)), [""; 0]);
        let labels = Labels { limit: "malformed" };
        assert_eq!(limits.counters.get_or_create(&labels).get(), 4);
    }

    #[test]
    fn every_limit_has_its_own_place() {
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
        }
    }
}

//! Counts how often each limit was reached that protects the host from one client or file.
//!
//! Each [`Limit`] is counted for metrics, logged at most once a second, and shown in readiness for a minute.
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

use crate::limits::line_limit::LineLimit;

/// Time for which readiness shows a limit after it was reached.
const RECENT: Duration = Duration::from_secs(60);

/// A limit that clients or the system can make the host reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `server.max_connections`.
    Connections,
    /// `server.max_connections_per_address`.
    ConnectionsPerAddress,
    /// `admin.max_connections`.
    AdminConnections,
    /// `server.write_timeout`, see [`Server`](crate::config::Server).
    UnreadAnswers,
    /// `server.body_memory_bytes`, see [`Server`](crate::config::Server).
    BodyMemory,
    /// `server.max_wrong_tokens_per_minute`.
    WrongTokens,
    /// `requests.quarantine_count` and `requests.quarantine_bytes`, see
    /// [`Requests`](crate::config::Requests).
    Quarantine,
    /// Malformed requests of an integration that are kept.
    Malformed,
    /// Searches through the API that run or wait at once.
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

    /// Returns the label in metrics.
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

    /// Returns the log message, which is also the start of the reason in readiness.
    fn message(self) -> &'static str {
        match self {
            Self::Connections => {
                "new connections wait because the limit of open connections is reached"
            }
            Self::ConnectionsPerAddress => "an address has reached its limit of connections",
            Self::AdminConnections => {
                "the admin listener, or an address there, has reached its limit of connections; on further \
                 connections only health checks are answered"
            }
            Self::UnreadAnswers => {
                "a client did not read its answers, and its connection was closed"
            }
            Self::BodyMemory => "large bodies were refused because the memory for bodies is in use",
            Self::WrongTokens => "an address has sent too many wrong tokens",
            Self::Quarantine => "requests that waited for a replay were dropped for newer ones",
            Self::Malformed => {
                "malformed requests are not kept because the limit of kept ones is reached"
            }
            Self::Searches => "searches were refused because too many others run",
            Self::Descriptors => "the system refuses more open files",
            Self::Threads => "the system refuses more threads",
            Self::Events => "a request was refused because it has too many events",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Connections => {
                "find the client that holds connections open, or raise `server.max_connections`"
            }
            Self::ConnectionsPerAddress => {
                "if the address is a proxy of yours, add it to `server.trusted_proxies`; if not, check that \
                 client, or raise `server.max_connections_per_address`"
            }
            Self::AdminConnections => {
                "find the client that holds connections open, or raise `admin.max_connections`"
            }
            Self::UnreadAnswers => {
                "check that client; `server.write_timeout` is the time that a client may take"
            }
            Self::BodyMemory => {
                "find the sender of so many large bodies, or raise `server.body_memory_bytes`"
            }
            Self::WrongTokens => {
                "if the address is a sender of yours, correct its token; if not, block the address"
            }
            Self::Quarantine => {
                "repair the plugin and replay the requests, or raise `requests.quarantine_count` or \
                 `requests.quarantine_bytes`"
            }
            Self::Malformed => "`tocsin requests --outcome malformed` shows who sends them",
            Self::Searches => "search again later, or for less at once",
            Self::Descriptors => {
                "raise the limit on open files (`ulimit -n`, or `LimitNOFILE=` of systemd)"
            }
            Self::Threads => "raise the limit on threads (`ulimit -u`, or `TasksMax=` of systemd)",
            Self::Events => {
                "make its sender send less at once (Alertmanager: more labels in `group_by`)"
            }
        }
    }
}

/// Counters of every [`Limit`], with the last time that each was reached.
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
    /// Counts that a [`Limit`] was reached, and logs it unless it was logged within the last second. `detail`
    /// names the client or the amount.
    pub fn reached(&self, limit: Limit, detail: impl Display) {
        self.reached_at(Instant::now(), limit, 1, &detail);
    }

    /// Counts that a [`Limit`] was reached several times at once.
    pub fn reached_times(&self, limit: Limit, times: u64, detail: impl Display) {
        self.reached_at(Instant::now(), limit, times, &detail);
    }

    fn reached_at(&self, now: Instant, limit: Limit, times: u64, detail: &dyn Display) {
        self.counters.get_or_create(&Labels { limit: limit.name() }).inc_by(times);
        let mut state = self.state(limit);
        let Some(left_out) = state.lines.admit(now) else {
            // The detail of less than a second ago is recent enough.
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

    /// Adds the counters to a registry, each at zero.
    pub fn register(&self, registry: &mut Registry) {
        for limit in Limit::ALL {
            drop(self.counters.get_or_create(&Labels { limit: limit.name() }));
        }
        let help = "Times that a limit was reached that protects the host from one client";
        registry.register("limit_reached", help, self.counters.clone());
    }

    fn state(&self, limit: Limit) -> MutexGuard<'_, State> {
        // States are in the order of the variants.
        self.states[limit as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_a_reached_limit_and_shows_it_for_a_minute() {
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
    fn every_limit_has_its_own_state() {
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
        }
    }
}

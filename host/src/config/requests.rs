//! `[requests]`: requests that are kept in full, for a replay.

use serde::Deserialize;

use crate::request::ShareBounds;

/// `[requests]`: requests that are kept in full, for a replay.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Requests {
    /// The requests that are kept with headers and body, see [`Keep`].
    ///
    /// `failed` (default) keeps requests that a plugin failed on or made too many events of, which wait
    /// for a replay, and malformed ones. `all` keeps also those that made alerts and those that a plugin
    /// ignored. `none` keeps none. The body of a request with a wrong token is never kept.
    pub keep: Keep,
    /// Largest body that is kept, in bytes. Default 1 MiB.
    pub raw_limit_bytes: usize,
    /// Most requests of an integration that wait for a replay. Above it, the oldest are dropped. Default
    /// 10000.
    pub quarantine_count: u64,
    /// Most bytes of an integration's requests that wait for a replay. Above it, the oldest are dropped.
    /// Default 64 MiB.
    pub quarantine_bytes: u64,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            keep: Keep::Failed,
            raw_limit_bytes: 1024 * 1024,
            quarantine_count: 10_000,
            quarantine_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Requests {
    /// Returns the [`ShareBounds`] of each integration's requests that wait for a replay.
    pub(crate) fn quarantine(&self) -> ShareBounds {
        ShareBounds { count: self.quarantine_count, bytes: self.quarantine_bytes }
    }

    /// Returns the bounds of each integration's malformed requests: a small part of
    /// [`quarantine`](Self::quarantine), since anybody can send them. By default 100 requests of 4 MiB.
    pub(crate) fn malformed(&self) -> ShareBounds {
        ShareBounds {
            count: (self.quarantine_count / 100).max(1),
            bytes: (self.quarantine_bytes / 16).max(1),
        }
    }
}

/// The requests that are kept with headers and body.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// Requests that a plugin failed on, and malformed ones.
    Failed,
    /// All requests but those with a wrong token.
    All,
    /// None.
    None,
}

//! `[requests]`: which requests are kept as they came.

use serde::Deserialize;

use crate::request::ShareBounds;

/// `[requests]`: which requests are kept as they came.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// `failed` (default): those that the plugin failed on or made too many events of, which wait for a
    /// replay, and those that make no sense; `all`: also those from which alerts came, and those that
    /// were ignored; `none`. Bodies that a token check refused are never kept.
    pub keep: Keep,
    /// Larger bodies are not kept, in bytes. Default 1 MiB.
    pub raw_limit_bytes: usize,
    /// How many requests of an integration wait for a replay; the oldest leave first. Default 10000.
    pub quarantine_count: u64,
    /// How much they take, in bytes; the oldest leave first. Default 64 MiB.
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
    /// Returns the bounds of what may wait for a replay, for each integration.
    pub fn quarantine(&self) -> ShareBounds {
        ShareBounds { count: self.quarantine_count, bytes: self.quarantine_bytes }
    }

    /// Returns the bounds of malformed requests, for each integration: a small part of the quarantine's,
    /// since anybody can send them. A hundred of 10,000 requests, and 4 of 64 MiB, by default.
    pub fn malformed(&self) -> ShareBounds {
        ShareBounds {
            count: (self.quarantine_count / 100).max(1),
            bytes: (self.quarantine_bytes / 16).max(1),
        }
    }
}

/// Which requests are kept as they came.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those that the plugin failed on, and those that make no sense.
    Failed,
    /// All but those that a token check refused.
    All,
    /// None.
    None,
}

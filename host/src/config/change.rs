//! A difference between two configurations, as a reload reports it to people and programs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change that a reload makes, see [`reload`](crate::reload).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = ReloadChange)]
pub(crate) struct ConfigChange {
    /// The place in the configuration, such as `integrations.ops` or `server.body_limit_bytes`.
    pub key: String,
    /// The kind of change.
    pub change: ConfigChangeKind,
    /// Details for people. Values that may be secrets are left out.
    pub detail: String,
}

/// The kind of a [`ConfigChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReloadChangeKind)]
pub(crate) enum ConfigChangeKind {
    /// The key is new.
    Added,
    /// The key was removed.
    Removed,
    /// The key has another value.
    Changed,
    /// Another version of its plugin serves the integration.
    Moved,
    /// The key has another value, which takes effect when the host is restarted.
    NeedsRestart,
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            ConfigChangeKind::Added => "added",
            ConfigChangeKind::Removed => "removed",
            ConfigChangeKind::Changed => "changed",
            ConfigChangeKind::Moved => "moved",
            ConfigChangeKind::NeedsRestart => "needs a restart",
        };
        write!(f, "`{}` {change}", self.key)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

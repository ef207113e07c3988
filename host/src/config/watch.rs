//! `[watch]`: automatic reloads of changed files by [`watch`](crate::watch).

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::Deserialize;

/// `[watch]`: automatic reloads when the configuration, a file that it refers to, or the plugins folder
/// changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Watch {
    /// Switches automatic reloads on. Default true.
    pub enabled: bool,
    /// Time without a further change before the files are read. From 10 ms to a minute, default `500ms`.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// Interval of polling, for file systems that give no notifications, such as some network file
    /// systems. From 100 ms to an hour, default `2s`.
    #[serde(with = "duration")]
    pub look_every: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            enabled: true,
            settle: Duration::from_millis(500),
            look_every: Duration::from_secs(2),
        }
    }
}

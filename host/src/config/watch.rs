//! `[watch]`: whether changed files are noticed.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::Deserialize;

/// `[watch]`: whether the configuration, the files it refers to, and the plugins folder are watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Whether what changes is read again by itself. Default true.
    pub enabled: bool,
    /// For how long nothing has to change before it is read; 10 ms or more, default `500ms`.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// How often is looked where no notice of a change comes, as on some network file systems; from
    /// 100 ms to an hour, default `2s`.
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

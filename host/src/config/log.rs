//! `[log]`: form and level of the [`log`](crate::log).

use serde::Deserialize;

/// `[log]`: form and level of the log, which goes to standard error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text` (default) for people, `json` for programs.
    pub format: LogFormat,
    /// `error`, `warn`, `info` (default), `debug` or `trace`, or directives such as
    /// `info,tocsin::ingest=debug`.
    pub level: Option<String>,
}

/// Form of log lines, see [`Log::format`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people, with colours on a terminal.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

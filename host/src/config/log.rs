//! `[log]`: what is logged.

use serde::Deserialize;

/// `[log]`: what is logged, to standard error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` (default) for people, `json` for programs.
    pub format: LogFormat,
    /// `error`, `warn`, `info` (default), `debug` or `trace`, or directives such as
    /// `info,tocsin::ingest=debug`.
    pub level: Option<String>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

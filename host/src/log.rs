//! Where log lines go and how they look.
//!
//! What is logged is for the places where it happens.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Logs to standard error from here on. `TOCSIN_LOG` overrides the configured level.
pub fn start(config: &Log) {
    let level = std::env::var("TOCSIN_LOG").ok().or_else(|| config.level.clone());
    let filter = EnvFilter::new(level.as_deref().unwrap_or("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // A test may have set one up already.
    let _ = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

//! Starts the log, and chooses the form of its lines.
//!
//! Logging never waits, fails or panics, even if standard error is closed, full or slow: lines that
//! cannot be written are dropped and counted.

mod background_writer;

use std::{
    fs::File,
    io::{self, IsTerminal},
    panic,
    sync::OnceLock,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use self::background_writer::BackgroundWriter;
use crate::{
    config::{Log, LogFormat},
    printable::{LogLineFormat, PrintableLog},
};

/// Timeout at the end of the process for lines that are not written yet.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The [`BackgroundWriter`] of this process, which has one standard error and one subscriber for all threads.
static WRITER: OnceLock<BackgroundWriter> = OnceLock::new();

/// Starts to log to standard error. The environment variable `TOCSIN_LOG` overrides the configured level.
///
/// # Errors
///
/// If the system has no thread or no file descriptor left.
pub(crate) fn start(config: &Log) -> io::Result<()> {
    let level = std::env::var("TOCSIN_LOG").ok().or_else(|| config.level.clone());
    let filter = EnvFilter::new(level.as_deref().unwrap_or("info"));
    // A descriptor of its own, since the standard library's lock would be held while a write waits.
    let stderr = File::from(rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3)?);
    let writer = match WRITER.get() {
        Some(writer) => writer,
        None => {
            let started = BackgroundWriter::start(stderr, report_lost)?;
            WRITER.get_or_init(|| started)
        }
    };
    let has_colours = io::stderr().is_terminal() && !is_plain(std::env::var_os("NO_COLOR"));
    let form = match config.format {
        LogFormat::Json => LogLineFormat::Json,
        LogFormat::Text if has_colours => LogLineFormat::ColouredText,
        LogFormat::Text => LogLineFormat::Text,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(PrintableLog { lines: form, to: Lines(writer) })
        .with_ansi(has_colours)
        // The subscriber would write its own errors in a way that panics if standard error is closed.
        .log_internal_errors(false)
        .with_target(false);
    // In tests, a subscriber may be in place already.
    let _ = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(
            event = "thread_panicked",
            thread,
            place,
            panic = message,
            "a thread panicked; hint: report it",
        );
    }));
    Ok(())
}

/// Returns true if the environment variable `NO_COLOR`, with any value, asks for lines without colours.
fn is_plain(no_color: Option<std::ffi::OsString>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

/// Waits for lines that are not written yet, for a second at most.
pub(crate) fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_TIMEOUT);
    }
}

/// Returns the number of log lines that were dropped since the start.
pub(crate) fn lost_lines() -> u64 {
    WRITER.get().map_or(0, BackgroundWriter::lost)
}

/// Returns the reason why log lines are dropped now, in one sentence with a hint, or `None` if they are
/// written.
pub(crate) fn problem() -> Option<String> {
    let writer = WRITER.get()?;
    let problem = writer.problem()?;
    Some(format!(
        "log lines are lost ({} so far): {problem}; hint: check where the standard error of the \
         host goes",
        writer.lost()
    ))
}

fn report_lost(lines: u64) {
    tracing::warn!(
        event = "log_lines_lost",
        lines,
        "log lines were lost because standard error could not be written",
    );
}

/// Gives the subscriber the [`BackgroundWriter`].
struct Lines(&'static BackgroundWriter);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = &'w BackgroundWriter;

    fn make_writer(&'w self) -> Self::Writer {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_with_any_value_takes_the_colours_away() {
        for (value, plain) in
            [(None, false), (Some(""), false), (Some("1"), true), (Some("0"), true)]
        {
            assert_eq!(is_plain(value.map(Into::into)), plain, "{value:?}");
        }
    }
}

//! Values of options that several commands have: urgencies, details and times.

use jiff::Timestamp;
use tocsin_plugin_api::Urgency;

use crate::config::duration;

/// Parses the name of an urgency.
pub(super) fn parse_urgency(name: &str) -> Result<Urgency, String> {
    Urgency::from_name(name).ok_or_else(|| "write low, medium, high or critical".into())
}

/// Parses a detail: its label, `=` and its value.
pub(super) fn parse_detail(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(label, _)| !label.is_empty());
    pair.map(|(label, value)| (label.into(), value.into()))
        .ok_or_else(|| "write the label, `=` and the value, such as `Channel=ops`".into())
}

/// Parses a time, or how long ago it was.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let ago = || Timestamp::now().checked_sub(duration(text)?).ok();
    text.parse().ok().or_else(ago).ok_or_else(|| {
        "write a time such as `2026-11-24T10:00:00Z`, or how long ago, such as `2h`".into()
    })
}

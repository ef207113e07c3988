//! Values of options that several commands have: urgencies, details and lengths of time.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use tocsin_plugin_api::Urgency;

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

/// Returns the length of time that a text such as `2h` or `3d` means; none for another text.
pub(super) fn duration(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

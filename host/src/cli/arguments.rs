//! Values of options that several commands have: urgencies and details.

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

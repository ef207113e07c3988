//! Places of secrets in the configuration, and faults that secrets often have.

use super::{ConfigError, Document};

/// Returns true if a string at this key is likely to be a secret.
pub(super) fn is_place_of_secrets(key: &[String]) -> bool {
    let key: Vec<_> = key.iter().map(String::as_str).collect();
    match key.as_slice() {
        ["admin", tokens, rest @ ..] => {
            let is_plain = |key: &&str| *key == "name" || key.starts_with("scopes");
            tokens.starts_with("tokens") && !rest.first().is_some_and(is_plain)
        }
        ["integrations" | "destinations", _, "options", ..] | ["delivery", "proxy"] => true,
        ["tracing", "headers", _, ..] => true,
        _ => false,
    }
}

/// Warns of characters at either end of a secret that are easily overlooked, such as a blank. The warning
/// does not repeat the secret.
pub(super) fn stray_characters(
    document: &Document,
    span: std::ops::Range<usize>,
    secret: &str,
) -> Option<ConfigError> {
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}');
    let what = if secret.starts_with('\u{feff}') {
        "starts with a byte order mark"
    } else if secret.starts_with(is_blank) {
        "starts with a blank"
    } else if secret.ends_with(['\n', '\r']) {
        "ends with an extra line break"
    } else if secret.ends_with(is_blank) {
        "ends with a blank"
    } else {
        return None;
    };
    let message = format!("the value {what}, which is part of the secret");
    let hint = "remove it, unless senders use the secret with it";
    Some(document.error_in(span, message).hint(hint))
}

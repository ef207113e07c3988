//! Strings that are written in the configuration itself, and a guess at those that are secrets.

use toml::de::{DeTable, DeValue};

use super::{ConfigError, Document, references::reference};

/// A string that is written in the configuration itself, not in a file or an environment variable.
pub(super) struct Literal {
    /// Key of the string, such as `["admin", "tokens[1]", "token"]`.
    pub(super) key: Vec<String>,
    pub(super) text: String,
    pub(super) span: std::ops::Range<usize>,
}

/// Returns the [`Literal`]s: strings that are written in the configuration itself, or none if it is not TOML.
pub(super) fn literals(document: &Document) -> Vec<Literal> {
    let mut found = Vec::new();
    if let Ok(root) = DeTable::parse(&document.text) {
        collect_literals(root.get_ref(), &mut Vec::new(), &mut found);
    }
    found
}

fn collect_literals(table: &DeTable<'_>, key: &mut Vec<String>, found: &mut Vec<Literal>) {
    for (name, value) in table {
        key.push(name.get_ref().to_string());
        collect_literals_in(value, key, found);
        key.pop();
    }
}

fn collect_literals_in(
    value: &toml::Spanned<DeValue<'_>>,
    key: &mut Vec<String>,
    found: &mut Vec<Literal>,
) {
    match value.get_ref() {
        DeValue::String(text) => {
            found.push(Literal { key: key.clone(), text: text.to_string(), span: value.span() });
        }
        DeValue::Table(table) if reference(table).is_none() => collect_literals(table, key, found),
        DeValue::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let Some(last) = key.last_mut() else { continue };
                let name = last.clone();
                last.push_str(&format!("[{place}]"));
                collect_literals_in(item, key, found);
                key.pop();
                key.push(name);
            }
        }
        _ => {}
    }
}

/// Returns true if a string at this key is likely to be a secret.
pub(super) fn is_place_of_secrets(key: &[String]) -> bool {
    let key: Vec<_> = key.iter().map(String::as_str).collect();
    match key.as_slice() {
        ["admin", tokens, rest @ ..] => tokens.starts_with("tokens") && rest != ["name"],
        ["integrations", _, "options", ..] => true,
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

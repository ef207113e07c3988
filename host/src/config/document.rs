//! The text of a configuration file, with the positions of its keys.
//!
//! A [`Document`] knows TOML, not the meaning of any key.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError,
    masking::{may_be_shown, without_values, without_variant},
    snippet::snippet,
};
use crate::printable::one_line;

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// Path of the file, as the operator wrote it.
    pub path: PathBuf,
    /// Text of the file.
    pub text: String,
    hidden: HiddenValues,
}

/// Values from environment variables and files, which may be secrets: no error repeats them.
#[derive(Clone, Default)]
struct HiddenValues(Vec<String>);

impl fmt::Debug for HiddenValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.0.len())
    }
}

impl Document {
    /// Creates a file with that text.
    pub fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text, hidden: HiddenValues::default() }
    }

    /// Masks these values in every later error.
    pub(super) fn hide(&mut self, values: Vec<String>) {
        // A shorter value is no secret, and would be masked within words.
        const SHORTEST: usize = 4;
        let values = values.into_iter().flat_map(|value| [value.trim().to_owned(), value]);
        self.hidden.0.extend(values.filter(|value| value.len() >= SHORTEST));
        self.hidden.0.sort_by_key(|value| std::cmp::Reverse(value.len()));
        self.hidden.0.dedup();
    }

    /// Returns a text about a key with possible secrets masked: values of `{ env }` and `{ file }`, and
    /// values that serde repeats.
    pub(crate) fn without_secrets(&self, key: &str, text: &str) -> String {
        let text = without_values(text);
        let path: Vec<_> = key.split('.').collect();
        let text = if may_be_shown(&path) { text } else { without_variant(&text) };
        self.hidden.0.iter().fold(text, |text, value| text.replace(&**value, "***"))
    }

    /// Returns a path of the configuration, which is relative to the configuration file.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Creates a [`ConfigError`] at a key, such as `["integrations", "ops", "options", "rules[2]",
    /// "pattern"]`. If the file has no such key, the error points at the nearest table above it.
    pub fn error_at(&self, key: &[&str], message: impl Into<String>) -> ConfigError {
        self.error(self.span_of(key), key.join("."), message)
    }

    /// Creates a [`ConfigError`] at a position in the text, under the key at that position.
    pub fn error_in(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let key = self.path_at(&span).join(".");
        self.error(span, key, message)
    }

    /// Creates a [`ConfigError`] at a position in the text about a key.
    pub(super) fn error_with_key(
        &self,
        span: Range<usize>,
        key: &[&str],
        message: impl Into<String>,
    ) -> ConfigError {
        self.error(span, key.join("."), message)
    }

    fn error(&self, span: Range<usize>, key: String, message: impl Into<String>) -> ConfigError {
        let start = span.start.min(self.text.len());
        let before = &self.text[..self.text.floor_char_boundary(start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError {
            file: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            snippet: snippet(&self.text, &span),
            message: one_line(&self.without_secrets(&key, &message.into())).into_owned(),
            key,
            hint: None,
        }
    }

    /// Returns true if the file has a key, such as `["integrations", "ops", "options"]`.
    pub(crate) fn has(&self, key: &[&str]) -> bool {
        let Ok(root) = DeTable::parse(&self.text) else { return false };
        let mut table = root.get_ref();
        for (depth, part) in key.iter().enumerate() {
            match table.get(*part).map(toml::Spanned::get_ref) {
                Some(_) if depth + 1 == key.len() => return true,
                Some(DeValue::Table(inner)) => table = inner,
                _ => return false,
            }
        }
        false
    }

    fn span_of(&self, key: &[&str]) -> Range<usize> {
        let Ok(root) = DeTable::parse(&self.text) else { return 0..0 };
        let mut span = 0..0;
        let mut table = root.get_ref();
        for (depth, part) in key.iter().enumerate() {
            let (name, places) = split_places(part);
            let Some((name, mut value)) = table.get_key_value(name) else { break };
            let is_last = depth + 1 == key.len();
            span = if is_last { value.span() } else { name.span() };
            // The span of a table is its header and more; its name is the better place to point at.
            let mut is_named = true;
            for place in places {
                let DeValue::Array(items) = value.get_ref() else { break };
                let Some(item) = items.get(place) else { break };
                (value, span, is_named) = (item, item.span(), false);
            }
            match value.get_ref() {
                DeValue::Table(inner) => {
                    if is_named {
                        span = name.span();
                    }
                    table = inner;
                }
                _ => break,
            }
        }
        span
    }

    /// Returns the parts of the key in which a span of the text lies, such as `routes[1]` and `to`, or no
    /// parts if the text is not TOML. Only a table in a list has a place there.
    pub(super) fn path_at(&self, span: &Range<usize>) -> Vec<String> {
        let Ok(root) = DeTable::parse(&self.text) else { return Vec::new() };
        let mut path = Vec::new();
        find_key(root.get_ref(), span, &mut path);
        path
    }
}

/// Splits a key with places in lists: `rules[2][0]` is `rules`, 2 and 0.
pub(super) fn split_places(part: &str) -> (&str, Vec<usize>) {
    let places = |text: &str| -> Option<Vec<usize>> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.split("][").map(|place| place.parse().ok()).collect()
    };
    let split = part.find('[').map(|at| part.split_at(at));
    split.and_then(|(name, text)| Some((name, places(text)?))).unwrap_or_else(|| (part, Vec::new()))
}

/// Finds the key in which a span lies, and appends its parts to a path.
pub(super) fn find_key(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (name, value) in table {
        path.push(name.get_ref().to_string());
        // The header of a table below has the name, too.
        if holds(&name.span()) {
            return true;
        }
        let within = match value.get_ref() {
            DeValue::Table(inner) => find_key(inner, span, path),
            DeValue::Array(items) => items.iter().enumerate().any(|(place, item)| {
                let DeValue::Table(inner) = item.get_ref() else { return false };
                path.pop();
                path.push(format!("{}[{place}]", name.get_ref()));
                // The span of a table under `[[name]]` is its header, which the list does not hold.
                let is_header = item.span() == *span && !holds(&value.span());
                let is_found = find_key(inner, span, path) || is_header;
                if !is_found {
                    path.pop();
                    path.push(name.get_ref().to_string());
                }
                is_found
            }),
            _ => false,
        };
        if within || holds(&value.span()) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hidden_values_and_those_that_serde_repeats() {
        let mut document = Document::new(Path::new("tocsin.toml"), String::new());
        document.hide(vec!["s3cret\n".into(), "s3cret-and-more".into(), "a".into()]);
        for (message, shown) in [
            ("`s3cret` is no pattern", "`***` is no pattern"),
            ("s3cret-and-more, a map", "***, a map"),
            (
                "invalid type: string \"x\", expected a map",
                "invalid type: a string, expected a map",
            ),
            (
                "invalid type: integer `17`, expected a map",
                "invalid type: an integer, expected a map",
            ),
            ("invalid type: integer `17`", "invalid type: an integer"),
            (
                "invalid value: string \"x, expected y\", expected z",
                "invalid value: a string, expected z",
            ),
            (
                "invalid type: floating point `1.5`, expected u8",
                "invalid type: a floating point number, expected u8",
            ),
            ("unknown variant `x`, expected `a` or `b`", "unknown variant, expected `a` or `b`"),
            ("unknown variant `x`, expected y`, expected `a`", "unknown variant, expected `a`"),
            ("unknown variant `x` here", "unknown variant"),
            ("unknown field `x`, expected `a`", "unknown field `x`, expected `a`"),
        ] {
            let key = ["integrations", "ops", "options", "token"];
            assert_eq!(document.error_at(&key, message).message(), shown);
        }
        let urgency = document.error_at(&["integrations", "ops", "urgency"], "");
        assert_eq!(urgency.key(), "integrations.ops.urgency");
        assert_eq!(
            document.without_secrets(
                "integrations.ops.urgency",
                "unknown variant `urgent`, expected `low`"
            ),
            "unknown variant `urgent`, expected `low`"
        );
    }
}

//! Reads the values of a configuration although some are wrong, so that all errors are reported at once.
//!
//! serde stops at the first error. The wrong value is then taken out of the tree, and the rest is read again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{ConfigError, Document, parse_error::parse_error};

/// Most errors that are looked for.
const MOST_ERRORS: usize = 100;

/// Readable part of a configuration, and its errors.
pub(super) struct Recovered<T> {
    /// The values without those that are wrong; none if nothing is left to take out.
    pub(super) value: Option<T>,
    /// The errors of the values that are wrong.
    pub(super) errors: Vec<ConfigError>,
    /// The keys that were taken out, or whose value was.
    pub(super) removed: Removed,
}

/// Keys that were taken out of a configuration.
#[derive(Default)]
pub(super) struct Removed(Vec<Vec<String>>);

/// Reads a tree without the values at `wrong`, whose errors are known.
pub(super) fn read<T: DeserializeOwned>(
    document: &Document,
    mut root: Spanned<DeTable<'_>>,
    wrong: &[Range<usize>],
) -> Recovered<T> {
    let mut removed = Removed::default();
    for span in wrong {
        removed.take(document, root.get_mut(), span);
    }
    let mut errors = Vec::new();
    while errors.len() < MOST_ERRORS {
        let error = match T::deserialize(toml::de::Deserializer::from(root.clone())) {
            Ok(value) => return Recovered { value: Some(value), errors, removed },
            Err(error) => error,
        };
        let span = error.span();
        let is_consequence = error.message().starts_with("missing field")
            && span.as_ref().is_some_and(|span| removed.is_below(document, span));
        if !is_consequence {
            errors.push(parse_error(document, &error));
        }
        if !span.is_some_and(|span| removed.take(document, root.get_mut(), &span)) {
            break;
        }
    }
    Recovered { value: None, errors, removed }
}

impl Removed {
    /// Takes the innermost value that holds a span out of a tree. Returns false if there is none.
    fn take(&mut self, document: &Document, root: &mut DeTable<'_>, span: &Range<usize>) -> bool {
        let is_taken = take_from_table(root, span);
        if is_taken {
            self.0.push(document.path_at(span));
        }
        is_taken
    }

    /// Returns true if something was taken out of the table at a span.
    fn is_below(&self, document: &Document, span: &Range<usize>) -> bool {
        let table = document.path_at(span);
        self.0.iter().any(|key| key.len() > table.len() && key.starts_with(&table))
    }

    /// Returns true if the values that an error is about may be among those that were taken out: an error
    /// of the same section, or one that compares it with another section.
    pub(super) fn may_explain(&self, error: &ConfigError) -> bool {
        let section = section_of(error.key());
        self.0.iter().any(|key| {
            let [first, ..] = key.as_slice() else { return true };
            let removed = section_of(first);
            match section {
                "admin" => matches!(removed, "admin" | "server"),
                "routes" => {
                    removed == "routes"
                        || matches!(removed, "integrations" | "destinations") && key.len() <= 2
                }
                "integrations" | "destinations" => {
                    let names: Vec<_> = key.iter().take(2).map(String::as_str).collect();
                    let names = names.join(".");
                    error.key() == names || error.key().starts_with(&format!("{names}."))
                }
                section => section == removed,
            }
        })
    }
}

/// Returns the section of a key: `routes` for `routes[1].to`.
fn section_of(key: &str) -> &str {
    key.split(['.', '[']).next().unwrap_or_default()
}

fn take_from_table(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let mut found = None;
    for (name, value) in table.iter_mut() {
        // The header of a table below has the name, too.
        let is_name = holds(&name.span(), span);
        if !is_name && take_from_value(value, span) {
            return true;
        }
        if is_name || holds(&value.span(), span) {
            found = Some(name.get_ref().clone());
            break;
        }
    }
    found.is_some_and(|name| table.remove(&*name).is_some())
}

/// Takes a value out of a list or a table. The value itself is for the caller to take.
fn take_from_value(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => take_from_table(table, span),
        DeValue::Array(items) => {
            if items.iter_mut().any(|item| take_from_value(item, span)) {
                return true;
            }
            let Some(taken) = items.iter().position(|item| holds(&item.span(), span)) else {
                return false;
            };
            let all = std::mem::replace(items, DeArray::new()).into_iter().enumerate();
            *items = all.filter(|(place, _)| *place != taken).map(|(_, item)| item).collect();
            true
        }
        _ => false,
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

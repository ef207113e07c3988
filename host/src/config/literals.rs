//! Strings that are written in the configuration itself.

use toml::de::{DeTable, DeValue};

use super::{Document, references::reference};

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

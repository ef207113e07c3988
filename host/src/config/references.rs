//! Values that are read from elsewhere: `{ env = "NAME" }` and `{ file = "PATH" }`.
//!
//! Any key may hold a reference in place of a string.

use std::{
    fs::Metadata,
    io::Read,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError, Document,
    file::{hint, reason},
    masking::is_usual_variable,
    secrets::{is_place_of_secrets, stray_characters},
};
use crate::{plugins::folder::regular_file, system::file_permissions::HostUser};

/// Returns the files that a configuration refers to with `{ file = "PATH" }`, and those of keys that are
/// paths, such as `delivery.ca_file`; none if the text is not TOML.
pub fn referenced_files(document: &Document) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Ok(root) = DeTable::parse(&document.text) {
        collect_files(root.get_ref(), document, &mut files);
        let paths = PATH_KEYS.iter().filter_map(|key| text_at(root.get_ref(), key));
        files.extend(paths.map(|path| document.beside(Path::new(path))));
    }
    files
}

/// Keys whose values are paths of files that are read with the configuration.
const PATH_KEYS: [&[&str]; 6] = [
    &["delivery", "ca_file"],
    &["tracing", "ca_file"],
    &["server", "tls", "certificate"],
    &["server", "tls", "key"],
    &["admin", "tls", "certificate"],
    &["admin", "tls", "key"],
];

/// Returns the string at a key.
fn text_at<'t>(table: &'t DeTable<'_>, key: &[&str]) -> Option<&'t str> {
    let (first, rest) = key.split_first()?;
    let value = table.get(*first)?.get_ref();
    if rest.is_empty() { value.as_str() } else { text_at(value.as_table()?, rest) }
}

fn collect_files(table: &DeTable<'_>, document: &Document, files: &mut Vec<PathBuf>) {
    table.values().for_each(|value| collect_files_in(value.get_ref(), document, files));
}

fn collect_files_in(value: &DeValue<'_>, document: &Document, files: &mut Vec<PathBuf>) {
    match value {
        DeValue::Table(table) => match reference(table) {
            Some(("file", path)) => files.push(document.beside(Path::new(&path))),
            Some(_) => {}
            None => collect_files(table, document, files),
        },
        DeValue::Array(items) => {
            items.iter().for_each(|item| collect_files_in(item.get_ref(), document, files));
        }
        _ => {}
    }
}

/// Replaces `{ env = "NAME" }` and `{ file = "PATH" }` in a parsed [`Document`] by their values.
pub(super) struct ReferenceResolver<'d, E> {
    pub(super) document: &'d Document,
    pub(super) env: &'d E,
    /// The user who alone, besides root, may change files with values. `None` skips that check.
    pub(super) host: Option<&'d HostUser>,
    pub(super) errors: Vec<ConfigError>,
    /// The places of the references that have errors.
    pub(super) wrong: Vec<std::ops::Range<usize>>,
    /// The values that were found.
    pub(super) values: Vec<String>,
    /// Warnings about secrets that were found.
    pub(super) warnings: Vec<ConfigError>,
}

impl<'d, E: Fn(&str) -> Option<String>> ReferenceResolver<'d, E> {
    pub(super) fn new(document: &'d Document, env: &'d E, host: Option<&'d HostUser>) -> Self {
        let (errors, wrong, values, warnings) = Default::default();
        Self { document, env, host, errors, wrong, values, warnings }
    }

    pub(super) fn resolve_in(&mut self, table: &mut DeTable<'_>) {
        for (_, value) in table.iter_mut() {
            self.resolve_in_value(value);
        }
    }

    fn resolve_in_value(&mut self, value: &mut toml::Spanned<DeValue<'_>>) {
        let span = value.span();
        let found = match value.get_mut() {
            DeValue::Table(table) => match reference(table) {
                Some(("env", name)) => self.variable(&name, span.clone()),
                Some((_, path)) => self.file(&path, span.clone()),
                None => return self.resolve_in(table),
            },
            DeValue::Array(items) => {
                return items.iter_mut().for_each(|item| self.resolve_in_value(item));
            }
            _ => return,
        };
        match found {
            Ok(text) => {
                let text = without_line_end(&text).to_owned();
                if is_place_of_secrets(&self.document.path_at(&span)) {
                    self.warnings.extend(stray_characters(self.document, span, &text));
                }
                self.values.push(text.clone());
                *value.get_mut() = DeValue::String(text.into());
            }
            Err(error) => {
                self.errors.push(error);
                self.wrong.push(span);
            }
        }
    }

    fn variable(&self, name: &str, span: std::ops::Range<usize>) -> Result<String, ConfigError> {
        (self.env)(name).ok_or_else(|| {
            if !is_usual_variable(name) {
                let message = "the environment variable that `env` names is not set";
                let hint =
                    "write the name of a variable, such as { env = \"TOKEN\" }, not the secret itself";
                return self.document.error_in(span, message).hint(hint);
            }
            let message = format!("the environment variable `{name}` is not set");
            let hint = format!("set {name} for the host, or write {{ file = \"PATH\" }}");
            self.document.error_in(span, message).hint(hint)
        })
    }

    fn file(&mut self, path: &str, span: std::ops::Range<usize>) -> Result<String, ConfigError> {
        let path = self.document.beside(Path::new(path));
        let mut text = String::new();
        // A pipe is refused: a read would wait for a writer.
        let read = regular_file(&path).and_then(|mut file| {
            file.read_to_string(&mut text)?;
            file.metadata()
        });
        match read {
            Ok(metadata) => {
                self.check_permissions(&path, &metadata, span)?;
                Ok(text)
            }
            Err(error) => {
                let message = format!("cannot read `{}`: {}", path.display(), reason(&error));
                let hint = hint(&error, "a path is relative to this file");
                Err(self.document.error_in(span, message).hint(hint))
            }
        }
    }

    /// Refuses a file that other users can change, and warns of a secret that other users can read.
    fn check_permissions(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        span: std::ops::Range<usize>,
    ) -> Result<(), ConfigError> {
        let Some(host) = self.host else { return Ok(()) };
        host.check_writers(path, metadata).map_err(|exposed| {
            self.document.error_in(span.clone(), exposed.message).hint(exposed.hint)
        })?;
        let reader = host.reader(metadata);
        if let Some(reader) = reader.filter(|_| is_place_of_secrets(&self.document.path_at(&span)))
        {
            let message = format!("the secret in `{}` {reader}", path.display());
            self.warnings.push(self.document.error_in(span, message).hint(reader.remedy(path)));
        }
        Ok(())
    }
}

/// Returns a value without one line break at its end, as an editor or `echo` adds it.
pub(crate) fn without_line_end(text: &str) -> &str {
    let Some(line) = text.strip_suffix('\n') else { return text };
    line.strip_suffix('\r').unwrap_or(line)
}

/// Returns `env` or `file` and the name or path, if a table is a reference.
pub(super) fn reference(table: &DeTable<'_>) -> Option<(&'static str, String)> {
    let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
    let kind = ["env", "file"].into_iter().find(|kind| key.get_ref() == kind)?;
    Some((kind, value.get_ref().as_str()?.to_owned()))
}

//! Strings that stand elsewhere: `{ env = "NAME" }` and `{ file = "PATH" }`.
//!
//! It does not know which keys there are.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::document::{ConfigError, Document};
use crate::plugins::folder::regular_file;

/// The files that a configuration refers to; none where it is no TOML.
pub fn referenced_files(document: &Document) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Ok(root) = DeTable::parse(&document.text) {
        collect_files(root.get_ref(), document, &mut files);
    }
    files
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

/// Fills in `{ env = "NAME" }` and `{ file = "PATH" }`, wherever a string can stand.
pub(super) struct Lookup<'d, E> {
    pub(super) document: &'d Document,
    pub(super) env: &'d E,
    pub(super) errors: Vec<ConfigError>,
}

impl<E: Fn(&str) -> Option<String>> Lookup<'_, E> {
    pub(super) fn fill_in(&mut self, table: &mut DeTable<'_>) {
        for (_, value) in table.iter_mut() {
            self.fill_in_value(value);
        }
    }

    fn fill_in_value(&mut self, value: &mut toml::Spanned<DeValue<'_>>) {
        let span = value.span();
        let found = match value.get_mut() {
            DeValue::Table(table) => match reference(table) {
                Some(("env", name)) => self.variable(&name, span),
                Some((_, path)) => self.file(&path, span),
                None => return self.fill_in(table),
            },
            DeValue::Array(items) => {
                return items.iter_mut().for_each(|item| self.fill_in_value(item));
            }
            _ => return,
        };
        match found {
            Ok(text) => *value.get_mut() = DeValue::String(text.into()),
            Err(error) => self.errors.push(error),
        }
    }

    fn variable(&self, name: &str, span: std::ops::Range<usize>) -> Result<String, ConfigError> {
        (self.env)(name).ok_or_else(|| {
            let message = format!("the environment variable `{name}` is not set");
            let hint = format!("set {name} for the host, or write {{ file = \"PATH\" }}");
            self.document.error_in(span, message).hint(hint)
        })
    }

    fn file(&self, path: &str, span: std::ops::Range<usize>) -> Result<String, ConfigError> {
        let path = self.document.beside(Path::new(path));
        let mut text = String::new();
        // The other end of a pipe may never come.
        match regular_file(&path).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", path.display());
                Err(self.document.error_in(span, message).hint("a path is relative to this file"))
            }
        }
    }
}

fn reference(table: &DeTable<'_>) -> Option<(&'static str, String)> {
    let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
    let kind = ["env", "file"].into_iter().find(|kind| key.get_ref() == kind)?;
    Some((kind, value.get_ref().as_str()?.to_owned()))
}

//! Sources of the workspace as text, for tests that look up names and messages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use tocsin_tests::libraries;

/// File of Rust.
pub(crate) struct Source {
    /// Path from the top folder.
    pub(crate) path: PathBuf,
    /// Whole text.
    pub(crate) text: String,
}

/// Reads each [`Source`] below some folders.
pub(crate) fn read(folders: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in folders {
        add(&libraries::workspace().join(folder), &mut sources);
    }
    assert!(!sources.is_empty(), "no sources in {folders:?}");
    sources
}

/// Joins the texts of [`Source`]s. Strings that continue on further lines become one line.
pub(crate) fn joined(sources: &[Source]) -> String {
    let text: String = sources.iter().map(|source| &*source.text).collect();
    let continued = Regex::new(r"\\\n\s*").expect("a pattern");
    continued.replace_all(&text, "").replace("\\\"", "\"")
}

fn add(folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() && !path.ends_with("target") {
            add(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("it can be read");
            let path = path.strip_prefix(libraries::workspace()).expect("it lies there").into();
            sources.push(Source { path, text });
        }
    }
}

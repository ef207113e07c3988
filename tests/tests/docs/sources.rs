//! Sources of the workspace as text, for tests that look up names and messages.

use std::{fs, path::Path};

use regex::Regex;
use tocsin_tests::libraries;

/// Reads all Rust files below some folders.
pub(crate) fn read(folders: &[&str]) -> Vec<String> {
    let mut sources = Vec::new();
    for folder in folders {
        add(&libraries::workspace().join(folder), &mut sources);
    }
    assert!(!sources.is_empty(), "no sources in {folders:?}");
    sources
}

/// Joins the texts of sources. Strings that continue on further lines become one line.
pub(crate) fn joined(sources: &[String]) -> String {
    let text = sources.concat();
    let continued = Regex::new(r"\\\n\s*").expect("a pattern");
    continued.replace_all(&text, "").replace("\\\"", "\"")
}

fn add(folder: &Path, sources: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() && !path.ends_with("target") {
            add(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(&path).expect("it can be read"));
        }
    }
}

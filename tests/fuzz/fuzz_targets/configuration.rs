//! Reading any text as a configuration does not panic, and each error can be shown and names its line of
//! the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use tocsin::config::{ConfigError, Document, LoadedConfig, referenced_files};

fuzz_target!(|text: &str| -> Corpus {
    let document = Document::new(Path::new("tocsin.toml"), text.to_owned());
    // The host would read a file that the configuration names, so such configurations are skipped. A
    // search for the word `file` would miss `"f\u0069le"`.
    if !referenced_files(&document).is_empty() {
        return Corpus::Reject;
    }
    let Document { path, text, .. } = document;
    let lines = text.split('\n').count();
    let env = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
    if let Err(errors) = LoadedConfig::parse(&path, text, env) {
        assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
        errors.0.iter().for_each(|error| is_within(error, lines));
    }
    Corpus::Keep
});

fn is_within(error: &ConfigError, lines: usize) {
    let sentence = error.sentence();
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
    let place = sentence.strip_prefix("tocsin.toml:").and_then(|rest| rest.split_once(':'));
    let line = place.and_then(|(line, _)| line.parse().ok());
    assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{sentence:?}");
}

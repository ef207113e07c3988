//! Checks that each log line of the host from level `info` up has a field `event`, whose value stays
//! the same when the message is reworded. Operators filter log lines by `event`, and the end-to-end
//! tests wait for its values.
//!
//! `cargo test -p tocsin-tests --test house -- --nocapture events` prints all names.

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use regex::Regex;

use crate::sources::{root, rust_files};

/// The beginning of a log line.
static LOG_LINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"tracing::(?:info|warn|error)!\s*\(\s*").expect("a pattern"));

/// The field `event`, which comes first.
static EVENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^event = "([a-z][a-z0-9]*(?:_[a-z0-9]+)*)","#).expect("a pattern")
});

/// Returns the events in a source text, unit tests left out, or the first log line without an event.
fn events(source: &str) -> Result<Vec<&str>, &str> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let fields = LOG_LINE.find_iter(code).map(|line| &code[line.end()..]);
    let event = |fields: &'_ str| {
        EVENT.captures(fields).and_then(|event| event.get(1)).map(|name| name.range())
    };
    fields
        .map(|fields| match event(fields) {
            Some(name) => Ok(&fields[name]),
            None => Err(fields.lines().next().unwrap_or_default()),
        })
        .collect()
}

#[test]
fn every_log_line_from_info_up_names_its_event() {
    let mut all = BTreeSet::new();
    for file in rust_files(Path::new("host/src")) {
        let source = fs::read_to_string(root().join(&file)).expect("a source file");
        match events(&source) {
            Ok(events) => all.extend(events.into_iter().map(String::from)),
            Err(line) => {
                panic!("`{}` has a log line without `event = \"...\"`: {line}", file.display())
            }
        }
    }
    println!("{all:#?}");
    assert!(all.contains("serving"), "{all:?}");
}

#[test]
fn events_are_names_in_snake_case_and_come_first() {
    let source = "tracing::warn!(event = \"store_lost\", error, \"x\");\n\
                  tracing::info!(\n    event = \"serving\",\n    \"y\",\n);\ntracing::debug!(\"z\");";
    assert_eq!(events(source), Ok(vec!["store_lost", "serving"]));
    for wrong in ["\"x\");", "error, event = \"x\", \"x\");", "event = \"Store lost\", \"x\");"] {
        assert_eq!(events(&format!("tracing::error!({wrong}")), Err(wrong));
    }
}

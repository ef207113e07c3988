//! Comparison of the page on monitoring with the metrics that the host registers.

use std::{collections::BTreeSet, fs};

use regex::Regex;
use tocsin_tests::libraries;

use crate::{markdown::Page, sources};

#[test]
fn the_page_on_monitoring_lists_every_metric() {
    let sources = sources::joined(&sources::read(&["host/src"]));
    let registered = Regex::new(r#"\.register(?:_with_unit)?\(\s*"([a-z_]+)""#).expect("a pattern");
    let registered: BTreeSet<_> =
        registered.captures_iter(&sources).map(|found| format!("tocsin_{}", &found[1])).collect();
    let of_process = Regex::new(r#"\badd\(\s*"(process_[a-z_]+)""#).expect("a pattern");
    let of_process = of_process.captures_iter(&sources).map(|found| found[1].to_owned());
    let registered: BTreeSet<_> = registered.into_iter().chain(of_process).collect();
    let named = Regex::new(r"(?:tocsin|process)_[a-z_]*[a-z]").expect("a pattern");
    let text = Page::read("docs/operator/monitoring.md").text;
    let is_metric = |line: &&str| line.starts_with("| `tocsin_") || line.starts_with("| `process_");
    let rows: String = text.lines().filter(is_metric).collect();
    let named = named.find_iter(&rows).map(|found| found.as_str());
    let named: BTreeSet<_> =
        named.map(|name| name.strip_suffix("_total").unwrap_or(name).to_owned()).collect();
    assert_eq!(named, registered);
}

#[test]
fn every_code_of_a_refused_webhook_is_a_reason_of_the_metric() {
    let codes = Regex::new(r#"(?:StatusCode::[A-Z_]+|status),\s*"([a-z_]+)""#).expect("a pattern");
    let file = |path| fs::read_to_string(libraries::workspace().join(path)).expect("a source");
    let refused = sources::read(&["host/src/ingest"]).concat() + &file("host/src/ingest.rs");
    let refused: BTreeSet<_> =
        codes.captures_iter(&refused).map(|found| found[1].to_owned()).collect();
    assert!(refused.len() > 12, "{refused:?}");
    let reasons = file("host/src/metrics/refusals.rs");
    for code in refused {
        assert!(reasons.contains(&format!("\"{code}\",")), "`REASONS` does not have `{code}`");
    }
}

//! Comparison of the page on monitoring with the metrics that the host registers.

use std::collections::BTreeSet;

use regex::Regex;

use crate::{markdown::Page, sources};

#[test]
fn the_page_on_monitoring_lists_every_metric() {
    let sources = sources::joined(&sources::read(&["host/src"]));
    let registered = Regex::new(r#"\.register(?:_with_unit)?\(\s*"([a-z_]+)""#).expect("a pattern");
    let registered: BTreeSet<_> =
        registered.captures_iter(&sources).map(|found| format!("tocsin_{}", &found[1])).collect();
    let named = Regex::new(r"tocsin_[a-z_]*[a-z]").expect("a pattern");
    let text = Page::read("docs/operator/monitoring.md").text;
    let rows: String = text.lines().filter(|line| line.starts_with("| `tocsin_")).collect();
    let named = named.find_iter(&rows).map(|found| found.as_str());
    let named: BTreeSet<_> =
        named.map(|name| name.strip_suffix("_total").unwrap_or(name).to_owned()).collect();
    assert_eq!(named, registered);
}

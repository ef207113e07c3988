//! Links and lengths of the pages.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use tocsin_tests::libraries;

use crate::markdown::Page;

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    for page in Page::all() {
        for target in link.captures_iter(&page.text).map(|found| found[1].to_owned()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let from = libraries::workspace().join(&page.path);
            let to = match file {
                "" => from.clone(),
                file => from.parent().expect("a folder").join(file),
            };
            assert!(to.exists(), "{}: nothing is at `{target}`", page.path);
            if !heading.is_empty() {
                let text = fs::read_to_string(&to).expect("a page");
                let is_there = headings(&text).contains(heading);
                assert!(is_there, "{}: no heading for `{target}`", page.path);
            }
        }
    }
}

#[test]
fn the_summary_lists_every_page() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    let summary = Page::read("docs/SUMMARY.md").text;
    let listed: BTreeSet<_> =
        link.captures_iter(&summary).map(|found| format!("docs/{}", &found[1])).collect();
    let pages = Page::all().into_iter().map(|page| page.path);
    let pages: BTreeSet<_> =
        pages.filter(|path| path.starts_with("docs/") && path != "docs/SUMMARY.md").collect();
    assert_eq!(listed, pages);
    assert!(Path::new(libraries::workspace()).join("docs/book.toml").exists());
}

#[test]
fn pages_are_short_enough_to_be_read() {
    for page in Page::all() {
        let most = if page.path == "README.md" { 200 } else { 400 };
        let lines = page.text.lines().count();
        assert!(lines <= most, "`{}` has {lines} lines, more than {most}", page.path);
    }
}

/// Returns the anchors of the headings of a text, as GitHub and mdBook make them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |line: &str| {
        let line = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        line.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(name).collect()
}

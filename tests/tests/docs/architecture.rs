//! Comparison of ARCHITECTURE.md with the sources: the paths that the page names exist.

use tocsin_tests::libraries;

use crate::markdown::{Page, code_spans};

#[test]
fn every_path_that_the_architecture_names_exists() {
    let page = Page::read("ARCHITECTURE.md");
    let folders = ["docs/", "host/", "plugin-api/", "tests/"];
    let spans = page.text.lines().flat_map(code_spans);
    let paths: Vec<_> =
        spans.filter(|span| folders.iter().any(|folder| span.starts_with(folder))).collect();
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        assert!(libraries::workspace().join(&path).exists(), "nothing is at `{path}`");
    }
}

//! Comparison of ARCHITECTURE.md with the sources: the tests and files that it names exist.

use tocsin_tests::libraries;

use crate::{
    markdown::{Page, code_spans},
    sources,
};

#[test]
fn every_test_that_the_architecture_names_exists() {
    let sources = sources::read(&["host/src", "plugin-api", "plugin-kit", "plugins", "tests"]);
    let page = Page::read("ARCHITECTURE.md");
    let (_, chapter) = page.text.split_once("## Invariants\n").expect("its chapter");
    let chapter = chapter.split("\n## ").next().unwrap_or_default();
    let mut count = 0;
    for name in chapter.lines().flat_map(code_spans).filter(|span| span.contains("::")) {
        count += 1;
        let (module, test) = name.rsplit_once("::").expect("two parts");
        let file = module.replace("::", "/");
        let test = format!("fn {test}(");
        let is_there = sources.iter().any(|source| {
            source.path.with_extension("").ends_with(&file) && source.text.contains(&test)
        });
        assert!(is_there, "no file `{file}.rs` has the test `{name}`");
    }
    assert!(count > 20, "it names {count} tests");
}

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

#[test]
fn the_picture_of_the_layers_shows_every_module_of_the_host() {
    let page = Page::read("ARCHITECTURE.md");
    let (_, chapter) = page.text.split_once("## Layers\n").expect("its chapter");
    let picture = chapter.split("```").nth(1).expect("a picture");
    let words: Vec<_> = picture.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let library = std::fs::read_to_string(libraries::workspace().join("host/src/lib.rs"));
    for line in library.expect("the host has sources").lines() {
        let module = line.trim_start_matches("pub ").strip_prefix("mod ");
        if let Some(module) = module.and_then(|rest| rest.strip_suffix(';')) {
            assert!(words.contains(&module), "`{module}` is not in the picture");
        }
    }
}

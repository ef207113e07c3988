//! Checks that the table of invariants in ARCHITECTURE.md names only tests that exist: each `module::test`
//! in the table must be a test of this package.

use std::fs;

use regex::Regex;

use crate::sources::root;

/// Returns each `module::test` in the section on invariants.
fn named_tests(page: &str) -> Vec<(String, String)> {
    let section = page.split("\n## Invariants\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let name = Regex::new(r"`([a-z0-9_]+)::([a-z0-9_]+)`").expect("a pattern");
    let names = name.captures_iter(section).map(|name| (name[1].into(), name[2].into()));
    names.collect()
}

/// Tells if a module of any test binary of this package has the test.
fn exists(module: &str, test: &str) -> bool {
    let binaries = fs::read_dir(root().join("tests/tests")).expect("the test binaries");
    binaries.flatten().any(|binary| {
        let source = fs::read_to_string(binary.path().join(format!("{module}.rs")));
        source.is_ok_and(|source| source.contains(&format!("#[test]\nfn {test}() ")))
    })
}

#[test]
fn each_invariant_in_the_architecture_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page");
    let named = named_tests(&page);
    assert!(!named.is_empty(), "the section on invariants names no test");
    let missing: Vec<_> = named.iter().filter(|(module, test)| !exists(module, test)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn only_the_section_on_invariants_names_tests() {
    let page = "`a::b`\n\n## Invariants\n\n| x | `c::d`, `e::f` |\n\n## More\n\n`g::h`\n";
    let named = named_tests(page);
    assert_eq!(named, [("c".into(), "d".into()), ("e".into(), "f".into())]);
}

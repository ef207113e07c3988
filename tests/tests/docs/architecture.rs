//! Comparison of ARCHITECTURE.md with the sources: the paths that it names exist, and its picture shows the
//! layers in the order that `house` holds.

use std::fs;

use regex::Regex;
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

#[test]
fn the_picture_of_the_layers_has_the_rooms_in_their_order() {
    let page = Page::read("ARCHITECTURE.md");
    let (_, chapter) = page.text.split_once("## Layers\n").expect("its chapter");
    let picture = chapter.split("```text\n").nth(1).and_then(|text| text.split("```").next());
    // A line that is indented further belongs to the layer above it.
    let layers = Regex::new(r"(?m)^  \b").expect("a pattern");
    let layers: Vec<_> = layers.split(picture.expect("a picture")).skip(1).collect();
    let layer_of = |room: &str| {
        let room_name = Regex::new(&format!(r"\b{room}(,|  |$)")).expect("a pattern");
        let has = |layer: &&str| layer.lines().any(|line| room_name.is_match(line));
        let found = layers.iter().position(|layer| has(&layer));
        found.unwrap_or_else(|| panic!("`{room}` is not in the picture"))
    };

    let source = libraries::workspace().join("tests/tests/house/layers.rs");
    let source = fs::read_to_string(source).expect("the order of the rooms");
    let (_, rooms) = source.split_once("const ROOMS: &[&str] = &[").expect("the rooms");
    let rooms = rooms.split("];").next().unwrap_or_default();
    let room = Regex::new("\"([a-z_]+)\"").expect("a pattern");
    let from_below: Vec<_> =
        room.captures_iter(rooms).map(|found| (layer_of(&found[1]), found[1].to_owned())).collect();
    assert!(from_below.len() > 30, "{from_below:?}");
    for pair in from_below.windows(2) {
        assert!(pair[0].0 >= pair[1].0, "`{}` is above `{}`", pair[0].1, pair[1].1);
    }
}

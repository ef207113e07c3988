//! The order of the host's rooms: a room imports only rooms below it, and no files import each other in
//! a circle. `ARCHITECTURE.md` shows the same order as a picture.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::{
    imports::{Imports, ModulePath},
    sources::root,
};

/// The rooms of `host/src` from the bottom up: a file or folder each.
const ROOMS: &[&str] = &[
    "system",
    "printable",
    "problem",
    "single_flight",
    "limits",
    "alert",
    "events",
    "delivery",
    "request",
    "metrics",
    "store",
    "http",
    "outbound",
    "plugins",
    "sandbox",
    "call",
    "template",
    "routing",
    "config",
    "traces",
    "log",
    "redaction",
    "plugin_user",
    "integration",
    "destination",
    "host",
    "hosts",
    "config_warnings",
    "notify",
    "reload",
    "ingest",
    "replay",
    "housekeeping",
    "watch",
    "api",
    "run",
    "certify",
    "cli",
];

fn host() -> Imports {
    Imports::read(Path::new("host/src"))
}

fn room(module: &ModulePath) -> Option<&str> {
    module.first().map(String::as_str)
}

#[test]
fn every_room_has_its_place_in_the_order() {
    let host = host();
    let rooms: BTreeSet<_> = host.0.keys().filter_map(room).collect();
    let listed: BTreeSet<_> = ROOMS.iter().copied().collect();
    assert_eq!(rooms, listed, "the list in this test and the files of host/src differ");
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    let height = |room: &str| ROOMS.iter().position(|listed| *listed == room);
    let mut wrong = BTreeSet::new();
    for (module, imports) in &host().0 {
        for import in imports {
            let (Some(from), Some(to)) = (room(module), room(import)) else { continue };
            if from != to && height(from) < height(to) {
                wrong.insert(format!("{} imports {}", module.join("::"), import.join("::")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports must run downwards; move what is needed to a lower room, or pass it in:\n{}",
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    if let Some(circle) = host().circle() {
        let way: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
        panic!("break this circle of imports: {}", way.join(" -> "));
    }
}

#[test]
fn the_picture_in_the_architecture_page_has_the_same_order() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page is there");
    let layers = page.split("## Layers").nth(1).expect("a chapter on layers");
    let picture = layers.split("```").nth(1).expect("a picture");
    let drawn: Vec<_> =
        picture.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let from_the_top: Vec<_> = ROOMS.iter().rev().copied().collect();
    assert_eq!(drawn, from_the_top, "the picture and the list in this test differ");
}

fn sources(texts: &[(&str, &str)]) -> BTreeMap<ModulePath, String> {
    let parts = |path: &str| -> ModulePath {
        path.split("::").filter(|part| !part.is_empty()).map(Into::into).collect()
    };
    texts.iter().map(|(path, text)| (parts(path), (*text).to_owned())).collect()
}

#[test]
fn finds_imports_in_groups_paths_and_relative_paths() {
    let imports = Imports::of(&sources(&[
        ("", ""),
        ("a", "use crate::{b::{self, B}, c}; #[cfg(test)] use crate::d;"),
        (
            "b",
            "fn f() -> crate::c::C { super::d::make() } #[cfg(test)] mod tests { use crate::a; }",
        ),
        ("b::inner", "use super::B; use std::fmt;"),
        ("c", ""),
        ("d", ""),
    ]));
    let of = |module: &str| -> Vec<_> {
        imports.0[&vec![module.to_owned()]].iter().map(|import| import.join("::")).collect()
    };
    assert_eq!(of("a"), ["b", "c"]);
    assert_eq!(of("b"), ["c", "d"]);
    assert_eq!(imports.circle(), None);
}

#[test]
fn finds_a_circle_but_not_between_a_module_and_its_parts() {
    let imports = Imports::of(&sources(&[
        ("", "pub use self::a::A;"),
        ("a", "use self::part::P; use crate::b::B;"),
        ("a::part", "use super::A;"),
        ("b", "use crate::c::C;"),
        ("c", "use crate::a::part::P;"),
    ]));
    assert_eq!(imports.circle(), None, "a part may need its whole");
    let imports = Imports::of(&sources(&[
        ("", ""),
        ("a", "use crate::b::B;"),
        ("b", "use crate::c::C;"),
        ("c", "use crate::a::A;"),
    ]));
    let circle = imports.circle().expect("a circle");
    assert_eq!(
        circle.iter().map(|module| module.join("::")).collect::<Vec<_>>(),
        ["a", "b", "c", "a"]
    );
}

//! Commands of the documentation. [`scene`] runs the blocks. For commands in the text and in blocks that
//! are not run, these tests check only that the commands and options exist.

use std::{collections::BTreeSet, fs, process::Command};

use regex::Regex;
use tocsin_tests::libraries;

use crate::{
    markdown::{Marker, Page, code_spans},
    scene,
};

/// Makes a test of each page, and the list of all pages.
macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        /// Pages whose commands are run, each by [`scene::run`].
        pub(crate) const PAGES: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $name() {
                scene::run($path);
            }
        )*
    };
}

pages! {
    the_commands_of_the_readme_run: "README.md",
    the_commands_on_access_run: "docs/operator/access.md",
    the_commands_of_the_api_page_run: "docs/api.md",
    the_commands_on_alerts_run: "docs/operator/alerts.md",
    the_commands_on_backups_run: "docs/operator/backup.md",
    the_commands_on_certifying_run: "docs/author/certify.md",
    the_commands_on_configuration_run: "docs/operator/configuration.md",
    the_commands_on_deliveries_run: "docs/operator/deliveries.md",
    the_commands_on_installing_run: "docs/operator/install.md",
    the_commands_on_integrations_run: "docs/operator/integrations.md",
    the_commands_on_monitoring_run: "docs/operator/monitoring.md",
    the_commands_on_plugins_run: "docs/operator/plugins.md",
    the_commands_on_production_run: "docs/operator/production.md",
    the_commands_on_publishing_run: "docs/author/publishing.md",
    the_commands_on_troubleshooting_run: "docs/operator/troubleshooting.md",
    the_commands_on_trust_run: "docs/operator/trust.md",
    the_commands_on_upgrades_run: "docs/operator/upgrade.md",
    the_commands_on_lost_alerts_run: "docs/operator/where-is-my-alert.md",
}

#[test]
fn every_page_with_commands_is_run() {
    let pages = Page::all();
    let run = pages.iter().filter(|page| page.blocks().iter().any(scene::is_run));
    let run: BTreeSet<_> = run.map(|page| &*page.path).collect();
    assert_eq!(run, BTreeSet::from_iter(PAGES.iter().copied()));
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    for block in Page::all().iter().flat_map(Page::blocks) {
        let place = format!("{}:{}", block.page, block.line);
        match &*block.language {
            "sh" | "console" | "toml" | "rust" | "text" | "ini" | "mermaid" => {}
            "json" => {
                let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
                assert!(parsed.is_ok(), "{place}: {parsed:?}");
            }
            other => panic!("{place}: nothing checks a block of `{other}`"),
        }
        if let Some(Marker::RunBy(file)) = &block.marker {
            let test = fs::read_to_string(libraries::workspace().join(file)).expect("a test");
            assert!(test.contains(&block.page), "{place}: `{file}` does not read the page");
        }
    }
}

/// Compares the pages with the includes of plugin-api, whose doctests run their Rust.
#[test]
fn every_page_with_rust_is_a_doctest() {
    let library = fs::read_to_string(libraries::workspace().join("plugin-api/src/lib.rs"));
    let library = library.expect("plugin-api has sources");
    for page in Page::all() {
        if page.blocks().iter().any(|block| block.language == "rust") {
            let path = format!("../../{}", page.path);
            assert!(library.contains(&path), "plugin-api/src/lib.rs does not include `{path}`");
        }
    }
}

/// Asks each command for its help, also the commands of [`Marker::NotRun`] blocks and of code spans.
#[test]
fn every_command_has_the_options_that_are_named() {
    let mut known = std::collections::BTreeMap::new();
    for page in Page::all() {
        for command in commands(&page, "tocsin") {
            let words: Vec<_> = command.split_whitespace().collect();
            let is_verb = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
            let verbs: Vec<_> = words.iter().skip(1).take(2).take_while(is_verb).copied().collect();
            let help = |verbs: &[&str]| {
                let output = Command::new(libraries::tocsin()).args(verbs).arg("--help").output();
                let output = output.expect("it runs");
                output
                    .status
                    .success()
                    .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
            };
            let help = known
                .entry(verbs.join(" "))
                .or_insert_with(|| help(&verbs).or_else(|| help(&verbs[..verbs.len().min(1)])));
            let Some(help) = help else { panic!("{}: no such command: `{command}`", page.path) };
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.trim_end_matches(|c: char| !c.is_ascii_lowercase());
                assert!(help.contains(option), "{}: no `{option}`: `{command}`", page.path);
            }
        }
    }
}

#[test]
fn every_target_of_make_that_is_named_exists() {
    let makefile = fs::read_to_string(libraries::workspace().join("Makefile")).expect("a Makefile");
    for page in Page::all() {
        for command in commands(&page, "make") {
            let target = command.split_whitespace().nth(1).unwrap_or("help");
            let is_there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(is_there, "{}: the Makefile has no `{target}`", page.path);
        }
    }
}

/// Returns the commands of a [`Page`] that run a program.
fn commands(page: &Page, program: &str) -> Vec<String> {
    let blocks = page.blocks();
    let scripts = blocks.iter().filter(|block| matches!(&*block.language, "sh" | "console"));
    let lines = scripts.flat_map(|block| {
        let is_console = block.language == "console";
        let text = block.text.replace("\\\n", " ");
        let lines = text.lines().filter(|line| !is_console || line.starts_with("$ "));
        lines.map(|line| line.trim_start_matches("$ ").to_owned()).collect::<Vec<_>>()
    });
    let spans = page.text.lines().flat_map(code_spans);
    // A command starts a line or follows an operator; a folder may precede the program's name.
    let call = format!(r"(?:^|[;|(]|&&) *(?:[\w./]*/)?({program} [^|;&#)]+)");
    let call = Regex::new(&call).expect("a pattern");
    let calls = |line: String| -> Vec<String> {
        call.captures_iter(&line).map(|found| found[1].trim().to_owned()).collect()
    };
    lines.chain(spans).flat_map(calls).collect()
}

//! Broken configurations and what `tocsin check` says about each: the file, the line, the key and a hint.
//!
//! The tables are those of the page `docs/operator/messages.md`. `make docs` writes them anew.

use std::{env, fmt::Write as _, fs};

use tocsin_tests::{
    Finished, Site,
    libraries::{library, workspace},
};

/// Environment variable that makes the test write the page instead of comparing it.
const UPDATE: &str = "TOCSIN_UPDATE_DOCS";

const BEGIN: &str = "<!-- begin of the tables that `make docs` writes -->\n";
const END: &str = "<!-- end of the tables -->\n";

/// Listeners for the configurations that are wrong only beside their plugins.
const LISTENERS: &str = "\n[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// Kinds of mistakes, each with configurations. A key and its value that a case needs, and that is not the
/// mistake, is in the configuration as well.
const CASES: &[(&str, &[&str])] = &[
    (
        "Misspelt names",
        &[
            "[server]\nlisen = \"127.0.0.1:8080\"",
            "[server]\nbody_limit = 1000000",
            "[integration.ops]\nplugin = \"well-behaved\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\nenabeld = true",
            "[integrations.ops]\nplugin = \"well-behaved\"\nurgency = \"hihg\"",
            "[integrations.ops]\nplugin = \"well-behavd\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\noptions.prefiks = \"db: \"",
            "[requests]\nkeep = \"faild\"",
            "[[admin.tokens]]\nname = \"alice\"\ntoken = \"s3cret-s3cret-s3cret\"\nscopes = [\"raed\"]",
            "[log]\nlevel = \"inof\"",
            "[destinations.ops-channel]\nplugin = \"slack-channel\"\n[[routes]]\nto = [\"ops-chanel\"]",
            "[destinations.ops-channel]\nplugin = \"slack-channel\"\nevents = [\"open\"]",
        ],
    ),
    (
        "No TOML",
        &[
            "[server]\nlisten = 127.0.0.1:8080",
            "[server\nlisten = \"127.0.0.1:8080\"",
            "[log]\nlevel = \"info",
            "[log]\nlevel: \"info\"",
            "[server]\nbody_timeout = 10s",
            "[server]\nlisten = \"127.0.0.1:8080\"\nlisten = \"127.0.0.1:9080\"",
            "[log]\nlevel = \"info\"\n[server]\n[log]\nformat = \"json\"",
        ],
    ),
    (
        "Values of another type",
        &[
            "[integrations.ops]\nplugin = \"well-behaved\"\nversion = 1",
            "[integrations.ops]\nplugin = \"well-behaved\"\nversion = \"latest\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\nenabled = \"yes\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\noptions.prefix = 17",
            "[integrations.ops]\nplugin = \"well-behaved\"\nrate_limit = \"fast\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\ntitle = \"{{ title }\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\nmaintenance = \"later\"",
            "[integrations.ops]\nurgency = \"high\"",
            "[server]\nlisten = 8080",
            "[server]\nlisten = \"localhost:8080\"",
            "[server]\nbody_limit_bytes = \"1 MB\"",
            "[server]\nbody_timeout = 10",
            "[plugins]\ncall_deadline = \"soon\"",
            "[retention]\nrecords = \"1 month\"",
        ],
    ),
    (
        "Values that cannot be used",
        &[
            "[admin]\nlisten = \"0.0.0.0:8081\"",
            "[admin]\ntokens = [\"secret\"]",
            "[[admin.tokens]]\nname = \"alice\"\ntoken = \"s3cret-s3cret-s3cret\"\nscopes = []",
            "[server]\nlisten = \"127.0.0.1:8080\"\n[admin]\nlisten = \"127.0.0.1:8080\"",
            "[server]\npublic_url = \"alerts.example.com\"",
            "[server]\nmax_connections = 0",
            "[watch]\nlook_every = \"10ms\"",
            "[store]\nurl = \"mysql://db/tocsin\"",
            "[store]\nurl = \"postgres://db/tocsin\"",
            "[store]\nurl = \"postgres://tocsin@db/tocsin?sslmode=prefer\"",
            "[store]\nconnections = 0",
            "[store]\nstatement_timeout = \"1ms\"",
            "[integrations.\"ops slack\"]\nplugin = \"well-behaved\"",
            "[integrations.ops]\nplugin = \"well-behaved\"\nversion = \"^7\"",
            "[destinations.ops-channel]\nplugin = \"slack-channel\"\nallow_http = true",
            "[destinations.ops-channel]\nplugin = \"slack-channel\"\n[[routes]]\nto = []",
            "[destinations.ops-channel]\nplugin = \"slack-channel\"\n[[routes]]\nto = [\"ops-channel\"]\ndetails.Host = { pattern = \"(\" }",
            "[destinations.ops-channel]\nplugin = \"slack-channel\"\n[[routes]]\nto = [\"ops-channel\"]\nhours = { zone = \"Europe/Berln\" }",
            "[plugins]\nverify = \"signature\"",
            "[plugins.checksums]\n\"well-behaved 1.0.0\" = \"abc\"",
        ],
    ),
    (
        "Files and variables",
        &[
            "[admin]\ntokens = [{ env = \"NO_SUCH_VARIABLE\" }]",
            "[admin]\ntokens = [{ file = \"no-such-file\" }]",
            "[admin]\ntokens = [{ file = \"plugins\" }]",
            "[admin]\ntokens = [{ file = \"photo.png\" }]",
            "[plugins]\ndir = \"no-such-folder\"",
            "[delivery]\nca_file = \"no-such-file\"",
            "state_dir = \"photo.png\"",
            "[integrations.ops]\nplugin = \"cut-short\"",
        ],
    ),
];

#[test]
fn every_broken_configuration_is_refused_with_file_line_key_and_hint_as_the_guide_says() {
    let count: usize = CASES.iter().map(|(_, configs)| configs.len()).sum();
    assert!(count >= 40, "{count} configurations");
    let site = Site::new().plugin(&library("well-behaved"));
    site.write("photo.png", b"\x89PNG\r\n\x1a\n");

    let mut tables = String::new();
    for (mistake, configs) in CASES {
        write!(tables, "\n## {mistake}\n\n").expect("a string");
        tables.push_str("| in `tocsin.toml` | message | hint |\n| --- | --- | --- |\n");
        for config in *configs {
            let Message { place, text, hint } = message(&site, config);
            let lines: Vec<_> = config.lines().map(cell).collect();
            writeln!(tables, "| {} | {} {text} | {hint} |", lines.join("<br>"), cell(&place))
                .expect("a string");
        }
    }
    tables.push('\n');

    let page = workspace().join("docs/operator/messages.md");
    let text = fs::read_to_string(&page).expect("the page");
    let (start, rest) = text.split_once(BEGIN).expect("where the tables begin");
    let (written, end) = rest.split_once(END).expect("where the tables end");
    if env::var_os(UPDATE).is_some() {
        fs::write(&page, [start, BEGIN, &tables, END, end].concat()).expect("it can be written");
    } else {
        assert_eq!(written, tables, "`{}`: run `make docs`", page.display());
    }
}

/// The first line of an error, taken apart, and its hint.
struct Message {
    place: String,
    text: String,
    hint: String,
}

/// Returns the only error of a configuration.
#[track_caller]
fn message(site: &Site, config: &str) -> Message {
    let is_about_plugins =
        ["well-behav", "cut-short", "no-such-folder"].iter().any(|name| config.contains(name));
    let listeners = if is_about_plugins { LISTENERS } else { "" };
    let cut_short = site.plugins().join("libcut_short.so");
    if config.contains("cut-short") {
        let whole = fs::read(library("well-behaved")).expect("a library");
        fs::write(&cut_short, &whole[..whole.len() / 2]).expect("it can be written");
    }
    site.write("tocsin.toml", format!("{config}\n{listeners}"));
    let Finished { code, stderr, .. } = site.run(&["check"]);
    // Most of these files are not there.
    let _ = fs::remove_file(cut_short);
    assert_eq!(code, Some(2), "{config}\n{stderr}");

    let mut lines = stderr.lines().skip_while(|line| !line.starts_with("error: tocsin.toml:"));
    let first = lines.next().unwrap_or_else(|| panic!("no file in\n{config}\n{stderr}"));
    let first = first.strip_prefix("error: ").expect("it is an error");
    let hint = lines.find_map(|line| line.strip_prefix("hint: "));
    let hint = hint.unwrap_or_else(|| panic!("no hint in\n{config}\n{stderr}"));
    let more = lines.find(|line| line.starts_with("tocsin.toml:"));
    assert_eq!(more, None, "one mistake is one error:\n{config}\n{stderr}");

    let (place, text) = first.split_once(": ").expect("a place");
    let line = place.split(':').nth(1).and_then(|line| line.parse().ok());
    let line: usize = line.unwrap_or_else(|| panic!("no line in `{first}`"));
    assert!((1..=config.lines().count()).contains(&line), "{config}\n{first}");
    // A text that is no TOML has no keys.
    let has_key = text.starts_with('`') && text.contains("`: ");
    assert!(has_key || config.parse::<toml::Table>().is_err(), "no key in `{first}`");
    Message { place: place.into(), text: in_table(text), hint: in_table(hint) }
}

fn cell(code: &str) -> String {
    format!("`{}`", in_table(code))
}

/// Escapes what would end a cell of a table.
fn in_table(text: &str) -> String {
    text.replace('|', "\\|")
}

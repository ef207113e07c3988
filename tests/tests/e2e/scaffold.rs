//! `tocsin plugins new` writes a crate that is a working plugin without a change. The tests run the
//! commands of the author's guide unchanged, except that they replace ports and folders.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use insta::assert_snapshot;
use regex::Regex;
use tempfile::TempDir;
use tocsin::plugins::reference;
use tocsin_plugin_api::testing::Library;
use tocsin_tests::{Finished, Site, TestHost, libraries};

#[test]
fn the_commands_of_the_guide_lead_from_nothing_to_an_alert() {
    let host = Site::new().serve();
    let said = run(&host, &commands(&host));
    let said = said[said.find("\n{}\n").expect("the answer to the post")..].trim_start();
    assert_snapshot!(without_times(said), @"
    {}
    NUMBER  STATUS  URGENCY  INTEGRATION  TITLE      CHANNEL  USER  TRIGGER  SEEN  CREATED               LINK
    1       open    high     demo         disk full                          1     [TIME]
    ");
    assert_eq!(host.alerts()[0]["plugin"]["name"], "demo");

    let crate_folder = host.site().path("demo");
    as_good_as_ours(&host, "demo");
    lists_its_options(&crate_folder, "release/libdemo.so");
    run(
        &host,
        "cd demo\ncargo clean --quiet --package demo\ncargo clean --quiet --package demo --release",
    );
}

/// Returns the commands of the guide, with its ports and folders replaced by those of the test. The host
/// notices the new plugin and the new section by itself.
fn commands(host: &TestHost) -> String {
    let page = libraries::workspace().join("docs/author/first-plugin.md");
    let page = fs::read_to_string(page).expect("a page");
    let (_, chapter) = page.split_once("## From nothing to an alert\n").expect("its chapter");
    let (_, block) = chapter.split_once("```sh\n").expect("its commands");
    let (block, _) = block.split_once("```\n").expect("their end");

    let mut block = block.to_owned();
    let workspace = libraries::workspace().display().to_string();
    let target = libraries::other_times().display().to_string();
    let binaries = libraries::tocsin().parent().expect("a folder").display().to_string();
    for (there, here) in [
        ("cd run ", ": "),
        ("$PWD/../target/release:", &format!("{binaries}:")),
        // The new crate gets the versions that this workspace has, so that cargo looks up none.
        ("cd demo\n", &format!("cd demo\ncp {workspace}/Cargo.lock .\n")),
        ("cp target/release/", &format!("cp {target}/release/")),
        // A busy machine may need much of this time.
        ("--retry 9 ", "--retry 59 "),
        ("127.0.0.1:8080", &host.webhooks().to_string()),
    ] {
        assert_eq!(block.matches(there).count(), 1, "`{there}` stands once in:\n{block}");
        block = block.replace(there, here);
    }
    block
}

/// Runs commands in the host's folder and gives what they printed.
#[track_caller]
fn run(host: &TestHost, commands: &str) -> String {
    let output = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail\n{commands}")])
        .current_dir(host.site().path("."))
        .env_remove("TOCSIN_CONFIG")
        .env_remove("TOCSIN_ADMIN_TOKEN")
        .env("TOCSIN_ADMIN_URL", format!("http://{}", host.admin()))
        .env("CARGO_TARGET_DIR", libraries::other_times())
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TERM_COLOR", "never")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{commands}\nsaid:\n{said}\n{complained}");
    said.into_owned()
}

#[test]
fn a_new_notifier_passes_its_own_tests() {
    let host = Site::new().serve();
    let written = host.site().run(&["plugins", "new", "bell", "--notifier"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let workspace = libraries::workspace().display().to_string();
    run(
        &host,
        &format!("cd bell\ncp {workspace}/Cargo.lock .\ncargo test --quiet\ncargo build --quiet"),
    );
    as_good_as_ours(&host, "bell");
    lists_its_options(&host.site().path("bell"), "debug/libbell.so");
    run(&host, "cd bell\ncargo clean --quiet --package bell");
}

fn as_good_as_ours(host: &TestHost, name: &str) {
    run(host, &format!("cd {name}\ncargo fmt --check"));
    run(host, &format!("cd {name}\ncargo clippy --quiet --all-targets -- -D warnings"));
}

fn lists_its_options(crate_folder: &Path, library: &str) {
    let library = Library::open(&libraries::other_times().join(library));
    let readme = fs::read_to_string(crate_folder.join("README.md")).expect("a README");
    let options = reference::markdown(&library.options_schema());
    assert!(readme.ends_with(&options), "{readme}\ndoes not end with\n{options}");
}

fn without_times(text: &str) -> String {
    let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").expect("a pattern");
    time.replace_all(text, "[TIME]").into()
}

/// A folder outside any site.
fn new(folder: &TempDir, args: &[&str]) -> Finished {
    let site = Site::new();
    let path = folder.path().join("crate");
    let args = [&["plugins", "new", "--path", path.to_str().expect("UTF-8")], args].concat();
    let Finished { code, stdout, stderr } = site.run(&args);
    let workspace = libraries::workspace().display().to_string();
    let plain = |text: String| {
        let text = text.replace(&*folder.path().to_string_lossy(), "[FOLDER]");
        text.replace(&workspace, "[WORKSPACE]")
    };
    Finished { code, stdout: plain(stdout), stderr: plain(stderr) }
}

#[test]
fn what_is_written_and_what_comes_next_is_said() {
    let folder = TempDir::new().expect("a folder");
    let Finished { code, stdout, stderr } = new(&folder, &["disk-watch"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_snapshot!(stdout, @"
    wrote [FOLDER]/crate/Cargo.toml
    wrote [FOLDER]/crate/.gitignore
    wrote [FOLDER]/crate/README.md
    wrote [FOLDER]/crate/src/lib.rs
    wrote [FOLDER]/crate/fixtures/messages.jsonl
    wrote [FOLDER]/crate/tests/fixtures.rs
    wrote [FOLDER]/crate/tests/secrets.rs
    the crate uses tocsin-plugin-api from `[WORKSPACE]/plugin-api`

    next:
      cd [FOLDER]/crate
      cargo test
      cargo build --release
    then drop target/release/libdisk_watch.so into the plugins folder of a host; README.md says how
    ");
    let right = libraries::workspace().join("plugin-api");
    assert_eq!(plugin_api(&folder.path().join("crate")), format!("path = \"{}\"", right.display()));
}

/// Returns the dependency on tocsin-plugin-api in the manifest of a crate.
fn plugin_api(crate_folder: &Path) -> String {
    let manifest = fs::read_to_string(crate_folder.join("Cargo.toml")).expect("a manifest");
    let entry = manifest.lines().find_map(|line| line.strip_prefix("tocsin-plugin-api = { "));
    let entry = entry.and_then(|entry| entry.strip_suffix(" }")).expect("the dependency");
    entry.to_owned()
}

#[test]
fn a_version_of_plugin_api_is_written_if_it_is_asked_for() {
    let folder = TempDir::new().expect("a folder");
    assert_eq!(new(&folder, &["demo", "--plugin-api", "1.1"]).code, Some(0));
    assert_eq!(plugin_api(&folder.path().join("crate")), "version = \"1.1\"");
}

#[test]
fn an_installed_program_uses_the_sources_that_were_installed_with_it() {
    let root = TempDir::new().expect("a folder");
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("bin")).expect("a folder");
    fs::copy(libraries::tocsin(), path("bin/tocsin")).expect("a copy");
    let new = |name: &str| {
        let mut command = Command::new(path("bin/tocsin"));
        command.args(["plugins", "new", name]).current_dir(root.path());
        command.output().expect("it runs")
    };
    let refused = new("alone");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).replace(&*path("").to_string_lossy(), "/");
    assert_snapshot!(said, @"
    error: no sources of tocsin-plugin-api are installed with `/bin/tocsin`
    hint: name their folder with `--plugin-api PATH`
    ");
    assert!(!path("alone").exists(), "nothing was begun");

    let sources = path("share/tocsin/src/plugin-api");
    fs::create_dir_all(&sources).expect("a folder");
    let workspace = libraries::workspace();
    fs::copy(workspace.join("plugin-api/Cargo.toml"), sources.join("Cargo.toml")).expect("a copy");
    let written = new("demo");
    assert!(written.status.success(), "{written:?}");
    assert_eq!(plugin_api(&path("demo")), format!("path = \"{}\"", sources.display()));
}

#[test]
fn a_path_to_plugin_api_is_written_whole() {
    let folder = TempDir::new().expect("a folder");
    let plugin_api = libraries::workspace().join("tests/../plugin-api");
    let written = new(&folder, &["demo", "--plugin-api", plugin_api.to_str().expect("UTF-8")]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let manifest = fs::read_to_string(folder.path().join("crate/Cargo.toml")).expect("a manifest");
    let right = libraries::workspace().join("plugin-api");
    assert!(manifest.contains(&format!("{{ path = \"{}\" }}", right.display())), "{manifest}");
}

#[test]
fn a_name_that_cannot_be_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let refused = |name: &str| {
        let Finished { code, stderr, .. } = new(&folder, &[name]);
        assert_eq!(code, Some(2), "{stderr}");
        stderr.lines().next().expect("a line").to_owned()
    };
    assert_snapshot!(refused("Disk Watch"), @"error: invalid value 'Disk Watch' for '<NAME>': use 1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter");
    assert_snapshot!(refused("match"), @"error: invalid value 'match' for '<NAME>': `match` is a keyword of Rust, which cannot name a crate");
    assert_snapshot!(refused("serde-json"), @"error: invalid value 'serde-json' for '<NAME>': the plugin depends on another crate named `serde_json`");
    assert!(!folder.path().join("crate").exists(), "nothing was begun");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let theirs = folder.path().join("crate/theirs.txt");
    fs::create_dir(folder.path().join("crate")).expect("a folder");
    assert_eq!(new(&folder, &["demo"]).code, Some(0), "an empty one will do");
    fs::remove_dir_all(folder.path().join("crate")).expect("it is there");

    fs::create_dir(folder.path().join("crate")).expect("a folder");
    fs::write(&theirs, "theirs").expect("it can be written");
    let Finished { code, stderr, .. } = new(&folder, &["demo"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert_snapshot!(stderr, @"
    error: `[FOLDER]/crate` exists and is not an empty folder
    hint: choose another folder with `--path DIR`, or remove what is there
    ");
    assert_eq!(fs::read_dir(folder.path().join("crate")).expect("a folder").count(), 1);
}

#[test]
fn a_plugin_api_that_is_none_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let refused = |plugin_api: &str| {
        let Finished { code, stderr, .. } = new(&folder, &["demo", "--plugin-api", plugin_api]);
        assert_eq!(code, Some(2), "{stderr}");
        stderr
    };
    assert_snapshot!(refused("1.O"), @"
    error: `--plugin-api 1.O` is no version and no folder: No such file or directory (os error 2)
    hint: name a version such as `1.0`, or the folder `plugin-api` of Tocsin's sources
    ");
    assert_snapshot!(refused("/"), @"
    error: `--plugin-api /` is not the folder of tocsin-plugin-api
    hint: name a version such as `1.0`, or the folder `plugin-api` of Tocsin's sources
    ");
    assert!(!folder.path().join("crate").exists(), "nothing was begun");
}

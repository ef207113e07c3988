//! Scene in which one shell runs the commands of a page in their order, beside a host.
//!
//! A scene has the same files as after `make run`: a top folder with `target/release/` and `run/`, in
//! `run/` a configuration, a token and the Slack plugin, and a host that serves. Each scene has addresses
//! of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use regex::Regex;
use tempfile::TempDir;
use tocsin_tests::libraries;

use crate::markdown::{Block, Marker, Page};

/// Shell functions that start and stop the host of the scene. `systemctl` replaces the system's.
const PRELUDE: &str = r#"set -euo pipefail
start() {
  (cd "$SCENE/run" && exec env -u TOCSIN_CONFIG tocsin serve --config tocsin.toml) \
    < /dev/null > /dev/null 2>> "$SCENE/host.log" &
  host=$!
  curl -s -o /dev/null --retry 300 --retry-delay 0 --retry-max-time 60 --retry-connrefused "http://$ADDRESS:8081/health/live"
}
stop() { kill "$host" 2> /dev/null && wait "$host" || true; }
systemctl() {
  case $1 in stop) stop ;; start) start ;; restart) stop; start ;; *) false ;; esac
}
trap stop EXIT
start
"#;

/// Folders and address for the commands of one page.
struct Scene {
    folder: TempDir,
    address: String,
}

impl Scene {
    fn new(page: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let number = crate::commands::PAGES.iter().position(|known| *known == page);
        let number = number.expect("a page that is listed") + 1;
        let process = process::id();
        // The whole of 127.0.0.0/8 is this machine, and other tests listen on 127.0.0.1 only.
        let address = format!("127.{}.{}.{number}", 100 + process / 250 % 100, 1 + process % 250);
        let scene = Self { folder, address };
        scene.lay_out();
        scene
    }

    fn lay_out(&self) {
        let top = libraries::workspace();
        for folder in ["target/release", "run/plugins", "run/fixtures"] {
            fs::create_dir_all(self.path(folder)).expect("a folder");
        }
        let files = ["prometheus/tocsin.rules.yml", "prometheus/tocsin.rules.test.yml"];
        for file in files.into_iter().chain(["systemd/tocsin.service"]) {
            let copy = self.path("deploy").join(file);
            fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
            fs::copy(top.join("deploy").join(file), copy).expect("copied");
        }
        for (package, folders) in [
            ("slack-outgoing-webhook", &["target/release", "run", "run/plugins"][..]),
            ("alertmanager", &["target/release", "run"]),
            ("slack-channel", &["target/release", "run"]),
        ] {
            let library = libraries::library(package);
            for folder in folders {
                copy(&library, &self.path(folder));
            }
        }
        let fixtures = "slack-outgoing-webhook.jsonl";
        copy(
            &top.join("plugins/slack-outgoing-webhook/fixtures").join(fixtures),
            &self.path("run/fixtures"),
        );
        std::os::unix::fs::symlink(libraries::tocsin(), self.path("target/release/tocsin"))
            .expect("a link");

        let config = fs::read_to_string(top.join("tocsin.example.toml")).expect("an example");
        // A busy machine may need more than a second for a call.
        let config = config.replace("call_deadline = \"1s\"", "call_deadline = \"30s\"");
        fs::write(self.path("run/tocsin.toml"), self.here(&config)).expect("written");
        for (name, token) in
            [("slack.token", "dG9jc2luLXRvY3Npbi10b2Nz\n"), ("slack-bot.token", "xoxb-s3cret\n")]
        {
            let path = self.path("run").join(name);
            fs::write(&path, token).expect("written");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the addresses in a text by those of this scene.
    fn here(&self, text: &str) -> String {
        text.replace("127.0.0.1", &self.address)
    }

    fn run(&self, script: &str, folder: &str) -> process::Output {
        let release = self.path("target/release");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.path(folder)).stdin(Stdio::null());
        for name in ["TOCSIN_CONFIG", "TOCSIN_ADMIN_URL", "TOCSIN_ADMIN_TOKEN", "TOCSIN_LOG"] {
            command.env_remove(name);
        }
        command.env("SCENE", self.folder.path()).env("ADDRESS", &self.address);
        command.env("PATH", format!("{}:{path}", release.display())).env("USER", "steve");
        command.output().expect("bash runs")
    }
}

/// Runs the blocks of a page in their order, and compares the output that `console` blocks show.
///
/// Only blocks for which [`is_run`] holds are run.
#[track_caller]
pub(crate) fn run(page: &str) {
    let blocks: Vec<_> = Page::read(page).blocks().into_iter().filter(is_run).collect();
    let blocks: Vec<_> = blocks.into_iter().filter(has_what_it_needs).collect();
    let scene = Scene::new(page);
    let mut script = PRELUDE.to_owned();
    let mut expected = Vec::new();
    for block in &blocks {
        script.push_str(&format!("echo '@@ {page}:{}'\n", block.line));
        let text = scene.here(&block.text);
        if block.language == "sh" {
            script.push_str(&text);
            continue;
        }
        for (command, output) in shown(&text) {
            script.push_str(&format!("echo '@@ shown'\n{command}\n"));
            expected.push((format!("{page}:{}: {command}", block.line), output));
        }
    }
    script.push_str("echo '@@ end'\n");
    let folder = if page.starts_with("docs/") { "run" } else { "." };
    let output = scene.run(&script, folder);
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(scene.path("host.log")).unwrap_or_default();
    assert!(output.status.success(), "said:\n{said}\n{complained}\nthe host said:\n{log}");

    let printed = said.split("@@ shown\n").skip(1);
    let printed = printed.map(|text| text.split("@@ ").next().unwrap_or_default());
    for ((place, expected), printed) in expected.iter().zip(printed) {
        let (expected, printed) = (plain(expected), plain(printed));
        assert_eq!(expected, printed, "{place} prints something else; the page first");
    }
}

/// Returns true if a [`Block`] is run in a scene.
pub(crate) fn is_run(block: &Block) -> bool {
    let is_script = matches!(&*block.language, "sh" | "console");
    is_script && matches!(block.marker, None | Some(Marker::Needs(_)))
}

fn has_what_it_needs(block: &Block) -> bool {
    let Some(Marker::Needs(program)) = &block.marker else { return true };
    let found = Command::new("bash").args(["-c", &format!("command -v {program}")]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("SKIPPED: {}:{} needs `{program}`", block.page, block.line);
    }
    is_there
}

/// Returns the commands of a `console` block, each with its output.
fn shown(text: &str) -> Vec<(String, String)> {
    let mut shown: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), shown.last_mut()) {
            (Some(command), _) => shown.push((command.into(), String::new())),
            (None, Some((_, output))) => output.push_str(&format!("{line}\n")),
            (None, None) => panic!("a block of `console` begins with `$ `, not with `{line}`"),
        }
    }
    shown
}

/// Replaces the parts of an output that differ from run to run: times, ids, addresses, widths of columns.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, by) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "[ID]"),
        (r"\b127\.\d+\.\d+\.\d+", "127.0.0.1"),
        (r"[ \t]+", " "),
        (r" +\n", "\n"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, by).into_owned();
    }
    text.trim().to_owned()
}

fn copy(file: &Path, folder: &Path) {
    fs::copy(file, folder.join(file.file_name().expect("a name"))).expect("copied");
}

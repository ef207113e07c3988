//! Options of the command line: their places, connections over TLS, filters, completions and manual pages.

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::Ordering,
};

use insta::assert_snapshot;
use serde_json::Value;
use tocsin_tests::{Finished, Site, TestHost, libraries::library};

use crate::authority::Authority;

fn host() -> TestHost {
    let host = Site::new()
        .plugin(&library("well-behaved"))
        .config(
            "[integrations.ops]\nplugin = 'well-behaved'\n\
             [integrations.dev]\nplugin = 'well-behaved'\n",
        )
        .serve();
    for (integration, text) in [
        ("ops", "disk full on db1"),
        ("ops", "DISK full on db2"),
        ("ops", "network down"),
        ("dev", "build is red"),
    ] {
        assert_eq!(host.post(integration, text).status, 200);
    }
    host
}

#[track_caller]
fn good(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    &finished.stdout
}

fn numbers(finished: &Finished) -> Vec<u64> {
    let list: Value = serde_json::from_str(good(finished)).expect("JSON");
    let alerts = list["alerts"].as_array().expect("a list").iter();
    alerts.map(|alert| alert["number"].as_u64().expect("a number")).collect()
}

#[test]
fn an_option_of_the_connection_stands_before_or_after_the_command_and_the_verb() {
    let host = host();
    let url = host.admin().to_string();
    let site = Site::new();
    for args in [
        ["--url", &url, "--json", "alerts", "list"],
        ["alerts", "--url", &url, "--json", "list"],
        ["alerts", "list", "--json", "--url", &url],
        ["--json", "alerts", "--url", &url, "list"],
    ] {
        assert_eq!(numbers(&site.run(&args)), [4, 3, 2, 1], "{args:?}");
    }
    fs::rename(site.path("tocsin.toml"), site.path("other.toml")).expect("a rename");
    for args in [["--config", "other.toml", "check"], ["check", "--config", "other.toml"]] {
        assert!(good(&site.run(&args)).ends_with("`other.toml` is good\n"), "{args:?}");
    }
}

#[test]
fn an_option_that_a_command_does_not_have_is_refused_wherever_it_stands() {
    let site = Site::new();
    assert_eq!(site.run(&["--url", "h:1", "plugins", "new", "demo"]).code, Some(2));
    for args in [["--json", "completions", "bash"], ["completions", "bash", "--json"]] {
        let Finished { code, stderr, .. } = site.run(&args);
        assert_eq!(code, Some(2), "{stderr}");
        insta::allow_duplicates!(assert_snapshot!(stderr, @"
        error: `tocsin completions` has no option `--json`
        hint: `tocsin completions --help` lists the options
        "));
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_the_name_of_its_option() {
    let site = Site::new();
    for (args, option) in [
        (&["alerts", "--limit", "many"][..], "--limit <N>"),
        (&["alerts", "--status", "closed"], "--status <STATUS>"),
        (&["alerts", "--urgency", "urgent"], "--urgency <URGENCY>"),
        (&["alerts", "--since", "monday"], "--since <TIME>"),
        (&["requests", "--outcome", "good"], "--outcome <OUTCOME>"),
        (&["requests", "--until", "later"], "--until <TIME>"),
        (&["deliveries", "--limit", "0"], "--limit <N>"),
        (&["silences", "add", "--for", "long", "--reason", "x"], "--for <TIME>"),
        (&["alerts", "--url", "ftp://x"], "--url <URL>"),
        (&["--url", "a b", "alerts"], "--url <URL>"),
        (&["completions", "cmd"], "<SHELL>"),
    ] {
        let Finished { code, stdout, stderr } = site.run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        let first = stderr.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && first.contains(option), "{args:?}: {stderr}");
    }
    let unknown = site.run(&["completions", "cmd"]);
    assert!(unknown.stderr.contains("bash, elvish, fish, powershell, zsh"), "{unknown:?}");
}

#[test]
fn lists_and_changes_the_alerts_that_match_a_filter() {
    let host = host();
    let list = |filter: &[&str]| numbers(&host.run(&[&["alerts", "--json"], filter].concat()));
    assert_eq!(list(&["--search", "disk"]), [2, 1]);
    assert_eq!(list(&["--search", "%"]), [0; 0]);
    assert_eq!(list(&["--since", "1h", "--integration", "dev"]), [4]);
    assert_eq!(list(&["--since", "2999-01-01T00:00:00Z"]), [0; 0]);

    let unasked = host.run(&["alerts", "ack", "--search", "disk"]);
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert_snapshot!(unasked.stderr, @"
    error: 2 alerts would be changed, and nobody can be asked
    hint: add `--yes`
    ");
    assert_eq!(list(&["--status", "open"]), [4, 3, 2, 1], "nothing was changed");

    let acknowledged = host.run(&["alerts", "ack", "--search", "disk", "--yes"]);
    assert_snapshot!(good(&acknowledged), @"
    1 acknowledged disk full on db1
    2 acknowledged DISK full on db2
    ");
    assert_eq!(acknowledged.stderr, "acknowledged 2 of 2 alerts\n");
    let again = host.run(&["alerts", "ack", "--search", "disk", "--yes", "--json"]);
    assert_eq!(good(&again), "", "no JSON is made of a sentence");
    assert_eq!(again.stderr, "no alert to acknowledge matches\n");
    let resolved = host.run(&["alerts", "resolve", "--integration", "ops", "--yes"]);
    assert_eq!(resolved.stderr, "resolved 3 of 3 alerts\n", "{resolved:?}");
    assert_eq!(list(&["--status", "open"]), [4]);
    assert_eq!(
        host.run(&["alerts", "resolve", "--all", "--yes"]).stderr,
        "resolved 1 of 1 alert\n"
    );
    for unclear in [&["alerts", "ack"][..], &["alerts", "ack", "1", "--all"]] {
        assert_eq!(host.run(unclear).code, Some(2), "{unclear:?}");
    }
}

#[test]
fn times_are_local_unless_utc_is_asked_for() {
    let host = host();
    let shown = |args: &[&str]| {
        let mut command = host.site().command(args);
        let url = format!("http://{}", host.admin());
        let output = command.env("TOCSIN_ADMIN_URL", url).env("TZ", "Asia/Kathmandu").output();
        String::from_utf8(output.expect("it runs").stdout).expect("UTF-8")
    };
    assert_eq!(shown(&["alerts"]).matches("+05:45").count(), 4);
    let utc = shown(&["--utc", "alerts"]);
    assert!(!utc.contains("+05:45") && utc.matches("Z").count() >= 4, "{utc}");
    assert!(shown(&["alerts", "show", "1"]).contains("+05:45  created"));
}

#[test]
fn asks_a_host_behind_tls_whose_authority_is_named() {
    let (authority, stranger) = (Authority::new("Authority"), Authority::new("Stranger"));
    let body = "{\"alerts\":[],\"next_cursor\":null}";
    let server = authority.server_of("127.0.0.1", 2999, body);
    let url = format!("https://{}", server.address);
    let site = Site::new();
    site.write("ca.pem", &authority.pem);
    site.write("stranger.pem", &stranger.pem);
    site.write("empty.pem", "");
    assert_eq!(good(&site.run(&["alerts", "--url", &url, "--ca", "ca.pem"])), "no alerts\n");
    assert_eq!(server.requests.load(Ordering::Relaxed), 1);

    let expired = authority.server_of("127.0.0.1", 2001, body);
    let misnamed = authority.server_of("other.example", 2999, body);
    let [expired, misnamed] =
        [&expired, &misnamed].map(|server| format!("https://{}", server.address));
    for (url, ca, code, part) in [
        (&url, "stranger.pem", 1, "UnknownIssuer"),
        (&expired, "ca.pem", 1, "xpired"),
        (&misnamed, "ca.pem", 1, "not valid for name"),
        (&url, "empty.pem", 2, "it holds no certificate"),
        (&url, "missing.pem", 2, "No such file or directory"),
        (&url.replace("https", "http"), "ca.pem", 2, "`--ca` needs a URL of https"),
    ] {
        let refused = site.run(&["alerts", "--url", url, "--ca", ca]);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        assert!(!refused.stderr.contains("no alerts"), "{refused:?}");
    }
    assert_eq!(server.requests.load(Ordering::Relaxed), 1, "nothing was sent to others");
}

#[test]
fn completions_are_scripts_without_findings() {
    let site = Site::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = good(&site.run(&["completions", shell])).to_owned();
        assert!(script.contains("acknowledge") || script.contains("alerts"), "{script}");
        assert!(!script.contains("sandbox"), "{shell}: hidden commands are not completed");
        site.write(shell, script);
    }
    passes(Command::new("bash").arg("-n").arg(site.path("bash")));
    if let Some(mut shellcheck) = installed("shellcheck") {
        // Findings about the form that the generator chooses, not about faults.
        shellcheck.args(["--shell=bash", "--severity=warning", "--exclude=SC2207"]);
        passes(shellcheck.arg(site.path("bash")));
    }
}

#[test]
fn manual_pages_are_written_for_every_command_without_warnings() {
    let site = Site::new();
    good(&site.run(&["man", "--to", "man"]));
    let pages: Vec<_> = fs::read_dir(site.path("man"))
        .expect("the pages")
        .map(|entry| entry.expect("a page").path())
        .collect();
    for name in ["tocsin.1", "tocsin-serve.1", "tocsin-alerts-ack.1"] {
        assert!(pages.iter().any(|page| page.ends_with(name)), "{name}: {pages:?}");
    }
    let ack = fs::read_to_string(site.path("man/tocsin-alerts-ack.1")).expect("a page");
    assert!(ack.contains("search"), "{ack}");
    if installed("man").is_some() {
        for page in pages {
            let mut man = Command::new("man");
            passes(man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page));
        }
    }
    let refused = site.run(&["man", "--to", "tocsin.toml/x"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

/// Returns the command of a program, or `None` if this machine does not have it.
fn installed(program: &str) -> Option<Command> {
    let output = Command::new(program).arg("--version").output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(program));
    }
    eprintln!("SKIPPED: `{program}` is not installed");
    None
}

/// Checks that a command succeeds and finds nothing.
#[track_caller]
fn passes(command: &mut Command) {
    let output = command.stdin(Stdio::null()).env("MANWIDTH", "80").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {output:?}");
}

//! The command line, with and without a running host.

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;
use tocsin_tests::{Finished, Site, TestHost, libraries::library};

const TOKEN: &str = "the-admin-token-of-steve";

/// Serves a host with tokens, two integrations, and three alerts: resolved, acknowledged and open.
fn host() -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    let host = site
        .config(
            "[server]\npublic_url = 'https://alerts.example.com/'\n\
             [admin]\ntokens = [{ env = 'TOCSIN_ADMIN_TOKEN' }]\n\
             [integrations.ops]\nplugin = 'well-behaved'\nversion = '^1'\n\
             [integrations.dev]\nplugin = 'well-behaved'\nurgency = 'low'\n\
             [integrations.old]\nplugin = 'well-behaved'\nenabled = false\n",
        )
        .env("TOCSIN_ADMIN_TOKEN", TOKEN)
        .serve();
    assert_eq!(host.post("ops", "disk full").status, 200);
    assert_eq!(host.post_with("ops", &[("x-urgency", "critical")], "db is down").status, 200);
    assert_eq!(host.post_with("dev", &[("x-dedup-key", "build")], "build is red").status, 200);
    assert_eq!(good(&host.run(&["alerts", "resolve", "1"])), "1 resolved disk full\n");
    assert_eq!(good(&host.run(&["alerts", "ack", "#2"])), "2 acknowledged db is down\n");
    host
}

#[track_caller]
fn good(finished: &Finished) -> &str {
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    &finished.stdout
}

fn without_times(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, replacement) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"[0-7][0-9A-HJKMNP-TV-Z]{25}", "[ID]"),
        (r"http://127\.0\.0\.1:\d+", "http://[ADMIN]"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into();
    }
    text
}

#[test]
fn lists_alerts_as_a_table() {
    let host = host();
    let list = good(&host.run(&["alerts", "list"])).to_owned();
    assert_snapshot!(without_times(&list), @"
    NUMBER  STATUS        URGENCY   INTEGRATION  TITLE         CHANNEL  USER  TRIGGER  SEEN  CREATED               LINK
    3       open          low       dev          build is red                          1     [TIME]
    2       acknowledged  critical  ops          db is down                            1     [TIME]
    1       resolved      medium    ops          disk full                             1     [TIME]
    ");
    assert_eq!(good(&host.run(&["alerts"])), list, "what `alerts` does alone");
}

#[test]
fn lists_alerts_as_the_json_of_the_api() {
    let host = host();
    let list: Value = serde_json::from_str(good(&host.run(&["alerts", "--json"]))).expect("JSON");
    let numbers: Vec<_> =
        list["alerts"].as_array().expect("a list").iter().map(|alert| &alert["number"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(list["next_cursor"], Value::Null);
}

#[test]
fn filters_lists() {
    let host = host();
    let numbers = |filter: &[&str]| {
        let args = [&["alerts", "list", "--json"], filter].concat();
        let list: Value = serde_json::from_str(good(&host.run(&args))).expect("JSON");
        let alerts = list["alerts"].as_array().expect("a list").clone();
        alerts.iter().map(|alert| alert["number"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&["--status", "open"]), [3]);
    assert_eq!(numbers(&["--status", "acknowledged"]), [2]);
    assert_eq!(numbers(&["--urgency", "critical"]), [2]);
    assert_eq!(numbers(&["--integration", "ops"]), [2, 1]);
    assert_eq!(numbers(&["--integration", "ops", "--status", "resolved"]), [1]);
    assert_eq!(numbers(&["--limit", "2"]), [3, 2]);
    let none = host.run(&["alerts", "--status", "open", "--urgency", "high"]);
    assert_eq!(good(&none), "no alerts\n");
    for mistake in [["--status", "closed"], ["--urgency", "urgent"], ["--limit", "0"]] {
        let args = [&["alerts"][..], &mistake].concat();
        assert_eq!(host.run(&args).code, Some(2), "{mistake:?}");
    }
}

#[test]
fn follows_the_cursor_of_a_long_list() {
    let host = host();
    for count in 0..600 {
        assert_eq!(host.post("ops", &format!("message {count}")).status, 200);
    }
    let list = host.run(&["alerts", "--limit", "550", "--json"]);
    let list: Value = serde_json::from_str(good(&list)).expect("JSON");
    assert_eq!(list["alerts"].as_array().map(Vec::len), Some(550));
    let short = host.run(&["alerts"]);
    assert_eq!(short.stderr, "there are more alerts; raise --limit to see them\n");
    assert_eq!(short.stdout.lines().count(), 51);
}

#[test]
fn shows_an_alert_with_its_history() {
    let host = host();
    assert_snapshot!(without_times(good(&host.run(&["alerts", "show", "2"]))), @"
    #2 db is down
      Id           [ID]
      Status       acknowledged
      Urgency      critical
      Integration  ops
      Plugin       well-behaved 1.0.0
      Occurrences  1
      Request      [ID]

      [TIME]  created      by integration ops
      [TIME]  acknowledged by command line, steve, api token #1
    ");
    let alert: Value =
        serde_json::from_str(good(&host.run(&["alerts", "show", "2", "--json"]))).expect("JSON");
    let id = alert["id"].as_str().expect("an id");
    let by_id = host.run(&["alerts", "show", id, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(good(&by_id)).expect("JSON"), alert);
    let missing = host.run(&["alerts", "show", "99"]);
    assert_eq!(
        (missing.code, missing.stderr.as_str()),
        (Some(1), "error: there is no alert `99`\n")
    );
}

#[test]
fn acknowledges_and_resolves_several_alerts_at_once() {
    let host = host();
    let both = host.run(&["alerts", "resolve", "2", "3"]);
    assert_eq!(good(&both), "2 resolved db is down\n3 resolved build is red\n");
    let late = host.run(&["alerts", "ack", "3"]);
    assert_eq!(late.code, Some(1));
    assert_snapshot!(late.stderr, @"error: the alert is resolved; a new report opens a new alert");
}

#[test]
fn lists_integrations_with_their_endpoints() {
    let host = host();
    assert_snapshot!(good(&host.run(&["integrations"])), @"
    INTEGRATION  STATE     PLUGIN              URGENCY  ENDPOINT
    dev          serving   well-behaved 1.0.0  low      https://alerts.example.com/in/dev
    old          disabled  -                   medium   https://alerts.example.com/in/old
    ops          serving   well-behaved 1.0.0  medium   https://alerts.example.com/in/ops
    ");
    let list = host.run(&["integrations", "--json"]);
    let list: Value = serde_json::from_str(good(&list)).expect("JSON");
    assert_eq!(list["integrations"][2]["endpoint"], "https://alerts.example.com/in/ops");
}

#[test]
fn lists_plugins_with_the_integrations_they_serve() {
    let host = host();
    assert_snapshot!(without_times(good(&host.run(&["plugins"]))), @"
    PLUGIN        VERSION  STATE   VERIFIED  INTEGRATIONS  FILE
    well-behaved  1.0.0    loaded  -         dev, ops      libwell_behaved.so

    INTEGRATION  STATE     SERVED BY           GENERATION  SINCE                 WAITING
    dev          serving   well-behaved 1.0.0  1           [TIME]
    old          disabled  -                   1           [TIME]
    ops          serving   well-behaved 1.0.0  1           [TIME]
    ");
}

#[test]
fn reports_a_wrong_token() {
    let host = host();
    let mut command = host.site().command(&["alerts"]);
    let wrong = command
        .env("TOCSIN_ADMIN_URL", format!("http://{}", host.admin()))
        .env("TOCSIN_ADMIN_TOKEN", "a-wrong-token")
        .output()
        .expect("it runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert_snapshot!(String::from_utf8_lossy(&wrong.stderr), @"error: send one of `admin.tokens` as `Authorization: Bearer TOKEN`");
}

#[test]
fn finds_the_host_through_its_configuration() {
    let host = host();
    // Fixed ports, as an operator's configuration has them.
    host.site().configure(&format!(
        "[admin]\nlisten = '{}'\ntokens = [{{ env = 'TOCSIN_ADMIN_TOKEN' }}]\n\
         [integrations.ops]\nplugin = 'well-behaved'\noptions.token = {{ env = 'FOR_THE_HOST_ALONE' }}\n",
        host.admin(),
    ));
    let list = host.site().run(&["alerts", "--status", "open"]);
    assert!(good(&list).contains("build is red"), "{list:?}");
}

#[test]
fn explains_how_to_find_a_host_if_none_answers() {
    let site = Site::new().plugin(&library("well-behaved"));
    // Nothing listens on port 1 (tcpmux).
    let site =
        site.config("[admin]\nlisten = '127.0.0.1:1'\n[integrations.ops]\nplugin = 'well-behaved'");
    let alone = site.run(&["alerts"]);
    assert_eq!(alone.code, Some(1));
    assert_snapshot!(alone.stderr, @"
    error: no host answers at http://127.0.0.1:1: io: Connection refused (os error 111)
    hint: is `tocsin serve` running, with the same configuration?
    ");
    // The list of plugin files needs no host.
    for verb in ["plugins", "integrations"] {
        let Finished { code, stdout, stderr } = site.run(&[verb]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("well-behaved"), "{stdout}");
        assert_eq!(stderr, "no host is running: this is what `tocsin serve` would load\n");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let host = host();
    let mut command = host.site().command(&["alerts"]);
    command.env("TOCSIN_ADMIN_URL", format!("http://{}", host.admin()));
    let help = host.site().command(&["alerts", "--help"]);
    let completions = host.site().command(&["completions", "bash"]);
    for mut command in [command, help, completions] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.stdout(writer).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

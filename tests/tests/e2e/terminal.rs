//! Text of plugins and senders cannot control a terminal, forge a log line or a field, or exceed
//! its length limit.

use std::fs;

use insta::assert_snapshot;
use regex::Regex;
use serde_json::{Value, json};
use tocsin_tests::{
    Finished, Site, TestHost,
    http::Request,
    libraries::{library, with_description},
    wait,
};

/// Text that reverses the writing direction, moves the cursor, clears the screen, hides text, and
/// ends the line.
const NASTY: &str = "disk\u{202e}lluf\u{2066}\u{1b}[2J\u{9b}31m\u{feff}\u{e0041}\u{2028}x\n  Status       resolved\n#9 forged";
const LIMIT: usize = 64 * 1024;

fn host() -> TestHost {
    Site::new()
        .plugin(&library("bad-words"))
        .config("[requests]\nkeep = 'all'\n[integrations.ops]\nplugin = 'bad-words'\n")
        .serve()
}

/// Checks that a text has no control characters except line ends.
#[track_caller]
fn assert_harmless(said: &str) {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    assert!(!said.contains(steers), "{said:?}");
}

#[track_caller]
fn good(finished: Finished) -> String {
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    assert_harmless(&finished.stdout);
    finished.stdout
}

fn normalized(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, replacement) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"[0-7][0-9A-HJKMNP-TV-Z]{25}", "[ID]"),
        (r"\d+\.\d{3} ms", "[MS]"),
        (r"127\.0\.0\.1(:\d+)?", "[ADDRESS]"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into();
    }
    text
}

#[test]
fn text_of_an_alert_cannot_look_like_one_of_its_fields() {
    let host = host();
    assert_eq!(host.post("ops", NASTY).status, 200);
    let note =
        host.run(&["alerts", "note", "1", "one\u{202e}\n      title stays `x`, reported was `y`"]);
    assert_eq!(note.code, Some(0), "{note:?}");
    assert_harmless(&note.stdout);
    assert_snapshot!(normalized(&good(host.run(&["alerts", "show", "1"]))), @"
    #1 disk�lluf� [2J 31m�� x   Status       resolved #9 forged
      Id           [ID]
      Status       open
      Urgency      medium
      Integration  ops
      Plugin       bad-words 0.1.0
      Occurrences  1
      Dedup key    disk�lluf� [2J 31m�� x
                     Status       resolved
                   #9 forged
      Request      [ID]
      Details
        disk�lluf� [2J 31m�� x   Status       resolved #9 forged disk�lluf� [2J 31m�� x
                       Status       resolved
                     #9 forged
        Status       resolved

      [TIME]  created      by integration ops
      [TIME]  noted        by command line, steve
          | one�
          |       title stays `x`, reported was `y`
    ");
    let list = good(host.run(&["alerts"]));
    assert_eq!(list.lines().count(), 2, "{list}");
    // JSON holds the original text.
    let json = good(host.run(&["alerts", "show", "1", "--json"]));
    let alert: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(alert["title"], NASTY);
}

#[test]
fn text_of_a_request_cannot_look_like_one_of_its_fields() {
    let host = host();
    let answer = host.post_with("ops", &[("x-kind", "ignored")], NASTY);
    assert_eq!(answer.status, 200);
    let shown = normalized(&good(host.run(&["requests", "show", answer.request_id()])));
    assert_snapshot!(shown, @"
    [ID]
      Received     [TIME]
      Integration  ops
      Plugin       bad-words 0.1.0
      Sender       [ADDRESS]
      Bytes        68
      Outcome      ignored
      Reason       disk�lluf� [2J 31m�� x
                     Status       resolved
                   #9 forged
      In plugin    [MS]
      In commit    [MS]

      host: [ADDRESS]
      x-kind: ignored
      content-length: 68

      | disk�lluf� [2J 31m�� x
      |   Status       resolved
      | #9 forged
    ");
    good(host.run(&["requests", "list"]));
    good(host.run(&["requests", "show", answer.request_id(), "--json"]));
    for kind in ["failed", "panics"] {
        let failed = host.post_with("ops", &[("x-kind", kind)], NASTY);
        assert_eq!(failed.status, 503);
    }
    assert_harmless(&host.run(&["requests", "replay", "--failed"]).stdout);
    assert_harmless(&host.run(&["plugins"]).stdout);
    host.reasons().iter().for_each(|reason| assert_harmless(reason));
}

#[test]
fn log_lines_hold_no_control_characters_and_no_forged_lines() {
    let host = host();
    for kind in ["unauthorized", "malformed", "failed", "panics"] {
        host.post_with("ops", &[("x-kind", kind)], NASTY);
    }
    // Both failures have one code, of which one line a second is logged.
    wait::until("every refusal is logged", || {
        (host.times_logged("webhook_refused") >= 3).then_some(())
    });
    let log = host.log();
    log.iter().for_each(|line| assert_harmless(line));
    let mut refusals = host.logged("webhook_refused");
    refusals.retain(|entry| entry["detail"] == NASTY);
    assert_eq!(refusals.len(), 3, "programs are given what it really was: {log:?}");
}

#[test]
fn option_errors_hold_no_control_characters() {
    let words = json!(NASTY).to_string();
    let site = Site::new().plugin(&library("bad-words"));
    let config = format!("[integrations.ops]\nplugin = 'bad-words'\noptions.refused = {words}\n");
    site.write("tocsin.toml", config);
    for verb in ["check", "serve"] {
        let refused = site.run(&[verb]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("#9 forged"), "{refused:?}");
        assert_harmless(&refused.stderr);
        assert!(!refused.stderr.lines().any(|line| line.starts_with("#9 forged")), "{refused:?}");
    }
}

#[test]
fn manifests_are_shown_without_control_characters() {
    let folder = tempfile::tempdir().expect("a folder");
    let file =
        with_description(&library("well-behaved"), "a\u{202e}b\u{2066}c\u{feff}", folder.path());
    let named = folder.path().join("x\u{202e}y.so");
    fs::rename(file, &named).expect("a rename");
    let site = Site::new().plugin(&named);
    let path = named.to_str().expect("UTF-8");
    let inspected = good(site.run(&["plugins", "inspect", path]));
    assert!(inspected.contains("description   a\u{fffd}b\u{fffd}c\u{fffd}"), "{inspected}");
    let json = good(site.run(&["plugins", "inspect", "--json", path]));
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(told["manifest"]["description"], "a\u{202e}b\u{2066}c\u{feff}");
    let check = site.run(&["check"]);
    assert_harmless(&format!("{}{}", check.stdout, check.stderr));
    assert_harmless(&site.run(&["plugins"]).stdout);
    assert_harmless(&site.run(&["plugins", "inspect", "/nowhere/x\u{202e}y.so"]).stderr);
}

#[test]
fn text_of_plugins_has_a_length_limit() {
    let host = host();
    let times = (2 * LIMIT).to_string();
    for (kind, status) in [
        ("ignored", 200),
        ("unauthorized", 403),
        ("malformed", 400),
        ("failed", 503),
        ("panics", 503),
    ] {
        let answer = host.post_with("ops", &[("x-kind", kind), ("x-times", &times)], "w");
        assert_eq!(answer.status, status, "{kind}");
        assert!(answer.body.len() < LIMIT + 1024, "{kind}: {}", answer.body.len());
        let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
        let reason = record["reason"].as_str().expect("a reason");
        assert!(reason.len() < LIMIT + 1024, "{kind}: {}", reason.len());
        assert!(
            reason.contains("... (cut: the plugin gave 131"),
            "{kind}: {}",
            &reason[LIMIT - 10..]
        );
    }
    host.reasons().iter().for_each(|reason| assert!(reason.len() < LIMIT + 1024));

    let whole = host.post_with("ops", &[("x-kind", "replies"), ("x-times", "1000")], "w");
    assert_eq!((whole.status, whole.body.len()), (200, 1000));
    let cut = host.post_with("ops", &[("x-kind", "replies"), ("x-times", &times)], "w");
    assert_eq!((cut.status, cut.body.as_str()), (200, "{}"), "what it would have said is not sent");
    let record = host.api(&format!("/api/v1/requests/{}", cut.request_id()));
    assert_eq!(record["outcome"], "events");
    assert_snapshot!(record["reason"].as_str().expect("a remark"), @"the plugin's reply was not sent: it has 131082 bytes, more than 65536");
}

#[test]
fn a_person_cannot_act_under_the_name_of_another() {
    let host = host();
    assert_eq!(host.post("ops", "disk full").status, 200);
    let acknowledge = Request::post("/api/v1/alerts/1/acknowledge", "")
        .header("x-tocsin-user", "x, api token alice");
    assert_eq!(host.ask_admin(&acknowledge).status, 200);
    let history = &host.api("/api/v1/alerts/1")["history"];
    assert_eq!(history[1]["by"], "command line, x__api_token_alice", "{history}");
}

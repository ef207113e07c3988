//! The life of an alert from outside: actors, differences of later events, acknowledgement and
//! resolution.

use insta::assert_snapshot;
use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};
use tocsin_tests::{Site, TestHost, http::Request, libraries::library, wait};

fn host(more: &str) -> TestHost {
    let site = Site::new()
        .plugin(&library("well-behaved"))
        .env("TOCSIN_ADMIN_TOKEN", "the-token-of-alice");
    site.config(&format!(
        "[admin]\ntokens = [{{ name = 'alice', token = {{ env = 'TOCSIN_ADMIN_TOKEN' }} }}, 'the-second-token']\n\
         [integrations.good]\nplugin = 'well-behaved'\n{more}"
    ))
    .serve()
}

fn ask(host: &TestHost, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let mut request = Request::post(path, body);
    if method == "GET" {
        request = Request::new(method, path);
    }
    let request = request
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    let answer = host.ask_admin(&request);
    (answer.status, answer.json())
}

fn alert(host: &TestHost, number: u64) -> Value {
    ask(host, "GET", &format!("/api/v1/alerts/{number}"), "the-token-of-alice", "").1
}

#[test]
fn history_names_the_actor_and_the_previous_values() {
    let host = host("");
    let keyed = |more: &[(&'static str, &'static str)]| [&[("x-dedup-key", "disk")], more].concat();
    let first = [("x-event-id", "1"), ("x-urgency", "low")];
    host.post_with("good", &keyed(&first), "disk full");
    host.post_with("good", &keyed(&[("x-urgency", "critical")]), "disk overflowing");
    host.post_with("good", &keyed(&first), "disk full");
    ask(&host, "POST", "/api/v1/alerts/1/acknowledge", "the-second-token", "");
    assert_eq!(host.run(&["alerts", "note", "1", "it was\nthe log"]).code, Some(0));
    assert_eq!(host.run(&["alerts", "resolve", "1"]).code, Some(0));
    host.post_with("good", &keyed(&[]), "disk full again");
    let shown = host.run(&["alerts", "show", "1"]).stdout;
    let times = Regex::new(r"20\d\d-\d\d-\d\dT[\d:.]+Z").expect("a pattern");
    let ids = Regex::new(r"[0-9A-Z]{26}").expect("a pattern");
    let shown = ids.replace_all(&shown, "[ID]").into_owned();
    assert_snapshot!(times.replace_all(&shown, "[TIME]"), @"
    #1 disk full
      Id           [ID]
      Status       resolved
      Urgency      low
      Integration  good
      Plugin       well-behaved 1.0.0
      Occurrences  2, the last [TIME]
      Dedup key    disk
      Request      [ID]

      [TIME]  created      by integration good
      [TIME]  occurred     by integration good
          title stays `disk full`, reported was `disk overflowing`
          urgency stays `low`, reported was `critical`
      [TIME]  duplicated   by integration good
      [TIME]  acknowledged by api token #2
      [TIME]  noted        by command line, steve, api token alice
          | it was
          | the log
      [TIME]  resolved     by command line, steve, api token alice
      [TIME]  reopened     by integration good, as #2
    ");
    let reopened = alert(&host, 2);
    assert_eq!((&reopened["previous"], &reopened["status"]), (&json!(1), &json!("open")));
    let first = alert(&host, 1);
    assert_eq!((&first["occurrences"], &first["urgency"]), (&json!(2), &json!("low")));
    let time = |of: &Value| of.as_str().expect("a time").parse::<Timestamp>().expect("RFC 3339");
    assert!(time(&first["last_occurred_at"]) > time(&first["created_at"]), "{first}");
    assert_eq!(first["created_at"], first["history"][0]["at"]);
    assert_eq!(first["last_occurred_at"], first["history"][1]["at"]);
}

#[test]
fn refuses_a_note_without_text() {
    let host = host("");
    host.post("good", "disk full");
    let note =
        |body: &str| ask(&host, "POST", "/api/v1/alerts/1/notes", "the-token-of-alice", body);
    for wrong in ["", "{}", r#"{"text":" "}"#, r#"{"text":1}"#, r#"{"text":"x","by":"me"}"#, "[]"] {
        let (status, error) = note(wrong);
        assert_eq!((status, &error["error"]["code"]), (400, &json!("bad_request")), "{wrong}");
    }
    let long = json!({ "text": "x".repeat(10_001) }).to_string();
    assert_eq!(note(&long).0, 400);
    let (status, noted) = note(r#"{"text":"looking"}"#);
    let entry = &noted["history"][1];
    assert_eq!(
        (status, &entry["note"], &entry["by"]),
        (200, &json!("looking"), &json!("api token alice"))
    );
    let (status, _) =
        ask(&host, "POST", "/api/v1/alerts/9/notes", "the-token-of-alice", r#"{"text":"x"}"#);
    assert_eq!(status, 404);
}

#[test]
fn resolves_an_alert_that_gets_no_further_events() {
    let host = host("resolve_after = '5s'\n");
    host.post_with("good", &[("x-dedup-key", "k")], "disk full");
    assert!(alert(&host, 1)["resolves_at"].is_string());
    wait::until("the alert is resolved", || {
        (alert(&host, 1)["status"] == "resolved").then_some(())
    });
    let over = alert(&host, 1);
    assert_eq!(over["history"][1]["by"], "automatic resolve");
    assert_eq!(over["resolves_at"], Value::Null);
}

#[test]
fn applies_auto_resolve_to_alerts_that_are_already_open() {
    let host = host("");
    host.post("good", "disk full");
    let admin = "[admin]\ntokens = ['the-token-of-alice']\n";
    let section = "[integrations.good]\nplugin = 'well-behaved'\nresolve_after = '1s'\n";
    host.site().configure(&format!("{admin}{section}"));
    assert_eq!(host.reload().status, 200);
    wait::until("the alert is resolved", || {
        (alert(&host, 1)["status"] == "resolved").then_some(())
    });
}

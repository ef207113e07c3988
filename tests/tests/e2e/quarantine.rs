//! Requests on which a plugin failed wait in a bounded quarantine, and are replayed through a
//! repaired plugin, once.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::{library, with_name, with_version},
};

use crate::load::assert_numbered;

/// Two versions of a plugin, the first with a bug that the second has not.
struct Versions {
    buggy: PathBuf,
    mended: PathBuf,
    _folder: TempDir,
}

impl Versions {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let buggy = with_name(&library("bad-panics-in-receive"), "well-behaved", folder.path());
        let later = tempfile::tempdir_in(folder.path()).expect("a folder").keep();
        let mended = with_version(&library("well-behaved"), "1.0.1", &later);
        Self { buggy, mended, _folder: folder }
    }

    fn serve(&self, more: &str) -> TestHost {
        let site = Site::new();
        site.drop_in(&self.buggy, "libbuggy.so");
        let integration = "[integrations.good]\nplugin = 'well-behaved'\n";
        site.config(&format!("{more}\n{integration}")).serve()
    }

    fn mend(&self, host: &TestHost) {
        host.site().replace(&self.mended, "libmended.so");
        assert_eq!(host.reload().status, 200);
        host.wait_for_version("good", "1.0.1");
    }
}

fn waiting(host: &TestHost) -> usize {
    let list = host.api("/api/v1/requests?quarantined=true&limit=500");
    list["requests"].as_array().expect("a list").len()
}

#[test]
fn replays_a_thousand_failed_requests_exactly_once() {
    let versions = Versions::new();
    let host = versions.serve("");
    let mut connection = host.connect();
    for count in 0..1000 {
        let (title, id) = (format!("kernel panic {count}"), format!("{count}"));
        // Half of the messages have an event id.
        let request = Request::post("/in/good", &title);
        let request = if count % 2 == 0 { request.header("x-event-id", &*id) } else { request };
        let answer = connection.ask(&request).expect("an answer");
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
        assert!(answer.retry_after() >= 1);
    }
    assert_eq!(host.alerts().len(), 0);
    let name = r#"tocsin_quarantined_requests{integration="good"}"#;
    assert_eq!(host.metric(name), Some(1000.0));
    let reason = "integration `good`: 1000 requests wait for a replay because its plugin failed; \
                  hint: once it is mended, `tocsin requests replay --failed`";
    assert!(host.reasons().contains(&reason.to_owned()), "{:?}", host.reasons());
    assert_eq!(host.ready().0, 200);

    // The requests survive a kill, and a replay by the same version fails again.
    let host = host.kill().serve();
    let newest = host.api("/api/v1/requests?limit=1")["requests"][0]["id"].clone();
    let tried = host.run(&["requests", "replay", newest.as_str().expect("an id")]);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    assert!(tried.stderr.contains("the plugin failed on 1 of 1 requests"), "{tried:?}");
    assert_eq!(host.metric(name), Some(1000.0));

    versions.mend(&host);
    let dry = host.run(&["requests", "replay", "--failed", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("outcome: `failed` then, `events` now"), "{}", dry.stdout);
    assert!(dry.stdout.contains("1000 would be replayed, 0 of them failed"), "{}", dry.stdout);
    assert_eq!(host.alerts().len(), 0, "a dry run changes nothing");

    let replayed = host.run(&["requests", "replay", "--failed"]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    assert!(replayed.stdout.ends_with("1000 replayed, 0 of them failed\n"), "{}", replayed.stdout);
    let alerts = host.alerts();
    assert_numbered(&alerts);
    let titles = alerts.iter().rev().map(|alert| alert["title"].as_str().expect("a title"));
    let misplaced =
        titles.zip(0..).find(|(title, count)| *title != format!("kernel panic {count}"));
    assert_eq!(misplaced, None, "not in the order in which they came");
    assert_eq!(host.metric(name), Some(0.0));
    assert_eq!(host.problems(), host.reasons(), "nothing waits");

    // Neither a second replay nor a retry of the sender makes a second alert.
    assert_eq!(
        host.run(&["requests", "replay", "--failed"]).stdout,
        "no request waits for a replay\n"
    );
    for alert in alerts.iter().step_by(100) {
        let id = alert["request_id"].as_str().expect("an id");
        let again = host.run(&["requests", "replay", id]);
        assert!(again.stdout.contains(": duplicate #"), "{again:?}");
    }
    let late = host.post_with("good", &[("x-event-id", "500")], "kernel panic 500");
    assert_eq!(late.status, 200);
    assert_eq!(host.alerts().len(), 1000);
    let record = host.api(&format!("/api/v1/requests/{}", newest.as_str().expect("an id")));
    assert_eq!(record["replay"]["tries"], 3, "failed, succeeded, then changed nothing");
    assert_eq!(
        (&record["outcome"], &record["replay"]["outcome"]),
        (&json!("failed"), &json!("events"))
    );
    let history = host.api("/api/v1/alerts/1000")["history"].clone();
    assert_eq!(history[0]["request_id"], newest);
}

#[test]
fn limits_the_quarantine_by_dropping_the_oldest_requests() {
    let versions = Versions::new();
    let host = versions.serve("[requests]\nquarantine_count = 5\n");
    let ids: Vec<_> =
        (0..12).map(|n| host.post("good", &format!("panic {n}")).request_id().to_owned()).collect();
    assert_eq!(waiting(&host), 5);
    let raw = |id: &String| host.api(&format!("/api/v1/requests/{id}"))["raw"].clone();
    assert_eq!([&ids[6], &ids[7]].map(raw), ["absent", "quarantined"]);
    let pushed = r#"tocsin_quarantine_pushed_out_total{integration="good"}"#;
    assert_eq!(host.metric(pushed), Some(7.0));
    assert_eq!(host.wait_for_event("limit_reached")["limit"], "quarantine");
    let gone = host.run(&["requests", "replay", &ids[0]]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("was not kept; hint: "), "{gone:?}");
}

#[test]
fn checks_the_token_of_a_request_at_its_replay() {
    let versions = Versions::new();
    let host = versions.serve("");
    let id = host.post_with("good", &[("x-token", "wrong")], "panic").request_id().to_owned();
    let options = "options.token = 'right'\n";
    host.site().replace(&versions.mended, "libmended.so");
    host.site().configure(&format!("[integrations.good]\nplugin = 'well-behaved'\n{options}"));
    let admin = host.admin();
    assert_eq!(
        Connection::open(admin).unwrap().ask(&Request::post("/api/v1/reload", "")).unwrap().status,
        200
    );
    host.wait_for_version("good", "1.0.1");
    let report = host.run(&["requests", "replay", &id, "--json"]);
    let report: Value = serde_json::from_str(&report.stdout).expect("a report");
    assert_eq!(report["outcome"], "unauthorized");
    assert_eq!(host.alerts().len(), 0);
    assert_eq!(host.api(&format!("/api/v1/requests/{id}"))["raw"], "absent", "it is not kept");
    assert_eq!(waiting(&host), 0);
}

#[test]
fn a_dry_run_shows_the_outcome_and_the_differences() {
    let site = Site::new().plugin(&library("well-behaved"));
    let section = "[requests]\nkeep = 'all'\n[integrations.good]\nplugin = 'well-behaved'\n";
    let host = site.config(section).serve();
    let headers = [("x-event-id", "1"), ("x-urgency", "low")];
    let id = host.post_with("good", &headers, "disk full").request_id().to_owned();
    let same = host.run(&["requests", "replay", &id, "--dry-run"]).stdout;
    assert_eq!(same, format!("{id} events: duplicate #1\n"));
    host.site().configure(&format!("{section}options.prefix = 'db1: '\n"));
    assert_eq!(host.reload().status, 200);
    let dry = host.run(&["requests", "replay", &id, "--dry-run"]).stdout;
    assert!(dry.contains("events[0].title: `disk full` then, `db1: disk full` now"), "{dry}");
    let report =
        host.ask_admin(&Request::post(&format!("/api/v1/requests/{id}/replay?dry_run=true"), ""));
    let report = report.json();
    assert_eq!(
        (&report["dry_run"], &report["events"][0]["title"]),
        (&json!(true), &json!("db1: disk full"))
    );
    assert_eq!(host.alerts().len(), 1);
}

#[test]
fn reports_requests_that_cannot_be_replayed() {
    let versions = Versions::new();
    let host = versions.serve("");
    let id = host.post("good", "panic").request_id().to_owned();
    let replay = |host: &TestHost| {
        let path = format!("/api/v1/requests/{id}/replay");
        let answer = host.ask_admin(&Request::post(&path, ""));
        (answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    for (section, words) in [
        ("[integrations.good]\nplugin = 'well-behaved'\nenabled = false\n", "is disabled"),
        ("[integrations.good]\nplugin = 'well-behaved'\nmaintenance = true\n", "is in maintenance"),
        ("[integrations.other]\nplugin = 'well-behaved'\n", "is no longer configured"),
    ] {
        host.site().configure(section);
        assert_eq!(host.reload().status, 200);
        let (status, message) = replay(&host);
        assert_eq!(status, 409, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let another = host.run(&["requests", "replay", "--failed"]);
    assert!(another.stderr.contains("is no longer configured"), "{another:?}");
    assert_eq!(waiting(&host), 1, "it waits on");
}

#[test]
fn a_request_that_cannot_be_replayed_does_not_stop_the_others() {
    let versions = Versions::new();
    let site = Site::new();
    site.drop_in(&versions.buggy, "libbuggy.so");
    let sections = |off: &str| {
        format!(
            "[integrations.off]\nplugin = 'well-behaved'\n{off}\n\
             [integrations.good]\nplugin = 'well-behaved'\n"
        )
    };
    let host = site.config(&sections("")).serve();
    for integration in ["off", "good"] {
        assert_eq!(host.post(integration, "panic").status, 503);
    }
    host.site().configure(&sections("enabled = false"));
    versions.mend(&host);
    let replayed = host.run(&["requests", "replay", "--failed"]);
    assert_eq!(replayed.code, Some(1), "{replayed:?}");
    assert!(replayed.stderr.contains("integration `off` is disabled"), "{replayed:?}");
    assert!(replayed.stderr.contains("1 of 2 requests could not be replayed"), "{replayed:?}");
    assert!(replayed.stdout.contains("events: opened #1"), "{replayed:?}");
}

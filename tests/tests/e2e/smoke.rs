//! Smoke tests of the whole way from a webhook to a reader of its alert. `make quick` runs only
//! these; the other modules test every promise of each part.

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::Request,
    libraries::{self, library},
};

use crate::{
    bad_plugins,
    upgrades::{self, Versions, served_by, waiting, without_times},
};

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

fn host(config: &str) -> TestHost {
    Site::new().plugin(&library("well-behaved")).config(config).serve()
}

#[test]
fn a_slack_message_becomes_an_alert_in_the_api_and_on_the_command_line() {
    let site = Site::new().plugin(&library("slack-outgoing-webhook"));
    let host = site
        .config(
            "[integrations.ops]\nplugin = 'slack-outgoing-webhook'\nurgency = 'low'\n\
             options.token = 's3cret'\n",
        )
        .serve();
    let message = |token: &str| {
        let form = format!(
            "token={token}&team_domain=example&channel_id=C1&channel_name=ops&user_id=U1&user_name=ada\
             &timestamp=1767225600.000100&text=db1+is+down"
        );
        let request = Request::post("/in/ops", &form);
        host.ask(&request.header("content-type", "application/x-www-form-urlencoded"))
    };
    assert_eq!(message("wrong").status, 403);
    let answer = message("s3cret");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(message("s3cret").status, 200, "the sender tries again");

    let alerts = host.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let alert = &alerts[0];
    assert_eq!((&alert["title"], &alert["status"]), (&json!("db1 is down"), &json!("open")));
    assert_eq!((&alert["number"], &alert["urgency"]), (&json!(1), &json!("low")));
    assert_eq!(alert["request_id"], answer.request_id());
    let list = host.run(&["alerts", "list"]);
    assert_eq!((list.code, list.stderr.as_str()), (Some(0), ""), "{list:?}");
    assert!(list.stdout.lines().any(|line| line.contains("db1 is down")), "{list:?}");
}

#[test]
fn an_alertmanager_notification_opens_an_alert_and_resolves_it() {
    let site = Site::new().plugin(&library("alertmanager"));
    let host = site
        .config(
            "[integrations.prometheus]\nplugin = 'alertmanager'\noptions.unauthenticated = true\n",
        )
        .serve();
    for (sent, kept) in [("firing", "open"), ("resolved", "resolved")] {
        let alert = json!({"status": sent, "labels": {"alertname": "Down"}, "fingerprint": "1"});
        let body = json!({"version": "4", "status": sent, "truncatedAlerts": 0, "alerts": [alert]})
            .to_string();
        let request = Request::post("/in/prometheus", &body);
        let answer = host.ask(&request.header("content-type", "application/json"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(host.api("/api/v1/alerts/1")["status"], kept);
    }
    assert_eq!(host.alerts().len(), 1);
}

#[test]
fn an_alert_survives_kill_9_and_its_delivery_stays_a_duplicate() {
    let host = host(GOOD);
    let delivery = [("x-event-id", "1")];
    assert_eq!(host.post_with("good", &delivery, "disk full").status, 200);
    let before = host.alerts();
    let host = host.kill().serve();
    assert_eq!(host.alerts(), before);
    assert_eq!(host.post_with("good", &delivery, "disk full").status, 200);
    assert_eq!(host.alerts(), before);
    assert_eq!(host.post_with("good", &[("x-event-id", "2")], "disk full").status, 200);
    assert_eq!(host.restart().alerts().len(), 2);
}

#[test]
fn a_newer_version_that_is_dropped_in_takes_over() {
    let (host, versions) = (upgrades::host(), Versions::new());
    assert_eq!(served_by(&host, "good"), "1.0.0");
    let before = host.integration("good");
    assert_eq!((&before["generation"], &before["notice"]), (&1.into(), &Value::Null));

    host.site().replace(&versions.well_behaved("1.0.1"), "newer.so");
    host.wait_for_version("good", "1.0.1");
    assert_eq!(served_by(&host, "good"), "1.0.1");
    let after = host.integration("good");
    assert_eq!(after["generation"], 2);
    let since = |shown: &Value| shown["since"].as_str()?.parse::<Timestamp>().ok();
    assert!(since(&after) > since(&before), "{before} {after}");
    assert_eq!(waiting(&host), [("1.0.0".into(), "not_needed".into())]);
    assert_eq!(host.reasons(), [""; 0]);
    assert_snapshot!(without_times(&host.run(&["plugins"]).stdout), @"
    PLUGIN        VERSION  STATE    VERIFIED  INTEGRATIONS  FILE
    well-behaved  1.0.0    waiting  -                       libwell_behaved.so
    well-behaved  1.0.1    loaded   -         good          newer.so

    INTEGRATION  STATE    SERVED BY           GENERATION  SINCE                 WAITING
    good         serving  well-behaved 1.0.1  2           [TIME]  1.0.0 since [TIME]
    ");
}

#[test]
fn a_reload_applies_a_changed_configuration() {
    let host = host(&format!("{GOOD}[integrations.gone]\nplugin = 'well-behaved'\n"));
    let (webhooks, admin) = (host.webhooks(), host.admin());
    host.post("good", "before");
    host.site().configure(
        "[server]\nbody_limit_bytes = 10\n\
         [integrations.good]\nplugin = 'well-behaved'\nurgency = 'high'\noptions.prefix = 'now: '\n\
         [integrations.fresh]\nplugin = 'well-behaved'\n",
    );
    host.reload();
    assert_eq!(host.post("good", "after").status, 200);
    assert_eq!(host.post("fresh", "after").status, 200);
    assert_eq!(host.post("gone", "after").status, 404);
    assert_eq!(host.post("good", "more than ten bytes").status, 413);
    let alert = host.api("/api/v1/alerts/2");
    assert_eq!((&alert["title"], &alert["urgency"]), (&json!("now: after"), &json!("high")));
    assert_eq!(host.api("/api/v1/alerts/1")["title"], "before");
    assert_eq!((host.webhooks(), host.admin()), (webhooks, admin));
    let endpoint = format!("http://{webhooks}/in/fresh");
    assert_eq!(host.api("/api/v1/integrations")["integrations"][0]["endpoint"], endpoint.as_str());
    assert_eq!(host.reasons(), [""; 0]);
}

#[test]
fn a_file_that_is_no_plugin_is_refused_and_others_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_snapshot!(bad_plugins::refused(&libraries::not_elf(folder.path()), "not-elf"), @"is not an ELF file; hint: drop in the `.so` that `cargo build --release` made of a plugin");
}

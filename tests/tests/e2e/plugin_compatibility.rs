//! Plugins of older plugin-api versions work, plugins of newer versions work unless they have a
//! capability that the host does not know, and several versions of one plugin work side by side.

use insta::assert_snapshot;
use serde_json::json;
use tocsin_tests::{
    Site, TestHost,
    libraries::{self, library, with_version},
};

fn beat(host: &TestHost, beat: &serde_json::Value) -> (u16, String) {
    let headers = [("content-type", "application/json"), ("x-token", "s3cret")];
    let answer = host.post_with("old", &headers, &beat.to_string());
    (answer.status, answer.body)
}

#[test]
fn serves_a_plugin_of_1_0_0_with_all_that_it_can_do() {
    let site = Site::new().plugin(&libraries::frozen());
    let host = site
        .config(
            "[integrations.old]\nplugin = 'frozen-heartbeat'\nurgency = 'low'\n\
             options = { token = 's3cret' }\n",
        )
        .serve();
    assert_eq!(host.reasons(), [""; 0]);

    let heard = (200, r#"{"heard":true}"#.to_owned());
    let link = "https://example.com/db";
    let down = json!({"service": "db", "up": false, "link": link, "sequence": 7});
    assert_eq!(beat(&host, &down), heard);
    assert_eq!(beat(&host, &down), heard, "a second try of the same beat");
    let alert = host.api("/api/v1/alerts/1");
    assert_eq!(alert["plugin"], json!({"name": "frozen-heartbeat", "version": "1.0.0"}));
    assert_eq!(alert["title"], "db is down");
    assert_eq!(alert["description"], "db says that it is down.");
    assert_eq!((&alert["urgency"], &alert["link"]), (&json!("critical"), &json!(link)));
    assert_eq!(alert["details"], json!([{"label": "service", "value": "db"}]));
    assert_eq!((&alert["dedup_key"], &alert["occurrences"]), (&json!("db"), &json!(1)));

    assert_eq!(beat(&host, &json!({"service": "db", "up": false, "sequence": 8})), heard);
    assert_eq!(host.api("/api/v1/alerts/1")["occurrences"], 2);
    assert_eq!(beat(&host, &json!({"service": "db", "up": false, "seen_by": "ada"})), heard);
    assert_eq!(host.api("/api/v1/alerts/1")["status"], "acknowledged");
    assert_eq!(beat(&host, &json!({"service": "db", "up": true})), heard);
    assert_eq!(host.api("/api/v1/alerts/1")["status"], "resolved");

    assert_eq!(beat(&host, &json!({"service": "", "up": true})), (200, "{}".into()));
    assert_eq!(beat(&host, &json!({"service": "failing", "up": true})).0, 503);
    assert_eq!(beat(&host, &json!({"service": "panicking", "up": true})).0, 503);
    assert_eq!(beat(&host, &json!("no beat")).0, 400);
    assert_eq!(beat(&host, &json!({"service": "x".repeat(2000), "up": true})).0, 413);
    let refused = |headers: &[(&str, &str)]| host.post_with("old", headers, "{}").status;
    assert_eq!(refused(&[("x-token", "s3cret"), ("content-type", "text/plain")]), 415);
    assert_eq!(refused(&[("x-token", "wrong"), ("content-type", "application/json")]), 403);
    assert_eq!(host.alerts().len(), 1);
}

#[test]
fn serves_a_plugin_of_1_2_and_ignores_the_newer_parts_of_its_events() {
    let site = Site::new().plugin(&libraries::pretended("1.2.0"));
    let host =
        site.config("[integrations.new]\nplugin = 'pretended-later'\nurgency = 'low'").serve();
    assert_eq!(host.reasons(), [""; 0]);
    assert_eq!(host.post("new", "disk full").status, 200);
    assert_eq!(host.post("new", "in later words").status, 200);
    let alerts = host.alerts();
    assert_eq!((&alerts[1]["title"], &alerts[1]["urgency"]), (&"disk full".into(), &"high".into()));
    // The host keeps the alert, although it does not know the urgency.
    assert_eq!(alerts[0]["title"], "in later words");
    assert_eq!(alerts[0]["urgency"], "low");
    assert_eq!(host.site().run(&["check"]).code, Some(0));
}

#[test]
fn refuses_a_plugin_of_2_0_and_serves_the_one_of_1_2_beside_it() {
    let site = Site::new().plugin(&libraries::pretended("1.2.0"));
    let site = site.plugin(&libraries::pretended("2.0.0"));
    let host = site.config("[integrations.new]\nplugin = 'pretended-later'").serve();
    assert_eq!(host.post("new", "disk full").status, 200);
    let reasons = host.reasons().join("\n");
    let ours = format!("this host has {}", tocsin_plugin_api::VERSION);
    assert_snapshot!(reasons.replace(&ours, "this host has [VERSION]"), @"`libpretended_later_2_0_0.so` is plugin `pretended-later` 1.0.0, built for plugin-api 2.0.0; this host has [VERSION]; hint: upgrade the host, or drop in a version of the plugin for this one");
}

/// Returns a site with several versions of one plugin, all with the same code.
fn versions(versions: &[&str]) -> Site {
    let site = Site::new().plugin(&library("well-behaved"));
    for version in versions {
        with_version(&library("well-behaved"), version, &site.plugins());
    }
    site
}

/// Returns the version of the plugin that serves an integration.
fn judged_by(host: &TestHost, integration: &str) -> String {
    let answer = host.post(integration, "disk full");
    assert_eq!(answer.status, 200, "{answer:?}");
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    let alert = host.api(&format!("/api/v1/alerts/{}", record["alert"]));
    alert["plugin"]["version"].as_str().expect("a version").to_owned()
}

#[test]
fn several_versions_of_a_plugin_serve_side_by_side() {
    let site = versions(&["1.2.0", "1.9.9", "2.0.0", "0.9.0"]);
    let mut host = site
        .config(
            "[integrations.exact]\nplugin = 'well-behaved'\nversion = '=1.0.0'\n\
             [integrations.caret]\nplugin = 'well-behaved'\nversion = '^1'\n\
             [integrations.below]\nplugin = 'well-behaved'\nversion = '<1.9'\n\
             [integrations.any]\nplugin = 'well-behaved'\n",
        )
        .serve();
    for _ in 0..2 {
        for (integration, version) in
            [("exact", "1.0.0"), ("caret", "1.9.9"), ("below", "1.2.0"), ("any", "2.0.0")]
        {
            assert_eq!(judged_by(&host, integration), version, "{integration}");
        }
        host = host.restart();
    }
    // The metrics have a series for each version.
    assert_eq!(judged_by(&host, "exact"), "1.0.0");
    let labels = r#"{integration="exact",plugin="well-behaved",version="1.0.0",outcome="events"}"#;
    assert_eq!(host.metric(&format!("tocsin_requests_total{labels}")), Some(1.0));
}

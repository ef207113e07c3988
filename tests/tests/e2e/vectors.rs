//! Every case of the Slack vectors passes through HTTP into the store, not only inside the plugin's
//! crate.

use std::path::Path;

use serde_json::Value;
use tocsin_plugin_api::testing::Fixture;
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Request},
    libraries::library,
};

const PLUGIN: &str = "slack-outgoing-webhook";

fn cases() -> Vec<Fixture> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in one");
    let file = format!("plugins/{PLUGIN}/fixtures/{PLUGIN}.jsonl");
    Fixture::read(workspace.join(file))
}

/// An integration of its own for each case: many carry the same keys.
fn host(cases: &[Fixture]) -> TestHost {
    let integrations = cases.iter().map(|case| {
        let mut integration = toml::Table::new();
        integration.insert("plugin".into(), PLUGIN.into());
        integration.insert("urgency".into(), own_urgency(case).into());
        let options = toml::Value::try_from(&case.options).expect("options are a table");
        integration.insert("options".into(), options);
        (case.name.clone(), integration.into())
    });
    let integrations: toml::Table = integrations.collect();
    let config = toml::Table::from_iter([("integrations".to_owned(), integrations.into())]);
    Site::new().plugin(&library(PLUGIN)).config(&config.to_string()).serve()
}

/// One that differs from what the plugin is to find.
fn own_urgency(case: &Fixture) -> &'static str {
    if case.expect.get("urgency").and_then(Value::as_str) == Some("low") { "medium" } else { "low" }
}

fn send(host: &TestHost, case: &Fixture) -> Answer {
    let query = case.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let (target, body) = (format!("/in/{}{query}", case.name), case.body());
    let headers = case.header_lines().into_iter();
    let request = Request::post(&target, &body);
    host.ask(&headers.fold(request, |request, (name, value)| request.header(&name, value)))
}

#[test]
fn every_vector_passes_through_http_into_the_store() {
    let cases = cases();
    assert!(cases.len() >= 97, "only {} cases", cases.len());
    let host = host(&cases);
    for case in &cases {
        check(&host, case, &send(&host, case));
    }
    let outcome = |name: &str| cases.iter().filter(|case| case.expect["outcome"] == name).count();
    assert_eq!(host.alerts().len(), outcome("alert") + outcome("events"));

    // The sender's second try changes nothing.
    let before = host.alerts();
    for case in
        cases.iter().filter(|case| case.expect.get("dedup_key").is_some_and(Value::is_string))
    {
        assert_eq!(send(&host, case).status, 200, "{}", case.name);
    }
    assert_eq!(host.alerts(), before);
}

fn check(host: &TestHost, case: &Fixture, answer: &Answer) {
    let name = &case.name;
    let outcome = case.expect["outcome"].as_str().expect("an outcome");
    let record =
        || host.api(&format!("/api/v1/requests/{}", answer.request_id()))["outcome"].clone();
    match outcome {
        "alert" | "events" => {
            assert_accepted(answer, name);
            assert_eq!(record(), "events", "{name}");
            check_alert(host, case, answer);
        }
        "ignored" => {
            assert_accepted(answer, name);
            assert_eq!(record(), "ignored", "{name}");
        }
        "unauthorized" => {
            assert_eq!((answer.status, answer.error_code().as_str()), (403, "unauthorized"));
            assert_eq!(record(), "unauthorized", "{name}");
        }
        "malformed" => {
            assert!(matches!(answer.status, 400 | 413 | 415), "{name}: {answer:?}");
            answer.error_code();
        }
        other => panic!("{name}: nobody said what `{other}` is over HTTP"),
    }
}

fn assert_accepted(answer: &Answer, name: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{name}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
}

fn check_alert(host: &TestHost, case: &Fixture, answer: &Answer) {
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    let alert = host.api(&format!("/api/v1/alerts/{}", record["alert"]));
    assert_eq!(alert["request_id"], answer.request_id(), "{}", case.name);
    assert_eq!(alert["integration"], case.name.as_str());
    assert_eq!(alert["plugin"]["name"], PLUGIN);
    for (key, expected) in case.expect.iter().filter(|(key, _)| *key != "outcome") {
        let (found, expected) = match key.as_str() {
            "urgency" if expected.is_null() => (&alert["urgency"], &own_urgency(case).into()),
            "permalink" => (&alert["link"], expected),
            "title" | "urgency" | "dedup_key" | "description" | "link" => (&alert[key], expected),
            label => (detail(&alert, label), expected),
        };
        assert_eq!(found, expected, "{}: `{key}` of {alert:#}", case.name);
    }
}

fn detail<'a>(alert: &'a Value, label: &str) -> &'a Value {
    let details = alert["details"].as_array().expect("a list").iter();
    let named = |detail: &&Value| {
        detail["label"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(label))
    };
    details.clone().find(named).map_or(&Value::Null, |detail| &detail["value"])
}

//! Every fixture of the Slack plugin, and every case of its `field.jsonl`, sent to a host over HTTP
//! and compared with the stored alert.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tocsin_plugin_api::testing::Fixture;
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Request},
    libraries::{library, workspace},
};

const PLUGIN: &str = "slack-outgoing-webhook";

fn package() -> PathBuf {
    workspace().join("plugins").join(PLUGIN)
}

fn cases() -> Vec<Fixture> {
    Fixture::read(package().join("fixtures").join(format!("{PLUGIN}.jsonl")))
}

/// Separate integrations for the cases, since many cases share their keys.
fn host(cases: &[Fixture]) -> TestHost {
    serve(cases.iter().map(|case| (case.name.as_str(), own_urgency(case), &case.options)))
}

/// Starts a host with integrations of these names, urgencies and options.
fn serve<'c>(integrations: impl Iterator<Item = (&'c str, &'static str, &'c Value)>) -> TestHost {
    let integrations = integrations.map(|(name, urgency, options)| {
        let mut integration = toml::Table::new();
        integration.insert("plugin".into(), PLUGIN.into());
        integration.insert("urgency".into(), urgency.into());
        let options = toml::Value::try_from(options).expect("options are a table");
        integration.insert("options".into(), options);
        (name.to_owned(), integration.into())
    });
    let integrations: toml::Table = integrations.collect();
    let config = toml::Table::from_iter([("integrations".to_owned(), integrations.into())]);
    Site::new().plugin(&library(PLUGIN)).config(&config.to_string()).serve()
}

/// Returns an urgency that differs from the one that the plugin finds.
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
fn every_vector_is_stored_as_expected() {
    let cases = cases();
    assert!(cases.len() >= 97, "only {} cases", cases.len());
    let host = host(&cases);
    for case in &cases {
        check(&host, case, &send(&host, case));
    }
    let outcome = |name: &str| cases.iter().filter(|case| case.expect["outcome"] == name).count();
    assert_eq!(host.alerts().len(), outcome("alert") + outcome("events"));

    // A retry of the sender changes nothing.
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

#[test]
fn every_case_from_the_field_is_stored_as_expected() {
    // No case expects this urgency.
    const OWN: &str = "medium";
    let text = fs::read_to_string(package().join("tests/field.jsonl")).expect("the cases");
    let cases = text.lines().map(|line| serde_json::from_str(line).expect("a case"));
    let cases: Vec<Value> = cases.collect();
    assert!(cases.len() >= 15, "only {} cases", cases.len());
    let name = |case: &'_ Value| case["name"].as_str().expect("a name").to_owned();
    let names: Vec<String> = cases.iter().map(name).collect();
    let named = || names.iter().map(String::as_str).zip(&cases);
    let host = serve(named().map(|(name, case)| (name, OWN, &case["options"])));
    for (name, case) in named() {
        let headers = [("Content-Type", case["content_type"].as_str().expect("a type"))];
        let bodies = case["bodies"].as_array().map_or(&[][..], Vec::as_slice);
        let bodies = case.get("body").into_iter().chain(bodies);
        let answers = bodies.map(|body| {
            let answer = host.post_with(name, &headers, body.as_str().expect("a body"));
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            answer.body
        });
        let answers: Vec<String> = answers.collect();
        let last_answer = answers.last().expect("an answer");
        check_field_case(&host, name, &case["expect"], last_answer, OWN);
    }
}

fn check_field_case(host: &TestHost, name: &str, expect: &Value, answer: &str, own_urgency: &str) {
    let mut alerts = host.alerts();
    alerts.retain(|alert| alert["integration"] == name);
    alerts.reverse();
    let expect = expect.as_object().expect("what is expected");
    for (key, expected) in expect {
        match key.as_str() {
            "title" => assert_eq!(&alerts[0]["title"], expected, "{name}"),
            "alerts" => {
                let titles: Value = alerts.iter().map(|alert| alert["title"].clone()).collect();
                assert_eq!(&titles, expected, "{name}");
            }
            "urgency" => {
                assert_eq!(
                    alerts[0]["urgency"],
                    expected.as_str().unwrap_or(own_urgency),
                    "{name}"
                );
            }
            "reply_must_not_contain" => {
                assert!(answer.contains("Alert raised: "), "{name}: {answer}");
                assert!(!answer.contains(expected.as_str().expect("a text")), "{name}: {answer}");
            }
            other => panic!("{name}: nobody said what `{other}` is"),
        }
    }
}

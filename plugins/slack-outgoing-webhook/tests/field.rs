//! Small inputs that broke webhooks in production, each as an example of its class. The inputs are
//! in `field.jsonl`.
//!
//! The bodies of a case arrive in order. As in a host, an event opens no alert if an earlier event
//! had the same `event_id`.

use std::fs;

use serde::Deserialize;
use serde_json::Value as Json;
use slack_outgoing_webhook::SlackOutgoingWebhook;
use tocsin_plugin_api::{
    Event, Reply, Request,
    outcome::Outcome,
    request::Header,
    testing::{Library, Subject, Value},
};

#[derive(Deserialize)]
struct Case {
    name: String,
    options: Json,
    content_type: String,
    body: Option<String>,
    #[serde(default)]
    bodies: Vec<String>,
    expect: Expect,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    alerts: Option<Vec<String>>,
    title: Option<String>,
    /// `Some(None)` stands for the integration's own urgency.
    #[serde(default, deserialize_with = "present")]
    urgency: Option<Option<String>>,
    reply_must_not_contain: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string("tests/field.jsonl").expect("`field.jsonl` is beside this file");
    text.lines().map(|line| serde_json::from_str(line).expect("a case")).collect()
}

/// Returns the differences from the expected outcome.
fn failure(subject: &impl Subject, case: &Case) -> Option<String> {
    let mut alerts: Vec<Event> = Vec::new();
    let mut answer = None;
    for body in case.body.iter().chain(&case.bodies) {
        match receive(subject, case, body) {
            Ok((event, reply)) => {
                let is_new = event.event_id.is_none()
                    || alerts.iter().all(|alert| alert.event_id != event.event_id);
                alerts.extend(is_new.then_some(event));
                answer = reply;
            }
            Err(failure) => return Some(failure),
        }
    }
    let titles: Vec<_> = alerts.iter().map(|alert| alert.title.clone()).collect();
    let expected = case.expect.alerts.clone().or_else(|| Some(vec![case.expect.title.clone()?]));
    if let Some(expected) = expected.filter(|expected| *expected != titles) {
        return Some(format!("expected {expected:?}, got {titles:?}"));
    }
    let urgency = alerts[0].urgency.map(|urgency| urgency.to_string());
    if let Some(expected) = case.expect.urgency.as_ref().filter(|expected| **expected != urgency) {
        return Some(format!("expected urgency {expected:?}, got {urgency:?}"));
    }
    let unwanted = case.expect.reply_must_not_contain.as_ref()?;
    let Reply { body, .. } = answer.expect("the case has a reply");
    body.contains(unwanted).then(|| format!("{body} contains {unwanted}"))
}

fn receive(
    subject: &impl Subject,
    case: &Case,
    body: &str,
) -> Result<(Event, Option<Reply>), String> {
    let headers = [Header::new("content-type", case.content_type.as_bytes())];
    let request = Request::new("POST", "", &headers, body.as_bytes());
    match subject.receive(&case.options, &request) {
        Ok(Outcome::Events { mut events, reply }) => Ok((events.remove(0), reply)),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn check(subject: &impl Subject) {
    let cases = cases();
    assert!(cases.len() >= 15, "only {} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let failure = failure(subject, case)?;
            Some(format!("{}: {failure} ({})", case.name, case.why))
        })
        .collect();
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn field_cases_hold_as_a_value() {
    check(&Value::<SlackOutgoingWebhook>::new());
}

#[test]
fn field_cases_hold_through_the_built_library() {
    check(&Library::build("slack-outgoing-webhook"));
}

//! Fixtures, checked with the plugin as a value and through its built library.

use slack_outgoing_webhook::SlackOutgoingWebhook;
use tocsin_plugin_api::testing::{Fixture, Library, Subject, Value};

fn fixtures() -> Vec<Fixture> {
    Fixture::read("fixtures/slack-outgoing-webhook.jsonl")
}

#[test]
fn there_are_97_fixtures() {
    assert_eq!(fixtures().len(), 97);
}

#[test]
fn fixtures_hold_as_a_value() {
    Value::<SlackOutgoingWebhook>::new().check(&fixtures());
}

#[test]
fn fixtures_hold_through_the_built_library() {
    Library::build("slack-outgoing-webhook").check(&fixtures());
}

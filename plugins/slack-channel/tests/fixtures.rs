//! Fixtures: exchanges with Slack and Mattermost, as a value and through the built library.

use slack_channel::SlackChannel;
use tocsin_plugin_api::testing::{Library, NotifierFixture, NotifierSubject, Value};

#[test]
fn fixtures_hold_as_a_value_and_through_the_library() {
    let fixtures = NotifierFixture::read("fixtures");
    assert!(fixtures.len() >= 12);
    Value::<SlackChannel>::new().check_notifier(&fixtures);
    Library::build("slack-channel").check_notifier(&fixtures);
}

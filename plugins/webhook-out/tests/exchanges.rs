//! Fixtures, checked with the plugin as a value and through its built library.

use tocsin_plugin_api::testing::{Library, NotifierFixture, NotifierSubject, Value};
use webhook_out::WebhookOut;

#[test]
fn fixtures_hold_as_a_value_and_through_the_built_library() {
    let fixtures = NotifierFixture::read("fixtures");
    assert_eq!(fixtures.len(), 11);
    Value::<WebhookOut>::new().check_notifier(&fixtures);
    Library::build("webhook-out").check_notifier(&fixtures);
}

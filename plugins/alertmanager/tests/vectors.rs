//! Fixtures, checked with the plugin as a value and through its built library.

use alertmanager::Alertmanager;
use tocsin_plugin_api::testing::{
    Fixture, Library, NotifierFixture, NotifierSubject, Subject, Value,
};

fn fixtures() -> Vec<Fixture> {
    Fixture::read("fixtures/alertmanager.jsonl")
}

#[test]
fn there_are_88_fixtures() {
    assert_eq!(fixtures().len(), 88);
}

#[test]
fn fixtures_hold_as_a_value() {
    Value::<Alertmanager>::new().check(&fixtures());
}

#[test]
fn fixtures_hold_through_the_built_library() {
    Library::build("alertmanager").check(&fixtures());
}

#[test]
fn fixtures_of_a_destination_hold_as_a_value_and_through_the_built_library() {
    let fixtures = NotifierFixture::read("fixtures");
    assert_eq!(fixtures.len(), 3);
    Value::<Alertmanager>::new().check_notifier(&fixtures);
    Library::build("alertmanager").check_notifier(&fixtures);
}

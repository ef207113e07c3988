//! Simple model of the rules for events, which is compared with a store after random sequences of events
//! and after races.
//!
//! The model knows no time and no people, and shares no code with [`crate::alert::life`].

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    sync::Arc,
    thread,
};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    test_runner::{Config, TestRunner},
};
use tocsin_plugin_api::{Action, Event};
use ulid::Ulid;

use super::{
    AlertQuery, Store,
    fixture::{StoreFixture, submission},
};
use crate::alert::Status;
use crate::request::{Effect, Submission};

/// Alert of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Option<String>,
    status: Status,
    occurrences: u64,
    previous: Option<u64>,
}

/// All alerts of one integration, by number.
#[derive(Default)]
struct Model {
    alerts: Vec<Entry>,
    seen: BTreeMap<String, Option<u64>>,
    former: BTreeMap<String, u64>,
}

impl Model {
    fn apply(&mut self, event: &Event) -> Effect {
        if let Some(seen) = event.event_id.as_ref().and_then(|id| self.seen.get(id)) {
            return Effect::Duplicate(*seen);
        }
        let effect = self.act(event);
        if let Some(id) = &event.event_id {
            self.seen.insert(id.clone(), effect.alert());
        }
        effect
    }

    fn act(&mut self, event: &Event) -> Effect {
        let is_open = |entry: &Entry| {
            entry.status != Status::Resolved && entry.key.is_some() && entry.key == event.dedup_key
        };
        let found = self.alerts.iter().position(is_open);
        let Some(place) = found else {
            if event.action != Action::Create {
                return Effect::NoMatch;
            }
            let key = event.dedup_key.clone();
            let previous = key.as_ref().and_then(|key| self.former.get(key)).copied();
            self.alerts.push(Entry { key, status: Status::Open, occurrences: 1, previous });
            return Effect::Opened(self.alerts.len() as u64);
        };
        let (entry, number) = (&mut self.alerts[place], place as u64 + 1);
        match event.action {
            Action::Create => {
                entry.occurrences += 1;
                Effect::Occurred(number)
            }
            Action::Acknowledge => {
                entry.status = Status::Acknowledged;
                Effect::Acknowledged(number)
            }
            _ => {
                entry.status = Status::Resolved;
                self.former.insert(entry.key.clone().unwrap_or_default(), number);
                Effect::Resolved(number)
            }
        }
    }

    #[track_caller]
    fn assert_equals(&self, store: &dyn Store) {
        let (mut stored, mut before) = (Vec::new(), None);
        loop {
            let query = AlertQuery { limit: 500, before, ..AlertQuery::default() };
            let page = store.alerts(query).wait().expect("it reads");
            stored.extend(page.alerts);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let numbers: Vec<_> = stored.iter().rev().map(|alert| alert.number).collect();
        assert_eq!(numbers, (1..=self.alerts.len() as u64).collect::<Vec<_>>());
        let stored = stored.into_iter().rev().map(|alert| Entry {
            key: alert.dedup_key,
            status: alert.status,
            occurrences: alert.occurrences,
            previous: alert.previous,
        });
        assert_eq!(stored.collect::<Vec<_>>(), self.alerts);
    }
}

/// The effects that the events of one request have in an empty store.
pub(super) fn effects(events: &[Event]) -> Vec<Effect> {
    let mut model = Model::default();
    events.iter().map(|event| model.apply(event)).collect()
}

fn event(action: Action, key: Option<u8>, id: Option<u8>) -> Event {
    let mut event = Event::create("x");
    event.action = action;
    event.dedup_key = key.map(|key| format!("k{key}"));
    event.event_id = id.map(|id| format!("e{id}"));
    event
}

fn events() -> impl Strategy<Value = Event> {
    let key = || 0..4_u8;
    let id = || prop_oneof![2 => Just(None), 1 => (0..12_u8).prop_map(Some)];
    prop_oneof![
        4 => (key(), id()).prop_map(|(key, id)| event(Action::Create, Some(key), id)),
        1 => id().prop_map(|id| event(Action::Create, None, id)),
        2 => (key(), id()).prop_map(|(key, id)| event(Action::Acknowledge, Some(key), id)),
        3 => (key(), id()).prop_map(|(key, id)| event(Action::Resolve, Some(key), id)),
    ]
}

/// Requests of one or several events each, one after the other.
pub(super) fn any_sequence_of_events_matches_the_model(place: &dyn StoreFixture) {
    let store = place.open();
    let integrations = Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let requests = vec(vec(events(), 1..4), 1..40);
    // Numbers run through all integrations of a store: each sequence has a model with what was there.
    let already = Cell::new(0);
    runner
        .run(&requests, |requests| {
            integrations.set(integrations.get() + 1);
            let name = format!("sequence {}", integrations.get());
            let (mut model, opened) = (Model::default(), already.get());
            let shift = |effect: Effect| match effect {
                Effect::Opened(number) => Effect::Opened(number + opened),
                Effect::Occurred(number) => Effect::Occurred(number + opened),
                Effect::Acknowledged(number) => Effect::Acknowledged(number + opened),
                Effect::Resolved(number) => Effect::Resolved(number + opened),
                Effect::Duplicate(number) => Effect::Duplicate(number.map(|it| it + opened)),
                effect => effect,
            };
            for request in requests {
                let expected: Vec<_> =
                    request.iter().map(|event| shift(model.apply(event))).collect();
                let effects = store.submit(submission(&name, request)).wait().expect("it commits");
                assert_eq!(effects, expected);
            }
            already.set(opened + model.alerts.len() as u64);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// 64 senders over some keys.
pub(super) fn racing_senders_match_the_model(place: &dyn StoreFixture) {
    race(place, 10);
}

/// 64 senders over one key.
pub(super) fn senders_that_race_for_one_key_match_the_model(place: &dyn StoreFixture) {
    race(place, 1);
}

/// Compares with the model given the same events in the order in which they were committed.
fn race(place: &dyn StoreFixture, keys: u64) {
    const SENDERS: u64 = 64;
    const EACH: u64 = 100;
    let store = place.open();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let mut sent = Vec::new();
                for count in 0..EACH {
                    let mixed = (sender * EACH + count).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    let action = match mixed % 8 {
                        0..4 => Action::Create,
                        4 | 5 => Action::Acknowledge,
                        _ => Action::Resolve,
                    };
                    let id = mixed.is_multiple_of(3).then_some((mixed / 7 % 200) as u8);
                    let event = event(action, Some((mixed / 3 % keys) as u8), id);
                    let request = submission("ops", vec![event]);
                    let effects = store.submit(request.clone()).wait().expect("it commits");
                    sent.push((request, effects));
                }
                sent
            })
        })
        .collect();
    let sent = senders.into_iter().flat_map(|sender| sender.join().expect("it sends"));
    if place.is_shared() {
        return assert_consistent(&*store, &sent.collect::<Vec<_>>());
    }
    let mut sent: Vec<_> = sent
        .map(|(request, effects)| (order(&*store, request.request_id), request, effects))
        .collect();
    sent.sort_by_key(|(order, ..)| *order);
    let orders: HashSet<_> = sent.iter().map(|(order, ..)| *order).collect();
    assert_eq!(orders.len() as u64, SENDERS * EACH);
    let mut model = Model::default();
    for (_, request, effects) in &sent {
        let expected: Vec<_> = events_of(request).iter().map(|event| model.apply(event)).collect();
        assert_eq!(*effects, expected);
    }
    model.assert_equals(&*store);
}

/// Checks what holds in any order of the requests: each event counts once, and each key has one unresolved alert
/// at a time.
fn assert_consistent(store: &dyn Store, sent: &[(Submission, Vec<Effect>)]) {
    let (mut ids, mut reports, mut ends) = (HashSet::new(), BTreeMap::new(), BTreeMap::new());
    for (request, effects) in sent {
        assert_eq!(effects.len(), 1);
        for (event, effect) in events_of(request).iter().zip(effects) {
            if !matches!(effect, Effect::Duplicate(_))
                && let Some(id) = &event.event_id
            {
                assert!(ids.insert(id.clone()), "{id} counted twice");
            }
            match effect {
                Effect::Opened(number) | Effect::Occurred(number) => {
                    *reports.entry(*number).or_insert(0) += 1;
                }
                Effect::Resolved(number) => *ends.entry(*number).or_insert(0) += 1,
                _ => {}
            }
        }
    }
    let query = AlertQuery { limit: sent.len(), ..AlertQuery::default() };
    let mut alerts = store.alerts(query).wait().expect("it reads").alerts;
    alerts.reverse();
    let mut last = BTreeMap::new();
    for alert in &alerts {
        assert_eq!(reports.remove(&alert.number), Some(alert.occurrences), "{alert:?}");
        let is_resolved = alert.status == Status::Resolved;
        assert_eq!(ends.contains_key(&alert.number), is_resolved, "{alert:?}");
        let before = last.insert(alert.dedup_key.clone(), (alert.number, is_resolved));
        assert_eq!(before.map(|(number, _)| number), alert.previous, "{alert:?}");
        assert!(before.is_none_or(|(_, is_resolved)| is_resolved), "two are unresolved: {alert:?}");
    }
    assert!(reports.is_empty() && !alerts.is_empty(), "{reports:?}");
}

/// By transaction, and within one by id.
fn order(store: &dyn Store, id: Ulid) -> (u64, Ulid) {
    let record = store.request(id).wait().expect("it reads").expect("a record");
    (record.transaction.expect("a transaction"), id)
}

fn events_of(request: &Submission) -> Vec<Event> {
    match &request.content {
        crate::request::Content::Events { events, .. } => {
            events.iter().cloned().map(Event::from).collect()
        }
        crate::request::Content::Nothing { .. } => Vec::new(),
    }
}

#[test]
fn the_model_knows_both_keys() {
    let mut model = Model::default();
    let mut apply = |action, key, id| model.apply(&event(action, key, id));
    assert_eq!(apply(Action::Create, Some(1), Some(1)), Effect::Opened(1));
    assert_eq!(apply(Action::Create, Some(1), Some(1)), Effect::Duplicate(Some(1)));
    assert_eq!(apply(Action::Create, Some(1), None), Effect::Occurred(1));
    assert_eq!(apply(Action::Resolve, Some(1), None), Effect::Resolved(1));
    assert_eq!(apply(Action::Acknowledge, Some(1), None), Effect::NoMatch);
    assert_eq!(apply(Action::Create, Some(1), None), Effect::Opened(2));
    assert_eq!(model.alerts[1].previous, Some(1));
}

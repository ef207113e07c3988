//! Promises about requests with more events than one transaction takes.

use tocsin_plugin_api::Event;
use ulid::Ulid;

use crate::request::{Effect, EventEffect, RequestOutcome, RequestQuery, Submission};
use crate::store::{
    EVENTS_TOGETHER, Store, StoreError,
    fixture::{StoreFixture, WIDE, all, failed, steve, submission},
    model,
};

pub(in crate::store) fn many_events_are_committed_in_full_and_in_their_order(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    let events = mixed_events(3 * EVENTS_TOGETHER + 7);
    let sent = submission("ops", events.clone());
    let effects = store.submit(sent.clone()).wait().unwrap();
    let expected = model::effects(&events);
    assert_eq!(effects.len(), expected.len());
    let differs = effects.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!(differs.map(|at| (at, effects[at], expected[at])), None);

    let check = |store: &dyn Store| {
        let record = store.request(sent.request_id).wait().unwrap().expect("a record");
        let recorded: Vec<_> = effects.iter().copied().map(EventEffect::from).collect();
        assert!(record.effects == recorded, "all of them, in their order");
        assert_eq!((record.outcome, record.reason), (RequestOutcome::Events, None));
        assert_eq!((record.alert, record.received_at), (Some(1), sent.received_at));
        assert_eq!(record.size_bytes, Some(4));
        let page = store.requests(RequestQuery { limit: 9, ..RequestQuery::default() });
        assert_eq!(page.wait().unwrap().requests.len(), 1);
        let opened = effects.iter().filter(|it| matches!(it, Effect::Opened(_))).count();
        let numbers: Vec<_> = all(store).iter().rev().map(|alert| alert.number).collect();
        assert_eq!(numbers, (1..=opened as u64).collect::<Vec<_>>());
    };
    check(&*store);
    store.close();
    check(&*place.open());
}

pub(in crate::store) fn a_long_request_delays_no_other(place: &dyn StoreFixture) {
    let store = place.open();
    let many = |parts: usize| {
        let events = (0..parts * EVENTS_TOGETHER).map(|at| Event::create(format!("{at}")));
        events.collect::<Vec<_>>()
    };
    let requests = [("most", many(20)), ("many", many(5)), ("one", vec![Event::create("one")])];
    assert_eq!(answered(&*store, requests), ["one", "many", "most"]);
}

pub(in crate::store) fn submitted_events_are_committed_before_the_store_closes(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    let sent = submission("ops", mixed_events(2 * EVENTS_TOGETHER + 1));
    let pending = store.submit(sent.clone());
    store.close();
    let effects = pending.wait().expect("it was committed");
    let record = place.open().request(sent.request_id).wait().unwrap().expect("a record");
    assert_eq!(record.effects.len(), effects.len());
}

pub(in crate::store) fn many_events_are_replayed_once(place: &dyn StoreFixture) {
    let store = place.open();
    let sent = failed("ops", "body", WIDE);
    store.submit(sent.clone()).wait().unwrap();
    let count = 2 * EVENTS_TOGETHER + 1;
    let replay = || Submission {
        request_id: sent.request_id,
        replayed_by: Some(steve()),
        ..submission("ops", vec![Event::create("x"); count])
    };
    let opened: Vec<_> = (1..=count as u64).map(Effect::Opened).collect();
    assert!(store.rehearse(replay()).wait().unwrap() == opened);
    assert!(all(&*store).is_empty(), "a rehearsal changes nothing");
    assert!(store.submit(replay()).wait().unwrap() == opened);
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 0);
    let seen: Vec<_> = (1..=count as u64).map(|number| Effect::Duplicate(Some(number))).collect();
    assert!(store.submit(replay()).wait().unwrap() == seen);
    let record = store.request(sent.request_id).wait().unwrap().expect("a record");
    assert_eq!(record.outcome, RequestOutcome::Failed, "as it was when it came");
    let replay = record.replay.expect("it was replayed");
    assert_eq!((replay.tries, replay.effects.len()), (2, count));
}

/// Events of which many are about the same problems, or the same deliveries, across the whole request.
fn mixed_events(count: usize) -> Vec<Event> {
    let event = |place: usize| {
        let key = format!("key {}", place % 700);
        let event = match place % 5 {
            3 => Event::acknowledge(key),
            4 => Event::resolve(key),
            _ => Event::create(format!("event {place}")).dedup_key(key),
        };
        if place.is_multiple_of(3) { event.event_id(format!("{}", place % 2000)) } else { event }
    };
    (0..count).map(event).collect()
}

/// Has a store commit requests in this order, and gives the order in which they are answered.
fn answered(store: &dyn Store, requests: [(&'static str, Vec<Event>); 3]) -> Vec<&'static str> {
    let (answers, answered) = std::sync::mpsc::channel();
    for ((name, events), second) in requests.into_iter().zip(0..) {
        let request_id = Ulid::from_parts(1_700_000_000_000 + second, 0);
        let answers = answers.clone();
        let then = move |committed: Result<Vec<Effect>, StoreError>| {
            committed.expect("it commits");
            answers.send(name).expect("somebody waits");
        };
        store.commit(Submission { request_id, ..submission("ops", events) }, Box::new(then));
    }
    drop(answers);
    answered.iter().collect()
}

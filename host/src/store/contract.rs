//! What every store has to keep, as tests that run against any of them.
//!
//! It knows no store: [`Place`] is where one is opened, closed and opened again.

use std::{sync::Arc, thread};

use jiff::Timestamp;
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::{
    AlertQuery, Change, Changed, Content, Effect, RawRequest, Store, StoreError, Submission,
};
use crate::alert::{Alert, AlertRef, AlertWithHistory, ChangeKind, PluginId, Status};

/// Somewhere a store keeps its data while nobody has it open.
pub(super) trait Place {
    fn open(&self) -> Arc<dyn Store>;
}

type Promise = fn(&dyn Place);

/// Runs every promise on a fresh place.
pub(super) fn keep<P: Place>(fresh: impl Fn() -> P) {
    let promises: [(&str, Promise); 12] = [
        ("what was committed is there after closing", survives),
        ("numbers have no gap", numbers),
        ("one delivery changes things once", same_delivery),
        ("one problem is one alert until it is resolved", same_problem),
        ("keys belong to an integration", keys_are_scoped),
        ("events acknowledge and resolve", life_by_events),
        ("people acknowledge and resolve", life_by_hand),
        ("the events of a request are all or nothing", together),
        ("racing senders make one alert", races),
        ("pages lead through all alerts, newest first", pages),
        ("requests leave a record", records),
        ("a closed store says so", closed),
    ];
    for (promise, test) in promises {
        eprintln!("a store: {promise}");
        test(&fresh());
    }
}

fn survives(place: &dyn Place) {
    let store = place.open();
    let event = Event::create("disk full")
        .description("disk full\non db1")
        .urgency(Urgency::Critical)
        .dedup_key("d")
        .event_id("e")
        .link("https://example.com")
        .detail("Channel", "ops")
        .detail("User", "steve");
    let sent = submission("ops", vec![event]);
    assert_eq!(store.submit(sent.clone()).wait().unwrap(), [Effect::Opened(1)]);
    let before = get(&*store, AlertRef::Number(1));
    store.close();

    let store = place.open();
    let after = get(&*store, AlertRef::Number(1));
    assert_eq!(after, before);
    let Alert { id, number, created_at, ref details, ref plugin, .. } = after.alert;
    assert_eq!(get(&*store, AlertRef::Id(id)), before);
    assert_eq!((number, after.alert.request_id, after.alert.occurrences), (1, sent.request_id, 1));
    assert_eq!((created_at, plugin), (sent.received_at, &*sent.plugin.unwrap()));
    assert_eq!(details.iter().map(|d| d.label.as_str()).collect::<Vec<_>>(), ["Channel", "User"]);
    assert_eq!(after.alert.description.as_deref(), Some("disk full\non db1"));
    assert_eq!((after.alert.urgency, after.alert.status), (Urgency::Critical, Status::Open));
    for (number, description) in [(2, None), (3, Some("next")), (4, Some("next to it"))] {
        let mut event = Event::create("next");
        event.description = description.map(Into::into);
        assert_eq!(commit(&*store, event), [Effect::Opened(number)]);
        let alert = get(&*store, AlertRef::Number(number)).alert;
        assert_eq!(alert.description.as_deref(), description);
    }
}

fn numbers(place: &dyn Place) {
    let store = place.open();
    for number in 1..=50 {
        let event = Event::create("x").dedup_key(format!("{number}")).event_id(format!("{number}"));
        assert_eq!(commit(&*store, event.clone()), [Effect::Opened(number)]);
        assert_eq!(commit(&*store, event.clone()), [Effect::Duplicate]);
        let again = event.event_id("again");
        assert_ne!(commit(&*store, again), [Effect::Opened(number + 1)]);
    }
    assert!(store.size_bytes() > 0);
}

fn same_delivery(place: &dyn Place) {
    let store = place.open();
    let event = Event::create("x").dedup_key("k").event_id("e");
    assert_eq!(commit(&*store, event.clone()), [Effect::Opened(1)]);
    assert_eq!(commit(&*store, event.clone()), [Effect::Duplicate]);
    by_hand(&*store, 1, Change::Resolve);
    assert_eq!(commit(&*store, event.clone()), [Effect::Duplicate], "whatever became of the alert");
    assert_eq!(commit(&*store, Event::resolve("k").event_id("e")), [Effect::Duplicate]);
    assert_eq!(get(&*store, AlertRef::Number(1)).alert.occurrences, 1);
    assert_eq!(commit(&*store, Event::create("no keys")), [Effect::Opened(2)]);
    assert_eq!(commit(&*store, Event::create("no keys")), [Effect::Opened(3)]);
}

fn same_problem(place: &dyn Place) {
    let store = place.open();
    assert_eq!(commit(&*store, Event::create("x").dedup_key("k")), [Effect::Opened(1)]);
    assert_eq!(commit(&*store, Event::create("y").dedup_key("k")), [Effect::Occurred(1)]);
    by_hand(&*store, 1, Change::Acknowledge);
    assert_eq!(commit(&*store, Event::create("z").dedup_key("k")), [Effect::Occurred(1)]);
    let known = get(&*store, AlertRef::Number(1));
    assert_eq!((known.alert.occurrences, known.alert.title.as_str()), (3, "x"));
    assert_eq!(known.alert.status, Status::Acknowledged);
    let kinds: Vec<_> = known.history.iter().map(|entry| entry.change).collect();
    use ChangeKind::{Acknowledged, Created, Occurred};
    assert_eq!(kinds, [Created, Occurred, Acknowledged, Occurred]);
    by_hand(&*store, 1, Change::Resolve);
    assert_eq!(commit(&*store, Event::create("again").dedup_key("k")), [Effect::Opened(2)]);
}

fn keys_are_scoped(place: &dyn Place) {
    let store = place.open();
    let event = || Event::create("x").dedup_key("k").event_id("e");
    for (integration, number) in [("one", 1), ("two", 2)] {
        let effects = store.submit(submission(integration, vec![event()])).wait().unwrap();
        assert_eq!(effects, [Effect::Opened(number)]);
    }
}

fn life_by_events(place: &dyn Place) {
    let store = place.open();
    assert_eq!(commit(&*store, Event::resolve("k")), [Effect::NoMatch]);
    commit(&*store, Event::create("x").dedup_key("k"));
    assert_eq!(commit(&*store, Event::acknowledge("k")), [Effect::Acknowledged(1)]);
    assert_eq!(commit(&*store, Event::acknowledge("k")), [Effect::Acknowledged(1)]);
    assert_eq!(commit(&*store, Event::resolve("k")), [Effect::Resolved(1)]);
    assert_eq!(commit(&*store, Event::acknowledge("k")), [Effect::NoMatch]);
    let over = get(&*store, AlertRef::Number(1));
    assert_eq!(over.alert.status, Status::Resolved);
    assert_eq!(over.history.len(), 3, "what changes nothing leaves no entry: {:?}", over.history);
    assert!(over.history.iter().all(|entry| entry.by == "integration ops"));
    assert!(over.history.iter().all(|entry| entry.request_id.is_some()));
}

fn life_by_hand(place: &dyn Place) {
    let store = place.open();
    commit(&*store, Event::create("x"));
    let acknowledged = by_hand(&*store, 1, Change::Acknowledge);
    assert_eq!(acknowledged.alert.status, Status::Acknowledged);
    assert_eq!(by_hand(&*store, 1, Change::Acknowledge), acknowledged, "twice is once");
    let resolved = by_hand(&*store, 1, Change::Resolve);
    assert_eq!(resolved.alert.status, Status::Resolved);
    assert!(resolved.alert.updated_at >= resolved.alert.created_at);
    assert_eq!(resolved.history.last().unwrap().by, "steve");
    let late = store.change(AlertRef::Number(1), Change::Acknowledge, "steve");
    assert_eq!(late.wait().unwrap(), Changed::AlreadyResolved);
    for nobody in [AlertRef::Number(2), AlertRef::Number(u64::MAX), AlertRef::Id(Ulid::nil())] {
        let changed = store.change(nobody, Change::Resolve, "steve").wait().unwrap();
        assert_eq!(changed, Changed::NotFound);
        assert_eq!(store.alert(nobody).wait().unwrap(), None);
    }
}

fn together(place: &dyn Place) {
    let store = place.open();
    let events = vec![
        Event::create("a").dedup_key("a"),
        Event::create("b").dedup_key("a"),
        Event::resolve("a"),
        Event::create("c").dedup_key("a"),
    ];
    let effects = store.submit(submission("ops", events)).wait().unwrap();
    use Effect::{Occurred, Opened, Resolved};
    assert_eq!(effects, [Opened(1), Occurred(1), Resolved(1), Opened(2)]);
}

fn races(place: &dyn Place) {
    let store = place.open();
    let senders: Vec<_> = (0..16)
        .map(|sender| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for round in 0..50 {
                    let event = Event::create("x").dedup_key("k").event_id(format!("e{round}"));
                    commit(&*store, event);
                    commit(&*store, Event::create("own").event_id(format!("{sender}-{round}")));
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let alerts = all(&*store);
    let shared: Vec<_> = alerts.iter().filter(|alert| alert.title == "x").collect();
    assert_eq!((shared.len(), shared[0].occurrences), (1, 50));
    let numbers: Vec<_> = alerts.iter().rev().map(|alert| alert.number).collect();
    assert_eq!(numbers, (1..=801).collect::<Vec<_>>());
}

fn pages(place: &dyn Place) {
    let store = place.open();
    for number in 1..=25_u64 {
        let urgency = if number % 5 == 0 { Urgency::High } else { Urgency::Low };
        let integration = if number % 2 == 0 { "even" } else { "odd" };
        let event = Event::create(number.to_string()).urgency(urgency);
        store.submit(submission(integration, vec![event])).wait().unwrap();
    }
    by_hand(&*store, 7, Change::Resolve);
    let seen: Vec<_> = all(&*store).iter().map(|alert| alert.number).collect();
    assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>());
    let numbers = |query: AlertQuery| {
        let page = store.alerts(AlertQuery { limit: 3, ..query }).wait().unwrap();
        (page.alerts.iter().map(|alert| alert.number).collect::<Vec<_>>(), page.next)
    };
    let query = AlertQuery::default;
    assert_eq!(numbers(query()), (vec![25, 24, 23], Some(23)));
    assert_eq!(numbers(AlertQuery { before: Some(3), ..query() }), (vec![2, 1], None));
    assert_eq!(numbers(AlertQuery { before: Some(4), ..query() }), (vec![3, 2, 1], None));
    let resolved = AlertQuery { status: Some(Status::Resolved), ..query() };
    assert_eq!(numbers(resolved), (vec![7], None));
    let high = AlertQuery { urgency: Some(Urgency::High), before: Some(25), ..query() };
    assert_eq!(numbers(high), (vec![20, 15, 10], Some(10)));
    let even = AlertQuery { integration: Some("even".into()), before: Some(8), ..query() };
    assert_eq!(numbers(even), (vec![6, 4, 2], None));
    let nobody = AlertQuery { integration: Some("nobody".into()), ..query() };
    assert_eq!(numbers(nobody), (vec![], None));
}

fn records(place: &dyn Place) {
    let store = place.open();
    let raw = RawRequest { query: "q".into(), headers: "h: v".into(), body: "body".into() };
    let contents = [
        ("events", None, Some(1), events(vec![Event::create("x")])),
        ("ignored", Some("a bot"), None, Content::Ignored { reason: "a bot".into() }),
        ("malformed", Some("no text"), None, Content::Malformed { reason: "no text".into() }),
        ("failed", Some("panicked"), None, Content::Failed { reason: "panicked".into(), raw }),
    ];
    for (outcome, reason, alert, content) in contents {
        let sent = Submission { content, ..submission("ops", Vec::new()) };
        store.submit(sent.clone()).wait().unwrap();
        let record = store.request(sent.request_id).wait().unwrap().expect("a record");
        assert_eq!((record.outcome.as_str(), record.reason.as_deref()), (outcome, reason));
        assert_eq!((record.alert, record.received_at), (alert, sent.received_at));
        assert_eq!(record.plugin.as_ref(), sent.plugin.as_deref());
    }
    assert_eq!(store.request(Ulid::nil()).wait().unwrap(), None);
}

fn closed(place: &dyn Place) {
    let store = place.open();
    store.close();
    store.close();
    let late = store.submit(submission("ops", vec![Event::create("late")])).wait();
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(matches!(store.alert(AlertRef::Number(1)).wait(), Err(StoreError::Closed)));
}

fn submission(integration: &str, events: Vec<Event>) -> Submission {
    let now = Timestamp::now().as_millisecond();
    Submission {
        request_id: Ulid::generate(),
        received_at: Timestamp::from_millisecond(now).unwrap(),
        integration: integration.into(),
        plugin: Some(Arc::new(PluginId { name: "test".into(), version: "1.0.0".into() })),
        content: self::events(events),
    }
}

fn events(events: Vec<Event>) -> Content {
    Content::Events { events, default_urgency: Urgency::Medium }
}

fn commit(store: &dyn Store, event: Event) -> Vec<Effect> {
    store.submit(submission("ops", vec![event])).wait().expect("it commits")
}

fn by_hand(store: &dyn Store, number: u64, change: Change) -> AlertWithHistory {
    match store.change(AlertRef::Number(number), change, "steve").wait().expect("it commits") {
        Changed::Done(alert) => *alert,
        other => panic!("{other:?}"),
    }
}

fn get(store: &dyn Store, alert: AlertRef) -> AlertWithHistory {
    store.alert(alert).wait().expect("it reads").expect("the alert is there")
}

fn all(store: &dyn Store) -> Vec<Alert> {
    let (mut alerts, mut before) = (Vec::new(), None);
    loop {
        let query = AlertQuery { limit: 10, before, ..AlertQuery::default() };
        let page = store.alerts(query).wait().expect("it reads");
        alerts.extend(page.alerts);
        before = page.next;
        if before.is_none() {
            return alerts;
        }
    }
}

//! What every store has to keep, as tests that run against any of them.
//!
//! It knows no store: [`StoreFixture`] is where one is opened, closed and opened again.

use std::{sync::Arc, thread, time::Duration};

use jiff::Timestamp;
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::{
    AlertQuery, EVENTS_TOGETHER, ManualAction, ManualChange, ManualChangeOutcome, Store,
    StoreError,
    fixture::{StoreFixture, submission},
    housekeeping::{Forgettable, HousekeepingProgress, HousekeepingStep, HousekeepingTask},
    model,
    request::{
        Content, Effect, EventEffect, Kept, RawRequest, RawState, RequestOutcome, RequestQuery,
        Share, ShareBounds, Submission, Terms,
    },
};
use crate::alert::{Actor, Alert, AlertRef, AlertWithHistory, ChangeKind, Status};

type Promise = fn(&dyn StoreFixture);

/// Runs every promise on a fresh place.
pub(super) fn keep<P: StoreFixture>(fresh: impl Fn() -> P) {
    let promises: [(&str, Promise); 36] = [
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
        ("records are found by outcome, integration and time", lists_of_records),
        ("a record says what each event did", effects_of_requests),
        ("what a plugin failed on waits, the oldest leave first", quarantine),
        ("the sender that has most of the quarantine loses first", shares_of_senders),
        ("large requests leave before small ones", large_ones_leave_first),
        ("the oldest small requests stay whoever comes after them", the_oldest_small_ones_stay),
        ("malformed requests have a share of their own", share_of_malformed),
        ("a replay comes once", replays),
        ("a repeated report changes a count, and its differences are kept", repeated_reports),
        ("histories have an end", histories_have_an_end),
        ("what is reported after it was resolved links back", reopening),
        ("in maintenance no alert opens", maintenance),
        ("alerts resolve by themselves", automatic_resolve),
        ("what is old is forgotten, what is open never", forgetting),
        ("what is large is forgotten in several steps", forgetting_what_is_large),
        ("people write notes", notes),
        ("a clock that jumps back confuses nothing", a_clock_that_jumps_back),
        ("any sequence of actions gives what a simple model gives", super::model::sequences),
        ("racing senders give what a simple model gives", super::model::races),
        ("so do those who race for one key", super::model::races_for_one_key),
        ("many events of one request are committed in full and in their order", many_events),
        ("a request of many events holds up neither small ones nor others of its kind", turns),
        ("what was submitted before the end is committed, however much", many_events_at_the_end),
        ("many events of one request are replayed once", replay_of_many_events),
        ("a closed store says so", closed),
    ];
    for (promise, test) in promises {
        eprintln!("a store: {promise}");
        test(&fresh());
    }
}

fn survives(place: &dyn StoreFixture) {
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

fn numbers(place: &dyn StoreFixture) {
    let store = place.open();
    for number in 1..=50 {
        let event = Event::create("x").dedup_key(format!("{number}")).event_id(format!("{number}"));
        assert_eq!(commit(&*store, event.clone()), [Effect::Opened(number)]);
        assert_eq!(commit(&*store, event.clone()), [Effect::Duplicate(Some(number))]);
        let again = event.event_id("again");
        assert_ne!(commit(&*store, again), [Effect::Opened(number + 1)]);
    }
    assert!(store.size_bytes().wait().unwrap() > 0);
}

fn same_delivery(place: &dyn StoreFixture) {
    let store = place.open();
    let event = Event::create("x").dedup_key("k").event_id("e");
    assert_eq!(commit(&*store, event.clone()), [Effect::Opened(1)]);
    assert_eq!(commit(&*store, event.clone()), [Effect::Duplicate(Some(1))]);
    by_hand(&*store, 1, ManualAction::Resolve);
    assert_eq!(
        commit(&*store, event.clone()),
        [Effect::Duplicate(Some(1))],
        "whatever became of the alert"
    );
    assert_eq!(commit(&*store, Event::resolve("k").event_id("e")), [Effect::Duplicate(Some(1))]);
    assert_eq!(get(&*store, AlertRef::Number(1)).alert.occurrences, 1);
    assert_eq!(commit(&*store, Event::create("no keys")), [Effect::Opened(2)]);
    assert_eq!(commit(&*store, Event::create("no keys")), [Effect::Opened(3)]);
}

fn same_problem(place: &dyn StoreFixture) {
    let store = place.open();
    assert_eq!(commit(&*store, Event::create("x").dedup_key("k")), [Effect::Opened(1)]);
    assert_eq!(commit(&*store, Event::create("y").dedup_key("k")), [Effect::Occurred(1)]);
    by_hand(&*store, 1, ManualAction::Acknowledge);
    assert_eq!(commit(&*store, Event::create("z").dedup_key("k")), [Effect::Occurred(1)]);
    let known = get(&*store, AlertRef::Number(1));
    assert_eq!((known.alert.occurrences, known.alert.title.as_str()), (3, "x"));
    assert_eq!(known.alert.status, Status::Acknowledged);
    let kinds: Vec<_> = known.history.iter().map(|entry| entry.change).collect();
    use ChangeKind::{Acknowledged, Created, Occurred};
    assert_eq!(kinds, [Created, Occurred, Acknowledged, Occurred]);
    by_hand(&*store, 1, ManualAction::Resolve);
    assert_eq!(commit(&*store, Event::create("again").dedup_key("k")), [Effect::Opened(2)]);
}

fn keys_are_scoped(place: &dyn StoreFixture) {
    let store = place.open();
    let event = || Event::create("x").dedup_key("k").event_id("e");
    for (integration, number) in [("one", 1), ("two", 2)] {
        let effects = store.submit(submission(integration, vec![event()])).wait().unwrap();
        assert_eq!(effects, [Effect::Opened(number)]);
    }
}

fn life_by_events(place: &dyn StoreFixture) {
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
    assert!(over.history.iter().all(|entry| entry.by.to_string() == "integration ops"));
    assert!(over.history.iter().all(|entry| entry.request_id.is_some()));
}

fn life_by_hand(place: &dyn StoreFixture) {
    let store = place.open();
    commit(&*store, Event::create("x"));
    let acknowledged = by_hand(&*store, 1, ManualAction::Acknowledge);
    assert_eq!(acknowledged.alert.status, Status::Acknowledged);
    assert_eq!(by_hand(&*store, 1, ManualAction::Acknowledge), acknowledged, "twice is once");
    let resolved = by_hand(&*store, 1, ManualAction::Resolve);
    assert_eq!(resolved.alert.status, Status::Resolved);
    assert!(resolved.alert.updated_at >= resolved.alert.created_at);
    assert_eq!(resolved.history.last().unwrap().by, steve());
    let late = store.change(AlertRef::Number(1), by_steve(ManualAction::Acknowledge));
    assert_eq!(late.wait().unwrap(), ManualChangeOutcome::AlreadyResolved);
    for nobody in [AlertRef::Number(2), AlertRef::Number(u64::MAX), AlertRef::Id(Ulid::nil())] {
        let changed = store.change(nobody, by_steve(ManualAction::Resolve)).wait().unwrap();
        assert_eq!(changed, ManualChangeOutcome::NotFound);
        assert_eq!(store.alert(nobody).wait().unwrap(), None);
    }
}

fn together(place: &dyn StoreFixture) {
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

fn races(place: &dyn StoreFixture) {
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

fn pages(place: &dyn StoreFixture) {
    let store = place.open();
    for number in 1..=25_u64 {
        let urgency = if number % 5 == 0 { Urgency::High } else { Urgency::Low };
        let integration = if number % 2 == 0 { "even" } else { "odd" };
        let event = Event::create(number.to_string()).urgency(urgency);
        store.submit(submission(integration, vec![event])).wait().unwrap();
    }
    by_hand(&*store, 7, ManualAction::Resolve);
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

fn records(place: &dyn StoreFixture) {
    let store = place.open();
    let contents = [
        (None, Some(1), events(vec![Event::create("x")], Urgency::Low.into())),
        (Some("a bot"), None, nothing(RequestOutcome::Ignored, "a bot")),
        (Some("no text"), None, nothing(RequestOutcome::Malformed, "no text")),
        (Some("panicked"), None, nothing(RequestOutcome::Failed, "panicked")),
        (Some("token"), None, nothing(RequestOutcome::Unauthorized, "token")),
        (Some("too large"), None, nothing(RequestOutcome::Refused, "too large")),
    ];
    for ((reason, alert, content), outcome) in contents.into_iter().zip(RequestOutcome::ALL) {
        let sent = Submission { content, ..submission("ops", Vec::new()) };
        store.submit(sent.clone()).wait().unwrap();
        let record = store.request(sent.request_id).wait().unwrap().expect("a record");
        assert_eq!((record.outcome, record.reason.as_deref()), (outcome, reason));
        assert_eq!((record.alert, record.received_at), (alert, sent.received_at));
        assert_eq!(record.plugin.as_ref(), sent.plugin.as_deref());
        assert_eq!(record.sender.as_deref(), Some("192.0.2.1"));
        assert_eq!((record.size_bytes, record.plugin_us), (Some(4), Some(17)));
        assert!(record.commit_us.is_some_and(|us| us > 0), "{record:?}");
        assert_eq!((record.raw, record.replay), (RawState::Absent, None));
    }
    assert_eq!(store.request(Ulid::nil()).wait().unwrap(), None);
    let first = store.requests(RequestQuery { limit: 10, ..RequestQuery::default() });
    let first = first.wait().unwrap().requests.pop().expect("the oldest");
    store.close();
    let store = place.open();
    let again = store.request(first.id).wait().unwrap().expect("a record");
    assert_eq!(again, first, "how long its transaction took is known for good");
}

fn lists_of_records(place: &dyn StoreFixture) {
    let store = place.open();
    let mut ids = Vec::new();
    for second in 0..12_u64 {
        let integration = if second % 2 == 0 { "even" } else { "odd" };
        let mut sent = submission(integration, vec![Event::create("x")]);
        sent.request_id = Ulid::from_parts(1_700_000_000_000 + 1000 * second, 0);
        if second % 3 == 0 {
            sent.content = nothing(RequestOutcome::Ignored, "a bot");
        }
        store.submit(sent.clone()).wait().unwrap();
        ids.push(sent.request_id);
    }
    let list = |query: RequestQuery| {
        let page = store.requests(RequestQuery { limit: 3, ..query }).wait().unwrap();
        let place = |id: Ulid| ids.iter().position(|one| *one == id).expect("one of ours");
        let places: Vec<_> = page.requests.iter().map(|record| place(record.id)).collect();
        (places, page.next.map(place))
    };
    let all = RequestQuery::default;
    assert_eq!(list(all()), (vec![11, 10, 9], Some(9)));
    assert_eq!(list(RequestQuery { before: Some(ids[2]), ..all() }), (vec![1, 0], None));
    let ignored = Some(RequestOutcome::Ignored);
    assert_eq!(list(RequestQuery { outcome: ignored, ..all() }), (vec![9, 6, 3], Some(3)));
    let events = Some(RequestOutcome::Events);
    let before = Some(ids[5]);
    assert_eq!(list(RequestQuery { outcome: events, before, ..all() }), (vec![4, 2, 1], None));
    let even = Some("even".to_owned());
    assert_eq!(list(RequestQuery { integration: even, ..all() }), (vec![10, 8, 6], Some(6)));
    let (since, until) = (Some(at(4)), Some(at(6)));
    assert_eq!(list(RequestQuery { since, until, ..all() }), (vec![5, 4], None));
    assert_eq!(list(RequestQuery { quarantined: true, ..all() }), (vec![], None));
}

fn effects_of_requests(place: &dyn StoreFixture) {
    let store = place.open();
    let sent = submission(
        "ops",
        vec![
            Event::resolve("k"),
            Event::create("x").dedup_key("k").event_id("e"),
            Event::create("y").dedup_key("k"),
            Event::create("x").event_id("e"),
            Event::acknowledge("k"),
            Event::resolve("k"),
        ],
    );
    store.submit(sent.clone()).wait().unwrap();
    let record = store.request(sent.request_id).wait().unwrap().expect("a record");
    let effects = record.effects.iter().map(|effect| (effect.effect.as_str(), effect.alert));
    let (alert, none) = (Some(1), None);
    assert_eq!(
        effects.collect::<Vec<_>>(),
        [
            ("no_match", none),
            ("opened", alert),
            ("occurred", alert),
            ("duplicate", alert),
            ("acknowledged", alert),
            ("resolved", alert)
        ]
    );
    assert_eq!((record.alert, record.outcome), (Some(1), RequestOutcome::Events));
}

fn failed(integration: &str, body: &str, bounds: ShareBounds) -> Submission {
    let raw =
        RawRequest { query: "q".into(), headers: "h: v\n".into(), body: body.to_owned().into() };
    let kept = Some(Kept { raw, share: Some((Share::Quarantine, bounds)) });
    let content = nothing(RequestOutcome::Failed, "panicked");
    Submission { content, kept, ..submission(integration, Vec::new()) }
}

const WIDE: ShareBounds = ShareBounds { count: 100, bytes: 100_000 };

fn quarantine(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 3, bytes: 1000 };
    let sent: Vec<_> = (0..5).map(|number| failed("ops", &format!("{number}"), bounds)).collect();
    for one in &sent {
        store.submit(one.clone()).wait().unwrap();
    }
    store.submit(failed("other", "x", bounds)).wait().unwrap();
    let raw =
        |store: &dyn Store, one: &Submission| store.raw_request(one.request_id).wait().unwrap();
    let bodies: Vec<_> = sent.iter().map(|one| raw(&*store, one).map(|raw| raw.body)).collect();
    assert_eq!(bodies, [None, None, Some("2".into()), Some("3".into()), Some("4".into())]);
    assert_eq!(raw(&*store, &sent[4]), sent[4].kept.as_ref().map(|kept| kept.raw.clone()));
    let waiting = store.quarantine().wait().unwrap();
    assert_eq!(waiting.iter().map(|one| &*one.integration).collect::<Vec<_>>(), ["ops", "other"]);
    assert_eq!((waiting[0].count, waiting[0].bytes, waiting[0].pushed_out), (3, 3 * 7, 2));
    let large = failed("ops", &"x".repeat(990), bounds);
    store.submit(large.clone()).wait().unwrap();
    assert_eq!(
        (store.quarantine().wait().unwrap()[0].count, store.quarantine().wait().unwrap()[0].bytes),
        (1, 996)
    );
    let states = |one: &Submission| store.request(one.request_id).wait().unwrap().unwrap().raw;
    assert_eq!([&sent[4], &large].map(states), [RawState::Absent, RawState::Quarantined]);
    let page = store.requests(RequestQuery { quarantined: true, limit: 9, ..Default::default() });
    assert_eq!(page.wait().unwrap().requests.len(), 2);
    store.close();
    let counts: Vec<_> =
        place.open().quarantine().wait().unwrap().iter().map(|one| one.count).collect();
    assert_eq!(counts, [1, 1], "they wait on");
}

/// A request on which the plugin failed, from a sender.
fn failed_from(sender: [u8; 4], body: &str, bounds: ShareBounds) -> Submission {
    Submission { sender: Some(sender.into()), ..failed("ops", body, bounds) }
}

const ATTACKER: [u8; 4] = [203, 0, 113, 9];

fn is_kept(store: &dyn Store, one: &Submission) -> bool {
    store.raw_request(one.request_id).wait().unwrap().is_some()
}

fn count_kept(store: &dyn Store, all: &[Submission]) -> usize {
    all.iter().filter(|one| is_kept(store, one)).count()
}

fn shares_of_senders(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 50, bytes: 1_000_000 };
    let genuine: Vec<_> =
        (0..20).map(|number| failed_from([192, 0, 2, number], "genuine", bounds)).collect();
    genuine.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    let flood: Vec<_> = (0..200).map(|_| failed_from(ATTACKER, "flood", bounds)).collect();
    flood.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    assert_eq!(count_kept(&*store, &genuine), 20, "a flood pushes out its own");
    assert_eq!(count_kept(&*store, &flood), 30);
    let flood_v6: Vec<_> = (0..200_u16)
        .map(|number| Submission {
            // Any of the addresses that a subscriber of IPv6 has.
            sender: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, number].into()),
            ..failed_from(ATTACKER, "flood", bounds)
        })
        .collect();
    flood_v6.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    assert_eq!(count_kept(&*store, &genuine), 20);
    store.close();
    // The shares are known after a restart.
    let store = place.open();
    let more: Vec<_> = (0..50).map(|_| failed_from(ATTACKER, "flood", bounds)).collect();
    more.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    assert_eq!(count_kept(&*store, &genuine), 20);
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 50);
}

fn large_ones_leave_first(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 10_000, bytes: 1_000_000 };
    let genuine: Vec<_> = (0..20).map(|_| failed_from([192, 0, 2, 1], "genuine", bounds)).collect();
    genuine.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    // Each from another address, as a botnet has them.
    let body = "x".repeat(100_000);
    let flood: Vec<_> =
        (0..70).map(|number| failed_from([203, 0, 113, number], &body, bounds)).collect();
    flood.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    assert_eq!(count_kept(&*store, &genuine), 20);
    assert!(count_kept(&*store, &flood) >= 8);
    assert!(store.quarantine().wait().unwrap()[0].bytes <= 1_000_000);
}

fn the_oldest_small_ones_stay(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 1000, bytes: 10_000_000 };
    let genuine: Vec<_> = (0..10).map(|_| failed_from([192, 0, 2, 1], "genuine", bounds)).collect();
    genuine.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    // One from each of many addresses: each of them has less than the genuine sender.
    for number in 0..2000_u16 {
        let [high, low] = number.to_be_bytes();
        let one = failed_from([203, 0, high, low], "flood", bounds);
        drop(store.submit(one).wait().unwrap());
    }
    assert_eq!(count_kept(&*store, &genuine), 10, "they are the oldest hundredth");
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 1000);
}

fn share_of_malformed(place: &dyn StoreFixture) {
    let store = place.open();
    let waits = failed("ops", "waits", WIDE);
    store.submit(waits.clone()).wait().unwrap();
    let bounds = ShareBounds { count: 5, bytes: 100_000 };
    let garbage: Vec<_> = (0..50)
        .map(|number| {
            let raw = RawRequest { body: "x".repeat(30_000).into(), ..RawRequest::default() };
            Submission {
                content: nothing(RequestOutcome::Malformed, "no JSON"),
                kept: Some(Kept { raw, share: Some((Share::Malformed, bounds)) }),
                sender: Some([203, 0, 113, number].into()),
                ..submission("ops", Vec::new())
            }
        })
        .collect();
    garbage.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    assert_eq!(count_kept(&*store, &garbage), 3, "as many as the bytes allow");
    assert!(is_kept(&*store, &waits), "they push out nothing of another share");
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 1, "and wait for nothing");
    let record = store.request(garbage[0].request_id).wait().unwrap().expect("its record stays");
    assert_eq!(record.outcome, RequestOutcome::Malformed);
}

fn replays(place: &dyn StoreFixture) {
    let store = place.open();
    let sent = failed("ops", "body", WIDE);
    store.submit(sent.clone()).wait().unwrap();
    let again = |content: Content| {
        let (request_id, replayed_by) = (sent.request_id, Some(steve()));
        Submission { request_id, replayed_by, content, ..submission("ops", Vec::new()) }
    };
    let still = again(nothing(RequestOutcome::Failed, "panicked again"));
    store.submit(still).wait().unwrap();
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 1, "it goes on waiting");

    let events =
        || again(events(vec![Event::create("x"), Event::create("y")], Urgency::High.into()));
    assert_eq!(store.rehearse(events()).wait().unwrap(), [Effect::Opened(1), Effect::Opened(2)]);
    assert!(all(&*store).is_empty(), "a rehearsal changes nothing");
    assert_eq!(store.submit(events()).wait().unwrap(), [Effect::Opened(1), Effect::Opened(2)]);
    let (one, two) = (Effect::Duplicate(Some(1)), Effect::Duplicate(Some(2)));
    assert_eq!(store.submit(events()).wait().unwrap(), [one, two], "however often: once");
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 0);

    let record = store.request(sent.request_id).wait().unwrap().expect("a record");
    assert_eq!((record.outcome, record.raw), (RequestOutcome::Failed, RawState::Kept));
    let replay = record.replay.expect("it was replayed");
    assert_eq!((replay.by, replay.tries), (steve(), 3));
    assert_eq!(replay.outcome, RequestOutcome::Events);
    assert_eq!(replay.effects, [one, two].map(EventEffect::from));
    let alert = get(&*store, AlertRef::Number(1));
    assert_eq!(alert.alert.request_id, sent.request_id);
    assert_eq!(alert.history.last().unwrap().by.to_string(), "replay by command line, steve");

    // What came without ids when it was heeded the first time is not heeded again.
    let heeded = submission("ops", vec![Event::create("z")]);
    store.submit(heeded.clone()).wait().unwrap();
    let replayed = Submission { replayed_by: Some(steve()), ..heeded };
    assert_eq!(store.submit(replayed).wait().unwrap(), [Effect::Duplicate(None)]);
    let not_genuine = failed("ops", "x", WIDE);
    store.submit(not_genuine.clone()).wait().unwrap();
    let content = nothing(RequestOutcome::Unauthorized, "token");
    let (kept, replayed_by) = (None, Some(steve()));
    let id = not_genuine.request_id;
    store.submit(Submission { content, kept, replayed_by, ..not_genuine }).wait().unwrap();
    assert_eq!(store.raw_request(id).wait().unwrap(), None, "it is not kept");
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 0);
}

fn repeated_reports(place: &dyn StoreFixture) {
    let store = place.open();
    let first = Event::create("disk full").urgency(Urgency::Low).dedup_key("k").event_id("e");
    commit(&*store, first.clone());
    let other = Event::create("disk overflowing").urgency(Urgency::Critical).dedup_key("k");
    for _ in 0..3 {
        assert_eq!(commit(&*store, other.clone()), [Effect::Occurred(1)]);
    }
    for _ in 0..2 {
        assert_eq!(commit(&*store, first.clone()), [Effect::Duplicate(Some(1))]);
    }
    let AlertWithHistory { alert, history } = get(&*store, AlertRef::Number(1));
    assert_eq!((alert.occurrences, alert.title.as_str()), (4, "disk full"));
    assert_eq!(alert.urgency, Urgency::Low);
    assert_eq!(alert.last_occurred_at, history[1].last_at);
    let kinds: Vec<_> = history.iter().map(|entry| (entry.change, entry.count)).collect();
    use ChangeKind::{Created, Duplicated, Occurred};
    assert_eq!(kinds, [(Created, 1), (Occurred, 3), (Duplicated, 2)], "in a row, they are one");
    let differences = history[1].differences.iter();
    let differences: Vec<_> =
        differences.map(|it| (&*it.field, &*it.kept, &*it.reported)).collect();
    assert_eq!(
        differences,
        [("title", "disk full", "disk overflowing"), ("urgency", "low", "critical")]
    );
}

fn histories_have_an_end(place: &dyn StoreFixture) {
    let store = place.open();
    commit(&*store, Event::create("x").dedup_key("k"));
    for number in 0..600 {
        commit(&*store, Event::create(format!("{number}")).dedup_key("k"));
    }
    let AlertWithHistory { alert, history } = get(&*store, AlertRef::Number(1));
    assert_eq!((alert.occurrences, history.len()), (601, 501));
    let last = history.last().unwrap();
    assert_eq!((last.count, last.differences[0].reported.as_str()), (101, "599"));
}

fn reopening(place: &dyn StoreFixture) {
    let store = place.open();
    for number in 1..=3 {
        assert_eq!(commit(&*store, Event::create("x").dedup_key("k")), [Effect::Opened(number)]);
        let alert = get(&*store, AlertRef::Number(number)).alert;
        assert_eq!(alert.previous, number.checked_sub(1).filter(|previous| *previous > 0));
        commit(&*store, Event::resolve("k"));
    }
    let reopened = get(&*store, AlertRef::Number(2)).history.pop().unwrap();
    assert_eq!((reopened.change, reopened.next), (ChangeKind::Reopened, Some(3)));
    assert_eq!(commit(&*store, Event::create("x").dedup_key("other")), [Effect::Opened(4)]);
    assert_eq!(get(&*store, AlertRef::Number(4)).alert.previous, None);
}

fn maintenance(place: &dyn StoreFixture) {
    let store = place.open();
    let event = || Event::create("x").dedup_key("k").event_id("e");
    let closed = Terms { opens: false, ..Urgency::Low.into() };
    assert_eq!(with_terms(&*store, event(), closed), [Effect::Suppressed]);
    assert!(all(&*store).is_empty());
    assert_eq!(commit(&*store, event()), [Effect::Opened(1)], "it was not taken for seen");
    let again = Event::create("x").dedup_key("k");
    assert_eq!(with_terms(&*store, again, closed), [Effect::Occurred(1)], "it is open already");
    assert_eq!(with_terms(&*store, Event::resolve("k"), closed), [Effect::Resolved(1)]);
    let content = events(vec![Event::create("x")], closed);
    let sent = Submission { content, ..submission("ops", Vec::new()) };
    store.submit(sent.clone()).wait().unwrap();
    let record = store.request(sent.request_id).wait().unwrap().expect("a record");
    assert_eq!(record.outcome, RequestOutcome::Maintenance);
}

fn automatic_resolve(place: &dyn StoreFixture) {
    let store = place.open();
    let terms = |seconds| Terms {
        resolve_after: Some(Duration::from_secs(seconds)),
        ..Urgency::Low.into()
    };
    let arrive = |second, key: &str, terms| {
        let content = events(vec![Event::create("x").dedup_key(key)], terms);
        let received_at = at(second);
        store.submit(Submission { content, received_at, ..submission("ops", Vec::new()) }).wait()
    };
    arrive(0, "a", terms(60)).unwrap();
    arrive(0, "b", terms(60)).unwrap();
    arrive(0, "never", Urgency::Low.into()).unwrap();
    arrive(30, "b", terms(60)).unwrap();
    assert_eq!(get(&*store, AlertRef::Number(1)).alert.resolves_at, Some(at(60)));
    let resolve = |second| housekeep(&*store, HousekeepingTask::ResolveDue { now: at(second) }, 10);
    assert_eq!([59, 60, 60, 89, 90, 100_000].map(resolve), [0, 1, 0, 0, 1, 0]);
    let over = get(&*store, AlertRef::Number(1));
    assert_eq!((over.alert.status, over.alert.resolves_at), (Status::Resolved, None));
    assert_eq!(over.history.last().unwrap().by, Actor::AutomaticResolve);
    assert_eq!(get(&*store, AlertRef::Number(3)).alert.status, Status::Open);

    // Another time for what is open already, found step by step.
    for number in 0..50 {
        arrive(200, &format!("{number}"), terms(60)).unwrap();
    }
    let after = Some(Duration::from_secs(600));
    let adopt = || HousekeepingTask::ResolveAfter { integration: "ops".into(), after };
    let adopted = steps(&*store, &adopt(), 1);
    assert_eq!((adopted.len(), adopted.iter().sum()), (3, 51), "what is open, {adopted:?}");
    assert_eq!(one_step(&*store, adopt(), 1), HousekeepingProgress { count: 0, more: false });
    let times = [3, 4, 53].map(|number| get(&*store, AlertRef::Number(number)).alert.resolves_at);
    assert_eq!(times, [Some(at(600)), Some(at(800)), Some(at(800))]);
    assert_eq!(get(&*store, AlertRef::Number(2)).alert.resolves_at, None, "it is resolved");
}

fn forgetting(place: &dyn StoreFixture) {
    let store = place.open();
    for second in 0..10_u64 {
        let mut sent = failed("ops", &"x".repeat(100), WIDE);
        sent.request_id = Ulid::from_parts(1_700_000_000_000 + 1000 * second, 1);
        sent.kept =
            sent.kept.map(|kept| Kept { share: kept.share.filter(|_| second % 2 == 0), ..kept });
        store.submit(sent).wait().unwrap();
        let mut sent = submission("ops", vec![Event::create("x").dedup_key("k").event_id("e")]);
        sent.received_at = at(second.cast_signed());
        store.submit(sent).wait().unwrap();
    }
    for second in 0..4 {
        let key = format!("{second}");
        commit(&*store, Event::create("x").dedup_key(&*key).event_id(&*key));
        let (action, by) = (ManualAction::Resolve, steve());
        let change =
            ManualChange { action, by, at: Timestamp::now() + Duration::from_secs(60 * second) };
        store.change(AlertRef::Number(second + 2), change).wait().unwrap();
    }
    let forget =
        |what, before, limit| housekeep(&*store, HousekeepingTask::Forget { what, before }, limit);
    let kept = || {
        let query = RequestQuery { until: Some(at(100)), limit: 99, ..RequestQuery::default() };
        let page = store.requests(query).wait().unwrap();
        let raw = |state| page.requests.iter().filter(|one| one.raw == state).count();
        (page.requests.len(), raw(RawState::Kept), raw(RawState::Quarantined))
    };
    assert_eq!(kept(), (10, 5, 5));
    assert_eq!(forget(Forgettable::RawRequests, Some(at(4)), 10), 2);
    assert_eq!(kept(), (10, 3, 5));
    assert_eq!(forget(Forgettable::Quarantine, None, 1), 1);
    assert_eq!((kept(), store.quarantine().wait().unwrap()[0].count), ((10, 3, 4), 4));
    assert_eq!(forget(Forgettable::Records, Some(at(6)), 4), 4, "no more than was allowed");
    assert_eq!(forget(Forgettable::Records, Some(at(6)), 4), 2);
    assert_eq!((kept(), store.quarantine().wait().unwrap()[0].count), ((4, 2, 2), 2));
    assert_eq!(
        store.quarantine().wait().unwrap()[0].pushed_out,
        0,
        "age is no reason to look for a flood"
    );

    let soon = Some(Timestamp::now() + Duration::from_secs(90));
    assert_eq!(forget(Forgettable::ResolvedAlerts, soon, 99), 2, "by their last change");
    assert_eq!(forget(Forgettable::ResolvedAlerts, None, 99), 1, "the newest alert stays");
    let numbers: Vec<_> = all(&*store).iter().map(|alert| alert.number).collect();
    assert_eq!(numbers, [5, 1]);
    let again = Event::create("x").dedup_key("0").event_id("0");
    assert_eq!(
        commit(&*store, again),
        [Effect::Duplicate(None)],
        "it was seen, whatever became of it"
    );
    assert!(store.used_bytes().wait().unwrap() > 0);
    store.close();
    let store = place.open();
    assert_eq!(commit(&*store, Event::create("x").dedup_key("0")), [Effect::Opened(6)]);
    assert_eq!(get(&*store, AlertRef::Number(6)).alert.previous, None, "it is forgotten");
}

/// Much of it leaves in several steps, each of which says what it did.
fn forgetting_what_is_large(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 100, bytes: 100_000_000 };
    for _ in 0..5 {
        let large = failed("ops", &"x".repeat(1_500_000), bounds);
        store.submit(large).wait().unwrap();
    }
    let forget = HousekeepingTask::Forget { what: Forgettable::Quarantine, before: None };
    let forgotten = steps(&*store, &forget, 10);
    assert_eq!(forgotten.iter().sum::<usize>(), 5, "all of it");
    assert!(forgotten.iter().all(|count| *count < 5), "not at once: {forgotten:?}");
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 0);
    assert_eq!(one_step(&*store, forget, 10), HousekeepingProgress { count: 0, more: false });
}

fn notes(place: &dyn StoreFixture) {
    let store = place.open();
    commit(&*store, Event::create("x"));
    for action in [ManualAction::Resolve, ManualAction::Note("it was the fan".into())] {
        by_hand(&*store, 1, action);
    }
    let AlertWithHistory { alert, history } = get(&*store, AlertRef::Number(1));
    let last = history.last().unwrap();
    assert_eq!(last.note.as_deref(), Some("it was the fan"));
    assert_eq!((last.change, &last.by), (ChangeKind::Noted, &steve()));
    assert_eq!((alert.status, history.len()), (Status::Resolved, 3));
}

fn a_clock_that_jumps_back(place: &dyn StoreFixture) {
    let store = place.open();
    let arrive = |second: i64, event: Event| {
        let request_id =
            Ulid::from_parts(at(second).as_millisecond().unsigned_abs(), Ulid::generate().random());
        let received_at = at(second);
        let sent = Submission { request_id, received_at, ..submission("ops", vec![event]) };
        store.submit(sent).wait().unwrap()
    };
    assert_eq!(arrive(1000, Event::create("x").dedup_key("k")), [Effect::Opened(1)]);
    assert_eq!(arrive(0, Event::create("x").dedup_key("k")), [Effect::Occurred(1)]);
    assert_eq!(arrive(0, Event::create("y")), [Effect::Opened(2)]);
    assert_eq!(arrive(1, Event::resolve("k")), [Effect::Resolved(1)]);
    let first = get(&*store, AlertRef::Number(1)).alert;
    assert_eq!((first.updated_at, first.last_occurred_at), (at(1000), at(1000)), "never back");
    let second = get(&*store, AlertRef::Number(2)).alert;
    assert_ne!(first.id, second.id);
    assert_eq!(get(&*store, AlertRef::Id(second.id)).alert.number, 2);
    assert_eq!(all(&*store).iter().map(|alert| alert.number).collect::<Vec<_>>(), [2, 1]);
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

fn many_events(place: &dyn StoreFixture) {
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

fn turns(place: &dyn StoreFixture) {
    let store = place.open();
    let many = |parts: usize| {
        let events = (0..parts * EVENTS_TOGETHER).map(|at| Event::create(format!("{at}")));
        events.collect::<Vec<_>>()
    };
    let requests = [("most", many(20)), ("many", many(5)), ("one", vec![Event::create("one")])];
    assert_eq!(answered(&*store, requests), ["one", "many", "most"]);
}

fn many_events_at_the_end(place: &dyn StoreFixture) {
    let store = place.open();
    let sent = submission("ops", mixed_events(2 * EVENTS_TOGETHER + 1));
    let pending = store.submit(sent.clone());
    store.close();
    let effects = pending.wait().expect("it was committed");
    let record = place.open().request(sent.request_id).wait().unwrap().expect("a record");
    assert_eq!(record.effects.len(), effects.len());
}

fn replay_of_many_events(place: &dyn StoreFixture) {
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

fn closed(place: &dyn StoreFixture) {
    let store = place.open();
    store.close();
    store.close();
    let late = store.submit(submission("ops", vec![Event::create("late")])).wait();
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(matches!(store.alert(AlertRef::Number(1)).wait(), Err(StoreError::Closed)));
}

fn events(events: Vec<Event>, terms: Terms) -> Content {
    Content::Events { events, terms, remark: None }
}

fn nothing(outcome: RequestOutcome, reason: &str) -> Content {
    Content::Nothing { outcome, reason: reason.into() }
}

fn with_terms(store: &dyn Store, event: Event, terms: Terms) -> Vec<Effect> {
    let content = events(vec![event], terms);
    store
        .submit(Submission { content, ..submission("ops", Vec::new()) })
        .wait()
        .expect("it commits")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

/// How many it concerned.
fn housekeep(store: &dyn Store, task: HousekeepingTask, limit: usize) -> usize {
    one_step(store, task, limit).count
}

/// Does all of it, and gives how many each step concerned.
fn steps(store: &dyn Store, task: &HousekeepingTask, limit: usize) -> Vec<usize> {
    let mut counts = Vec::new();
    loop {
        let HousekeepingProgress { count, more } = one_step(store, task.clone(), limit);
        counts.push(count);
        if !more {
            return counts;
        }
    }
}

fn one_step(store: &dyn Store, task: HousekeepingTask, limit: usize) -> HousekeepingProgress {
    store.housekeep(HousekeepingStep { task, limit }).wait().expect("it commits")
}

fn commit(store: &dyn Store, event: Event) -> Vec<Effect> {
    store.submit(submission("ops", vec![event])).wait().expect("it commits")
}

fn by_hand(store: &dyn Store, number: u64, action: ManualAction) -> AlertWithHistory {
    match store.change(AlertRef::Number(number), by_steve(action)).wait().expect("it commits") {
        ManualChangeOutcome::Done(alert) => *alert,
        other => panic!("{other:?}"),
    }
}

fn steve() -> Actor {
    Actor::CommandLine { user: "steve".into(), token: None }
}

fn by_steve(action: ManualAction) -> ManualChange {
    ManualChange { action, by: steve(), at: Timestamp::now() }
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

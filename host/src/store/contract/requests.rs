//! Promises about records of requests, and about requests that are kept.

use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use crate::{
    alert::AlertRef,
    request::{
        Content, Effect, EventEffect, Kept, RawRequest, RawState, RequestOutcome, RequestQuery,
        RequestRecord, Share, ShareBounds, Submission,
    },
    store::{
        Store,
        fixture::{StoreFixture, WIDE, all, at, events, failed, get, nothing, steve, submission},
    },
};

pub(in crate::store) fn every_request_leaves_a_record(place: &dyn StoreFixture) {
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

pub(in crate::store) fn records_are_found_by_outcome_integration_and_time(
    place: &dyn StoreFixture,
) {
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

pub(in crate::store) fn a_record_has_the_effect_of_each_event(place: &dyn StoreFixture) {
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

/// A store may keep records in several places, but lists and pages do not show where.
pub(in crate::store) fn pages_lead_through_records_of_every_kind_newest_first(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    let contents: [fn() -> Content; 7] = [
        || events(vec![Event::create("x")], Urgency::Low.into()),
        || nothing(RequestOutcome::Ignored, "a bot"),
        || events(vec![Event::create("x").dedup_key("k")], Urgency::Low.into()),
        || events(vec![Event::create("x").dedup_key("k")], Urgency::Low.into()),
        || events(vec![Event::create("x"), Event::create("y")], Urgency::Low.into()),
        || Content::Events {
            events: vec![Event::create("x").into()],
            terms: Urgency::Low.into(),
            remark: Some("the template failed".into()),
        },
        || events(vec![Event::resolve("k")], Urgency::Low.into()),
    ];
    let mut sent = Vec::new();
    for second in 0..28_u64 {
        let integration = if second % 3 == 0 { "third" } else { "ops" };
        // Requests are not committed in the order of their ids.
        let request_id = Ulid::from_parts(1_700_000_000_000 + 1000 * (second ^ 3), 0);
        let content = contents[second as usize % contents.len()]();
        let one = Submission { request_id, content, ..submission(integration, Vec::new()) };
        store.submit(one.clone()).wait().expect("it commits");
        sent.push(one);
    }
    sent.sort_by_key(|one| std::cmp::Reverse(one.request_id));
    for (outcome, integration) in [
        (None, None),
        (Some(RequestOutcome::Events), None),
        (Some(RequestOutcome::Ignored), None),
        (None, Some("third")),
        (Some(RequestOutcome::Events), Some("ops")),
    ] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let integration = integration.map(str::to_owned);
            let query =
                RequestQuery { outcome, integration, before, limit: 3, ..RequestQuery::default() };
            let page = store.requests(query).wait().expect("it reads");
            found.extend(page.requests);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let is_ignored = |one: &Submission| matches!(one.content, Content::Nothing { .. });
        let expected = sent.iter().filter(|one| {
            outcome.is_none_or(|it| (it == RequestOutcome::Ignored) == is_ignored(one))
                && integration.is_none_or(|it| *one.integration == *it)
        });
        let expected: Vec<_> = expected.map(|one| one.request_id).collect();
        assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), expected);
        for record in found {
            assert_eq!(store.request(record.id).wait().expect("it reads"), Some(record));
        }
    }
}

pub(in crate::store) fn a_request_that_opened_one_alert_is_replayed_as_any_other(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    let raw = RawRequest { body: "x".into(), ..RawRequest::default() };
    let kept = Some(Kept { raw, share: None });
    let sent = Submission { kept, ..submission("ops", vec![Event::create("x")]) };
    store.submit(sent.clone()).wait().expect("it commits");
    let read = || store.request(sent.request_id).wait().expect("it reads").expect("a record");
    let before = read();
    assert_eq!((before.outcome, before.alert), (RequestOutcome::Events, Some(1)));
    assert_eq!((before.raw, &before.replay), (RawState::Kept, &None));
    let replay = Submission { replayed_by: Some(steve()), kept: None, ..sent.clone() };
    assert_eq!(store.submit(replay).wait().expect("it commits"), [Effect::Duplicate(None)]);
    let after = read();
    let replay = after.replay.as_ref().expect("it was replayed");
    assert_eq!((replay.tries, &replay.by), (1, &steve()));
    assert_eq!(RequestRecord { replay: None, ..after }, before, "the first outcome stays");
    assert_eq!(all(&*store).len(), 1);
}

pub(in crate::store) fn failed_requests_wait_for_a_replay_and_the_oldest_are_evicted_first(
    place: &dyn StoreFixture,
) {
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

pub(in crate::store) fn the_sender_with_most_of_the_quarantine_loses_first(
    place: &dyn StoreFixture,
) {
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
            // The sender uses any address of its IPv6 network.
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

pub(in crate::store) fn large_requests_are_evicted_before_small_ones(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 10_000, bytes: 1_000_000 };
    let genuine: Vec<_> = (0..20).map(|_| failed_from([192, 0, 2, 1], "genuine", bounds)).collect();
    genuine.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    // Each request comes from another address, as from a botnet.
    let body = "x".repeat(100_000);
    let flood: Vec<_> =
        (0..70).map(|number| failed_from([203, 0, 113, number], &body, bounds)).collect();
    flood.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    assert_eq!(count_kept(&*store, &genuine), 20);
    assert!(count_kept(&*store, &flood) >= 8);
    assert!(store.quarantine().wait().unwrap()[0].bytes <= 1_000_000);
}

pub(in crate::store) fn the_oldest_small_requests_stay(place: &dyn StoreFixture) {
    let store = place.open();
    let bounds = ShareBounds { count: 1000, bytes: 10_000_000 };
    let genuine: Vec<_> = (0..10).map(|_| failed_from([192, 0, 2, 1], "genuine", bounds)).collect();
    genuine.iter().for_each(|one| drop(store.submit(one.clone()).wait().unwrap()));
    // A request from each of many addresses: each sender has less than the genuine one.
    for number in 0..2000_u16 {
        let [high, low] = number.to_be_bytes();
        let one = failed_from([203, 0, high, low], "flood", bounds);
        drop(store.submit(one).wait().unwrap());
    }
    assert_eq!(count_kept(&*store, &genuine), 10, "they are the oldest hundredth");
    assert_eq!(store.quarantine().wait().unwrap()[0].count, 1000);
}

pub(in crate::store) fn malformed_requests_have_a_share_of_their_own(place: &dyn StoreFixture) {
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

pub(in crate::store) fn a_replay_applies_its_events_once(place: &dyn StoreFixture) {
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

    // Accepted events without ids are not applied again.
    let accepted = submission("ops", vec![Event::create("z")]);
    store.submit(accepted.clone()).wait().unwrap();
    let replayed = Submission { replayed_by: Some(steve()), ..accepted };
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

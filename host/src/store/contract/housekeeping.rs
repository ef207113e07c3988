//! Promises about recurring tasks.

use std::time::Duration;

use jiff::Timestamp;
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use crate::{
    alert::{Actor, AlertRef, Status},
    request::{Effect, Kept, RawRequest, RawState, RequestQuery, ShareBounds, Submission, Terms},
    store::{
        ManualAction, ManualChange,
        fixture::{
            StoreFixture, WIDE, all, at, commit, events, failed, get, housekeep, one_step, steps,
            steve, submission,
        },
        housekeeping::{Forgettable, HousekeepingProgress, HousekeepingTask},
    },
};

pub(in crate::store) fn silent_alerts_resolve_automatically(place: &dyn StoreFixture) {
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

    // Alerts that are open already get another time, step by step.
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

pub(in crate::store) fn old_data_is_deleted_and_open_alerts_stay(place: &dyn StoreFixture) {
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
    let effects = commit(&*store, Event::create("x").dedup_key("0"));
    let [Effect::Opened(number)] = effects[..] else { panic!("{effects:?}") };
    assert!(number == 6 || place.is_shared() && number > 6, "{number}");
    assert_eq!(get(&*store, AlertRef::Number(number)).alert.previous, None, "it is forgotten");
}

pub(in crate::store) fn a_record_outlives_its_alert(place: &dyn StoreFixture) {
    let store = place.open();
    let raw = RawRequest { body: "x".into(), ..RawRequest::default() };
    let kept = Some(Kept { raw, share: None });
    let sent = Submission { kept, ..submission("ops", vec![Event::create("x").dedup_key("k")]) };
    store.submit(sent.clone()).wait().expect("it commits");
    commit(&*store, Event::create("the newest alert stays"));
    commit(&*store, Event::resolve("k"));
    let read = || store.request(sent.request_id).wait().expect("it reads");
    let before = read().expect("a record");
    let forget = |what| housekeep(&*store, HousekeepingTask::Forget { what, before: None }, 99);
    assert_eq!(forget(Forgettable::ResolvedAlerts), 1);
    assert_eq!(store.alert(AlertRef::Number(1)).wait().expect("it reads"), None);
    assert_eq!(read(), Some(before), "with the number of the alert");
    assert!(store.raw_request(sent.request_id).wait().expect("it reads").is_some());
    let list = || store.requests(RequestQuery { limit: 9, ..RequestQuery::default() }).wait();
    assert_eq!(list().expect("it reads").requests.len(), 3);
    assert_eq!(forget(Forgettable::Records), 3);
    assert_eq!(read(), None);
    assert_eq!(store.raw_request(sent.request_id).wait().expect("it reads"), None);
    assert!(list().expect("it reads").requests.is_empty());
}

pub(in crate::store) fn an_alert_outlives_its_record(place: &dyn StoreFixture) {
    let store = place.open();
    let sent: Vec<_> = (0..7)
        .map(|second| Submission {
            request_id: Ulid::from_parts(1_700_000_000_000 + 1000 * second, 0),
            ..submission("ops", vec![Event::create("x").dedup_key(format!("{}", second / 2))])
        })
        .collect();
    sent.iter().for_each(|one| drop(store.submit(one.clone()).wait().expect("it commits")));
    let alerts = || (1..=4).map(|number| get(&*store, AlertRef::Number(number))).collect();
    let before: Vec<_> = alerts();
    let forget = HousekeepingTask::Forget { what: Forgettable::Records, before: Some(at(5)) };
    assert_eq!(steps(&*store, &forget, 2), [2, 2, 1], "the oldest first");
    let is_there = |one: &Submission| store.request(one.request_id).wait().unwrap().is_some();
    let left: Vec<_> = sent.iter().map(is_there).collect();
    assert_eq!(left, [false, false, false, false, false, true, true]);
    assert_eq!(alerts(), before, "nothing of the alerts changes");
    assert_eq!(one_step(&*store, forget, 2), HousekeepingProgress { count: 0, more: false });
}

/// Much of it leaves in several steps, each of which says what it did.
pub(in crate::store) fn large_requests_are_deleted_in_several_steps(place: &dyn StoreFixture) {
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

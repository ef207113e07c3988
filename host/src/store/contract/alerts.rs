//! Promises about alerts, their histories, and changes to them.

use std::{sync::Arc, thread};

use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use crate::{
    alert::{Alert, AlertRef, AlertWithHistory, ChangeKind, Status},
    request::{Effect, RequestOutcome, Submission, Terms},
    store::{
        AlertQuery, ManualAction, ManualChangeOutcome, StoreError, UnresolvedCount,
        fixture::{
            StoreFixture, all, at, by_hand, by_steve, commit, events, get, steve, submission,
            with_terms,
        },
    },
};

pub(in crate::store) fn committed_alerts_survive_a_restart(place: &dyn StoreFixture) {
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

pub(in crate::store) fn alerts_are_found_by_their_text_and_their_time(place: &dyn StoreFixture) {
    let store = place.open();
    for (at_second, event) in [
        (1, Event::create("Disk full").description("on db_1")),
        (2, Event::create("network").dedup_key("disk-2")),
        (3, Event::create("100 % load").detail("Host", "db21")),
    ] {
        let sent = Submission { received_at: at(at_second), ..submission("ops", vec![event]) };
        store.submit(sent).wait().expect("stored");
    }
    let found = |search: Option<&str>, since: Option<i64>| -> Vec<u64> {
        let (search, since) = (search.map(Into::into), since.map(at));
        let query = AlertQuery { search, since, limit: 9, ..AlertQuery::default() };
        let page = store.alerts(query).wait().expect("found");
        page.alerts.iter().map(|alert| alert.number).collect()
    };
    assert_eq!(found(Some("disk"), None), [2, 1], "in titles and keys, in either case");
    assert_eq!(found(Some("db_1"), None), [1], "`_` is a letter");
    assert_eq!(found(Some("0 %"), None), [3], "`%` is a letter");
    assert_eq!(found(Some("db2"), None), [3], "in details");
    assert_eq!(found(Some("\\"), None), [0; 0]);
    assert_eq!(found(None, Some(2)), [3, 2]);
    assert_eq!(found(Some("disk"), Some(2)), [2]);
}

pub(in crate::store) fn alert_numbers_have_no_gap(place: &dyn StoreFixture) {
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

pub(in crate::store) fn an_event_id_counts_once(place: &dyn StoreFixture) {
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

pub(in crate::store) fn a_dedup_key_has_one_alert_until_it_is_resolved(place: &dyn StoreFixture) {
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

pub(in crate::store) fn keys_belong_to_one_integration(place: &dyn StoreFixture) {
    let store = place.open();
    let event = || Event::create("x").dedup_key("k").event_id("e");
    for (integration, number) in [("one", 1), ("two", 2)] {
        let effects = store.submit(submission(integration, vec![event()])).wait().unwrap();
        assert_eq!(effects, [Effect::Opened(number)]);
    }
}

pub(in crate::store) fn events_acknowledge_and_resolve(place: &dyn StoreFixture) {
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

pub(in crate::store) fn people_acknowledge_and_resolve(place: &dyn StoreFixture) {
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

pub(in crate::store) fn people_add_notes(place: &dyn StoreFixture) {
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

pub(in crate::store) fn events_of_one_request_apply_in_their_order(place: &dyn StoreFixture) {
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

pub(in crate::store) fn racing_senders_open_one_alert(place: &dyn StoreFixture) {
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
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    assert_eq!(numbers.len(), 801);
    assert!(place.is_shared() || numbers.last() == Some(&801), "{numbers:?}");
}

pub(in crate::store) fn pages_lead_through_all_alerts_newest_first(place: &dyn StoreFixture) {
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

pub(in crate::store) fn unresolved_alerts_are_counted_in_steps(place: &dyn StoreFixture) {
    let store = place.open();
    let count = |after, limit| store.count_unresolved(after, limit).wait().unwrap();
    assert_eq!(count(0, 10), UnresolvedCount::default());
    for urgency in [Urgency::Low, Urgency::Critical, Urgency::Low, Urgency::Low, Urgency::High] {
        commit(&*store, Event::create("x").urgency(urgency));
    }
    by_hand(&*store, 1, ManualAction::Acknowledge);
    by_hand(&*store, 4, ManualAction::Resolve);
    let low = (Status::Open, Urgency::Low, 1);
    let acknowledged = (Status::Acknowledged, Urgency::Low, 1);
    let (high, critical) = (Urgency::High, Urgency::Critical);
    let (high, critical) = ((Status::Open, high, 1), (Status::Open, critical, 1));
    let of = |counts: &[_], next| UnresolvedCount { counts: counts.into(), next };
    assert_eq!(count(0, 10), of(&[low, high, critical, acknowledged], None));
    assert_eq!(count(0, 2), of(&[critical, acknowledged], Some(2)));
    assert_eq!(count(2, 2), of(&[low], Some(4)));
    assert_eq!(count(4, 2), of(&[high], None));
    assert_eq!(count(u64::MAX, u64::MAX), UnresolvedCount::default());
}

pub(in crate::store) fn repeated_reports_are_counted_and_their_differences_kept(
    place: &dyn StoreFixture,
) {
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

pub(in crate::store) fn histories_are_bounded(place: &dyn StoreFixture) {
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

pub(in crate::store) fn a_new_alert_links_to_the_resolved_one_of_its_problem(
    place: &dyn StoreFixture,
) {
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

pub(in crate::store) fn no_alert_opens_in_maintenance(place: &dyn StoreFixture) {
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

pub(in crate::store) fn a_clock_that_jumps_back_changes_no_order(place: &dyn StoreFixture) {
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

pub(in crate::store) fn an_alert_keeps_the_most_hops_of_its_reports(place: &dyn StoreFixture) {
    let store = place.open();
    let report = |event: Event, hops: u32| {
        let submission = Submission { hops, ..submission("ops", vec![event.dedup_key("k")]) };
        let effects = store.submit(submission).wait().expect("it commits");
        let [Effect::Opened(number) | Effect::Occurred(number) | Effect::Resolved(number)] =
            effects[..]
        else {
            panic!("{effects:?}")
        };
        (number, get(&*store, AlertRef::Number(number)).alert.hops)
    };
    assert_eq!(report(Event::create("began here"), 0), (1, 0));
    assert_eq!(report(Event::create("came back"), 2), (1, 2));
    assert_eq!(report(Event::create("reported here again"), 0), (1, 2));
    assert_eq!(report(Event::resolve("k"), 4), (1, 4));
    assert_eq!(report(Event::create("a new alert"), 1), (2, 1));
    assert_eq!(get(&*store, AlertRef::Number(1)).alert.hops, 4);
}

pub(in crate::store) fn a_closed_store_refuses_everything(place: &dyn StoreFixture) {
    let store = place.open();
    store.close();
    store.close();
    let late = store.submit(submission("ops", vec![Event::create("late")])).wait();
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(matches!(store.alert(AlertRef::Number(1)).wait(), Err(StoreError::Closed)));
}

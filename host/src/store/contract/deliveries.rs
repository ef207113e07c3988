//! Promises about deliveries: their order, what replaces them, and what becomes of them.

use jiff::Timestamp;
use serde_json::json;
use tocsin_plugin_api::{Event, Urgency, notification::Kind};

use crate::{
    alert::{AlertRef, Status},
    delivery::{
        Attempt, AttemptRequest, AttemptResult, DeliveryStatus, DestinationState, Fact, FactReason,
        Parked, TimerCause,
    },
    store::{
        ManualAction, Store,
        deliveries::{
            AfterAttempt, Claim, DeliveryQuery, Finished, NewDelivery, Recovered, Routed, Which,
        },
        duties::Duty,
        feed::Cursor,
        fixture::{
            StoreFixture, at, by_hand, commit,
            deliveries::{
                attempt, claim, claimed, dead, delivered, finish, get, in_doubt, news, not_sent,
                on_duty, opened, route, take, timer, ulid,
            },
            housekeep, steps, steve,
        },
        housekeeping::{Forgettable, HousekeepingTask},
    },
};

fn state(store: &dyn Store) -> DestinationState {
    let states = store.destinations().wait().expect("it reads");
    states.into_iter().find(|state| state.name == "ops").expect("it has deliveries")
}

fn listed(store: &dyn Store, query: DeliveryQuery) -> Vec<u64> {
    let query = DeliveryQuery { limit: 100, ..query };
    let page = store.deliveries(query).wait().expect("it reads");
    page.deliveries.iter().map(|delivery| delivery.id.random() as u64).collect()
}

fn facts(store: &dyn Store, alert: u64) -> Vec<Fact> {
    store.facts(alert).wait().expect("it reads")
}

pub(in crate::store) fn a_delivery_is_claimed_once_and_ends(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(1), vec![news(1, 1, Kind::Opened), news(2, 2, Kind::Opened)]);
    let first = claim(store, at(1), 1);
    assert_eq!((first.deliveries.len(), first.next_due), (1, Some(at(1))));
    assert_eq!(first.deliveries[0].place, Some(1));
    assert!(first.deliveries[0].delivery.in_flight);
    assert_eq!(claimed(store, at(1)), [(2, 1)]);
    assert_eq!(claim(store, at(1), 9).next_due, None);
    delivered(store, 1);
    dead(store, 2);
    let (one, two) = (get(store, 1), get(store, 2));
    assert_eq!((one.status, one.finished_at), (DeliveryStatus::Delivered, Some(at(500))));
    assert_eq!((two.status, two.reason.as_deref()), (DeliveryStatus::Dead, Some("no")));
    assert_eq!((one.next_attempt_at, two.next_attempt_at), (None, None));
    assert_eq!(claimed(store, at(9999)), []);
}

pub(in crate::store) fn deliveries_survive_a_restart(place: &dyn StoreFixture) {
    let store = on_duty(place);
    route(&*store, at(1), vec![news(1, 1, Kind::Opened), news(2, 2, Kind::Opened)]);
    claim(&*store, at(1), 1);
    in_doubt(&*store, 1, at(90));
    let before = [get(&*store, 1), get(&*store, 2)];
    store.close();
    let store = on_duty(place);
    assert_eq!([get(&*store, 1), get(&*store, 2)], before);
    assert_eq!(claimed(&*store, at(90)), [(2, 1), (1, 2)]);
}

pub(in crate::store) fn news_about_an_alert_waits_for_earlier_news(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    assert_eq!(claimed(store, at(0)), [(1, 1)]);
    route(store, at(0), vec![news(2, 7, Kind::Acknowledged), news(3, 8, Kind::Opened)]);
    assert_eq!(claimed(store, at(0)), [(3, 1)], "another alert does not wait");
    assert_eq!(claim(store, at(0), 9).next_due, None, "it is behind one in flight");
    assert_eq!(get(store, 2).status, DeliveryStatus::Waiting);
    delivered(store, 1);
    assert_eq!(claimed(store, at(0)), [(2, 1)]);
    assert_eq!(get(store, 2).skipped, [], "the earlier news was told");
    route(store, at(0), vec![news(4, 7, Kind::Resolved)]);
    dead(store, 2);
    assert_eq!(claimed(store, at(0)), [(4, 1)]);
}

pub(in crate::store) fn destinations_do_not_wait_for_each_other(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let mut other = news(2, 7, Kind::Opened);
    other.destination = "other".into();
    route(store, at(0), vec![news(1, 7, Kind::Opened), other]);
    assert_eq!(claimed(store, at(0)), [(1, 1)]);
    let claim = Claim { destination: "other".into(), now: at(0), limit: 9 };
    let claimed = store.claim(claim).wait().expect("it commits");
    assert_eq!(claimed.deliveries[0].delivery.id, ulid(2));
}

pub(in crate::store) fn later_news_replaces_news_that_waits(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 1);
    not_sent(store, 1, at(60));
    route(store, at(5), vec![news(2, 7, Kind::Acknowledged)]);
    route(store, at(6), vec![news(3, 7, Kind::Occurred), news(4, 7, Kind::Occurred)]);
    route(store, at(7), vec![news(5, 7, Kind::Resolved)]);
    let last = get(store, 5);
    assert_eq!(last.skipped, [Kind::Opened, Kind::Acknowledged, Kind::Occurred]);
    assert_eq!((last.attempts, last.next_attempt_at), (1, Some(at(60))));
    assert_eq!((last.reason.as_deref(), last.created_at), (Some("no"), at(7)));
    for id in 1..5 {
        let replaced = get(store, id);
        assert_eq!((replaced.told_by, replaced.status), (Some(ulid(5)), DeliveryStatus::Waiting));
        assert_eq!(replaced.next_attempt_at, None);
    }
    assert_eq!(state(store).waiting, 1, "one message");
    assert_eq!(claimed(store, at(59)), []);
    assert_eq!(claimed(store, at(60)), [(5, 2)]);
    finish(store, 5, 2, AttemptResult::Delivered, AfterAttempt::Delivered);
    for id in 1..5 {
        let told = get(store, id);
        assert_eq!((told.status, told.finished_at), (DeliveryStatus::Delivered, Some(at(500))));
        assert_eq!(told.told_by, Some(ulid(5)));
    }
    let log = |id| store.delivery(ulid(id)).wait().expect("it reads").expect("it is there");
    assert_eq!(log(1).attempt_log.len(), 1, "the attempt was one of the first news");
    assert_eq!(log(5).attempt_log.len(), 1);
}

pub(in crate::store) fn later_news_replaces_an_attempt_that_was_not_sent(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 1);
    route(store, at(1), vec![news(2, 7, Kind::Acknowledged)]);
    route(store, at(2), vec![news(3, 7, Kind::Resolved)]);
    assert_eq!(get(store, 2).told_by, Some(ulid(3)));
    not_sent(store, 1, at(60));
    let later = get(store, 3);
    assert_eq!(later.skipped, [Kind::Opened, Kind::Acknowledged]);
    assert_eq!((later.attempts, later.next_attempt_at), (1, Some(at(60))));
    assert_eq!([1, 2].map(|id| get(store, id).told_by), [Some(ulid(3)); 2]);
    assert_eq!(claimed(store, at(60)), [(3, 2)]);
    dead(store, 3);
    assert_eq!([1, 2].map(|id| get(store, id).status), [DeliveryStatus::Dead; 2]);
}

pub(in crate::store) fn a_delivery_in_doubt_keeps_its_id_and_is_not_replaced(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 1);
    route(store, at(1), vec![news(2, 7, Kind::Acknowledged)]);
    in_doubt(store, 1, at(60));
    route(store, at(2), vec![news(3, 7, Kind::Resolved)]);
    assert_eq!(claimed(store, at(59)), []);
    let again = claim(store, at(60), 9).deliveries;
    assert_eq!((again.len(), again[0].delivery.id), (1, ulid(1)));
    assert!(again[0].delivery.in_doubt);
    assert_eq!((again[0].delivery.skipped.len(), get(store, 3).skipped.len()), (0, 1));
    delivered(store, 1);
    assert!(!get(store, 1).in_doubt);
    assert_eq!(claimed(store, at(60)), [(3, 1)]);
}

pub(in crate::store) fn the_list_of_skipped_kinds_is_bounded(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    let kinds = [Kind::Occurred, Kind::Noted];
    let many = (2..500).map(|id| news(id, 7, kinds[id as usize % 2])).collect();
    route(store, at(0), many);
    let skipped = get(store, 499).skipped;
    assert_eq!((skipped.len(), skipped[0]), (50, Kind::Opened));
    assert_eq!(claimed(store, at(0)), [(499, 1)]);
    delivered(store, 499);
    assert!((1..499).all(|id| get(store, id).status == DeliveryStatus::Delivered));
}

pub(in crate::store) fn claims_take_the_oldest_first(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    for id in 1..=6 {
        route(store, at(10 - id as i64), vec![news(id, id, Kind::Opened)]);
    }
    let first = claim(store, at(7), 2);
    let ids: Vec<_> = first.deliveries.iter().map(|it| it.delivery.id).collect();
    assert_eq!((ids, first.next_due), (vec![ulid(6), ulid(5)], Some(at(6))));
    let rest = claim(store, at(7), 9);
    assert_eq!((rest.deliveries.len(), rest.next_due), (2, Some(at(8))));
}

pub(in crate::store) fn a_parked_destination_claims_nothing(place: &dyn StoreFixture) {
    let store = on_duty(place);
    route(&*store, at(0), vec![news(1, 1, Kind::Opened)]);
    let parked = Parked { since: at(3), reason: "token revoked".into(), settings: "abc".into() };
    store.park("ops".into(), Some(parked.clone())).wait().expect("it commits");
    let nothing = claim(&*store, at(9), 9);
    assert_eq!((nothing.deliveries.len(), nothing.next_due), (0, None));
    store.close();
    let store = on_duty(place);
    assert_eq!(state(&*store).parked, Some(parked));
    store.park("ops".into(), None).wait().expect("it commits");
    assert_eq!(state(&*store).parked, None);
    assert_eq!(claimed(&*store, at(9)), [(1, 1)]);
}

pub(in crate::store) fn a_paused_destination_claims_nothing_until_its_time(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    store.pause("ops".into(), at(100)).wait().expect("it commits");
    assert_eq!(claim(store, at(9), 9).next_due, None, "nothing waits");
    route(store, at(0), vec![news(1, 1, Kind::Opened)]);
    assert_eq!(state(store).paused_until, Some(at(100)));
    let paused = claim(store, at(99), 9);
    assert_eq!((paused.deliveries.len(), paused.next_due), (0, Some(at(100))));
    assert_eq!(claimed(store, at(100)), [(1, 1)]);
}

pub(in crate::store) fn a_pause_becomes_longer_and_ends_when_people_want_it(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let pause = |second| store.pause("ops".into(), at(second)).wait().expect("it commits");
    let until = || state(store).paused_until;
    pause(100);
    pause(50);
    assert_eq!(until(), Some(at(100)), "the later time holds");
    let parked = Parked { since: at(3), reason: "gone".into(), settings: "abc".into() };
    store.park("ops".into(), Some(parked)).wait().expect("it commits");
    assert_eq!(until(), Some(at(100)));
    route(store, at(0), vec![news(1, 1, Kind::Opened)]);
    store.park("ops".into(), None).wait().expect("it commits");
    assert_eq!(until(), None);
    let retry = |which| store.retry_deliveries(which, steve(), at(9)).wait().expect("commits");
    for (which, left) in [
        (Which::One(ulid(1)), Some(at(100))),
        (Which::DeadOf("other".into()), Some(at(100))),
        (Which::DeadOf("ops".into()), None),
        (Which::AllOf("ops".into()), None),
    ] {
        pause(100);
        retry(which.clone());
        assert_eq!(until(), left, "{which:?}");
    }
}

pub(in crate::store) fn a_new_holder_leaves_no_pause_of_more_than_a_day(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let day = 24 * 60 * 60;
    for (name, until) in [("a", 60), ("b", 9 + day), ("c", 99 * day)] {
        store.pause(name.into(), at(until)).wait().expect("it commits");
    }
    for name in ["a", "b", "c"] {
        store.recover_deliveries(name.into(), at(9)).wait().expect("it commits");
    }
    let parked = Parked { since: at(3), reason: "gone".into(), settings: "abc".into() };
    store.park("c".into(), Some(parked.clone())).wait().expect("it commits");
    let recovered = store.recover_deliveries("c".into(), at(9)).wait().expect("it commits");
    let expected = Recovered { in_doubt: 0, parked: Some(parked), paused_until: Some(at(9 + day)) };
    assert_eq!(recovered, expected, "the new holder learns the marks of the destination");
    let states = store.destinations().wait().expect("it reads");
    let until: Vec<_> = states.iter().filter_map(|state| state.paused_until).collect();
    assert_eq!(until, [at(60), at(9 + day), at(9 + day)]);
}

pub(in crate::store) fn repeated_reports_leave_one_fact_for_each_destination(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let fact = |second, destination: &str, kind| {
        let destination = destination.into();
        (1, Fact { at: at(second), kind, destination, reason: FactReason::NeverTold })
    };
    let occurred = (0..9)
        .flat_map(|second| [fact(second, "a", Kind::Occurred), fact(second, "b", Kind::Occurred)]);
    let record = |facts| {
        let routed = Routed { facts, now: at(0), ..Routed::default() };
        store.route(routed).wait().expect("it commits");
    };
    record(occurred.collect());
    record(vec![fact(9, "a", Kind::Noted), fact(10, "a", Kind::Occurred)]);
    record(vec![fact(11, "b", Kind::Occurred)]);
    let seconds = || -> Vec<_> {
        facts(store, 1).iter().map(|fact| fact.at.as_second() - at(0).as_second()).collect()
    };
    assert_eq!(seconds(), [0, 0, 9, 10]);
    record((20..1019).map(|second| fact(second, "a", Kind::Noted)).collect());
    let newest = seconds();
    assert_eq!((newest.len(), newest[0], newest[1], newest[999]), (1000, 10, 20, 1018));
}

pub(in crate::store) fn a_digest_replaces_many_new_alerts(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![opened(1, 1, 3), opened(2, 2, 3), opened(3, 3, 3)]);
    assert_eq!(state(store).waiting, 3, "not more than the limit");
    let mut low = opened(5, 5, 3);
    low.urgency = tocsin_plugin_api::Urgency::Low;
    low.integration = "slack".into();
    route(store, at(1), vec![opened(4, 4, 3), low, opened(6, 6, 3)]);
    let many = (7..=1000).map(|id| opened(id, id, 3)).collect();
    route(store, at(2), many);
    let digest = get(store, 4);
    assert_eq!((digest.kind, digest.alert, digest.status), {
        (Kind::Digest, None, DeliveryStatus::Waiting)
    });
    let count = digest.digest.expect("numbers");
    assert_eq!((count.count, count.first, count.last), (1000, 1, 1000));
    let named: Vec<_> = count.urgencies.iter().map(|(it, n)| (it.as_str(), *n)).collect();
    assert_eq!(named, [("high", 999), ("low", 1)]);
    assert_eq!(count.integrations, [("prometheus".into(), 999), ("slack".into(), 1)]);
    assert_eq!((state(store).waiting, get(store, 2).told_by), (1, Some(ulid(4))));
    for alert in [1, 3, 4, 500, 1000] {
        let found = listed(store, DeliveryQuery { alert: Some(alert), ..Default::default() });
        assert!(found.contains(&4), "the digest told of #{alert}: {found:?}");
    }
    let none = listed(store, DeliveryQuery { alert: Some(1001), ..Default::default() });
    assert_eq!(none, [0; 0]);
    assert_eq!(claimed(store, at(2)), [(4, 1)]);
    delivered(store, 4);
    assert_eq!([1, 2, 3].map(|id| get(store, id).status), [DeliveryStatus::Delivered; 3]);
    route(store, at(3), vec![opened(1001, 1001, 3)]);
    assert_eq!(claimed(store, at(3)), [(1001, 1)], "the next one is told by itself");
}

pub(in crate::store) fn no_digest_is_made_if_the_limit_is_zero(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), (1..=100).map(|id| opened(id, id, 0)).collect());
    assert_eq!(state(store).waiting, 100);
}

pub(in crate::store) fn new_alerts_with_later_news_become_part_of_a_digest(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    route(store, at(0), vec![opened(1, 1, 2), opened(2, 2, 2)]);
    route(store, at(0), vec![news(3, 1, Kind::Resolved), news(4, 2, Kind::Escalated)]);
    route(store, at(0), vec![opened(5, 5, 2), opened(6, 6, 2)]);
    assert_eq!(get(store, 6).digest.expect("a digest").count, 3);
    assert_eq!([1, 3, 5].map(|id| get(store, id).told_by), [Some(ulid(6)); 3]);
    assert_eq!(get(store, 4).told_by, None, "an escalation has a message of its own");
    assert_eq!(get(store, 2).told_by, Some(ulid(4)));
}

pub(in crate::store) fn further_news_about_an_alert_in_a_digest_is_a_fact(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let mut all: Vec<_> = (1..=3).map(|id| opened(id, id, 1)).collect();
    all.push(news(4, 3, Kind::Acknowledged));
    route(store, at(0), all);
    let occurred = (5..9).map(|id| news(id, 1, Kind::Occurred)).collect();
    route(store, at(1), occurred);
    let reason = FactReason::InDigest { delivery: ulid(2) };
    let fact = |kind, at, reason| Fact { at, kind, destination: "ops".into(), reason };
    assert_eq!(facts(store, 3), [fact(Kind::Acknowledged, at(0), reason.clone())]);
    assert_eq!(facts(store, 1), [fact(Kind::Occurred, at(1), reason)], "the same fact is one");
    assert_eq!(state(store).waiting, 1);
    claim(store, at(1), 9);
    delivered(store, 2);
    route(store, at(2), vec![news(9, 2, Kind::Resolved), news(10, 3, Kind::Escalated)]);
    assert_eq!(claimed(store, at(2)), [(10, 1)]);
    delivered(store, 10);
    route(store, at(3), vec![news(11, 3, Kind::Resolved)]);
    assert_eq!(claimed(store, at(3)), [(11, 1)], "it had a message of its own");
}

pub(in crate::store) fn a_digest_on_its_way_counts_no_further_alerts(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), (1..=3).map(|id| opened(id, id, 2)).collect());
    assert_eq!(claimed(store, at(0)), [(3, 1)]);
    route(store, at(1), (4..=8).map(|id| opened(id, id, 2)).collect());
    assert_eq!(get(store, 3).digest.expect("a digest").count, 3);
    assert_eq!(get(store, 6).digest.expect("another").count, 5);
    assert_eq!(claimed(store, at(1)), [], "one digest at a time");
    not_sent(store, 3, at(60));
    let both = get(store, 6).digest.expect("one for both");
    assert_eq!((both.count, both.first, both.last), (8, 1, 8));
    assert_eq!(get(store, 3).told_by, Some(ulid(6)));
    assert_eq!([1, 4].map(|id| get(store, id).told_by), [Some(ulid(6)); 2]);
    for alert in [1, 8] {
        let found = listed(store, DeliveryQuery { alert: Some(alert), ..Default::default() });
        assert!(found.contains(&6), "#{alert}: {found:?}");
    }
    assert_eq!(claimed(store, at(60)), [(6, 2)]);
}

pub(in crate::store) fn attempts_that_ran_when_the_host_died_are_in_doubt(
    place: &dyn StoreFixture,
) {
    let store = on_duty(place);
    route(&*store, at(0), vec![news(1, 1, Kind::Opened), news(2, 2, Kind::Opened)]);
    claim(&*store, at(0), 1);
    route(&*store, at(0), vec![news(3, 1, Kind::Resolved)]);
    store.close();
    let store = on_duty(place);
    let recover =
        |name: &str| store.recover_deliveries(name.into(), at(9)).wait().expect("it commits");
    assert_eq!(recover("other").in_doubt, 0);
    assert!(get(&*store, 1).in_flight, "that is the work of who delivers to its destination");
    assert_eq!(recover("ops"), Recovered { in_doubt: 1, ..Recovered::default() });
    assert_eq!(recover("ops").in_doubt, 0);
    let one = get(&*store, 1);
    assert_eq!((one.in_doubt, one.in_flight, one.next_attempt_at), (true, false, Some(at(9))));
    assert_eq!(claimed(&*store, at(9)), [(2, 1), (1, 2)]);
}

pub(in crate::store) fn deliveries_given_back_had_no_attempt(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 1, Kind::Opened), news(2, 2, Kind::Opened)]);
    claim(store, at(0), 9);
    route(store, at(1), vec![news(3, 1, Kind::Resolved)]);
    store.give_back(vec![ulid(1), ulid(2)]).wait().expect("it commits");
    assert_eq!(get(store, 1).told_by, Some(ulid(3)), "surely not sent");
    assert_eq!((get(store, 2).attempts, get(store, 2).in_doubt), (0, false));
    assert_eq!(claimed(store, at(1)), [(3, 1), (2, 1)]);
}

pub(in crate::store) fn deliveries_of_a_lost_claim_are_given_back(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let other = NewDelivery { destination: "other".into(), ..news(4, 4, Kind::Opened) };
    let all = (1..=3).map(|id| news(id, id, Kind::Opened)).chain([other]).collect();
    route(store, at(0), all);
    claim(store, at(0), 9);
    let claim = Claim { destination: "other".into(), now: at(0), limit: 9 };
    store.claim(claim).wait().expect("it commits");
    route(store, at(1), vec![news(5, 3, Kind::Resolved)]);
    let give_back = |name: &str| store.give_back_all(name.into(), vec![ulid(2)]).wait();
    take(store, Duty::Delivering("unknown".into()));
    assert_eq!(give_back("unknown").expect("it commits"), 0);
    assert_eq!(give_back("ops").expect("it commits"), 2);
    assert_eq!([2, 4].map(|id| get(store, id).in_flight), [true; 2]);
    assert_eq!(get(store, 3).told_by, Some(ulid(5)), "surely not sent");
    assert_eq!(claimed(store, at(1)), [(1, 1), (5, 1)]);
}

pub(in crate::store) fn people_retry_dead_and_waiting_deliveries(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let retry = |which| store.retry_deliveries(which, steve(), at(700)).wait().expect("commits");
    route(store, at(0), (1..=3).map(|id| news(id, id, Kind::Opened)).collect());
    claim(store, at(0), 9);
    dead(store, 1);
    dead(store, 2);
    not_sent(store, 3, at(9999));
    assert_eq!(state(store).dead, 2);
    assert_eq!(retry(Which::One(ulid(9))), 0, "there is no such delivery");
    assert_eq!(retry(Which::One(ulid(1))), 1);
    let one = get(store, 1);
    assert_eq!((one.status, one.next_attempt_at), (DeliveryStatus::Waiting, Some(at(700))));
    assert!(one.reason.expect("a reason").contains("command line, steve"));
    assert_eq!(claimed(store, at(700)), [(1, 2)]);
    assert_eq!(retry(Which::One(ulid(1))), 0, "it is on its way");
    assert_eq!(retry(Which::DeadOf("ops".into())), 1);
    assert_eq!(claimed(store, at(700)), [(2, 2)]);
    assert_eq!(retry(Which::AllOf("ops".into())), 1);
    assert_eq!(claimed(store, at(700)), [(3, 2)]);
    delivered(store, 1);
    assert_eq!(retry(Which::One(ulid(1))), 0, "it was delivered");
    assert_eq!(retry(Which::AllOf("unknown".into())), 0);
}

pub(in crate::store) fn a_dead_delivery_that_is_retried_is_united_with_later_news(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let retry = |which| store.retry_deliveries(which, steve(), at(700)).wait().expect("commits");
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 9);
    dead(store, 1);
    route(store, at(1), vec![news(2, 7, Kind::Acknowledged)]);
    claim(store, at(1), 9);
    dead(store, 2);
    route(store, at(2), vec![news(3, 7, Kind::Resolved)]);
    assert_eq!(retry(Which::AllOf("ops".into())), 3);
    assert_eq!(get(store, 3).skipped, [Kind::Opened, Kind::Acknowledged]);
    assert_eq!([1, 2].map(|id| get(store, id).told_by), [Some(ulid(3)); 2]);
    assert_eq!(claimed(store, at(700)), [(3, 2)]);
    dead(store, 3);
    assert_eq!(retry(Which::One(ulid(1))), 1, "the message that it is part of is sent again");
    assert_eq!(get(store, 1).status, DeliveryStatus::Waiting);
    assert_eq!(claimed(store, at(700)), [(3, 3)]);
}

pub(in crate::store) fn a_dead_delivery_in_doubt_is_not_united(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 9);
    finish(store, 1, 1, AttemptResult::InDoubt, AfterAttempt::Dead);
    route(store, at(1), vec![news(2, 7, Kind::Resolved)]);
    let which = Which::One(ulid(1));
    assert_eq!(store.retry_deliveries(which, steve(), at(9)).wait().expect("it commits"), 1);
    assert_eq!(claimed(store, at(9)), [(1, 2)]);
    delivered(store, 1);
    assert_eq!(claimed(store, at(9)), [(2, 1)]);
}

pub(in crate::store) fn a_retried_delivery_waits_while_later_news_is_on_its_way(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let retry = |id| store.retry_deliveries(Which::One(ulid(id)), steve(), at(9)).wait();
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 9);
    dead(store, 1);
    route(store, at(1), vec![news(2, 7, Kind::Acknowledged)]);
    claim(store, at(1), 9);
    assert_eq!(retry(1).expect("it commits"), 1);
    assert_eq!(claimed(store, at(9)), [], "one about each alert is in flight");
    delivered(store, 2);
    assert_eq!(claimed(store, at(9)), [(1, 2)], "it was asked for");
}

pub(in crate::store) fn a_retried_delivery_is_united_with_later_news_that_was_not_sent(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let retry = |id| store.retry_deliveries(Which::One(ulid(id)), steve(), at(9)).wait();
    for (id, alert) in [(1, 7), (3, 8)] {
        route(store, at(0), vec![news(id, alert, Kind::Opened)]);
        claim(store, at(0), 9);
        dead(store, id);
        route(store, at(1), vec![news(id + 1, alert, Kind::Acknowledged)]);
        claim(store, at(1), 9);
        assert_eq!(retry(id).expect("it commits"), 1);
    }
    not_sent(store, 2, at(60));
    store.give_back(vec![ulid(4)]).wait().expect("it commits");
    assert_eq!([1, 3].map(|id| get(store, id).told_by), [Some(ulid(2)), Some(ulid(4))]);
    let later = get(store, 2);
    assert_eq!((later.skipped, later.reason), (vec![Kind::Opened], Some("no".into())));
    assert_eq!(later.next_attempt_at, Some(at(60)), "the retry does not shorten the wait");
    assert_eq!(claimed(store, at(9)), [(4, 2)]);
    assert_eq!(claimed(store, at(60)), [(2, 2)]);
}

pub(in crate::store) fn united_deliveries_keep_all_their_attempts(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 9);
    dead(store, 1);
    route(store, at(1), vec![news(2, 7, Kind::Acknowledged)]);
    for number in 1..=3 {
        claim(store, at(1), 9);
        let next = AfterAttempt::Waits { until: at(1), in_doubt: false };
        finish(store, 2, number, AttemptResult::Retry, next);
    }
    let retried = store.retry_deliveries(Which::One(ulid(1)), steve(), at(9)).wait();
    assert_eq!(retried.expect("it commits"), 1);
    assert_eq!(claimed(store, at(9)), [(2, 4)], "no attempt is recorded in place of another");
}

pub(in crate::store) fn a_doubt_remains_until_the_news_has_arrived(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    claim(store, at(0), 9);
    in_doubt(store, 1, at(1));
    claim(store, at(1), 9);
    finish(store, 1, 2, AttemptResult::Retry, AfterAttempt::Dead);
    assert!(get(store, 1).in_doubt, "the first attempt may have arrived");
    let retried = store.retry_deliveries(Which::One(ulid(1)), steve(), at(9)).wait();
    assert_eq!(retried.expect("it commits"), 1);
    let again = claim(store, at(9), 9).deliveries;
    assert!(again[0].delivery.in_doubt);
    delivered(store, 1);
    assert!(!get(store, 1).in_doubt);
}

pub(in crate::store) fn a_digest_lets_other_news_about_its_alerts_follow(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![opened(1, 1, 1)]);
    claim(store, at(0), 9);
    finish(store, 1, 1, AttemptResult::InDoubt, AfterAttempt::Dead);
    route(store, at(1), vec![opened(2, 1, 1)]);
    claim(store, at(1), 9);
    let retried = store.retry_deliveries(Which::One(ulid(1)), steve(), at(1)).wait();
    assert_eq!(retried.expect("it commits"), 1);
    not_sent(store, 2, at(60));
    assert_eq!(claimed(store, at(1)), [], "it is behind the second");
    route(store, at(2), vec![opened(3, 3, 1)]);
    assert_eq!(get(store, 2).told_by, Some(ulid(3)));
    assert_eq!(claimed(store, at(2)), [(1, 2), (3, 1)]);
}

pub(in crate::store) fn a_digest_counts_an_alert_once(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![opened(1, 5, 2), opened(2, 6, 2), opened(3, 5, 2), opened(4, 5, 2)]);
    let count = get(store, 3).digest.expect("a digest");
    assert_eq!((count.count, count.first, count.last), (2, 5, 6));
}

pub(in crate::store) fn a_delivery_about_a_deleted_alert_can_be_retried(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    commit(store, Event::create("x"));
    commit(store, Event::create("y"));
    by_hand(store, 1, ManualAction::Resolve);
    route(store, at(0), vec![news(1, 1, Kind::Resolved), news(2, 99, Kind::Opened)]);
    claim(store, at(0), 1);
    dead(store, 1);
    let task = HousekeepingTask::Forget { what: Forgettable::ResolvedAlerts, before: None };
    assert_eq!(housekeep(store, task, 9), 1);
    assert_eq!(store.outlines([1, 99].into(), true).wait().expect("it reads"), []);
    assert_eq!(listed(store, DeliveryQuery { alert: Some(1), ..DeliveryQuery::default() }), [1]);
    let retried = store.retry_deliveries(Which::DeadOf("ops".into()), steve(), at(9)).wait();
    assert_eq!(retried.expect("it commits"), 1);
    assert_eq!(claimed(store, at(9)), [(2, 1), (1, 2)], "also one that never had an alert");
    let attempt = attempt(2, AttemptResult::Delivered);
    let (next, state) = (AfterAttempt::Delivered, Some(json!(1)));
    let finished = Finished { id: ulid(1), attempt, next, state, now: at(10) };
    store.finish(finished).wait().expect("it commits");
    delivered(store, 2);
    let task = HousekeepingTask::Forget { what: Forgettable::Deliveries, before: None };
    assert_eq!(steps(store, &task, 9), [2]);
    route(store, at(11), vec![news(3, 1, Kind::Noted)]);
    assert_eq!(claim(store, at(11), 9).deliveries[0].state, None, "the value is deleted too");
}

pub(in crate::store) fn a_discarded_delivery_that_is_given_back_ended_when_it_was_discarded(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    route(store, at(0), vec![news(2, 8, Kind::Opened)]);
    claim(store, at(0), 9);
    route(store, at(1), vec![news(3, 7, Kind::Resolved)]);
    let discarded = store.discard_deliveries(Which::One(ulid(1)), steve(), at(8)).wait();
    assert_eq!(discarded.expect("it commits"), 1);
    assert_eq!(get(store, 1).finished_at, None, "the attempt may still deliver it");
    store.give_back(vec![ulid(1), ulid(2)]).wait().expect("it commits");
    let one = get(store, 1);
    assert_eq!((one.status, one.finished_at), (DeliveryStatus::Dead, Some(at(8))));
    assert_eq!((one.attempts, one.next_attempt_at), (0, None));
    assert_eq!(one.reason.as_deref(), Some("discarded by command line, steve"));
    assert_eq!(claimed(store, at(8)), [(2, 1), (3, 1)], "later news follows");
}

pub(in crate::store) fn people_discard_deliveries(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let discard = |which| store.discard_deliveries(which, steve(), at(8)).wait().expect("commits");
    route(store, at(0), (1..=4).map(|id| news(id, id, Kind::Opened)).collect());
    claim(store, at(0), 2);
    route(store, at(1), vec![news(5, 1, Kind::Resolved), news(6, 4, Kind::Resolved)]);
    assert_eq!(discard(Which::One(ulid(3))), 1);
    let three = get(store, 3);
    assert_eq!((three.status, three.finished_at), (DeliveryStatus::Dead, Some(at(8))));
    assert_eq!(three.reason.as_deref(), Some("discarded by command line, steve"));
    assert_eq!(discard(Which::AllOf("ops".into())), 4);
    assert_eq!([4, 5, 6].map(|id| get(store, id).status), [DeliveryStatus::Dead; 3]);
    // Attempts that run come to their end, and are not repeated.
    delivered(store, 1);
    not_sent(store, 2, at(60));
    assert_eq!(get(store, 1).status, DeliveryStatus::Delivered);
    let two = get(store, 2);
    assert_eq!((two.status, two.reason), (DeliveryStatus::Dead, three.reason));
    assert_eq!(claimed(store, at(9999)), []);
    assert_eq!(discard(Which::AllOf("ops".into())), 0);
}

pub(in crate::store) fn a_discarded_digest_counts_no_more(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), (1..=3).map(|id| opened(id, id, 2)).collect());
    let which = Which::One(ulid(3));
    assert_eq!(store.discard_deliveries(which, steve(), at(8)).wait().expect("it commits"), 1);
    assert_eq!([1, 2, 3].map(|id| get(store, id).status), [DeliveryStatus::Dead; 3]);
    route(store, at(9), vec![opened(4, 4, 2), news(5, 2, Kind::Resolved)]);
    assert_eq!(claimed(store, at(9)), [(4, 1)]);
    assert_eq!(facts(store, 2).len(), 1);
}

pub(in crate::store) fn the_newest_attempts_are_kept(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), vec![news(1, 1, Kind::Opened)]);
    let request = AttemptRequest {
        name: "post".into(),
        method: "POST".into(),
        url: "https://example.com/".into(),
        status: Some(503),
        took_ms: 12,
        answer: "busy".into(),
    };
    for number in 1..=25 {
        assert_eq!(claimed(store, at(number)), [(1, number as u32)]);
        let mut attempt = attempt(number as u32, AttemptResult::Retry);
        attempt.requests.push(request.clone());
        let next = AfterAttempt::Waits { until: at(number + 1), in_doubt: false };
        let finished = Finished { id: ulid(1), attempt, next, state: None, now: at(number) };
        store.finish(finished).wait().expect("it commits");
    }
    let log = store.delivery(ulid(1)).wait().expect("it reads").expect("it is there");
    let numbers: Vec<_> = log.attempt_log.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (6..=25).collect::<Vec<_>>());
    let last = Attempt { requests: vec![request], ..attempt(25, AttemptResult::Retry) };
    assert_eq!(log.attempt_log.last(), Some(&last));
    assert_eq!(log.delivery.attempts, 25);
}

pub(in crate::store) fn a_notifier_keeps_a_value_about_each_alert(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let value = |store: &dyn Store, now| claim(store, now, 1).deliveries[0].state.clone();
    let keep = |id, state| {
        let attempt = attempt(1, AttemptResult::Delivered);
        let next = AfterAttempt::Delivered;
        let finished = Finished { id: ulid(id), attempt, next, state, now: at(5) };
        store.finish(finished).wait().expect("it commits");
    };
    route(store, at(0), vec![news(1, 7, Kind::Opened)]);
    assert_eq!(value(store, at(0)), None);
    keep(1, Some(json!({"ts": "1.2"})));
    route(store, at(1), vec![news(2, 7, Kind::Acknowledged)]);
    assert_eq!(value(store, at(1)), Some(json!({"ts": "1.2"})));
    keep(2, None);
    route(store, at(2), vec![news(3, 7, Kind::Resolved)]);
    assert_eq!(value(store, at(2)), Some(json!({"ts": "1.2"})), "the value stays");
    route(store, at(3), vec![news(4, 8, Kind::Opened)]);
    assert_eq!(value(store, at(3)), None, "another alert");
}

pub(in crate::store) fn deliveries_are_found_by_status_destination_and_alert(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let mut other = news(4, 1, Kind::Opened);
    other.destination = "other".into();
    let mut all: Vec<_> = (1..=3).map(|id| news(id, id, Kind::Opened)).collect();
    all.push(other);
    route(store, at(0), all);
    claim(store, at(0), 2);
    delivered(store, 1);
    dead(store, 2);
    route(store, at(0), vec![news(5, 3, Kind::Resolved)]);
    let query = DeliveryQuery::default;
    let status = |status| listed(store, DeliveryQuery { status: Some(status), ..query() });
    assert_eq!(listed(store, query()), [5, 4, 3, 2, 1]);
    assert_eq!(status(DeliveryStatus::Waiting), [5, 4, 3]);
    assert_eq!(status(DeliveryStatus::Delivered), [1]);
    assert_eq!(status(DeliveryStatus::Dead), [2]);
    let destination = |name: &str, status| {
        listed(store, DeliveryQuery { destination: Some(name.into()), status, ..query() })
    };
    assert_eq!(destination("ops", None), [5, 3, 2, 1]);
    assert_eq!(destination("ops", Some(DeliveryStatus::Waiting)), [5, 3]);
    assert_eq!(destination("unknown", None), [0; 0]);
    assert_eq!(listed(store, DeliveryQuery { alert: Some(1), ..query() }), [4, 1]);
    assert_eq!(listed(store, DeliveryQuery { alert: Some(3), ..query() }), [5, 3]);
    let page = |before| {
        let query = DeliveryQuery { limit: 2, before, ..query() };
        store.deliveries(query).wait().expect("it reads")
    };
    let first = page(None);
    assert_eq!((first.deliveries.len(), first.next), (2, Some(ulid(4))));
    let last = page(Some(ulid(3)));
    assert_eq!((last.deliveries.len(), last.next), (2, None));
    route(store, at(0), (6..=8).map(|id| opened(id, id, 1)).collect());
    let none = DeliveryQuery { alert: Some(0), ..query() };
    assert_eq!(listed(store, none), [0; 0], "digests have no alert");
    assert_eq!(listed(store, DeliveryQuery { alert: Some(u64::MAX), ..query() }), [0; 0]);
}

pub(in crate::store) fn the_state_of_every_destination_is_known(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    assert_eq!(store.destinations().wait().expect("it reads"), []);
    let mut late = news(2, 2, Kind::Opened);
    late.changed_at = at(50);
    route(store, at(60), vec![news(1, 1, Kind::Opened), late]);
    route(store, at(60), vec![news(3, 3, Kind::Opened)]);
    let mut later = news(4, 1, Kind::Resolved);
    later.changed_at = at(55);
    route(store, at(61), vec![later]);
    store.pause("a".into(), at(99)).wait().expect("it commits");
    let states = store.destinations().wait().expect("it reads");
    let names: Vec<_> = states.iter().map(|state| state.name.as_str()).collect();
    assert_eq!(names, ["a", "ops"]);
    assert_eq!((states[1].waiting, states[1].dead), (3, 0));
    assert_eq!(states[1].oldest_waiting, Some(at(0)), "the oldest news that was not told");
    claim(store, at(60), 9);
    for id in [2, 3, 4] {
        dead(store, id);
    }
    assert_eq!((state(store).waiting, state(store).dead), (0, 3), "messages");
    assert_eq!(state(store).oldest_waiting, None);
}

pub(in crate::store) fn routing_is_recorded_with_its_cursor(place: &dyn StoreFixture) {
    let store = on_duty(place);
    let cursor = |store: &dyn Store| store.router_cursor().wait().expect("it reads");
    assert_eq!(cursor(&*store), None);
    commit(&*store, Event::create("x"));
    let page = store.changes_since(Cursor::start(), 9).wait().expect("it reads");
    let fact = Fact {
        at: at(1),
        kind: Kind::Opened,
        destination: "mail".into(),
        reason: FactReason::NoRoute { routes: vec!["urgency is lower than `high`".into()] },
    };
    let routed = Routed {
        cursor: Some(page.cursor.clone()),
        deliveries: vec![news(1, 1, Kind::Opened)],
        timers: vec![timer(60, 1)],
        facts: vec![(1, fact.clone())],
        now: at(1),
        ..Routed::default()
    };
    store.route(routed).wait().expect("it commits");
    route(&*store, at(2), vec![news(1, 1, Kind::Opened)]);
    store.close();
    let store = on_duty(place);
    assert_eq!(cursor(&*store), Some(page.cursor), "a call without a cursor keeps it");
    assert_eq!(facts(&*store, 1), [fact]);
    assert_eq!(store.next_timer().wait().expect("it reads"), Some(at(60)));
    assert_eq!(claimed(&*store, at(9)), [(1, 1)], "the same delivery is recorded once");
    store.forget_cursor().wait().expect("it commits");
    assert_eq!(cursor(&*store), None);
}

pub(in crate::store) fn alerts_are_outlined_by_their_numbers(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    for (title, urgency) in [("one", Urgency::Low), ("two", Urgency::High), ("three", Urgency::Low)]
    {
        let event = Event::create(title).urgency(urgency).detail("Channel", title);
        commit(store, event);
    }
    by_hand(store, 3, ManualAction::Resolve);
    let read = |numbers: &[u64], with_details| {
        let numbers = numbers.iter().copied().collect();
        store.outlines(numbers, with_details).wait().expect("it reads")
    };
    let whole = read(&[3, 1, 9, u64::MAX], true);
    let shown: Vec<_> = whole
        .iter()
        .map(|it| (it.number, &*it.integration, it.urgency, it.status, &*it.details[0].value))
        .collect();
    let integration = &*crate::store::fixture::get(store, AlertRef::Number(1)).alert.integration;
    let one = (1, integration, Urgency::Low, Status::Open, "one");
    let three = (3, integration, Urgency::Low, Status::Resolved, "three");
    assert_eq!(shown, [one, three]);
    let short = read(&[1, 2, 3], false);
    assert!(short.iter().all(|it| it.details.is_empty()));
    assert_eq!(short.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 3]);
}

pub(in crate::store) fn old_deliveries_are_deleted_and_dead_ones_stay(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    route(store, at(0), (1..=5).map(|id| news(id, id, Kind::Opened)).collect());
    route(store, at(0), vec![news(6, 6, Kind::Noted), news(7, 5, Kind::Resolved)]);
    claim(store, at(0), 5);
    for id in [1, 2, 3, 7] {
        delivered(store, id);
    }
    dead(store, 4);
    route(store, at(0), (11..=14).map(|id| opened(id, id, 2)).collect());
    claim(store, at(0), 9);
    delivered(store, 13);
    route(store, at(0), vec![news(20, 11, Kind::Resolved)]);
    assert_eq!(facts(store, 11).len(), 1);
    let forget = |before, limit| {
        let task = HousekeepingTask::Forget { what: Forgettable::Deliveries, before };
        steps(store, &task, limit)
    };
    assert_eq!(forget(Some(at(0)), 9), [0], "nothing is so old");
    let deleted: usize = forget(Some(at(501)), 2).iter().sum();
    // Five messages, four deliveries that are parts of them, and the fact.
    assert_eq!(deleted, 9);
    assert_eq!(listed(store, DeliveryQuery::default()), [6, 4]);
    let digest = listed(store, DeliveryQuery { alert: Some(14), ..DeliveryQuery::default() });
    assert_eq!(digest, [0; 0]);
    assert_eq!(facts(store, 11), []);
    assert_eq!(forget(None, 9), [0], "dead deliveries and those that wait stay");
}

pub(in crate::store) fn deliveries_about_unresolved_alerts_are_kept(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    for _ in 0..6 {
        commit(store, Event::create("x"));
    }
    // A digest of the alerts 4 to 6, and a message about each other alert.
    route(store, at(0), (1..=3).map(|id| news(id, id, Kind::Opened)).collect());
    claim(store, at(0), 9);
    route(store, at(0), (4..=6).map(|id| opened(id, id, 2)).collect());
    claim(store, at(0), 9);
    for id in [1, 2, 3, 6] {
        delivered(store, id);
    }
    for number in [3, 4, 5] {
        by_hand(store, number, ManualAction::Resolve);
    }
    let forget = || {
        let what = Forgettable::Deliveries;
        steps(store, &HousekeepingTask::Forget { what, before: Some(at(501)) }, 2)
    };
    assert_eq!(forget().iter().sum::<usize>(), 3, "those about the alerts 3, 4 and 5");
    assert_eq!(listed(store, DeliveryQuery::default()), [6, 2, 1]);
    let digest = |alert| listed(store, DeliveryQuery { alert: Some(alert), ..Default::default() });
    assert_eq!(digest(6), [6], "the destination still knows the alert");
    assert_eq!(forget().iter().sum::<usize>(), 0);
    for number in [1, 2, 6] {
        by_hand(store, number, ManualAction::Resolve);
    }
    assert_eq!(forget().iter().sum::<usize>(), 3);
    assert_eq!(listed(store, DeliveryQuery::default()), [0; 0]);
}

pub(in crate::store) fn an_alert_is_deleted_with_its_deliveries_once_they_have_ended(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    for _ in 0..4 {
        commit(store, Event::create("x"));
    }
    for number in 1..=3 {
        by_hand(store, number, ManualAction::Resolve);
    }
    let fact = Fact {
        at: at(1),
        kind: Kind::Opened,
        destination: "ops".into(),
        reason: FactReason::NeverTold,
    };
    let routed = Routed {
        deliveries: (1..=3).map(|id| news(id, id, Kind::Resolved)).collect(),
        timers: vec![timer(60, 1), timer(60, 4)],
        facts: vec![(1, fact)],
        now: at(0),
        ..Routed::default()
    };
    store.route(routed).wait().expect("it commits");
    claim(store, at(0), 2);
    delivered(store, 1);
    dead(store, 2);
    let forget = || {
        let task = HousekeepingTask::Forget { what: Forgettable::ResolvedAlerts, before: None };
        housekeep(store, task, 9)
    };
    assert_eq!(forget(), 2, "the news about the third alert waits");
    assert_eq!(listed(store, DeliveryQuery::default()), [3, 2], "a dead delivery stays");
    assert_eq!(facts(store, 1), []);
    let timers = store.due_timers(Timestamp::MAX, 9).wait().expect("it reads");
    assert_eq!(timers.iter().map(|timer| timer.alert).collect::<Vec<_>>(), [4]);
    assert!(matches!(timers[0].cause, TimerCause::Escalation { .. }));
    claim(store, at(0), 9);
    delivered(store, 3);
    assert_eq!(forget(), 1);
}

pub(in crate::store) fn deliveries_that_wait_too_long_are_brought_forward(
    place: &dyn StoreFixture,
) {
    let store = on_duty(place);
    let other = NewDelivery { destination: "other".into(), ..news(4, 4, Kind::Opened) };
    let all = (1..=3).map(|id| news(id, id, Kind::Opened)).chain([other]).collect();
    route(&*store, at(0), all);
    assert_eq!(claimed(&*store, at(0)).len(), 3);
    not_sent(&*store, 1, at(10_000));
    not_sent(&*store, 2, at(20));
    let bring = |destination: Option<&str>, latest| {
        let moved = store.bring_forward(destination.map(str::to_owned), at(latest));
        moved.wait().expect("it commits")
    };
    assert_eq!(bring(Some("nobody"), 0), 0);
    assert_eq!(bring(None, 100), 1);
    assert_eq!(get(&*store, 1).next_attempt_at, Some(at(100)));
    assert_eq!(get(&*store, 2).next_attempt_at, Some(at(20)));
    assert_eq!(bring(Some("ops"), 5), 2, "the one in flight stays in flight");
    assert_eq!(claimed(&*store, at(5)), [(1, 2), (2, 2)]);
}

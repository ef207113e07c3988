//! Promises about deliveries: their order, what replaces them, and what becomes of them.

use jiff::Timestamp;
use tocsin_plugin_api::{Urgency, notification::Kind};
use ulid::Ulid;

use crate::{
    delivery::{Attempt, AttemptResult, Delivery, DeliveryStatus, DestinationState},
    store::{
        Store,
        deliveries::{AfterAttempt, Claim, Claimed, Finished, NewDelivery, Routed},
        fixture::{StoreFixture, at},
    },
};

/// News about an alert to the destination `ops`, with an id made of a number.
pub(super) fn news(id: u64, alert: u64, kind: Kind) -> NewDelivery {
    NewDelivery {
        id: ulid(id),
        destination: "ops".into(),
        alert,
        kind,
        place: Some(id),
        changed_at: at(0),
        urgency: Urgency::High,
        integration: "prometheus".into(),
        digest_above: 0,
    }
}

pub(super) fn ulid(id: u64) -> Ulid {
    Ulid::from_parts(1_700_000_000_000, u128::from(id))
}

/// Routes deliveries at a time.
pub(super) fn route(store: &dyn Store, now: Timestamp, deliveries: Vec<NewDelivery>) {
    store.route(Routed { deliveries, now, ..Routed::default() }).wait().expect("it commits");
}

pub(super) fn claim(store: &dyn Store, now: Timestamp, limit: usize) -> Claimed {
    store.claim(Claim { destination: "ops".into(), now, limit }).wait().expect("it commits")
}

/// Claims all that is due, and returns the ids with the number of the attempt.
fn claimed(store: &dyn Store, now: Timestamp) -> Vec<(Ulid, u32)> {
    let all = claim(store, now, 100).deliveries;
    all.into_iter().map(|it| (it.delivery.id, it.delivery.attempts)).collect()
}

fn attempt(number: u32, result: AttemptResult) -> Attempt {
    let reason = (result != AttemptResult::Delivered).then(|| format!("no, {number}"));
    Attempt { number, at: at(i64::from(number)), took_ms: 7, requests: Vec::new(), result, reason }
}

fn finish(store: &dyn Store, id: u64, number: u32, result: AttemptResult, next: AfterAttempt) {
    let attempt = attempt(number, result);
    let finished = Finished { id: ulid(id), attempt, next, state: None, now: at(500) };
    store.finish(finished).wait().expect("it commits");
}

fn delivered(store: &dyn Store, id: u64) {
    finish(store, id, 1, AttemptResult::Delivered, AfterAttempt::Delivered);
}

fn not_sent(store: &dyn Store, id: u64, until: Timestamp) {
    let next = AfterAttempt::Waits { until, in_doubt: false };
    finish(store, id, 1, AttemptResult::Retry, next);
}

fn in_doubt(store: &dyn Store, id: u64, until: Timestamp) {
    let next = AfterAttempt::Waits { until, in_doubt: true };
    finish(store, id, 1, AttemptResult::InDoubt, next);
}

fn get(store: &dyn Store, id: u64) -> Delivery {
    store.delivery(ulid(id)).wait().expect("it reads").expect("it is there").delivery
}

fn state(store: &dyn Store) -> DestinationState {
    let states = store.destinations().wait().expect("it reads");
    states.into_iter().find(|state| state.name == "ops").expect("it has deliveries")
}

pub(in crate::store) fn a_delivery_is_claimed_once_and_ends(place: &dyn StoreFixture) {
    let store = place.open();
    route(&*store, at(1), vec![news(1, 1, Kind::Opened), news(2, 2, Kind::Opened)]);
    let first = claim(&*store, at(1), 1);
    assert_eq!((first.deliveries.len(), first.next_due), (1, Some(at(1))));
    assert_eq!(first.deliveries[0].place, Some(1));
    assert!(first.deliveries[0].delivery.in_flight);
    assert_eq!(claimed(&*store, at(1)), [(ulid(2), 1)]);
    assert_eq!(claim(&*store, at(1), 9).next_due, None);
    delivered(&*store, 1);
    finish(&*store, 2, 1, AttemptResult::Rejected, AfterAttempt::Dead);
    let (one, two) = (get(&*store, 1), get(&*store, 2));
    assert_eq!((one.status, one.finished_at), (DeliveryStatus::Delivered, Some(at(500))));
    assert_eq!((two.status, two.reason.as_deref()), (DeliveryStatus::Dead, Some("no, 1")));
    assert_eq!((one.next_attempt_at, two.next_attempt_at), (None, None));
}

//! Promises about duties: one host holds each at a time, and another takes it over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tocsin_plugin_api::notification::Kind;

use crate::{
    delivery::{AttemptResult, DeliveryStatus},
    store::{
        Pending, Store, StoreError,
        deliveries::{AfterAttempt, Claim, Finished, Routed, Which},
        duties::{Duty, Hold, LEASE_LASTS, Term},
        fixture::{
            StoreFixture, at,
            deliveries::{attempt, claimed, get, news, route, take, ulid},
            steve,
        },
    },
};

/// Only a broken store needs that long.
const TIMEOUT: Duration = Duration::from_secs(180);

fn delivering(destination: &str) -> Duty {
    Duty::Delivering(destination.into())
}

fn hold(store: &dyn Store, duty: Duty) -> Hold {
    store.hold(duty).wait().expect("it commits")
}

fn release(store: &dyn Store, duty: Duty) {
    store.release(duty).wait().expect("it commits");
}

/// Opens the store for two hosts; none if only one host can use it.
fn two_hosts(place: &dyn StoreFixture) -> Option<(Arc<dyn Store>, Arc<dyn Store>)> {
    let first = place.open();
    Some((first, place.open_another()?))
}

/// Asks for a duty until the store gives it.
fn take_when_free(store: &dyn Store, duty: &Duty) -> Term {
    let end = Instant::now() + TIMEOUT;
    loop {
        if let Hold::Here { term, .. } = hold(store, duty.clone()) {
            return term;
        }
        assert!(Instant::now() < end, "{duty} is never free");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(answer: Pending<T>) {
    let answer = answer.wait();
    assert!(matches!(answer, Err(StoreError::NotOnDuty)), "{answer:?}");
}

pub(in crate::store) fn a_host_alone_holds_every_duty_it_asks_for(place: &dyn StoreFixture) {
    let store = &*place.open();
    for duty in [Duty::Housekeeping, Duty::Routing, delivering("ops"), delivering("ops 2")] {
        let term = take(store, duty.clone());
        for _ in 0..3 {
            assert_eq!(take(store, duty.clone()), term, "renewing {duty} is no new term");
        }
    }
    if let Hold::Here { lasts: Some(lasts), .. } = hold(store, Duty::Routing) {
        assert_eq!(lasts, LEASE_LASTS);
    }
}

pub(in crate::store) fn a_released_duty_is_taken_in_a_new_term(place: &dyn StoreFixture) {
    let store = &*place.open();
    let (routing, ops) = (take(store, Duty::Routing), take(store, delivering("ops")));
    release(store, delivering("ops"));
    assert_ne!(take(store, delivering("ops")), ops);
    assert_eq!(take(store, Duty::Routing), routing, "each duty has terms of its own");
    release(store, delivering("never held"));
}

pub(in crate::store) fn a_host_that_closes_gives_up_its_duties(place: &dyn StoreFixture) {
    let store = place.open();
    take(&*store, Duty::Routing);
    take(&*store, delivering("ops"));
    store.close();
    let store = place.open();
    take(&*store, Duty::Routing);
    take(&*store, delivering("ops"));
}

pub(in crate::store) fn a_released_duty_goes_to_the_host_that_asks_next(place: &dyn StoreFixture) {
    let Some((first, second)) = two_hosts(place) else { return };
    let before = take(&*first, delivering("ops"));
    assert_eq!(hold(&*second, delivering("ops")), Hold::Elsewhere);
    release(&*second, delivering("ops"));
    assert_eq!(take(&*first, delivering("ops")), before, "only its holder gives up a duty");
    release(&*first, delivering("ops"));
    take(&*second, delivering("ops"));
    assert_eq!(hold(&*first, delivering("ops")), Hold::Elsewhere);
    second.close();
    assert_ne!(take(&*first, delivering("ops")), before);
}

pub(in crate::store) fn a_duty_whose_holder_is_silent_goes_to_another_host(
    place: &dyn StoreFixture,
) {
    let Some((first, second)) = two_hosts(place) else { return };
    let before = take(&*first, delivering("ops"));
    take_when_free(&*second, &delivering("ops"));
    assert_eq!(hold(&*first, delivering("ops")), Hold::Elsewhere, "the new holder keeps it");
    release(&*second, delivering("ops"));
    assert_ne!(take(&*first, delivering("ops")), before);
}

pub(in crate::store) fn a_lease_that_nobody_else_took_keeps_its_term(place: &dyn StoreFixture) {
    let Some((first, second)) = two_hosts(place) else { return };
    let (free, before) = (take(&*first, delivering("free")), take(&*first, delivering("taken")));
    // Once the later lease is over, the earlier one is, too.
    take_when_free(&*second, &delivering("taken"));
    assert_eq!(take(&*first, delivering("free")), free);
    release(&*second, delivering("taken"));
    assert_ne!(take(&*first, delivering("taken")), before);
}

pub(in crate::store) fn what_a_former_holder_writes_is_refused(place: &dyn StoreFixture) {
    let Some((first, second)) = two_hosts(place) else { return };
    take(&*first, Duty::Routing);
    take(&*first, delivering("ops"));
    route(&*first, at(0), vec![news(1, 1, Kind::Opened), news(2, 2, Kind::Opened)]);
    assert_eq!(claimed(&*first, at(0)), [(1, 1), (2, 1)]);
    for duty in [Duty::Routing, delivering("ops")] {
        take_when_free(&*second, &duty);
    }

    let finished = |id| Finished {
        id: ulid(id),
        attempt: attempt(1, AttemptResult::Delivered),
        next: AfterAttempt::Delivered,
        state: None,
        now: at(5),
    };
    let routed =
        || Routed { deliveries: vec![news(3, 3, Kind::Opened)], now: at(5), ..Routed::default() };
    let refuse_all = || {
        assert_refused(first.route(routed()));
        assert_refused(first.claim(Claim { destination: "ops".into(), now: at(900), limit: 9 }));
        assert_refused(first.finish(finished(1)));
        assert_refused(first.give_back(vec![ulid(2)]));
        assert_refused(first.give_back_all("ops".into(), Vec::new()));
        assert_refused(first.recover_deliveries("ops".into(), at(5)));
    };
    refuse_all();
    assert!([1, 2].iter().all(|id| get(&*second, *id).in_flight), "nothing has changed");
    assert_eq!(second.delivery(ulid(3)).wait().expect("it reads"), None);

    let recovered = second.recover_deliveries("ops".into(), at(9)).wait().expect("it commits");
    assert_eq!(recovered.in_doubt, 2);
    assert_eq!(claimed(&*second, at(9)), [(1, 2), (2, 2)]);
    refuse_all();
    let again = Finished { attempt: attempt(2, AttemptResult::Delivered), ..finished(1) };
    second.finish(again).wait().expect("it commits");
    assert_eq!(get(&*second, 1).status, DeliveryStatus::Delivered);
    // A duty that nobody holds is not the former holder's, either.
    release(&*second, Duty::Routing);
    release(&*second, delivering("ops"));
    refuse_all();
}

pub(in crate::store) fn people_act_on_deliveries_of_another_holder(place: &dyn StoreFixture) {
    let Some((first, second)) = two_hosts(place) else { return };
    take(&*first, Duty::Routing);
    take(&*first, delivering("ops"));
    let all = (1..=3).map(|id| news(id, id, Kind::Opened)).collect();
    route(&*first, at(0), all);
    let discarded = second.discard_deliveries(Which::One(ulid(1)), steve(), at(5));
    assert_eq!(discarded.wait().expect("it commits"), 1);
    second.park("ops".into(), None).wait().expect("it commits");
    let retried = second.retry_deliveries(Which::AllOf("ops".into()), steve(), at(6));
    assert_eq!(retried.wait().expect("it commits"), 3);
    assert_eq!(claimed(&*first, at(6)).len(), 3, "the holder finds what people have changed");
}

pub(in crate::store) fn duties_are_shared_out_one_by_one(place: &dyn StoreFixture) {
    let Some((first, second)) = two_hosts(place) else { return };
    let duties: Vec<_> = (0..20).map(|number| delivering(&format!("d{number}"))).collect();
    let ask = |store: Arc<dyn Store>| {
        let duties = duties.clone();
        std::thread::spawn(move || -> Vec<bool> {
            let held = duties.into_iter().map(|duty| hold(&*store, duty) != Hold::Elsewhere);
            held.collect()
        })
    };
    // A host that closes its store gives up its duties.
    let stores = [Arc::clone(&first), Arc::clone(&second)];
    let asked = stores.map(ask).map(|thread| thread.join().expect("no panic"));
    for (number, (one, other)) in asked[0].iter().zip(&asked[1]).enumerate() {
        assert_ne!(one, other, "duty {number} has one holder");
    }
}

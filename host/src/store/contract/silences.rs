//! Promises about silences and timers.

use crate::{
    delivery::{Conditions, Silence, Timer, TimerCause},
    store::{
        Store,
        deliveries::Routed,
        fixture::{
            StoreFixture, at,
            deliveries::{on_duty, timer},
            housekeep, steve,
        },
        housekeeping::{Forgettable, HousekeepingTask},
    },
};

fn add(store: &dyn Store, from: i64, to: i64) -> Silence {
    let silence = Silence {
        id: 77,
        conditions: Conditions { integrations: vec!["ops".into()], ..Conditions::default() },
        starts_at: at(from),
        ends_at: at(to),
        by: steve(),
        reason: "planned work".into(),
        ended_by: None,
    };
    let added = store.add_silence(silence.clone()).wait().expect("it commits");
    assert_eq!(added, Silence { id: added.id, ..silence });
    added
}

fn active(store: &dyn Store, second: i64) -> Vec<u64> {
    let silences = store.silences(Some(at(second))).wait().expect("it reads");
    silences.iter().map(|silence| silence.id).collect()
}

fn route_timers(store: &dyn Store, timers: Vec<Timer>, done_timers: Vec<u64>) {
    let routed = Routed { timers, done_timers, now: at(0), ..Routed::default() };
    store.route(routed).wait().expect("it commits");
}

fn due(store: &dyn Store, second: i64) -> Vec<Timer> {
    store.due_timers(at(second), 100).wait().expect("it reads")
}

pub(in crate::store) fn silences_hold_until_they_end(place: &dyn StoreFixture) {
    let store = on_duty(place);
    assert_eq!([add(&*store, 0, 60).id, add(&*store, 100, 200).id], [1, 2]);
    assert_eq!(active(&*store, 59), [2, 1], "also those that have not begun");
    assert_eq!(active(&*store, 60), [2]);
    assert_eq!(active(&*store, 200), [0; 0]);
    store.close();
    let store = on_duty(place);
    let all = store.silences(None).wait().expect("it reads");
    assert_eq!(all.iter().map(|silence| silence.id).collect::<Vec<_>>(), [2, 1]);
}

pub(in crate::store) fn people_end_silences_early(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let silence = add(store, 0, 600);
    let ends = |alert| Timer {
        due_at: at(600),
        cause: TimerCause::SilenceEnds { silence: silence.id },
        ..timer(0, alert)
    };
    route_timers(store, vec![ends(1), ends(2), timer(600, 3)], Vec::new());
    assert_eq!(due(store, 60), []);
    let ended = store.end_silence(silence.id, steve(), at(60)).wait().expect("it commits");
    let ended = ended.expect("there is one");
    assert_eq!((ended.ends_at, ended.ended_by), (at(60), Some(steve())));
    assert_eq!(active(store, 60), [0; 0]);
    let alerts: Vec<_> = due(store, 60).iter().map(|timer| timer.alert).collect();
    assert_eq!(alerts, [1, 2], "its timers are due");
    let again = store.end_silence(silence.id, steve(), at(90)).wait().expect("it commits");
    assert_eq!(again.expect("it is there").ends_at, at(60), "it ends once");
    assert_eq!(store.end_silence(9, steve(), at(60)).wait().expect("it commits"), None);
}

pub(in crate::store) fn a_timer_is_due_when_its_silence_has_ended_early(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    let silence = add(store, 0, 600).id;
    store.end_silence(silence, steve(), at(60)).wait().expect("it commits");
    // The router has planned with the silence as it was before.
    let ends = |silence, alert| Timer {
        due_at: at(600),
        cause: TimerCause::SilenceEnds { silence },
        ..timer(0, alert)
    };
    route_timers(store, vec![ends(silence, 1), ends(9, 2), timer(600, 3)], Vec::new());
    let alerts: Vec<_> = due(store, 60).iter().map(|timer| timer.alert).collect();
    assert_eq!(alerts, [1], "the alert is looked at again at once");
    assert_eq!(due(store, 600).len(), 3);
}

pub(in crate::store) fn an_alert_has_one_timer_for_each_silence_and_destination(
    place: &dyn StoreFixture,
) {
    let store = &*on_duty(place);
    let ends = |silence, destination: &str| Timer {
        destination: destination.into(),
        cause: TimerCause::SilenceEnds { silence },
        ..timer(60, 1)
    };
    let first = || vec![ends(1, "ops"), ends(2, "ops"), ends(1, "other")];
    route_timers(store, [first(), first()].concat(), Vec::new());
    route_timers(store, first(), Vec::new());
    let timers = due(store, 60);
    assert_eq!(timers.len(), 3);
    route_timers(store, vec![ends(1, "ops")], timers.iter().map(|timer| timer.id).collect());
    assert_eq!(due(store, 60).len(), 1, "a new one in place of one that is done");
    route_timers(store, vec![timer(60, 1), timer(60, 1)], Vec::new());
    assert_eq!(due(store, 60).len(), 3, "each escalation has its own");
}

pub(in crate::store) fn timers_are_due_once_and_oldest_first(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    assert_eq!(store.next_timer().wait().expect("it reads"), None);
    route_timers(store, vec![timer(30, 1), timer(10, 2), timer(20, 3)], Vec::new());
    assert_eq!(store.next_timer().wait().expect("it reads"), Some(at(10)));
    let timers = due(store, 20);
    let alerts: Vec<_> = timers.iter().map(|timer| timer.alert).collect();
    assert_eq!(alerts, [2, 3]);
    assert_eq!(timers[0], Timer { id: timers[0].id, ..timer(10, 2) });
    assert_eq!(store.due_timers(at(99), 1).wait().expect("it reads").len(), 1);
    let done = timers.iter().map(|timer| timer.id).collect();
    route_timers(store, vec![timer(40, 2)], done);
    let alerts: Vec<_> = due(store, 99).iter().map(|timer| timer.alert).collect();
    assert_eq!(alerts, [1, 2]);
}

pub(in crate::store) fn old_silences_are_deleted(place: &dyn StoreFixture) {
    let store = &*on_duty(place);
    add(store, 0, 60);
    add(store, 0, 200);
    let task = HousekeepingTask::Forget { what: Forgettable::Deliveries, before: Some(at(100)) };
    housekeep(store, task, 9);
    let left = store.silences(None).wait().expect("it reads");
    assert_eq!(left.iter().map(|silence| silence.id).collect::<Vec<_>>(), [2]);
    assert_eq!(add(store, 0, 300).id, 3, "a number is given once");
}

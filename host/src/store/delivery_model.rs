//! A small independent model of deliveries to one destination, and the comparison of a store with it.
//!
//! The model knows no digests.

use std::{cell::Cell, collections::BTreeMap};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tocsin_plugin_api::notification::Kind;
use ulid::Ulid;

use super::{
    Store,
    deliveries::{AfterAttempt, Claim, Finished, NewDelivery, Routed, Which},
    fixture::{
        StoreFixture, at,
        deliveries::{attempt, news, ulid},
        steve,
    },
};
use crate::delivery::{AttemptResult, DeliveryStatus};

#[derive(Clone, Copy, Debug)]
enum Step {
    Route {
        alert: u64,
        kind: Kind,
    },
    Claim {
        limit: usize,
    },
    /// The end of one of the attempts that run.
    Finish {
        choice: usize,
        result: AttemptResult,
        delay: i64,
    },
    GiveBack,
    /// The host dies and starts again.
    Recover,
    RetryDead,
    Later {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = [Kind::Opened, Kind::Acknowledged, Kind::Resolved, Kind::Noted];
    let results = [
        AttemptResult::Delivered,
        AttemptResult::Retry,
        AttemptResult::Retry,
        AttemptResult::InDoubt,
        AttemptResult::Rejected,
    ];
    prop_oneof![
        6 => (1..4_u64, 0..4_usize)
            .prop_map(move |(alert, kind)| Step::Route { alert, kind: kinds[kind] }),
        4 => (1..4_usize).prop_map(|limit| Step::Claim { limit }),
        5 => (0..9_usize, 0..5_usize, 0..40_i64).prop_map(move |(choice, result, delay)| {
            Step::Finish { choice, result: results[result], delay }
        }),
        1 => Just(Step::GiveBack),
        1 => Just(Step::Recover),
        1 => Just(Step::RetryDead),
        2 => (1..30_i64).prop_map(|seconds| Step::Later { seconds }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    InFlight,
    Ended(DeliveryStatus),
}

/// Message, which stands for one or more deliveries.
#[derive(Clone, Debug)]
struct Message {
    /// Deliveries that the message stands for. The last one is the message's own.
    news: Vec<(u64, Kind)>,
    alert: u64,
    stage: Stage,
    in_doubt: bool,
    attempts: u32,
    due: i64,
}

/// Messages in the order in which they were begun.
#[derive(Debug, Default)]
struct Model {
    messages: Vec<Message>,
    now: i64,
}

impl Model {
    fn of_alert(&self, alert: u64) -> Vec<usize> {
        let mut active = Vec::new();
        for (place, message) in self.messages.iter().enumerate() {
            if message.alert == alert && !matches!(message.stage, Stage::Ended(_)) {
                active.push(place);
            }
        }
        active
    }

    fn replaceable(&self, alert: u64) -> Vec<usize> {
        let mut places = self.of_alert(alert);
        places.retain(|place| {
            let message = &self.messages[*place];
            message.stage == Stage::Waiting && !message.in_doubt
        });
        places
    }

    fn route(&mut self, id: u64, alert: u64, kind: Kind) {
        match self.replaceable(alert).last() {
            Some(place) => self.messages[*place].news.push((id, kind)),
            None => self.messages.push(Message {
                news: vec![(id, kind)],
                alert,
                stage: Stage::Waiting,
                in_doubt: false,
                attempts: 0,
                due: self.now,
            }),
        }
    }

    fn unite(&mut self, alert: u64) {
        while let [first, second, ..] = self.replaceable(alert)[..] {
            let later = self.messages.remove(second);
            self.messages[first].news.extend(later.news);
        }
    }

    fn claim(&mut self, limit: usize) -> Vec<u64> {
        let is_first = |place: &usize| self.of_alert(self.messages[*place].alert)[0] == *place;
        let mut due: Vec<usize> = (0..self.messages.len())
            .filter(|place| {
                let message = &self.messages[*place];
                message.stage == Stage::Waiting && message.due <= self.now
            })
            .filter(is_first)
            .collect();
        due.sort_by_key(|place| self.messages[*place].due);
        due.truncate(limit);
        let take = |place: usize| {
            let message = &mut self.messages[place];
            message.stage = Stage::InFlight;
            message.attempts += 1;
            message.news.last().expect("a delivery").0
        };
        due.into_iter().map(take).collect()
    }

    fn in_flight(&self) -> Vec<usize> {
        let places = 0..self.messages.len();
        places.filter(|place| self.messages[*place].stage == Stage::InFlight).collect()
    }

    fn finish(&mut self, place: usize, next: &AfterAttempt, result: AttemptResult) {
        let message = &mut self.messages[place];
        let alert = message.alert;
        match next {
            AfterAttempt::Delivered => {
                message.stage = Stage::Ended(DeliveryStatus::Delivered);
                message.in_doubt = false;
            }
            AfterAttempt::Dead => {
                message.stage = Stage::Ended(DeliveryStatus::Dead);
                message.in_doubt = result == AttemptResult::InDoubt;
            }
            AfterAttempt::Waits { until, in_doubt } => {
                message.stage = Stage::Waiting;
                message.in_doubt = *in_doubt;
                message.due = until.as_second() - at(0).as_second();
                self.unite(alert);
            }
        }
    }

    fn retry_dead(&mut self) {
        for place in (0..self.messages.len()).rev() {
            // Messages after this one may have been united with it.
            let Message { alert, stage, .. } = self.messages[place];
            if stage != Stage::Ended(DeliveryStatus::Dead) {
                continue;
            }
            self.messages[place].stage = Stage::Waiting;
            self.messages[place].due = self.now;
            for other in self.replaceable(alert) {
                self.messages[other].due = self.now;
            }
            self.unite(alert);
        }
    }

    #[track_caller]
    fn assert_equals(&self, store: &dyn Store) {
        for message in &self.messages {
            let (own, _) = *message.news.last().expect("a delivery");
            let mut kinds: Vec<_> = message.news.iter().map(|(_, kind)| *kind).collect();
            kinds.pop();
            kinds.dedup();
            for (id, kind) in &message.news {
                let stored = store.delivery(ulid(*id)).wait().expect("it reads");
                let stored = stored.expect("no delivery vanishes").delivery;
                let status = match message.stage {
                    Stage::Waiting | Stage::InFlight => DeliveryStatus::Waiting,
                    Stage::Ended(status) => status,
                };
                assert_eq!((stored.status, stored.kind), (status, *kind), "{message:?}");
                let told_by = (*id != own).then(|| ulid(own));
                assert_eq!(stored.told_by, told_by, "{id} of {message:?}");
                if *id == own {
                    assert_eq!(stored.skipped, kinds, "{message:?}");
                    assert_eq!(stored.attempts, message.attempts, "{message:?}");
                    assert_eq!(stored.in_doubt, message.in_doubt, "{message:?}");
                    assert_eq!(stored.in_flight, message.stage == Stage::InFlight, "{message:?}");
                }
            }
        }
    }
}

pub(super) fn any_sequence_of_deliveries_matches_the_model(place: &dyn StoreFixture) {
    let store = &*place.open();
    let (sequences, ids) = (Cell::new(0), Cell::new(0));
    let mut runner =
        TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    runner
        .run(&vec(step(), 1..40), |steps| {
            // Each sequence has a destination of its own.
            sequences.set(sequences.get() + 1);
            let destination = format!("destination {}", sequences.get());
            let mut model = Model::default();
            for step in steps {
                apply(store, &mut model, &destination, step, &ids);
                model.assert_equals(store);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn apply(store: &dyn Store, model: &mut Model, name: &str, step: Step, ids: &Cell<u64>) {
    let now = at(model.now);
    match step {
        Step::Route { alert, kind } => {
            ids.set(ids.get() + 1);
            let new = NewDelivery { destination: name.into(), ..news(ids.get(), alert, kind) };
            let routed = Routed { deliveries: vec![new], now, ..Routed::default() };
            store.route(routed).wait().expect("it commits");
            model.route(ids.get(), alert, kind);
        }
        Step::Claim { limit } => {
            let claim = Claim { destination: name.into(), now, limit };
            let claimed = store.claim(claim).wait().expect("it commits").deliveries;
            let claimed: Vec<_> = claimed.iter().map(|it| it.delivery.id).collect();
            let expected: Vec<Ulid> = model.claim(limit).into_iter().map(ulid).collect();
            assert_eq!(claimed, expected);
        }
        Step::Finish { choice, result, delay } => {
            let running = model.in_flight();
            if running.is_empty() {
                return;
            }
            let place = running[choice % running.len()];
            let until = at(model.now + delay);
            let next = match result {
                AttemptResult::Delivered => AfterAttempt::Delivered,
                AttemptResult::Retry => AfterAttempt::Waits { until, in_doubt: false },
                AttemptResult::InDoubt => AfterAttempt::Waits { until, in_doubt: true },
                AttemptResult::Rejected | AttemptResult::DestinationBroken => AfterAttempt::Dead,
            };
            let message = &model.messages[place];
            let id = ulid(message.news.last().expect("a delivery").0);
            let attempt = attempt(message.attempts, result);
            let finished = Finished { id, attempt, next: next.clone(), state: None, now };
            store.finish(finished).wait().expect("it commits");
            model.finish(place, &next, result);
        }
        Step::GiveBack => {
            let running = model.in_flight();
            let own = |place: &usize| model.messages[*place].news.last().expect("a delivery").0;
            let back = running.iter().map(own).map(ulid).collect();
            store.give_back(back).wait().expect("it commits");
            for place in &running {
                model.messages[*place].stage = Stage::Waiting;
                model.messages[*place].attempts -= 1;
            }
            (1..4).for_each(|alert| model.unite(alert));
        }
        Step::Recover => {
            let running = model.in_flight();
            let recovered = store.recover_deliveries(now).wait().expect("it commits");
            assert!(recovered >= running.len() as u64, "earlier sequences may leave some");
            for place in running {
                let message = &mut model.messages[place];
                (message.stage, message.in_doubt, message.due) = (Stage::Waiting, true, model.now);
            }
        }
        Step::RetryDead => {
            let which = Which::DeadOf(name.into());
            store.retry_deliveries(which, steve(), now).wait().expect("it commits");
            model.retry_dead();
        }
        Step::Later { seconds } => model.now += seconds,
    }
}

#[test]
fn the_model_unites_what_was_not_sent() {
    let mut model = Model::default();
    model.route(1, 1, Kind::Opened);
    model.route(2, 1, Kind::Acknowledged);
    assert_eq!(model.claim(9), [2]);
    model.route(3, 1, Kind::Resolved);
    assert_eq!(model.claim(9), [0; 0]);
    let next = AfterAttempt::Waits { until: at(9), in_doubt: false };
    model.finish(0, &next, AttemptResult::Retry);
    model.now = 9;
    assert_eq!(model.claim(9), [3]);
    let counts: BTreeMap<_, _> =
        model.messages.iter().map(|it| (it.alert, it.news.len())).collect();
    assert_eq!(counts, [(1, 3)].into());
}

//! A small independent model of deliveries to one destination, and the comparison of a store with it.
//!
//! The model knows no digests. The environment variable `PROPTEST_CASES` sets the number of random
//! sequences.

use std::{cell::Cell, collections::BTreeMap, env};

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
    duties::Duty,
    fixture::{
        StoreFixture, at,
        deliveries::{attempt, news, take, ulid},
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
    Retry(Choice),
    Discard(Choice),
    Later {
        seconds: i64,
    },
}

/// Messages that a person chooses.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// The message of one of all deliveries.
    One(usize),
    Dead,
    All,
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
        2 => choice().prop_map(Step::Retry),
        1 => choice().prop_map(Step::Discard),
        2 => (1..30_i64).prop_map(|seconds| Step::Later { seconds }),
    ]
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        2 => (0..30_usize).prop_map(Choice::One),
        1 => Just(Choice::Dead),
        1 => Just(Choice::All),
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
    /// True if the messages about the same alert that have not ended wait for this one.
    is_next: bool,
    in_doubt: bool,
    /// True if a person discarded it while it was in flight.
    is_discarded: bool,
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
                is_next: self.of_alert(alert).is_empty(),
                in_doubt: false,
                is_discarded: false,
                attempts: 0,
                due: self.now,
            }),
        }
    }

    /// Unites messages that surely were not sent. The later news have the place of the earlier, and wait
    /// for the attempt that was made last.
    fn unite(&mut self, alert: u64) {
        while let [first, second, ..] = self.replaceable(alert)[..] {
            let later = self.messages.remove(second);
            let message = &mut self.messages[first];
            message.news.extend(later.news);
            message.attempts = message.attempts.max(later.attempts);
            if later.is_next {
                (message.is_next, message.due) = (true, later.due);
            }
        }
    }

    fn claim(&mut self, limit: usize) -> Vec<u64> {
        let mut due: Vec<usize> = (0..self.messages.len())
            .filter(|place| {
                let message = &self.messages[*place];
                message.stage == Stage::Waiting && message.is_next && message.due <= self.now
            })
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

    /// Ends a message. The oldest of the others about the alert follows if none is next.
    fn end(&mut self, place: usize, status: DeliveryStatus) {
        let message = &mut self.messages[place];
        (message.stage, message.is_next) = (Stage::Ended(status), false);
        message.is_discarded = false;
        let alert = message.alert;
        let others = self.of_alert(alert);
        if let [oldest, ..] = others[..]
            && !others.iter().any(|other| self.messages[*other].is_next)
        {
            self.messages[oldest].is_next = true;
        }
    }

    fn in_flight(&self) -> Vec<usize> {
        let places = 0..self.messages.len();
        places.filter(|place| self.messages[*place].stage == Stage::InFlight).collect()
    }

    fn finish(&mut self, place: usize, next: &AfterAttempt, result: AttemptResult) {
        let message = &mut self.messages[place];
        let alert = message.alert;
        let is_over = message.is_discarded && *next != AfterAttempt::Delivered;
        match if is_over { &AfterAttempt::Dead } else { next } {
            AfterAttempt::Delivered => {
                message.in_doubt = false;
                self.end(place, DeliveryStatus::Delivered);
            }
            AfterAttempt::Dead => {
                message.in_doubt |= result == AttemptResult::InDoubt;
                self.end(place, DeliveryStatus::Dead);
            }
            AfterAttempt::Waits { until, in_doubt } => {
                message.stage = Stage::Waiting;
                message.in_doubt = *in_doubt;
                message.due = until.as_second() - at(0).as_second();
                self.unite(alert);
            }
        }
    }

    /// Returns the messages that a person chose, and the same choice for a store.
    fn chosen(&self, choice: Choice, destination: &str) -> (Vec<usize>, Which) {
        let all = 0..self.messages.len();
        match choice {
            Choice::One(number) => {
                let news =
                    |place: usize| self.messages[place].news.iter().map(move |it| (place, it.0));
                let deliveries: Vec<(usize, u64)> = all.flat_map(news).collect();
                let Some(number) = number.checked_rem(deliveries.len()) else {
                    return (Vec::new(), Which::One(ulid(0)));
                };
                let (place, id) = deliveries[number];
                (vec![place], Which::One(ulid(id)))
            }
            Choice::Dead => {
                let dead = Stage::Ended(DeliveryStatus::Dead);
                let dead = all.filter(|place| self.messages[*place].stage == dead).collect();
                (dead, Which::DeadOf(destination.into()))
            }
            Choice::All => (all.collect(), Which::AllOf(destination.into())),
        }
    }

    fn retry(&mut self, chosen: Vec<usize>) {
        // Messages after one may be united with it.
        for place in chosen.into_iter().rev() {
            match self.messages[place].stage {
                Stage::Waiting if self.messages[place].is_next => {
                    self.messages[place].due = self.now;
                }
                Stage::Ended(DeliveryStatus::Dead) => self.revive(place),
                _ => {}
            }
        }
    }

    /// Lets a dead message wait again, behind one that is in flight or in doubt.
    fn revive(&mut self, place: usize) {
        let Message { alert, in_doubt, .. } = self.messages[place];
        let others = self.of_alert(alert);
        let next = others.into_iter().find(|other| self.messages[*other].is_next);
        let waits = |place: &usize| self.replaceable(alert).contains(place);
        let displaced = next.filter(|next| in_doubt && waits(next));
        if let Some(displaced) = displaced {
            self.messages[displaced].is_next = false;
        }
        let message = &mut self.messages[place];
        message.is_next = next.is_none() || displaced.is_some();
        (message.stage, message.due) = (Stage::Waiting, self.now);
        for other in self.replaceable(alert) {
            self.messages[other].due = self.now;
        }
        self.unite(alert);
    }

    fn discard(&mut self, chosen: Vec<usize>) {
        for place in chosen {
            match self.messages[place].stage {
                Stage::Waiting => self.end(place, DeliveryStatus::Dead),
                Stage::InFlight => self.messages[place].is_discarded = true,
                Stage::Ended(_) => {}
            }
        }
    }

    fn give_back(&mut self) {
        for place in self.in_flight() {
            let message = &mut self.messages[place];
            message.stage = Stage::Waiting;
            message.attempts -= 1;
            if message.is_discarded {
                self.end(place, DeliveryStatus::Dead);
            }
        }
        (1..4).for_each(|alert| self.unite(alert));
    }

    fn recover(&mut self) {
        for place in self.in_flight() {
            let message = &mut self.messages[place];
            (message.stage, message.in_doubt, message.due) = (Stage::Waiting, true, self.now);
            if message.is_discarded {
                self.end(place, DeliveryStatus::Dead);
            }
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
                    let is_due = message.stage == Stage::Waiting && message.is_next;
                    let due = stored.next_attempt_at.filter(|_| is_due);
                    assert_eq!(due, is_due.then(|| at(message.due)), "{message:?}");
                    let has_ended = matches!(message.stage, Stage::Ended(_));
                    assert_eq!(stored.finished_at.is_some(), has_ended, "{message:?}");
                }
            }
        }
    }
}

pub(super) fn any_sequence_of_deliveries_matches_the_model(place: &dyn StoreFixture) {
    let store = &*place.open();
    take(store, Duty::Routing);
    let (sequences, ids) = (Cell::new(0), Cell::new(0));
    let cases = env::var("PROPTEST_CASES").map_or(64, |_| Config::default().cases);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&vec(step(), 1..40), |steps| {
            // Each sequence has a destination of its own.
            sequences.set(sequences.get() + 1);
            let destination = format!("destination {}", sequences.get());
            take(store, Duty::Delivering(destination.as_str().into()));
            let mut model = Model::default();
            for step in steps {
                apply(store, &mut model, &destination, step, &ids);
                model.assert_equals(store);
            }
            deliver_all(store, &mut model, &destination, &ids);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Delivers what is left. No message waits forever.
#[track_caller]
fn deliver_all(store: &dyn Store, model: &mut Model, name: &str, ids: &Cell<u64>) {
    let steps = [Step::GiveBack, Step::Later { seconds: 1000 }];
    steps.into_iter().for_each(|step| apply(store, model, name, step, ids));
    while model.messages.iter().any(|it| !matches!(it.stage, Stage::Ended(_))) {
        let delivered = Step::Finish { choice: 0, result: AttemptResult::Delivered, delay: 0 };
        apply(store, model, name, Step::Claim { limit: 1 }, ids);
        assert_eq!(model.in_flight().len(), 1, "one is due: {model:?}");
        apply(store, model, name, delivered, ids);
    }
    model.assert_equals(store);
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
            let own = |place: &usize| model.messages[*place].news.last().expect("a delivery").0;
            let back = model.in_flight().iter().map(own).map(ulid).collect();
            store.give_back(back).wait().expect("it commits");
            model.give_back();
        }
        Step::Recover => {
            let running = model.in_flight().len() as u64;
            let recovered = store.recover_deliveries(name.to_owned(), now);
            assert_eq!(recovered.wait().expect("it commits").in_doubt, running);
            model.recover();
        }
        Step::Retry(choice) => {
            let (chosen, which) = model.chosen(choice, name);
            store.retry_deliveries(which, steve(), now).wait().expect("it commits");
            model.retry(chosen);
        }
        Step::Discard(choice) => {
            let (chosen, which) = model.chosen(choice, name);
            store.discard_deliveries(which, steve(), now).wait().expect("it commits");
            model.discard(chosen);
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

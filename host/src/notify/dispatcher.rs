//! The deliveries of one destination: claimed when due, attempted in parallel, each recorded as it ends.
//!
//! A dispatcher waits for nothing but its own destination and the store. The time of the next attempt is in
//! the store, so that a dispatcher forgets nothing if the host dies. If several hosts share the store, one of
//! them delivers to a destination, and the dispatchers of the others stand by.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{oneshot, watch},
    task::{self, JoinSet},
    time::{Instant, sleep_until},
};
use ulid::Ulid;

use super::{
    STORE_PAUSE,
    attempt::{Coming, Ended, Verdict},
    clock::{Clock, later},
    kinds,
    outcome::{EndedAttempt, Outcome},
    pace::Pace,
    schedule::LONGEST_RETRY_AFTER,
    streak::Streak,
    target::{CurrentTarget, Target},
};
use crate::{
    alert::AlertRef,
    delivery::{AttemptResult, Parked},
    host::delivery_desk::{Bell, DeliveryDesk, Failing},
    hosts::post::{OnDuty, Post},
    http::server::Stop,
    metrics::{DeliveryMetrics, DestinationMetrics},
    store::{
        Pending, Store, StoreError,
        deliveries::{AfterAttempt, Claim, Claimed, ClaimedDelivery, Finished, Recovered},
        duties::{Duty, DutyStore, Term},
    },
    system::fault_injection,
};

/// Time for attempts that run when the host stops. An attempt that needs longer is in doubt.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that dispatchers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub store: Arc<dyn Store>,
    pub duties: Arc<dyn DutyStore>,
    pub desk: Arc<DeliveryDesk>,
    pub metrics: Arc<DeliveryMetrics>,
    pub clock: Clock,
}

/// Delivers to one destination until the signal to stop.
pub(super) async fn run(
    name: Arc<str>,
    shared: Shared,
    targets: watch::Receiver<CurrentTarget>,
    stop: Stop,
) {
    let bell = shared.desk.bell(&name);
    let metrics = shared.metrics.destination(&name);
    let dispatcher = Dispatcher {
        post: None,
        served: None,
        recovery: None,
        doubts_marks: false,
        parked: None,
        paused_until: None,
        pace: Pace::new(Duration::ZERO, Instant::now()),
        metrics,
        name,
        shared,
        target: None,
        look: Look::Due,
        claim: None,
        has_lost_claim: false,
        attempts: JoinSet::new(),
        records: JoinSet::new(),
        last_turn: None,
        running: HashMap::new(),
        streak: Streak::default(),
    };
    dispatcher.serve(&bell, targets, stop).await;
}

struct Dispatcher {
    name: Arc<str>,
    shared: Shared,
    metrics: DestinationMetrics,
    target: CurrentTarget,
    /// The duty to deliver to the destination. A dispatcher without a target leaves it to other hosts.
    post: Option<Post>,
    /// Term for which the deliveries of an earlier holder were put in order.
    served: Option<Term>,
    recovery: Option<Recovery>,
    /// True if another host may have ended the parking or the pause of the destination.
    doubts_marks: bool,
    parked: Option<Parked>,
    paused_until: Option<Timestamp>,
    pace: Pace,
    look: Look,
    /// The claim that the store is working on.
    claim: Option<RunningClaim>,
    /// True if the last claim was answered with an error.
    has_lost_claim: bool,
    attempts: JoinSet<(Ended, Duration)>,
    /// Results of attempts on their way to the store.
    records: JoinSet<()>,
    /// End of the last [`Turn`].
    last_turn: Option<oneshot::Receiver<()>>,
    running: HashMap<task::Id, Running>,
    streak: Streak,
}

/// Time of the next look at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Something may be due.
    Due,
    /// The next delivery is due at a time.
    At(Timestamp),
    /// The store refused: not before this instant.
    Later(Instant),
    /// Nothing waits, or only what is behind deliveries in flight.
    Idle,
}

struct RunningClaim {
    answer: Coming<Result<Claimed, StoreError>>,
    limit: usize,
    /// True if the destination was parked or paused, as far as this host knew.
    was_held: bool,
    /// True if a delivery may have become due since the claim was sent.
    is_outdated: bool,
}

/// Work on what an earlier holder of the duty left.
struct Recovery {
    term: Term,
    answer: Coming<Result<Recovered, StoreError>>,
}

/// A turn to write a mark of the destination: parked, paused, or neither. The store gets the marks in the
/// order in which they were decided, although it may refuse some for a while.
struct Turn {
    before: Option<oneshot::Receiver<()>>,
    done: oneshot::Sender<()>,
}

impl Turn {
    /// Waits for the turns before. The turn ends when the result is dropped.
    async fn begin(self) -> oneshot::Sender<()> {
        if let Some(before) = self.before {
            // An error is the end of the turn, too.
            let _ = before.await;
        }
        self.done
    }
}

/// An attempt that runs.
struct Running {
    delivery: ClaimedDelivery,
    target: Arc<Target>,
    at: Timestamp,
    has_sent: Arc<AtomicBool>,
}

impl Dispatcher {
    async fn serve(
        mut self,
        bell: &Bell,
        mut targets: watch::Receiver<CurrentTarget>,
        mut stop: Stop,
    ) {
        let target = targets.borrow_and_update().clone();
        self.adopt(target);
        loop {
            self.leave_without_target().await;
            self.begin_claim();
            let wake = self.wake_at();
            tokio::select! {
                biased;
                () = stop.wait() => break,
                changed = targets.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let target = targets.borrow_and_update().clone();
                    self.adopt(target);
                }
                Some(ended) = self.attempts.join_next_with_id() => self.end_attempt(ended),
                Some(_) = self.records.join_next() => self.look_again(),
                claimed = answer(&mut self.claim) => self.end_claim(claimed),
                () = changed(&mut self.post) => self.follow_duty().await,
                recovered = recovered(&mut self.recovery) => self.end_recovery(recovered),
                () = bell.rung() => {
                    if bell.take_unpark() {
                        self.unpark();
                    }
                    self.look_again();
                }
                () = wait_until(wake) => self.look_again(),
            }
        }
        self.stop().await;
    }

    /// Goes over to another target. Attempts that run keep theirs.
    fn adopt(&mut self, target: CurrentTarget) {
        let before = self.target.take();
        self.target = target;
        let Some(target) = self.target.clone() else { return };
        if self.post.is_none() {
            let duty = Duty::Delivering(Arc::clone(&self.name));
            self.post = Some(Post::apply(Arc::clone(&self.shared.duties), duty));
        }
        self.pace.set_pause(target.pause);
        let has_changed =
            before.is_some_and(|before| before.settings_digest != target.settings_digest);
        if has_changed || self.is_parked_by_other_settings() {
            self.unpark();
        }
        if has_changed {
            self.bring_forward();
        }
        self.look_again();
    }

    fn is_parked_by_other_settings(&self) -> bool {
        let (Some(target), Some(parked)) = (&self.target, &self.parked) else { return false };
        parked.settings != target.settings_digest
    }

    /// Leaves the destination to other hosts, if this one has no target for it and no work left.
    async fn leave_without_target(&mut self) {
        let is_at_work = self.claim.is_some() || self.has_in_flight();
        if self.target.is_some() || is_at_work {
            return;
        }
        if let Some(post) = self.post.take() {
            (self.served, self.recovery) = (None, None);
            post.leave().await;
        }
    }

    /// Begins or ends to deliver, after the store said who holds the duty.
    async fn follow_duty(&mut self) {
        let Some(on_duty) = self.post.as_ref().map(Post::on_duty).cloned() else { return };
        let term = on_duty.term();
        if self.served.is_some() && term != self.served {
            self.stand_down().await;
        }
        let Some(term) = term else {
            self.recovery = None;
            return;
        };
        if self.served == Some(term) {
            // People and the router may have asked another host for something.
            self.doubts_marks = on_duty.is_leased();
            self.look_again();
        } else if self.recovery.as_ref().is_none_or(|recovery| recovery.term != term) {
            self.begin_recovery(term);
        }
    }

    /// Stops all work at once. Another host does it, or makes the attempts again as attempts in doubt.
    async fn stand_down(&mut self) {
        self.served = None;
        self.claim = None;
        self.attempts.shutdown().await;
        self.records.shutdown().await;
        self.running.clear();
        self.last_turn = None;
        self.has_lost_claim = false;
        self.doubts_marks = false;
        self.look = Look::Due;
    }

    /// Puts the deliveries in order that an earlier holder of the duty left, and reads the destination's marks.
    fn begin_recovery(&mut self, term: Term) {
        let longest_wait = self.target.as_ref().map(|target| target.schedule.longest_wait());
        let (shared, name) = (self.shared.clone(), self.name.to_string());
        let answer = Box::pin(async move {
            loop {
                match recover(&shared, &name, longest_wait).await {
                    Err(error) if !matches!(error, StoreError::Closed) => {
                        tracing::debug!(%error, "deliveries of an earlier host were not read yet");
                        tokio::time::sleep(STORE_PAUSE).await;
                    }
                    answer => return answer,
                }
            }
        });
        self.recovery = Some(Recovery { term, answer });
    }

    fn end_recovery(&mut self, answer: Result<Recovered, StoreError>) {
        let (Some(Recovery { term, .. }), Ok(recovered)) = (self.recovery.take(), answer) else {
            return;
        };
        let Recovered { in_doubt, parked, paused_until } = recovered;
        log_doubts(&self.name, in_doubt);
        // A pause from before the clock was put back must not last for ever.
        let longest = later(self.shared.clock.now(), LONGEST_RETRY_AFTER);
        self.parked = parked;
        self.paused_until = paused_until.map(|until| until.min(longest));
        self.served = Some(term);
        if self.is_parked_by_other_settings() {
            self.unpark();
        }
        self.look_again();
    }

    /// Returns true while this host surely is the one that delivers to the destination.
    fn is_on_duty(&self) -> bool {
        let Some(on_duty) = self.post.as_ref().map(Post::on_duty) else { return false };
        self.served.is_some() && on_duty.term() == self.served && on_duty.is_certain()
    }

    /// Ends the parking and the pause of the destination.
    fn unpark(&mut self) {
        let (parked, paused_until) = (self.parked.take(), self.paused_until.take());
        if parked.is_none() && paused_until.is_none() {
            return;
        }
        if parked.is_some() {
            tracing::info!(
                event = "destination_unparked",
                destination = &*self.name,
                "a parked destination is tried again",
            );
        }
        let (store, name, turn) =
            (Arc::clone(&self.shared.store), self.name.to_string(), self.turn());
        // The store gives nothing out before it has taken the mark away. The end of this task is the signal
        // to look again.
        self.records.spawn(async move {
            let _turn = turn.begin().await;
            until_stored(|| store.park(name.clone(), None)).await;
        });
    }

    /// Returns a turn to write a mark of the destination, after the turns before.
    fn turn(&mut self) -> Turn {
        let (done, ended) = oneshot::channel();
        Turn { before: self.last_turn.replace(ended), done }
    }

    /// Makes deliveries due that wait for a later attempt.
    fn bring_forward(&mut self) {
        let (store, name) = (Arc::clone(&self.shared.store), self.name.to_string());
        let now = self.shared.clock.now();
        self.records.spawn(async move {
            // If the store refuses, the deliveries are tried later, as planned.
            let _ = store.bring_forward(Some(name), now).await;
        });
    }

    fn look_again(&mut self) {
        self.look = Look::Due;
        if let Some(claim) = &mut self.claim {
            claim.is_outdated = true;
        }
    }

    /// Asks the store for deliveries that are due, if any may be attempted now.
    fn begin_claim(&mut self) {
        let limit = self.places();
        // A claim finds nothing at a destination that is still parked or paused in the store.
        let (was_held, may_ask) = (self.is_held(), self.doubts_marks && self.records.is_empty());
        let is_held = was_held && !may_ask;
        if self.claim.is_some() || self.look != Look::Due || limit == 0 || is_held {
            return;
        }
        if !self.is_on_duty() {
            return;
        }
        self.doubts_marks = false;
        if self.has_lost_claim && self.has_in_flight() {
            return;
        }
        let (destination, now) = (self.name.to_string(), self.shared.clock.now());
        let store = Arc::clone(&self.shared.store);
        let answer: Coming<_> = if self.has_lost_claim {
            Box::pin(async move {
                // Nothing is in flight but what the lost claim took.
                store.give_back_all(destination.clone(), Vec::new()).await?;
                store.claim(Claim { destination, now, limit }).await
            })
        } else {
            Box::pin(store.claim(Claim { destination, now, limit }))
        };
        self.claim = Some(RunningClaim { answer, limit, was_held, is_outdated: false });
    }

    fn has_in_flight(&self) -> bool {
        !self.attempts.is_empty() || !self.records.is_empty()
    }

    /// Returns how many more attempts may begin now.
    fn places(&self) -> usize {
        let Some(target) = &self.target else { return 0 };
        let parallel = target.parallel.get();
        // Further attempts begin while results are written. Results that the store does not take must not
        // pile up, since all of them are in doubt if the host dies.
        let unfinished = self.attempts.len() + self.records.len();
        let room = parallel.saturating_mul(2).saturating_sub(unfinished);
        let places = parallel.saturating_sub(self.attempts.len()).min(room);
        self.pace.available(places, Instant::now())
    }

    /// Returns true while no attempt may be made, however much is due.
    fn is_held(&self) -> bool {
        self.target.is_none()
            || self.parked.is_some()
            || self.paused_until.is_some_and(|until| until > self.shared.clock.now())
    }

    /// Returns the instant at which the store has to be looked at, if no event comes before.
    fn wake_at(&self) -> Option<Instant> {
        let is_idle = self.target.is_none() || self.parked.is_some() || self.claim.is_some();
        if is_idle || !self.is_on_duty() {
            return None;
        }
        let clock = &self.shared.clock;
        let due = match self.look {
            Look::Due => Instant::now(),
            Look::At(time) => clock.instant_of(time),
            Look::Later(instant) => instant,
            Look::Idle => return None,
        };
        let paused_until = self.paused_until.filter(|until| *until > clock.now());
        let pause = paused_until.map(|until| clock.instant_of(until));
        let is_full = self.look == Look::Due && self.places() == 0 && pause.is_none();
        let ready = self.pace.ready_at();
        let waits_for_all = self.look == Look::Due && self.has_lost_claim && self.has_in_flight();
        if (is_full && ready <= Instant::now()) || waits_for_all {
            // All places are taken, or have to be free. The end of an attempt wakes.
            return None;
        }
        Some(due.max(ready).max(pause.unwrap_or(due)))
    }

    fn end_claim(&mut self, claimed: Result<Claimed, StoreError>) {
        let Some(claim) = self.claim.take() else { return };
        let RunningClaim { limit, was_held, is_outdated, .. } = claim;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::debug!(%error, "deliveries could not be claimed");
                // The claim may be on disk all the same.
                self.has_lost_claim = true;
                self.look = Look::Later(Instant::now() + STORE_PAUSE);
                return;
            }
        };
        self.has_lost_claim = false;
        let Claimed { deliveries, next_due } = claimed;
        if was_held && !deliveries.is_empty() {
            // People ended the parking or the pause through another host.
            (self.parked, self.paused_until) = (None, None);
        }
        self.look = match next_due {
            _ if is_outdated || deliveries.len() >= limit => Look::Due,
            // What is due and was not taken must not keep the store busy.
            Some(time) if time <= self.shared.clock.now() => {
                Look::Later(Instant::now() + STORE_PAUSE)
            }
            Some(time) => Look::At(time),
            None => Look::Idle,
        };
        fault_injection::point("delivery-claimed");
        let Some(target) = self.target.clone() else {
            let ids = deliveries.iter().map(|claimed| claimed.delivery.id).collect();
            return self.give_back(ids);
        };
        self.pace.take(deliveries.len(), Instant::now());
        for delivery in deliveries {
            self.begin_attempt(delivery, Arc::clone(&target));
        }
    }

    fn give_back(&mut self, ids: Vec<Ulid>) {
        if ids.is_empty() {
            return;
        }
        let store = Arc::clone(&self.shared.store);
        // A delivery that cannot be given back is in doubt after a restart.
        self.records.spawn(async move { drop(store.give_back(ids).await) });
    }

    fn begin_attempt(&mut self, delivery: ClaimedDelivery, target: Arc<Target>) {
        let has_sent = Arc::<AtomicBool>::default();
        let (Some(post), Some(term)) = (&self.post, self.served) else { return };
        let on_duty = post.on_duty().in_term(term);
        let (shared, at) = (self.shared.clone(), self.shared.clock.now());
        let attempt = {
            let (delivery, target) = (delivery.clone(), Arc::clone(&target));
            let has_sent = Arc::clone(&has_sent);
            async move {
                let began = Instant::now();
                let ended = attempt(&shared, &target, &delivery, &has_sent, &on_duty).await;
                (ended, began.elapsed())
            }
        };
        let task = self.attempts.spawn(attempt);
        self.running.insert(task.id(), Running { delivery, target, at, has_sent });
    }

    fn end_attempt(&mut self, ended: Result<(task::Id, (Ended, Duration)), task::JoinError>) {
        let (id, ended, took) = match ended {
            Ok((id, (ended, took))) => (id, Some(ended), took),
            Err(error) => (error.id(), None, Duration::ZERO),
        };
        let Some(Running { delivery, target, at, has_sent }) = self.running.remove(&id) else {
            return;
        };
        let ended = ended.unwrap_or_else(|| broken_off(has_sent.load(Ordering::Acquire)));
        let now = self.shared.clock.now();
        let ended = EndedAttempt { delivery: &delivery.delivery, at, took, ended };
        let Target { schedule, settings_digest, .. } = &*target;
        let mut outcome = Outcome::of(ended, schedule, settings_digest, fastrand::f64(), now);
        if self.target.as_ref().is_some_and(|target| target.settings_digest != *settings_digest) {
            // The answer to older settings holds up nothing that is sent with others.
            (outcome.parked, outcome.paused_until) = (None, None);
        }
        self.note(&outcome, &delivery, now);
        self.record(outcome);
    }

    /// Counts and logs the result of an attempt, and applies what it means for the destination.
    fn note(&mut self, outcome: &Outcome, delivery: &ClaimedDelivery, now: Timestamp) {
        let Finished { id, attempt, next, .. } = &outcome.finished;
        let destination = &*self.name;
        self.metrics.count(attempt.result);
        let reason = attempt.reason.as_deref().unwrap_or_default();
        if *next == AfterAttempt::Delivered {
            let took = now.duration_since(delivery.delivery.changed_at);
            self.metrics.delivered_after(Duration::try_from(took).unwrap_or_default());
            if self.streak.failing_since().is_some() {
                tracing::info!(
                    event = "destination_recovered",
                    destination,
                    "a destination works again",
                );
                self.shared.desk.set_failing(destination, None);
            }
            if self.streak.delivered(*id) {
                self.bring_forward();
            }
            return;
        }
        if *next == AfterAttempt::Dead {
            tracing::error!(
                event = "delivery_dead",
                destination,
                delivery = %id,
                alert = delivery.delivery.alert,
                kind = delivery.delivery.kind.as_str(),
                attempts = attempt.number,
                reason,
                "a delivery was given up",
            );
        }
        if attempt.result == AttemptResult::Rejected {
            return;
        }
        let is_first = self.streak.failing_since().is_none();
        self.streak.failed(*id, reason, now);
        if is_first {
            tracing::warn!(event = "destination_failing", destination, reason, "an attempt failed");
        }
        let since = self.streak.failing_since().map_or(now, |(since, _)| since);
        let failing = Failing { since, reason: reason.to_owned() };
        self.shared.desk.set_failing(destination, Some(failing));
        if let Some(until) = outcome.paused_until {
            self.paused_until = self.paused_until.max(Some(until));
            tracing::warn!(
                event = "destination_paused",
                destination,
                until = format!("{until:.0}"),
                "a destination asked for a pause",
            );
        }
        if let Some(parked) = &outcome.parked
            && self.parked.is_none()
        {
            self.parked = Some(parked.clone());
            tracing::error!(
                event = "destination_parked",
                destination,
                reason,
                "nothing is sent to a destination before an operator has changed something",
            );
        }
    }

    /// Writes the result of an attempt, until the store takes it.
    fn record(&mut self, outcome: Outcome) {
        let (store, name) = (Arc::clone(&self.shared.store), self.name.to_string());
        let Outcome { finished, parked, paused_until } = outcome;
        let turn = (parked.is_some() || paused_until.is_some()).then(|| self.turn());
        self.records.spawn(async move {
            fault_injection::point("delivery-before-record");
            if let Some(turn) = turn {
                let _turn = turn.begin().await;
                if let Some(parked) = parked {
                    until_stored(|| store.park(name.clone(), Some(parked.clone()))).await;
                }
                if let Some(until) = paused_until {
                    until_stored(|| store.pause(name.clone(), until)).await;
                }
            }
            until_stored(|| store.finish(finished.clone())).await;
            fault_injection::point("delivery-recorded");
        });
    }

    /// Lets attempts end for a while. Those that sent nothing yet are given back, and those that may have
    /// are in doubt after the next start.
    async fn stop(mut self) {
        if let Some(claim) = self.claim.take()
            && let Ok(claimed) = claim.answer.await
        {
            let ids = claimed.deliveries.iter().map(|claimed| claimed.delivery.id).collect();
            self.give_back(ids);
        }
        let end = Instant::now() + STOP_TIMEOUT;
        while !self.attempts.is_empty() || !self.records.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.attempts.join_next_with_id() => self.end_attempt(ended),
                Some(_) = self.records.join_next() => {}
                () = sleep_until(end) => break,
            }
        }
        self.attempts.abort_all();
        // An attempt may still send until its task has ended, or have ended by itself meanwhile.
        while let Some(ended) = self.attempts.join_next_with_id().await {
            let is_cancelled = ended.as_ref().is_err_and(task::JoinError::is_cancelled);
            if !is_cancelled {
                self.end_attempt(ended);
            }
        }
        let unsent = self.running.values().filter(|it| !it.has_sent.load(Ordering::Acquire));
        let ids = unsent.map(|running| running.delivery.delivery.id).collect();
        self.give_back(ids);
        let given_back = async { while self.records.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STORE_PAUSE, given_back).await;
        if let Some(post) = self.post.take() {
            post.leave().await;
        }
    }
}

/// Makes one attempt, whatever the delivery is about.
async fn attempt(
    shared: &Shared,
    target: &Target,
    claimed: &ClaimedDelivery,
    has_sent: &AtomicBool,
    on_duty: &OnDuty,
) -> Ended {
    on_duty.certain().await;
    let now = shared.clock.time_of_day();
    let links = &target.links;
    let notification = match (claimed.delivery.alert, &claimed.delivery.digest) {
        (Some(number), _) => match shared.store.alert(AlertRef::Number(number)).await {
            Ok(Some(alert)) => kinds::about_alert(claimed, &alert, links, now),
            Ok(None) => return without_request(Verdict::Rejected("the alert was deleted".into())),
            Err(error) => return without_request(retry(error.to_string())),
        },
        (None, Some(count)) => kinds::about_digest(claimed, count, links, now),
        (None, None) => {
            return without_request(Verdict::Rejected("the delivery is about no alert".into()));
        }
    };
    target.attempt(&notification, has_sent, &shared.clock, on_duty).await
}

fn retry(reason: String) -> Verdict {
    Verdict::Retry { reason, at_least: None, in_doubt: false }
}

fn without_request(verdict: Verdict) -> Ended {
    Ended { requests: Vec::new(), verdict, retry_after: None, too_many: false }
}

/// Returns the end of an attempt whose task panicked.
fn broken_off(in_doubt: bool) -> Ended {
    let reason = "the host failed during the attempt; hint: report the panic in the log".into();
    without_request(Verdict::Retry { reason, at_least: None, in_doubt })
}

/// Asks the store until it does what it is asked, or is closed.
async fn until_stored<T>(ask: impl Fn() -> Pending<T>) {
    loop {
        match ask().await {
            // Another host that has taken the duty makes the attempt again.
            Ok(_) | Err(StoreError::Closed | StoreError::NotOnDuty) => return,
            Err(error) => {
                tracing::debug!(%error, "the result of an attempt could not be stored yet");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

async fn answer(claim: &mut Option<RunningClaim>) -> Result<Claimed, StoreError> {
    match claim {
        Some(claim) => (&mut claim.answer).await,
        None => pending().await,
    }
}

async fn changed(post: &mut Option<Post>) {
    match post {
        Some(post) => post.changed().await,
        None => pending().await,
    }
}

async fn recovered(recovery: &mut Option<Recovery>) -> Result<Recovered, StoreError> {
    match recovery {
        Some(recovery) => (&mut recovery.answer).await,
        None => pending().await,
    }
}

/// Puts the deliveries of a destination in order that an earlier holder of the duty left.
pub(super) async fn recover(
    shared: &Shared,
    name: &str,
    longest_wait: Option<Duration>,
) -> Result<Recovered, StoreError> {
    let (store, now) = (&shared.store, shared.clock.now());
    let recovered = store.recover_deliveries(name.to_owned(), now).await?;
    if let Some(longest) = longest_wait {
        // The clock may have been wrong when the times in the store were written.
        store.bring_forward(Some(name.to_owned()), later(now, longest)).await?;
    }
    Ok(recovered)
}

/// Logs how many deliveries of a destination are in doubt, because their host ended during the attempts.
pub(super) fn log_doubts(destination: &str, deliveries: u64) {
    if deliveries > 0 {
        tracing::warn!(
            event = "deliveries_in_doubt",
            destination,
            deliveries,
            "a host ended during attempts; their deliveries are tried again, marked as in doubt",
        );
    }
}

async fn wait_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;

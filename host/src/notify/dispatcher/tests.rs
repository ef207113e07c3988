//! Dispatchers with a real store, and a notifier and a receiver that do what a test says.

use std::{
    ops::RangeInclusive,
    sync::{Mutex, atomic::AtomicUsize},
};

use tempfile::TempDir;
use tocsin_plugin_api::{Event, Urgency, notification::Kind, step::HttpRequest, step::Step};

use super::*;
use crate::{
    alert::PluginId,
    delivery::{Delivery, DeliveryStatus, DestinationState},
    hosts::pretended::PretendedDuties,
    http::{
        request_id,
        server::{Stopper, stop_sign},
    },
    metrics::StoreMetrics,
    notify::{
        kinds::Links,
        pretended::{Notifier, Receiver, answer},
        schedule::Schedule,
    },
    outbound::{OutboundAnswer, SendFailure},
    redaction::Redactor,
    request::{Content, Submission},
    store::{
        self, StoreConfig,
        deliveries::{DeliveryQuery, NewDelivery, Routed},
    },
};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Only a broken dispatcher needs that long.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A store with a dispatcher.
struct Stage {
    shared: Shared,
    targets: watch::Sender<CurrentTarget>,
    receiver: Receiver,
    notifier: Notifier,
    /// Number of alerts so far.
    opened: AtomicUsize,
    stopper: Stopper,
    task: task::JoinHandle<()>,
    folder: TempDir,
}

/// Settings of a [`Target`].
struct Settings {
    waits: Vec<Duration>,
    parallel: usize,
    digest: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { waits: vec![Duration::from_millis(1)], parallel: 4, digest: "settings 1" }
    }
}

fn schedule(waits: &[Duration]) -> Schedule {
    let waits = waits.iter().map(|wait| crate::config::LongDuration(*wait)).collect();
    Schedule::of(&crate::config::DeliveryConfig {
        retry: waits,
        give_up_after: crate::config::LongDuration(10 * HOUR),
        ..Default::default()
    })
}

impl Settings {
    fn target(self, notifier: &Notifier, receiver: &Receiver) -> CurrentTarget {
        Some(Arc::new(Target {
            notifier: Box::new(notifier.clone()),
            sender: Box::new(receiver.clone()),
            redactor: Redactor::new(&[]),
            pause: Duration::ZERO,
            parallel: self.parallel.try_into().expect("one or more"),
            settings_digest: self.digest.into(),
            schedule: schedule(&self.waits),
            links: Links::default(),
        }))
    }
}

/// A notifier that posts, and takes 2xx for success and 401 for a broken destination.
fn poster() -> Notifier {
    Notifier::new(|notification, answers| {
        Ok(match answers {
            [] => Step::send(
                HttpRequest::new("post", "POST", "https://x.example/")
                    .body(notification.delivery_id.clone()),
            ),
            [answer] if answer.is_success() => Step::delivered(),
            [answer] if answer.status == 401 => Step::destination_broken("the token is revoked"),
            [answer] if answer.status == 400 => Step::rejected("it is refused"),
            _ => Step::retry("the server is busy"),
        })
    })
}

/// Returns a clock that starts at the present time and goes on with the monotonic time, so that durations
/// are right even if the clock of the system jumps.
fn clock() -> Clock {
    let start = Timestamp::now();
    Clock::following(move || start)
}

impl Stage {
    fn new(
        settings: Settings,
        answer: impl Fn(usize) -> Result<OutboundAnswer, SendFailure> + Send + Sync + 'static,
    ) -> Self {
        Self::with_notifier(settings, poster(), Receiver::new(answer))
    }

    fn with_notifier(settings: Settings, notifier: Notifier, receiver: Receiver) -> Self {
        Self::with_duties(settings, notifier, receiver, None)
    }

    /// Makes a stage whose duties are those of another store than its deliveries.
    fn with_duties(
        settings: Settings,
        notifier: Notifier,
        receiver: Receiver,
        duties: Option<&PretendedDuties>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StoreConfig::Sqlite { path: folder.path().join("tocsin.db") };
        let store = store::open(&config, "a test", Arc::new(StoreMetrics::default()));
        let store = store.expect("it opens");
        let shared = Shared {
            duties: match duties {
                Some(duties) => Arc::new(duties.clone()),
                None => Arc::<dyn Store>::clone(&store),
            },
            store,
            desk: Arc::default(),
            metrics: Arc::default(),
            clock: clock(),
        };
        let (targets, current) = watch::channel(settings.target(&notifier, &receiver));
        let (stopper, stop) = stop_sign();
        let task = tokio::spawn(run("out".into(), shared.clone(), current, stop));
        let opened = AtomicUsize::new(0);
        Self { shared, targets, receiver, notifier, opened, stopper, task, folder }
    }

    /// Opens alerts, and routes each to the destination. Returns the ids of the deliveries.
    async fn tell(&self, count: usize) -> Vec<Ulid> {
        let before = self.opened.fetch_add(count, Ordering::Relaxed);
        let events = (0..count).map(|_| Event::create("trouble").into()).collect();
        let submission = Submission {
            request_id: request_id::next(),
            received_at: self.shared.clock.now(),
            integration: "in".into(),
            plugin: Some(Arc::new(PluginId { name: "x".into(), version: "1.0.0".into() })),
            sender: None,
            size_bytes: None,
            plugin_time: None,
            content: Content::Events { events, terms: Urgency::High.into(), remark: None },
            kept: None,
            replayed_by: None,
            hops: 0,
            timeline: None,
        };
        self.shared.store.submit(submission).await.expect("it commits");
        self.route(before + 1..=before + count).await
    }

    /// Routes alerts to the destination. Returns the ids of the deliveries.
    async fn route(&self, alerts: RangeInclusive<usize>) -> Vec<Ulid> {
        let now = self.shared.clock.now();
        let deliveries = alerts.map(|alert| NewDelivery {
            id: request_id::next(),
            destination: "out".into(),
            alert: alert as u64,
            kind: Kind::Opened,
            place: Some(0),
            changed_at: now,
            urgency: Urgency::High,
            integration: "in".into(),
            digest_above: 0,
        });
        let deliveries: Vec<_> = deliveries.collect();
        let ids = deliveries.iter().map(|delivery| delivery.id).collect();
        let routed = Routed { deliveries, now, ..Routed::default() };
        self.shared.store.route(routed).await.expect("it commits");
        self.shared.desk.look("out");
        ids
    }

    /// Returns all deliveries, oldest first.
    async fn deliveries(&self) -> Vec<Delivery> {
        let query = DeliveryQuery { limit: 500, ..DeliveryQuery::default() };
        let mut page = self.shared.store.deliveries(query).await.expect("it reads").deliveries;
        page.reverse();
        page
    }

    /// Waits until the deliveries are as wanted.
    async fn until(&self, what: &str, is_so: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let end = Instant::now() + TIMEOUT;
        loop {
            let deliveries = self.deliveries().await;
            if is_so(&deliveries) {
                return deliveries;
            }
            assert!(Instant::now() < end, "{what}: {deliveries:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn state(&self) -> DestinationState {
        let states = self.shared.store.destinations().await.expect("it reads");
        states.into_iter().find(|state| state.name == "out").expect("it has deliveries")
    }

    /// Returns the numbers of the alerts of all attempts.
    fn attempted(&self) -> Vec<u64> {
        let seen = self.notifier.seen();
        seen.iter().map(|it| it.alert().map_or(0, |alert| alert.number)).collect()
    }

    /// Stops the dispatcher. The store works as long as its folder is there.
    async fn stop(self) -> (Shared, TempDir) {
        self.stopper.stop();
        self.task.await.expect("no panic");
        (self.shared, self.folder)
    }
}

fn all(status: DeliveryStatus) -> impl Fn(&[Delivery]) -> bool {
    move |deliveries| deliveries.iter().all(|delivery| delivery.status == status)
}

fn good(_: usize) -> Result<OutboundAnswer, SendFailure> {
    Ok(answer(200, ""))
}

#[tokio::test]
async fn delivers_what_waits_once() {
    let stage = Stage::new(Settings::default(), good);
    let ids = stage.tell(20).await;
    let delivered = stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    assert_eq!(delivered.iter().map(|one| one.id).collect::<Vec<_>>(), ids);
    assert!(delivered.iter().all(|one| one.attempts == 1 && one.next_attempt_at.is_none()));
    assert_eq!(stage.receiver.requests().len(), 20);
    stage.stop().await;
}

#[tokio::test]
async fn tries_again_until_the_receiver_accepts_and_records_each_attempt() {
    let stage = Stage::new(Settings::default(), |turn| match turn {
        0 => Err(SendFailure::NotSent("connection refused".into())),
        1 => Ok(answer(503, "busy")),
        _ => Ok(answer(200, "thanks")),
    });
    let id = stage.tell(1).await[0];
    stage.until("it is delivered", all(DeliveryStatus::Delivered)).await;
    let found = stage.shared.store.delivery(id).await.expect("it reads").expect("it is there");
    let log: Vec<_> = found
        .attempt_log
        .iter()
        .map(|one| (one.number, one.result.as_str(), one.requests[0].answer.as_str()))
        .collect();
    let expected =
        [(1, "retry", "connection refused"), (2, "retry", "busy"), (3, "delivered", "thanks")];
    assert_eq!(log, expected);
    let seen = stage.notifier.seen();
    assert!(seen.iter().all(|one| !one.in_doubt && one.delivery_id == id.to_string()));
    stage.stop().await;
}

#[tokio::test]
async fn a_delivery_in_doubt_is_tried_again_with_its_id() {
    let stage = Stage::new(Settings::default(), |turn| match turn {
        0 => Err(SendFailure::InDoubt("the connection was cut".into())),
        1 => Err(SendFailure::NotSent("connection refused".into())),
        _ => Ok(answer(200, "")),
    });
    stage.tell(1).await;
    stage.until("it is delivered", all(DeliveryStatus::Delivered)).await;
    let seen = stage.notifier.seen();
    let doubts: Vec<_> = seen.iter().map(|one| (one.attempt, one.in_doubt)).collect();
    // That nobody answered the second time says nothing about the first.
    assert_eq!(doubts, [(1, false), (2, true), (3, true)]);
    assert!(seen.iter().all(|one| one.delivery_id == seen[0].delivery_id));
    stage.stop().await;
}

#[tokio::test]
async fn a_delivery_that_cannot_succeed_is_dead_and_others_go_on() {
    let stage = Stage::new(Settings { parallel: 1, ..Settings::default() }, |turn| {
        Ok(answer(if turn == 0 { 400 } else { 200 }, ""))
    });
    stage.tell(3).await;
    let ended = |all: &[Delivery]| all.iter().all(|one| one.status != DeliveryStatus::Waiting);
    let deliveries = stage.until("all have ended", ended).await;
    assert_eq!(deliveries[0].status, DeliveryStatus::Dead);
    assert_eq!(deliveries[0].reason.as_deref(), Some("it is refused"));
    assert!(deliveries[1..].iter().all(|one| one.status == DeliveryStatus::Delivered));
    stage.stop().await;
}

#[tokio::test]
async fn gives_up_when_the_schedule_is_over() {
    let waits = vec![Duration::from_millis(1), Duration::from_millis(1), 11 * HOUR];
    let stage = Stage::new(Settings { waits, ..Settings::default() }, |_| Ok(answer(500, "")));
    stage.tell(1).await;
    let deliveries = stage.until("it is dead", all(DeliveryStatus::Dead)).await;
    assert_eq!(deliveries[0].attempts, 3);
    let reason = "given up after 3 attempts: the server is busy";
    assert_eq!(deliveries[0].reason.as_deref(), Some(reason));
    stage.stop().await;
}

#[tokio::test]
async fn a_revoked_token_parks_the_destination_until_its_settings_change() {
    let stage = Stage::new(Settings { parallel: 1, ..Settings::default() }, |turn| {
        Ok(answer(if turn == 0 { 401 } else { 200 }, ""))
    });
    stage.tell(5).await;
    let end = Instant::now() + TIMEOUT;
    let parked = loop {
        if let Some(parked) = stage.state().await.parked {
            break parked;
        }
        assert!(Instant::now() < end, "it is not parked");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert_eq!((&*parked.reason, &*parked.settings), ("the token is revoked", "settings 1"));
    let waiting = stage.until("the attempt has ended", |all| all.iter().all(|one| !one.in_flight));
    assert!(waiting.await.iter().all(|one| one.status == DeliveryStatus::Waiting));
    // A reload without a change, and another look, change nothing.
    let same = Settings::default().target(&stage.notifier, &stage.receiver);
    stage.targets.send_replace(same);
    stage.shared.desk.look("out");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.receiver.requests().len(), 1);
    let other = Settings { digest: "settings 2", ..Settings::default() };
    stage.targets.send_replace(other.target(&stage.notifier, &stage.receiver));
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    assert_eq!(stage.state().await.parked, None);
    assert_eq!(stage.receiver.requests().len(), 6);
    stage.stop().await;
}

#[tokio::test]
async fn a_parked_destination_is_tried_again_when_a_person_asks() {
    let stage = Stage::new(Settings { parallel: 1, ..Settings::default() }, |turn| {
        Ok(answer(if turn == 0 { 401 } else { 200 }, ""))
    });
    stage.tell(2).await;
    stage.until("the attempt has ended", |all| all[0].reason.is_some() && !all[0].in_flight).await;
    stage.shared.desk.unpark("out");
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_paused_destination_is_tried_again_when_its_settings_change() {
    let stage = Stage::new(Settings { parallel: 1, ..Settings::default() }, |turn| {
        let mut answer = answer(if turn == 0 { 429 } else { 200 }, "");
        answer.headers.insert("retry-after", "3000".parse().expect("a value"));
        Ok(answer)
    });
    stage.tell(2).await;
    stage.until("the attempt has ended", |all| all[0].reason.is_some() && !all[0].in_flight).await;
    assert!(stage.state().await.paused_until.is_some());
    let other = Settings { digest: "settings 2", ..Settings::default() };
    stage.targets.send_replace(other.target(&stage.notifier, &stage.receiver));
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    assert_eq!(stage.state().await.paused_until, None);
    stage.stop().await;
}

#[tokio::test]
async fn too_many_requests_pause_the_whole_destination_as_long_as_it_asks() {
    let times = Arc::<Mutex<Vec<Instant>>>::default();
    let noted = Arc::clone(&times);
    let stage = Stage::new(Settings { parallel: 1, ..Settings::default() }, move |turn| {
        noted.lock().expect("no panic").push(Instant::now());
        let mut answer = answer(if turn == 0 { 429 } else { 200 }, "");
        answer.headers.insert("retry-after", "1".parse().expect("a value"));
        Ok(answer)
    });
    stage.tell(3).await;
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    let times = times.lock().expect("no panic").clone();
    assert_eq!(times.len(), 4, "one attempt met the limit, and no other did");
    let waited = times[1] - times[0];
    // The store keeps times in milliseconds.
    assert!(waited >= Duration::from_millis(990), "{waited:?}");
    assert!(stage.state().await.paused_until.is_some());
    stage.stop().await;
}

#[tokio::test]
async fn a_slow_answer_holds_up_only_its_own_alert() {
    let (sender, hold) = watch::channel(true);
    let notifier = poster();
    let receiver = Receiver::new(good).delayed(move |turn| {
        let mut hold = hold.clone();
        Box::pin(async move {
            if turn == 0 {
                let _ = hold.wait_for(|held| !held).await;
            }
        })
    });
    let stage =
        Stage::with_notifier(Settings { parallel: 2, ..Settings::default() }, notifier, receiver);
    stage.tell(6).await;
    let others = |all: &[Delivery]| {
        let waiting: Vec<_> =
            all.iter().filter(|one| one.status != DeliveryStatus::Delivered).collect();
        matches!(waiting[..], [slow] if slow.in_flight)
    };
    stage.until("the others are delivered", others).await;
    sender.send_replace(false);
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    stage.stop().await;
}

#[tokio::test]
async fn never_makes_more_attempts_at_the_same_time_than_allowed() {
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let most = Arc::clone(&running);
    let receiver = Receiver::new(good).delayed(move |_| {
        let running = Arc::clone(&running);
        Box::pin(async move {
            let (now, most) = &*running;
            most.fetch_max(now.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
            tokio::time::sleep(Duration::from_millis(2)).await;
            now.fetch_sub(1, Ordering::AcqRel);
        })
    });
    let stage = Stage::with_notifier(Settings::default(), poster(), receiver);
    stage.tell(60).await;
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    assert!(most.1.load(Ordering::Acquire) <= 4);
    stage.stop().await;
}

#[tokio::test]
async fn a_destination_that_works_again_gets_what_waits_without_delay() {
    let settings = Settings { waits: vec![HOUR], parallel: 1, ..Settings::default() };
    let stage = Stage::new(settings, |turn| match turn {
        // The first success counts as one after failures, and would hide those of this test.
        1..6 => Err(SendFailure::NotSent("connection refused".into())),
        _ => Ok(answer(200, "")),
    });
    stage.tell(1).await;
    stage.until("it is delivered", all(DeliveryStatus::Delivered)).await;
    stage.tell(5).await;
    stage.until("all have failed", |all| all[1..].iter().all(|one| one.reason.is_some())).await;
    stage.tell(1).await;
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    assert_eq!(stage.attempted()[6..], [7, 2, 3, 4, 5, 6]);
    stage.stop().await;
}

#[tokio::test]
async fn deliveries_wait_for_a_destination_that_is_removed_and_go_on_when_it_comes_back() {
    let stage = Stage::new(Settings::default(), good);
    stage.targets.send_replace(None);
    stage.tell(3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(all(DeliveryStatus::Waiting)(&stage.deliveries().await));
    let target = Settings::default().target(&stage.notifier, &stage.receiver);
    stage.targets.send_replace(target);
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_attempts_and_leaves_the_rest_as_it_is() {
    let settings = Settings { parallel: 2, ..Settings::default() };
    let (sender, hold) = watch::channel(true);
    let receiver = Receiver::new(good).delayed(move |_| {
        let mut hold = hold.clone();
        Box::pin(async move {
            let _ = hold.wait_for(|held| !held).await;
        })
    });
    let stage = Stage::with_notifier(settings, poster(), receiver.clone());
    stage.tell(4).await;
    stage.until("two are being sent", |_| receiver.requests().len() == 2).await;
    // The answers come after the signal to stop.
    stage.stopper.stop();
    sender.send_replace(false);
    let (shared, _folder) = stage.stop().await;
    assert_eq!(receiver.requests().len(), 2);
    let left = shared.store.recover_deliveries("out".into(), Timestamp::now()).await;
    assert_eq!(left.expect("it writes").in_doubt, 0);
    let state = shared.store.destinations().await.expect("it reads");
    assert_eq!(state[0].waiting, 2);
}

#[tokio::test]
async fn an_attempt_that_panics_fails_and_is_tried_again() {
    let notifier = Notifier::new(|notification, answers| match (notification.attempt, answers) {
        (1, _) => panic!("on purpose"),
        (_, []) => Ok(Step::send(HttpRequest::new("post", "POST", "https://x.example/"))),
        _ => Ok(Step::delivered()),
    });
    let stage = Stage::with_notifier(Settings::default(), notifier, Receiver::new(good));
    stage.tell(1).await;
    let delivered = stage.until("it is delivered", all(DeliveryStatus::Delivered)).await;
    assert_eq!(delivered[0].attempts, 2);
    stage.stop().await;
}

#[tokio::test]
async fn a_hundred_thousand_deliveries_that_wait_do_not_delay_the_first() {
    let stage = Stage::new(Settings { parallel: 8, ..Settings::default() }, good);
    stage.targets.send_replace(None);
    stage.tell(1000).await;
    for thousand in 1..100 {
        stage.route(thousand * 1000 + 1..=thousand * 1000 + 1000).await;
    }
    let target = Settings::default().target(&stage.notifier, &stage.receiver);
    stage.targets.send_replace(target);
    let end = Instant::now() + TIMEOUT;
    while stage.receiver.requests().len() < 100 {
        assert!(Instant::now() < end, "nothing is delivered");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stage.stop().await;
}

/// Returns a receiver that answers its first request only once the sender says so.
fn held_receiver() -> (watch::Sender<bool>, Receiver) {
    let (sender, hold) = watch::channel(true);
    let receiver = Receiver::new(good).delayed(move |turn| {
        let mut hold = hold.clone();
        Box::pin(async move {
            if turn == 0 {
                let _ = hold.wait_for(|held| !held).await;
            }
        })
    });
    (sender, receiver)
}

#[tokio::test]
async fn delivers_nothing_while_another_host_holds_the_duty() {
    let duties = PretendedDuties::elsewhere();
    let settings = Settings::default();
    let stage = Stage::with_duties(settings, poster(), Receiver::new(good), Some(&duties));
    stage.tell(3).await;
    duties.until_asked(2).await;
    assert!(stage.deliveries().await.iter().all(|one| one.attempts == 0 && !one.in_flight));
    duties.lease(1);
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    assert_eq!(duties.released(), 0);
    stage.stop().await;
    assert_eq!(duties.released(), 1, "a host that stops lets another one begin at once");
}

#[tokio::test]
async fn a_host_that_lost_the_duty_stops_its_attempts_and_makes_them_again_in_a_new_term() {
    let duties = PretendedDuties::elsewhere();
    duties.lease(1);
    let (_hold, receiver) = held_receiver();
    let settings = Settings { parallel: 1, ..Settings::default() };
    let stage = Stage::with_duties(settings, poster(), receiver.clone(), Some(&duties));
    stage.tell(2).await;
    stage.until("one is being sent", |_| receiver.requests().len() == 1).await;
    duties.give_elsewhere();
    duties.until_asked(duties.asked() + 1).await;
    // The answer to the attempt never comes: only an attempt that was broken off makes room for others.
    duties.lease(2);
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    let seen = stage.notifier.seen();
    let first: Vec<_> = seen
        .iter()
        .filter(|one| one.delivery_id == seen[0].delivery_id)
        .map(|one| (one.attempt, one.in_doubt))
        .collect();
    assert_eq!(first, [(1, false), (2, true)]);
    stage.stop().await;
}

#[tokio::test]
async fn attempts_go_on_and_none_begins_while_a_lease_may_be_over() {
    let duties = PretendedDuties::elsewhere();
    duties.lease(1);
    let (hold, receiver) = held_receiver();
    let settings = Settings { parallel: 1, ..Settings::default() };
    let stage = Stage::with_duties(settings, poster(), receiver.clone(), Some(&duties));
    let ids = stage.tell(1).await;
    stage.until("it is being sent", |_| receiver.requests().len() == 1).await;
    duties.let_lapse(1);
    duties.until_asked(duties.asked() + 2).await;
    hold.send_replace(false);
    stage.until("it is delivered", |all| all[0].status == DeliveryStatus::Delivered).await;
    stage.tell(3).await;
    duties.until_asked(duties.asked() + 1).await;
    assert_eq!(receiver.requests().len(), 1);
    duties.lease(1);
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    let seen = stage.notifier.seen();
    assert!(seen.iter().all(|one| one.attempt == 1 && !one.in_doubt), "{seen:?}");
    assert_eq!(seen[0].delivery_id, ids[0].to_string());
    stage.stop().await;
}

#[tokio::test]
async fn learns_what_people_have_done_through_another_host() {
    let duties = PretendedDuties::elsewhere();
    duties.lease(1);
    let receiver = Receiver::new(|turn| Ok(answer(if turn == 0 { 401 } else { 200 }, "")));
    let settings = Settings { parallel: 1, ..Settings::default() };
    let stage = Stage::with_duties(settings, poster(), receiver.clone(), Some(&duties));
    stage.tell(2).await;
    let parked = |all: &[Delivery]| all.iter().any(|one| one.reason.is_some() && !one.in_flight);
    stage.until("the attempt has ended", parked).await;
    duties.until_asked(duties.asked() + 2).await;
    assert_eq!(receiver.requests().len(), 1, "it is parked");
    // The other host rings no bell here.
    stage.shared.store.park("out".into(), None).await.expect("it commits");
    stage.until("all are delivered", all(DeliveryStatus::Delivered)).await;
    stage.stop().await;
}

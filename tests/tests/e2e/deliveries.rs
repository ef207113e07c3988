//! News about alerts reaches its destinations, whatever a destination or the host itself does.

#![expect(clippy::print_stdout, reason = "what a failed run needs to be repeated")]

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::library,
    receiver::{Arrived, Receiver, Reply},
    wait,
};

/// Returns a configuration with an integration `in` and a destination `out` at a server. `more` is added to
/// the section of the destination.
fn config(receiver: &Receiver, more: &str) -> String {
    let url = receiver.url("/hook");
    format!(
        "delivery.retry = ['50ms', '200ms', '1s']\n\
         [integrations.in]\nplugin = 'well-behaved'\n\
         [destinations.out]\nplugin = 'notifier-well-behaved'\n\
         allow_networks = ['127.0.0.0/8']\nallow_http = true\n{more}\n\
         [destinations.out.options]\nurl = '{url}'\nsecret = 's3cret-token'\n"
    )
}

fn site(config: &str) -> Site {
    let site = Site::new();
    let site = site.plugin(&library("well-behaved")).plugin(&library("notifier-well-behaved"));
    site.config(config)
}

/// Returns how many deliveries of the destination had this result.
fn attempts(host: &TestHost, result: &str) -> f64 {
    let name = format!("tocsin_delivery_attempts_total{{destination=\"out\",result=\"{result}\"}}");
    host.metric(&name).unwrap_or_default()
}

fn open(host: &TestHost, key: &str) {
    let answer = host.post_with("in", &[("x-dedup-key", key)], &format!("trouble with {key}"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn tells_a_destination_that_an_alert_was_opened_acknowledged_and_resolved() {
    let receiver = Receiver::good();
    let host = site(&config(&receiver, "")).serve();
    open(&host, "db1");
    let first = receiver.wait_for(1)[0].clone();
    assert_eq!(first.header("authorization"), Some("Bearer s3cret-token"));
    let body = first.json();
    assert_eq!((&body["kind"], &body["number"]), (&"opened".into(), &1.into()));
    assert_eq!((&body["title"], &body["message"]), (&"trouble with db1".into(), &1.into()));
    assert_eq!((&body["attempt"], &body["in_doubt"]), (&1.into(), &false.into()));
    assert_eq!(host.run(&["alerts", "ack", "1"]).code, Some(0));
    receiver.wait_for(2);
    host.post_with("in", &[("x-dedup-key", "db1"), ("x-action", "resolve")], "over");
    let all = receiver.wait_for(3);
    let told: Vec<_> = all.iter().map(Arrived::json).collect();
    assert_eq!(told[1]["kind"], "acknowledged");
    assert_eq!((&told[2]["kind"], &told[2]["status"]), (&"resolved".into(), &"resolved".into()));
    // The notifier gets back what it returned about the alert before.
    assert_eq!((&told[1]["message"], &told[2]["message"]), (&2.into(), &3.into()));
    wait::until("all are counted", || (attempts(&host, "delivered") == 3.0).then_some(()));
    host.stop();
    assert_eq!(receiver.count(), 3);
}

/// Returns all deliveries, newest first.
fn deliveries(host: &TestHost) -> Vec<Value> {
    let mut list = host.api("/api/v1/deliveries?limit=500");
    list["deliveries"].as_array_mut().expect("a list").drain(..).collect()
}

/// Waits until every delivery has ended, and returns them, newest first.
fn ended(host: &TestHost, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} deliveries end"), || {
        let all = deliveries(host);
        let has_ended = all.iter().all(|one| one["status"] != "waiting");
        (all.len() == count && has_ended).then_some(all)
    })
}

/// Answers the first request of each message as `first` says for its title, and further requests with 200.
fn at_first(
    first: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> impl Fn(usize, &Arrived) -> Reply + Send + Sync + 'static {
    let seen = Mutex::new(HashSet::new());
    move |_, arrived| {
        let id = arrived.header("idempotency-key").unwrap_or_default().to_owned();
        let is_first = seen.lock().expect("no panic").insert(id);
        if is_first {
            first(arrived.json()["title"].as_str().unwrap_or_default())
        } else {
            Reply::Status(200)
        }
    }
}

const GZIP_HEADERS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 24\r\n\r\n";
/// The text `fine`, compressed.
const FINE_IN_GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\xcb\xcc\x4b\x05\x00\x92\x54\xa9\xbe\x04\x00\x00\x00";

/// Returns the answer of a hostile server to the first request of a message.
fn hostile(fault: &str) -> Reply {
    let wait = |seconds: &str| vec![("retry-after", seconds.to_owned())];
    match fault {
        "hangs" => Reply::Hang,
        "trickles" => Reply::Trickle,
        "cuts the connection" => Reply::Cut,
        "never ends" => Reply::Endless,
        "fails" => Reply::Status(500),
        "is busy" => Reply::Status(429),
        "is busy for a second" => Reply::Full(429, wait("1"), "slow down".into()),
        "is busy until a date" => {
            Reply::Full(503, wait("Sun, 06 Nov 1994 08:49:37 GMT"), String::new())
        }
        "redirects" => {
            let location = vec![("location", "http://169.254.169.254/latest/".to_owned())];
            Reply::Full(302, location, String::new())
        }
        "speaks HTTP/1.0" => Reply::Raw(b"HTTP/1.0 200 OK\r\n\r\nfine".to_vec()),
        "answers in gzip" => Reply::Raw([GZIP_HEADERS, FINE_IN_GZIP].concat()),
        "speaks no HTTP" => Reply::Raw(b"220 mail.example ESMTP\r\n".to_vec()),
        "answers half" => {
            Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec())
        }
        other => panic!("no such fault: {other}"),
    }
}

#[test]
fn every_fault_of_a_server_ends_as_delivered_or_dead_with_a_reason() {
    // Faults after which the message arrives once more, and true if the first arrival was in doubt.
    let repeated = [
        ("cuts the connection", true),
        ("speaks no HTTP", true),
        ("answers half", true),
        ("fails", false),
        ("is busy", false),
        ("is busy for a second", false),
        ("is busy until a date", false),
    ];
    let once = ["never ends", "speaks HTTP/1.0", "answers in gzip", "redirects"];
    let receiver = Receiver::start(at_first(hostile));
    let host = site(&config(&receiver, "digest_above = 0")).serve();
    let faults: Vec<_> = repeated.iter().map(|(fault, _)| *fault).chain(once).collect();
    for fault in &faults {
        assert_eq!(host.post("in", fault).status, 200);
    }
    let all = ended(&host, faults.len());
    let arrived = receiver.arrived();
    for (place, fault) in faults.iter().enumerate() {
        let delivery = &all[all.len() - 1 - place];
        let messages: Vec<_> =
            arrived.iter().map(Arrived::json).filter(|json| json["title"] == *fault).collect();
        assert!(messages.iter().all(|message| message["id"] == delivery["id"]), "{fault}");
        let shown = format!("{fault}: {delivery:#}");
        if *fault == "redirects" {
            assert_eq!(delivery["status"], "dead", "{shown}");
            assert_eq!(delivery["reason"], "the server answered 302", "{shown}");
        } else {
            assert_eq!(delivery["status"], "delivered", "{shown}");
        }
        let doubt = repeated.iter().find(|(name, _)| name == fault).map(|(_, doubt)| *doubt);
        let doubts: Vec<_> = messages.iter().map(|message| message["in_doubt"] == true).collect();
        let expected = doubt.map_or(vec![false], |doubt| vec![false, doubt]);
        assert_eq!(doubts, expected, "{shown}");
    }
    assert_eq!(receiver.times_by_id().len(), faults.len());
    host.stop();
}

#[test]
fn a_message_that_a_server_does_not_answer_in_time_comes_again_in_doubt() {
    let receiver = Receiver::start(at_first(hostile));
    let short = "delivery.header_timeout = '300ms'\n";
    let host = site(&format!("{short}{}", config(&receiver, "digest_above = 0"))).serve();
    let faults = ["hangs", "trickles"];
    for fault in faults {
        assert_eq!(host.post("in", fault).status, 200);
    }
    let all = ended(&host, faults.len());
    let arrived = receiver.arrived();
    for (fault, delivery) in faults.iter().zip(all.iter().rev()) {
        assert_eq!(delivery["status"], "delivered", "{fault}: {delivery:#}");
        let messages = arrived.iter().map(Arrived::json).filter(|json| json["title"] == *fault);
        let doubts: Vec<_> = messages.map(|message| message["in_doubt"] == true).collect();
        // On a busy machine, the good answers may come too late, too.
        assert!(doubts.len() >= 2, "{fault}: {doubts:?}");
        assert!(!doubts[0] && doubts[1..].iter().all(|doubt| *doubt), "{fault}: {doubts:?}");
    }
    assert_eq!(receiver.times_by_id().len(), faults.len());
    host.stop();
}

#[test]
fn a_network_that_is_not_allowed_is_refused_until_the_configuration_allows_it() {
    let receiver = Receiver::good();
    let allowed = config(&receiver, "");
    let forbidden = allowed.replace("127.0.0.0/8", "10.0.0.0/8");
    let late = forbidden.replace("['50ms', '200ms', '1s']", "['1h']");
    let host = site(&late).serve();
    open(&host, "db1");
    let reason = wait::until("the guard refuses", || {
        deliveries(&host).first()?["reason"].as_str().map(str::to_owned)
    });
    assert!(reason.contains("127.0.0.1") && reason.contains("allow_networks"), "{reason}");
    assert_eq!(receiver.count(), 0);
    host.site().configure(&allowed.replace("['50ms', '200ms', '1s']", "['1h']"));
    host.hang_up();
    receiver.wait_for(1);
    host.stop();
}

#[test]
fn a_revoked_token_parks_the_destination_and_health_says_so_until_a_person_tries_again() {
    let receiver = Receiver::start(|_, _| Reply::Status(401));
    let host = site(&config(&receiver, "parallel = 1\ndigest_above = 0")).serve();
    for key in ["db1", "db2", "db3"] {
        open(&host, key);
    }
    host.wait_for_event("destination_parked");
    // The destination may be parked before all three alerts are routed.
    let reason = wait::until("health says so", || {
        host.problems().into_iter().find(|reason| reason.contains("3 deliveries wait"))
    });
    assert!(reason.starts_with("destination `out` is parked since "), "{reason}");
    assert!(reason.contains("3 deliveries wait: the server answered 401"), "{reason}");
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()), "webhooks are served");
    assert_eq!(receiver.count(), 1);
    // A restart changes nothing.
    let host = host.restart();
    receiver.answer(|_, _| Reply::Status(200));
    let retried = host.run(&["deliveries", "retry", "--destination", "out"]);
    assert_eq!(retried.code, Some(0), "{retried:#?}");
    ended(&host, 3);
    assert_eq!(receiver.count(), 4);
    wait::until("health is good", || host.problems().is_empty().then_some(()));
    host.stop();
}

#[test]
fn deliveries_to_a_destination_that_a_reload_removes_wait_until_it_comes_back() {
    let receiver = Receiver::start(|_, _| Reply::Status(500));
    let with = config(&receiver, "digest_above = 0");
    let start = with.find("[destinations").expect("it has one");
    let without = &with[..start];
    let host = site(&with).serve();
    open(&host, "db1");
    receiver.wait_for(1);
    host.site().configure(without);
    host.hang_up();
    let reason = wait::until("health says so", || {
        host.problems().into_iter().find(|reason| reason.contains("is not configured"))
    });
    assert!(
        reason.contains("destination `out`") && reason.contains("1 delivery waits"),
        "{reason}"
    );
    let host = host.restart();
    wait::until("the router knows that there is no destination", || {
        (host.site().rows_of("router") == 0).then_some(())
    });
    // Nobody is told of what happens without a destination.
    open(&host, "db2");
    receiver.answer(|_, _| Reply::Status(200));
    let before = receiver.count();
    host.site().configure(&with);
    host.hang_up();
    let all = ended(&host, 1);
    assert_eq!((&all[0]["alert"], &all[0]["status"]), (&1.into(), &"delivered".into()));
    assert_eq!(receiver.count(), before + 1);
    host.stop();
}

#[test]
fn a_storm_while_a_destination_is_off_becomes_one_digest_with_the_right_numbers() {
    let receiver = Receiver::good();
    let on = config(&receiver, "digest_above = 20");
    let off = config(&receiver, "digest_above = 20\nenabled = false");
    let host = site(&off).serve();
    for alert in 0..50 {
        let urgency = if alert % 5 == 0 { "critical" } else { "low" };
        assert_eq!(host.post_with("in", &[("x-urgency", urgency)], "storm").status, 200);
    }
    wait::until("all are routed", || {
        let waiting = host.metric("tocsin_deliveries_waiting{destination=\"out\"}");
        (waiting >= Some(1.0) && deliveries(&host).iter().any(|one| one["digest"]["count"] == 50))
            .then_some(())
    });
    host.site().configure(&on);
    host.hang_up();
    let message = receiver.wait_for(1)[0].json();
    assert_eq!(message["kind"], "digest");
    let digest = &message["digest"];
    assert_eq!(
        (&digest["count"], &digest["first"], &digest["last"]),
        (&50.into(), &1.into(), &50.into())
    );
    assert_eq!(digest["urgencies"], json!([["critical", 10], ["low", 40]]));
    assert_eq!(digest["integrations"], json!([["in", 50]]));
    host.stop();
    assert_eq!(receiver.count(), 1);
}

#[test]
fn what_waits_about_an_alert_becomes_one_message() {
    let receiver = Receiver::good();
    let on = config(&receiver, "");
    let host = site(&config(&receiver, "enabled = false")).serve();
    open(&host, "db1");
    host.post_with("in", &[("x-dedup-key", "db1"), ("x-action", "resolve")], "over");
    wait::until("both are routed", || {
        deliveries(&host).iter().any(|one| one["kind"] == "resolved").then_some(())
    });
    host.site().configure(&on);
    host.hang_up();
    let message = receiver.wait_for(1)[0].json();
    assert_eq!((&message["kind"], &message["status"]), (&"resolved".into(), &"resolved".into()));
    assert_eq!(message["skipped"], json!(["opened"]));
    host.stop();
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_silence_holds_messages_back_and_its_end_tells_of_what_is_still_open() {
    let receiver = Receiver::good();
    let host = site(&config(&receiver, "")).serve();
    let added = host.run(&["silences", "add", "--all", "--for", "1h", "--reason", "maintenance"]);
    assert_eq!(added.code, Some(0), "{added:#?}");
    open(&host, "db1");
    open(&host, "db2");
    host.post_with("in", &[("x-dedup-key", "db1"), ("x-action", "resolve")], "over");
    wait::until("the reason is recorded", || {
        let facts = host.api("/api/v1/alerts/2/notifications");
        facts["not_told"].as_array().filter(|facts| !facts.is_empty()).cloned()
    });
    let ended = host.run(&["silences", "end", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let message = receiver.wait_for(1)[0].json();
    assert_eq!((&message["kind"], &message["number"]), (&"opened".into(), &2.into()));
    host.stop();
    assert_eq!(receiver.count(), 1);
}

#[test]
fn an_alert_that_nobody_acknowledges_is_escalated_and_repeated() {
    let receiver = Receiver::good();
    let routes = "[[routes]]\nto = ['out']\nafter = '300ms'\nrepeat = '1s'\n";
    let host = site(&format!("{}{routes}", config(&receiver, ""))).serve();
    open(&host, "db1");
    let kinds: Vec<_> =
        receiver.wait_for(2).iter().map(|arrived| arrived.json()["kind"].clone()).collect();
    assert_eq!(kinds, ["escalated", "escalated"]);
    assert_eq!(host.run(&["alerts", "ack", "1"]).code, Some(0));
    wait::until("it is told of the acknowledgement", || {
        receiver.arrived().last().filter(|last| last.json()["kind"] == "acknowledged").map(drop)
    });
    host.stop();
}

#[test]
fn a_notifier_with_bad_habits_fails_its_deliveries_and_nothing_else() {
    let receiver = Receiver::good();
    let url = receiver.url("/hook");
    let bad = |habit: &str| {
        format!(
            "[destinations.{habit}]\nplugin = 'notifier-bad-habits'\n\
             allow_networks = ['127.0.0.0/8']\nallow_http = true\nevents = ['opened']\n\
             options.url = '{url}?{habit}'\noptions.habit = '{habit}'\n"
        )
    };
    let habits = [
        "panics",
        "panics-on-answer",
        "endless",
        "huge-body",
        "huge-state",
        "invalid-json",
        "unknown-step",
        "bad-request",
    ];
    let bad: String = habits.map(bad).concat();
    let host = site(&format!("{}{bad}", config(&receiver, "")))
        .plugin(&library("notifier-bad-habits"))
        .serve();
    open(&host, "db1");
    wait::until("the good destination is told", || {
        let told = receiver.arrived().into_iter().find(|one| one.path == "/hook");
        told.map(drop)
    });
    wait::until("each bad one has a reason", || {
        let all = deliveries(&host);
        let has_reason = |one: &&Value| one["reason"].as_str().is_some_and(|text| !text.is_empty());
        let bad = all.iter().filter(|one| one["destination"] != "out");
        (bad.filter(has_reason).count() == habits.len()).then_some(())
    });
    let endless = deliveries(&host).into_iter().find(|one| one["destination"] == "endless");
    assert_eq!(endless.expect("it is there")["status"], "dead");
    let endless = receiver.arrived().iter().filter(|one| one.path == "/hook?endless").count();
    assert_eq!(endless, 5, "one attempt has five requests at most");
    assert_eq!(host.ready().0, 200);
    host.stop();
}

/// A host that is killed and started again on one database, and a receiver that remembers everything.
struct Ordeal {
    site: Option<Site>,
    receiver: Receiver,
    /// Number of messages that were answered 200.
    accepted: Arc<AtomicUsize>,
}

impl Ordeal {
    fn new() -> Self {
        let receiver = Receiver::good();
        let site = site(&config(&receiver, "digest_above = 0\nparallel = 8"));
        Self { site: Some(site), receiver, accepted: Arc::default() }
    }

    /// Starts the host with a variable, opens alerts from several threads, and ends the host by `end`.
    fn round(&mut self, variable: Option<&str>, end: impl FnOnce(TestHost, &Receiver) -> Site) {
        let mut site = self.site.take().expect("the last round has ended");
        if let Some(value) = variable {
            site = site.env(DIE_AT, value);
        }
        let host = match site.try_serve() {
            Ok(host) => host,
            // The host routes and delivers from its first moment, and may die before it serves.
            Err((site, _)) if variable.is_some() => {
                self.site = Some(site.without_env(DIE_AT));
                return;
            }
            Err((_, finished)) => panic!("it does not serve: {finished:?}"),
        };
        let (webhooks, is_over) = (host.webhooks(), Arc::<AtomicBool>::default());
        let sender = |_| {
            let (accepted, is_over) = (Arc::clone(&self.accepted), Arc::clone(&is_over));
            thread::spawn(move || {
                let Ok(mut connection) = Connection::open(webhooks) else { return };
                while !is_over.load(Ordering::Acquire) {
                    match connection.ask(&Request::post("/in/in", "trouble")) {
                        Ok(answer) if answer.status == 200 => {
                            accepted.fetch_add(1, Ordering::AcqRel);
                        }
                        // A busy machine may take longer than the host waits for a plugin.
                        Ok(_) => {}
                        Err(_) => return,
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let senders: Vec<_> = (0..4).map(sender).collect();
        let site = end(host, &self.receiver);
        is_over.store(true, Ordering::Release);
        for sender in senders {
            sender.join().expect("no panic");
        }
        self.site = Some(site.without_env(DIE_AT));
    }

    /// Lets a last host deliver the rest, and checks what the receiver has got.
    fn check(mut self) {
        let host = self.site.take().expect("the last round has ended").serve();
        let alerts = host.alerts();
        assert!(alerts.len() >= self.accepted.load(Ordering::Acquire));
        wait::until("every alert was told", || {
            let told: HashSet<_> =
                self.receiver.arrived().iter().map(|one| one.json()["number"].clone()).collect();
            (told.len() == alerts.len()).then_some(())
        });
        wait::until("nothing waits", || {
            let waiting = host.api("/api/v1/deliveries?status=waiting");
            waiting["deliveries"].as_array().is_some_and(Vec::is_empty).then_some(())
        });
        host.stop();
        let (mut ids, mut repeated) = (BTreeMap::<u64, String>::new(), 0);
        for message in self.receiver.arrived().iter().map(Arrived::json) {
            let number = message["number"].as_u64().expect("a number");
            let id = message["id"].as_str().expect("an id").to_owned();
            match ids.get(&number) {
                None => _ = ids.insert(number, id),
                Some(first) => {
                    assert_eq!(*first, id, "alert {number} has one delivery");
                    assert_eq!(message["in_doubt"], true, "alert {number}: {message}");
                    repeated += 1;
                }
            }
        }
        println!("{} alerts were told, {repeated} messages came again, in doubt", ids.len());
    }
}

#[test]
fn a_kill_leaves_nothing_in_flight_to_a_destination_that_is_then_disabled_or_removed() {
    let receiver = Receiver::start(|_, _| Reply::Hang);
    let mut host = site(&config(&receiver, "")).serve();
    open(&host, "db1");
    receiver.wait_for(1);
    let disabled = config(&receiver, "enabled = false");
    let (removed, _) = disabled.split_once("[destinations.out]").expect("a destination");
    for (times, next) in [(1, &*disabled), (2, removed)] {
        host = host.kill().config(next).serve();
        let left = wait::until("nothing is in flight", || {
            deliveries(&host).pop().filter(|one| one["in_flight"] == false)
        });
        assert_eq!((&left["status"], &left["in_doubt"]), (&json!("waiting"), &json!(true)));
        if times == 1 {
            // An attempt in flight again, for the second kill.
            host = host.stop().config(&config(&receiver, "")).serve();
            receiver.wait_for(2);
        }
    }
    // People can end what nobody delivers any more.
    let discarded = host.run(&["deliveries", "discard", "--destination", "out"]);
    assert_eq!(discarded.code, Some(0), "{discarded:?}");
    assert_eq!(deliveries(&host)[0]["status"], "dead");
}

const DIE_AT: &str = "TOCSIN_TEST_DIE_AT";

/// Tells whether this is the long form of the tests, as `make drill` runs it.
fn is_drill() -> bool {
    std::env::var_os("TOCSIN_DRILL").is_some()
}

#[test]
fn every_message_survives_kills_at_random_moments() {
    let mut moments = fastrand::Rng::new();
    println!("the seed of the moments is {}", moments.get_seed());
    let (kills, least) = if is_drill() { (50, 10_000) } else { (6, 0) };
    let mut ordeal = Ordeal::new();
    for round in 1..=kills {
        // Every round has its share of the deliveries, on average.
        let more = moments.usize(1..=(2 * least / kills).max(1));
        let enough = ordeal.receiver.count() + more;
        ordeal.round(None, |host, receiver| {
            wait::until("some arrive", || (receiver.count() >= enough).then_some(()));
            thread::sleep(Duration::from_micros(moments.u64(..150_000)));
            host.kill()
        });
        println!("killed {round} times, {} messages arrived", ordeal.receiver.count());
    }
    if ordeal.receiver.count() < least {
        ordeal.round(None, |host, receiver| {
            wait::until("the rest arrives", || (receiver.count() >= least).then_some(()));
            host.kill()
        });
    }
    ordeal.check();
}

#[test]
fn survives_a_kill_at_every_step_of_a_delivery() {
    // Only debug builds have these points.
    if is_drill() {
        return;
    }
    let mut turns = fastrand::Rng::new();
    println!("the seed of the turns is {}", turns.get_seed());
    let mut ordeal = Ordeal::new();
    for point in [
        "routing",
        "routed",
        "delivery-claimed",
        "delivery-before-send",
        "delivery-sent",
        "delivery-before-record",
        "finishing",
        "finished",
        "delivery-recorded",
    ] {
        for _ in 0..2 {
            let variable = format!("{point}:{}", turns.u64(1..=20));
            println!("{variable}");
            // A point that is never reached fails here, since the host does not die.
            ordeal.round(Some(&variable), |host, _| host.died());
        }
    }
    ordeal.check();
}

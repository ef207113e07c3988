//! The answer 200 means that an alert is on disk, at any time and however the host ends.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::Signal;
use tocsin_tests::{Site, http::Request, libraries::library, wait};

use crate::load::{Load, assert_kept};

const ROUNDS: u64 = 20;

/// A request with `Expect: 100-continue`: the host confirms that it waits for the body.
const WAITS_FOR_ITS_BODY: &str =
    "POST /in/good HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";

fn site() -> Site {
    let site = Site::new().plugin(&library("well-behaved"));
    site.config("[integrations.good]\nplugin = 'well-behaved'")
}

#[test]
fn everything_answered_200_survives_kill_9_exactly_once() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed = now.as_nanos() as u64;
    println!("the seed of the moments is {seed}");
    let (mut moments, mut accepted) = (fastrand::Rng::with_seed(seed), Vec::new());

    let mut host = site().serve();
    for round in 0..ROUNDS {
        let load = Load::start(host.webhooks(), &format!("round {round}"), 8);
        // A few rounds end before the first answer, most of them under load.
        if round % 5 > 0 {
            wait::until("the first answers", || (load.answered() > 1).then_some(()));
        }
        thread::sleep(Duration::from_micros(moments.u64(..150_000)));
        let site = host.kill();
        accepted.extend(load.accepted());

        host = site.serve();
        assert_kept(&host.alerts(), &accepted);
    }
    assert!(accepted.len() >= 20, "there was hardly a load: {}", accepted.len());
    println!("{} messages were answered 200", accepted.len());
    host.stop();
}

#[test]
fn everything_answered_200_survives_sigterm_under_load() {
    let mut host = site().serve();
    let mut accepted = Vec::new();
    for round in 0..3 {
        let load = Load::start(host.webhooks(), &format!("round {round}"), 8);
        wait::until("a hundred answers", || (load.answered() >= 100).then_some(()));
        let site = host.stop();
        accepted.extend(load.accepted());

        host = site.serve();
        assert_kept(&host.alerts(), &accepted);
    }
}

#[test]
fn answers_and_keeps_a_request_in_flight_at_sigterm() {
    let host = site().serve();
    let mut connection = host.connect();
    connection.send(WAITS_FOR_ITS_BODY.as_bytes()).unwrap();
    assert_eq!(connection.answer().expect("an interim answer").status, 100);
    connection.send(b"disk").unwrap();
    host.signal(Signal::TERM);
    host.wait_for_event("stopping");
    connection.send(b" full").unwrap();
    assert_eq!(connection.answer().expect("an answer").status, 200);

    let site = host.stopped();
    let alerts = site.serve().alerts();
    assert_eq!(alerts[0]["title"], "disk full");
}

#[test]
fn sigint_stops_the_host_despite_idle_connections() {
    let host = site().serve();
    let mut idle = host.connect();
    idle.ask(&Request::post("/in/good", "disk full")).expect("an answer");
    host.signal(Signal::INT);
    let site = host.stopped();
    assert_eq!(idle.rest().expect("the end"), b"");
    assert_eq!(site.serve().alerts().len(), 1);
}

#[test]
fn a_sender_that_never_finishes_does_not_prevent_the_stop() {
    let site = site();
    site.configure(
        "[server]\nshutdown_timeout = '200ms'\n[integrations.good]\nplugin = 'well-behaved'",
    );
    let host = site.serve();
    let mut connection = host.connect();
    connection.send(WAITS_FOR_ITS_BODY.as_bytes()).unwrap();
    assert_eq!(connection.answer().expect("an interim answer").status, 100);
    host.stop();
}

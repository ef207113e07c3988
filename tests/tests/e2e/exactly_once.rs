//! A message makes one alert, even if a sender sends it many times and over many connections.

use std::thread;

use tocsin_tests::{Site, TestHost, http::Request, libraries::library};

use crate::load::assert_numbered;

const CONNECTIONS: usize = 64;

fn host() -> TestHost {
    let site = Site::new().plugin(&library("well-behaved"));
    site.config("[integrations.good]\nplugin = 'well-behaved'").serve()
}

/// Sends numbered messages over many connections at once, and checks that each is answered 200.
fn flood(host: &TestHost, messages: usize, request: impl Fn(usize) -> Vec<u8> + Sync) {
    thread::scope(|scope| {
        for sender in 0..CONNECTIONS {
            let (request, mut connection) = (&request, host.connect());
            scope.spawn(move || {
                for message in (sender..messages).step_by(CONNECTIONS) {
                    connection.send(&request(message)).expect("the host reads");
                    let answer = connection.answer().expect("an answer");
                    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{message}");
                }
            });
        }
    });
}

#[test]
fn the_same_delivery_a_thousand_times_at_once_makes_one_alert() {
    let host = host();
    let delivery = Request::post("/in/good", "disk full")
        .header("x-event-id", "C1.1664813178.766549")
        .header("x-dedup-key", "C1.1664813178.766549")
        .bytes();
    flood(&host, 1000, |_| delivery.clone());

    let alerts = host.alerts();
    assert_eq!(alerts.len(), 1);
    assert_eq!((&alerts[0]["number"], &alerts[0]["occurrences"]), (&1.into(), &1.into()));
}

#[test]
fn a_delivery_stays_a_duplicate_after_its_alert_is_resolved() {
    let mut host = host();
    let headers = [("x-event-id", "1"), ("x-dedup-key", "disk")];
    assert_eq!(host.post_with("good", &headers, "disk full").status, 200);
    host.ask_admin(&Request::post("/api/v1/alerts/1/resolve", ""));
    host = host.restart();
    assert_eq!(host.post_with("good", &headers, "disk full").status, 200);

    let alerts = host.alerts();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["status"], "resolved");
}

#[test]
fn the_same_problem_a_thousand_times_at_once_is_one_alert_with_as_many_occurrences() {
    let host = host();
    flood(&host, 1000, |message| {
        Request::post("/in/good", "disk full")
            .header("x-event-id", message.to_string())
            .header("x-dedup-key", "disk")
            .bytes()
    });

    let alerts = host.alerts();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["occurrences"], 1000);
}

#[test]
fn ten_thousand_messages_make_ten_thousand_alerts_numbered_without_a_gap() {
    let host = host();
    flood(&host, 10_000, |message| {
        Request::post("/in/good", &format!("message {message}"))
            .header("x-event-id", message.to_string())
            .header("x-dedup-key", message.to_string())
            .bytes()
    });

    let alerts = host.alerts();
    assert_eq!(alerts.len(), 10_000);
    assert_numbered(&alerts);
    let mut titles: Vec<_> = alerts.iter().map(|alert| alert["title"].to_string()).collect();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), 10_000, "each message is there once");
}

//! The host is killed at every step of a request on its way to disk, repeatedly on one database: no
//! answered message is missing, none is stored twice, and no alert number is skipped.
//!
//! The host's source defines the points, and only debug builds have them.

#![expect(clippy::print_stdout, reason = "what a failed run needs to be repeated")]

use std::{
    net::SocketAddr,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use tocsin_tests::{
    Site,
    http::{Connection, Request},
    libraries::library,
};

use crate::load::assert_numbered;

const KILLS: u64 = 10;
const SENDERS: usize = 8;
const VARIABLE: &str = "TOCSIN_TEST_DIE_AT";

/// A sender of numbered messages, which repeats the message that got no answer.
struct Sender {
    name: String,
    count: u64,
    unanswered: Option<String>,
    accepted: Vec<String>,
}

impl Sender {
    /// Sends until the host dies.
    fn send(mut self, webhooks: SocketAddr) -> Self {
        let Ok(mut connection) = Connection::open(webhooks) else { return self };
        loop {
            self.count += 1;
            let next = format!("{}, message {}", self.name, self.count);
            let message = self.unanswered.take().unwrap_or(next);
            if !self.post(&mut connection, message) {
                return self;
            }
        }
    }

    fn post(&mut self, connection: &mut Connection, message: String) -> bool {
        let request = Request::post("/in/good", &message).header("x-event-id", &*message);
        match connection.ask(&request) {
            // On a machine that stalls, the call of the plugin can miss its deadline. The sender tries again.
            Ok(answer) if answer.status == 503 && answer.error_code() == "plugin_failed" => {
                self.unanswered = Some(message);
                true
            }
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{answer:?}");
                self.accepted.push(message);
                true
            }
            Err(_) => {
                self.unanswered = Some(message);
                false
            }
        }
    }
}

/// Kills the host ten times at a point, each time after the point was reached a random number of
/// times up to `latest`, and then counts the alerts.
fn kill_at(point: &str, latest: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed = now.as_nanos() as u64;
    println!("{point}: the seed of the turns is {seed}");
    let mut turns = fastrand::Rng::with_seed(seed);
    let mut senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let name = format!("sender {sender}");
            Sender { name, count: 0, unanswered: None, accepted: Vec::new() }
        })
        .collect();
    let mut site = Site::on_sqlite().plugin(&library("well-behaved"));
    site.configure("[integrations.good]\nplugin = 'well-behaved'");
    for _ in 0..KILLS {
        let turn = turns.u64(1..=latest);
        let host = match site.env(VARIABLE, &format!("{point}:{turn}")).try_serve() {
            Ok(host) => host,
            // A job of the host itself may reach the point before webhooks are served.
            Err((killed, finished)) => {
                assert_eq!(finished.code, None, "it was not killed: {finished:#?}");
                site = killed.without_env(VARIABLE);
                continue;
            }
        };
        let webhooks = host.webhooks();
        let sending =
            senders.into_iter().map(|sender| thread::spawn(move || sender.send(webhooks)));
        let sending: Vec<_> = sending.collect();
        // A point that is never reached fails here, since the host does not die.
        site = host.died().without_env(VARIABLE);
        senders = sending.into_iter().map(|it| it.join().expect("a sender")).collect();
    }

    let host = site.serve();
    let mut resent = 0;
    for sender in &mut senders {
        while let Some(message) = sender.unanswered.take() {
            assert!(sender.post(&mut host.connect(), message));
            resent += 1;
        }
    }
    let alerts = host.alerts();
    assert_numbered(&alerts);
    let title = |alert: &serde_json::Value| alert["title"].as_str().expect("a title").to_owned();
    let mut found: Vec<_> = alerts.iter().map(title).collect();
    let mut accepted: Vec<_> = senders.into_iter().flat_map(|sender| sender.accepted).collect();
    found.sort_unstable();
    accepted.sort_unstable();
    let differs = found.iter().zip(&accepted).find(|(found, accepted)| found != accepted);
    assert_eq!(differs, None, "one of the two is missing, or the other twice");
    assert_eq!(found.len(), accepted.len());
    assert!(alerts.iter().all(|alert| alert["occurrences"] == 1));
    println!("{point}: {KILLS} kills, {} messages once, {resent} sent again last", found.len());
    host.stop();
}

#[test]
fn survives_a_kill_after_a_batch_is_collected() {
    kill_at("gathered", 200);
}

#[test]
fn survives_a_kill_after_a_transaction_begins() {
    kill_at("begun", 200);
}

#[test]
fn survives_a_kill_after_one_submission_is_applied() {
    kill_at("applied", 600);
}

#[test]
fn survives_a_kill_before_the_commit() {
    kill_at("before-commit", 200);
}

#[test]
fn survives_a_kill_after_the_commit() {
    kill_at("committed", 200);
}

#[test]
fn survives_a_kill_before_the_sync() {
    kill_at("before-sync", 200);
}

#[test]
fn survives_a_kill_after_the_sync() {
    kill_at("synced", 200);
}

#[test]
fn survives_a_kill_after_the_first_answer() {
    kill_at("answered", 600);
}

#[test]
fn survives_a_kill_as_a_checkpoint_begins() {
    kill_at("checkpoint", 2);
}

#[test]
fn survives_a_kill_during_a_checkpoint() {
    kill_at("half-checkpointed", 2);
}

#[test]
fn survives_a_kill_after_a_checkpoint() {
    kill_at("checkpointed", 2);
}

#[test]
fn survives_a_kill_while_keys_are_written() {
    kill_at("keys-written", 60);
}

#[test]
fn survives_a_kill_after_the_last_of_some_keys_is_written() {
    kill_at("all-keys-written", 6);
}

/// Returns a notification of Alertmanager with more alerts than one transaction holds.
fn group(message: &str) -> String {
    let alerts = (0..ALERTS_OF_A_GROUP).map(|alert| {
        format!(
            r#"{{"status":"firing","startsAt":"2026-01-01T00:00:00Z","fingerprint":"{message}, alert {alert}"}}"#
        )
    });
    let alerts = alerts.collect::<Vec<_>>().join(",");
    format!(r#"{{"version":"4","alerts":[{alerts}]}}"#)
}

const ALERTS_OF_A_GROUP: usize = 2500;

/// Sends several groups, each repeated until it is answered, and kills and restarts the host
/// between two parts of each group.
#[test]
fn survives_a_kill_between_two_parts_of_a_large_group() {
    const GROUPS: usize = 6;
    let mut site = Site::on_sqlite().plugin(&library("alertmanager"));
    site.configure(
        "plugins.call_deadline = '1m'\n[integrations.prometheus]\nplugin = 'alertmanager'\n\
         options.unauthenticated = true\noptions.reopen = false",
    );
    let mut turns = fastrand::Rng::new();
    println!("the seed of the turns is {}", turns.get_seed());
    let mut kills = 0;
    for count in 0..GROUPS {
        // Two of the three parts are followed by another part.
        let turn = turns.u64(1..=2);
        let host = site.env(VARIABLE, &format!("part-committed:{turn}")).serve();
        let body = group(&format!("group {count}"));
        let request = Request::post("/in/prometheus", &body);
        let answer = host.connect().ask(&request);
        assert!(answer.is_err(), "it was killed before that: {answer:?}");
        site = host.died().without_env(VARIABLE);
        kills += 1;

        let host = site.serve();
        let stored = host.alerts().len() - count * ALERTS_OF_A_GROUP;
        assert!(stored < ALERTS_OF_A_GROUP, "{stored} of a group that was not answered");
        let begun = host.api("/api/v1/requests?limit=1")["requests"][0].clone();
        if stored > 0 {
            assert_eq!(begun["outcome"], "failed", "{begun}");
            let reason = begun["reason"].as_str().expect("a reason");
            assert!(reason.starts_with("the store has committed some of its 2500"), "{reason}");
        }
        let answer = host.ask(&request);
        assert_eq!(answer.status, 200, "{answer:?}");
        let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
        assert_eq!(record["effects"].as_array().map(Vec::len), Some(ALERTS_OF_A_GROUP));
        println!("group {count}: {stored} alerts were there when it was sent again");
        site = host.kill();
    }
    let host = site.serve();
    let alerts = host.alerts();
    assert_numbered(&alerts);
    assert!(alerts.iter().all(|alert| alert["occurrences"] == 1));
    let keys = alerts.iter().map(|alert| alert["dedup_key"].as_str().expect("a key").to_owned());
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), alerts.len()), (GROUPS * ALERTS_OF_A_GROUP, keys.len()));
    println!("{kills} kills, {} alerts once", alerts.len());
    host.stop();
}

//! Senders that keep a host busy, and checks of the alerts that the host stored for them. Callers
//! decide when the host ends.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;
use tocsin_tests::{
    http::{Connection, Request},
    store,
};

/// Senders with one connection each, which send the next message after each answer.
pub(crate) struct Load {
    senders: Vec<JoinHandle<Sent>>,
    progress: Arc<Progress>,
}

/// Progress of all senders.
#[derive(Default)]
struct Progress {
    answered: AtomicUsize,
    /// Senders with a message that was not answered 200.
    turned_away: AtomicUsize,
    /// Messages that were answered 200 so far.
    accepted: Mutex<Vec<String>>,
    ends: AtomicBool,
}

/// Messages by outcome.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Messages that were answered 200.
    pub(crate) accepted: Vec<String>,
    /// Messages that were answered otherwise or not at all, with the answer or the error.
    pub(crate) refused: Vec<(String, String)>,
}

impl Load {
    /// Starts sending messages that begin with `name` to the integration `good`.
    pub(crate) fn start(webhooks: SocketAddr, name: &str, senders: usize) -> Self {
        Self::start_with(webhooks, name, senders, &[])
    }

    /// Starts the same load as [`Load::start`], with headers.
    pub(crate) fn start_with(
        webhooks: SocketAddr,
        name: &str,
        senders: usize,
        headers: &'static [(&'static str, &'static str)],
    ) -> Self {
        let progress = Arc::<Progress>::default();
        let sender = |sender| {
            let progress = Arc::clone(&progress);
            let name = format!("{name}, sender {sender}");
            thread::spawn(move || send(webhooks, &name, headers, &progress))
        };
        let senders = (0..senders).map(sender).collect();
        Self { senders, progress }
    }

    /// Counts the messages that were answered 200 so far.
    pub(crate) fn answered(&self) -> usize {
        self.progress.answered.load(Ordering::Relaxed)
    }

    /// Returns the messages that were answered 200 so far.
    pub(crate) fn accepted_so_far(&self) -> Vec<String> {
        self.progress.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the senders with a message that was not answered 200.
    pub(crate) fn turned_away(&self) -> usize {
        self.progress.turned_away.load(Ordering::Relaxed)
    }

    /// Stops the senders, and returns the messages that were answered 200. Senders also stop when
    /// the host is gone.
    pub(crate) fn accepted(self) -> Vec<String> {
        self.sent().accepted
    }

    /// Stops the senders, and returns all messages.
    pub(crate) fn sent(self) -> Sent {
        self.progress.ends.store(true, Ordering::Relaxed);
        let mut all = Sent::default();
        for sender in self.senders {
            let sent = sender.join().expect("a sender does not panic");
            all.accepted.extend(sent.accepted);
            all.refused.extend(sent.refused);
        }
        all
    }
}

/// Sends until the host is gone.
fn send(webhooks: SocketAddr, name: &str, headers: &[(&str, &str)], progress: &Progress) -> Sent {
    let mut sent = Sent::default();
    let mut connection = None;
    for count in 0_u64.. {
        if progress.ends.load(Ordering::Relaxed) {
            break;
        }
        let message = format!("{name}, message {count}");
        let answer = match connection.take().map_or_else(|| Connection::open(webhooks), Ok) {
            Ok(mut open) => {
                let request = Request::post("/in/good", &message);
                let request = headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(name, *value));
                let answer = open.ask(&request);
                connection = Some(open);
                answer
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) if answer.status == 200 => {
                let so_far = progress.accepted.lock();
                so_far.unwrap_or_else(PoisonError::into_inner).push(message.clone());
                sent.accepted.push(message);
                progress.answered.fetch_add(1, Ordering::Relaxed);
            }
            otherwise => {
                if sent.refused.is_empty() {
                    progress.turned_away.fetch_add(1, Ordering::Relaxed);
                }
                let is_gone = otherwise.is_err();
                let said = otherwise
                    .map_or_else(|error| error.to_string(), |answer| format!("{answer:?}"));
                sent.refused.push((message, said));
                if is_gone {
                    break;
                }
            }
        }
    }
    sent
}

/// Checks that each message made one alert, and the alerts' numbers as [`assert_numbered`] does.
#[track_caller]
pub(crate) fn assert_kept(alerts: &[Value], accepted: &[String]) {
    let mut found = BTreeMap::<_, usize>::new();
    for alert in alerts {
        *found.entry(alert["title"].as_str().expect("a title")).or_default() += 1;
        assert_eq!(alert["occurrences"], 1, "{alert}");
    }
    let lost: Vec<_> =
        accepted.iter().filter(|message| !found.contains_key(message.as_str())).collect();
    assert!(lost.is_empty(), "answered 200 and lost: {lost:?}");
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "there more than once: {doubled:?}");
    assert_numbered(alerts);
}

/// Checks that the alerts' numbers run from 1 without a gap, the newest first. PostgreSQL may leave numbers out.
#[track_caller]
pub(crate) fn assert_numbered(alerts: &[Value]) {
    let numbers = alerts.iter().rev().map(|alert| alert["number"].as_u64().expect("a number"));
    if store::is_postgres() {
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "not in order: {numbers:?}");
        return;
    }
    let wrong = numbers.zip(1..).find(|(number, expected)| number != expected);
    assert_eq!(wrong, None, "not numbered without a gap");
}

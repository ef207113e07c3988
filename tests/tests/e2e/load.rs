//! Senders that keep a host busy, and what of it has to be found again. It decides nothing on when
//! the host ends.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;
use tocsin_tests::http::{Connection, Request};

/// Senders, each with one connection and a new message after each answer.
pub(crate) struct Load {
    senders: Vec<JoinHandle<Sent>>,
    progress: Arc<Progress>,
}

/// What the senders have seen so far.
#[derive(Default)]
struct Progress {
    answered: AtomicUsize,
    /// Senders one of whose messages was not answered 200.
    turned_away: AtomicUsize,
    ends: AtomicBool,
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Those that were answered 200.
    pub(crate) accepted: Vec<String>,
    /// Those that were answered otherwise, or not at all, and how.
    pub(crate) refused: Vec<(String, String)>,
}

impl Load {
    /// Starts sending messages that begin with `name` to the integration `good`.
    pub(crate) fn start(webhooks: SocketAddr, name: &str, senders: usize) -> Self {
        Self::start_with(webhooks, name, senders, &[])
    }

    /// The same with headers.
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

    /// How many messages were answered 200 so far.
    pub(crate) fn answered(&self) -> usize {
        self.progress.answered.load(Ordering::Relaxed)
    }

    /// How many senders had a message that was not answered 200.
    pub(crate) fn turned_away(&self) -> usize {
        self.progress.turned_away.load(Ordering::Relaxed)
    }

    /// The messages that were answered 200, once every sender has ended: by itself where the host
    /// has, otherwise because it is told to.
    pub(crate) fn accepted(self) -> Vec<String> {
        self.sent().accepted
    }

    /// What became of all messages, once every sender has ended.
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

/// Each of the messages is there once, and the numbers run from 1 without a gap.
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

/// The numbers run from 1 without a gap. The newest alert comes first.
#[track_caller]
pub(crate) fn assert_numbered(alerts: &[Value]) {
    let numbers = alerts.iter().rev().map(|alert| alert["number"].as_u64().expect("a number"));
    let wrong = numbers.zip(1..).find(|(number, expected)| number != expected);
    assert_eq!(wrong, None, "not numbered without a gap");
}

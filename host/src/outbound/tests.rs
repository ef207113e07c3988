//! Tests with hostile servers on the loopback interface.

mod answers;
mod cuts;
mod guard;
mod proxies;
mod receiver;
mod reuse;
mod tls;

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Client, ClientSettings, NetworkRules, OutboundAnswer, OutboundRequest, SendFailure, Sent,
    resolver::{Addresses, Resolve},
};

/// Time that no test should need.
const LONG: Duration = Duration::from_secs(180);

/// Time after which a receiver that does nothing is given up.
const SHORT: Duration = Duration::from_millis(150);

fn settings() -> ClientSettings {
    ClientSettings {
        connect_timeout: LONG,
        tls_timeout: LONG,
        header_timeout: LONG,
        body_timeout: LONG,
        proxy: None,
        ca_pem: None,
    }
}

fn client() -> Client {
    Client::new(&settings()).expect("a client")
}

/// Returns rules that allow these networks, also without TLS.
fn rules(networks: &[&str]) -> NetworkRules {
    NetworkRules {
        allow_networks: networks.iter().map(|text| text.parse().expect("a network")).collect(),
        allow_http: true,
        section: "destinations.ops".into(),
    }
}

fn loopback() -> NetworkRules {
    rules(&["127.0.0.0/8"])
}

fn post(url: &str, body: &str) -> OutboundRequest {
    OutboundRequest {
        method: http::Method::POST,
        uri: url.parse().expect("a URL"),
        headers: http::HeaderMap::new(),
        body: body.to_owned().into(),
    }
}

async fn send(client: &Client, url: &str) -> Sent {
    client.send(&post(url, "news"), &loopback()).await
}

fn answer(sent: &Sent) -> &OutboundAnswer {
    sent.result.as_ref().expect("an answer")
}

fn body(sent: &Sent) -> &str {
    std::str::from_utf8(&answer(sent).body).expect("text")
}

fn not_sent(sent: &Sent) -> &str {
    match &sent.result {
        Err(SendFailure::NotSent(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn in_doubt(sent: &Sent) -> &str {
    match &sent.result {
        Err(SendFailure::InDoubt(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn bad_answer(sent: &Sent) -> &str {
    match &sent.result {
        Err(SendFailure::BadAnswer(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn forbidden(sent: &Sent) -> String {
    match &sent.result {
        Err(SendFailure::Forbidden(problem)) => problem.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A resolver that gives one list of addresses after the other, and the last one for ever.
struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

impl Names {
    fn new(lists: &[&[&str]]) -> Arc<Self> {
        let addresses = |list: &&[&str]| {
            list.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>()
        };
        Arc::new(Self(Mutex::new(lists.iter().map(addresses).collect())))
    }

    /// Returns a resolver that knows no name.
    fn none() -> Arc<Self> {
        Self::new(&[])
    }
}

impl Resolve for Names {
    fn addresses(&self, _: &str) -> Addresses {
        let mut lists = self.0.lock().expect("no panic");
        let list = if lists.len() > 1 { lists.pop_front() } else { lists.front().cloned() };
        Box::pin(async move { list.ok_or_else(|| io::Error::other("no such name")) })
    }
}

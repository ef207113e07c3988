//! 64 concurrent senders create, acknowledge and resolve alerts over shared keys. The outcome
//! equals that of a model that applies the same events one after the other, in their order of
//! commit.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::library,
};

const SENDERS: u64 = 64;
/// Events of each sender: 100,032 in all.
const EVENTS: u64 = 1563;
const KEYS: u64 = 1000;

/// Action and keys of one message.
#[derive(Clone)]
struct Sent {
    action: &'static str,
    key: String,
    id: Option<String>,
}

/// Sends the events of one sender, and returns them by request id.
fn send(webhooks: SocketAddr, mut numbers: fastrand::Rng) -> Vec<(String, Sent)> {
    let mut connection = Connection::open(webhooks).expect("the host listens");
    let mut all = Vec::new();
    for _ in 0..EVENTS {
        let action = match numbers.u8(..10) {
            0..5 => "create",
            5..7 => "acknowledge",
            _ => "resolve",
        };
        let key = format!("key {}", numbers.u64(..KEYS));
        let id = (numbers.u8(..4) == 0).then(|| format!("event {}", numbers.u64(..5000)));
        let mut request = Request::post("/in/good", "x").header("x-action", action);
        request = request.header("x-dedup-key", &*key);
        if let Some(id) = &id {
            request = request.header("x-event-id", &**id);
        }
        let answer = connection.ask(&request).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        all.push((answer.request_id().to_owned(), Sent { action, key, id }));
    }
    all
}

/// A sequential model of the host.
#[derive(Default)]
struct Model {
    alerts: Vec<Entry>,
    unresolved: HashMap<String, usize>,
    former: HashMap<String, u64>,
    seen: HashMap<String, Value>,
}

struct Entry {
    key: String,
    status: &'static str,
    occurrences: u64,
    previous: Option<u64>,
}

impl Model {
    /// Applies an event, and returns the event's effect as a request record has it.
    fn apply(&mut self, sent: &Sent) -> Value {
        if let Some(alert) = sent.id.as_ref().and_then(|id| self.seen.get(id)) {
            return json!({ "effect": "duplicate", "alert": alert });
        }
        let effect = self.act(sent);
        if let Some(id) = &sent.id {
            self.seen.insert(id.clone(), effect["alert"].clone());
        }
        effect
    }

    fn act(&mut self, sent: &Sent) -> Value {
        let key = &sent.key;
        let Some(place) = self.unresolved.get(key).copied() else {
            if sent.action != "create" {
                return json!({ "effect": "no_match", "alert": null });
            }
            let previous = self.former.get(key).copied();
            self.unresolved.insert(key.clone(), self.alerts.len());
            self.alerts.push(Entry { key: key.clone(), status: "open", occurrences: 1, previous });
            return json!({ "effect": "opened", "alert": self.alerts.len() });
        };
        let (alert, number) = (&mut self.alerts[place], place as u64 + 1);
        let effect = match sent.action {
            "create" => {
                alert.occurrences += 1;
                "occurred"
            }
            "acknowledge" => {
                alert.status = "acknowledged";
                "acknowledged"
            }
            _ => {
                alert.status = "resolved";
                self.unresolved.remove(key);
                self.former.insert(key.clone(), number);
                "resolved"
            }
        };
        json!({ "effect": effect, "alert": number })
    }
}

/// Returns the effects of all requests in their order of commit: by transaction, and within a
/// transaction by id.
fn committed(host: &TestHost) -> BTreeMap<(u64, String), Value> {
    let mut admin = Connection::open(host.admin()).expect("the API listens");
    let (mut all, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/api/v1/requests?limit=500{cursor}");
        let page = admin.ask(&Request::new("GET", &path)).expect("an answer").json();
        for record in page["requests"].as_array().expect("a list") {
            let id = record["id"].as_str().expect("an id").to_owned();
            let transaction = record["transaction"].as_u64().expect("a transaction");
            all.insert((transaction, id), record["effects"].clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn a_hundred_thousand_concurrent_events_have_the_effect_of_a_sequence() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed = now.as_nanos() as u64;
    println!("the seed of the events is {seed}");
    let site = Site::new().plugin(&library("well-behaved"));
    let host = site.config("[integrations.good]\nplugin = 'well-behaved'").serve();
    let webhooks = host.webhooks();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let numbers = fastrand::Rng::with_seed(seed.wrapping_add(sender));
            thread::spawn(move || send(webhooks, numbers))
        })
        .collect();
    let sent = senders.into_iter().flat_map(|sender| sender.join().expect("a sender"));
    let sent: HashMap<_, _> = sent.collect();

    let order = committed(&host);
    assert_eq!((order.len(), sent.len()), (sent.len(), (EVENTS * SENDERS) as usize));
    let mut model = Model::default();
    for ((_, id), effects) in &order {
        assert_eq!(*effects, json!([model.apply(&sent[id])]), "request {id}");
    }
    let alerts = host.alerts();
    assert_eq!(alerts.len(), model.alerts.len());
    for (alert, (place, entry)) in alerts.iter().rev().zip(model.alerts.iter().enumerate()) {
        assert_eq!(
            (&alert["number"], &alert["dedup_key"], &alert["status"]),
            (&json!(place + 1), &json!(entry.key), &json!(entry.status))
        );
        assert_eq!(
            (&alert["occurrences"], &alert["previous"]),
            (&json!(entry.occurrences), &json!(entry.previous)),
            "alert {}",
            place + 1
        );
    }
    let transactions = order.keys().map(|(transaction, _)| transaction);
    let distinct = transactions.collect::<std::collections::BTreeSet<_>>().len();
    println!("{} events in {distinct} transactions, {} alerts", sent.len(), alerts.len());
}

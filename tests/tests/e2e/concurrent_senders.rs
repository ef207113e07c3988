//! 64 concurrent senders create, acknowledge and resolve alerts over shared keys. The outcome
//! equals that of a model that applies the same events one after the other, in their order of
//! commit.
//!
//! PostgreSQL promises less: a transaction that changes nothing has no place in the order, and numbers of alerts may
//! be left out.

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
    store,
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
    alerts: BTreeMap<u64, Entry>,
    unresolved: HashMap<String, u64>,
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
    /// Applies an event, and returns the event's effect as a request record has it. `number` is the number that
    /// the store gave to an alert that the event opened.
    fn apply(&mut self, sent: &Sent, number: u64) -> Value {
        if let Some(alert) = sent.id.as_ref().and_then(|id| self.seen.get(id)) {
            return json!({ "effect": "duplicate", "alert": alert });
        }
        let effect = self.act(sent, number);
        if let Some(id) = &sent.id {
            self.seen.insert(id.clone(), effect["alert"].clone());
        }
        effect
    }

    /// Applies an event that changed nothing, since there was no alert when it was looked up.
    fn find_nothing(&mut self, sent: &Sent) {
        if let Some(id) = &sent.id {
            assert!(!self.seen.contains_key(id), "`{id}` was seen before");
            self.seen.insert(id.clone(), Value::Null);
        }
    }

    fn act(&mut self, sent: &Sent, opened: u64) -> Value {
        let key = &sent.key;
        let Some(number) = self.unresolved.get(key).copied() else {
            if sent.action != "create" {
                return json!({ "effect": "no_match", "alert": null });
            }
            let previous = self.former.get(key).copied();
            self.unresolved.insert(key.clone(), opened);
            let entry = Entry { key: key.clone(), status: "open", occurrences: 1, previous };
            let former = self.alerts.insert(opened, entry);
            assert!(former.is_none(), "two alerts have the number {opened}");
            return json!({ "effect": "opened", "alert": opened });
        };
        let alert = self.alerts.get_mut(&number).expect("it was opened");
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
        let numbered = model.alerts.len() as u64 + 1;
        let number = match effects[0]["alert"].as_u64() {
            Some(number) if store::is_postgres() => number,
            _ => numbered,
        };
        if store::is_postgres() && effects[0]["effect"] == "no_match" {
            model.find_nothing(&sent[id]);
            continue;
        }
        assert_eq!(*effects, json!([model.apply(&sent[id], number)]), "request {id}");
    }
    let alerts = host.alerts();
    assert_eq!(alerts.len(), model.alerts.len());
    for (alert, (number, entry)) in alerts.iter().rev().zip(&model.alerts) {
        assert_eq!(
            (&alert["number"], &alert["dedup_key"], &alert["status"]),
            (&json!(number), &json!(entry.key), &json!(entry.status))
        );
        assert_eq!(
            (&alert["occurrences"], &alert["previous"]),
            (&json!(entry.occurrences), &json!(entry.previous)),
            "alert {number}"
        );
    }
    let transactions = order.keys().map(|(transaction, _)| transaction);
    let distinct = transactions.collect::<std::collections::BTreeSet<_>>().len();
    println!("{} events in {distinct} transactions, {} alerts", sent.len(), alerts.len());
}

//! Tests that databases of earlier schemas open with everything that they hold.
//!
//! Hosts of each schema filled the databases; `upgrades/README.md` lists their contents.

use std::{fs, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tocsin_plugin_api::{Event, Urgency, notification::Kind};
use ulid::Ulid;

use super::SqliteStore;
use crate::{
    alert::AlertRef,
    request::{Effect, RawState, RequestQuery},
    store::{
        AlertQuery, AlertStore, RequestStore, Store,
        audit::{AuditQuery, AuditStore},
        deliveries::{Claim, DeliveryStore, NewDelivery, Routed},
        feed::Cursor,
        fixture::{audit_entry, housekeep, submission},
        housekeeping::{Forgettable, HousekeepingTask},
    },
    system::private_file::beside,
};

/// Database of an earlier schema, with what the API of its host said of it.
struct OldDatabase {
    schema: i64,
    bytes: &'static [u8],
    alerts: &'static str,
    /// Empty if the host of that time did not show requests.
    requests: &'static str,
}

const OLD_DATABASES: [OldDatabase; 7] = [
    OldDatabase {
        schema: 1,
        bytes: include_bytes!("upgrades/1.db"),
        alerts: include_str!("upgrades/1.alerts.jsonl"),
        requests: "",
    },
    OldDatabase {
        schema: 2,
        bytes: include_bytes!("upgrades/2.db"),
        alerts: include_str!("upgrades/2.alerts.jsonl"),
        requests: include_str!("upgrades/2.requests.json"),
    },
    OldDatabase {
        schema: 3,
        bytes: include_bytes!("upgrades/3.db"),
        alerts: include_str!("upgrades/3.alerts.jsonl"),
        requests: include_str!("upgrades/3.requests.json"),
    },
    OldDatabase {
        schema: 4,
        bytes: include_bytes!("upgrades/4.db"),
        alerts: include_str!("upgrades/4.alerts.jsonl"),
        requests: include_str!("upgrades/4.requests.json"),
    },
    OldDatabase {
        schema: 5,
        bytes: include_bytes!("upgrades/5.db"),
        alerts: include_str!("upgrades/5.alerts.jsonl"),
        requests: include_str!("upgrades/5.requests.json"),
    },
    OldDatabase {
        schema: 6,
        bytes: include_bytes!("upgrades/6.db"),
        alerts: include_str!("upgrades/6.alerts.jsonl"),
        requests: include_str!("upgrades/6.requests.json"),
    },
    OldDatabase {
        schema: 7,
        bytes: include_bytes!("upgrades/7.db"),
        alerts: include_str!("upgrades/7.alerts.jsonl"),
        requests: include_str!("upgrades/7.requests.json"),
    },
];

impl OldDatabase {
    /// Writes the database into a folder of its own.
    fn write(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        fs::write(&path, self.bytes).expect("written");
        (folder, path)
    }

    /// Opens a copy of the database with the present host.
    fn open(&self) -> (TempDir, SqliteStore) {
        let (folder, path) = self.write();
        (folder, SqliteStore::open(&path, "a test", Arc::default()).expect("it opens"))
    }

    fn alerts(&self) -> Vec<Value> {
        self.alerts.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// Asserts that a value has all fields that it had in an earlier version, with the same values. Later
/// versions add fields.
#[track_caller]
fn assert_says(new: &Value, old: &Value) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().for_each(|(key, old)| assert_says(&new[key], old));
        }
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len());
            new.iter().zip(old).for_each(|(new, old)| assert_says(new, old));
        }
        (new, old) => assert_eq!(new, old),
    }
}

fn schema_of(connection: &Connection) -> Vec<(String, String, Option<String>)> {
    let sql = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";
    let mut statement = connection.prepare(sql).expect("SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.and_then(Iterator::collect).expect("a schema")
}

#[test]
fn every_alert_is_unchanged_after_the_upgrade() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        let alerts = old.alerts();
        assert!(alerts.len() >= 3);
        for alert in &alerts {
            let number = alert["number"].as_u64().expect("a number");
            let now = store.alert(AlertRef::Number(number)).wait().expect("it reads");
            assert_says(&serde_json::to_value(now.expect("it is there")).expect("JSON"), alert);
            let id = alert["id"].as_str().expect("an id").parse().expect("an id");
            assert!(store.alert(AlertRef::Id(id)).wait().expect("it reads").is_some());
        }
        let page = store.alerts(AlertQuery { limit: 100, ..AlertQuery::default() }).wait();
        assert_eq!(page.expect("it reads").alerts.len(), alerts.len());
    }
}

#[test]
fn every_record_is_unchanged_after_the_upgrade() {
    for old in OLD_DATABASES.into_iter().filter(|old| !old.requests.is_empty()) {
        let (_folder, store) = old.open();
        let page = RequestQuery { limit: 100, ..RequestQuery::default() };
        let now = store.requests(page).wait().expect("it reads").requests;
        let before: Value = serde_json::from_str(old.requests).expect("JSON");
        assert_says(&serde_json::to_value(now).expect("JSON"), &before["requests"]);
    }
}

#[test]
fn records_of_schema_1_are_kept() {
    let (_folder, store) = OLD_DATABASES[0].open();
    let page = RequestQuery { limit: 100, ..RequestQuery::default() };
    let records = store.requests(page).wait().expect("it reads").requests;
    let outcomes: Vec<_> = records.iter().rev().map(|it| (it.outcome.as_str(), it.alert)).collect();
    let events = |alert| ("events", alert);
    assert_eq!(
        outcomes,
        [events(Some(1)), events(Some(2)), events(Some(3)), events(None), ("malformed", None)]
    );
}

#[test]
fn records_from_before_and_after_the_upgrade_are_in_one_list_and_leave_it_oldest_first() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        let list = || {
            let page = RequestQuery { limit: 100, ..RequestQuery::default() };
            let records = store.requests(page).wait().expect("it reads").requests;
            records.iter().map(|record| record.id).collect::<Vec<_>>()
        };
        let before = list();
        let sent = submission("ops-slack", vec![Event::create("new")]);
        store.submit(sent.clone()).wait().expect("it commits");
        assert_eq!(list(), [&[sent.request_id], &before[..]].concat());
        let forget = HousekeepingTask::Forget { what: Forgettable::Records, before: None };
        assert_eq!(housekeep(&store, forget.clone(), before.len()), before.len());
        assert_eq!(list(), [sent.request_id]);
        assert_eq!(housekeep(&store, forget, before.len()), 1);
        assert!(list().is_empty());
    }
}

#[test]
fn an_upgrade_that_was_cut_short_is_made_by_the_next_start() {
    for old in OLD_DATABASES {
        let (_folder, path) = old.write();
        let other = Connection::open(&path).expect("a database");
        // Little room in memory, so that the transaction writes to the files before its end.
        let begin = "PRAGMA journal_mode = wal; PRAGMA cache_size = 1; BEGIN IMMEDIATE";
        other.execute_batch(begin).expect("a transaction");
        super::upgrade(&other, old.schema).expect("it upgrades");
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join("tocsin.db");
        for suffix in ["", "-wal"] {
            // A host that is killed leaves the files as they are.
            fs::copy(beside(&path, suffix), beside(&left, suffix)).expect("copied");
        }
        let store = SqliteStore::open(&left, "a test", Arc::default()).expect("it opens");
        for alert in old.alerts() {
            let number = alert["number"].as_u64().expect("a number");
            let now = store.alert(AlertRef::Number(number)).wait().expect("it reads");
            assert_says(&serde_json::to_value(now.expect("it is there")).expect("JSON"), &alert);
        }
    }
}

#[test]
fn kept_requests_are_unchanged_after_the_upgrade() {
    for old in OLD_DATABASES.into_iter().filter(|old| old.schema > 1) {
        let (_folder, store) = old.open();
        let page = RequestQuery { limit: 100, ..RequestQuery::default() };
        let records = store.requests(page).wait().expect("it reads").requests;
        let kept: Vec<Ulid> = records
            .iter()
            .filter(|record| record.raw == RawState::Kept)
            .map(|record| record.id)
            .collect();
        let bodies: Vec<_> = kept
            .iter()
            .map(|id| store.raw_request(*id).wait().expect("it reads").expect("it is kept").body)
            .collect();
        assert_eq!(bodies, ["{}", "token=tok-1"]);
    }
}

#[test]
fn events_that_were_seen_before_the_upgrade_are_duplicates() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        let event = Event::create("again").event_id("C2147483705.1700000001.000100");
        let effects = store.submit(submission("ops-slack", vec![event])).wait();
        // Schema 1 did not keep the alert of an event.
        let alert = (old.schema > 1).then_some(1);
        assert_eq!(effects.expect("it commits"), [Effect::Duplicate(alert)]);
    }
}

#[test]
fn problems_known_before_the_upgrade_are_known_after_it() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        let next = old.alerts().len() as u64 + 1;
        let event = |minute: u64| {
            Event::create("again").dedup_key(format!("C2147483705.170000000{minute}.000100"))
        };
        let sent = submission("ops-slack", vec![event(1), event(2), event(3)]);
        let effects = store.submit(sent).wait().expect("it commits");
        assert_eq!(effects, [Effect::Occurred(1), Effect::Occurred(2), Effect::Opened(next)]);
        let opened = store.alert(AlertRef::Number(next)).wait().expect("it reads");
        assert_eq!(opened.expect("it is there").alert.previous, Some(3));
    }
}

#[test]
fn changes_made_before_the_upgrade_come_first_in_the_feed() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        store.submit(submission("ops-slack", vec![Event::create("new")])).wait().expect("commits");
        let page = store.changes_since(Cursor::start(), 100).wait().expect("it reads");
        let changes: Vec<_> = page.changes.iter().map(|it| (it.alert, it.entry.at)).collect();
        let mut before = Vec::new();
        // Schema 4 knows the order of commits, in which the times of these changes grow.
        let has_feed = old.schema >= 4;
        for alert in old.alerts() {
            let number = alert["number"].as_u64().expect("a number");
            let now = store.alert(AlertRef::Number(number)).wait().expect("it reads");
            let history = now.expect("it is there").history;
            before.extend(history.iter().map(|entry| (number, entry.at)));
        }
        if has_feed {
            before.sort_by_key(|(number, at)| (*at, *number));
        }
        assert_eq!(changes[..before.len()], before);
        assert_eq!(changes.len(), before.len() + 1);
    }
}

#[test]
fn alerts_opened_before_the_upgrade_are_delivered_after_it() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        assert_eq!(store.router_cursor().wait().expect("it reads"), None);
        assert_eq!(store.destinations().wait().expect("it reads"), []);
        let new = NewDelivery {
            id: Ulid::from_parts(1_700_000_000_000, 1),
            destination: "ops".into(),
            alert: 1,
            kind: Kind::Acknowledged,
            place: Some(1),
            changed_at: Timestamp::UNIX_EPOCH,
            urgency: Urgency::Critical,
            integration: "ops-slack".into(),
            digest_above: 20,
        };
        let routed = Routed { deliveries: vec![new], ..Routed::default() };
        store.route(routed).wait().expect("it commits");
        let now = Timestamp::UNIX_EPOCH;
        let claim = Claim { destination: "ops".into(), now, limit: 10 };
        let claimed = store.claim(claim).wait().expect("it commits").deliveries;
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].delivery.alert, Some(1));
    }
}

#[test]
fn an_upgraded_database_has_an_audit_which_is_empty() {
    for old in OLD_DATABASES {
        let (_folder, store) = old.open();
        let list = || store.audit(AuditQuery { limit: 10, ..AuditQuery::default() }).wait();
        assert_eq!(list().expect("it reads").entries, []);
        assert_eq!(store.add_to_audit(audit_entry("reload", 1)).wait().expect("it commits"), 1);
        assert_eq!(list().expect("it reads").entries.len(), 1);
    }
}

#[test]
fn an_upgraded_database_has_the_schema_of_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tocsin.db");
    SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
    let new = schema_of(&Connection::open(&path).expect("a database"));
    for old in OLD_DATABASES {
        let (_folder, path) = old.write();
        SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
        let upgraded = Connection::open(&path).expect("a database");
        assert_eq!(schema_of(&upgraded), new);
        SqliteStore::open(&path, "a test", Arc::default()).expect("it opens again");
    }
}

//! Tests that queries for records use their indexes, and that pages of records are not too large.

use std::sync::Arc;

use rusqlite::{Connection, params_from_iter};
use tocsin_plugin_api::Event;
use ulid::Ulid;

use super::SqliteStore;
use crate::{
    request::{RequestOutcome, RequestQuery, Submission},
    store::{
        Store,
        fixture::submission,
        sql::{FORGET_TRANSACTIONS, OLDEST_RECORDS, list_of_records, one_record},
    },
};

#[test]
fn records_with_very_many_effects_come_in_smaller_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tocsin.db");
    let store = SqliteStore::open(&path, "a test", Arc::default()).expect("it opens");
    let store: &dyn Store = &store;
    let mut ids = Vec::new();
    for second in 0..6_u64 {
        let request_id = Ulid::from_parts(1_700_000_000_000 + 1000 * second, 0);
        let sent = submission("ops", vec![Event::create("x"), Event::create("y")]);
        store.submit(Submission { request_id, ..sent }).wait().expect("it commits");
        ids.push(request_id);
    }
    let other = Connection::open(&path).expect("a database");
    let effects = |place: usize, count: usize| {
        let sql = "UPDATE requests SET effects = ?2 WHERE id = ?1";
        let id = ids[place].to_bytes();
        other.execute(sql, (id.as_slice(), "n ".repeat(count))).expect("it is there");
    };
    effects(4, 60_000);
    effects(3, 40_000);
    effects(2, 100_000);
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let query = RequestQuery { limit: 5, before, ..RequestQuery::default() };
        let page = store.requests(query).wait().expect("it reads");
        let place = |id: Ulid| ids.iter().position(|one| *one == id);
        let places = page.requests.iter().filter_map(|record| place(record.id));
        pages.push(places.collect::<Vec<_>>());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![5, 4, 3], vec![2], vec![1, 0]]);
}

/// Returns the steps of a query's plan, each as SQLite describes it.
fn plan(database: &Connection, sql: &str) -> Vec<String> {
    let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("SQL");
    let values = vec![None::<i64>; plan.parameter_count()];
    let values = params_from_iter(values);
    let steps = plan.query_map(values, |row| row.get::<_, String>(3)).expect("a plan");
    steps.collect::<Result<_, _>>().expect("steps")
}

#[test]
fn records_are_read_in_the_order_of_their_indexes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tocsin.db");
    SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
    let database = Connection::open(&path).expect("a database");
    let all = || RequestQuery { limit: 9, ..RequestQuery::default() };
    let of = |outcome| RequestQuery { outcome: Some(outcome), ..all() };
    let until = Some(jiff::Timestamp::UNIX_EPOCH);
    let (rows, folded) = (["SCAN r", "SEARCH r USING PRIMARY KEY"], "INDEX recorded");
    for (query, reads) in [
        (all(), &[rows[0], folded][..]),
        (RequestQuery { before: Some(Ulid::nil()), ..all() }, &[rows[1], "recorded (request<?"]),
        (RequestQuery { until, since: until, ..all() }, &[rows[1], "recorded (request>? AND"]),
        (of(RequestOutcome::Events), &[rows[0], folded]),
        (of(RequestOutcome::Ignored), &["INDEX unusual (outcome=?)"]),
    ] {
        for integration in [None, Some(1)] {
            let (sql, _) = list_of_records(&query, integration);
            let steps = plan(&database, &sql);
            let has = |read: &str| steps.iter().any(|step| step.contains(read));
            assert!(reads.iter().all(|read| has(read)), "{query:?}: {steps:?}");
            assert_eq!(has("MERGE (UNION ALL)"), reads.len() == 2, "{query:?}: {steps:?}");
            assert!(!has("TEMP B-TREE"), "{query:?}: {steps:?}");
        }
    }
    let steps = plan(&database, &one_record());
    let has = |read: &str| steps.iter().any(|step| step.contains(read));
    assert!(has("r USING PRIMARY KEY (id=?)"), "{steps:?}");
    assert!(has("alerts USING INDEX recorded (request=?)"), "{steps:?}");
    let (sql, _) = list_of_records(&RequestQuery { quarantined: true, ..all() }, None);
    assert!(plan(&database, &sql)[0].contains("INDEX quarantine"), "they are few");
}

#[test]
fn the_oldest_records_are_found_in_the_order_of_their_indexes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tocsin.db");
    SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
    let database = Connection::open(&path).expect("a database");
    for sql in [OLDEST_RECORDS, FORGET_TRANSACTIONS] {
        let steps = plan(&database, sql);
        let has = |read: &str| steps.iter().any(|step| step.contains(read));
        assert!(has("MERGE (UNION ALL)") && has("INDEX recorded"), "{sql}: {steps:?}");
        assert!(!has("TEMP B-TREE"), "{sql}: {steps:?}");
    }
}

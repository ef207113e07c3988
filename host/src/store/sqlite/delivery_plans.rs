//! Tests that queries for deliveries use their indexes, and that many deliveries are changed in parts.

use std::sync::Arc;

use rusqlite::{Connection, params_from_iter};
use tocsin_plugin_api::notification::Kind;
use ulid::Ulid;

use super::SqliteStore;
use crate::{
    delivery::DeliveryStatus,
    store::{
        Store,
        deliveries::{DeliveryQuery, DeliveryStore, Which},
        fixture::{
            at,
            deliveries::{claim, get, news, route},
            steve,
        },
        sql::{
            ACTIVE, CHOSEN_ACTIVE, CHOSEN_DEAD, DELIVERY_ROW, DUE, NEXT_DUE, OPEN_DIGEST, OPENINGS,
            list_of_deliveries,
        },
    },
};

/// Returns the steps of a query's plan, each as SQLite describes it.
fn plan(database: &Connection, sql: &str) -> Vec<String> {
    let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("SQL");
    let values = vec![None::<i64>; plan.parameter_count()];
    let steps =
        plan.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).expect("a plan");
    steps.collect::<Result<_, _>>().expect("steps")
}

fn database() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tocsin.db");
    SqliteStore::open(&path, "a test", Arc::default()).expect("it opens").close();
    let database = Connection::open(&path).expect("a database");
    (folder, database)
}

#[test]
fn claims_and_routes_read_no_more_deliveries_than_they_need() {
    let (_folder, database) = database();
    let (due, active) =
        (format!("SELECT {DELIVERY_ROW} {DUE}"), format!("SELECT {DELIVERY_ROW} {ACTIVE}"));
    for (sql, index) in [
        (&*due, "INDEX deliveries_due (destination=? AND due_at<?)"),
        (NEXT_DUE, "INDEX deliveries_due (destination=?)"),
        (OPENINGS, "INDEX deliveries_opening (destination=?)"),
        (OPEN_DIGEST, "INDEX deliveries_active (alert=? AND destination=?)"),
        (CHOSEN_DEAD, "INDEX deliveries_dead (destination=?)"),
    ] {
        let steps = plan(&database, sql);
        assert!(steps[0].starts_with("SEARCH") && steps[0].contains(index), "{sql}: {steps:?}");
        let are_sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!are_sorted, "{sql}: {steps:?}");
    }
    // News about one alert is little, and may be sorted.
    let steps = plan(&database, &active);
    assert!(steps[0].contains("INDEX deliveries_active (alert=? AND destination=?)"), "{steps:?}");
    // The index holds no deliveries that have ended.
    let steps = plan(&database, CHOSEN_ACTIVE);
    assert!(steps[0].contains("INDEX deliveries_active"), "{steps:?}");
}

#[test]
fn lists_of_deliveries_are_read_in_the_order_of_an_index() {
    let (_folder, database) = database();
    let query = || DeliveryQuery { limit: 9, ..DeliveryQuery::default() };
    let of = |status| DeliveryQuery { status: Some(status), ..query() };
    let by_id = "INDEX sqlite_autoindex_deliveries_1";
    for (query, index) in [
        (query(), by_id),
        (DeliveryQuery { before: Some(Ulid::nil()), ..query() }, by_id),
        (of(DeliveryStatus::Waiting), "INDEX deliveries_unfinished"),
        (of(DeliveryStatus::Dead), "INDEX deliveries_unfinished"),
        (of(DeliveryStatus::Delivered), by_id),
    ] {
        for destination in [None, Some(1)] {
            let (sql, _) = list_of_deliveries(&query, destination);
            let steps = plan(&database, &sql);
            assert!(steps[0].contains(index), "{query:?}: {steps:?}");
            let are_sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!are_sorted, "{query:?}: {steps:?}");
        }
    }
    let (sql, _) = list_of_deliveries(&DeliveryQuery { alert: Some(1), ..query() }, None);
    let steps = plan(&database, &sql);
    assert!(steps[0].starts_with("SEARCH d USING INTEGER PRIMARY KEY"), "{steps:?}");
    let has = |step: &str| steps.iter().any(|it| it.contains(step));
    assert!(has("INDEX deliveries_of_alert (alert=?)"), "{steps:?}");
    assert!(has("SEARCH a USING PRIMARY KEY (destination=? AND first<?)"), "{steps:?}");
}

#[test]
fn many_deliveries_are_changed_in_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tocsin.db");
    let store = SqliteStore::open(&path, "a test", Arc::default()).expect("it opens");
    route(&store, at(0), (1..=1200).map(|id| news(id, id, Kind::Opened)).collect());
    // Later news about an alert at the end of the first part.
    let told = claim(&store, at(0), 1200).deliveries;
    assert_eq!(told.len(), 1200);
    route(&store, at(1), vec![news(2000, 500, Kind::Resolved)]);
    store
        .give_back(told.iter().skip(600).map(|it| it.delivery.id).collect())
        .wait()
        .expect("given");
    let other = Connection::open(&path).expect("a database");
    let trigger = "CREATE TRIGGER no BEFORE UPDATE ON deliveries WHEN NEW.alert = 1100 \
                   BEGIN SELECT raise(ABORT, 'no'); END";
    other.execute_batch(trigger).expect("a trigger");
    let all = || Which::AllOf("ops".into());
    let discard = || store.discard_deliveries(all(), steve(), at(8)).wait();
    discard().expect_err("the last part fails");
    let dead = |id| get(&store, id).status == DeliveryStatus::Dead;
    assert_eq!([601, 1000, 2000].map(dead), [true; 3], "parts that are on disk stay");
    assert_eq!([1050, 1200].map(dead), [false; 2]);
    other.execute_batch("DROP TRIGGER no").expect("it is there");
    assert_eq!(discard().expect("it commits"), 600 + 200, "those in flight, and the last part");
    let retry = || store.retry_deliveries(all(), steve(), at(9)).wait();
    assert_eq!(retry().expect("it commits"), 601);
    assert_eq!(claim(&store, at(9), 2000).deliveries.len(), 600, "one is behind its alert's first");
}

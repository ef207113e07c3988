//! Promises about the audit.

use crate::{
    alert::Actor,
    store::{
        Store,
        audit::{AuditEntry, AuditQuery},
        fixture::{StoreFixture, at, audit_entry, housekeep},
        housekeeping::{Forgettable, HousekeepingTask},
    },
};

fn add(store: &dyn Store, entry: AuditEntry) -> u64 {
    store.add_to_audit(entry).wait().expect("it commits")
}

fn all() -> AuditQuery {
    AuditQuery { limit: 100, ..AuditQuery::default() }
}

fn numbers(store: &dyn Store, query: AuditQuery) -> Vec<u64> {
    let page = store.audit(query).wait().expect("it reads");
    page.entries.iter().map(|entry| entry.number).collect()
}

pub(in crate::store) fn entries_of_the_audit_survive_a_restart_in_their_order(
    place: &dyn StoreFixture,
) {
    let whole = AuditEntry {
        object: Some("destination ops".into()),
        detail: Some("3 deliveries".into()),
        ..audit_entry("retry_deliveries_of_destination", 2)
    };
    let bare = AuditEntry {
        actor: Actor::Signal,
        status: None,
        request: None,
        address: None,
        ..audit_entry("reload", 1)
    };
    let store = place.open();
    // The order is that of the writes, whatever the clock says.
    assert_eq!([add(&*store, whole.clone()), add(&*store, bare.clone())], [1, 2]);
    store.close();
    let page = place.open().audit(all()).wait().expect("it reads");
    assert_eq!(page.entries, [AuditEntry { number: 2, ..bare }, AuditEntry { number: 1, ..whole }]);
    assert_eq!(page.next, None);
}

pub(in crate::store) fn pages_lead_through_the_audit_newest_first(place: &dyn StoreFixture) {
    let store = &*place.open();
    for second in 0..5 {
        add(store, audit_entry("reload", second));
    }
    let page = |before| store.audit(AuditQuery { limit: 2, before, ..all() }).wait().unwrap();
    let first = page(None);
    // An entry that is written meanwhile shifts no page.
    add(store, audit_entry("reload", 9));
    let (second, third) = (page(first.next), page(Some(2)));
    let numbers = [first, second, third]
        .map(|page| (page.entries.iter().map(|it| it.number).collect::<Vec<_>>(), page.next));
    assert_eq!(numbers, [(vec![5, 4], Some(4)), (vec![3, 2], Some(2)), (vec![1], None)]);
}

pub(in crate::store) fn entries_are_found_by_actor_action_object_and_time(
    place: &dyn StoreFixture,
) {
    let store = &*place.open();
    let alice = Actor::from("api token Alice_1");
    let on = |object: &str| Some(object.to_owned());
    add(store, AuditEntry { object: on("alert 1"), ..audit_entry("acknowledge_alert", 10) });
    add(store, AuditEntry { object: on("alert 17"), ..audit_entry("resolve_alert", 20) });
    add(store, AuditEntry { object: on("alerts 1"), actor: alice, ..audit_entry("other", 30) });
    add(store, audit_entry("reload", 40));
    for (query, expected) in [
        (AuditQuery { actor: Some("ALICE_".into()), ..all() }, &[3][..]),
        (AuditQuery { actor: Some("a%e".into()), ..all() }, &[]),
        (AuditQuery { actor: Some("steve".into()), ..all() }, &[4, 2, 1]),
        (AuditQuery { action: Some("resolve_alert".into()), ..all() }, &[2]),
        (AuditQuery { action: Some("resolve".into()), ..all() }, &[]),
        (AuditQuery { object: Some("alert 1".into()), ..all() }, &[1]),
        (AuditQuery { object: Some("alert".into()), ..all() }, &[2, 1]),
        (AuditQuery { since: Some(at(20)), ..all() }, &[4, 3, 2]),
        (AuditQuery { since: Some(at(20)), until: Some(at(30)), ..all() }, &[2]),
        (AuditQuery { object: Some("alert".into()), before: Some(2), ..all() }, &[1]),
    ] {
        assert_eq!(numbers(store, query.clone()), expected, "{query:?}");
    }
}

pub(in crate::store) fn old_entries_are_deleted_and_their_numbers_are_not_given_again(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    for second in 0..5 {
        add(&*store, audit_entry("reload", second));
    }
    let forget = |before, limit| {
        let task = HousekeepingTask::Forget { what: Forgettable::Audit, before };
        housekeep(&*store, task, limit)
    };
    assert_eq!(forget(Some(at(3)), 2), 2, "no more than was allowed");
    assert_eq!(forget(Some(at(3)), 2), 1);
    assert_eq!(forget(Some(at(3)), 2), 0);
    assert_eq!(numbers(&*store, all()), [5, 4]);
    assert_eq!(forget(None, 100), 2);
    store.close();
    assert_eq!(add(&*place.open(), audit_entry("reload", 9)), 6);
}

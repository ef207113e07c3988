//! Promises about the feed of changes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tocsin_plugin_api::Event;

use crate::{
    alert::{AlertRef, ChangeKind, HistoryEntry},
    request::Submission,
    store::{
        ManualAction, Store, StoreError,
        feed::{Cursor, FeedChange, MOST_CHANGES},
        fixture::{StoreFixture, all, at, by_hand, commit, get, housekeep, submission},
        housekeeping::{Forgettable, HousekeepingTask},
    },
};

/// Reads all changes after a cursor, in pages.
fn read_on(store: &dyn Store, mut cursor: Cursor, limit: usize) -> (Vec<FeedChange>, Cursor) {
    let mut changes = Vec::new();
    loop {
        let page = match store.changes_since(cursor.clone(), limit).wait() {
            // A slow disk has not synced the newest changes yet.
            Err(StoreError::Unavailable(problem)) if problem.code == "not-on-disk-yet" => continue,
            page => page.expect("it reads"),
        };
        assert!(page.changes.len() <= limit);
        cursor = page.cursor;
        if page.changes.is_empty() {
            return (changes, cursor);
        }
        changes.extend(page.changes);
    }
}

fn kinds(changes: &[FeedChange]) -> Vec<(u64, ChangeKind)> {
    changes.iter().map(|change| (change.alert, change.entry.change)).collect()
}

pub(in crate::store) fn every_change_is_in_the_feed_once_and_in_the_order_of_commits(
    place: &dyn StoreFixture,
) {
    use ChangeKind::{Acknowledged, Created, Noted, Reopened, Resolved};
    let store = place.open();
    commit(&*store, Event::create("x").dedup_key("k"));
    commit(&*store, Event::create("y").dedup_key("other"));
    commit(&*store, Event::acknowledge("k"));
    by_hand(&*store, 2, ManualAction::Resolve);
    by_hand(&*store, 1, ManualAction::Note("it was the fan".into()));
    commit(&*store, Event::resolve("k"));
    commit(&*store, Event::create("x").dedup_key("k"));
    let expected = [
        (1, Created),
        (2, Created),
        (1, Acknowledged),
        (2, Resolved),
        (1, Noted),
        (1, Resolved),
        (1, Reopened),
        (3, Created),
    ];
    for limit in [1, 2, 3, MOST_CHANGES] {
        let (changes, cursor) = read_on(&*store, Cursor::start(), limit);
        assert_eq!(kinds(&changes), expected);
        for FeedChange { alert, place, entry } in &changes {
            let history = get(&*store, AlertRef::Number(*alert)).history;
            assert_eq!(history[*place as usize], *entry, "kind, actor, request and time");
        }
        assert_eq!(read_on(&*store, cursor, limit).0, [], "nothing has changed since");
    }
}

pub(in crate::store) fn a_merged_entry_is_in_the_feed_again_after_each_report(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    for _ in 0..3 {
        commit(&*store, Event::create("x").dedup_key("k"));
    }
    let (changes, cursor) = read_on(&*store, Cursor::start(), 10);
    assert_eq!(kinds(&changes), [(1, ChangeKind::Created), (1, ChangeKind::Occurred)]);
    assert_eq!(changes[1].entry.count, 2, "the latest state");
    commit(&*store, Event::create("x").dedup_key("k"));
    let (changes, _) = read_on(&*store, cursor, 10);
    assert_eq!(kinds(&changes), [(1, ChangeKind::Occurred)]);
    assert_eq!(changes[0].entry.count, 3);
}

pub(in crate::store) fn pages_of_the_feed_are_bounded_and_have_the_cursor_of_the_next_page(
    place: &dyn StoreFixture,
) {
    let store = place.open();
    let events = (1..=25).map(|number| Event::create(format!("{number}"))).collect();
    store.submit(submission("ops", events)).wait().expect("it commits");
    let mut cursor = Cursor::start();
    let mut lengths = Vec::new();
    for limit in [10, 0, 10, usize::MAX, 10] {
        let page = store.changes_since(cursor, limit).wait().expect("it reads");
        lengths.push(page.changes.len());
        cursor = page.cursor;
    }
    assert_eq!(lengths, [10, 1, 10, 4, 0], "a page has room for one change at least");
}

pub(in crate::store) fn a_cursor_is_valid_after_a_restart(place: &dyn StoreFixture) {
    let store = place.open();
    commit(&*store, Event::create("x").dedup_key("k"));
    let cursor = read_on(&*store, Cursor::start(), 10).1.to_string();
    commit(&*store, Event::acknowledge("k"));
    store.close();

    let store = place.open();
    commit(&*store, Event::create("y"));
    commit(&*store, Event::resolve("k"));
    let (changes, _) = read_on(&*store, cursor.parse().expect("a cursor"), 1);
    use ChangeKind::{Acknowledged, Created, Resolved};
    assert_eq!(kinds(&changes), [(1, Acknowledged), (2, Created), (1, Resolved)]);
    assert_eq!(read_on(&*store, Cursor::start(), 10).0.len(), 4);
}

pub(in crate::store) fn a_cursor_of_now_skips_earlier_changes(place: &dyn StoreFixture) {
    let store = place.open();
    let before_all = store.changes_since(Cursor::now(), 10).wait().expect("it reads");
    assert_eq!(before_all.changes, []);
    commit(&*store, Event::create("x").dedup_key("k"));
    commit(&*store, Event::acknowledge("k"));
    let now = store.changes_since(Cursor::now(), 10).wait().expect("it reads");
    assert_eq!(now.changes, []);
    commit(&*store, Event::resolve("k"));
    commit(&*store, Event::create("y"));
    let (changes, _) = read_on(&*store, now.cursor, 10);
    assert_eq!(kinds(&changes), [(1, ChangeKind::Resolved), (2, ChangeKind::Created)]);
    assert_eq!(read_on(&*store, before_all.cursor, 10).0.len(), 4);
}

pub(in crate::store) fn a_cursor_of_another_store_is_refused(place: &dyn StoreFixture) {
    let store = place.open();
    commit(&*store, Event::create("x"));
    for text in ["elsewhere", "0-1-1-1-1"] {
        let cursor = text.parse().expect("it looks like a cursor");
        let refused = store.changes_since(cursor, 10).wait();
        assert!(matches!(refused, Err(StoreError::UnknownCursor)), "{refused:?}");
    }
}

pub(in crate::store) fn deleted_alerts_leave_the_feed(place: &dyn StoreFixture) {
    let store = place.open();
    commit(&*store, Event::create("x").dedup_key("k"));
    commit(&*store, Event::create("y"));
    commit(&*store, Event::resolve("k"));
    let (_, cursor) = read_on(&*store, Cursor::start(), 10);
    let forget = HousekeepingTask::Forget { what: Forgettable::ResolvedAlerts, before: None };
    assert_eq!(housekeep(&*store, forget, 10), 1);
    let (changes, _) = read_on(&*store, Cursor::start(), 10);
    assert_eq!(kinds(&changes), [(2, ChangeKind::Created)]);
    store.close();

    // The deleted rows had the newest changes.
    let store = place.open();
    by_hand(&*store, 2, ManualAction::Acknowledge);
    let (changes, _) = read_on(&*store, cursor, 10);
    assert_eq!(kinds(&changes), [(2, ChangeKind::Acknowledged)]);
}

pub(in crate::store) fn a_rehearsal_is_not_in_the_feed(place: &dyn StoreFixture) {
    let store = place.open();
    store.rehearse(submission("ops", vec![Event::create("x")])).wait().expect("it rehearses");
    assert_eq!(read_on(&*store, Cursor::start(), 10).0, []);
}

pub(in crate::store) fn a_reader_of_the_feed_sees_every_change_of_concurrent_writers(
    place: &dyn StoreFixture,
) {
    const WRITERS: u32 = 8;
    const EACH: u32 = 60;
    let store = place.open();
    let has_ended = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, has_ended) = (Arc::clone(&store), Arc::clone(&has_ended));
        thread::spawn(move || {
            let (mut cursor, mut histories) = (Cursor::start(), BTreeMap::new());
            loop {
                let ends = has_ended.load(Ordering::Acquire);
                let (changes, next) = read_on(&*store, cursor, 7);
                cursor = next;
                changes.into_iter().for_each(|change| apply(&mut histories, change));
                if ends {
                    return histories;
                }
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for count in 0..EACH {
                    let key = format!("{}", (writer + count) % 5);
                    let event = match count % 6 {
                        4 => Event::acknowledge(key),
                        5 => Event::resolve(key),
                        _ => Event::create(format!("{count}")).dedup_key(key),
                    };
                    // The time tells the entries of a history apart.
                    let sent = submission("ops", vec![event]);
                    let received_at = at(i64::from(writer * EACH + count));
                    store.submit(Submission { received_at, ..sent }).wait().expect("it commits");
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("it writes"));
    has_ended.store(true, Ordering::Release);
    let histories = reader.join().expect("it reads");
    let alerts = all(&*store);
    assert_eq!(histories.len(), alerts.len());
    for alert in alerts {
        let history = get(&*store, AlertRef::Number(alert.number)).history;
        assert_eq!(histories[&alert.number], history, "alert {}", alert.number);
    }
}

/// Adds a change to the histories that a reader has put together. Only the last entry may come again.
fn apply(histories: &mut BTreeMap<u64, Vec<HistoryEntry>>, change: FeedChange) {
    let history = histories.entry(change.alert).or_default();
    let place = usize::try_from(change.place).expect("a short history");
    if place + 1 == history.len() {
        assert!(history[place].count < change.entry.count, "a change comes once");
        history[place] = change.entry;
    } else {
        assert_eq!(place, history.len(), "no entry is left out");
        assert_eq!(place == 0, change.entry.change == ChangeKind::Created);
        history.push(change.entry);
    }
}

pub(in crate::store) fn readers_are_told_when_alerts_change(place: &dyn StoreFixture) {
    let store = place.open();
    let mut changed = store.changed();
    changed.borrow_and_update();
    // Where other hosts may change alerts, a reader may be told for nothing.
    if !place.is_shared() {
        store.forget_cursor().wait().expect("it commits");
        assert_eq!(changed.has_changed().ok(), Some(false), "no alert has changed");
    }
    commit(&*store, Event::create("x"));
    assert_eq!(changed.has_changed().ok(), Some(true));
    changed.borrow_and_update();
    by_hand(&*store, 1, ManualAction::Acknowledge);
    assert_eq!(changed.has_changed().ok(), Some(true));
}

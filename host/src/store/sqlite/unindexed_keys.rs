//! Keys of new alerts that are not in the key trees of the database yet.
//!
//! A key tree whose keys come in random order costs a page of the log for each key. The keys of new alerts
//! therefore gather here, and go into the trees in the order of the keys, many at a time: neighbours share a
//! page. The row of an alert holds its keys, so a host that was killed loses none. `meta.indexed_to` is the
//! number of the last alert whose keys are in the trees, and [`UnindexedKeys::read`] reads the keys of all
//! later alerts.
//!
//! Keys are here in four states:
//!
//! 1. *staged* by the open transaction, and dropped with it if it is rolled back;
//! 2. *gathered* after its commit;
//! 3. *sorted*, once enough have gathered. The sorted keys are written into the trees in slices. Each slice is
//!    part of a transaction, and the transaction of the last slice moves `meta.indexed_to`;
//! 4. in the trees alone.
//!
//! A key is looked up in this order, so the last alert that has a key is found first. Writing a slice again
//! after a kill changes nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{Arc, OnceLock},
    thread,
};

use rusqlite::{Connection, params};

use super::kept_statements::KeptStatements;
use crate::store::sql::SqlResult;
use crate::system::fault_injection;

/// Number of alerts whose keys are sorted and written together. More would share pages of a large database
/// better, and need more memory. Debug builds have few, so that tests come across every state.
const ALERTS_TOGETHER: usize = if cfg!(test) {
    5
} else if cfg!(debug_assertions) {
    60
} else {
    50_000
};
/// Size of keys from which they are sorted and written earlier, since keys are long.
const BYTES_TOGETHER: usize = 8 * 1024 * 1024;
/// Number of keys in a slice, few enough that no request waits long for one.
const SLICE: usize = if cfg!(debug_assertions) { 4 } else { 256 };
/// Number of keys that are written for each that gathers. All sorted keys are thus written long before as many
/// have gathered again.
const WRITTEN_FOR_EACH: usize = 3;

/// Last alert of each key, by integration.
type Numbers = BTreeMap<i64, HashMap<Arc<str>, i64>>;

/// Keys of the alerts after `meta.indexed_to`. A transaction works on a copy, which is cheap.
#[derive(Clone, Default)]
pub(super) struct UnindexedKeys {
    committed: Arc<Committed>,
    staged: Staged,
}

/// Keys of the open transaction, and what it did to the keys from before.
#[derive(Clone, Default)]
struct Staged {
    keys: Keys,
    /// Number of keys written into the trees.
    written: usize,
    /// True if the last of the sorted keys was written.
    is_last_written: bool,
    /// Alerts that were deleted before they were indexed.
    deleted: Vec<i64>,
}

/// Keys as the last commit left them.
#[derive(Clone, Default)]
struct Committed {
    gathered: Keys,
    sorted: Option<Sorted>,
    deleted: HashSet<i64>,
    /// Number of the last alert whose keys are in the trees.
    indexed_to: i64,
    /// Number of keys that are to be written soon.
    owed: usize,
}

#[derive(Clone, Default)]
struct Keys {
    dedup_keys: Numbers,
    event_ids: Numbers,
    alerts: usize,
    bytes: usize,
}

/// Keys that are written in their order.
#[derive(Clone)]
struct Sorted {
    keys: Arc<Keys>,
    /// The keys in their order, once another thread has sorted them.
    order: Arc<OnceLock<Vec<Place>>>,
    /// Number of keys that were written.
    written: usize,
    /// Number of the last alert whose keys are here.
    to: i64,
}

/// Key with its place in a tree, and the number of its alert.
type Place = (Tree, i64, Arc<str>, i64);

/// Tree of the database that holds keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tree {
    Problems,
    SeenEvents,
}

impl UnindexedKeys {
    /// Reads the keys of all alerts that are not in the trees.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT value FROM meta WHERE key = 'indexed_to'";
        let indexed_to = connection.query_row(sql, [], |row| row.get(0))?;
        let committed = Committed { indexed_to, ..Committed::default() };
        let mut keys = Self { committed: Arc::new(committed), staged: Staged::default() };
        let sql = "SELECT number, integration, dedup_key, event_id FROM alerts WHERE number > ?1 \
                   ORDER BY number";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([indexed_to])?;
        let mut last = indexed_to;
        while let Some(row) = rows.next()? {
            let text =
                |column| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
            last = row.get(0)?;
            let dedup_key = text(2)?;
            keys.stage(last, row.get(1)?, dedup_key, event_id(text(3)?, dedup_key));
        }
        keys.adopt(last);
        Ok(keys)
    }

    /// Stages the keys of a new alert.
    pub(super) fn stage(
        &mut self,
        number: i64,
        integration: i64,
        dedup_key: Option<&str>,
        event_id: Option<&str>,
    ) {
        self.staged.keys.alerts += 1;
        let keys = &mut self.staged.keys;
        let dedup_key = dedup_key.map(Arc::<str>::from);
        let event_id = event_id.map(|id| match &dedup_key {
            Some(key) if **key == *id => Arc::clone(key),
            _ => Arc::from(id),
        });
        for (numbers, key) in [(&mut keys.dedup_keys, dedup_key), (&mut keys.event_ids, event_id)] {
            let Some(key) = key else { continue };
            keys.bytes += key.len();
            numbers.entry(integration).or_default().insert(key, number);
        }
    }

    /// Takes the keys of a deleted alert out of those that will be written. They may still be found, and lead
    /// to no row. Returns false if the trees have the keys.
    pub(super) fn forget(&mut self, number: i64) -> bool {
        let is_here = number > self.committed.indexed_to;
        if is_here {
            self.staged.deleted.push(number);
        }
        is_here
    }

    /// Returns the number of the last alert with a dedup key, if its keys are here.
    pub(super) fn with_dedup_key(&self, integration: i64, dedup_key: &str) -> Option<i64> {
        self.find(|keys| &keys.dedup_keys, integration, dedup_key)
    }

    /// Returns the number of the alert that was opened by the event with an id, if its keys are here.
    pub(super) fn with_event_id(&self, integration: i64, event_id: &str) -> Option<i64> {
        self.find(|keys| &keys.event_ids, integration, event_id)
    }

    fn find(&self, tree: fn(&Keys) -> &Numbers, integration: i64, key: &str) -> Option<i64> {
        let Committed { gathered, sorted, .. } = &*self.committed;
        let places = [Some(&self.staged.keys), Some(gathered), sorted.as_ref().map(|it| &*it.keys)];
        let found = |keys| tree(keys).get(&integration)?.get(key).copied();
        places.into_iter().flatten().find_map(found)
    }

    /// Takes over what the open transaction did, which is now committed. `highest` is the number of the newest
    /// alert.
    pub(super) fn adopt(&mut self, highest: i64) {
        let Staged { keys, written, is_last_written, deleted } = mem::take(&mut self.staged);
        if keys.alerts == 0 && written == 0 && !is_last_written && deleted.is_empty() {
            return;
        }
        // No copy is made, because the state before the commit is gone.
        let committed = Arc::make_mut(&mut self.committed);
        committed.deleted.extend(deleted);
        committed.advance(written, is_last_written);
        committed.gather(keys);
        let gathered = &committed.gathered;
        if gathered.alerts >= ALERTS_TOGETHER || gathered.bytes >= BYTES_TOGETHER {
            committed.sort(highest);
        }
    }

    /// Returns true if all keys are in the trees.
    pub(super) fn is_empty(&self) -> bool {
        self.committed.gathered.alerts == 0 && self.committed.sorted.is_none()
    }

    /// Returns true if a slice of keys is due, beside other work.
    pub(super) fn owes_slice(&self) -> bool {
        let is_sorted = self.committed.sorted.as_ref().is_some_and(|it| it.order.get().is_some());
        is_sorted && self.committed.owed >= SLICE
    }

    /// Returns true if so many keys are here that nothing may be added before a slice was written. The trees
    /// cannot be written then, or only slowly.
    pub(super) fn is_full(&self) -> bool {
        let Committed { gathered, sorted, .. } = &*self.committed;
        let is_large =
            gathered.alerts >= 2 * ALERTS_TOGETHER || gathered.bytes >= 2 * BYTES_TOGETHER;
        is_large && sorted.is_some()
    }

    /// Puts off the next slice after one that failed.
    pub(super) fn put_off(&mut self) {
        Arc::make_mut(&mut self.committed).owed = 0;
    }

    /// Writes the next slice of sorted keys into the trees.
    pub(super) fn write_slice(&mut self, kept: &dyn KeptStatements) -> SqlResult<()> {
        let committed = Arc::clone(&self.committed);
        let Some(sorted) = &committed.sorted else { return Ok(()) };
        let rest = &sorted.order()[sorted.written + self.staged.written..];
        let slice = &rest[..rest.len().min(committed.owed.max(SLICE))];
        for (tree, integration, key, number) in slice {
            // The keys of a deleted alert were dealt with when the alert was deleted.
            if committed.deleted.contains(number) || self.staged.deleted.contains(number) {
                continue;
            }
            let sql = match tree {
                Tree::Problems => {
                    "INSERT INTO problems VALUES (?1, ?2, ?3) ON CONFLICT (integration, dedup_key) \
                     DO UPDATE SET alert = excluded.alert WHERE alert < excluded.alert"
                }
                Tree::SeenEvents => {
                    "INSERT INTO seen_events VALUES (?1, ?2, ?3) \
                     ON CONFLICT (integration, event_id) DO NOTHING"
                }
            };
            kept.execute(sql, params![integration, key, number])?;
        }
        fault_injection::point("keys-written");
        self.staged.written += slice.len();
        if slice.len() == rest.len() {
            self.staged.is_last_written = true;
            let sql = "UPDATE meta SET value = ?1 WHERE key = 'indexed_to'";
            kept.execute(sql, params![sorted.to])?;
            fault_injection::point("all-keys-written");
        }
        Ok(())
    }

    /// Sorts what has gathered, so that it can be written although it is little: the host rests.
    pub(super) fn sort(&mut self, highest: i64) {
        if !self.is_empty() {
            Arc::make_mut(&mut self.committed).sort(highest);
        }
    }
}

impl Committed {
    fn gather(&mut self, keys: Keys) {
        let Keys { dedup_keys, event_ids, alerts, bytes } = keys;
        let gathered = &mut self.gathered;
        let mut count = 0;
        for (into, from) in
            [(&mut gathered.dedup_keys, dedup_keys), (&mut gathered.event_ids, event_ids)]
        {
            for (integration, from) in from {
                count += from.len();
                into.entry(integration).or_default().extend(from);
            }
        }
        gathered.alerts += alerts;
        gathered.bytes += bytes;
        if self.sorted.is_some() {
            self.owed += WRITTEN_FOR_EACH * count.max(alerts);
        }
    }

    fn advance(&mut self, written: usize, is_last_written: bool) {
        let Some(sorted) = &mut self.sorted else { return };
        sorted.written += written;
        self.owed = self.owed.saturating_sub(written);
        if is_last_written {
            let to = sorted.to;
            let done = self.sorted.take();
            aside(move || drop(done));
            self.indexed_to = to;
            self.deleted.retain(|number| *number > to);
        }
    }

    fn sort(&mut self, highest: i64) {
        if self.sorted.is_some() {
            return;
        }
        let keys = Arc::new(mem::take(&mut self.gathered));
        let sorted = Sorted { keys, order: Arc::default(), written: 0, to: highest };
        let copy = sorted.clone();
        aside(move || {
            let _ = copy.order();
        });
        (self.sorted, self.owed) = (Some(sorted), 0);
    }
}

impl Sorted {
    /// Returns the keys in their order. Sorts them unless another thread does or did.
    fn order(&self) -> &[Place] {
        self.order.get_or_init(|| {
            let mut order = Vec::new();
            let trees =
                [(Tree::Problems, &self.keys.dedup_keys), (Tree::SeenEvents, &self.keys.event_ids)];
            for (tree, numbers) in trees {
                for (integration, numbers) in numbers {
                    let begin = order.len();
                    let keys = numbers.iter();
                    order.extend(keys.map(|(key, at)| (tree, *integration, Arc::clone(key), *at)));
                    order[begin..].sort_unstable_by(|one, other| one.2.cmp(&other.2));
                }
            }
            order
        })
    }
}

/// Does work on a thread of its own, so that requests need not wait for it.
fn aside(work: impl FnOnce() + Send + 'static) {
    // Without a thread, the work is done by the thread that needs it.
    let _ = thread::Builder::new().name("store-keys".into()).spawn(work);
}

/// Returns the stored form of an event id.
pub(super) fn stored<'k>(event_id: Option<&'k str>, dedup_key: Option<&str>) -> Option<&'k str> {
    if event_id.is_some() && event_id == dedup_key { Some("") } else { event_id }
}

/// Returns the event id behind its stored form.
pub(super) fn event_id<'k>(stored: Option<&'k str>, dedup_key: Option<&'k str>) -> Option<&'k str> {
    if stored == Some("") { dedup_key } else { stored }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        time::{Duration, Instant},
    };

    use tempfile::TempDir;
    use tocsin_plugin_api::{Action, Event};

    use super::*;
    use crate::alert::AlertRef;
    use crate::request::Effect;
    use crate::store::{
        AlertStore, ManualAction, RequestStore, StoreHealth,
        fixture::{by_hand, housekeep, steps, submission},
        housekeeping::{Forgettable, HousekeepingTask},
        model,
        sqlite::SqliteStore,
    };
    use crate::system::private_file::beside;

    /// Store that can be killed.
    struct Host {
        // Dropped before the folder.
        store: SqliteStore,
        folder: TempDir,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            Self { store: open(&folder.path().join("tocsin.db")), folder }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("tocsin.db")
        }

        /// Opens what a host leaves that is killed now.
        fn killed(self) -> Self {
            let left = tempfile::tempdir().expect("a folder");
            for suffix in ["", "-wal"] {
                let to = beside(&left.path().join("tocsin.db"), suffix);
                fs::copy(beside(&self.path(), suffix), to).expect("copied");
            }
            drop(self);
            Self { store: open(&left.path().join("tocsin.db")), folder: left }
        }

        fn database(&self) -> Connection {
            super::super::connect(&self.path()).expect("a database")
        }

        fn submit(&self, event: Event) -> Effect {
            self.store.submit(submission("ops", vec![event])).wait().expect("it commits")[0]
        }

        fn resolve_and_forget(&self, number: u64) {
            by_hand(&self.store, number, ManualAction::Resolve);
            let what = Forgettable::ResolvedAlerts;
            assert_eq!(
                housekeep(&self.store, HousekeepingTask::Forget { what, before: None }, 9),
                1
            );
        }

        /// Waits until the host rests, and the keys of all alerts are in the trees.
        fn rest(&self) {
            let database = self.database();
            let rests = "SELECT (SELECT max(number) FROM alerts) = \
                         (SELECT value FROM meta WHERE key = 'indexed_to')";
            let end = Instant::now() + Duration::from_secs(60);
            let rests = || database.query_row(rests, [], |row| row.get::<_, bool>(0));
            while !rests().expect("it reads") {
                assert!(Instant::now() < end, "the keys are not written");
                std::thread::yield_now();
            }
            let wrong = "SELECT count(*) FROM (
                SELECT * FROM (SELECT integration, dedup_key, max(number) FROM alerts
                    WHERE dedup_key IS NOT NULL GROUP BY 1, 2 EXCEPT SELECT * FROM problems)
                UNION ALL
                SELECT * FROM (SELECT * FROM problems EXCEPT SELECT integration, dedup_key, max(number)
                    FROM alerts WHERE dedup_key IS NOT NULL GROUP BY 1, 2)
                UNION ALL
                SELECT * FROM (SELECT integration, iif(event_id = '', dedup_key, event_id), number
                    FROM alerts WHERE event_id IS NOT NULL EXCEPT SELECT * FROM seen_events))";
            let wrong: i64 = database.query_row(wrong, [], |row| row.get(0)).expect("it reads");
            assert_eq!(wrong, 0, "the trees differ from the alerts");
        }
    }

    fn open(path: &Path) -> SqliteStore {
        SqliteStore::open(path, "a test", Arc::default()).expect("it opens")
    }

    fn create(key: &str, id: &str) -> Event {
        Event::create("x").dedup_key(key).event_id(id)
    }

    fn any_event(random: &mut fastrand::Rng, keys: u8) -> Event {
        let mut event = Event::create("x");
        event.action = match random.u8(..8) {
            0 => Action::Acknowledge,
            1 | 2 => Action::Resolve,
            _ => Action::Create,
        };
        event.dedup_key = random.bool().then(|| format!("{}", random.u8(..keys)));
        event.event_id = match random.u8(..4) {
            0 => None,
            1 => event.dedup_key.clone(),
            _ => Some(format!("{}", random.u8(..))),
        };
        event
    }

    #[test]
    fn both_keys_stay_unique_whenever_the_host_is_killed() {
        for seed in 0..6 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut host, mut sent, mut effects) = (Host::new(), Vec::new(), Vec::new());
            let keys = random.u8(2..40);
            for _ in 0..50 {
                let event = any_event(&mut random, keys);
                sent.push(event.clone());
                if random.u8(..4) == 0 {
                    let dry = host.store.rehearse(submission("ops", vec![event.clone()])).wait();
                    effects.extend(dry.expect("it can be tried"));
                    assert_eq!(effects.pop(), model::effects(&sent).pop());
                }
                effects.push(host.submit(event));
                assert_eq!(effects, model::effects(&sent), "seed {seed}");
                if random.u8(..5) == 0 {
                    host = host.killed();
                }
            }
        }
    }

    #[test]
    fn a_host_that_rests_has_written_all_keys() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut host, mut sent, mut effects) = (Host::new(), Vec::new(), Vec::new());
        for count in [1, ALERTS_TOGETHER * 3, 17] {
            for _ in 0..count {
                sent.push(any_event(&mut random, 200));
                effects.push(host.submit(sent[sent.len() - 1].clone()));
            }
            sent.push(Event::create("without a key"));
            effects.push(host.submit(sent[sent.len() - 1].clone()));
            host.rest();
            assert_eq!(effects, model::effects(&sent));
            host = host.killed();
        }
    }

    #[test]
    fn an_alert_that_is_deleted_before_its_keys_are_written_leaves_its_event_id_alone() {
        // Each is deleted in another state of its keys.
        const ALERTS: u64 = 2 * ALERTS_TOGETHER as u64;
        for is_killed in [false, true] {
            let mut host = Host::new();
            for number in 1..=ALERTS {
                let (key, id) = (format!("k{number}"), format!("e{number}"));
                assert_eq!(host.submit(create(&key, &id)), Effect::Opened(2 * number - 1));
                assert_eq!(
                    host.submit(Event::create("the newest stays")),
                    Effect::Opened(2 * number)
                );
                host.resolve_and_forget(2 * number - 1);
                if is_killed {
                    host = host.killed();
                }
                assert_eq!(host.submit(create(&key, &id)), Effect::Duplicate(None));
            }
            let opened = host.submit(create("k1", "again"));
            let Effect::Opened(number) = opened else { panic!("{opened:?}") };
            let alert = host.store.alert(AlertRef::Number(number)).wait().expect("it reads");
            assert_eq!(alert.expect("it is there").alert.previous, None);
            host.rest();
            let count = |table: &str| -> i64 {
                let sql = format!("SELECT count(*) FROM {table}");
                host.database().query_row(&sql, [], |row| row.get(0)).expect("it reads")
            };
            assert_eq!((count("problems"), count("seen_events")), (1, ALERTS as i64 + 1));
        }
    }

    #[test]
    fn an_earlier_alert_does_not_become_the_last_one_of_its_key_again() {
        let host = Host::new();
        host.submit(create("k", "1"));
        host.submit(Event::resolve("k"));
        host.rest();
        assert_eq!(host.submit(create("k", "2")), Effect::Opened(2));
        host.submit(Event::create("the newest stays"));
        by_hand(&host.store, 1, ManualAction::Note("later than the second".into()));
        host.submit(Event::resolve("k"));
        // Both are deleted, and the one that was opened last is deleted alone at first.
        let database = host.database();
        database.execute_batch("UPDATE alerts SET updated_at = number = 1").expect("changed");
        let what = Forgettable::ResolvedAlerts;
        let task = HousekeepingTask::Forget { what, before: None };
        assert_eq!(housekeep(&host.store, task.clone(), 1), 1);
        let host = host.killed();
        assert_eq!(host.submit(create("k", "3")), Effect::Opened(4));
        let opened = host.store.alert(AlertRef::Number(4)).wait().expect("it reads");
        assert_eq!(opened.expect("it is there").alert.previous, None);
        assert_eq!(steps(&host.store, &task, 9), [1]);
    }

    #[test]
    fn keys_of_a_refused_request_are_free() {
        let host = Host::new();
        let database = host.database();
        let no = "CREATE TRIGGER no BEFORE INSERT ON alerts BEGIN SELECT raise(ABORT, 'no'); END";
        database.execute_batch(no).expect("a trigger");
        host.store.submit(submission("ops", vec![create("k", "e")])).wait().expect_err("refused");
        database.execute_batch("DROP TRIGGER no").expect("it is there");
        assert_eq!(host.submit(create("k", "e")), Effect::Opened(1));
    }

    #[test]
    fn keys_that_cannot_be_written_are_bounded_and_written_later() {
        let host = Host::new();
        let database = host.database();
        let no = "CREATE TRIGGER no BEFORE INSERT ON problems BEGIN SELECT raise(ABORT, 'no'); END";
        database.execute_batch(no).expect("a trigger");
        let event = |number: usize| create(&format!("k{number}"), &format!("e{number}"));
        let submit = |number| host.store.submit(submission("ops", vec![event(number)])).wait();
        let count = (0..).find(|number| submit(*number).is_err()).expect("a bound");
        assert!((ALERTS_TOGETHER..=4 * ALERTS_TOGETHER).contains(&count), "{count}");
        assert!(submit(count).is_err());
        assert!(host.store.last_write_error().is_some());
        submit(0).expect_err("nothing is written any more");

        database.execute_batch("DROP TRIGGER no").expect("it is there");
        assert_eq!(host.submit(event(count)), Effect::Opened(count as u64 + 1));
        assert_eq!(host.submit(event(0)), Effect::Duplicate(Some(1)));
        host.rest();
    }
}

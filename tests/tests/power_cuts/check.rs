//! Opens the store of the host on a state after a cut, and compares it with the promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use rusqlite::Connection;
use tocsin::{
    alert::{Alert, PluginId, Status},
    request::{Content, Effect, RequestQuery, RequestRecord, Submission},
    store::{
        AlertQuery, Store, StoreConfig,
        audit::AuditQuery,
        deliveries::DeliveryQuery,
        feed::{Cursor, MOST_CHANGES},
    },
};
use tocsin_plugin_api::{Event, Urgency};

use crate::{
    disk::Image,
    promises::{Promise, Promises},
};

/// Path of the database in the recorded folder.
pub(crate) const DATABASE: &str = "data/tocsin.db";

/// Number of rows on a page.
const PAGE: usize = 500;

/// Writes a state into an empty folder, opens the store on it, and returns each broken promise.
pub(crate) fn broken(image: &Image, folder: &Path, promises: &Promises, cut: usize) -> Vec<String> {
    write(image, folder);
    let path = folder.join(DATABASE);
    let config = StoreConfig::Sqlite { path: path.clone() };
    let store = match tocsin::store::open(&config, "the checker", Arc::default()) {
        Ok(store) => store,
        Err(error) => return vec![format!("the store does not open: {error:#}")],
    };
    let mut findings = Findings { promises, cut, broken: Vec::new() };
    findings.look_at(&*store);
    store.close();
    drop(store);
    findings.look_into(&path);
    findings.broken
}

/// Writes the files. The lock file names inodes, which a power cut does not change: they become those of
/// the new files.
fn write(image: &Image, folder: &Path) {
    use std::os::unix::fs::MetadataExt;
    let mut inodes = BTreeMap::new();
    // The folder of the database is older than the host.
    fs::create_dir_all(folder.join(DATABASE).parent().expect("a folder")).expect("created");
    for (path, file) in &image.files {
        let to = folder.join(path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("created");
        fs::write(&to, &file.bytes).expect("written");
        inodes.insert(file.inode.to_string(), fs::metadata(&to).expect("it is there").ino());
    }
    let lock = folder.join(format!("{DATABASE}.lock"));
    let Ok(note) = fs::read_to_string(&lock) else { return };
    let Some((before, rest)) = note.split_once(" inodes ") else { return };
    let (numbers, after) = rest.split_once('\n').unwrap_or((rest, ""));
    let numbers = numbers.split(' ').map(|number| {
        // No file has inode 0.
        inodes.get(number).copied().unwrap_or_default().to_string()
    });
    let numbers = numbers.collect::<Vec<_>>().join(" ");
    fs::write(&lock, format!("{before} inodes {numbers}\n{after}")).expect("written");
}

/// Faults of the keys, each with a query that counts it.
const WRONG_KEYS: [(&str, &str); 5] = [
    (
        "event ids that opened several alerts",
        "SELECT count(*) FROM (SELECT 1 FROM alerts WHERE event_id IS NOT NULL \
         GROUP BY integration, iif(event_id = '', dedup_key, event_id) HAVING count(*) > 1)",
    ),
    (
        "dedup keys with several unresolved alerts",
        "SELECT count(*) FROM (SELECT 1 FROM alerts WHERE status < 2 AND dedup_key IS NOT NULL \
         GROUP BY integration, dedup_key HAVING count(*) > 1)",
    ),
    (
        "alerts whose event id should be in its tree and is not",
        "SELECT count(*) FROM alerts a WHERE event_id IS NOT NULL \
         AND number <= (SELECT value FROM meta WHERE key = 'indexed_to') \
         AND NOT EXISTS (SELECT 1 FROM seen_events s WHERE s.integration = a.integration \
         AND s.event_id = iif(a.event_id = '', a.dedup_key, a.event_id) AND s.alert = a.number)",
    ),
    (
        "alerts whose dedup key should be in its tree and is not",
        "SELECT count(*) FROM alerts a WHERE dedup_key IS NOT NULL \
         AND number <= (SELECT value FROM meta WHERE key = 'indexed_to') \
         AND NOT EXISTS (SELECT 1 FROM problems p WHERE p.integration = a.integration \
         AND p.dedup_key = a.dedup_key AND p.alert >= a.number)",
    ),
    (
        "dedup keys of alerts that do not exist",
        "SELECT count(*) FROM problems WHERE alert NOT IN (SELECT number FROM alerts)",
    ),
];

struct Findings<'p> {
    promises: &'p Promises,
    cut: usize,
    broken: Vec<String>,
}

impl Findings<'_> {
    fn say(&mut self, sentence: impl Into<String>) {
        self.broken.push(sentence.into());
    }

    fn look_at(&mut self, store: &dyn Store) {
        if let Err(error) = self.try_look_at(store) {
            self.say(format!("the store cannot be read: {error}"));
        }
        if let Some(damage) = store.damage_found() {
            self.say(format!("damage: {damage:?}"));
        }
    }

    fn try_look_at(&mut self, store: &dyn Store) -> Result<(), tocsin::store::StoreError> {
        let alerts = alerts(store)?;
        let requests = requests(store)?;
        let numbers: BTreeSet<_> = alerts.iter().map(|alert| alert.number).collect();
        let made = self.promises.before(self.cut);
        let is_used = !made.is_empty() || !self.promises.from_the_beginning.is_empty();
        if let Some(warning) = store.identity_warning()
            && is_used
        {
            self.say(format!("a warning without a reason: {warning}"));
        }
        self.compare_alerts(&alerts);
        self.compare_requests(&alerts, &requests);
        let acts = acts(store)?;
        for (_, id, promise) in made {
            match promise {
                Promise::Acknowledged(number) | Promise::Resolved(number) => {
                    let is_resolved = matches!(promise, Promise::Resolved(_));
                    let found = alerts.iter().find(|alert| alert.number == *number);
                    let is_kept = match found.map(|alert| alert.status) {
                        Some(status) => {
                            status == Status::Resolved
                                || status == Status::Acknowledged && !is_resolved
                        }
                        None => self.may_be_gone(*number),
                    };
                    if !is_kept {
                        self.say(format!("{promise:?} was answered and is missing"));
                    }
                    if !acts.contains(id) {
                        self.say(format!("{promise:?} was answered and is not in the audit"));
                    }
                }
                Promise::Sent => {
                    let delivery = store.delivery(id.parse().expect("an id")).wait()?;
                    let attempts = delivery.map_or(0, |found| found.delivery.attempts);
                    if attempts == 0 && !self.promises.forgets {
                        self.say(format!("message {id} was sent and its attempt is missing"));
                    }
                }
                Promise::Alert { .. } => {}
            }
        }
        for delivery in deliveries(store)? {
            if delivery.is_some_and(|number| !numbers.contains(&number)) {
                self.say(format!("a delivery about alert {delivery:?}, which is missing"));
            }
        }
        self.follow_feed(store, &numbers)?;
        self.go_on(store, numbers.last().copied().unwrap_or_default())
    }

    fn compare_alerts(&mut self, alerts: &[Alert]) {
        let mut titles = BTreeMap::<&str, usize>::new();
        for alert in alerts {
            *titles.entry(&alert.title).or_default() += 1;
        }
        let before = |title: &str| {
            let known = self.promises.from_the_beginning.iter().filter(|known| **known == title);
            known.count().max(1)
        };
        let twice = titles.iter().filter(|(title, count)| **count > before(title));
        let twice: Vec<_> = twice.map(|(title, _)| format!("twice: `{title}`")).collect();
        self.broken.extend(twice);
        let highest = alerts.iter().map(|alert| alert.number).max().unwrap_or_default();
        let numbers: BTreeSet<_> = alerts.iter().map(|alert| alert.number).collect();
        for number in (1..=highest).filter(|number| !numbers.contains(number)) {
            if !self.may_be_gone(number) {
                self.say(format!("a gap: there is no alert {number} below {highest}"));
            }
        }
        let promised = self.promises.before(self.cut).iter().filter_map(|(.., made)| match made {
            Promise::Alert { title } => Some(title),
            _ => None,
        });
        let missing: BTreeSet<_> = promised
            .chain(&self.promises.from_the_beginning)
            .filter(|title| !titles.contains_key(title.as_str()))
            .collect();
        let mut missing: Vec<_> = missing.into_iter().collect();
        // Which alerts were deleted is known by their numbers alone.
        if self.promises.forgets {
            let gone = (1..=highest).filter(|number| !numbers.contains(number)).count();
            missing.truncate(missing.len().saturating_sub(gone));
        }
        for title in missing {
            self.say(format!("`{title}` was answered 200 and is missing"));
        }
    }

    fn may_be_gone(&self, number: u64) -> bool {
        self.promises.forgets && self.promises.resolved.contains(&number)
    }

    fn compare_requests(&mut self, alerts: &[Alert], requests: &[RequestRecord]) {
        let highest = alerts.iter().map(|alert| alert.number).max().unwrap_or_default();
        let by_id: BTreeMap<_, _> =
            requests.iter().map(|record| (record.id.to_string(), record)).collect();
        for record in requests {
            let numbers = record.effects.iter().filter_map(|effect| effect.alert);
            if let Some(number) = numbers.max().filter(|number| *number > highest) {
                self.say(format!("request {} names alert {number} of {highest}", record.id));
            }
        }
        if self.promises.forgets {
            return;
        }
        for alert in alerts {
            let record = by_id.get(&alert.request_id.to_string());
            let names_it = record.is_some_and(|record| {
                record.effects.iter().any(|effect| effect.alert == Some(alert.number))
            });
            if !names_it {
                self.say(format!("no record of a request names alert {}", alert.number));
            }
        }
        for (_, id, promise) in self.promises.before(self.cut) {
            if matches!(promise, Promise::Alert { .. }) && !by_id.contains_key(id) {
                self.say(format!("request {id} was answered 200 and its record is missing"));
            }
        }
    }

    /// Reads all changes, and continues from the place up to which they were routed.
    fn follow_feed(
        &mut self,
        store: &dyn Store,
        numbers: &BTreeSet<u64>,
    ) -> Result<(), tocsin::store::StoreError> {
        let (mut cursor, mut seen) = (Cursor::start(), BTreeSet::new());
        loop {
            let page = store.changes_since(cursor, MOST_CHANGES).wait()?;
            if page.changes.is_empty() {
                break;
            }
            seen.extend(page.changes.iter().map(|change| change.alert));
            cursor = page.cursor;
        }
        if seen != *numbers {
            self.say("the feed has other alerts than the list");
        }
        if let Some(cursor) = store.router_cursor().wait()? {
            store.changes_since(cursor, 1).wait()?;
        }
        Ok(())
    }

    /// Stores another alert, which has the next number.
    fn go_on(&mut self, store: &dyn Store, highest: u64) -> Result<(), tocsin::store::StoreError> {
        let opened = store.submit(submission()).wait()?;
        if opened != [Effect::Opened(highest + 1)] {
            self.say(format!("the alert after {highest} was {opened:?}"));
        }
        Ok(())
    }

    /// Checks the file as SQLite itself does.
    fn look_into(&mut self, path: &Path) {
        let connection = Connection::open(path).expect("a database");
        for (check, good) in [("integrity_check", Some("ok")), ("foreign_key_check", None)] {
            let result =
                connection.query_row(&format!("PRAGMA {check}"), [], |row| row.get::<_, String>(0));
            match (result, good) {
                (Ok(said), Some(good)) if said == good => {}
                (Err(rusqlite::Error::QueryReturnedNoRows), None) => {}
                (result, _) => self.say(format!("{check}: {result:?}")),
            }
        }
        for (wrong, sql) in WRONG_KEYS {
            match connection.query_row(sql, [], |row| row.get::<_, i64>(0)) {
                Ok(0) => {}
                result => self.say(format!("{wrong}: {result:?}")),
            }
        }
    }
}

fn alerts(store: &dyn Store) -> Result<Vec<Alert>, tocsin::store::StoreError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let query = AlertQuery { limit: PAGE, before, ..AlertQuery::default() };
        let page = store.alerts(query).wait()?;
        all.extend(page.alerts);
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

fn requests(store: &dyn Store) -> Result<Vec<RequestRecord>, tocsin::store::StoreError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let query = RequestQuery { limit: PAGE, before, ..RequestQuery::default() };
        let page = store.requests(query).wait()?;
        all.extend(page.requests);
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

/// Returns the ids of the requests whose acts are in the audit.
fn acts(store: &dyn Store) -> Result<BTreeSet<String>, tocsin::store::StoreError> {
    let (mut all, mut before) = (BTreeSet::new(), None);
    loop {
        let query = AuditQuery { limit: PAGE, before, ..AuditQuery::default() };
        let page = store.audit(query).wait()?;
        all.extend(page.entries.iter().filter_map(|entry| entry.request).map(|id| id.to_string()));
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

/// Returns the alert of each delivery.
fn deliveries(store: &dyn Store) -> Result<Vec<Option<u64>>, tocsin::store::StoreError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let query = DeliveryQuery { limit: PAGE, before, ..DeliveryQuery::default() };
        let page = store.deliveries(query).wait()?;
        all.extend(page.deliveries.iter().map(|delivery| delivery.alert));
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

fn submission() -> Submission {
    Submission {
        request_id: "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse().expect("an id"),
        received_at: jiff::Timestamp::now(),
        integration: "afterwards".into(),
        plugin: Some(Arc::new(PluginId { name: "checker".into(), version: "1.0.0".into() })),
        sender: None,
        size_bytes: None,
        plugin_time: None,
        content: Content::Events {
            events: vec![Event::create("after the cut").into()],
            terms: Urgency::Medium.into(),
            remark: None,
        },
        kept: None,
        replayed_by: None,
        hops: 0,
        timeline: None,
    }
}

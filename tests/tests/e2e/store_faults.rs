//! A store that fails: a disk that loses data, a file that cannot be written, a lock of another
//! program, damaged pages. Every alert whose sender got 200 stays. If a message cannot be stored,
//! the answer tells the sender to retry, and a message tells the operator what to do.
//!
//! Module `full_disk` tests a full disk, module `kill_points` a host that dies.

#![expect(clippy::print_stdout, reason = "what can't be shown everywhere has to be said")]

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, chown},
    path::Path,
};

use rusqlite::Connection as Database;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use tocsin_tests::{
    Finished, Site, TestHost,
    http::{Answer, Connection, Request},
    libraries::library,
    wait,
};

use crate::load::{Load, Sent, assert_kept};

const DATABASE: &str = "tocsin.db";
const SENDERS: usize = 8;
/// A user who is not root and owns nothing.
const NOBODY: u32 = 65534;

fn site() -> Site {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    site.config("[integrations.good]\nplugin = 'well-behaved'")
}

#[track_caller]
fn assert_turned_away(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "store_unavailable"));
    assert_eq!(answer.retry_after(), 1);
}

/// Checks that every message of a load that was not answered 200 was answered with a request to
/// retry.
#[track_caller]
fn assert_others_turned_away(sent: &Sent) {
    let is_told =
        |said: &String| said.contains("status: 503") && said.contains(r#"("retry-after", "1")"#);
    let otherwise: Vec<_> = sent.refused.iter().filter(|(_, said)| !is_told(said)).collect();
    assert!(otherwise.is_empty(), "{otherwise:?}");
}

/// Returns the only reason for which the host is not ready.
#[track_caller]
fn why_unready(host: &TestHost) -> String {
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (503, &"unready".into()), "{ready}");
    ready["reasons"][0].as_str().expect("a sentence").to_owned()
}

/// Checks that the host did not start, and gave a reason and a hint.
#[track_caller]
fn assert_refuses_to_start(finished: &Finished, sentence: &str, hint: &str) {
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let said = &finished.stderr;
    assert!(said.contains("error: cannot "), "{said}");
    assert!(said.contains(sentence), "{said}");
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert!(said.contains(&format!("\nhint: {hint}")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[track_caller]
fn assert_never_panicked(host: &TestHost) {
    let panics = host.logged("thread_panicked");
    assert!(panics.is_empty(), "{panics:?}");
}

/// After a failed sync the disk may have lost earlier writes and report success for later ones, so
/// the host trusts nothing until it has read the log again.
fn nothing_is_taken_after_a_failed_sync(end: impl Fn(TestHost) -> Site) {
    const FAULT: &str = "TOCSIN_TEST_FAIL_AT";
    let host = site().env(FAULT, "sync:100").serve();
    let load = Load::start(host.webhooks(), "sync", SENDERS);
    wait::until("the disk fails", || (host.ready().0 == 503).then_some(()));
    wait::until("each sender is refused", || (load.turned_away() == SENDERS).then_some(()));
    let sent = load.sent();
    assert!(sent.accepted.len() >= 20, "{}", sent.accepted.len());
    assert_others_turned_away(&sent);

    let reason = why_unready(&host);
    assert!(reason.contains("cannot sync `"), "{reason}");
    assert!(reason.contains("hint: restart the host"), "{reason}");
    for _ in 0..20 {
        assert_turned_away(&host.post("good", "afterwards"));
    }
    let changed = host.ask_admin(&Request::post("/api/v1/alerts/1/resolve", ""));
    assert_eq!((changed.status, changed.retry_after()), (503, 1));
    why_unready(&host);

    let host = end(host).without_env(FAULT).serve();
    assert_eq!(host.ready().0, 200);
    let alerts = host.alerts();
    assert_kept(&alerts, &sent.accepted);
    // Messages that waited for the failed sync may be stored. Later ones were not even written.
    assert!(alerts.len() <= sent.accepted.len() + 2 * SENDERS, "{}", alerts.len());
    assert!(alerts.iter().all(|alert| alert["title"] != "afterwards"));
    println!(
        "{} answered 200, {} turned away, {} alerts after the restart",
        sent.accepted.len(),
        sent.refused.len(),
        alerts.len()
    );
    assert_eq!(host.post("good", "all is well").status, 200);
    host.stop();
}

#[test]
fn refuses_everything_after_a_failed_sync_until_a_kill_and_restart() {
    nothing_is_taken_after_a_failed_sync(TestHost::kill);
}

#[test]
fn refuses_everything_after_a_failed_sync_until_a_stop_and_restart() {
    nothing_is_taken_after_a_failed_sync(TestHost::stop);
}

/// A file that is immutable, so that not even a process that has it open can write it.
struct Immutable(File);

impl Immutable {
    fn make(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        ioctl_setflags(&file, ioctl_getflags(&file)? | IFlags::IMMUTABLE)?;
        Ok(Self(file))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let flags = ioctl_getflags(&self.0).expect("it had flags before");
        ioctl_setflags(&self.0, flags - IFlags::IMMUTABLE).expect("what was set can be unset");
    }
}

#[test]
fn recovers_once_the_write_ahead_log_can_be_written_again() {
    let host = site().serve();
    let mut accepted = Vec::new();
    let mut post = |host: &TestHost, message: &str| {
        let answer = host.post("good", message);
        if answer.status == 200 {
            accepted.push(message.to_owned());
        }
        answer
    };
    for count in 0..20 {
        assert_eq!(post(&host, &format!("before, {count}")).status, 200);
    }
    let log = match Immutable::make(&host.site().path(&format!("{DATABASE}-wal"))) {
        Ok(log) => log,
        Err(error) => {
            return println!("SKIPPED: no file can be made immutable here ({error})");
        }
    };
    if post(&host, "meanwhile").status == 200 {
        return println!("SKIPPED: who has an immutable file open can write it here");
    }
    assert_turned_away(&post(&host, "meanwhile"));
    let reason = why_unready(&host);
    assert!(reason.contains("hint: look at the disk of the store"), "{reason}");
    println!("{reason}");
    assert_eq!(host.alerts().len(), 20, "what was kept can be read");

    drop(log);
    wait::until("the host is ready again", || (host.ready().0 == 200).then_some(()));
    for count in 0..20 {
        assert_eq!(post(&host, &format!("afterwards, {count}")).status, 200);
    }
    assert_kept(&host.alerts(), &accepted);
    assert_eq!(host.alerts().len(), 40, "what was turned away was not kept");
    assert_kept(&host.kill().serve().alerts(), &accepted);
}

#[test]
fn reports_an_unwritable_store_at_the_start() {
    const HINT: &str = "the user that the host runs as has to be able to write";
    let Some(site) = site().owned_by(NOBODY) else { return };
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    let site = host.stop();
    let give = |name: &str, to: u32| chown(site.path(name), Some(to), Some(to)).expect("root may");

    for (what, sentence) in [
        (&[""][..], "attempt to write a readonly database"),
        (&[DATABASE], "tocsin.db`: Permission denied"),
        (&["", DATABASE], "tocsin.db`: Permission denied"),
        (&["", DATABASE, "tocsin.db.lock"], "/tocsin.db.lock`: Permission denied"),
    ] {
        what.iter().for_each(|name| give(name, 0));
        let finished = site.run(&["serve"]);
        println!("{what:?} is root's: {}", finished.stderr.trim_end());
        assert_refuses_to_start(&finished, sentence, HINT);
        what.iter().for_each(|name| give(name, NOBODY));
    }

    let host = site.serve();
    assert_eq!(host.post("good", "disk full again").status, 200);
    assert_eq!(host.alerts().len(), 2);
}

/// Another program that has the database open.
fn intruder(site: &Site) -> Database {
    let database = Database::open(site.path(DATABASE)).expect("anybody can open it");
    database.busy_timeout(wait::TIMEOUT).expect("a number");
    database
}

#[test]
fn refuses_senders_while_another_program_holds_the_lock_and_loses_nothing() {
    let host = site().serve();
    let load = Load::start(host.webhooks(), "locked", SENDERS);
    wait::until("the first answers", || (load.answered() >= 20).then_some(()));
    let intruder = intruder(host.site());
    intruder.execute_batch("BEGIN IMMEDIATE").expect("between two transactions");

    wait::until("the host gives up waiting", || (host.ready().0 == 503).then_some(()));
    let reason = why_unready(&host);
    assert!(reason.contains("database is locked; hint: another program holds it"), "{reason}");
    assert!(!reason.contains("look at the disk"), "{reason}");
    println!("{reason}");
    assert!(host.alerts().len() >= 20, "what was kept can be read");
    let before = load.answered();

    intruder.execute_batch("ROLLBACK").expect("it was begun");
    wait::until("the host answers again", || (load.answered() >= before + 20).then_some(()));
    assert_eq!(host.ready().0, 200);
    let sent = load.sent();
    assert_others_turned_away(&sent);
    assert!(!sent.refused.is_empty());
    println!("{} answered 200, {} turned away", sent.accepted.len(), sent.refused.len());
    assert_kept(&host.alerts(), &sent.accepted);
    assert_eq!(host.alerts().len(), sent.accepted.len(), "what was turned away was not kept");
    assert_kept(&host.kill().serve().alerts(), &sent.accepted);
}

#[test]
fn senders_wait_while_the_lock_is_held_briefly() {
    let host = site().serve();
    let intruder = intruder(host.site());
    intruder.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let mut waiting: Vec<_> = (0..SENDERS).map(|_| host.connect()).collect();
    for (count, connection) in waiting.iter_mut().enumerate() {
        let message = format!("message {count}");
        connection.send(&Request::post("/in/good", &message).bytes()).expect("the host reads");
    }
    assert_eq!(host.alerts().len(), 0);
    intruder.execute_batch("ROLLBACK").expect("it was begun");

    let answers = waiting.into_iter().map(|mut one| one.answer().expect("an answer"));
    let (kept, others): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
    // On a busy machine, the other program holds the lock longer.
    others.iter().for_each(assert_turned_away);
    println!("{} waited and were answered 200, {} were turned away", kept.len(), others.len());
    assert_eq!(host.alerts().len(), kept.len());
}

#[test]
fn a_host_that_cannot_lock_the_database_says_how_to_find_the_holder() {
    let site = site().serve().stop();
    let intruder = intruder(&site);
    intruder
        .execute_batch(
            "PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE; DELETE FROM meta WHERE 0; COMMIT",
        )
        .expect("nobody else has it");
    let finished = site.run(&["serve"]);
    println!("{}", finished.stderr.trim_end());
    assert_refuses_to_start(&finished, "database is locked", "another program holds it: `fuser");
    drop(intruder);
    site.serve().stop();
}

/// Alerts in the database before it is damaged: enough for a tree of many pages.
const ALERTS: usize = 400;
const PAGE: usize = 4096;

/// Returns a site with a stopped host and an intact database.
fn filled() -> Site {
    let host = site().serve();
    let mut connection = host.connect();
    for count in 0..ALERTS {
        let message = format!("message {count} {}", "x".repeat(800));
        let key = count.to_string();
        let request = Request::post("/in/good", &message);
        let request = request.header("x-dedup-key", &*key).header("x-event-id", &*key);
        assert_eq!(connection.ask(&request).expect("an answer").status, 200);
    }
    let site = host.stop();
    assert!(!site.path("tocsin.db-wal").exists(), "it is all in one file");
    site
}

/// Returns page numbers from a query of SQLite's own tables.
fn pages(site: &Site, query: &str) -> Vec<(String, u64)> {
    let database = Database::open(site.path(DATABASE)).expect("a database");
    let mut statement = database.prepare(query).expect("SQL");
    let page = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
    let pages = statement.query_map([], page).expect("pages");
    pages.collect::<Result<_, _>>().expect("names and numbers")
}

/// Returns the page numbers of the leaves of the alerts' tree.
fn leaves_of_alerts(site: &Site) -> Vec<u64> {
    let sql = "SELECT name, pageno FROM dbstat WHERE name = 'alerts' AND pagetype = 'leaf' \
               ORDER BY path";
    pages(site, sql).into_iter().map(|(_, page)| page).collect()
}

/// Bytes that are no valid page.
fn overwrite(site: &Site, page: u64) {
    let garbage: Vec<u8> = (0..PAGE).map(|place| (place * place / 7 + place * 131) as u8).collect();
    let file = OpenOptions::new().write(true).open(site.path(DATABASE)).expect("a database");
    file.write_all_at(&garbage, (page - 1) * PAGE as u64).expect("it is ours");
}

/// Returns a site with one damaged page that holds some of the alerts.
fn with_a_broken_page_of_alerts() -> Site {
    let site = filled();
    let leaves = leaves_of_alerts(&site);
    overwrite(&site, leaves[leaves.len() / 2]);
    site
}

#[test]
fn a_damaged_page_affects_only_its_own_alerts() {
    let host = with_a_broken_page_of_alerts().serve();

    let mut admin = Connection::open(host.admin()).expect("the API listens");
    let mut show = |number: usize| {
        let path = format!("/api/v1/alerts/{number}");
        admin.ask(&Request::new("GET", &path)).expect("an answer")
    };
    let (whole, broken): (Vec<_>, Vec<_>) =
        (1..=ALERTS).map(|number| (number, show(number))).partition(|(_, it)| it.status == 200);
    assert!(!broken.is_empty() && broken.len() < 20, "{} of {ALERTS}", broken.len());
    println!("{} alerts were on the page, {} are elsewhere", broken.len(), whole.len());
    broken.iter().for_each(|(_, answer)| assert_turned_away(answer));
    assert_eq!(host.api("/api/v1/alerts?limit=50")["alerts"].as_array().map(Vec::len), Some(50));
    assert_turned_away(&host.ask_admin(&Request::new("GET", "/api/v1/alerts?limit=500")));

    // Events for alerts on the page fail; others are counted, and new alerts open.
    let again = |number: usize| {
        let key = (number - 1).to_string();
        host.post_with("good", &[("x-dedup-key", &*key)], "again")
    };
    for (number, _) in &broken {
        assert_turned_away(&again(*number));
        assert_eq!(host.post("good", "another").status, 200);
    }
    for (number, _) in whole.iter().step_by(50) {
        assert_eq!(again(*number).status, 200);
        assert_eq!(host.api(&format!("/api/v1/alerts/{number}"))["occurrences"], 2);
    }
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()));
    let reason = ready["reasons"][0].as_str().expect("a sentence");
    assert!(reason.starts_with("the store is damaged") && reason.contains("; hint: "), "{reason}");
    assert_never_panicked(&host);
    let host = host.restart();
    let newest = host.api("/api/v1/alerts?limit=1");
    assert_eq!(newest["alerts"][0]["number"], ALERTS + broken.len());
}

#[test]
fn reads_of_damaged_alerts_do_not_affect_other_clients() {
    let host = with_a_broken_page_of_alerts().serve();
    let is_broken = |number: &usize| {
        let path = format!("/api/v1/alerts/{number}");
        host.ask_admin(&Request::new("GET", &path)).status == 503
    };
    let broken = (1..=ALERTS).find(is_broken).expect("it was on that page");
    let load = Load::start(host.webhooks(), "beside", SENDERS);
    wait::until("the first answers", || (load.answered() >= 20).then_some(()));
    let key = (broken - 1).to_string();
    for _ in 0..200 {
        assert_turned_away(&host.post_with("good", &[("x-dedup-key", &*key)], "again"));
    }
    let sent = load.sent();
    assert!(sent.refused.is_empty(), "{:?}", sent.refused);
    println!("{} were answered 200 beside 200 that can't be kept", sent.accepted.len());
}

#[test]
fn any_damage_is_reported_and_the_rest_is_served() {
    let site = filled();
    let whole = fs::read(site.path(DATABASE)).expect("a database");
    let trees = "SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0 ORDER BY rootpage";
    let mut cases = pages(&site, trees);
    cases.insert(0, ("the header".into(), 1));
    let leaves = leaves_of_alerts(&site);
    cases.push(("the newest alerts".into(), leaves[leaves.len() - 1]));
    let mut site = site;
    let mut counts = BTreeMap::<_, usize>::new();
    for (what, page) in cases {
        site.write(DATABASE, &whole);
        overwrite(&site, page);
        let (said, back) = behaviour_of(site, &what);
        println!("{what} (page {page}): {said}");
        *counts.entry(said).or_default() += 1;
        site = back;
    }
    site.write(DATABASE, &whole[..whole.len() / 2]);
    let (said, site) = behaviour_of(site, "half of it");
    println!("half of it: {said}");
    assert!(said.starts_with("refuses"), "{said}");
    assert!(counts.keys().any(|said| said.starts_with("refuses")), "{counts:?}");

    // Restoring a backup repairs the store.
    site.write(DATABASE, &whole);
    let host = site.serve();
    assert_eq!(host.alerts().len(), ALERTS);
    assert_eq!(host.ready().0, 200);
}

/// Starts a host on a damaged database, and returns what the host does.
fn behaviour_of(site: Site, what: &str) -> (String, Site) {
    const HINT: &str = "the file is damaged or no database: put a backup in its place";
    let host = match site.try_serve() {
        Ok(host) => host,
        Err((site, finished)) => {
            let sentence = if what == "the header" { "not a database" } else { "malformed" };
            assert_refuses_to_start(&finished, sentence, HINT);
            return ("refuses to start, and says so".into(), site);
        }
    };
    let (mut kept, mut turned_away) = (0, 0);
    for headers in [&[][..], &[("x-dedup-key", "200")], &[("x-event-id", "200")]] {
        let answer = host.post_with("good", headers, "disk full");
        if answer.status == 200 {
            kept += 1;
        } else {
            assert_turned_away(&answer);
            turned_away += 1;
        }
    }
    for path in ["alerts?limit=500", "requests?limit=500", "alerts/1"] {
        let answer = host.ask_admin(&Request::new("GET", &format!("/api/v1/{path}")));
        assert!(matches!(answer.status, 200 | 503), "{what}: {answer:?}");
    }
    if turned_away > 0 {
        host.wait_for_event("store_commit_failed");
    }
    let (status, ready) = host.ready();
    assert_eq!(status, if kept == 0 { 503 } else { 200 }, "{what}: {ready}");
    let is_said = ready["reasons"].to_string().contains("the store is damaged");
    assert!(is_said || turned_away == 0, "{what}: {ready}");
    assert_never_panicked(&host);
    (format!("serves: {kept} kept, {turned_away} turned away"), host.stop())
}

//! `tocsin backup` and `tocsin restore`: a backup has every alert that was acknowledged before it began, and
//! a restore never mixes two databases. If either is refused, nothing is changed and no file is left behind.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
};

use rusqlite::Connection as Database;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use tocsin_tests::{Finished, Site, TestHost, http::Request, libraries::library, wait};

use crate::load::{Load, assert_numbered};

const DATABASE: &str = "tocsin.db";

fn site() -> Site {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    site.config("[integrations.good]\nplugin = 'well-behaved'")
}

/// Asks the host for a backup through the API.
#[track_caller]
fn back_up(host: &TestHost, query: &str) -> Value {
    let answer = host.ask_admin(&Request::post(&format!("/api/v1/backup{query}"), ""));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Returns the names in the folder of a site that contain a text.
fn names(site: &Site, part: &str) -> Vec<String> {
    let entries = fs::read_dir(site.path("")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("a name in UTF-8"));
    let mut names: Vec<_> = names.filter(|name| name.contains(part)).collect();
    names.sort();
    names
}

fn titles(host: &TestHost) -> BTreeSet<String> {
    let title = |alert: &Value| alert["title"].as_str().expect("a title").to_owned();
    host.alerts().iter().map(title).collect()
}

#[track_caller]
fn assert_refused(finished: &Finished, code: i32, parts: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for part in parts {
        assert!(finished.stderr.contains(part), "no `{part}`: {}", finished.stderr);
    }
    assert!(finished.stderr.contains("\nhint: "), "{}", finished.stderr);
}

#[test]
fn a_backup_under_load_has_every_alert_that_was_acknowledged_before_it() {
    let rounds: usize = if std::env::var_os("TOCSIN_DRILL").is_some() { 20 } else { 3 };
    let host = site().serve();
    let load = Load::start(host.webhooks(), "under load", 8);
    let mut restored = site();
    for round in 1..=rounds {
        let before = load.answered();
        wait::until("more is acknowledged", || (load.answered() >= before + 50).then_some(()));
        let acknowledged = load.accepted_so_far();
        // The host makes the backup, or a command beside it.
        let path = if round % 2 == 1 {
            back_up(&host, "?keep=1")["path"].as_str().expect("a path").to_owned()
        } else {
            let made = host.site().run(&["backup", "--to", "beside.db", "--replace"]);
            assert_eq!(made.code, Some(0), "{made:?}");
            host.site().path("beside.db").to_str().expect("a path in UTF-8").to_owned()
        };
        let finished = restored.run(&["restore", &path]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let new = restored.serve();
        let alerts = new.alerts();
        assert_numbered(&alerts);
        let found = titles(&new);
        let lost: Vec<_> = acknowledged.iter().filter(|title| !found.contains(*title)).collect();
        assert!(lost.is_empty(), "acknowledged before the backup and not in it: {lost:?}");
        assert_eq!(new.reasons(), [""; 0], "a restored store is as it should be");
        println!("round {round}: {} acknowledged, {} restored", acknowledged.len(), alerts.len());
        restored = new.stop();
    }
    let sent = load.sent();
    assert!(sent.refused.is_empty(), "a backup turns nobody away: {:?}", sent.refused);
    assert_eq!(host.times_logged("backup_completed"), rounds.div_ceil(2));
}

#[test]
fn a_backup_is_one_private_file_and_older_ones_are_deleted_on_request() {
    let host = site().serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    let first = back_up(&host, "");
    assert_eq!(first["alerts"], 1, "{first}");
    assert_eq!(first["deleted"], Value::Array(Vec::new()));
    let path = first["path"].as_str().expect("a path").to_owned();
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::metadata(&path).expect("it is there").len(), first["bytes"]);
    assert!(!names(host.site(), "tocsin.db.backup-")[0].contains("partial"));

    assert_eq!(host.post("good", "disk full").status, 200);
    let second = back_up(&host, "?keep=1");
    assert_eq!(second["deleted"], Value::from(vec![path]), "{second}");
    assert_eq!(names(host.site(), "tocsin.db.backup-").len(), 1);
    let refused = host.ask_admin(&Request::post("/api/v1/backup?keep=0", ""));
    assert_eq!(refused.status, 400, "{refused:?}");

    // Without a host, the command does the same.
    let site = host.stop();
    let made = site.run(&["backup", "--keep", "2", "--json"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let made: Value = serde_json::from_str(&made.stdout).expect("JSON");
    assert_eq!(made["alerts"], 2, "{made}");
    assert_eq!(names(&site, "tocsin.db.backup-").len(), 2);
    // After a kill, the newest alerts are only in the log, which stays as it is.
    let host = site.serve();
    assert_eq!(host.post("good", "only in the log").status, 200);
    let site = host.kill();
    let log = fs::read(site.path("tocsin.db-wal")).expect("a log");
    let made = site.run(&["backup", "--to", "killed.db"]);
    assert!(made.stdout.contains("is a verified backup: 3 alerts"), "{made:?}");
    assert_eq!(fs::read(site.path("tocsin.db-wal")).expect("a log"), log);
    assert_eq!(names(&site, "killed.db"), ["killed.db"]);
    assert_eq!(site.serve().alerts().len(), 3);
}

#[test]
fn a_backup_goes_to_the_folder_of_the_configuration() {
    let text = "[store]\nbackup_dir = 'backups'\n[integrations.good]\nplugin = 'well-behaved'";
    let host = site().config(text).serve();
    let failed = host.ask_admin(&Request::post("/api/v1/backup", ""));
    assert_eq!((failed.status, failed.error_code().as_str()), (500, "not_backed_up"));
    assert!(
        failed.body.contains("the folder `backups` for the backup does not exist"),
        "{failed:?}"
    );
    fs::create_dir(host.site().path("backups")).expect("a folder");
    let made = host.run(&["backup"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("/backups/tocsin.db.backup-"), "{made:?}");
    assert_eq!(fs::read_dir(host.site().path("backups")).expect("a folder").count(), 1);
}

#[test]
fn refuses_to_write_a_backup_where_it_would_do_harm() {
    let host = site().serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    let site = host.site();
    symlink(DATABASE, site.path("link.db")).expect("linked");
    site.write("precious", "do not overwrite");
    for file in [DATABASE, "tocsin.db-wal", "tocsin.db.lock", "link.db"] {
        let refused = site.run(&["backup", "--to", file, "--replace"]);
        assert_refused(&refused, 1, &[&format!("`{file}` is a file of the store itself")]);
    }
    let refused = site.run(&["backup", "--to", "precious"]);
    assert_refused(&refused, 1, &["`precious` exists already", "--replace"]);
    let refused = site.run(&["backup", "--to", "missing/backup.db"]);
    assert_refused(&refused, 1, &["the folder `missing` for the backup does not exist"]);
    assert_refused(&host.run(&["backup", "--to", "new.db"]), 2, &["cannot be used with a URL"]);
    assert_eq!(fs::read_to_string(site.path("precious")).expect("there"), "do not overwrite");

    // A limit on the size of files stands for a full disk.
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = |current| {
        let limit = Rlimit { current, maximum };
        prlimit(Some(host.pid()), Resource::Fsize, limit).expect("the host is ours");
    };
    limit(Some(32 * 1024));
    let refused = host.run(&["backup"]);
    limit(maximum);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("hint: free disk space"), "{refused:?}");
    host.wait_for_event("backup_failed");
    assert_eq!(names(site, "partial"), [""; 0]);
    assert_eq!(names(site, "backup"), [""; 0]);
    assert_eq!(host.post("good", "the host goes on").status, 200);
    assert_eq!(host.run(&["backup"]).code, Some(0));
    assert_eq!(host.restart().alerts().len(), 2);
}

/// Returns a site with a stopped host and alerts in many pages.
fn filled(alerts: usize) -> Site {
    let host = site().serve();
    let mut connection = host.connect();
    for count in 0..alerts {
        let message = format!("message {count} {}", "x".repeat(800));
        assert_eq!(
            connection.ask(&Request::post("/in/good", &message)).expect("an answer").status,
            200
        );
    }
    host.stop()
}

/// Overwrites a page of alerts with bytes that are no page.
fn damage(site: &Site, name: &str) {
    let database = Database::open(site.path(name)).expect("a database");
    let sql = "SELECT max(pageno) FROM dbstat WHERE name = 'alerts' AND pagetype = 'leaf'";
    let page: i64 = database.query_row(sql, [], |row| row.get(0)).expect("a page");
    drop(database);
    let file = OpenOptions::new().write(true).open(site.path(name)).expect("a database");
    file.write_all_at(&[0x5a; 4096], (page.cast_unsigned() - 1) * 4096).expect("written");
}

#[test]
fn no_backup_is_made_of_a_damaged_database() {
    let site = filled(60);
    let good = site.run(&["backup", "--to", "good.db"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    damage(&site, DATABASE);
    let refused = site.run(&["backup", "--to", "bad.db"]);
    assert_refused(&refused, 1, &["the database is damaged", "restore an earlier backup"]);
    assert_eq!(names(&site, "bad.db"), [""; 0]);
    let finished = site.run(&["restore", "good.db"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(site.serve().alerts().len(), 60);
}

#[test]
fn refuses_to_restore_what_cannot_be_used_and_changes_nothing() {
    let site = filled(60);
    for name in ["newer.db", "damaged.db", "cut.db"] {
        let made = site.run(&["backup", "--to", name]);
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let newer = Database::open(site.path("newer.db")).expect("a database");
    newer.execute_batch("PRAGMA user_version = 9999").expect("written");
    drop(newer);
    damage(&site, "damaged.db");
    let whole = fs::read(site.path("cut.db")).expect("a backup");
    site.write("cut.db", &whole[..whole.len() / 2]);
    let other = Database::open(site.path("other.db")).expect("a database");
    other.execute_batch("CREATE TABLE t (x)").expect("written");
    drop(other);
    site.write("empty.db", "");
    site.write("notes.txt", "Remember to make backups. ".repeat(1000));

    let before = fs::read(site.path(DATABASE)).expect("a database");
    for (file, part) in [
        ("newer.db", "it was written by a newer Tocsin (schema 9999"),
        ("damaged.db", "the database is damaged"),
        ("cut.db", "the database is damaged"),
        ("other.db", "it is no database of Tocsin"),
        ("empty.db", "it is no database of Tocsin"),
        ("notes.txt", "it is no database"),
    ] {
        let refused = site.run(&["restore", file]);
        println!("{}", refused.stderr.trim_end());
        assert_refused(&refused, 1, &[part, &format!("cannot restore `{file}`")]);
    }
    for (file, part) in [
        ("missing.db", "cannot restore `missing.db`: No such file"),
        ("plugins", "it is not a file"),
        (DATABASE, "it is the store itself"),
    ] {
        let refused = site.run(&["restore", file]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    assert_eq!(fs::read(site.path(DATABASE)).expect("a database"), before);
    assert_eq!(names(&site, "restoring"), [""; 0]);
    assert_eq!(names(&site, "replaced"), [""; 0]);

    let made = site.run(&["backup", "--to", "good.db"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let host = site.serve();
    let refused = host.site().run(&["restore", "good.db"]);
    let holder = format!("is in use by the tocsin process {}", host.pid());
    assert_refused(&refused, 1, &[&holder, "stop that host"]);
    assert_eq!(host.post("good", "the host goes on").status, 200);
    assert_eq!(host.restart().alerts().len(), 61);
}

#[test]
fn a_restore_keeps_the_former_database_with_its_log() {
    let host = site().serve();
    assert_eq!(host.post("good", "in the backup").status, 200);
    let made = host.site().run(&["backup", "--to", "backup.db"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(host.post("good", "after the backup").status, 200);
    // The log of the killed host belongs to the same run as the backup.
    let site = host.kill();
    let finished = site.run(&["restore", "backup.db", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(report["alerts"], 1, "{report}");
    let former = report["former"].as_str().expect("a path").to_owned();
    let mode = fs::metadata(site.path(DATABASE)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let host = site.serve();
    assert_eq!(titles(&host), BTreeSet::from(["in the backup".to_owned()]));
    assert_eq!(host.reasons(), [""; 0], "the operator wanted an older state");
    assert_eq!(host.post("good", "after the restore").status, 200);
    let site = host.stop();
    let finished = site.run(&["restore", &former]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let expected = ["after the backup", "in the backup"].map(str::to_owned);
    assert_eq!(titles(&site.serve()), BTreeSet::from(expected));
}

#[test]
fn a_backup_that_is_copied_into_place_is_not_mixed_with_the_log_of_a_killed_host() {
    let host = site().serve();
    assert_eq!(host.post("good", "in the backup").status, 200);
    let made = host.site().run(&["backup", "--to", "backup.db"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(host.post("good", "after the backup").status, 200);
    let site = host.kill();
    let backup = fs::read(site.path("backup.db")).expect("a backup");
    site.write(DATABASE, backup);
    let host = site.serve();
    assert_eq!(titles(&host), BTreeSet::from(["in the backup".to_owned()]));
    let reasons = host.reasons();
    assert!(reasons.iter().any(|it| it.contains(".db-wal.orphaned-")), "{reasons:?}");
}

#[test]
fn a_copy_of_the_database_of_a_running_host_without_its_log_is_recognized() {
    let host = site().serve();
    assert_eq!(host.post("good", "only in the log").status, 200);
    let copy = site();
    fs::copy(host.site().path(DATABASE), copy.path(DATABASE)).expect("a copy");
    fs::copy(host.site().path(DATABASE), copy.path("bare.db")).expect("a copy");
    let whole = site();
    for name in [DATABASE, "tocsin.db-wal"] {
        fs::copy(host.site().path(name), whole.path(name)).expect("a copy");
    }
    let stopped = site();
    let site = host.stop();
    fs::copy(site.path(DATABASE), stopped.path(DATABASE)).expect("a copy");

    let host = copy.serve();
    let reasons = host.reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let said = &reasons[0];
    assert!(said.contains("holds no alerts, though it was copied from a host"), "{said}");
    assert!(said.contains("; hint: stop the host, and restore a file that"), "{said}");
    host.wait_for_event("unexpected_store");
    let host = host.restart();
    assert_eq!(host.reasons(), [""; 0], "it is said once");
    let copy = host.stop();
    let restored = copy.run(&["restore", "bare.db"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(
        restored.stderr.contains("warning: `bare.db` was copied from a running"),
        "{restored:?}"
    );

    for complete in [whole, stopped] {
        let host = complete.serve();
        assert_eq!((host.reasons(), host.alerts().len()), (Vec::new(), 1));
    }
    // A host that was killed leaves its log.
    let host = site.serve().kill().serve();
    assert_eq!(host.reasons(), [""; 0]);
}

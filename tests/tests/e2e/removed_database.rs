//! Database files that are removed or replaced while a host runs or between two runs: every alert
//! whose sender got 200 survives a restart, and the host reports what happened to the files.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use tocsin_tests::{
    Site, TestHost,
    libraries::{library, tocsin},
    wait,
};

use crate::load::{Load, assert_kept};

const DATABASE: &str = "tocsin.db";

fn site() -> Site {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    site.config("[integrations.good]\nplugin = 'well-behaved'")
}

/// Returns the files beside the database whose names go on with a suffix.
fn beside(site: &Site, more: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.path("")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let begins = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with(&format!("{DATABASE}{more}"))
    };
    paths.filter(begins).collect()
}

/// Waits until the host reports that it can store nothing more, and returns the reason.
fn refusing(host: &TestHost) -> String {
    let ready = wait::until("the host is not ready", || {
        let (status, ready) = host.ready();
        (status == 503).then_some(ready)
    });
    ready["reasons"][0].as_str().expect("a sentence").to_owned()
}

#[test]
fn removing_or_replacing_files_under_load_loses_nothing_answered_200() {
    type Deed = fn(&Site);
    let deeds: [(&str, &str, Deed); 3] = [
        ("the database", "was removed while", |site| {
            fs::remove_file(site.path(DATABASE)).expect("it is there");
        }),
        ("the write-ahead log", "was removed while", |site| {
            fs::remove_file(site.path("tocsin.db-wal")).expect("it is there");
        }),
        ("the database", "was replaced by another file while", |site| {
            fs::rename(site.path("backup.db"), site.path(DATABASE)).expect("it is there");
        }),
    ];
    for (file, what, deed) in deeds {
        let site = site().serve().stop();
        fs::copy(site.path(DATABASE), site.path("backup.db")).expect("a backup");
        let host = site.serve();
        let load = Load::start(host.webhooks(), "under way", 4);
        wait::until("the first answers", || (load.answered() >= 50).then_some(()));
        deed(host.site());
        let reason = refusing(&host);
        assert!(reason.contains(file) && reason.contains(what), "{reason}");
        assert!(reason.contains("; hint: stop the host with SIGTERM"), "{reason}");
        host.wait_for_event("store_lost");
        assert_eq!(host.times_logged("store_lost"), 1);
        assert_eq!(host.metric("tocsin_store_lost"), Some(1.0));
        let accepted = load.accepted();
        let refused = host.post("good", "too late");
        assert_eq!((refused.status, refused.retry_after()), (503, 1));
        let check = host.site().run(&["check"]);
        assert_eq!(check.code, Some(2), "{check:?}");
        assert!(check.stderr.contains(what), "{check:?}");
        assert!(check.stderr.contains("while the tocsin process"), "{check:?}");

        let site = host.stop();
        let saved = beside(&site, ".saved-");
        assert_eq!(saved.len(), 1, "{saved:?}");
        // The log says to move the saved file into place.
        for left in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(site.path(&format!("{DATABASE}{left}")));
        }
        fs::rename(&saved[0], site.path(DATABASE)).expect("renamed");
        let host = site.serve();
        assert_kept(&host.alerts(), &accepted);
        println!("{file} {what}: {} were answered 200, and all are there", accepted.len());
    }
}

#[test]
fn a_restored_backup_is_not_mixed_with_the_previous_database() {
    type Deed = fn(&Site);
    let deeds: [(&str, Deed); 3] = [
        ("renamed", |site| {
            fs::rename(site.path("restored.db"), site.path(DATABASE)).expect("renamed");
        }),
        // The file system may reuse the inode number of the old file.
        ("removed and copied", |site| {
            fs::remove_file(site.path(DATABASE)).expect("removed");
            fs::copy(site.path("restored.db"), site.path(DATABASE)).expect("copied");
        }),
        ("copied over it", |site| {
            let backup = fs::read(site.path("restored.db")).expect("a backup");
            site.write(DATABASE, backup);
        }),
    ];
    let mut site = site().serve().stop();
    fs::copy(site.path(DATABASE), site.path("backup.db")).expect("a backup");
    for (how, deed) in deeds {
        fs::copy(site.path("backup.db"), site.path("restored.db")).expect("a copy");
        let host = site.serve();
        for count in 0..20 {
            assert_eq!(host.post("good", &format!("{how}, {count}")).status, 200);
        }
        let killed = host.kill();
        deed(&killed);
        let host = killed.serve();
        assert_eq!(host.alerts().len(), 0, "{how}: the backup had none");
        let reasons = host.reasons();
        assert!(reasons.iter().any(|it| it.contains(".db-wal.orphaned-")), "{how}: {reasons:?}");
        assert_eq!(host.post("good", "afterwards").status, 200, "{how}");
        let host = host.restart();
        assert_eq!(host.alerts().len(), 1, "{how}: it is whole");
        site = host.stop();
        fs::copy(site.path("backup.db"), site.path(DATABASE)).expect("from the beginning");
    }
}

#[test]
fn a_folder_copied_after_a_crash_keeps_its_log() {
    let host = site().serve();
    assert_eq!(host.post("good", "in the log alone").status, 200);
    let killed = host.kill();
    let copy = site();
    for name in [DATABASE, "tocsin.db-wal", "tocsin.db.lock"] {
        fs::copy(killed.path(name), copy.path(name)).expect("a copy");
    }
    assert_eq!(copy.serve().alerts().len(), 1);
    assert_eq!(killed.serve().alerts().len(), 1);
}

#[test]
fn saves_a_database_that_is_removed_just_before_the_stop() {
    for removes_all in [false, true] {
        let host = site().serve();
        assert_eq!(host.post("good", "kept").status, 200);
        if removes_all {
            for path in beside(host.site(), "") {
                fs::remove_file(path).expect("it is there");
            }
        } else {
            fs::remove_file(host.site().path(DATABASE)).expect("it is there");
        }
        let site = host.stop();
        let saved = beside(&site, ".saved-");
        assert_eq!(saved.len(), 1, "{saved:?}");
        let name = saved[0].file_name().expect("a name").to_string_lossy().into_owned();
        let check = site.run(&["check"]);
        assert_eq!(check.code, Some(2), "{check:?}");
        assert!(check.stderr.contains(&name) && check.stderr.contains("hint: move"), "{check:?}");
        let host = site.serve();
        assert!(host.reasons().iter().any(|it| it.contains(&name)), "{:?}", host.reasons());
        let site = host.stop();
        for left in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(site.path(&format!("{DATABASE}{left}")));
        }
        fs::rename(&saved[0], site.path(DATABASE)).expect("renamed");
        assert_eq!(site.serve().alerts().len(), 1);
    }
}

#[test]
fn removing_the_lock_file_lets_no_second_host_in() {
    let host = site().serve();
    assert_eq!(host.post("good", "one").status, 200);
    fs::remove_file(host.site().path("tocsin.db.lock")).expect("it is there");
    let second = host.site().run(&["serve"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("is in use by another host"), "{second:?}");
    assert_eq!(host.post("good", "two").status, 200, "the first has not noticed");
    assert_eq!(host.restart().alerts().len(), 2);
}

#[test]
fn refuses_a_symlink_as_lock_file_and_leaves_its_target_alone() {
    let site = site();
    site.write("precious", "do not overwrite");
    symlink(site.path("precious"), site.path("tocsin.db.lock")).expect("a link");
    let finished = site.run(&["serve"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("it is a symlink, which is not followed"), "{finished:?}");
    assert_eq!(fs::read_to_string(site.path("precious")).expect("there"), "do not overwrite");
}

#[test]
fn a_second_writer_is_an_error_and_never_a_duplicate() {
    let host = site().serve();
    assert_eq!(host.post("good", "ours").status, 200);
    let other = rusqlite::Connection::open(host.site().path(DATABASE)).expect("a database");
    let clash = "INSERT INTO alerts SELECT number + 1, integration, plugin, status, urgency, \
                 occurrences, created_at, updated_at, request, 'theirs', description, dedup_key, \
                 link, details, last_occurred_at, due_at, previous, transaction_id, hops, 0, NULL, \
                 NULL, NULL, NULL FROM alerts";
    other.execute_batch(clash).expect("written");
    let refused = host.post("good", "clashes");
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "store_unavailable"));
    let reason = refusing(&host);
    assert!(reason.contains("another program has written to the database"), "{reason}");
}

#[test]
fn reports_a_database_that_is_missing_at_the_next_start() {
    let host = site().serve();
    assert_eq!(host.post("good", "one").status, 200);
    let site = host.stop();
    fs::remove_file(site.path(DATABASE)).expect("it is there");
    let check = site.run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(
        check.stderr.contains("is missing or empty, though a host used a database"),
        "{check:?}"
    );

    let host = site.serve();
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()), "{ready}");
    let reason = ready["reasons"][0].as_str().expect("a sentence");
    assert!(
        reason.contains("is empty, though a host used a database with alerts up to #1"),
        "{reason}"
    );
    assert_eq!(host.times_logged("unexpected_store"), 1);
    assert_eq!(host.post("good", "goes on").status, 200);
    let host = host.restart();
    assert_eq!(host.reasons(), [""; 0], "it is said once");
}

#[test]
fn files_of_the_host_cannot_be_read_by_others() {
    use std::{
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
    };

    let site = site();
    let mut text = fs::read_to_string(site.path("tocsin.toml")).expect("a configuration");
    text.push_str("[store]\nurl = 'sqlite:data/tocsin.db'\n");
    site.write("tocsin.toml", text);
    fs::create_dir(site.path("data")).expect("a folder");
    // A umask that removes no permission.
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$0\" serve --config tocsin.toml"]).arg(tocsin());
    shell.current_dir(site.path("")).stderr(Stdio::null());
    let mut child = shell.spawn().expect("it starts");
    let mode = |path: &str| {
        let metadata = fs::metadata(site.path(path)).ok()?;
        Some(metadata.permissions().mode() & 0o777)
    };
    let modes = wait::until("the store is open", || {
        let names = ["", "-wal", "-shm", ".lock", ".loading"];
        let modes: Option<Vec<_>> =
            names.iter().map(|name| mode(&format!("data/tocsin.db{name}"))).collect();
        modes
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(modes, [0o600; 5]);
}

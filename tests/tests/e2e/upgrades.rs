//! Plugins are upgraded while the host runs: a version that is dropped in takes over, a defective
//! one changes nothing, and no sender notices.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;
use tocsin_tests::{
    Site, TestHost,
    libraries::{self, library},
    wait,
};

use crate::load::{Load, assert_kept};

const CONFIG: &str = "[watch]\nsettle = '50ms'\n[integrations.good]\nplugin = 'well-behaved'\n";
const FILE: &str = "libwell_behaved.so";

/// Builder of versions of one plugin, each in its own file.
pub(super) struct Versions {
    folder: TempDir,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(super) fn well_behaved(&self, version: &str) -> PathBuf {
        libraries::with_version(&library("well-behaved"), version, self.folder.path())
    }

    /// Returns the library of another plugin, with the name of this plugin.
    pub(super) fn pretended(&self, package: &str, version: &str) -> PathBuf {
        let renamed = libraries::with_name(&library(package), "well-behaved", self.folder.path());
        libraries::with_version(&renamed, version, self.folder.path())
    }
}

/// Starts a watching host that serves `well-behaved` 1.0.0.
pub(super) fn host() -> TestHost {
    Site::new().plugin(&library("well-behaved")).config(CONFIG).serve()
}

/// Posts a message, and returns the plugin version that made its alert.
#[track_caller]
pub(super) fn served_by(host: &TestHost, integration: &str) -> String {
    let answer = host.post(integration, "disk full");
    assert_eq!(answer.status, 200, "{answer:?}");
    let alert = host.alerts().into_iter().find(|alert| alert["request_id"] == answer.request_id());
    alert.expect("it is kept")["plugin"]["version"].as_str().expect("a version").to_owned()
}

/// Waits until the host reports a problem with a file, and returns the problem.
pub(super) fn problem(host: &TestHost, file: &str) -> String {
    wait::until(&format!("something is wrong with {file}"), || {
        let list = host.api("/api/v1/plugins");
        let found = list["plugins"].as_array()?.iter().find(|plugin| plugin["file"] == file)?;
        found["problem"].as_str().map(without_times)
    })
}

pub(super) fn without_times(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, replacement) in
        [(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"), (r"\.rs:\d+:\d+", ".rs:[PLACE]")]
    {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into();
    }
    text
}

pub(super) fn waiting(host: &TestHost) -> Vec<(String, String)> {
    let integration = host.integration("good");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let waiting = integration["waiting"].as_array().expect("a list").iter();
    waiting.map(|one| (text(&one["version"]), text(&one["reason"]))).collect()
}

#[test]
fn dropping_the_older_file_again_rolls_back() {
    let (host, versions) = (host(), Versions::new());
    // A rename replaces the loaded file.
    host.site().replace(&versions.well_behaved("1.0.1"), FILE);
    host.wait_for_version("good", "1.0.1");
    host.site().replace(&library("well-behaved"), FILE);
    host.wait_for_version("good", "1.0.0");
    assert_eq!(served_by(&host, "good"), "1.0.0");
    assert_eq!(host.integration("good")["generation"], 3);
    host.stop();
}

#[test]
fn narrowing_the_version_rolls_back() {
    let versions = Versions::new();
    let site = Site::new().plugin(&library("well-behaved")).config(CONFIG);
    site.drop_in(&versions.well_behaved("1.0.1"), "newer.so");
    let host = site.serve();
    assert_eq!(served_by(&host, "good"), "1.0.1");
    host.site().configure(&format!("{CONFIG}version = '=1.0.0'\n"));
    host.wait_for_version("good", "1.0.0");
    assert_eq!(waiting(&host), [("1.0.1".into(), "not_allowed".into())]);
}

#[test]
fn other_bytes_of_the_same_version_take_over() {
    let (host, versions) = (host(), Versions::new());
    let rebuilt = libraries::stripped(&library("well-behaved"), versions.folder.path());
    host.site().replace(&rebuilt, FILE);
    wait::until("the new file is loaded", || {
        (host.integration("good")["generation"] == 2).then_some(())
    });
    assert_eq!(served_by(&host, "good"), "1.0.0");
    assert_eq!(host.reasons(), [""; 0]);
}

#[test]
fn the_version_of_a_removed_file_serves_until_its_integration_changes() {
    let versions = Versions::new();
    let site = Site::new().plugin(&library("well-behaved")).config(CONFIG);
    site.drop_in(&versions.well_behaved("1.0.1"), "newer.so");
    let host = site.serve();
    fs::remove_file(host.site().plugins().join("newer.so")).expect("it is there");
    let notice = wait::until("the host has noticed the removal", || {
        host.integration("good")["notice"].as_str().map(str::to_owned)
    });
    assert_snapshot!(notice, @"is served by well-behaved 1.0.1, whose file is no longer in the folder; hint: copy the version that should serve into the folder, again if it is there already; otherwise well-behaved 1.0.1 serves until the integration is changed or the host restarts");
    assert_eq!(host.reload().status, 200);
    assert_eq!(served_by(&host, "good"), "1.0.1");
    assert_eq!(host.integration("good")["generation"], 1);
    assert!(host.run(&["plugins"]).stdout.contains(&notice));

    host.site().configure(&format!("{CONFIG}urgency = 'high'\n"));
    host.wait_for_version("good", "1.0.0");
    assert_eq!(host.integration("good")["notice"], Value::Null);
}

#[test]
fn a_partly_written_file_changes_nothing_until_it_is_complete() {
    let (host, versions) = (host(), Versions::new());
    let whole = fs::read(versions.well_behaved("1.0.1")).expect("it can be read");
    let (first, second) = whole.split_at(whole.len() / 2);
    // `cp` overwrites the serving file in place.
    let mut file = fs::File::create(host.site().plugins().join(FILE)).expect("it can be written");
    file.write_all(first).expect("it can be written");
    // The host may see the file while it is empty.
    let said = wait::until("the host has seen the partial file", || {
        Some(problem(&host, FILE)).filter(|said| said.contains("truncated"))
    });
    assert_snapshot!(said, @"is truncated: its headers point behind its end; hint: copy it again, to another name first, and rename it when the copy is complete");
    assert_eq!(served_by(&host, "good"), "1.0.0");
    file.write_all(second).expect("it can be written");
    drop(file);
    host.wait_for_version("good", "1.0.1");
    assert_eq!(served_by(&host, "good"), "1.0.1");
}

#[test]
fn two_files_replaced_in_the_same_second_both_take_over() {
    let versions = Versions::new();
    let other = |version| {
        let renamed =
            libraries::with_name(&library("well-behaved"), "other", versions.folder.path());
        libraries::with_version(&renamed, version, versions.folder.path())
    };
    let site = Site::new().plugin(&library("well-behaved"));
    site.drop_in(&other("1.0.0"), "other.so");
    let host = site.config(&format!("{CONFIG}[integrations.other]\nplugin = 'other'\n")).serve();
    let (one, two) = (versions.well_behaved("1.0.1"), other("1.0.2"));
    host.site().replace(&one, FILE);
    host.site().replace(&two, "other.so");
    host.wait_for_version("good", "1.0.1");
    host.wait_for_version("other", "1.0.2");
    assert_eq!(
        (served_by(&host, "good"), served_by(&host, "other")),
        ("1.0.1".into(), "1.0.2".into())
    );
}

#[test]
fn holds_back_a_version_that_panics_in_new() {
    let (host, versions) = (host(), Versions::new());
    host.site().replace(&versions.pretended("bad-panics-in-new", "1.0.1"), "newer.so");
    assert_snapshot!(problem(&host, "newer.so"), @"does not serve integration `good`, which well-behaved 1.0.0 still serves: plugin `well-behaved 1.0.1` panicked: asked to panic (tests/bad/bad-panics-in-new/src/lib.rs:[PLACE]) while it was started; hint: report it to the plugin's author, or drop in another version");
    assert_eq!(served_by(&host, "good"), "1.0.0");
    assert_eq!(host.integration("good")["generation"], 1);
    assert_eq!(waiting(&host), [("1.0.1".into(), "failed".into())]);
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()));

    // The host tries the version again on request, but not when another file changes.
    let times_tried = |host: &TestHost| host.times_logged("plugin_version_held_back");
    wait::until("the event is logged", || (times_tried(&host) == 1).then_some(()));
    host.site().drop_in(&library("bad-never-returns"), "another.so");
    problem(&host, "another.so");
    assert_eq!(times_tried(&host), 1);
    host.reload();
    wait::until("the host tries the plugin again", || (times_tried(&host) == 2).then_some(()));

    // A restart keeps the older version in service.
    let host = host.restart();
    assert_eq!(served_by(&host, "good"), "1.0.0");
    problem(&host, "newer.so");
    assert_eq!(host.site().run(&["check"]).code, Some(0));

    // A repaired file takes over.
    host.site().replace(&versions.well_behaved("1.0.1"), "newer.so");
    host.wait_for_version("good", "1.0.1");
    wait::until("the file has no problem", || {
        fs::remove_file(host.site().plugins().join("another.so")).ok();
        host.reasons().is_empty().then_some(())
    });
}

#[test]
fn holds_back_a_version_that_refuses_the_current_options() {
    let (host, versions) = (host(), Versions::new());
    host.site().configure(&format!("{CONFIG}options.prefix = 'x'\n"));
    wait::until("the host has read the file", || {
        (host.integration("good")["generation"] == 2).then_some(())
    });
    host.site().replace(&versions.pretended("slack-outgoing-webhook", "1.0.1"), "newer.so");
    assert_snapshot!(problem(&host, "newer.so"), @"does not serve integration `good`, which well-behaved 1.0.0 still serves: tocsin.toml:8:10: `integrations.good.options.prefix`: unknown field `prefix`, expected one of `token`, `unauthenticated`, `urgency_pattern`, `urgencies`, `bots`, `channels`, `trigger_words`, `reply`; hint: see the options of plugin `well-behaved`");
    assert_eq!(served_by(&host, "good"), "1.0.0");

    // A configuration with valid options lets the version take over at the same time.
    host.site().configure(&format!("{CONFIG}options.unauthenticated = true\n"));
    host.wait_for_version("good", "1.0.1");
    assert_eq!(host.post("good", "text=disk+full").status, 200);
}

#[test]
fn serves_whatever_happens_to_the_files_in_the_plugins_dir() {
    let host = host();
    let path = host.site().plugins().join(FILE);
    let original = fs::read(&path).expect("it can be read");
    let serves = || assert_eq!(host.post("good", "disk full").status, 200);
    for round in 0..20 {
        match round % 4 {
            0 => fs::write(&path, b"").expect("it can be written"),
            1 => fs::write(&path, &original[..round * 1000]).expect("it can be written"),
            2 => fs::remove_file(&path).expect("it is there"),
            _ => fs::write(&path, &original).expect("it can be written"),
        }
        serves();
        host.reload();
        serves();
    }
    assert_eq!(host.integration("good")["generation"], 1, "the same bytes came back each time");
}

#[test]
fn loads_only_the_libraries_in_use_out_of_five_hundred() {
    let versions = Versions::new();
    let small = libraries::stripped(&library("well-behaved"), versions.folder.path());
    let site = Site::new().config(CONFIG);
    site.drop_in(&small, FILE);
    for count in 0..499 {
        let other = libraries::with_name(&small, &format!("other-{count}"), &site.plugins());
        assert!(other.starts_with(site.plugins()));
    }
    let started = Instant::now();
    let host = site.serve();
    // Printed for the reader: a test has no limit on speed.
    println!("500 libraries admitted and the host ready within {:?}", started.elapsed());
    assert_eq!(host.post("good", "disk full").status, 200);
    let list = host.api("/api/v1/plugins");
    let states = |state: &str| {
        let plugins = list["plugins"].as_array().expect("a list").iter();
        plugins.filter(|plugin| plugin["state"] == state).count()
    };
    assert_eq!((states("loaded"), states("unused")), (1, 499));
    assert_eq!(mapped_plugins(&host), 1);
}

/// Counts the mapped plugins, as the kernel lists them.
fn mapped_plugins(host: &TestHost) -> usize {
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid().as_raw_nonzero()));
    let maps = maps.expect("the host runs");
    let inodes = maps.lines().filter(|line| line.contains("/memfd:"));
    let mut inodes: Vec<_> = inodes.filter_map(|line| line.split_whitespace().nth(4)).collect();
    inodes.sort_unstable();
    inodes.dedup();
    inodes.len()
}

/// Replaces the serving file by the other version, and waits until that version serves.
fn swap(host: &TestHost, to: &Path, version: &str) {
    host.site().replace(to, FILE);
    host.wait_for_version("good", version);
}

#[test]
fn fifty_upgrades_under_load_lose_nothing_and_leave_nothing_behind() {
    let versions = Versions::new();
    let site = Site::new().plugin(&library("well-behaved"));
    let host = site.config(&CONFIG.replace("50ms", "10ms")).serve();
    let (old, new) = (library("well-behaved"), versions.well_behaved("1.0.1"));
    let round = || {
        for (path, version) in [(&new, "1.0.1"), (&old, "1.0.0")] {
            swap(&host, path, version);
            assert_eq!(served_by_now(&host), version);
        }
    };
    // Both versions are loaded, and no sender is connected.
    round();
    let (files, mapped) = (host.open_files(), mapped_plugins(&host));
    assert_eq!(mapped, 2);
    let (load, started) = (Load::start(host.webhooks(), "upgrade", 16), Instant::now());
    for _ in 0..25 {
        round();
    }
    let rate = load.answered() as f64 / started.elapsed().as_secs_f64();
    println!("{} messages at {rate:.0} a second during 50 upgrades", load.answered());
    let most_threads = host.kernel_says("Threads");
    let sent = load.sent();
    assert!(sent.refused.is_empty(), "{:?}", sent.refused);
    wait::until("no more files are open than before", || {
        (host.open_files() <= files).then_some(())
    });
    assert_eq!(mapped_plugins(&host), mapped);
    assert!(most_threads <= 32, "{most_threads} threads");
    let alerts = host.alerts();
    assert_kept(&alerts, &[sent.accepted, vec![]].concat());
    for version in ["1.0.0", "1.0.1"] {
        let made = alerts.iter().filter(|alert| alert["plugin"]["version"] == version).count();
        println!("{version} made {made} of {} alerts", alerts.len());
        assert!(made > 0);
    }
    assert_eq!(host.integration("good")["generation"], 1 + 2 * 26);
    host.stop();
}

/// Posts a message, and returns the plugin version that its request record names.
fn served_by_now(host: &TestHost) -> String {
    let answer = host.post("good", &format!("probe {}", ulid()));
    assert_eq!(answer.status, 200, "{answer:?}");
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    record["plugin"]["version"].as_str().expect("a version").to_owned()
}

/// Returns a text that was not sent before.
fn ulid() -> u128 {
    use std::time::SystemTime;
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos()
}

#[test]
fn memory_stays_level_over_upgrades() {
    let versions = Versions::new();
    // Without this setting, the allocator may keep the bytes of a plugin file, some megabytes, for
    // a while.
    let site = Site::new().plugin(&library("well-behaved")).env("MIMALLOC_PURGE_DELAY", "0");
    let host = site.config(CONFIG).serve();
    let (old, new) = (library("well-behaved"), versions.well_behaved("1.0.1"));
    let swap = |to: &Path| {
        host.site().replace(to, FILE);
        assert_eq!(host.reload().status, 200);
    };
    let round = || [&new, &old].into_iter().for_each(|to| swap(to));
    // The lowest of several readings counts, since a plugin may be loading at some of them.
    let least_of_ten_rounds = || {
        let after_each = (0..10).map(|_| {
            round();
            host.kernel_says("RssAnon")
        });
        after_each.min().expect("ten")
    };
    let before_kb = least_of_ten_rounds();
    for _ in 0..240 {
        round();
    }
    let after_kb = least_of_ten_rounds();
    println!("{before_kb} kB after 20 upgrades, {after_kb} kB after 520");
    // Memory varies by some megabytes over thousands of upgrades, so more than 34 kB for each is a
    // leak.
    assert!(after_kb < before_kb + 16 * 1024, "{before_kb} kB grew to {after_kb} kB");
}

#[test]
fn concurrent_reloads_all_succeed() {
    let (host, versions) = (host(), Versions::new());
    host.site().replace(&versions.well_behaved("1.0.1"), FILE);
    thread::scope(|scope| {
        let asks: Vec<_> = (0..16).map(|_| scope.spawn(|| host.reload().status)).collect();
        for ask in asks {
            assert_eq!(ask.join().expect("no panic"), 200);
        }
    });
    assert_eq!(host.integration("good")["generation"], 2);
    assert_eq!(served_by(&host, "good"), "1.0.1");
}

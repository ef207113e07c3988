//! Histories of a host, and power cuts in them. The machine of these tests never loses its power: the host
//! is recorded by the library `recorder`, and a model of a disk makes the states.

#![expect(clippy::print_stdout, reason = "the figures, and the seed that a failed run needs")]

use std::{env, fs, path::Path};

use tocsin_tests::{libraries::workspace, receiver::Receiver, wait};

use crate::{
    check::DATABASE,
    checker::{Effort, Report, cut_everywhere},
    recording::{History, Recording, Skip},
    trace::Call,
};

/// Seed of the usual run. A drill draws its own.
const SEED: u64 = 20_261_128;

/// Returns the bounds for a history that may be cut at so many points, and ten times as many in a drill.
fn effort(cuts: usize) -> Effort {
    if is_drill() {
        Effort { cuts: cuts * 10, most: 1024, samples: 16 }
    } else {
        Effort { cuts, most: 128, samples: 6 }
    }
}

fn is_drill() -> bool {
    env::var_os("TOCSIN_DRILL").is_some()
}

fn seed() -> u64 {
    if is_drill() { fastrand::u64(..) } else { SEED }
}

fn cut(history: &History, cuts: usize) -> Report {
    let seed = seed();
    let report = cut_everywhere(history, effort(cuts), seed);
    println!(
        "{}: {} calls, {} promises, {} cuts ({} with every choice), {} states, {} violations; seed {seed}",
        history.name,
        history.trace.len(),
        history.promises.made.len(),
        report.cuts,
        report.exhaustive,
        report.states,
        report.violations.len(),
    );
    report
}

#[track_caller]
fn assert_kept(history: &History, cuts: usize) {
    let report = cut(history, cuts);
    for violation in report.violations.iter().take(5) {
        println!("{violation:#?}");
    }
    assert!(report.violations.is_empty(), "{} violations", report.violations.len());
}

fn first_start(skip: Skip) -> History {
    let recording = Recording::start("", None, skip);
    recording.send(["one", "two", "three"].map(String::from));
    recording.acknowledge(2);
    recording.stopped("the first start")
}

#[test]
fn nothing_acknowledged_is_lost_from_the_first_start_on() {
    assert_kept(&first_start(Skip::Nothing), 40);
}

#[test]
fn nothing_acknowledged_is_lost_under_load_with_deliveries_and_kills() {
    let receiver = Receiver::good();
    let config = format!(
        "[destinations.out]\nplugin = 'notifier-well-behaved'\nallow_networks = ['127.0.0.0/8']\n\
         allow_http = true\ndigest_above = 0\n[destinations.out.options]\nurl = '{}'\nsecret = 's3cret-token'\n",
        receiver.url("/hook")
    );
    let recording = Recording::start(&config, None, Skip::Nothing);
    recording.send_at_once("before the kill", 6, 6);
    recording.acknowledge(3);
    recording.resolve(4);
    arrive(&receiver, 10);
    let recording = recording.kill_and_start();
    recording.send_at_once("after the kill", 3, 4);
    let recording = recording.restart();
    recording.send_at_once("after the restart", 3, 4);
    recording.resolve(5);
    arrive(&receiver, 20);
    let history = recording.killed("load, deliveries, kills", Some(receiver.address().port()));
    assert!(history.promises.made.len() > 60, "hardly a load");
    assert_kept(&history, 60);
}

fn arrive(receiver: &Receiver, count: usize) {
    wait::until("messages arrive", || (receiver.count() >= count).then_some(()));
}

#[test]
fn nothing_acknowledged_is_lost_around_a_checkpoint() {
    let recording = Recording::start("", None, Skip::Nothing);
    let before = writes_to_the_database(&recording);
    let mut sent = 0;
    while writes_to_the_database(&recording) == before {
        assert!(sent < 20_000, "no checkpoint comes");
        recording.send((0..100).map(|count| format!("message {}", sent + count)));
        sent += 100;
    }
    recording.send_at_once("after the checkpoint", 3, 3);
    assert_kept(&recording.killed("a checkpoint", None), 12);
}

fn writes_to_the_database(recording: &Recording) -> usize {
    let trace = recording.trace();
    let writes = trace.iter().filter(|record| {
        matches!(record.call, Call::Write { .. }) && record.path == Path::new(DATABASE)
    });
    writes.count()
}

#[test]
fn nothing_acknowledged_is_lost_while_old_data_is_deleted() {
    let recording = Recording::start(
        "[requests]\nkeep = 'all'\n\
         [retention]\nresolved_alerts = '1s'\nrecords = '1s'\nraw_requests = '1s'\n",
        None,
        Skip::Nothing,
    );
    recording.send_at_once("old", 2, 6);
    for number in 2..9 {
        recording.resolve(number);
    }
    wait::until("resolved alerts are deleted", || {
        (recording.host().alerts().len() == 5).then_some(())
    });
    recording.send_at_once("new", 2, 3);
    let mut history = recording.killed("housekeeping", None);
    history.promises.forgets = true;
    assert_kept(&history, 40);
}

#[test]
fn nothing_is_lost_in_an_upgrade_of_the_schema() {
    let folder = workspace().join("host/src/store/sqlite/upgrades");
    let newest = (1..).take_while(|schema| folder.join(format!("{schema}.db")).exists()).last();
    let newest = newest.expect("a database of an earlier schema");
    let database = fs::read(folder.join(format!("{newest}.db"))).expect("a database");
    let alerts = fs::read_to_string(folder.join(format!("{newest}.alerts.jsonl")));
    let alerts = alerts.expect("its alerts");
    let title = |line: &str| {
        let alert: serde_json::Value = serde_json::from_str(line).expect("JSON");
        alert["title"].as_str().expect("a title").to_owned()
    };
    let recording = Recording::start("", Some(&database), Skip::Nothing);
    recording.send(["after the upgrade"].map(String::from));
    let mut history = recording.stopped("an upgrade");
    history.promises.from_the_beginning = alerts.lines().map(title).collect();
    assert_kept(&history, 40);
}

#[track_caller]
fn assert_found(history: &History, what: &str) {
    let report = cut(history, 20);
    let found = report.violations.iter().flat_map(|(_, broken)| broken);
    let found: Vec<_> = found.filter(|sentence| sentence.contains(what)).collect();
    assert!(!found.is_empty(), "it is not found: {:#?}", report.violations);
    println!("{}: found {} times, such as: {}", history.name, found.len(), found[0]);
}

#[test]
fn finds_that_a_host_without_syncs_loses_messages() {
    let history = History { name: "without syncs", ..first_start(Skip::Files) };
    assert_found(&history, "was answered 200 and is missing");
}

#[test]
fn finds_that_a_host_without_syncs_of_folders_loses_messages() {
    let history = History { name: "without syncs of folders", ..first_start(Skip::Folders) };
    assert_found(&history, "was answered 200 and is missing");
}

#[test]
fn finds_that_answers_before_the_sync_lose_messages() {
    let history = first_start(Skip::Nothing).with_late_syncs();
    let history = History { name: "answers before the sync", ..history };
    assert_found(&history, "was answered 200 and is missing");
}

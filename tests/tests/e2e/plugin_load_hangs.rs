//! If a plugin hangs while it is loaded or while its instance is made, the host gives it up: the
//! host serves the other plugins and stops when told to, and the next start does not load the
//! plugin.

use std::{fs, path::Path, thread};

use insta::assert_snapshot;
use rustix::process::Signal;
use tocsin_tests::{
    Site, TestHost,
    libraries::{library, with_name, with_version},
    wait,
};

use crate::bad_plugins::{file_name, normalized, sentence};

const GOOD: &str =
    "[plugins]\ncall_deadline = '5s'\n[integrations.good]\nplugin = 'well-behaved'\n";
const SLEEPS: &str = "[integrations.bad]\nplugin = 'bad-sleeps-in-load'\n";

/// Serves integration `good` without watching, with another plugin in the folder.
fn host(bad: &Path) -> TestHost {
    let site = Site::new().plugin(&library("well-behaved")).plugin(bad);
    let host = site.config(&format!("[watch]\nenabled = false\n{GOOD}")).serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    host
}

fn configure(site: &Site, others: &str) {
    site.configure(&format!("[watch]\nenabled = false\n{GOOD}{others}"));
}

fn hangs_in_new(name: &str, options: &str) -> String {
    format!("[integrations.{name}]\nplugin = 'bad-dies-in-new'\noptions.how = '{options}'\n")
}

fn journal(site: &Site) -> String {
    fs::read_to_string(site.path("tocsin.db.loading")).unwrap_or_default()
}

/// Sends requests of senders and operators until the end.
fn ask_everything(host: &TestHost, is_over: impl Fn() -> bool) -> usize {
    let mut rounds = 0;
    while !is_over() {
        assert_eq!(host.post("good", "disk full").status, 200);
        assert_eq!(host.ready().0, 200);
        host.api("/api/v1/plugins");
        host.api("/api/v1/integrations");
        rounds += 1;
    }
    rounds
}

#[test]
fn a_plugin_that_hangs_in_an_initializer_delays_nobody() {
    let bad = library("bad-sleeps-in-load");
    let host = host(&bad);
    configure(host.site(), SLEEPS);
    thread::scope(|scope| {
        let reload = scope.spawn(|| host.reload());
        let rounds = ask_everything(&host, || reload.is_finished());
        assert!(rounds > 1, "nobody was answered before it was given up");
        assert_eq!(reload.join().expect("it is answered").status, 200);
    });
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-sleeps-in-load` 0.1.0 did not finish loading within 5s; it was tried in a sandbox, and the host does not load it; hint: drop in another version, or try again with `tocsin plugins retry bad-sleeps-in-load`");
    assert_eq!(host.post("bad", "disk full").status, 503);
    assert_eq!(host.metric("tocsin_stuck_threads"), Some(0.0), "the host did not map it");
    assert_eq!(journal(host.site()), "");
    host.stop();
}

#[test]
fn serves_a_plugin_that_is_dropped_in_after_a_hanging_one() {
    let (bad, folder) = (library("bad-sleeps-in-load"), tempfile::tempdir().expect("a folder"));
    let host = host(&bad);
    let other = with_name(&library("well-behaved"), "other", folder.path());
    host.site().drop_in(&other, "other.so");
    configure(host.site(), &format!("{SLEEPS}[integrations.other]\nplugin = 'other'\n"));
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.post("other", "disk full").status, 200);

    // Later plugins and upgrades are not held up either.
    let newer = with_version(&library("well-behaved"), "2.0.0", folder.path());
    host.site().drop_in(&newer, "newer.so");
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.alerts()[0]["plugin"]["version"], "2.0.0");
    assert_eq!(host.post("bad", "disk full").status, 503);
}

#[test]
fn a_plugin_that_dies_in_the_sandbox_does_not_harm_the_host() {
    let bad = library("bad-dies-in-sandbox");
    let host = host(&bad);
    configure(host.site(), "[integrations.bad]\nplugin = 'bad-dies-in-sandbox'\n");
    assert_eq!(host.reload().status, 200);
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-dies-in-sandbox` 0.1.0 killed the process that loaded it: SIGABRT; it was tried in a sandbox, and the host does not load it; hint: drop in another version, or try again with `tocsin plugins retry bad-dies-in-sandbox`");
    assert_eq!(journal(host.site()), "", "the host never came near it");

    let retry = host.run(&["plugins", "retry", "bad-dies-in-sandbox"]);
    assert_eq!(retry.code, Some(0), "{retry:?}");
    assert!(retry.stdout.contains("killed the process that loaded it"), "{retry:?}");
    let host = host.restart();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.post("bad", "disk full").status, 503);
}

#[test]
fn a_plugin_that_dies_in_schema_does_not_harm_the_host() {
    let bad = library("bad-dies-in-schema");
    let host = host(&bad);
    configure(host.site(), "[integrations.bad]\nplugin = 'bad-dies-in-schema'\n");
    assert_eq!(host.reload().status, 200);
    let answer = host.post("bad", "disk full");
    assert_eq!(answer.status, 503);
    // To redact secrets, the host asks a loaded plugin for its schema.
    host.run(&["requests", "show", answer.request_id()]);
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-dies-in-schema` 0.1.0 killed the process that asked for its schema: SIGABRT (its stack has overflowed); it was tried in a sandbox, and the host does not load it; hint: drop in another version, or try again with `tocsin plugins retry bad-dies-in-schema`");
    let host = host.restart();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.site().run(&["check"]).code, Some(2));
}

#[test]
fn a_plugin_that_hangs_in_schema_does_not_delay_the_host() {
    let bad = library("bad-schema-never-comes");
    let host = host(&bad);
    configure(host.site(), "[integrations.bad]\nplugin = 'bad-schema-never-comes'\n");
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.post("bad", "disk full").status, 503);
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-schema-never-comes` 0.1.0 did not give its schema within 5s; it was tried in a sandbox, and the host does not load it; hint: drop in another version, or try again with `tocsin plugins retry bad-schema-never-comes`");
    host.stop();
}

#[test]
fn a_plugin_that_hangs_in_new_is_tried_once_for_the_same_options() {
    let host = host(&library("bad-dies-in-new"));
    let names = ["a", "b", "c"];
    let hang: String = names.iter().map(|name| hangs_in_new(name, "hang")).collect();
    configure(host.site(), &format!("{hang}{}", hangs_in_new("well", "live")));
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.metric("tocsin_stuck_threads"), Some(1.0));
    let labels = r#"{integration="a",plugin="bad-dies-in-new",version="0.1.0"}"#;
    assert_eq!(host.metric(&format!("tocsin_plugin_stuck_threads{labels}")), Some(1.0));
    for name in names {
        let problem = host.integration(name)["problem"].as_str().map(normalized);
        let problem = problem.expect("it did not start");
        assert!(problem.contains("did not start within 5s, at [TIME]"), "{problem}");
    }
    for well in ["good", "well"] {
        assert_eq!(host.post(well, "disk full").status, 200);
    }
    assert!(journal(host.site()).contains("bad-dies-in-new"), "it has not come back yet");
}

#[test]
fn a_stop_while_a_plugin_hangs_ends_the_host_and_sets_the_plugin_aside() {
    let host = host(&library("bad-dies-in-new"));
    configure(host.site(), &format!("{}{}", hangs_in_new("a", "hang"), hangs_in_new("b", "wait")));
    host.signal(Signal::HUP);
    wait::until("the instance is being made", || {
        journal(host.site()).contains("bad-dies-in-new").then_some(())
    });
    let site = host.stop();
    let lines = journal(&site);
    assert_eq!(lines.lines().count(), 1, "what was next was not begun: {lines}");
    assert!(lines.contains(r#""has_hung":true"#), "{lines}");

    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    for left_aside in ["a", "b"] {
        assert_eq!(host.post(left_aside, "disk full").status, 503);
    }
    assert_snapshot!(sentence(&host, "libbad_dies_in_new.so"), @"plugin `bad-dies-in-new` 0.1.0 was still being loaded when the host was stopped, since [TIME], so it is set aside; hint: drop in another version, or try again with `tocsin plugins retry bad-dies-in-new`");
}

#[test]
fn check_ends_despite_a_plugin_that_hangs_in_an_initializer() {
    let site = Site::new().plugin(&library("well-behaved")).plugin(&library("bad-sleeps-in-load"));
    let check = site.config(&format!("{GOOD}{SLEEPS}")).run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.contains("did not finish loading within 5s"), "{check:?}");
}

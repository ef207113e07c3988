//! A bad plugin affects only the integrations that use it: the host starts, and the other
//! integrations serve. The API, readiness and the command line show one sentence about the fault of
//! the plugin.

use std::{fs, path::Path};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;
use tocsin_tests::{
    Site, TestHost,
    libraries::{self, library},
    wait,
};

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

/// Returns a site with a working plugin and its integration `good`, and an integration `bad` of
/// another plugin.
pub(crate) fn site(plugin: &str) -> Site {
    let bad = format!("[integrations.bad]\nplugin = '{plugin}'\n");
    Site::new().plugin(&library("well-behaved")).config(&format!("{GOOD}{bad}"))
}

pub(crate) fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// Returns the sentence about a file, after checking that API, health and command line all show it.
#[track_caller]
pub(crate) fn sentence(host: &TestHost, file: &str) -> String {
    sentence_while(host, file, (200, "degraded"))
}

/// Returns the same sentence of a host whose readiness is expected to be another one.
#[track_caller]
pub(crate) fn sentence_while(host: &TestHost, file: &str, expected: (u16, &str)) -> String {
    let problem = |list: &Value| {
        let mut plugins = list["plugins"].as_array().expect("a list").iter();
        let plugin = plugins.find(|plugin| plugin["file"] == file).expect("the file is listed");
        plugin["problem"].as_str().unwrap_or_else(|| panic!("no problem: {plugin}")).to_owned()
    };
    let json = host.run(&["plugins", "--json"]);
    assert_eq!(json.code, Some(0), "{json:?}");
    let said = problem(&serde_json::from_str(&json.stdout).expect("JSON"));
    let said = without_countdown(&said);

    assert_eq!(without_countdown(&problem(&host.api("/api/v1/plugins"))), said);
    let line = format!("`{file}` {said}");
    let reasons: Vec<_> = host.reasons().iter().map(|reason| without_countdown(reason)).collect();
    assert!(reasons.contains(&line), "{line}\nis missing in\n{reasons:#?}");
    let (status, ready) = host.ready();
    assert_eq!((status, ready["status"].as_str().expect("a state")), expected);
    let table = host.run(&["plugins"]);
    assert!(without_countdown(&table.stdout).contains(&line), "{line}\nis missing in\n{table:?}");

    assert!(said.contains("; hint: "), "what is to be done? {said}");
    assert!(!said.contains('\n'), "{said}");
    normalized(&said)
}

/// Replaces the seconds until the breaker's next try, which differ between two reads.
fn without_countdown(text: &str) -> String {
    Regex::new(r"for another \d+ s").expect("a pattern").replace_all(text, "for another N s").into()
}

/// Replaces times, source lines and versions, which differ between runs.
pub(crate) fn normalized(sentence: &str) -> String {
    let mut text = sentence.to_owned();
    for (pattern, replacement) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[TIME]"),
        (r"\.rs:\d+:\d+", ".rs:[PLACE]"),
        (r"this host has \d+\.\d+\.\d+", "this host has [VERSION]"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into();
    }
    text
}

/// Checks every promise about an unusable file, and returns the sentence about it.
#[track_caller]
pub(super) fn refused(bad: &Path, plugin: &str) -> String {
    let (site, file) = (site(plugin).plugin(bad), file_name(bad));
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    let answer = host.post("bad", "disk full");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
    assert_eq!(answer.retry_after(), 1);
    let said = sentence(&host, file);

    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    let warning = normalized(&check.stderr);
    assert!(warning.contains(&format!("warning: `{file}` {said}")), "{said}\nis not in {warning}");
    assert!(warning.contains(": `integrations.bad.plugin`: "), "{warning}");
    let reasons = host.reasons();
    assert!(reasons.iter().any(|reason| reason.starts_with("integration `bad`: ")), "{reasons:?}");

    // If no enabled integration needs the file, the sentence is a warning.
    host.site().configure(GOOD);
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stderr.contains(&format!("warning: `{file}` ")), "{check:?}");
    host.reload();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.post("bad", "disk full").status, 404);
    host.stop();
    said
}

#[test]
fn refuses_a_plugin_built_with_panic_abort() {
    assert_snapshot!(refused(&libraries::panic_abort(), "bad-panic-abort"), @r#"is plugin `bad-panic-abort` 0.1.0, built with `panic = "abort"`, so that a panic in it would end this host; hint: build it with `panic = "unwind"`, the default"#);
}

#[test]
fn refuses_a_library_without_a_manifest() {
    assert_snapshot!(refused(&library("bad-no-manifest"), "bad-no-manifest"), @"has no `.tocsin.manifest` section, so it is no Tocsin plugin; hint: export the plugin with `export_plugin!`, and remove what is no plugin");
}

#[test]
fn refuses_a_plugin_without_a_layout_check() {
    assert_snapshot!(refused(&library("bad-layout-unchecked"), "bad-layout-unchecked"), @"plugin `bad-layout-unchecked` 0.1.0 has its layout check switched off, so nothing shows that its functions are what they claim; hint: export it with `export_plugin!`");
}

#[test]
fn refuses_a_plugin_for_another_major_version_of_plugin_api() {
    assert_snapshot!(refused(&libraries::pretended("2.0.0"), "pretended-later"), @"is plugin `pretended-later` 1.0.0, built for plugin-api 2.0.0; this host has [VERSION]; hint: upgrade the host, or drop in a version of the plugin for this one");
}

#[test]
fn refuses_a_plugin_with_a_capability_that_this_host_does_not_know() {
    assert_snapshot!(refused(&libraries::pretended_echo(), "pretended-echo"), @"is plugin `pretended-echo` 1.0.0, which needs the capability `echo`; this host knows `receive`, `notify`; hint: upgrade the host to one with plugin-api 1.2.0, or drop in a version of the plugin that does not need `echo`");
}

#[test]
fn refuses_a_truncated_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let truncated = libraries::truncated(&library("bad-never-returns"), folder.path());
    assert_snapshot!(refused(&truncated, "bad-never-returns"), @"is truncated: its headers point behind its end; hint: copy it again, to another name first, and rename it when the copy is complete");
}

#[test]
fn refuses_a_plugin_for_another_architecture() {
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = libraries::other_machine(&library("bad-never-returns"), folder.path());
    assert_snapshot!(refused(&foreign, "bad-never-returns"), @"is built for AArch64, this host runs on x86-64; hint: build the plugin for this machine");
}

#[test]
fn a_panic_in_new_breaks_only_that_integration_until_its_options_change() {
    let bad = library("bad-panics-in-new");
    let host = site("bad-panics-in-new").plugin(&bad).serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    let answer = host.post("bad", "disk full");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-panics-in-new 0.1.0` panicked: asked to panic (tests/bad/bad-panics-in-new/src/lib.rs:[PLACE]), at [TIME]; hint: report it to the plugin's author, or drop in another version");
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.contains(": `integrations.bad.plugin`: "), "{check:?}");

    let suits = "[integrations.bad]\nplugin = 'bad-panics-in-new'\noptions = { panic = false }\n";
    host.site().configure(&format!("{GOOD}{suits}"));
    host.reload();
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!(host.site().run(&["check"]).code, Some(0));
    host.stop();
}

#[test]
fn a_panic_in_drop_is_reported_and_the_integration_serves() {
    let bad = library("bad-panics-in-drop");
    let host = site("bad-panics-in-drop").plugin(&bad).serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-panics-in-drop 0.1.0` panicked: not without a fight (tests/bad/bad-panics-in-drop/src/lib.rs:[PLACE]) in its destructor, at [TIME]; hint: report it to the plugin's author, or drop in another version");
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "it serves: {check:?}");
    assert!(check.stderr.contains("in its destructor"), "{check:?}");

    // Both a reload and the stop drop the instance.
    host.reload();
    assert_eq!(host.post("bad", "disk full").status, 200);
    host.stop();
}

#[test]
fn after_a_panic_in_a_call_a_new_instance_serves_the_next() {
    let bad = library("bad-panics-in-receive");
    let host = site("bad-panics-in-receive").plugin(&bad).serve();
    for body in ["do panic", "panic payload"] {
        let answer = host.post("bad", body);
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
        assert_eq!(answer.retry_after(), 1);
        assert!(!answer.body.contains("asked to panic"), "the detail is for the log: {answer:?}");
        assert_eq!(host.post("bad", "disk full").status, 200);
        assert_eq!(host.post("good", "disk full").status, 200);
    }
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-panics-in-receive 0.1.0` panicked: a panic without a message (tests/bad/bad-panics-in-receive/src/lib.rs:[PLACE]), at [TIME]; hint: report it to the plugin's author, or drop in another version");
    let panics = r#"{integration="bad",plugin="bad-panics-in-receive",version="0.1.0"}"#;
    assert_eq!(host.metric(&format!("tocsin_plugin_panics_total{panics}")), Some(2.0));
    // The file itself has no defect.
    assert_eq!(host.site().run(&["check"]).code, Some(0));
    assert_eq!(host.alerts().len(), 4);
}

#[test]
fn repeated_panics_open_the_breaker() {
    let bad = library("bad-panics-in-receive");
    let host = site("bad-panics-in-receive").plugin(&bad).serve();
    for _ in 0..3 {
        assert_eq!(host.post("bad", "do panic").status, 503);
    }
    // The first back-off lasts five seconds, the second ten, which gives a slow machine the time to
    // see both.
    wait::until("the breaker is open again", || {
        assert_eq!(host.post("bad", "do panic").status, 503);
        (host.integration("bad")["breaker"]["trips"] == 2).then_some(())
    });
    let answer = host.post("bad", "disk full");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
    assert!((2..=10).contains(&answer.retry_after()), "{answer:?}");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-panics-in-receive 0.1.0` panicked: asked to panic (tests/bad/bad-panics-in-receive/src/lib.rs:[PLACE]), at [TIME]; it is not called for another N s; hint: report it to the plugin's author, or drop in another version");
    let integrations = host.api("/api/v1/integrations");
    let state = |at: usize| integrations["integrations"][at]["state"].clone();
    assert_eq!((state(0), state(1)), ("broken".into(), "serving".into()), "{integrations}");

    wait::until("the host tries the plugin again", || {
        (host.post("bad", "disk full").status == 200).then_some(())
    });
    let integrations = host.api("/api/v1/integrations");
    assert_eq!(integrations["integrations"][0]["state"], "serving");
}

#[test]
fn records_a_request_on_which_a_plugin_failed() {
    let host = site("bad-panics-in-receive").plugin(&library("bad-panics-in-receive")).serve();
    let answer = host.post("bad", "do panic");
    let record = host.api(&format!("/api/v1/requests/{}", answer.request_id()));
    assert_eq!((&record["outcome"], &record["integration"]), (&"failed".into(), &"bad".into()));
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("asked to panic")));
    assert_eq!(host.wait_for_event("plugin_failed")["request_id"], answer.request_id());
}

#[test]
fn lists_a_plugin_that_no_integration_uses() {
    let unused = library("bad-panics-in-new");
    let host = site("well-behaved").plugin(&unused).serve();
    assert_snapshot!(sentence(&host, file_name(&unused)), @r#"is not used by any integration; hint: enable one with `plugin = "bad-panics-in-new"`, or remove the file"#);
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.site().run(&["check"]).code, Some(0));
}

#[test]
fn ignores_a_copy_of_a_plugin_file() {
    let good = library("well-behaved");
    let site = site("well-behaved");
    site.drop_in(&good, "libwell_behaved_again.so");
    let host = site.serve();
    assert_snapshot!(sentence(&host, "libwell_behaved_again.so"), @"is a copy of `libwell_behaved.so`; hint: remove one of them");
    assert_eq!(host.post("good", "disk full").status, 200);
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stderr.contains("warning: `libwell_behaved_again.so` is a copy"), "{check:?}");
}

#[test]
fn refuses_two_different_files_of_the_same_version() {
    let claimed = library("bad-never-returns");
    let site = site("bad-never-returns").plugin(&claimed);
    let mut bytes = fs::read(&claimed).expect("it can be read");
    bytes.extend_from_slice(b"something else");
    fs::write(site.plugins().join("other.so"), bytes).expect("it can be written");

    let host = site.serve();
    assert_snapshot!(sentence(&host, "other.so"), @"is bad-never-returns 0.1.0, and so is `libbad_never_returns.so`, with other contents; hint: remove all but one of them, or give them different versions");
    assert_snapshot!(sentence(&host, file_name(&claimed)), @"is bad-never-returns 0.1.0, and so is `other.so`, with other contents; hint: remove all but one of them, or give them different versions");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.post("bad", "disk full").status, 503);
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.contains(": `integrations.bad.plugin`: "), "{check:?}");

    fs::remove_file(host.site().plugins().join("other.so")).expect("it is there");
    host.reload();
    assert_eq!(host.post("bad", "disk full").status, 200);
}

#[test]
fn a_bad_newer_version_leaves_the_older_version_serving() {
    let folder = tempfile::tempdir().expect("a folder");
    let newer = libraries::with_version(&library("well-behaved"), "1.0.1", folder.path());
    let newer = libraries::truncated(&newer, folder.path());
    let host = site("well-behaved").plugin(&newer).serve();
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.alerts()[0]["plugin"]["version"], "1.0.0");
    sentence(&host, file_name(&newer));
}

#[test]
fn a_repaired_file_serves_after_a_reload() {
    let (folder, whole) = (tempfile::tempdir().expect("a folder"), library("bad-never-returns"));
    let site = site("bad-never-returns");
    site.drop_in(&libraries::truncated(&whole, folder.path()), "bad.so");
    let host = site.serve();
    assert_eq!(host.post("bad", "disk full").status, 503);
    host.site().drop_in(&whole, "bad.so");
    host.reload();
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.problems(), [""; 0]);
}

#[test]
fn changes_to_the_file_of_a_loaded_plugin_do_not_affect_it() {
    let host = site("well-behaved").serve();
    let file = host.site().plugins().join(file_name(&library("well-behaved")));
    // `cp` overwrites in place: a host that had mapped the file itself would crash.
    fs::write(&file, "no library any more").expect("it can be written");
    assert_eq!(host.post("good", "disk full").status, 200);
    fs::remove_file(&file).expect("it is there");
    assert_eq!(host.post("good", "disk full").status, 200);
    host.stop();
}

#[test]
fn refuses_an_oversized_file_without_reading_it() {
    let site = Site::new().plugin(&library("well-behaved")).config(GOOD);
    let file = std::fs::File::create(site.plugins().join("large.so")).expect("made");
    file.set_len(1 << 30).expect("it has holes");
    let host = site.serve();
    assert_snapshot!(host.reasons().join("\n"), @"`large.so` has 1073741824 bytes, more than any plugin; hint: remove it, or build it without debug information");
    assert!(host.kernel_says("VmHWM") < 512 * 1024, "its peak in kB");
    assert_eq!(host.post("good", "disk full").status, 200);
    let check = host.site().run(&["check"]);
    assert!(
        check.stderr.contains("more than any plugin")
            || check.stdout.contains("more than any plugin"),
        "{check:?}"
    );
}

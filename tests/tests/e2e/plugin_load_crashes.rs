//! A plugin that kills the host while it is loaded does so once: the next start does not load its
//! file, reports that, and serves the other plugins.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;
use tocsin_tests::{
    Finished, Site, TestHost,
    http::Request,
    libraries::{library, with_name, with_version},
};

use crate::bad_plugins::{file_name, normalized, sentence, site};

/// Starts a host that dies before it serves.
#[track_caller]
pub(super) fn dies(site: &Site) {
    let dead = site.run(&["serve"]);
    assert_eq!(dead.code, None, "a signal ended it: {dead:?}");
}

pub(super) fn dies_in_new(how: &str) -> Site {
    let site = site("bad-dies-in-new").plugin(&library("bad-dies-in-new"));
    configure(&site, how);
    site
}

fn configure(site: &Site, how: &str) {
    site.configure(&format!(
        "[integrations.good]\nplugin = 'well-behaved'\n\
         [integrations.bad]\nplugin = 'bad-dies-in-new'\noptions.how = '{how}'\n"
    ));
}

fn state(host: &TestHost, file: &str) -> String {
    let list = host.api("/api/v1/plugins");
    let mut plugins = list["plugins"].as_array().expect("a list").iter();
    let plugin = plugins.find(|plugin| plugin["file"] == file).expect("the file is listed");
    plugin["state"].as_str().expect("a state").to_owned()
}

#[track_caller]
fn assert_only_good_serves(host: &TestHost) {
    assert_eq!(host.post("good", "disk full").status, 200);
    let answer = host.post("bad", "disk full");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
}

fn journal(site: &Site) -> String {
    fs::read_to_string(site.path("tocsin.db.loading")).unwrap_or_default()
}

#[track_caller]
fn failed(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(1), "{finished:?}");
    &finished.stderr
}

#[test]
fn sets_aside_a_plugin_that_killed_the_host_while_it_was_loaded() {
    let bad = library("bad-dies-in-load");
    let site = site("bad-dies-in-load").plugin(&bad);
    dies(&site);

    let line = journal(&site);
    let check = site.run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert_eq!(journal(&site), line, "a check changes nothing");
    let warning =
        format!("warning: `{}` plugin `bad-dies-in-load` 0.1.0 was being", file_name(&bad));
    assert!(check.stderr.contains(&warning), "{check:?}");
    let list = site.run(&["plugins", "--json"]);
    let list: Value = serde_json::from_str(&list.stdout).expect("JSON");
    assert_eq!(list["plugins"][0]["state"], "set_aside", "{list}");

    let host = site.serve();
    assert_only_good_serves(&host);
    assert_snapshot!(sentence(&host, file_name(&bad)), @"plugin `bad-dies-in-load` 0.1.0 was being loaded when the host died at [TIME], so it is set aside; hint: drop in another version, or try again with `tocsin plugins retry bad-dies-in-load`");
    assert_eq!(state(&host, file_name(&bad)), "set_aside");
    assert_eq!(host.times_logged("plugin_load_crashed"), 1);
    let reasons = host.reasons();
    assert!(reasons.iter().any(|reason| reason.starts_with("integration `bad`: ")), "{reasons:?}");

    // The plugin stays set aside across reloads, restarts and kills.
    host.reload();
    let host = host.restart().kill().serve();
    assert_only_good_serves(&host);
    assert_eq!(state(&host, file_name(&bad)), "set_aside");
}

#[test]
fn a_retry_that_kills_the_host_again_sets_the_plugin_aside_again() {
    let bad = library("bad-dies-in-load");
    let site = site("bad-dies-in-load").plugin(&bad);
    dies(&site);
    let host = site.serve();
    assert_snapshot!(failed(&host.run(&["plugins", "retry", "bad-dies-in-load"])), @"
    error: the host did not answer while it tried plugin `bad-dies-in-load` again: the plugin may have killed it
    hint: look at the log of the host; when the host starts again, the plugin is set aside as before
    ");
    let host = host.died().serve();
    assert_only_good_serves(&host);
    assert_eq!(state(&host, file_name(&bad)), "set_aside");
}

#[test]
fn a_retry_without_a_host_is_for_the_next_start() {
    let site = site("bad-dies-in-load").plugin(&library("bad-dies-in-load"));
    dies(&site);
    let retry = site.run(&["plugins", "retry", "bad-dies-in-load"]);
    assert_eq!(retry.code, Some(0), "{retry:?}");
    assert_snapshot!(retry.stdout, @"`libbad_dies_in_load.so` (bad-dies-in-load 0.1.0) will be tried when the host starts");
    assert_eq!(journal(&site), "");
    dies(&site);
    assert_only_good_serves(&site.serve());
}

#[test]
fn a_retry_leaves_the_journal_of_an_unreachable_host_alone() {
    let site = site("bad-dies-in-load").plugin(&library("bad-dies-in-load"));
    dies(&site);
    let host = site.serve();
    // The configuration has port 0, which reaches no host.
    let retry = host.site().run(&["plugins", "retry", "bad-dies-in-load"]);
    assert_snapshot!(failed(&retry), @"
    error: the load journal `tocsin.db.loading` is held by a running host
    hint: stop that host, or name its admin API
    ");
    assert_eq!(state(&host, "libbad_dies_in_load.so"), "set_aside");
}

#[test]
fn sets_aside_a_plugin_that_aborts_in_new_until_a_retry_succeeds() {
    let site = dies_in_new("abort");
    dies(&site);
    let host = site.serve();
    assert_only_good_serves(&host);
    assert_snapshot!(sentence(&host, "libbad_dies_in_new.so"), @"plugin `bad-dies-in-new` 0.1.0 was being loaded when the host died at [TIME], so it is set aside; hint: drop in another version, or try again with `tocsin plugins retry bad-dies-in-new`");

    configure(host.site(), "live");
    host.reload();
    assert_only_good_serves(&host);
    let retry = host.run(&["plugins", "retry", "bad-dies-in-new"]);
    assert_eq!((retry.code, retry.stderr.as_str()), (Some(0), ""), "{retry:?}");
    assert_snapshot!(retry.stdout, @"
    PLUGIN           VERSION  STATE   VERIFIED  INTEGRATIONS  FILE
    bad-dies-in-new  0.1.0    loaded  -         bad           libbad_dies_in_new.so
    ");
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!(host.restart().post("bad", "disk full").status, 200);
}

#[test]
fn sets_aside_a_plugin_that_overflows_its_stack_in_new() {
    let site = dies_in_new("overflow");
    dies(&site);
    assert_only_good_serves(&site.serve());
}

#[test]
fn sets_aside_several_plugins() {
    let site = Site::new().plugin(&library("well-behaved"));
    let site = site.plugin(&library("bad-dies-in-load")).plugin(&library("bad-dies-in-new"));
    let site = site.config(
        "[integrations.a]\nplugin = 'bad-dies-in-load'\n\
         [integrations.b]\nplugin = 'bad-dies-in-new'\noptions.how = 'abort'\n\
         [integrations.good]\nplugin = 'well-behaved'\n",
    );
    dies(&site);
    dies(&site);
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    for (integration, file) in [("a", "libbad_dies_in_load.so"), ("b", "libbad_dies_in_new.so")] {
        assert_eq!(host.post(integration, "disk full").status, 503);
        assert_eq!(state(&host, file), "set_aside");
    }
}

#[test]
fn loads_other_bytes_of_the_same_plugin_at_once() {
    let site = dies_in_new("abort");
    dies(&site);
    configure(&site, "live");
    let host = site.serve();
    assert_only_good_serves(&host);
    let file = host.site().plugins().join("libbad_dies_in_new.so");
    let mut bytes = fs::read(&file).expect("it can be read");
    bytes.extend_from_slice(b"mended");
    fs::write(&file, bytes).expect("it can be written");
    host.reload();
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.problems(), [""; 0]);
}

#[test]
fn an_older_version_serves_instead_of_the_one_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = with_name(&library("bad-dies-in-load"), "well-behaved", folder.path());
    let newer = with_version(&named, "2.0.0", folder.path());
    let site = site("well-behaved").plugin(&newer);
    dies(&site);
    let host = site.serve();
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.alerts()[0]["plugin"]["version"], "1.0.0");
    assert_eq!(state(&host, file_name(&newer)), "set_aside");
    sentence(&host, file_name(&newer));
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "it can serve: {check:?}");
}

#[test]
fn a_stop_during_a_load_sets_nothing_aside() {
    let site = dies_in_new("wait");
    let stopped =
        site.stop_when("a plugin is being made", || journal(&site).contains("dies-in-new"));
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!(journal(&site), "");
    let host = site.serve();
    assert_eq!(host.post("bad", "disk full").status, 200);
    assert_eq!(host.problems(), [""; 0]);
}

#[test]
fn starts_despite_a_damaged_journal() {
    let site = site("well-behaved");
    site.write("tocsin.db.loading", "{\"sha256\":\"aa\"}\nhello\n{\"sha2");
    let check = site.run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!(journal(host.site()), "");

    // A journal that cannot be written does not prevent a start either.
    let site = host.stop();
    fs::remove_file(site.path("tocsin.db.loading")).expect("it is there");
    fs::create_dir(site.path("tocsin.db.loading")).expect("it is not there");
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.times_logged("load_journal_unavailable"), 1);
}

#[test]
fn reports_that_nothing_is_set_aside() {
    let host = site("well-behaved").serve();
    let answer = host.ask_admin(&Request::new("POST", "/api/v1/plugins/well-behaved/retry"));
    assert_eq!((answer.status, answer.error_code().as_str()), (404, "not_found"));
    assert_snapshot!(failed(&host.run(&["plugins", "retry", "well-behaved"])), @"error: no file of plugin `well-behaved` was set aside or failed to load; `tocsin plugins` shows every file");
    let site = host.stop();
    assert_snapshot!(failed(&site.run(&["plugins", "retry", "well-behaved"])), @"
    error: no version of plugin `well-behaved` was set aside
    hint: no host is running; `tocsin plugins` shows what one would find
    ");
    let mistake = site.run(&["plugins", "retry", "../well-behaved"]);
    assert_eq!(mistake.code, Some(2), "{mistake:?}");
}

#[test]
fn refuses_a_retry_that_the_configuration_forbids() {
    let site = dies_in_new("abort");
    dies(&site);
    let host = site.serve();
    configure(host.site(), "whatever");
    let retry = host.run(&["plugins", "retry", "bad-dies-in-new"]);
    assert_snapshot!(failed(&retry), @"error: nothing was reloaded: tocsin.toml:8:7: `integrations.bad.options.how`: unknown variant, expected one of `abort`, `overflow`, `wait`, `hang`, `live`; hint: see the options of plugin `bad-dies-in-new`");
    assert_only_good_serves(&host);
}

#[test]
fn retries_a_file_that_could_not_be_loaded() {
    let bad = library("bad-layout-unchecked");
    let host = site("bad-layout-unchecked").plugin(&bad).serve();
    let retry = host.run(&["plugins", "retry", "bad-layout-unchecked"]);
    assert_eq!(retry.code, Some(0), "{retry:?}");
    assert_snapshot!(normalized(&retry.stdout), @"
    PLUGIN                VERSION  STATE    VERIFIED  INTEGRATIONS  FILE
    bad-layout-unchecked  0.1.0    refused  -                       libbad_layout_unchecked.so

    `libbad_layout_unchecked.so` plugin `bad-layout-unchecked` 0.1.0 has its layout check switched off, so nothing shows that its functions are what they claim; hint: export it with `export_plugin!`
    ");
    assert_only_good_serves(&host);
}

//! A destination is set up as an integration is: its plugin is found, checked and started, a fault breaks
//! only this destination or refuses the configuration with a hint, and a reload keeps what did not
//! change. Nothing is delivered here.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tocsin_tests::{
    Finished, Site, TestHost,
    http::Request,
    libraries::{library, with_name, with_version},
    wait,
};

use crate::config::refused_at;

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";
const UNWATCHED: &str = "[watch]\nenabled = false\n";
const WATCHED: &str = "[watch]\nsettle = '50ms'\nlook_every = '100ms'\n";
/// An address that is public, and to which nothing is sent.
const OPS: &str = "[destinations.ops]\nplugin = 'notifier-well-behaved'\n\
                   options.url = 'https://8.8.8.8/hook'\n";

fn site(config: &str) -> Site {
    let site = Site::new().plugin(&library("well-behaved"));
    site.plugin(&library("notifier-well-behaved")).config(config)
}

fn destinations(host: &TestHost) -> Vec<Value> {
    let mut list = host.api("/api/v1/destinations");
    list["destinations"].as_array_mut().expect("a list").drain(..).collect()
}

#[track_caller]
fn destination(host: &TestHost, name: &str) -> Value {
    let found = destinations(host).into_iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no destination `{name}`"))
}

/// Reloads, and returns the changes.
#[track_caller]
fn changes(host: &TestHost) -> Value {
    let reload = host.reload();
    assert_eq!(reload.status, 200, "{reload:?}");
    reload.json()["changes"].take()
}

#[test]
fn shows_a_destination_with_its_plugin_and_what_waits_for_it() {
    let host = site(&format!("{UNWATCHED}{GOOD}{OPS}events = ['opened', 'noted']\n")).serve();
    assert_eq!(host.problems(), [""; 0]);
    let mut shown = destination(&host, "ops");
    shown["since"].take();
    let expected = json!({
        "name": "ops",
        "status": "ready",
        "plugin": {"name": "notifier-well-behaved", "version": "1.0.0"},
        "version": "*",
        "events": ["opened", "noted"],
        "contacts": ["https://8.8.8.8"],
        "pause": null,
        "parallel": 8,
        "digest_above": 20,
        "problem": null,
        "place": null,
        "parked": null,
        "paused_until": null,
        "waiting": 0,
        "dead": 0,
        "oldest_waiting_at": null,
        "generation": 1,
        "since": null,
        "other_versions": [],
        "breaker": {"state": "closed", "failures": 0, "retry_at": null, "trips": 0},
        "stuck_threads": 0,
    });
    assert_eq!(shown, expected);
    assert_eq!(host.logged("destination_ready")[0]["destination"], "ops");

    let Finished { code, stdout, stderr } = host.run(&["destinations"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_snapshot!(stdout, @"
    DESTINATION  STATUS  PLUGIN                       EVENTS         WAITING  DEAD
    ops          ready   notifier-well-behaved 1.0.0  opened, noted  0        0
    ");
    let json: Value = serde_json::from_str(&host.run(&["destinations", "--json"]).stdout)
        .expect("the answer of the API");
    assert_eq!(json["destinations"][0]["status"], "ready");
    let shown = host.run(&["destinations", "show", "ops"]).stdout;
    let shown: Vec<_> = shown.lines().filter(|line| !line.contains(" since ")).collect();
    assert_snapshot!(shown.join("\n"), @"
    ops
      status       ready
      plugin       notifier-well-behaved 1.0.0
      contacts     https://8.8.8.8
      events       opened, noted
      parallel     8
      digest       above 20 waiting alerts
      waiting      0
      dead         0
      generation   1
    ");
    let unknown = host.run(&["destinations", "show", "opps"]);
    assert_eq!(unknown.code, Some(2));
    assert_snapshot!(unknown.stderr, @"
    error: there is no destination `opps`
    hint: the destinations are `ops`
    ");
}

#[test]
fn lists_the_destinations_of_a_plugin() {
    let host = site(&format!("{UNWATCHED}{GOOD}{OPS}")).serve();
    let plugins = host.api("/api/v1/plugins");
    let plugins = plugins["plugins"].as_array().expect("a list");
    let of = |name: &str| {
        let plugin = plugins.iter().find(|plugin| plugin["name"] == name).expect("it is listed");
        (plugin["integrations"].clone(), plugin["destinations"].clone(), plugin["state"].clone())
    };
    assert_eq!(of("notifier-well-behaved"), (json!([]), json!(["ops"]), json!("loaded")));
    assert_eq!(of("well-behaved"), (json!(["good"]), json!([]), json!("loaded")));
    let table = host.run(&["plugins"]).stdout;
    let table: Vec<_> = table.lines().take_while(|line| !line.is_empty()).collect();
    assert_snapshot!(table.join("\n"), @"
    PLUGIN                 VERSION  STATE   VERIFIED  INTEGRATIONS  DESTINATIONS  FILE
    notifier-well-behaved  1.0.0    loaded  -                       ops           libnotifier_well_behaved.so
    well-behaved           1.0.0    loaded  -         good                        libwell_behaved.so
    ");
}

#[test]
fn a_missing_plugin_breaks_only_its_destination_until_its_file_arrives() {
    let absent = "[destinations.absent]\nplugin = 'absent'\noptions.url = 'https://8.8.8.8/'\n";
    let host = site(&format!("{WATCHED}{GOOD}{OPS}{absent}")).serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(destination(&host, "ops")["status"], "ready");
    let broken = destination(&host, "absent");
    assert_eq!((&broken["status"], &broken["plugin"]), (&json!("broken"), &Value::Null));
    let problem = broken["problem"].as_str().expect("a sentence");
    assert_snapshot!(problem, @"no plugin is named `absent`; hint: the plugins folder has `notifier-well-behaved`, `well-behaved`");
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &json!("degraded")));
    assert_eq!(host.problems(), [format!("destination `absent`: {problem}")]);
    assert_eq!(host.logged("destination_broken")[0]["destination"], "absent");
    let listed = host.run(&["destinations"]).stdout;
    let place = broken["place"].as_str().expect("a place");
    assert!(place.ends_with(": `destinations.absent.plugin`"), "{place}");
    assert!(listed.ends_with(&format!("\n`absent` {problem}\n  at {place}\n")), "{listed}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = with_name(&library("notifier-well-behaved"), "absent", folder.path());
    host.site().replace(&file, "absent.so");
    wait::until("the destination is ready", || {
        (destination(&host, "absent")["status"] == "ready").then_some(())
    });
    wait::until("nothing is wrong", || host.problems().is_empty().then_some(()));
}

#[test]
fn refuses_a_reload_that_names_a_missing_plugin() {
    let host = site(&format!("{UNWATCHED}{GOOD}{OPS}")).serve();
    let absent = "[destinations.absent]\nplugin = 'absent'\n";
    host.site().configure(&format!("{UNWATCHED}{GOOD}{OPS}{absent}"));
    let refused = host.reload();
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("no plugin is named `absent`"), "{refused:?}");
    assert_eq!(destinations(&host).len(), 1, "nothing changed");
}

/// Returns place, message and hint of the error for an invalid configuration.
#[track_caller]
fn refused(site: &Site, config: &str) -> String {
    let said = refused_at(site, config);
    let lines: Vec<_> = said.lines().collect();
    [lines[0], lines[lines.len() - 1]].join("\n")
}

#[test]
fn refuses_wrong_options_with_the_key_and_a_hint() {
    let site = site("");
    let section = "[destinations.ops]\nplugin = 'notifier-well-behaved'\n";
    let config = format!("{section}options.url = 'chat.example'\n");
    assert_snapshot!(refused(&site, &config), @"
    error: tocsin.toml:3:15: `destinations.ops.options.url`: begins with neither `https://` nor `http://`
    hint: see the options of plugin `notifier-well-behaved`
    ");
    let config = format!("{section}options = {{ url = 'https://8.8.8.8', secert = 's3cret' }}\n");
    assert_snapshot!(refused(&site, &config), @"
    error: tocsin.toml:3:47: `destinations.ops.options.secert`: unknown field `secert`, expected `url` or `secret`
    hint: did you mean `secret`? see the options of plugin `notifier-well-behaved`
    ");
    assert_snapshot!(refused(&site, section), @"
    error: tocsin.toml:1:15: `destinations.ops.options`: missing field `url`
    hint: see the options of plugin `notifier-well-behaved`
    ");
    let unset = format!("{OPS}options.secret = {{ env = 'CHAT_TOKEN' }}\n");
    assert_snapshot!(refused(&site, &unset), @r#"
    error: tocsin.toml:4:18: `destinations.ops.options.secret`: the environment variable `CHAT_TOKEN` is not set
    hint: set CHAT_TOKEN for the host, or write { file = "PATH" }
    "#);
}

#[test]
fn check_reports_all_mistakes_in_the_options_of_a_destination_at_once() {
    let site = site("");
    site.write(
        "tocsin.toml",
        "[destinations.ops]\nplugin = 'notifier-well-behaved'\n\
         [destinations.ops.options]\nurl = 17\nsecret = true\ncolour = 's3cret'\n",
    );
    let Finished { code, stderr, .. } = site.run(&["check", "--offline"]);
    assert_eq!(code, Some(2));
    assert!(!stderr.contains("s3cret"), "{stderr}");
    for key in ["url", "secret", "colour"] {
        let line = format!("`destinations.ops.options.{key}`: ");
        assert_eq!(stderr.matches(&line).count(), 1, "{key}: {stderr}");
    }
}

#[test]
fn refuses_a_plugin_that_only_receives_as_a_destination_and_the_other_way_round() {
    let site = site("");
    let receiver = "[destinations.ops]\nplugin = 'well-behaved'\n";
    assert_snapshot!(refused(&site, receiver), @"
    error: tocsin.toml:2:10: `destinations.ops.plugin`: plugin `well-behaved 1.0.0` sends no notifications: it only receives webhooks
    hint: name a plugin that sends notifications, or make it an integration: write `[integrations.ops]` instead of `[destinations.ops]`
    ");
    let notifier = "[integrations.ops]\nplugin = 'notifier-well-behaved'\n";
    assert_snapshot!(refused(&site, notifier), @"
    error: tocsin.toml:2:10: `integrations.ops.plugin`: plugin `notifier-well-behaved 1.0.0` receives no webhooks: it only sends notifications
    hint: make it a destination: write `[destinations.ops]` instead of `[integrations.ops]`
    ");
}

#[test]
fn check_says_what_is_missing_for_a_destination() {
    let site = Site::new().plugin(&library("well-behaved")).config(&format!("{GOOD}{OPS}"));
    let Finished { code, stdout, stderr } = site.run(&["check", "--offline"]);
    assert_eq!(code, Some(2), "{stdout}");
    assert!(stderr.contains("`destinations.ops.plugin`: no plugin is named"), "{stderr}");
    assert!(stderr.contains("\nhint: the plugins folder has `well-behaved`"), "{stderr}");
}

/// Returns the warnings of `check` about the servers of a destination.
#[track_caller]
fn warned(section: &str) -> String {
    let config = format!("[destinations.ops]\nplugin = 'notifier-well-behaved'\n{section}");
    let Finished { code, stderr, .. } = site(&config).run(&["check", "--offline"]);
    assert_eq!(code, Some(0), "{stderr}");
    let warnings = stderr.lines().filter(|line| line.contains("destination `ops`"));
    warnings.collect::<Vec<_>>().join("\n")
}

#[test]
fn check_warns_of_servers_that_the_guard_refuses() {
    assert_snapshot!(warned("options.url = 'https://10.1.2.3:8443/hook'\n"), @r#"warning: destination `ops` contacts `https://10.1.2.3:8443`, which will be refused: `10.1.2.3` is a private address (`10.0.0.0/8`) that `allow_networks` does not name; hint: set `allow_networks = ["10.1.2.3"]` in `[destinations.ops]`"#);
    assert_snapshot!(warned("options.url = 'https://localhost/hook'\n"), @r#"warning: destination `ops` contacts `https://localhost`, which will be refused: `localhost` resolves to `127.0.0.1`, which is a loopback address (`127.0.0.0/8`) that `allow_networks` does not name; hint: set `allow_networks = ["127.0.0.1"]` in `[destinations.ops]`"#);
    assert_snapshot!(warned("options.url = 'https://169.254.169.254/latest'\n"), @r#"warning: destination `ops` contacts `https://169.254.169.254`, which will be refused: `169.254.169.254` is a metadata service that `allow_networks` does not name; hint: set `allow_networks = ["169.254.169.254"]` in `[destinations.ops]`"#);
    assert_snapshot!(warned("options.url = 'http://8.8.8.8/hook'\n"), @"warning: destination `ops` contacts `http://8.8.8.8`, which will be refused: `http` without TLS is forbidden; hint: use `https`, or set `allow_http = true` in `[destinations.ops]` and name the receiver's address in `allow_networks`");
    let allowed = "options.url = 'https://10.1.2.3/hook'\nallow_networks = ['10.0.0.0/8']\n";
    assert_eq!(warned(allowed), "");
    let allowed = "options.url = 'http://127.0.0.1:9/hook'\nallow_networks = ['127.0.0.1']\n\
                   allow_http = true\n";
    assert_eq!(warned(allowed), "");
    // Offline, a name is not judged.
    assert_eq!(warned("options.url = 'https://chat.example/hook'\n"), "");
}

#[test]
fn check_warns_of_a_route_that_leads_only_to_unusable_destinations() {
    let off =
        format!("[destinations.off]\nenabled = false\n{}", OPS.replace("[destinations.ops]\n", ""));
    let routes = "[[routes]]\nto = ['ops', 'off']\n[[routes]]\nto = ['off']\n";
    let site = site("");
    site.write("tocsin.toml", format!("{GOOD}{OPS}{off}{routes}"));
    let Finished { code, stderr, .. } = site.run(&["check", "--offline"]);
    assert_eq!(code, Some(0), "{stderr}");
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("`routes")).collect();
    assert_snapshot!(warnings.join("\n"), @"warning: tocsin.toml:13:6: `routes[1].to`: leads only to destinations that are broken or disabled; hint: `tocsin destinations` says what is wrong with them");
}

#[test]
fn a_reload_adds_changes_and_removes_destinations_and_keeps_the_others() {
    let other = OPS.replace("ops", "other");
    let host = site(&format!("{UNWATCHED}{GOOD}{OPS}")).serve();
    host.site().configure(&format!("{UNWATCHED}{GOOD}{OPS}{other}"));
    let added = json!([{
        "key": "destinations.other", "change": "added", "detail": "notifier-well-behaved 1.0.0",
    }]);
    assert_eq!(changes(&host), added);

    let changed = "events = ['resolved']\nparallel = 2\noptions.secret = 's3cret'\n";
    host.site().configure(&format!("{UNWATCHED}{GOOD}{OPS}{changed}{other}"));
    let expected = json!([{
        "key": "destinations.ops", "change": "changed", "detail": "events, parallel, options.secret",
    }]);
    assert_eq!(changes(&host), expected);
    assert_eq!(changes(&host), json!([]));
    let generations: Vec<_> =
        destinations(&host).iter().map(|one| one["generation"].clone()).collect();
    assert_eq!(generations, [2, 1], "the other one was kept");

    host.site().configure(&format!("{UNWATCHED}{GOOD}{other}"));
    let removed = json!([{"key": "destinations.ops", "change": "removed", "detail": ""}]);
    assert_eq!(changes(&host), removed);
    let names: Vec<_> = destinations(&host).iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["other"]);
}

#[test]
fn a_disabled_destination_runs_no_plugin() {
    let host = site(&format!("{UNWATCHED}{GOOD}{OPS}enabled = false\n")).serve();
    let shown = destination(&host, "ops");
    assert_eq!((&shown["status"], &shown["plugin"]), (&json!("disabled"), &Value::Null));
    assert_snapshot!(host.problems().join("\n"), @r#"`libnotifier_well_behaved.so` is not used by any destination; hint: enable one with `plugin = "notifier-well-behaved"`, or remove the file"#);
}

#[test]
fn a_file_without_any_destination_is_not_applied_by_itself() {
    let host = site(&format!("{WATCHED}{GOOD}{OPS}")).serve();
    host.site().configure(&format!("{WATCHED}{GOOD}"));
    // The host may see the file while it is empty, and say so.
    wait::until("the missing destinations are the reason", || {
        let refused = host.logged("automatic_reload_refused");
        let mut said = refused.iter().map(Value::to_string);
        said.any(|said| said.contains("no longer has destinations")).then_some(())
    });
    assert_eq!(destinations(&host).len(), 1);
    assert_eq!(host.reload().status, 200, "an operator may ask for it");
    assert_eq!(destinations(&host), Vec::<Value>::new());
}

#[test]
fn a_newer_version_of_its_plugin_serves_a_destination() {
    let host = site(&format!("{WATCHED}{GOOD}{OPS}")).serve();
    let folder = tempfile::tempdir().expect("a folder");
    let file = with_version(&library("notifier-well-behaved"), "1.3.0", folder.path());
    host.site().replace(&file, "newer.so");
    wait::until("the newer version serves", || {
        (destination(&host, "ops")["plugin"]["version"] == "1.3.0").then_some(())
    });
    assert_eq!(destination(&host, "ops")["generation"], 2);
    let metrics = host.ask_admin(&Request::new("GET", "/metrics")).body;
    let labels = "{destination=\"ops\",plugin=\"notifier-well-behaved\",version=\"1.3.0\"}";
    assert!(metrics.contains(&format!("tocsin_plugin_breaker_open{labels} 0")), "{metrics}");
}

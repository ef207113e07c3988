//! A configuration is applied automatically or on request, as a whole or not at all, and its
//! changes can be previewed.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::{Value, json};
use tocsin_tests::{Site, TestHost, http::Request, libraries::library, wait};

use crate::load::Load;

const WATCHED: &str = "[watch]\nsettle = '50ms'\n";
const UNWATCHED: &str = "[watch]\nenabled = false\n";
const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

fn host(config: &str) -> TestHost {
    Site::new().plugin(&library("well-behaved")).config(config).serve()
}

/// Returns the changes that a reload reports, or with `dry_run` would make.
#[track_caller]
fn changes(host: &TestHost, dry_run: bool) -> Vec<String> {
    let path = format!("/api/v1/reload?dry_run={dry_run}");
    let answer = host.ask_admin(&Request::post(&path, ""));
    assert_eq!(answer.status, 200, "{answer:?}");
    let report = answer.json();
    assert_eq!(report["dry_run"], dry_run);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let line = |change: &Value| {
        let line = [text(&change["key"]), text(&change["change"]), text(&change["detail"])];
        format!("{} {}: {}", line[0], line[1], line[2]).trim_end().to_owned()
    };
    report["changes"].as_array().expect("a list").iter().map(line).collect()
}

#[test]
fn applies_an_edited_configuration_automatically() {
    let host = host(&format!("{WATCHED}{GOOD}"));
    let fresh = "[integrations.fresh]\nplugin = 'well-behaved'\n";
    host.site().configure(&format!("{WATCHED}{GOOD}{fresh}"));
    wait::until("the integration serves", || {
        (host.post("fresh", "disk full").status == 200).then_some(())
    });

    // Editors replace the file by a new one.
    let path = host.site().path("tocsin.toml");
    let text = fs::read_to_string(&path).expect("it can be read").replace("fresh", "newer");
    host.site().write("tocsin.toml.new", &text);
    fs::rename(host.site().path("tocsin.toml.new"), &path).expect("a rename");
    wait::until("the integration serves", || {
        (host.post("newer", "disk full").status == 200).then_some(())
    });
    assert_eq!(host.post("fresh", "disk full").status, 404);
    assert_eq!(host.integration("good")["generation"], 1, "nothing was said of it");
}

#[test]
fn a_broken_edit_changes_nothing_and_is_reported_until_it_is_repaired() {
    let host = host(&format!("{WATCHED}{GOOD}"));
    host.site().configure(&format!("{WATCHED}{GOOD}options.prefiks = 'x'\n"));
    wait::until("the problem is shown", || host.reasons().first().cloned());
    assert_eq!(host.post("good", "disk full").status, 200);
    host.site().configure(&format!("{WATCHED}{GOOD}"));
    wait::until("no problem is left", || host.reasons().is_empty().then_some(()));
}

#[test]
fn removing_every_integration_needs_an_explicit_reload() {
    let config = format!("{WATCHED}[admin]\ntokens = ['s3cret-s3cret-s3cret']\n{GOOD}");
    let host = host(&config);
    // Renamed into place, since a partly written file would be refused as well.
    let replace = |text: &str| {
        host.site().write("new.toml", text);
        fs::rename(host.site().path("new.toml"), host.site().path("tocsin.toml"))
            .expect("a rename");
    };
    let refusal = || {
        let reason = wait::until("the problem is shown", || host.reasons().first().cloned());
        assert_eq!(host.post("good", "disk full").status, 200);
        reason
    };
    let mended = || {
        host.site().configure(&config);
        wait::until("no problem is left", || host.reasons().is_empty().then_some(()));
    };
    // An empty file, as `> tocsin.toml` or a full disk leaves it.
    replace("");
    assert_snapshot!(refusal(), @"the last reload failed, and nothing was changed: `tocsin.toml` may be cut off: it no longer has integrations or `admin.tokens`; hint: write the file again, or apply it as it is with `tocsin reload` or SIGHUP");
    mended();
    // A file that ends between two sections.
    replace("[admin]\ntokens = ['s3cret-s3cret-s3cret']\n");
    assert_snapshot!(refusal(), @"the last reload failed, and nothing was changed: `tocsin.toml` may be cut off: it no longer has integrations; hint: write the file again, or apply it as it is with `tocsin reload` or SIGHUP");
    mended();
    replace(&format!("{GOOD}[plugins]\ncall_deadline = '30s'\n"));
    assert_snapshot!(refusal(), @"the last reload failed, and nothing was changed: `tocsin.toml` may be cut off: it no longer has `admin.tokens`; hint: write the file again, or apply it as it is with `tocsin reload` or SIGHUP");
    let open = |host: &TestHost| host.ask_admin(&Request::new("GET", "/api/v1/alerts")).status;
    assert_eq!(open(&host), 401, "nobody gets in without a token");

    host.hang_up();
    assert_eq!(host.reasons(), [""; 0]);
    assert_eq!(open(&host), 200);
    replace("");
    assert_eq!(refusal().matches("no longer has integrations").count(), 1);
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.post("good", "disk full").status, 404);
}

#[test]
fn reads_a_secret_file_that_is_replaced() {
    let site = Site::new().plugin(&library("well-behaved"));
    site.write("token", "first\n");
    let host =
        site.config(&format!("{WATCHED}{GOOD}options.token = {{ file = 'token' }}\n")).serve();
    let status = |token| host.post_with("good", &[("x-token", token)], "disk full").status;
    assert_eq!((status("first"), status("second")), (200, 403));
    host.site().write("token", "second\n");
    wait::until("the host has read the file", || (status("second") == 200).then_some(()));
    assert_eq!(status("first"), 403);
}

#[test]
fn reads_nothing_automatically_while_watching_is_off() {
    let config = |is_on: bool, urgency: &str| {
        format!(
            "[watch]\nenabled = {is_on}\nsettle = '10ms'\nlook_every = '100ms'\n\
             {GOOD}urgency = '{urgency}'\n"
        )
    };
    let (watching, host) = (host(&config(true, "low")), host(&config(false, "low")));
    host.site().configure(&config(false, "high"));
    // A host that watches sees two changes of its own file, the second after the first.
    for urgency in ["high", "medium"] {
        watching.site().configure(&config(true, urgency));
        wait::until("the other host has read its file", || {
            (watching.integration("good")["urgency"] == urgency).then_some(())
        });
    }
    assert_eq!(host.integration("good")["urgency"], "low");
    host.hang_up();
    assert_eq!(host.integration("good")["urgency"], "high");

    // A reload turns watching on, and the watching host then turns it off.
    host.site().configure(&config(true, "high"));
    host.hang_up();
    host.site().configure(&config(false, "medium"));
    wait::until("the host has read the file", || {
        (host.integration("good")["urgency"] == "medium").then_some(())
    });
}

#[test]
fn a_reload_reports_its_changes_and_a_dry_run_predicts_them() {
    let host = host(&format!(
        "{UNWATCHED}{GOOD}[integrations.old]\nplugin = 'well-behaved'\n\
         [integrations.off]\nplugin = 'well-behaved'\n"
    ));
    assert_eq!(changes(&host, true), [""; 0]);
    let next = format!(
        "{UNWATCHED}[server]\nbody_limit_bytes = 1000\nmax_connections = 10\n\
         [integrations.good]\nplugin = 'well-behaved'\nurgency = 'high'\noptions.token = 's3cret'\n\
         [integrations.new]\nplugin = 'well-behaved'\n\
         [integrations.off]\nplugin = 'well-behaved'\nenabled = false\n"
    );
    host.site().configure(&next);
    let planned = changes(&host, true);
    assert_snapshot!(planned.join("\n"), @"
    server.body_limit_bytes changed:
    server.max_connections needs_restart:
    integrations.old removed:
    integrations.good changed: urgency, options.token
    integrations.new added: well-behaved 1.0.0
    integrations.off changed: enabled
    ");
    assert_eq!(host.integration("good")["generation"], 1, "it was only asked");
    let check = host.run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let said: Vec<_> =
        check.stdout.lines().skip_while(|line| !line.starts_with("a reload")).collect();
    assert_snapshot!(said.join("\n"), @"
    a reload would change:
      `server.body_limit_bytes` changed
      `server.max_connections` needs a restart
      `integrations.old` removed
      `integrations.good` changed: urgency, options.token
      `integrations.new` added: well-behaved 1.0.0
      `integrations.off` changed: enabled
    `tocsin.toml` is good
    ");
    let dry_run = host.run(&["reload", "--dry-run"]);
    assert!(check.stdout.contains(dry_run.stdout.trim_end()), "{check:?} {dry_run:?}");

    assert_eq!(changes(&host, false), planned);
    // The change is reported until a restart.
    assert_eq!(changes(&host, false), ["server.max_connections needs_restart:"]);
    assert_eq!(host.post("good", "disk full").status, 403);
    assert_eq!((host.post("new", "x").status, host.post("off", "x").status), (200, 405));
    assert_eq!(host.post("old", "disk full").status, 404);
    let huge = "x".repeat(1001);
    assert_eq!(host.post("new", &huge).status, 413);

    let host = host.restart();
    let reloaded = host.run(&["reload"]);
    assert_eq!((reloaded.code, &*reloaded.stdout), (Some(0), "a reload changed nothing\n"));
}

#[test]
fn a_refused_reload_says_why() {
    let host = host(&format!("{UNWATCHED}{GOOD}"));
    host.site().configure("[integrations.good]\nplugin = 'nobody'\n");
    let answer = host.reload();
    assert_eq!((answer.status, &*answer.error_code()), (422, "not_reloaded"));
    for dry_run in ["true", "false"] {
        let path = format!("/api/v1/reload?dry_run={dry_run}");
        assert_eq!(host.ask_admin(&Request::post(&path, "")).status, 422);
    }
    let reload = host.run(&["reload"]);
    assert_eq!(reload.code, Some(1));
    assert_snapshot!(reload.stderr.split("`integrations").nth(1).expect("the key is named"), @".good.plugin`: no plugin is named `nobody`; hint: the plugins folder has `well-behaved`");
    assert_eq!(host.ask_admin(&Request::post("/api/v1/reload?dry_run=maybe", "")).status, 400);
    assert_eq!(host.ask_admin(&Request::new("GET", "/api/v1/reload")).status, 405);
    assert_eq!(host.post("good", "disk full").status, 200);
}

#[test]
fn check_warns_if_the_running_host_has_another_configuration() {
    let host = host(&format!("{UNWATCHED}{GOOD}"));
    let text = fs::read_to_string(host.site().path("tocsin.toml")).expect("it can be read");
    host.site().write("other.toml", &text);
    let check = host.run(&["check", "--config", "other.toml"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stderr.contains("uses another configuration"), "{check:?}");
}

/// Returns the warnings of `tocsin check` about the running host, which the command finds through
/// the configuration.
fn warning(host: &TestHost) -> String {
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let places = [
        (r"the tocsin process .*? \(admin", "[HOLDER] (admin"),
        (r"127\.\d+\.\d+\.1:\d+", "[ADDRESS]"),
    ];
    places.iter().fold(check.stderr, |text, (place, name)| {
        Regex::new(place).expect("a pattern").replace_all(&text, *name).into_owned()
    })
}

#[test]
fn check_says_why_it_cannot_predict_a_reload() {
    let host = host(&format!("{UNWATCHED}[admin]\ntokens = ['the-old-token-here']\n{GOOD}"));
    fs::set_permissions(host.site().path("tocsin.toml"), fs::Permissions::from_mode(0o600))
        .expect("it is ours");
    // The configuration on disk has another address for the API.
    let nobody = "127.99.1.1:8081".parse().expect("an address");
    let config = |listen: SocketAddr, token| {
        host.site().configure(&format!(
            "{UNWATCHED}[admin]\nlisten = '{listen}'\ntokens = ['{token}']\n{GOOD}"
        ));
    };
    config(nobody, "the-old-token-here");
    assert_snapshot!(warning(&host), @"
    warning: cannot tell what a reload would change: the store is in use by [HOLDER] (admin API at [ADDRESS]), but no host answers at http://[ADDRESS]
    hint: if the host's API is elsewhere, name its URL with `--url`
    ");
    // The configuration on disk has another token.
    config(host.admin(), "the-new-token-here");
    assert_snapshot!(warning(&host), @"
    warning: cannot tell what a reload would change: the running host says: send one of `admin.tokens` as `Authorization: Bearer TOKEN`
    hint: if the tokens in the file have changed since the host read it, name the host with `--url`, and one of its tokens in TOCSIN_ADMIN_TOKEN
    ");
    config(host.admin(), "the-old-token-here");
    assert_snapshot!(warning(&host), @"");

    // If no host runs, there is nothing to compare, after a stop or a kill.
    for end in [TestHost::stop, TestHost::kill] {
        let host = Site::new().plugin(&library("well-behaved")).config(GOOD).serve();
        let check = end(host).run(&["check"]);
        assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{check:?}");
    }
}

#[test]
fn two_hundred_reloads_under_load_refuse_no_valid_token() {
    // One token stays valid throughout, and the second token changes in every round. The slower the machine,
    // the more wrong tokens arrive.
    let config = |round: usize| {
        format!(
            "server.max_wrong_tokens_per_minute = 0\n{UNWATCHED}\
             {GOOD}urgency = '{}'\noptions.token = ['stays', 'round-{round}']\n\
             [integrations.round-{}]\nplugin = 'well-behaved'\n",
            ["low", "high"][round % 2],
            round % 3,
        )
    };
    let host = host(&config(0));
    let load = Load::start_with(host.webhooks(), "reload", 6, &[("x-token", "stays")]);
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        // A token that was never valid is refused all the time.
        let stranger = scope.spawn(|| {
            let mut statuses = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let answer = host.post_with("good", &[("x-token", "round-x")], "let me in");
                statuses.push(answer.status);
            }
            statuses
        });
        for round in 1..=200 {
            host.site().configure(&config(round));
            let answer = host.reload();
            assert_eq!(answer.status, 200, "{answer:?}");
            let token = format!("round-{round}");
            let answer = host.post_with("good", &[("x-token", &token)], &token);
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
            let before = format!("round-{}", round - 1);
            assert_eq!(host.post_with("good", &[("x-token", &before)], &before).status, 403);
        }
        ends.store(true, Ordering::Relaxed);
        let statuses = stranger.join().expect("no panic");
        assert!(statuses.iter().all(|status| *status == 403), "{statuses:?}");
    });
    let sent = load.sent();
    assert!(sent.refused.is_empty(), "{:?}", sent.refused);
    assert!(!sent.accepted.is_empty());
    println!("{} messages accepted during 200 reloads", sent.accepted.len());
    assert_eq!(host.integration("good")["generation"], 201);
    assert_eq!(host.ready(), (200, json!({"status": "ready", "reasons": [], "codes": []})));
    host.stop();
}

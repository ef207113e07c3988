//! Changes of files are noticed: at once through notifications of the file system, otherwise by
//! polling. A defective file changes nothing until it is repaired.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use insta::assert_snapshot;
use tocsin_tests::{Site, TestHost, http::Request, libraries::library, wait};

use crate::{
    plugin_load_crashes::{dies, dies_in_new},
    plugin_verification::{BAD, BAD_COMMENT, both_serve, change_bytes, locked, signed},
    upgrades::{Versions, problem, served_by, waiting},
};

/// A polling interval so long that only notifications can report a change.
const NOTICED: &str = "[watch]\nsettle = '10ms'\nlook_every = '1h'\n";
/// Short polling interval, for changes without notification, such as a folder that does not exist
/// yet.
const LOOKED_FOR: &str = "[watch]\nsettle = '10ms'\nlook_every = '100ms'\n";
const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";
const FILE: &str = "libwell_behaved.so";

fn host(config: &str) -> TestHost {
    Site::new().plugin(&library("well-behaved")).config(config).serve()
}

/// Waits until the host reports a problem with these words. The host may see a partly written file
/// before.
fn wait_for_reason(host: &TestHost, words: &str) {
    wait::until(words, || host.reasons().iter().any(|reason| reason.contains(words)).then_some(()));
}

fn wait_until_nothing_is_wrong(host: &TestHost) {
    wait::until("no problem is left", || host.problems().is_empty().then_some(()));
}

fn rename(site: &Site, from: &str, to: &str) {
    fs::rename(site.path(from), site.path(to)).expect("it can be renamed");
}

fn urgency_is(host: &TestHost, urgency: &str) {
    wait::until(&format!("the urgency is {urgency}"), || {
        (host.integration("good")["urgency"] == urgency).then_some(())
    });
}

#[test]
fn notices_every_change_without_polling() {
    let site = Site::new().plugin(&library("well-behaved"));
    site.write("token", "first");
    let config = |urgency: &str| {
        format!("{NOTICED}{GOOD}urgency = '{urgency}'\noptions.token = {{ file = 'token' }}\n")
    };
    let (host, versions) = (site.config(&config("low")).serve(), Versions::new());
    let status = |token| host.post_with("good", &[("x-token", token)], "disk full").status;
    // Repeated, since a replaced file is another inode.
    for (urgency, token) in [("high", "second"), ("low", "third"), ("medium", "fourth")] {
        host.site().configure(&config(urgency));
        urgency_is(&host, urgency);
        host.site().write("token.new", token);
        rename(host.site(), "token.new", "token");
        wait::until("the secret is read", || (status(token) == 200).then_some(()));
    }
    for version in ["1.0.1", "1.0.2"] {
        host.site().replace(&versions.well_behaved(version), FILE);
        host.wait_for_version("good", version);
    }
}

#[test]
fn notices_a_swapped_configuration_in_a_projected_volume() {
    let site = Site::new().plugin(&library("well-behaved")).config(&format!("{NOTICED}{GOOD}"));
    let text = fs::read_to_string(site.path("tocsin.toml")).expect("it can be read");
    // Kubernetes replaces a symlink on the way to the file, and then removes the old target.
    let project = |site: &Site, folder: &str, urgency: &str| {
        fs::create_dir(site.path(folder)).expect("made");
        let text = text.replace("plugin =", &format!("urgency = '{urgency}'\nplugin ="));
        site.write(&format!("{folder}/tocsin.toml"), &text);
        symlink(folder, site.path("..data_tmp")).expect("linked");
        rename(site, "..data_tmp", "..data");
    };
    project(&site, "..first", "low");
    fs::remove_file(site.path("tocsin.toml")).expect("it is there");
    symlink("..data/tocsin.toml", site.path("tocsin.toml")).expect("linked");
    let host = site.serve();
    for (old, new, urgency) in [("..first", "..second", "high"), ("..second", "..third", "low")] {
        project(host.site(), new, urgency);
        fs::remove_dir_all(host.site().path(old)).expect("it is there");
        urgency_is(&host, urgency);
    }
}

#[test]
fn a_plugin_takes_over_once_the_lock_file_names_it() {
    let site = locked();
    let config = fs::read_to_string(site.path("tocsin.toml")).expect("it can be read");
    let host = site.config(&format!("{config}{NOTICED}")).serve();
    both_serve(&host);
    change_bytes(host.site(), BAD);
    assert!(problem(&host, BAD).starts_with("is bad-never-returns 0.1.0 with other bytes than"));
    assert_eq!(host.site().run(&["plugins", "lock"]).code, Some(0));
    wait_until_nothing_is_wrong(&host);
    assert_eq!(host.integration("bad")["generation"], 2);
    both_serve(&host);
}

#[test]
fn a_plugin_serves_once_its_signature_arrives() {
    let (site, signer) = signed();
    let config = fs::read_to_string(site.path("tocsin.toml")).expect("it can be read");
    fs::remove_file(site.plugins().join(format!("{BAD}.minisig"))).expect("it is there");
    let host = site.config(&format!("{config}{NOTICED}")).serve();
    assert_eq!(host.post("bad", "disk full").status, 503);
    signer.sign(host.site(), BAD, BAD_COMMENT);
    wait_until_nothing_is_wrong(&host);
    both_serve(&host);
}

#[test]
fn watches_a_folder_that_is_removed_and_created_again() {
    let (host, versions) = (host(&format!("{LOOKED_FOR}{GOOD}")), Versions::new());
    for version in ["1.0.1", "1.0.2"] {
        fs::remove_dir_all(host.site().plugins()).expect("it is there");
        wait_for_reason(&host, "`plugins.dir`");
        assert_eq!(host.post("good", "disk full").status, 200);
        fs::create_dir(host.site().plugins()).expect("made");
        wait::until("the folder is read", || {
            (!host.reasons().iter().any(|reason| reason.contains("the last reload"))).then_some(())
        });
        host.site().replace(&versions.well_behaved(version), FILE);
        host.wait_for_version("good", version);
    }
    wait_until_nothing_is_wrong(&host);
}

#[test]
fn a_change_of_mode_alone_makes_a_folder_valid() {
    let host = host(&format!("{NOTICED}{GOOD}"));
    let set_mode = |mode| {
        fs::set_permissions(host.site().plugins(), Permissions::from_mode(mode)).expect("ours");
    };
    set_mode(0o777);
    wait_for_reason(&host, "`plugins.dir`");
    assert_eq!(host.post("good", "disk full").status, 200);
    set_mode(0o755);
    wait_until_nothing_is_wrong(&host);
    assert_eq!(host.integration("good")["generation"], 1);
}

#[test]
fn switches_to_a_new_plugins_dir_once_it_is_valid() {
    let (host, versions) = (host(&format!("{LOOKED_FOR}{GOOD}")), Versions::new());
    host.site().configure(&format!("{LOOKED_FOR}{GOOD}[plugins]\ndir = 'others'\n"));
    wait_for_reason(&host, "`plugins.dir`");
    assert_eq!(served_by(&host, "good"), "1.0.0");

    // A file changes only in the folder that the new configuration names.
    fs::create_dir(host.site().path("others.new")).expect("made");
    let (from, to) = (versions.well_behaved("1.0.1"), host.site().path("others.new").join(FILE));
    fs::copy(from, to).expect("copied");
    rename(host.site(), "others.new", "others");
    host.wait_for_version("good", "1.0.1");
    wait_until_nothing_is_wrong(&host);

    // Changes in the previous folder have no effect.
    host.site().replace(&versions.well_behaved("2.0.0"), FILE);
    assert_eq!(host.reload().status, 200);
    assert_eq!(served_by(&host, "good"), "1.0.1");
}

#[test]
fn newly_required_verification_refuses_plugins_until_they_pass() {
    let host = host(&format!("{LOOKED_FOR}{GOOD}"));
    let verified = format!("{LOOKED_FOR}{GOOD}[plugins]\nverify = 'checksum'\n");
    host.site().configure(&verified);
    problem(&host, FILE);
    assert_eq!(host.post("good", "disk full").status, 200, "what runs goes on");
    assert_eq!(host.site().run(&["plugins", "lock"]).code, Some(0));
    wait_until_nothing_is_wrong(&host);
    assert_eq!(host.api("/api/v1/plugins")["plugins"][0]["verified"], "checksum");

    // A lock file that was broken before the configuration named it can be repaired, too.
    host.site().configure(&format!("{LOOKED_FOR}{GOOD}"));
    wait::until("no verification is required", || {
        host.api("/api/v1/plugins")["plugins"][0]["verified"].is_null().then_some(())
    });
    host.site().write("plugins.lock", "broken");
    host.site().configure(&verified);
    wait_for_reason(&host, "plugins.lock");
    assert_eq!(host.site().run(&["plugins", "lock"]).code, Some(0));
    wait_until_nothing_is_wrong(&host);
}

#[test]
fn disables_and_enables_an_integration() {
    let host = host(&format!("{NOTICED}{GOOD}"));
    for _ in 0..2 {
        for (enabled, status, state) in [(false, 405, "disabled"), (true, 200, "serving")] {
            host.site().configure(&format!("{NOTICED}{GOOD}enabled = {enabled}\n"));
            wait::until(state, || (host.integration("good")["state"] == state).then_some(()));
            assert_eq!(host.post("good", "disk full").status, status);
        }
    }
    assert_eq!(host.integration("good")["generation"], 5);
}

#[test]
fn upgrades_one_integration_and_holds_back_another() {
    let versions = Versions::new();
    let host = host(&format!(
        "{NOTICED}{GOOD}options.prefix = 'x'\n\
         [integrations.other]\nplugin = 'well-behaved'\noptions.token = 's3cret'\n"
    ));
    // The new version has the option `token`, but not `prefix`.
    host.site().replace(&versions.pretended("slack-outgoing-webhook", "1.0.1"), "newer.so");
    host.wait_for_version("other", "1.0.1");
    assert_eq!(served_by(&host, "good"), "1.0.0");
    assert_eq!(waiting(&host), [("1.0.1".into(), "failed".into())]);
    let answer = host.post("other", "token=s3cret&text=disk+full");
    assert_eq!(answer.status, 200, "{answer:?}");
    let versions = |integration: &str| host.integration(integration)["generation"].clone();
    assert_eq!((versions("good"), versions("other")), (1.into(), 2.into()));
}

/// Waits for a log entry about a file, and returns whether its plugin serves.
fn logged_about(host: &TestHost, event: &str, file: &str) -> bool {
    wait::until(&format!("`{event}` of `{file}` is logged"), || {
        let entry = host.logged(event).into_iter().find(|entry| entry["file"] == file);
        entry.map(|entry| entry["in_use"] == true)
    })
}

#[test]
fn logs_files_that_are_refused_mended_removed_or_truncated_and_a_repaired_configuration() {
    let config = format!("{LOOKED_FOR}{GOOD}");
    let host = host(&config);
    let plugins = host.site().plugins();
    host.site().write("plugins/.new", "no library");
    rename(host.site(), "plugins/.new", "plugins/other.so");
    assert!(!logged_about(&host, "plugin_problem", "other.so"));
    host.site().replace(&library("bad-panics-in-receive"), "other.so");
    logged_about(&host, "plugin_problem_solved", "other.so");
    fs::remove_file(plugins.join("other.so")).expect("it is there");
    assert!(!logged_about(&host, "plugin_file_removed", "other.so"), "nothing uses it");

    let whole = fs::read(plugins.join(FILE)).expect("a library");
    host.site().write("plugins/.new", &whole[..whole.len() / 2]);
    rename(host.site(), "plugins/.new", &format!("plugins/{FILE}"));
    assert!(logged_about(&host, "plugin_problem", FILE));
    assert_eq!(host.post("good", "it still serves").status, 200);

    host.site().write("tocsin.toml", "[server]\nno toml");
    host.wait_for_event("automatic_reload_refused");
    assert_eq!(host.times_logged("configuration_repaired"), 0);
    host.site().configure(&config);
    host.wait_for_event("configuration_repaired");
    host.site().replace(&library("well-behaved"), FILE);
    logged_about(&host, "plugin_problem_solved", FILE);
    fs::remove_file(plugins.join(FILE)).expect("it is there");
    assert!(logged_about(&host, "plugin_file_removed", FILE));
    assert_eq!(host.post("good", "it still serves").status, 200);
}

#[test]
fn a_truncated_configuration_stops_nothing() {
    let host = host(&format!("{NOTICED}{GOOD}"));
    let path = host.site().path("tocsin.toml");
    let whole = fs::read_to_string(&path).expect("it can be read");
    // The call deadline comes first, so that every truncated configuration has it.
    let deadline = "[plugins]\ncall_deadline = \"30s\"\n";
    assert!(whole.contains(deadline), "{whole}");
    let whole = format!("{deadline}{}", whole.replace(deadline, ""));
    for length in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..length]).expect("it can be written");
        assert_eq!(host.post("good", "disk full").status, 200, "{}", &whole[..length]);
    }
    fs::write(&path, "").expect("it can be written");
    wait_for_reason(&host, "may be cut off");
    assert_eq!(host.post("good", "disk full").status, 200);
    fs::write(&path, &whole).expect("it can be written");
    wait_until_nothing_is_wrong(&host);
    assert_eq!(host.post("good", "disk full").status, 200);
}

/// Returns the output of `tocsin reload --dry-run`.
fn dry_run(host: &TestHost) -> String {
    let dry_run = host.run(&["reload", "--dry-run"]);
    assert_eq!((dry_run.code, dry_run.stderr.as_str()), (Some(0), ""), "{dry_run:?}");
    dry_run.stdout
}

#[test]
fn a_dry_run_runs_no_plugin_that_is_set_aside_or_held_back() {
    let versions = Versions::new();
    let site = dies_in_new("abort");
    dies(&site);
    let newer = versions.pretended("bad-panics-in-new", "1.0.1");
    site.replace(&newer, "newer.so");
    let host = site.serve();
    problem(&host, "newer.so");
    // The attempt was logged before webhooks were served.
    let times_tried = || host.times_logged("plugin_failed");
    let before = times_tried();
    assert!(before > 0);
    assert_snapshot!(dry_run(&host), @"a reload would change nothing");
    // A dry run cannot know that a version fails without running it, so it does not predict that
    // either.
    assert_eq!(times_tried(), before, "it was not tried again");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.integration("bad")["state"], "broken");
}

#[test]
fn rotates_admin_tokens_without_refusing_a_valid_one() {
    // The test tries a token until it is valid, perhaps very often.
    let unlimited = "[server]\nmax_wrong_tokens_per_minute = 0\n";
    let config = |tokens: &str| format!("{NOTICED}{unlimited}[admin]\ntokens = {tokens}\n{GOOD}");
    let host = host(&config("['the-old-token-here', 'the-token-that-stays']"));
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        let request = Request::new("GET", "/api/v1/integrations").header("authorization", &*bearer);
        host.ask_admin(&request).status
    };
    assert_eq!((status("the-old-token-here"), status("the-new-token-here")), (200, 401));
    let is_rotated = AtomicBool::new(false);
    thread::scope(|scope| {
        let stays = scope.spawn(|| {
            let mut statuses = Vec::new();
            loop {
                statuses.push(status("the-token-that-stays"));
                if is_rotated.load(Ordering::Relaxed) {
                    return statuses;
                }
            }
        });
        for _ in 0..5 {
            for (tokens, new, old) in [
                (
                    "['the-token-that-stays', 'the-new-token-here']",
                    "the-new-token-here",
                    "the-old-token-here",
                ),
                (
                    "['the-old-token-here', 'the-token-that-stays']",
                    "the-old-token-here",
                    "the-new-token-here",
                ),
            ] {
                host.site().configure(&config(tokens));
                wait::until("the new token is accepted", || (status(new) == 200).then_some(()));
                assert_eq!(status(old), 401);
            }
        }
        is_rotated.store(true, Ordering::Relaxed);
        let statuses = stays.join().expect("no panic");
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
}

//! What changes is noticed: at once where the file system says so, by looking where it does not, and
//! wherever it lies. What is wrong stays out, and is taken up once it is mended.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use insta::assert_snapshot;
use tocsin_tests::{Site, TestHost, http::Request, libraries::library, wait};

use crate::{
    load_crashes::{dies, dies_in_new},
    upgrades::{Versions, problem, served_by, waiting},
    verify::{BAD, BAD_COMMENT, both_serve, change_bytes, locked, signed},
};

/// Nobody waits for the next look: what is noticed is noticed by the file system's notices.
const NOTICED: &str = "[watch]\nsettle = '10ms'\nlook_every = '1h'\n";
/// For what no notice is given of, such as a folder that is yet to be made.
const LOOKED_FOR: &str = "[watch]\nsettle = '10ms'\nlook_every = '100ms'\n";
const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";
const FILE: &str = "libwell_behaved.so";

fn host(config: &str) -> TestHost {
    Site::new().plugin(&library("well-behaved")).config(config).serve()
}

/// Waits until the host says that something is wrong, in these words. A file that is being written
/// may be seen cut off before.
fn wait_for_reason(host: &TestHost, words: &str) {
    wait::until(words, || host.reasons().iter().any(|reason| reason.contains(words)).then_some(()));
}

fn wait_until_nothing_is_wrong(host: &TestHost) {
    wait::until("nothing is wrong", || host.problems().is_empty().then_some(()));
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
fn whatever_changes_is_noticed_without_looking() {
    let site = Site::new().plugin(&library("well-behaved"));
    site.write("token", "first");
    let config = |urgency: &str| {
        format!("{NOTICED}{GOOD}urgency = '{urgency}'\noptions.token = {{ file = 'token' }}\n")
    };
    let (host, versions) = (site.config(&config("low")).serve(), Versions::new());
    let status = |token| host.post_with("good", &[("x-token", token)], "disk full").status;
    // More than once: what was replaced is another file.
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
fn a_configuration_in_a_projected_volume_is_noticed_as_it_is_swapped() {
    let site = Site::new().plugin(&library("well-behaved")).config(&format!("{NOTICED}{GOOD}"));
    let text = fs::read_to_string(site.path("tocsin.toml")).expect("it can be read");
    // As Kubernetes does it: the file leads through a symlink that is replaced, then what it led to
    // is removed.
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
fn a_plugin_that_is_locked_takes_over_as_the_lock_file_is_written() {
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
fn a_plugin_that_is_signed_later_serves_as_its_signature_comes() {
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
fn a_folder_that_is_removed_and_made_again_is_watched_anew() {
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
fn a_folder_that_others_may_change_is_mended_by_its_mode_alone() {
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
fn another_folder_is_gone_over_to_once_it_is_as_it_has_to_be() {
    let (host, versions) = (host(&format!("{LOOKED_FOR}{GOOD}")), Versions::new());
    host.site().configure(&format!("{LOOKED_FOR}{GOOD}[plugins]\ndir = 'others'\n"));
    wait_for_reason(&host, "`plugins.dir`");
    assert_eq!(served_by(&host, "good"), "1.0.0");

    // Nothing else changes than the folder that only the new file names.
    fs::create_dir(host.site().path("others.new")).expect("made");
    let (from, to) = (versions.well_behaved("1.0.1"), host.site().path("others.new").join(FILE));
    fs::copy(from, to).expect("copied");
    rename(host.site(), "others.new", "others");
    host.wait_for_version("good", "1.0.1");
    wait_until_nothing_is_wrong(&host);

    // What happens in the folder of before is nothing to it.
    host.site().replace(&versions.well_behaved("2.0.0"), FILE);
    assert_eq!(host.reload().status, 200);
    assert_eq!(served_by(&host, "good"), "1.0.1");
}

#[test]
fn what_has_to_be_verified_from_now_on_is_refused_until_it_is() {
    let host = host(&format!("{LOOKED_FOR}{GOOD}"));
    let verified = format!("{LOOKED_FOR}{GOOD}[plugins]\nverify = 'checksum'\n");
    host.site().configure(&verified);
    problem(&host, FILE);
    assert_eq!(host.post("good", "disk full").status, 200, "what runs goes on");
    assert_eq!(host.site().run(&["plugins", "lock"]).code, Some(0));
    wait_until_nothing_is_wrong(&host);
    assert_eq!(host.api("/api/v1/plugins")["plugins"][0]["verified"], "checksum");

    // A lock file that is broken before it is asked for is mended, too.
    host.site().configure(&format!("{LOOKED_FOR}{GOOD}"));
    wait::until("nothing is asked for", || {
        host.api("/api/v1/plugins")["plugins"][0]["verified"].is_null().then_some(())
    });
    host.site().write("plugins.lock", "broken");
    host.site().configure(&verified);
    wait_for_reason(&host, "plugins.lock");
    assert_eq!(host.site().run(&["plugins", "lock"]).code, Some(0));
    wait_until_nothing_is_wrong(&host);
}

#[test]
fn an_integration_is_switched_off_and_on_again() {
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
fn of_two_integrations_one_goes_over_and_the_other_is_held_back() {
    let versions = Versions::new();
    let host = host(&format!(
        "{NOTICED}{GOOD}options.prefix = 'x'\n\
         [integrations.other]\nplugin = 'well-behaved'\noptions.token = 's3cret'\n"
    ));
    // It knows a token, but no prefix.
    host.site().replace(&versions.pretended("slack-outgoing-webhook", "1.0.1"), "newer.so");
    host.wait_for_version("other", "1.0.1");
    assert_eq!(served_by(&host, "good"), "1.0.0");
    assert_eq!(waiting(&host), [("1.0.1".into(), "failed".into())]);
    let answer = host.post("other", "token=s3cret&text=disk+full");
    assert_eq!(answer.status, 200, "{answer:?}");
    let versions = |integration: &str| host.integration(integration)["generation"].clone();
    assert_eq!((versions("good"), versions("other")), (1.into(), 2.into()));
}

#[test]
fn a_configuration_that_is_cut_off_anywhere_takes_nothing_down() {
    let host = host(&format!("{NOTICED}{GOOD}"));
    let path = host.site().path("tocsin.toml");
    let whole = fs::read_to_string(&path).expect("it can be read");
    // What gives calls their time comes first: each part of the rest is a configuration with it.
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

/// What `tocsin reload --dry-run` prints.
fn dry_run(host: &TestHost) -> String {
    let dry_run = host.run(&["reload", "--dry-run"]);
    assert_eq!((dry_run.code, dry_run.stderr.as_str()), (Some(0), ""), "{dry_run:?}");
    dry_run.stdout
}

#[test]
fn a_dry_run_runs_nothing_that_was_left_aside_or_held_back() {
    let versions = Versions::new();
    let site = dies_in_new("abort");
    dies(&site);
    let newer = versions.pretended("bad-panics-in-new", "1.0.1");
    site.replace(&newer, "newer.so");
    let host = site.serve();
    problem(&host, "newer.so");
    // Logged as it was tried, which was before webhooks were served.
    let times_tried = || host.times_logged("plugin_failed");
    let before = times_tried();
    assert!(before > 0);
    assert_snapshot!(dry_run(&host), @"a reload would change nothing");
    // Nor does it go over to a version that would have to be run to be known to fail.
    assert_eq!(times_tried(), before, "it was not tried again");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.integration("bad")["state"], "broken");
}

#[test]
fn admin_tokens_are_rotated_and_who_has_one_that_stays_is_never_refused() {
    let config = |tokens: &str| format!("{NOTICED}[admin]\ntokens = {tokens}\n{GOOD}");
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
                wait::until("the new one is let in", || (status(new) == 200).then_some(()));
                assert_eq!(status(old), 401);
            }
        }
        is_rotated.store(true, Ordering::Relaxed);
        let statuses = stays.join().expect("no panic");
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
}

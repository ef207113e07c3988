//! Modes and owners of files that control a host or hold its secrets. Other users must not be able
//! to write these files, and should not be able to read them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
};

use insta::assert_snapshot;
use rustix::process::geteuid;
use tocsin_tests::{
    Finished, Site,
    libraries::{self, library},
    wait,
};

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";
const WITH_FILE: &str =
    "[integrations.good]\nplugin = 'well-behaved'\noptions.token = { file = 'good.token' }\n";
/// A user and a group that own nothing on this machine.
const STRANGER: u32 = 54_321;

fn site(config: &str) -> Site {
    let site = Site::new().plugin(&library("well-behaved")).config(config);
    set_mode(&site.path("tocsin.toml"), 0o600);
    site
}

fn site_with_token(mode: u32) -> Site {
    let site = site(WITH_FILE);
    site.write("good.token", "s3cret-of-the-sender\n");
    set_mode(&site.path("good.token"), mode);
    site
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o777
}

/// Returns the errors of `serve` and `check`, which end with exit code 2.
#[track_caller]
fn refused(site: &Site) -> String {
    let (check, serve) = (site.run(&["check"]), site.run(&["serve"]));
    assert_eq!((check.code, serve.code), (Some(2), Some(2)), "{check:?} {serve:?}");
    assert!(check.stderr.contains(serve.stderr.trim_end()), "{check:?} {serve:?}");
    assert!(!serve.stderr.contains("s3cret"), "{serve:?}");
    serve.stderr
}

/// Returns the warnings of `check`.
#[track_caller]
fn warnings(site: &Site) -> String {
    let Finished { code, stderr, stdout } = site.run(&["check"]);
    assert_eq!(code, Some(0), "{stderr} {stdout}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
    stderr
}

#[test]
fn refuses_a_configuration_that_others_can_write() {
    let site = site(GOOD);
    set_mode(&site.path("tocsin.toml"), 0o646);
    assert_snapshot!(refused(&site), @"
    error: the configuration `tocsin.toml` can be changed by everybody on this machine
    hint: `chmod o-w tocsin.toml`
    ");
    set_mode(&site.path("tocsin.toml"), 0o600);
    set_mode(&site.path(""), 0o777);
    assert_snapshot!(refused(&site), @"
    error: the configuration `tocsin.toml` lies in `.`, which can be changed by everybody on this machine
    hint: `chmod o-w .`
    ");
    // A sticky folder such as `/tmp`, where others cannot replace the file.
    set_mode(&site.path(""), 0o1777);
    assert_eq!(warnings(&site), "");
}

#[test]
fn refuses_a_configuration_of_another_user_or_group() {
    if !geteuid().is_root() {
        println!("SKIPPED: only root can give files away");
        return;
    }
    let site = site(GOOD);
    let path = site.path("tocsin.toml");
    set_mode(&path, 0o660);
    assert_eq!(warnings(&site), "", "the host's own group");
    chown(&path, None, Some(STRANGER)).expect("we are root");
    assert_snapshot!(refused(&site), @"
    error: the configuration `tocsin.toml` can be changed by group 54321, which is neither root's nor the host's
    hint: `chmod g-w tocsin.toml`
    ");
    set_mode(&path, 0o600);
    chown(&path, Some(STRANGER), None).expect("we are root");
    assert_snapshot!(refused(&site), @"
    error: the configuration `tocsin.toml` belongs to user 54321, who is neither root nor the host's user
    hint: `chown root tocsin.toml`
    ");
    // Commands that only talk to the host may run as another user.
    let list = site.run(&["alerts", "list"]);
    assert!(list.stderr.contains("no host answers"), "{list:?}");
}

#[test]
fn refuses_a_token_file_that_others_can_write() {
    let site = site_with_token(0o602);
    let said = refused(&site);
    let said = said.split("`integrations").nth(1).expect("the key is named");
    assert_snapshot!(said.lines().next().unwrap_or_default(), @".good.options.token`: `good.token` can be changed by everybody on this machine");
    assert!(said.contains("hint: `chmod o-w good.token`"), "{said}");
}

#[test]
fn warns_about_a_secret_that_others_can_read() {
    assert_eq!(warnings(&site_with_token(0o600)), "");
    let site = site_with_token(0o444);
    let said = warnings(&site);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("warning: tocsin.toml:"), "{said}");
    let said = said.split("`integrations").nth(1).expect("the key is named");
    assert_snapshot!(said, @".good.options.token`: the secret in `good.token` can be read by everybody on this machine; hint: `chmod o-r good.token`");
    // Container platforms mount secrets with this mode: the host serves, and logs a warning.
    let host = site.serve();
    host.wait_for_event("config_warning");
    assert_eq!(host.times_logged("config_warning"), 1);
    let answer = host.post_with("good", &[("x-token", "s3cret-of-the-sender")], "disk full");
    assert_eq!(answer.status, 200);
    assert!(!host.log().iter().any(|line| line.contains("s3cret")));
}

#[test]
fn warns_about_a_readable_configuration_with_secrets() {
    let config = "[admin]\ntokens = ['s3cret-s3cret-s3cret', { name = 'alice', token = 's3cret-of-alice-alice' }]\n\
                  [integrations.good]\nplugin = 'well-behaved'\n\
                  options = { prefix = 'all ', token = 's3cret-of-the-sender' }\n";
    let site = site(config);
    assert_eq!(warnings(&site), "");
    set_mode(&site.path("tocsin.toml"), 0o644);
    let said = warnings(&site);
    let keys: Vec<_> = said.lines().filter_map(|line| line.split('`').nth(1)).collect();
    // Both tokens, and the option that the plugin's schema marks as a secret.
    let expected = ["admin.tokens", "admin.tokens[1].token", "integrations.good.options.token"];
    assert_eq!(keys, expected, "{said}");
    assert!(said.contains("`tocsin.toml` can be read by everybody on this machine; hint: `chmod o-r tocsin.toml`, or write { file = \"PATH\" } here"), "{said}");
    let host = site.serve();
    wait::until("the event is logged", || (host.times_logged("config_warning") == 3).then_some(()));
    // A configuration without secrets may be readable by everybody.
    let site = host.stop();
    site.configure(GOOD);
    assert_eq!(warnings(&site), "");
}

#[test]
fn a_running_host_does_not_reload_a_file_that_others_can_write() {
    let host = site(&format!("[watch]\nenabled = false\n{GOOD}")).serve();
    set_mode(&host.site().path("tocsin.toml"), 0o666);
    let refused = host.reload();
    assert_eq!((refused.status, &*refused.error_code()), (422, "not_reloaded"));
    assert!(refused.body.contains("chmod o-w tocsin.toml"), "{refused:?}");
    assert_eq!(host.post("good", "disk full").status, 200);
    set_mode(&host.site().path("tocsin.toml"), 0o600);
    assert_eq!(host.reload().status, 200);
    assert_eq!(host.reasons(), [""; 0]);
}

#[test]
fn reads_a_secret_mounted_by_kubernetes() {
    // `token` is a symlink to `..data/token`, and `..data` one to a folder named after a time, all
    // in a sticky folder.
    let site = site(&WITH_FILE.replace("good.token", "mounted/token"));
    let mounted = site.path("mounted");
    fs::create_dir_all(mounted.join("..2026")).expect("made");
    fs::write(mounted.join("..2026/token"), "s3cret-of-the-sender").expect("written");
    set_mode(&mounted.join("..2026/token"), 0o444);
    set_mode(&mounted.join("..2026"), 0o755);
    set_mode(&mounted, 0o1777);
    symlink("..2026", mounted.join("..data")).expect("linked");
    symlink("..data/token", mounted.join("token")).expect("linked");
    assert!(warnings(&site).contains("can be read by everybody"));
    // Without the sticky bit, others could redirect the symlink.
    set_mode(&mounted, 0o777);
    assert!(
        refused(&site)
            .contains("`mounted/token` lies in `mounted`, which can be changed by everybody")
    );
}

#[test]
fn files_beside_the_database_are_private_under_any_umask() {
    let site = site(GOOD);
    for name in ["tocsin.db.loading", "plugins.lock"] {
        site.write(name, "");
        set_mode(&site.path(name), 0o644);
    }
    let without_mask = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(libraries::tocsin()).args(args);
        let ended = command.current_dir(site.path("")).env("TOCSIN_CONFIG", "tocsin.toml").output();
        ended.expect("`sh` is there")
    };
    assert!(without_mask(&["plugins", "lock"]).status.success());
    assert_eq!(mode(&site.path("plugins.lock")), 0o600, "it was there before");
    fs::remove_file(site.path("plugins.lock")).expect("it is there");
    assert!(without_mask(&["plugins", "lock"]).status.success());
    assert_eq!(mode(&site.path("plugins.lock")), 0o600);

    let site = site.serve().stop();
    assert_eq!(mode(&site.path("tocsin.db.loading")), 0o600, "it was there before");
    fs::remove_file(site.path("tocsin.db.loading")).expect("it is there");
    let site = site.serve().stop();
    assert_eq!(mode(&site.path("tocsin.db.loading")), 0o600);
}

#[test]
fn accepts_any_mode_on_a_read_only_mount() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: only root can mount");
    }
    let site = site(GOOD);
    set_mode(&site.path("tocsin.toml"), 0o666);
    set_mode(&site.path(""), 0o777);
    assert!(refused(&site).contains("can be changed by everybody"));
    let script =
        "mount --bind . . && mount -o remount,ro,bind . && cd \"$PWD\" && exec \"$0\" check";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(libraries::tocsin());
    let ended = command.current_dir(site.path("")).env("TOCSIN_CONFIG", "tocsin.toml").output();
    let said = ended.map(|ended| String::from_utf8_lossy(&ended.stderr).into_owned());
    match said {
        Ok(said) if said.contains("mount:") || said.contains("unshare:") => {
            eprintln!("SKIPPED: nothing can be mounted here: {said}");
        }
        Ok(said) => assert!(!said.contains("can be changed"), "{said}"),
        Err(error) => eprintln!("SKIPPED: there is no `unshare`: {error}"),
    }
}

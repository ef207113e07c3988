//! The host loads only plugins that the operator trusts, by file modes, checksums and signatures. A
//! refused plugin gets a sentence, and the others serve.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use insta::assert_snapshot;
use minisign::KeyPair;
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::geteuid,
};
use serde_json::Value;
use tocsin_tests::{
    Finished, Site, TestHost,
    libraries::{self, library},
};

use super::{
    bad_plugins::{file_name, sentence, sentence_while},
    config::refused_at,
};

/// File of the plugin with the defect, and the trusted comment that its signature needs.
pub(super) const BAD: &str = "libbad_never_returns.so";
pub(super) const BAD_COMMENT: &str = "tocsin plugin bad-never-returns 0.1.0";
pub(super) const GOOD: &str = "libwell_behaved.so";
const GOOD_COMMENT: &str = "tocsin plugin well-behaved 1.0.0";

const INTEGRATIONS: &str = "[integrations.good]\nplugin = 'well-behaved'\n\
                            [integrations.bad]\nplugin = 'bad-never-returns'\n";

/// Returns a site with two working plugins and an integration each, under these keys of
/// `[plugins]`.
fn site(plugins: &str) -> Site {
    Site::new()
        .plugin(&library("well-behaved"))
        .plugin(&library("bad-never-returns"))
        .config(&format!("[plugins]\n{plugins}\n{INTEGRATIONS}"))
}

/// Returns the sentence about a refused file, after checking that the other plugin serves.
#[track_caller]
fn refused(site: Site, file: &str) -> String {
    let host = site.serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.post("bad", "disk full").status, 503);
    let said = sentence(&host, file);
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.contains(": `integrations.bad.plugin`: "), "{check:?}");
    host.stop();
    said
}

#[track_caller]
pub(super) fn both_serve(host: &TestHost) {
    for integration in ["good", "bad"] {
        let answer = host.post(integration, "disk full");
        assert_eq!(answer.status, 200, "{answer:?} {:?}", host.reasons());
    }
}

/// Returns the verification of each plugin, as the API names it.
fn verified(host: &TestHost) -> Vec<Value> {
    let list = host.api("/api/v1/plugins");
    let plugins = list["plugins"].as_array().expect("a list");
    plugins.iter().map(|plugin| plugin["verified"].clone()).collect()
}

#[track_caller]
fn good(finished: &Finished) -> &str {
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    &finished.stdout
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// Replaces a plugin by the same library with bytes appended: the same plugin and version with
/// another checksum.
pub(super) fn change_bytes(site: &Site, file: &str) {
    let (path, new) = (site.plugins().join(file), site.plugins().join(".new"));
    let mut bytes = fs::read(&path).expect("it is there");
    bytes.extend_from_slice(b"something else");
    fs::write(&new, bytes).expect("it can be written");
    fs::rename(new, path).expect("it can be moved");
}

/// Key pair, as `minisign -G` makes it.
pub(super) struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().expect("a key pair"))
    }

    /// Returns the keys for the configuration.
    fn config(&self) -> String {
        format!("verify = 'signature'\npublic_keys = ['{}']\n", self.0.pk.to_base64())
    }

    /// Signs a file in the plugins folder.
    fn signature(&self, site: &Site, file: &str, comment: &str) -> String {
        let bytes = fs::File::open(site.plugins().join(file)).expect("it is there");
        let signature = minisign::sign(None, &self.0.sk, bytes, Some(comment), None);
        signature.expect("it can be signed").to_string()
    }

    pub(super) fn sign(&self, site: &Site, file: &str, comment: &str) {
        let signature = self.signature(site, file, comment);
        site.write(&format!("plugins/{file}.minisig"), &signature);
    }
}

/// Returns a site that requires signatures, and the signer of both plugins.
pub(super) fn signed() -> (Site, Signer) {
    let signer = Signer::new();
    let site = site(&signer.config());
    signer.sign(&site, GOOD, GOOD_COMMENT);
    signer.sign(&site, BAD, BAD_COMMENT);
    (site, signer)
}

/// Returns a site that requires checksums, with a lock file of both plugins.
pub(super) fn locked() -> Site {
    let site = site("verify = 'checksum'");
    good(&site.run(&["plugins", "lock"]));
    site
}

#[test]
fn signed_plugins_serve_and_their_signatures_are_shown() {
    let (site, _) = signed();
    assert_eq!(site.run(&["check"]).code, Some(0));
    let host = site.serve();
    both_serve(&host);
    assert_eq!(verified(&host), ["signature", "signature"]);
    assert_eq!(host.reasons(), [""; 0]);
    let list = host.run(&["plugins"]);
    let files = good(&list).split("\n\n").next().expect("a table");
    assert_snapshot!(files, @"
    PLUGIN             VERSION  STATE   VERIFIED   INTEGRATIONS  FILE
    bad-never-returns  0.1.0    loaded  signature  bad           libbad_never_returns.so
    well-behaved       1.0.0    loaded  signature  good          libwell_behaved.so
    ");
}

#[test]
fn inspect_with_a_configuration_shows_if_a_signature_is_trusted() {
    let (site, _) = signed();
    let file = site.plugins().join(GOOD);
    let file = file.to_str().expect("a path in UTF-8");
    let told = |args: &[&str]| {
        let inspected = site.run(&[&["plugins", "inspect", file], args].concat());
        let lines = inspected
            .stdout
            .lines()
            .filter(|line| line.starts_with("signature") || line.starts_with("loads here"));
        (inspected.code, lines.collect::<Vec<_>>().join("\n"))
    };
    let (code, alone) = told(&[]);
    assert_eq!(code, Some(0));
    assert_snapshot!(alone, @r#"
    signature     not verified, says "tocsin plugin well-behaved 1.0.0"
    loads here    yes, as far as this can be known without running the file
    "#);
    let (code, trusted) = told(&["--config", "tocsin.toml"]);
    assert_eq!(code, Some(0));
    assert_snapshot!(trusted, @r#"
    signature     good, says "tocsin plugin well-behaved 1.0.0"
    loads here    yes, as far as this can be known without running the file
    "#);
    fs::write(file, [fs::read(file).expect("it can be read"), b"more".to_vec()].concat())
        .expect("it can be written");
    let (code, changed) = told(&["--config", "tocsin.toml"]);
    assert_eq!(code, Some(1));
    assert_snapshot!(changed, @r#"
    signature     not one that the configuration trusts, says "tocsin plugin well-behaved 1.0.0"
    loads here    no, it is not the file that was signed, or its signature was changed
    "#);
}

#[test]
fn accepts_signatures_of_the_minisign_program() {
    let site = site("verify = 'signature'\npublic_keys = [{ file = 'minisign.pub' }]\n");
    let minisign = |args: &[&str]| {
        let mut command = Command::new("minisign");
        command.args(args).current_dir(site.path("")).stdin(Stdio::null()).output()
    };
    let Ok(made) = minisign(&["-G", "-W", "-p", "minisign.pub", "-s", "minisign.key"]) else {
        eprintln!("skipped: minisign is not installed");
        return;
    };
    if !made.status.success() {
        eprintln!("skipped: minisign is older than 0.11, where a key needs a password");
        return;
    }
    for (file, comment) in [(GOOD, GOOD_COMMENT), (BAD, BAD_COMMENT)] {
        let file = format!("plugins/{file}");
        let signed = minisign(&["-S", "-s", "minisign.key", "-m", &file, "-t", comment]);
        let signed = signed.expect("it ran before");
        assert!(signed.status.success(), "{signed:?}");
    }
    let host = site.serve();
    both_serve(&host);
    assert_eq!(verified(&host), ["signature", "signature"]);
}

#[test]
fn a_plugin_without_a_signature_is_refused() {
    let (site, _) = signed();
    fs::remove_file(site.path("plugins").join(format!("{BAD}.minisig"))).expect("it is there");
    assert_snapshot!(refused(site, BAD), @r#"is bad-never-returns 0.1.0, which has no signature: there is no `libbad_never_returns.so.minisig`; hint: put the signature there, or make one with `minisign -S -m plugins/libbad_never_returns.so -t "tocsin plugin bad-never-returns 0.1.0"`"#);
}

#[test]
fn a_signature_of_another_file_is_refused() {
    let (site, signer) = signed();
    let other = signer.signature(&site, GOOD, BAD_COMMENT);
    site.write(&format!("plugins/{BAD}.minisig"), &other);
    assert_snapshot!(refused(site, BAD), @"is not the file that was signed, or its signature was changed; hint: drop in the file and the signature that belong together, or sign this file");
}

#[test]
fn a_trusted_comment_for_another_version_is_refused() {
    let (site, signer) = signed();
    signer.sign(&site, BAD, "tocsin plugin bad-never-returns 0.1.1");
    assert_snapshot!(refused(site, BAD), @r#"is bad-never-returns 0.1.0, but the trusted comment of its signature is `tocsin plugin bad-never-returns 0.1.1`; hint: drop in the intended plugin, or sign it with `minisign -S -m plugins/libbad_never_returns.so -t "tocsin plugin bad-never-returns 0.1.0"`"#);
}

#[test]
fn a_trusted_comment_for_another_plugin_is_refused() {
    let (site, signer) = signed();
    signer.sign(&site, BAD, GOOD_COMMENT);
    assert_snapshot!(refused(site, BAD), @r#"is bad-never-returns 0.1.0, but the trusted comment of its signature is `tocsin plugin well-behaved 1.0.0`; hint: drop in the intended plugin, or sign it with `minisign -S -m plugins/libbad_never_returns.so -t "tocsin plugin bad-never-returns 0.1.0"`"#);
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let (site, signer) = signed();
    let stranger = Signer::new();
    stranger.sign(&site, BAD, BAD_COMMENT);
    let said = refused(site, BAD);
    let id = |signer: &Signer| {
        let file = signer.0.pk.to_box().expect("a key").to_string();
        let comment = file.lines().next().and_then(|line| line.rsplit(' ').next());
        comment.expect("it ends with the id").to_owned()
    };
    let said = said.replace(&id(&stranger), "[STRANGER]").replace(&id(&signer), "[SIGNER]");
    assert_snapshot!(said, @"is signed with the key `[STRANGER]`; `plugins.public_keys` has `[SIGNER]`; hint: if you trust that key, add it; if not, remove the file");
}

#[test]
fn a_broken_signature_is_refused() {
    let (site, signer) = signed();
    let signature = signer.signature(&site, BAD, BAD_COMMENT);
    site.write(&format!("plugins/{BAD}.minisig"), &signature[..signature.len() / 2]);
    assert_snapshot!(refused(site, BAD), @"has a signature `libbad_never_returns.so.minisig` that can't be read: it was not made by `minisign`; hint: copy it again, or sign the plugin again with `minisign`");
}

#[test]
fn refuses_a_signature_that_is_no_regular_file_without_blocking() {
    let (site, _) = signed();
    let path = site.path("plugins").join(format!("{BAD}.minisig"));
    fs::remove_file(&path).expect("it is there");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    assert_snapshot!(refused(site, BAD), @"has a signature `libbad_never_returns.so.minisig` that can't be read: it is no file of 16384 bytes or less; hint: copy it again, or sign the plugin again with `minisign`");
}

#[test]
fn a_plugin_that_is_signed_later_serves_after_a_reload() {
    let (site, signer) = signed();
    let signature = site.path("plugins").join(format!("{BAD}.minisig"));
    fs::remove_file(&signature).expect("it is there");
    let host = site.serve();
    assert_eq!(host.post("bad", "disk full").status, 503);
    // The plugin's own file does not change.
    signer.sign(host.site(), BAD, BAD_COMMENT);
    host.reload();
    both_serve(&host);
}

#[test]
fn plugins_of_a_removed_key_are_refused_at_the_next_start() {
    let (site, _) = signed();
    let host = site.serve();
    both_serve(&host);
    let successor = Signer::new();
    successor.sign(host.site(), GOOD, GOOD_COMMENT);
    host.site().configure(&format!("[plugins]\n{}\n{INTEGRATIONS}", successor.config()));
    host.reload();
    both_serve(&host);
    let site = host.stop();
    assert!(refused(site, BAD).starts_with("is signed with the key `"));
}

#[test]
fn locked_plugins_serve_and_their_checksums_are_shown() {
    let site = locked();
    assert_eq!(site.run(&["check"]).code, Some(0));
    let host = site.serve();
    both_serve(&host);
    assert_eq!(verified(&host), ["checksum", "checksum"]);
    assert_eq!(host.reasons(), [""; 0]);
}

#[test]
fn accepts_a_checksum_in_the_configuration() {
    let site = locked();
    let lock: toml::Table =
        fs::read_to_string(site.path("plugins.lock")).expect("a lock file").parse().expect("TOML");
    fs::remove_file(site.path("plugins.lock")).expect("it is there");
    let plugins = lock["plugin"].as_array().expect("a list").iter();
    let checksums: Vec<_> = plugins
        .map(|plugin| {
            let text = |key: &str| plugin[key].as_str().expect("a text").to_owned();
            format!("'{} {}' = '{}'", text("name"), text("version"), text("sha256").to_uppercase())
        })
        .collect();
    site.configure(&format!(
        "[plugins]\nverify = 'checksum'\n[plugins.checksums]\n{}\n{INTEGRATIONS}",
        checksums.join("\n")
    ));
    let host = site.serve();
    both_serve(&host);
    assert_eq!(verified(&host), ["checksum", "checksum"]);
}

#[test]
fn a_plugin_without_a_checksum_is_refused() {
    let site = locked();
    let bad = site.path("elsewhere.so");
    fs::rename(site.plugins().join(BAD), &bad).expect("moved");
    assert_snapshot!(good(&site.run(&["plugins", "lock"])), @"
    removed bad-never-returns 0.1.0 (`libbad_never_returns.so`)
    `plugins.lock` has 1 plugin
    ");
    fs::rename(bad, site.plugins().join(BAD)).expect("moved back");
    assert_snapshot!(refused(site, BAD), @"is bad-never-returns 0.1.0, which has no checksum in `plugins.lock`; hint: if you trust this file, run `tocsin plugins lock`; if not, remove it");
}

#[test]
fn without_a_lock_file_no_plugin_has_a_checksum() {
    let host = site("verify = 'checksum'").serve();
    assert_eq!(host.post("good", "disk full").status, 503);
    let said = sentence_while(&host, GOOD, (503, "unready"));
    assert_snapshot!(said, @"is well-behaved 1.0.0, which has no checksum: there is no `plugins.lock`; hint: if you trust this file, run `tocsin plugins lock`; if not, remove it");
    good(&host.site().run(&["plugins", "lock"]));
    host.reload();
    both_serve(&host);
}

#[test]
fn a_plugin_with_another_hash_than_in_the_lock_file_is_refused() {
    let site = locked();
    let lock = fs::read_to_string(site.path("plugins.lock")).expect("a lock file");
    let sha256 = |plugin: &str| {
        let after = &lock[lock.find(&format!("name = \"{plugin}\"")).expect("it is there")..];
        after[after.find("sha256 = \"").expect("it has one") + 10..][..64].to_owned()
    };
    let wrong = "0".repeat(64);
    let right = sha256("bad-never-returns");
    site.write("plugins.lock", lock.replace(&right, &wrong));
    let said = refused(site, BAD).replace(&right, "[RIGHT]").replace(&wrong, "[WRONG]");
    assert_snapshot!(said, @"is bad-never-returns 0.1.0 with other bytes than `plugins.lock` says: its SHA-256 is [RIGHT], not [WRONG]; hint: if you trust this file, run `tocsin plugins lock` again; if not, remove it");
}

#[test]
fn refuses_a_file_replaced_after_locking_and_keeps_the_running_plugin() {
    let host = locked().serve();
    both_serve(&host);
    change_bytes(host.site(), BAD);
    host.reload();
    both_serve(&host);
    let site = host.stop();
    assert!(refused(site, BAD).starts_with("is bad-never-returns 0.1.0 with other bytes than"));
}

#[test]
fn lock_reports_changes_and_a_check_writes_nothing() {
    let site = site("verify = 'checksum'");
    let lock = || fs::read_to_string(site.path("plugins.lock")).unwrap_or_default();
    let check = || site.run(&["plugins", "lock", "--check"]);

    let unlocked = check();
    assert_eq!((unlocked.code, lock().as_str()), (Some(1), ""), "{unlocked:?}");
    assert_snapshot!(unlocked.stdout, @"
    added bad-never-returns 0.1.0 (`libbad_never_returns.so`)
    added well-behaved 1.0.0 (`libwell_behaved.so`)
    ");
    assert_snapshot!(unlocked.stderr, @"
    error: `plugins.lock` differs from the contents of the plugins folder
    hint: if you trust what does, run `tocsin plugins lock`
    ");
    assert_snapshot!(good(&site.run(&["plugins", "lock"])), @"
    added bad-never-returns 0.1.0 (`libbad_never_returns.so`)
    added well-behaved 1.0.0 (`libwell_behaved.so`)
    `plugins.lock` has 2 plugins
    ");
    assert_snapshot!(good(&check()), @"`plugins.lock` has 2 plugins");
    let first = lock();

    change_bytes(&site, GOOD);
    fs::rename(site.plugins().join(BAD), site.plugins().join("bad.so")).expect("moved");
    let (folder, newer) = (tempfile::tempdir().expect("a folder"), library("well-behaved"));
    site.drop_in(&libraries::with_version(&newer, "1.0.1", folder.path()), "newer.so");
    site.write("plugins/broken.so", "no library");
    let changed = check();
    assert_eq!((changed.code, lock()), (Some(1), first), "{changed:?}");
    let changed = site.run(&["plugins", "lock"]);
    assert_eq!(changed.code, Some(0), "{changed:?}");
    assert_snapshot!(changed.stdout, @"
    another file for bad-never-returns 0.1.0 (`bad.so`)
    other bytes in well-behaved 1.0.0 (`libwell_behaved.so`)
    added well-behaved 1.0.1 (`newer.so`)
    `plugins.lock` has 3 plugins
    ");
    assert_snapshot!(changed.stderr, @"warning: left out: `broken.so` is not an ELF file; hint: drop in the `.so` that `cargo build --release` made of a plugin");
    assert_eq!(check().code, Some(0));
}

#[test]
fn refuses_a_broken_lock_file_until_it_is_written_again() {
    let site = locked();
    site.write("plugins.lock", "[[plugin]]\nname = 17\n");
    let config = format!("[plugins]\nverify = 'checksum'\n{INTEGRATIONS}");
    assert_snapshot!(refused_at(&site, &config), @"
    error: tocsin.toml:1:2: `plugins.lock`: cannot read the lock file `plugins.lock`: line 2: invalid type: an integer, expected a string
      |
    1 | [plugins]
      |  ^^^^^^^
    hint: write it again with `tocsin plugins lock`
    ");
    let mended = site.run(&["plugins", "lock"]);
    assert_eq!(mended.code, Some(0), "{mended:?}");
    assert_snapshot!(mended.stderr, @"warning: cannot read `plugins.lock`, which counts as empty: line 2: invalid type: integer `17`, expected a string");
    assert_eq!(site.run(&["check"]).code, Some(0));
}

#[test]
fn refuses_a_lock_file_that_others_can_write() {
    let site = locked();
    set_mode(&site.path("plugins.lock"), 0o666);
    let config = format!("[plugins]\nverify = 'checksum'\n{INTEGRATIONS}");
    assert_snapshot!(refused_at(&site, &config), @"
    error: tocsin.toml:1:2: `plugins.lock`: the lock file `plugins.lock` can be changed by everybody on this machine
      |
    1 | [plugins]
      |  ^^^^^^^
    hint: `chmod o-w plugins.lock`
    ");
}

#[test]
fn refuses_a_plugin_that_others_can_write_unless_it_is_allowed_by_name() {
    let bad = |site: &Site| set_mode(&site.plugins().join(BAD), 0o757);
    let strict = site("");
    bad(&strict);
    assert_snapshot!(refused(strict, BAD), @"can be changed by everybody on this machine; hint: `chmod o-w plugins/libbad_never_returns.so`, or add `libbad_never_returns.so` to `plugins.allow_writable_by_others`");
    let lenient = site(&format!("allow_writable_by_others = ['{BAD}']"));
    bad(&lenient);
    both_serve(&lenient.serve());
}

#[test]
fn a_plugin_of_another_owner_is_refused_unless_it_is_allowed_by_name() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let bad =
        |site: &Site| chown(site.plugins().join(BAD), Some(12345), None).expect("we are root");
    let strict = site("");
    bad(&strict);
    assert_snapshot!(refused(strict, BAD), @"belongs to user 12345, who is neither root nor the host's user; hint: `chown root plugins/libbad_never_returns.so`, or add `libbad_never_returns.so` to `plugins.allow_writable_by_others`");
    let lenient = site(&format!("allow_writable_by_others = ['{BAD}']"));
    bad(&lenient);
    both_serve(&lenient.serve());
}

#[test]
fn refuses_a_plugin_that_its_group_can_write() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let site = site("");
    let bad = site.plugins().join(BAD);
    chown(&bad, None, Some(12345)).expect("we are root");
    set_mode(&bad, 0o775);
    assert_snapshot!(refused(site, BAD), @"can be changed by group 12345, which is neither root's nor the host's; hint: `chmod g-w plugins/libbad_never_returns.so`, or add `libbad_never_returns.so` to `plugins.allow_writable_by_others`");
}

#[test]
fn refuses_a_folder_that_others_can_write_unless_it_is_allowed() {
    let site = site("");
    set_mode(&site.plugins(), 0o777);
    assert_snapshot!(refused_at(&site, &format!("[plugins]\ndir = 'plugins'\n{INTEGRATIONS}")), @"
    error: tocsin.toml:2:7: `plugins.dir`: the plugins folder `plugins` can be changed by everybody on this machine
      |
    2 | dir = 'plugins'
      |       ^^^^^^^^^
    hint: `chmod o-w plugins`, or add `.` to `plugins.allow_writable_by_others`
    ");
    site.configure(&format!("[plugins]\nallow_writable_by_others = ['.']\n{INTEGRATIONS}"));
    both_serve(&site.serve());
}

#[test]
fn a_folder_made_writable_to_others_stops_reloads_but_not_the_host() {
    let host = site("").serve();
    set_mode(&host.site().plugins(), 0o777);
    host.reload();
    both_serve(&host);
    let reasons = host.reasons().join("\n");
    assert!(reasons.contains("`plugins` can be changed by everybody"), "{reasons}");
    set_mode(&host.site().plugins(), 0o755);
    host.reload();
    assert_eq!(host.reasons(), [""; 0]);
}

#[test]
fn a_symlink_out_of_the_folder_is_refused() {
    let site = site("");
    fs::rename(site.plugins().join(BAD), site.path("elsewhere.so")).expect("moved");
    symlink("../elsewhere.so", site.plugins().join(BAD)).expect("linked");
    assert_snapshot!(refused(site, BAD), @"is a symlink out of the plugins folder; hint: copy the file itself into the folder");
}

#[test]
fn a_symlink_within_the_folder_is_followed() {
    let (site, signer) = signed();
    let versions = site.plugins().join("versions");
    fs::create_dir(&versions).expect("made");
    fs::rename(site.plugins().join(BAD), versions.join("1")).expect("moved");
    symlink("versions/1", site.plugins().join(BAD)).expect("linked");
    signer.sign(&site, BAD, BAD_COMMENT);
    both_serve(&site.serve());
}

#[test]
fn refuses_a_symlink_into_a_folder_that_others_can_write() {
    let site = site("");
    let versions = site.plugins().join("versions");
    fs::create_dir(&versions).expect("made");
    fs::rename(site.plugins().join(BAD), versions.join("1")).expect("moved");
    symlink("versions/1", site.plugins().join(BAD)).expect("linked");
    set_mode(&versions, 0o777);
    let folder = versions.canonicalize().expect("it is there").display().to_string();
    assert_snapshot!(refused(site, BAD).replace(&folder, "[FOLDER]"), @"is a symlink into `[FOLDER]`, which can be changed by everybody on this machine; hint: `chmod o-w [FOLDER]`, or add `libbad_never_returns.so` to `plugins.allow_writable_by_others`");
}

#[test]
fn refuses_a_pipe_named_like_a_plugin_without_blocking() {
    let site = site("");
    let bad: PathBuf = site.plugins().join(BAD);
    fs::remove_file(&bad).expect("it is there");
    mknodat(CWD, &bad, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    assert_snapshot!(refused(site, file_name(&bad)), @"is a pipe, not a file; hint: remove it, or give it another name");
}

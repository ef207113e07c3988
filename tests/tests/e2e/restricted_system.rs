//! On a system without a file system that a host needs, the host's error names that file system and
//! a remedy.

use std::process::Command;

use insta::assert_snapshot;
use rustix::process::geteuid;
use tocsin_tests::{
    Site,
    libraries::{self, library},
};

/// Returns exit code and output of a command without `/proc`, or `None` if this machine cannot hide
/// `/proc`.
fn without_proc(site: &Site, args: &[&str]) -> Option<(Option<i32>, String)> {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can take `/proc` away");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "umount -l /proc && exec \"$@\"", "sh"]);
    command.arg(libraries::tocsin()).args(args).current_dir(site.path(""));
    let ended = command.env("TOCSIN_CONFIG", "tocsin.toml").output().ok()?;
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    if said.contains("unshare:") || said.contains("umount:") {
        eprintln!("SKIPPED: `/proc` can't be taken away here: {said}");
        return None;
    }
    Some((ended.status.code(), said))
}

#[test]
fn reports_a_missing_proc_file_system() {
    let file = library("well-behaved");
    let site = Site::new().plugin(&file).config("[integrations.good]\nplugin = 'well-behaved'\n");
    for verb in ["check", "serve"] {
        let Some((code, said)) = without_proc(&site, &[verb]) else { return };
        assert_eq!(code, Some(2), "{said}");
        insta::allow_duplicates!(assert_snapshot!(said, @"
        error: cannot read the configuration `tocsin.toml`: `/proc` is not mounted, which the host needs to open files safely
        hint: mount it with `mount -t proc proc /proc`, or give the container or service its own
        "));
    }
    let file = file.to_str().expect("UTF-8");
    let Some((code, said)) = without_proc(&site, &["plugins", "inspect", file]) else { return };
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be read: `/proc` is not mounted"), "{said}");
    let Some((code, said)) = without_proc(&site, &["plugins", "schema", file]) else { return };
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not be tried: `/proc` is not mounted"), "{said}");
}

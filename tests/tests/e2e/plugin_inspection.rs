//! `tocsin plugins inspect` describes any file, says if this host would load it, and runs none of
//! its code.

use std::path::Path;

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;
use tocsin_tests::{
    Finished, Site,
    libraries::{self, library},
};

fn inspect(file: &Path) -> Finished {
    // The folder has no configuration.
    let site = Site::new().env("TOCSIN_CONFIG", "/nowhere/tocsin.toml");
    site.run(&["plugins", "inspect", file.to_str().expect("a path in UTF-8")])
}

/// Returns the description of a file that this host would load.
#[track_caller]
fn loadable(file: &Path) -> String {
    let Finished { code, stdout, stderr } = inspect(file);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    normalized(&stdout, file)
}

/// Returns the description of a file that this host would refuse.
#[track_caller]
fn refused(file: &Path) -> String {
    let Finished { code, stdout, stderr } = inspect(file);
    assert_eq!(code, Some(1), "{stderr}");
    normalized(&format!("{stdout}{stderr}"), file)
}

/// Replaces values that differ between machines.
fn normalized(text: &str, file: &Path) -> String {
    let mut text = text.replace(&*file.parent().expect("a folder").to_string_lossy(), "[FOLDER]");
    for (pattern, replacement) in [
        (r"\d+ bytes", "[SIZE] bytes"),
        (r"[0-9a-f]{64}", "[SHA256]"),
        (r"(?m)^rustc +\d.*$", "rustc         [RUSTC]"),
        (r"(?m)^needs +lib.*$", "needs         [LIBRARIES]"),
        (r"(?m)^plugin-api +1\..*$", "plugin-api    [VERSION]"),
        (r"this host has \d+\.\d+\.\d+", "this host has [VERSION]"),
        (r"2\.\d+ or later", "[GLIBC] or later"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into();
    }
    text
}

#[test]
fn describes_a_plugin() {
    assert_snapshot!(loadable(&library("well-behaved")), @"
    file          [FOLDER]/libwell_behaved.so
    size          [SIZE] bytes
    sha256        [SHA256]
    signature     none
    name          well-behaved
    version       1.0.0
    description   Every body is an alert
    licence       MIT OR Apache-2.0
    plugin-api    [VERSION]
    rustc         [RUSTC]
    panics        unwind
    capabilities  receive
    target        x86-64, 64-bit, little-endian
    soname        none
    needs         [LIBRARIES]
    glibc         [GLIBC] or later
    loads here    yes, as far as this can be known without running the file
    ");
}

#[test]
fn describes_a_plugin_as_json() {
    let file = library("well-behaved");
    let site = Site::new();
    let told = site.run(&["plugins", "inspect", "--json", file.to_str().expect("UTF-8")]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(
        (&told["manifest"]["name"], &told["refusal"]),
        (&"well-behaved".into(), &Value::Null)
    );
    assert_eq!(told["elf"]["bits"], 64);
    let needs = told["elf"]["needs"].as_array().expect("a list");
    assert!(needs.contains(&"libc.so.6".into()), "{needs:?}");
    assert_eq!(told["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn runs_no_code_of_the_file() {
    let folder = TempDir::new().expect("a folder");
    let deadly = libraries::without_code(&library("well-behaved"), folder.path());
    assert!(loadable(&deadly).contains("\nloads here    yes"));
    // The plugin would have left this trace.
    let mapped = std::process::Command::new(libraries::pretended_host()).arg(&deadly).output();
    assert_eq!(mapped.expect("it starts").status.code(), None, "ended by a signal");
}

#[test]
fn shows_a_signature_as_unverified() {
    let folder = TempDir::new().expect("a folder");
    let file = libraries::with_version(&library("well-behaved"), "1.0.1", folder.path());
    let signature = file.with_extension("so.minisig");
    std::fs::write(
        &signature,
        "untrusted comment: x\nRUQ=\ntrusted comment: well-behaved 1.0.1\nRUQ=\n",
    )
    .expect("it can be written");
    assert!(
        loadable(&file).contains("\nsignature     not verified, says \"well-behaved 1.0.1\"\n")
    );
    std::fs::write(&signature, "something else").expect("it can be written");
    assert!(loadable(&file).contains("-1.0.1.so.minisig` is no minisign signature\n"));
}

#[test]
fn describes_a_refused_plugin() {
    assert_snapshot!(refused(&libraries::panic_abort()), @r#"
    file          [FOLDER]/libbad_panic_abort.so
    size          [SIZE] bytes
    sha256        [SHA256]
    signature     none
    name          bad-panic-abort
    version       0.1.0
    description   Is built to abort on a panic
    licence       MIT OR Apache-2.0
    plugin-api    [VERSION]
    rustc         [RUSTC]
    panics        abort
    capabilities  receive
    target        x86-64, 64-bit, little-endian
    soname        none
    needs         [LIBRARIES]
    glibc         [GLIBC] or later
    loads here    no, it is plugin `bad-panic-abort` 0.1.0, built with `panic = "abort"`, so that a panic in it would end this host
    error: this host would not load `[FOLDER]/libbad_panic_abort.so`
    hint: build it with `panic = "unwind"`, the default
    "#);
    assert_snapshot!(refused(&libraries::pretended("2.0.0")), @"
    file          [FOLDER]/libpretended_later_2_0_0.so
    size          [SIZE] bytes
    sha256        [SHA256]
    signature     none
    name          pretended-later
    version       1.0.0
    description   A plugin from a later time
    licence       MIT OR Apache-2.0
    plugin-api    2.0.0
    rustc         [RUSTC]
    panics        unwind
    capabilities  receive
    target        x86-64, 64-bit, little-endian
    soname        none
    needs         [LIBRARIES]
    glibc         [GLIBC] or later
    loads here    no, it is plugin `pretended-later` 1.0.0, built for plugin-api 2.0.0; this host has [VERSION]
    error: this host would not load `[FOLDER]/libpretended_later_2_0_0.so`
    hint: upgrade the host, or drop in a version of the plugin for this one
    ");
}

#[test]
fn describes_a_library_that_is_no_plugin() {
    assert_snapshot!(refused(&library("bad-no-manifest")), @"
    file          [FOLDER]/libbad_no_manifest.so
    size          [SIZE] bytes
    sha256        [SHA256]
    signature     none
    manifest      none
    target        x86-64, 64-bit, little-endian
    soname        none
    needs         [LIBRARIES]
    glibc         [GLIBC] or later
    loads here    no, it has no `.tocsin.manifest` section, so it is no Tocsin plugin
    error: this host would not load `[FOLDER]/libbad_no_manifest.so`
    hint: export the plugin with `export_plugin!`, and remove what is no plugin
    ");
}

#[test]
fn names_the_architecture_of_a_foreign_library() {
    let folder = TempDir::new().expect("a folder");
    let foreign = libraries::other_machine(&library("well-behaved"), folder.path());
    let told = refused(&foreign);
    assert!(told.contains("\nname          well-behaved\n"), "{told}");
    assert!(told.contains("\ntarget        AArch64, 64-bit, little-endian\n"), "{told}");
    assert!(
        told.contains("\nloads here    no, it is built for AArch64, this host runs on x86-64\n")
    );
}

#[test]
fn describes_a_truncated_library() {
    let folder = TempDir::new().expect("a folder");
    assert_snapshot!(refused(&libraries::truncated(&library("well-behaved"), folder.path())), @"
    file          [FOLDER]/libwell_behaved-truncated.so
    size          [SIZE] bytes
    sha256        [SHA256]
    signature     none
    manifest      none
    target        x86-64, 64-bit, little-endian
    soname        none
    needs         none
    glibc         none
    loads here    no, it is truncated: its headers point behind its end
    error: this host would not load `[FOLDER]/libwell_behaved-truncated.so`
    hint: copy it again, to another name first, and rename it when the copy is complete
    ");
    assert_snapshot!(refused(&libraries::not_elf(folder.path())), @"
    file          [FOLDER]/libnot_elf.so
    size          [SIZE] bytes
    sha256        [SHA256]
    signature     none
    manifest      none
    loads here    no, it is not an ELF file
    error: this host would not load `[FOLDER]/libnot_elf.so`
    hint: drop in the `.so` that `cargo build --release` made of a plugin
    ");
}

#[test]
fn reports_a_missing_file() {
    let nowhere = inspect(Path::new("/nowhere/x.so"));
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (Some(1), ""));
    assert_snapshot!(nowhere.stderr, @"error: `/nowhere/x.so` cannot be read: No such file or directory (os error 2)");
}

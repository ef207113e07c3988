//! Builds the libraries that the tests load. The path of each library comes from cargo's messages.
//!
//! A test process builds each library at most once, and one library at a time. Libraries other than the
//! usual build of a package of this workspace go to `other-times` under the workspace's target directory.
//! Their dependencies have the same versions and features, so that cargo compiles these once.
//! `cargo metadata` names the target directory, which `CARGO_TARGET_DIR` or a configuration file can set.
//! A relative path starts at the workspace's folder.
//!
//! The environment is passed on unchanged: `RUSTFLAGS` apply to every build.

mod altered;
mod pretended;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex, PoisonError},
};

use cargo_metadata::{Artifact, Message, MetadataCommand};

pub use altered::{
    not_elf, other_machine, stripped, truncated, with_description, with_name, with_version,
    without_code,
};

/// Builds the library of a package of this workspace, in the `dev` profile; in a drill, in `release`.
///
/// # Panics
///
/// If it does not build or has no `cdylib`, with cargo's messages.
pub fn library(package: &str) -> PathBuf {
    let args = [&["build", "--package", package][..], profile()].concat();
    once(package, || built_library(&args, workspace(), package))
}

/// Builds the `tocsin` program, in the `dev` profile; in a drill, in `release`.
///
/// # Panics
///
/// If it does not build, with cargo's messages.
pub fn tocsin() -> PathBuf {
    let args = [&["build", "--package", "tocsin", "--bin", "tocsin"][..], profile()].concat();
    once("tocsin program", || executable(cargo(&args, workspace()), "tocsin"))
}

/// Returns the arguments for the profile: `release` in the drills of `make drill`, otherwise `dev`.
fn profile() -> &'static [&'static str] {
    if env::var_os("TOCSIN_DRILL").is_some() { &["--release"] } else { &[] }
}

/// Builds `bad-panic-abort` so that a panic aborts.
///
/// # Panics
///
/// If it does not build, with cargo's messages.
pub fn panic_abort() -> PathBuf {
    let package = "bad-panic-abort";
    let args = ["rustc", "--package", package, "--lib", "--crate-type", "cdylib"];
    let strategy = ["--", "-C", "panic=abort"];
    // Among the usual builds, the library would have the path of the one that unwinds.
    once("panic abort", || {
        built_library(&[&args[..], &other_times_args(), &strategy].concat(), workspace(), package)
    })
}

/// Builds `frozen-heartbeat`: a plugin for plugin-api 1.0.0, with the dependencies that 1.0.0 had.
///
/// # Panics
///
/// If it does not build, with cargo's messages.
pub fn frozen() -> PathBuf {
    let package = "frozen-heartbeat";
    let args = ["build", "--locked", "--package", package];
    let folder = workspace().join("tests/frozen");
    once(package, || built_library(&[&args[..], &other_times_args()].concat(), &folder, package))
}

/// Builds `frozen-host`: a program on the host's side of plugin-api as it was in 1.0.0.
///
/// `frozen-host [--body TEXT] LIBRARY...` admits each library as the host of plugin-api 1.0.0 did, gives
/// it the body, and prints the outcome's name. If one of these steps fails, the program exits with 1 and a
/// sentence on stderr.
///
/// # Panics
///
/// If it does not build, with cargo's messages.
pub fn frozen_host() -> PathBuf {
    let package = "frozen-host";
    let args = ["build", "--locked", "--package", package];
    let folder = workspace().join("tests/frozen");
    once(package, || {
        executable(cargo(&[&args[..], &other_times_args()].concat(), &folder), package)
    })
}

/// Builds `pretended-later`: a plugin for a plugin-api that does not exist yet.
///
/// Version `1.2.0` has one module function, one capability, one field of an event and one urgency more
/// than the present plugin-api; `2.0.0` differs from the present one only in its version.
///
/// # Panics
///
/// If it does not build, with cargo's messages, or the version is another one.
pub fn pretended(version: &str) -> PathBuf {
    let package = "pretended-later";
    let args = ["build", "--package", package];
    let features: &[&str] =
        if version == pretended::MINOR { &["--features", "minor"] } else { &[] };
    once(&format!("{package} {version}"), || {
        let (folder, name) = (pretended::prepare(version), pretended::library_name(version));
        built_library(&[&args, features, &other_times_args()].concat(), &folder, &name)
    })
}

/// Builds `pretended-echo`: a plugin with a capability that plugin-api 1.2.0 added, and without `receive`.
///
/// # Panics
///
/// If it does not build, with cargo's messages.
pub fn pretended_echo() -> PathBuf {
    let package = "pretended-echo";
    let args = ["build", "--package", package];
    once(package, || {
        let folder = pretended::prepare(pretended::MINOR);
        built_library(&[&args[..], &other_times_args()].concat(), &folder, package)
    })
}

/// Builds `pretended-host`: a program on the host's side of plugin-api 1.2.0, see [`mod@pretended`].
///
/// `pretended-host [--body TEXT] LIBRARY...` opens each library, prints `described` or `not described`
/// (whether it has the function that 1.2.0 added), gives it the body, and prints the outcome's name, or
/// `echoed` if the plugin has the capability `echo`. If one of these steps fails, the program exits with 1
/// and a sentence on stderr.
///
/// # Panics
///
/// If it does not build, with cargo's messages.
pub fn pretended_host() -> PathBuf {
    let package = "pretended-host";
    let args = ["build", "--package", package];
    once(package, || {
        let folder = pretended::prepare(pretended::MINOR);
        executable(cargo(&[&args[..], &other_times_args()].concat(), &folder), package)
    })
}

fn once(what: &str, build: impl FnOnce() -> PathBuf) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // The lock is held during the build: two runs of cargo would only wait for each other. After a panic
    // in a build, the map is still valid.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(what) {
        return path.clone();
    }
    let path = build();
    built.insert(what.into(), path.clone());
    path
}

/// Builds a library and returns its path. `name` is that of the package, or of its library if that has
/// another name.
fn built_library(args: &[&str], folder: &Path, name: &str) -> PathBuf {
    let target = name.replace('-', "_");
    let built = cargo(args, folder);
    let mut libraries = built
        .into_iter()
        .filter(|artifact| artifact.target.name == target && artifact.target.is_cdylib())
        .flat_map(|artifact| artifact.filenames)
        .filter(|file| file.extension() == Some("so"));
    libraries.next_back().unwrap_or_else(|| panic!("`{name}` builds no cdylib")).into()
}

fn executable(built: Vec<Artifact>, name: &str) -> PathBuf {
    let executables = built.into_iter().filter(|artifact| artifact.target.name == name);
    let executable = executables.filter_map(|artifact| artifact.executable).next_back();
    executable.unwrap_or_else(|| panic!("`{name}` builds no executable")).into()
}

/// Runs cargo in `folder` and returns the artifacts that cargo built.
fn cargo(args: &[&str], folder: &Path) -> Vec<Artifact> {
    let (command, rest) = args.split_first().expect("a command");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args([command, "--message-format=json-render-diagnostics"])
        .args(rest)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(
        output.status.success(),
        "`cargo {}` failed in `{}`:\n{}",
        args.join(" "),
        folder.display(),
        String::from_utf8_lossy(&output.stderr),
    );
    Message::parse_stream(&*output.stdout)
        .filter_map(|message| match message.expect("lines are read from memory") {
            Message::CompilerArtifact(artifact) => Some(artifact),
            _ => None,
        })
        .collect()
}

fn other_times_args() -> [&'static str; 2] {
    ["--target-dir", other_times().to_str().expect("a target directory in UTF-8")]
}

/// Returns the target directory of the builds that are not the usual ones of this workspace.
///
/// # Panics
///
/// If `cargo metadata` fails.
pub fn other_times() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let metadata = MetadataCommand::new().current_dir(workspace()).no_deps().exec();
        let metadata = metadata.unwrap_or_else(|error| panic!("cargo metadata: {error}"));
        metadata.target_directory.join("other-times").into()
    });
    &FOLDER
}

/// Returns the folder of this workspace.
///
/// # Panics
///
/// Never: this package is in a workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}

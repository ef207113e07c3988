//! Admission: everything that the bytes of a plugin can tell, checked before any of them runs.
//!
//! Admission maps and loads nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use object::{
    LittleEndian, Object, ObjectSection, ObjectSymbol, elf,
    read::elf::{ElfFile64, FileHeader, ProgramHeader},
};
use semver::Version;
use tocsin_plugin_api::{
    abi,
    manifest::{self, Manifest},
};

use super::{
    dropped_file::{DroppedFile, is_elf},
    folder::OpenFile,
    refusal::{AdmissionRefusal, BUILD_HINT, not_elf},
    verification::{Verified, Verifier},
};
use crate::{alert::PluginId, system::file_stamp::Stamp};

/// A plugin that may be loaded: its bytes passed every check, and the operator's [`Verifier`] accepted
/// exactly these bytes.
#[derive(Debug)]
pub struct AdmittedPlugin {
    /// The path of the file.
    pub path: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The version of the manifest, parsed.
    pub version: Version,
    /// The name and version.
    pub id: Arc<PluginId>,
    /// The SHA-256 hash of the bytes, in hex.
    pub sha256: String,
    /// The state of the file when it was read, if it had settled by then.
    pub stamp: Option<Stamp>,
    // Private, so that only this file can make an admitted plugin.
    verified: Option<Verified>,
}

impl AdmittedPlugin {
    /// Returns true if the plugin has the capability with this name, such as [`manifest::NOTIFY`].
    pub(crate) fn has_capability(&self, name: &str) -> bool {
        self.manifest.capabilities.iter().any(|capability| capability == name)
    }

    /// Returns the result of the verification; `None` if the configuration requires none.
    pub fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }

    /// A plugin that passed no check, for tests.
    #[cfg(test)]
    pub(crate) fn pretended(
        path: PathBuf,
        name: &str,
        sha256: &str,
        stamp: Option<Stamp>,
        verified: Option<Verified>,
    ) -> Self {
        let manifest = serde_json::json!({
            "manifest": 1, "name": name, "version": "1.0.0", "panic": "unwind",
            "plugin_api": tocsin_plugin_api::VERSION, "capabilities": ["receive"],
        });
        let manifest = serde_json::from_value(manifest).expect("a manifest");
        let id = Arc::new(PluginId { name: name.into(), version: "1.0.0".into() });
        let (version, sha256) = (Version::new(1, 0, 0), sha256.into());
        Self { path, manifest, version, id, sha256, stamp, verified }
    }

    /// Returns the same plugin with the result of a new verification.
    pub(super) fn verified_again(&self, verified: Option<Verified>) -> Self {
        Self {
            path: self.path.clone(),
            manifest: self.manifest.clone(),
            version: self.version.clone(),
            id: Arc::clone(&self.id),
            sha256: self.sha256.clone(),
            stamp: self.stamp,
            verified,
        }
    }
}

/// Returns the usual name of a processor.
pub(super) fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_AARCH64 => "AArch64".into(),
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_RISCV => "RISC-V".into(),
        other => format!("ELF machine {}", other.0),
    }
}

impl Verifier {
    /// Opens, reads and examines a file of the folder, and lets the verifier decide: the only way to an
    /// [`AdmittedPlugin`] outside of a sandbox.
    ///
    /// # Errors
    ///
    /// An [`AdmissionRefusal`] with the fault of the file and its remedy.
    pub fn admit(&self, path: &Path) -> Result<AdmittedPlugin, AdmissionRefusal> {
        self.admit_open(self.open(path)?)
    }

    /// Admits a known plugin again under the present trust settings. The file is read again only if the
    /// file or its signature has changed.
    ///
    /// # Errors
    ///
    /// As for [`admit`](Self::admit).
    pub fn admit_again(&self, known: &AdmittedPlugin) -> Result<AdmittedPlugin, AdmissionRefusal> {
        let file = self.open(&known.path)?;
        if known.stamp.is_none() || known.stamp != file.stamp() {
            return self.admit_open(file);
        }
        let with_manifest = |refusal: AdmissionRefusal| refusal.of(Some(known.manifest.clone()));
        self.check_permissions(&file).map_err(with_manifest)?;
        match self.verify_again(&known.id, &known.path, &known.sha256, known.verified()) {
            Some(verified) => Ok(known.verified_again(verified.map_err(with_manifest)?)),
            None => file.read()?.admit(self),
        }
    }

    fn admit_open(&self, file: OpenFile) -> Result<AdmittedPlugin, AdmissionRefusal> {
        match self.check_permissions(&file) {
            Ok(()) => file.read()?.admit(self),
            Err(refusal) => Err(refusal.of(manifest(file))),
        }
    }
}

/// Returns the manifest of a file that is refused for another reason.
fn manifest(file: OpenFile) -> Option<Manifest> {
    Some(file.read().ok()?.examine().ok()?.0)
}

impl DroppedFile {
    /// Checks everything that the bytes can tell, and returns the manifest and its parsed version.
    ///
    /// # Errors
    ///
    /// An [`AdmissionRefusal`] with the first fault.
    pub fn examine(&self) -> Result<(Manifest, Version), AdmissionRefusal> {
        examine(&self.bytes)
    }

    /// Makes a plugin that may be loaded: [examines](Self::examine) the bytes and asks the verifier.
    ///
    /// # Errors
    ///
    /// An [`AdmissionRefusal`] with the first fault.
    pub fn admit(self, verifier: &Verifier) -> Result<AdmittedPlugin, AdmissionRefusal> {
        let (manifest, version) = self.examine()?;
        let id = PluginId { name: manifest.name.clone(), version: version.to_string() };
        let verified = match verifier.verify(&id, &self) {
            Ok(verified) => verified,
            Err(refusal) => return Err(refusal.of(Some(manifest))),
        };
        let Self { path, stamp, sha256, .. } = self;
        Ok(AdmittedPlugin { path, manifest, version, id: Arc::new(id), sha256, stamp, verified })
    }

    /// Makes a plugin that may be loaded in a child process: [examines](Self::examine) the bytes and
    /// asks no verifier. The operator who names a file by its path trusts the file.
    ///
    /// # Errors
    ///
    /// An [`AdmissionRefusal`] with the first fault.
    pub(crate) fn admit_unverified(self) -> Result<AdmittedPlugin, AdmissionRefusal> {
        let (manifest, version) = self.examine()?;
        let id = PluginId { name: manifest.name.clone(), version: version.to_string() };
        let Self { path, stamp, sha256, .. } = self;
        let (id, verified) = (Arc::new(id), None);
        Ok(AdmittedPlugin { path, manifest, version, id, sha256, stamp, verified })
    }
}

fn examine(bytes: &[u8]) -> Result<(Manifest, Version), AdmissionRefusal> {
    let file = whole_library(bytes)?;
    let manifest = read_manifest(&file)?;
    let version =
        check_manifest(&manifest).and_then(|version| exports_module(&file).map(|()| version));
    match version {
        Ok(version) => Ok((manifest, version)),
        Err(refusal) => Err(refusal.of(Some(manifest))),
    }
}

type Elf<'b> = ElfFile64<'b, LittleEndian>;

/// The processor of this host: its ELF number and its name.
const MACHINE: (elf::Machine, &str) = if cfg!(target_arch = "aarch64") {
    (elf::EM_AARCH64, "AArch64")
} else {
    (elf::EM_X86_64, "x86-64")
};

/// The capabilities that this host can ask of a plugin.
const CAPABILITIES: &[&str] = &[manifest::RECEIVE, manifest::NOTIFY];

/// The longest manifest: one is kept in memory for every file and shown wherever plugins are listed.
const LONGEST_MANIFEST_BYTES: usize = 64 * 1024;
const LONGEST_VERSION_BYTES: usize = 128;

const COPY_HINT: &str =
    "copy it again, to another name first, and rename it when the copy is complete";

/// Parses a shared library for this machine, and checks that no part of it is missing: mapping a library
/// with a missing part kills the process.
fn whole_library(bytes: &[u8]) -> Result<Elf<'_>, AdmissionRefusal> {
    if !is_elf(bytes) {
        return Err(not_elf(bytes.is_empty()));
    }
    if bytes.get(4) != Some(&elf::ELFCLASS64.0) || bytes.get(5) != Some(&elf::ELFDATA2LSB.0) {
        return Err(AdmissionRefusal::new("is not a 64-bit little-endian ELF file", BUILD_HINT));
    }
    let truncated =
        || AdmissionRefusal::new("is truncated: its headers point behind its end", COPY_HINT);
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes).map_err(|_| truncated())?;
    let endian = LittleEndian;
    let machine = header.e_machine(endian);
    if machine != MACHINE.0 {
        let theirs = machine_name(machine);
        let reason = format!("is built for {theirs}, this host runs on {}", MACHINE.1);
        return Err(AdmissionRefusal::new(reason, "build the plugin for this machine"));
    }
    if header.e_type(endian) != elf::ET_DYN {
        return Err(AdmissionRefusal::new("is not a shared library", BUILD_HINT));
    }
    let length = bytes.len() as u64;
    let segments = header.program_headers(endian, bytes).map_err(|_| truncated())?;
    let ends_inside =
        |offset: u64, size: u64| offset.checked_add(size).is_some_and(|end| end <= length);
    if !segments
        .iter()
        .all(|segment| ends_inside(segment.p_offset(endian), segment.p_filesz(endian)))
    {
        return Err(truncated());
    }
    let file = Elf::parse(bytes).map_err(|_| truncated())?;
    let all_there = file
        .sections()
        .all(|section| section.file_range().is_none_or(|(offset, size)| ends_inside(offset, size)));
    if all_there { Ok(file) } else { Err(truncated()) }
}

fn read_manifest(file: &Elf<'_>) -> Result<Manifest, AdmissionRefusal> {
    let section = file.section_by_name(manifest::SECTION);
    let json = section.and_then(|section| section.data().ok()).ok_or_else(|| {
        let reason = format!("has no `{}` section, so it is no Tocsin plugin", manifest::SECTION);
        AdmissionRefusal::new(
            reason,
            "export the plugin with `export_plugin!`, and remove what is no plugin",
        )
    })?;
    if json.len() > LONGEST_MANIFEST_BYTES {
        let reason = format!("has a manifest of {} bytes, more than any plugin needs", json.len());
        return Err(AdmissionRefusal::new(reason, "shorten the description in its Cargo.toml"));
    }
    // The format comes first: other fields of a later format are not known here.
    let form = serde_json::from_slice::<serde_json::Value>(json).ok();
    let form = form.and_then(|value| value.get("manifest")?.as_u64());
    if form.is_some_and(|form| form != u64::from(manifest::FORMAT)) {
        return Err(AdmissionRefusal::new(
            "has a manifest in a form that is newer than this host",
            "upgrade the host",
        ));
    }
    serde_json::from_slice(json).map_err(|error| {
        let reason = format!("has a manifest that can't be read: {error}");
        AdmissionRefusal::new(reason, "build it with an unchanged tocsin-plugin-api")
    })
}

fn check_manifest(manifest: &Manifest) -> Result<Version, AdmissionRefusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=64).contains(&manifest.name.len()) || !manifest.name.bytes().all(allowed) {
        let reason = "has a name in its manifest that no configuration could write";
        return Err(AdmissionRefusal::new(
            reason,
            "name the package with 1 to 64 of a-z, A-Z, 0-9, `-` and `_`",
        ));
    }
    let named = |what: &str| format!("is plugin `{}` {what}", manifest.name);
    // The version is part of every alert and of many messages.
    let longest = manifest.version.len().max(manifest.plugin_api.len());
    if longest > LONGEST_VERSION_BYTES {
        let reason = named(&format!("with a version of {longest} bytes"));
        return Err(AdmissionRefusal::new(reason, "shorten it in its Cargo.toml"));
    }
    let version = Version::parse(&manifest.version).map_err(|error| {
        AdmissionRefusal::new(
            named(&format!("with a version that is not semver: {error}")),
            "correct its Cargo.toml",
        )
    })?;
    let built_for = Version::parse(&manifest.plugin_api).map_err(|error| {
        AdmissionRefusal::new(
            named(&format!("for a plugin-api that is not semver: {error}")),
            "build it again",
        )
    })?;
    let ours = Version::parse(tocsin_plugin_api::VERSION).unwrap_or(Version::new(0, 0, 0));
    if built_for.major != ours.major {
        let reason =
            named(&format!("{version}, built for plugin-api {built_for}; this host has {ours}"));
        let hint = if built_for.major > ours.major {
            "upgrade the host, or drop in a version of the plugin for this one"
        } else {
            "drop in a newer version of the plugin"
        };
        return Err(AdmissionRefusal::new(reason, hint));
    }
    if manifest.panic != manifest::UNWIND {
        let reason = named(&format!(
            "{version}, built with `panic = \"{:.64}\"`, so that a panic in it would end this host",
            manifest.panic
        ));
        return Err(AdmissionRefusal::new(
            reason,
            "build it with `panic = \"unwind\"`, the default",
        ));
    }
    check_capabilities(manifest).map_err(|(reason, hint)| {
        AdmissionRefusal::new(named(&format!("{version}, {reason}")), hint)
    })?;
    Ok(version)
}

/// Checks that this host knows every capability of a plugin, and that it has one.
///
/// # Errors
///
/// The end of a sentence that starts with the plugin, and a hint.
fn check_capabilities(manifest: &Manifest) -> Result<(), (String, String)> {
    let known = CAPABILITIES.join("`, `");
    let is_unknown = |name: &&String| !CAPABILITIES.contains(&name.as_str());
    if let Some(unknown) = manifest.capabilities.iter().find(is_unknown) {
        let reason =
            format!("which needs the capability `{unknown:.64}`; this host knows `{known}`");
        let hint = format!(
            "upgrade the host to one with plugin-api {}, or drop in a version of the plugin that \
             does not need `{unknown:.64}`",
            manifest.plugin_api
        );
        return Err((reason, hint));
    }
    if manifest.capabilities.is_empty() {
        let reason = format!("which lists no capability; this host knows `{known}`");
        return Err((reason, "export the plugin with `export_plugin!`".into()));
    }
    Ok(())
}

fn exports_module(file: &Elf<'_>) -> Result<(), AdmissionRefusal> {
    let mut symbols = file.dynamic_symbols();
    let found =
        symbols.any(|symbol| symbol.is_definition() && symbol.name() == Ok(abi::HEADER_SYMBOL));
    if found {
        return Ok(());
    }
    Err(AdmissionRefusal::new(
        "has a manifest but exports no module",
        "export the plugin with `export_plugin!`, and don't strip its dynamic symbols",
    ))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{LazyLock, Mutex, PoisonError},
    };

    use proptest::prelude::*;

    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        examine(bytes).expect_err("it is no plugin").to_string()
    }

    fn manifest() -> Manifest {
        serde_json::from_value(serde_json::json!({
            "manifest": 1, "name": "demo", "version": "1.2.3", "panic": "unwind",
            "plugin_api": tocsin_plugin_api::VERSION, "capabilities": ["receive"], "later": true,
        }))
        .expect("a manifest")
    }

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = manifest();
        change(&mut manifest);
        check_manifest(&manifest).expect_err("the manifest is wrong").to_string()
    }

    #[test]
    fn refuses_a_file_that_is_no_library() {
        insta::assert_snapshot!(refusal(b""), @"is empty; hint: drop in the `.so` that `cargo build --release` made of a plugin");
        insta::assert_snapshot!(refusal(b"#!/bin/sh"), @"is not an ELF file; hint: drop in the `.so` that `cargo build --release` made of a plugin");
        insta::assert_snapshot!(refusal(b"\x7fELF"), @"is not a 64-bit little-endian ELF file; hint: drop in the `.so` that `cargo build --release` made of a plugin");
        insta::assert_snapshot!(refusal(b"\x7fELF\x02\x01\x01"), @"is truncated: its headers point behind its end; hint: copy it again, to another name first, and rename it when the copy is complete");
    }

    #[test]
    fn accepts_a_manifest_with_fields_that_a_later_version_added() {
        assert_eq!(check_manifest(&manifest()).expect("it is good"), Version::new(1, 2, 3));
    }

    #[test]
    fn names_each_fault_of_a_manifest() {
        insta::assert_snapshot!(refused(|m| m.name = "a b".into()), @"has a name in its manifest that no configuration could write; hint: name the package with 1 to 64 of a-z, A-Z, 0-9, `-` and `_`");
        insta::assert_snapshot!(refused(|m| m.version = "one".into()), @"is plugin `demo` with a version that is not semver: unexpected character 'o' while parsing major version number; hint: correct its Cargo.toml");
        insta::assert_snapshot!(refused(|m| m.plugin_api = "2.0.0".into()), @"is plugin `demo` 1.2.3, built for plugin-api 2.0.0; this host has 1.1.0; hint: upgrade the host, or drop in a version of the plugin for this one");
        insta::assert_snapshot!(refused(|m| m.plugin_api = "0.9.0".into()), @"is plugin `demo` 1.2.3, built for plugin-api 0.9.0; this host has 1.1.0; hint: drop in a newer version of the plugin");
        insta::assert_snapshot!(refused(|m| m.panic = "abort".into()), @r#"is plugin `demo` 1.2.3, built with `panic = "abort"`, so that a panic in it would end this host; hint: build it with `panic = "unwind"`, the default"#);
        insta::assert_snapshot!(refused(|m| m.version = format!("1.2.3+{}", "a".repeat(1000))), @"is plugin `demo` with a version of 1006 bytes; hint: shorten it in its Cargo.toml");
        assert!(refused(|m| m.panic = "x".repeat(60_000)).len() < 300);
        assert!(refused(|m| m.capabilities.push("x".repeat(60_000))).len() < 400);
    }

    #[test]
    fn names_a_capability_that_this_host_does_not_know() {
        let needs_echo = |m: &mut Manifest| {
            m.plugin_api = "1.2.0".into();
            m.capabilities.push("echo".into());
        };
        insta::assert_snapshot!(refused(needs_echo), @"is plugin `demo` 1.2.3, which needs the capability `echo`; this host knows `receive`, `notify`; hint: upgrade the host to one with plugin-api 1.2.0, or drop in a version of the plugin that does not need `echo`");
        insta::assert_snapshot!(refused(|m| m.capabilities.clear()), @"is plugin `demo` 1.2.3, which lists no capability; this host knows `receive`, `notify`; hint: export the plugin with `export_plugin!`");
    }

    #[test]
    fn admits_a_plugin_of_a_later_minor_version_that_needs_nothing_newer() {
        let mut manifest = manifest();
        manifest.plugin_api = "1.99.0".into();
        check_manifest(&manifest).expect("its capabilities are known");
    }

    #[test]
    fn refuses_a_library_without_a_manifest_or_with_a_missing_part() {
        // Any test binary is position independent, which is enough for these checks.
        let ours = fs::read("/proc/self/exe").expect("our own bytes");
        assert!(refusal(&ours).contains("has no `.tocsin.manifest` section"));
        for parts in [2, 3, 10] {
            let part = &ours[..ours.len() / parts];
            assert!(refusal(part).starts_with("is truncated"), "1/{parts}");
        }
    }

    proptest! {
        /// Changes the headers at the start and the section headers at the end, which mislead readers.
        #[test]
        fn no_bytes_cause_a_panic(noise in prop::collection::vec((any::<bool>(), 0..4096_usize, any::<u8>()), 1..40)) {
            static OURS: LazyLock<Mutex<Vec<u8>>> =
                LazyLock::new(|| Mutex::new(fs::read("/proc/self/exe").expect("our own bytes")));
            let mut bytes = OURS.lock().unwrap_or_else(PoisonError::into_inner);
            let length = bytes.len();
            let place = |(at_end, offset, _): &(bool, usize, u8)| {
                if *at_end { length - 1 - offset } else { *offset }
            };
            // Changed in place and restored: copying so many bytes would take most of the time.
            let before: Vec<_> = noise.iter().map(|change| (place(change), bytes[place(change)])).collect();
            noise.iter().for_each(|change| bytes[place(change)] = change.2);
            let _ = examine(&bytes);
            before.into_iter().rev().for_each(|(at, byte)| bytes[at] = byte);
        }
    }
}

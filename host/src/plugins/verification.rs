//! Trust in the files of the plugins folder: checks who could change a file, and the checksum or
//! signature that `plugins.verify` asks for.
//!
//! Contents of files were checked before, in [`admission`](super::admission).

pub mod checksum;
pub mod lock_file;
pub mod permissions;
pub mod signature;
pub mod trusted_checksums;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use self::{
    checksum::{Checksum, Release},
    lock_file::LockFile,
    permissions::Permissions,
    signature::{PublicKey, VerifiedSignature},
    trusted_checksums::Checksums,
};
use super::{
    dropped_file::DroppedFile,
    folder::{Folder, OpenFile},
    refusal::AdmissionRefusal,
};
use crate::{alert::PluginId, problem::Problem};

/// The proof that a plugin needs before it is loaded, as `plugins.verify` names it. [`Verified`] is the
/// proof that it gave.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// None: every user who can write to the folder is trusted.
    #[default]
    Off,
    /// A checksum in the lock file or in the configuration.
    Checksum,
    /// A signature beside the file, by one of the keys in the configuration.
    Signature,
}

/// The proof that a plugin has given to a [`Verifier`].
#[derive(Clone, Debug)]
pub enum Verified {
    /// The hash is the expected one.
    Checksum,
    /// The signature is good.
    Signature(VerifiedSignature),
}

impl Verified {
    /// Returns the name of the policy that the proof satisfies.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Signature(_) => "signature",
        }
    }
}

/// Settings that say which files of a plugins folder are trusted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The proof that every plugin needs.
    pub policy: Policy,
    /// The path of the lock file, which is read if `policy` asks for checksums.
    pub lock_file: PathBuf,
    /// The lock file as the operator wrote it, for messages.
    pub lock_name: PathBuf,
    /// Checksums beside those of the lock file.
    pub checksums: BTreeMap<Release, Checksum>,
    /// The keys whose signatures are trusted.
    pub public_keys: Vec<PublicKey>,
    /// Names of files that others than root and the host's user may change; `.` is the folder.
    pub allow_writable_by_others: Vec<String>,
}

/// Fault of a plugins folder or of its lock file, for which no file can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifierError {
    /// The folder cannot be read, or others could change it.
    Folder(Problem),
    /// The lock file cannot be read, or others could change it.
    LockFile(Problem),
}

impl VerifierError {
    pub(super) fn unreadable_folder(folder: &Path, error: &io::Error) -> Self {
        let message = format!("cannot read the plugins folder `{}`: {error}", folder.display());
        let hint =
            "create it, and drop the plugins' `.so` files in; the path is relative to this file";
        Self::Folder(Problem::new("folder-unreadable", message).with_hint(hint))
    }

    /// Returns the [`Problem`] of the folder or of the lock file.
    pub fn problem(&self) -> &Problem {
        match self {
            Self::Folder(problem) | Self::LockFile(problem) => problem,
        }
    }
}

/// The settings of [`Trust`] in force for one reading of the plugins folder. Only a verifier accepts a
/// plugin, and only the bytes that it has read.
#[derive(Debug)]
pub struct Verifier {
    folder: Folder,
    permissions: Permissions,
    proof: Proof,
}

/// The proof that a plugin needs, with all that it is compared with.
#[derive(Debug)]
enum Proof {
    None,
    Checksum(Checksums),
    Signature(Vec<PublicKey>),
}

impl Verifier {
    /// Opens the plugins folder, and reads the lock file if the policy asks for checksums.
    ///
    /// # Errors
    ///
    /// If the folder is missing, if others than the host and root could change the folder or the lock
    /// file, or if the lock file is broken. The folder and the lock file may both be reported.
    pub fn new(folder: &Path, trust: &Trust) -> Result<Self, Vec<VerifierError>> {
        let permissions = Permissions::of_this_process(&trust.allow_writable_by_others);
        let folder = open_folder(folder, &permissions);
        let proof = match trust.policy {
            Policy::Off => Ok(Proof::None),
            Policy::Checksum => checksums(trust, &permissions).map(Proof::Checksum),
            Policy::Signature => Ok(Proof::Signature(trust.public_keys.clone())),
        };
        match (folder, proof) {
            (Ok(folder), Ok(proof)) => Ok(Self { folder, permissions, proof }),
            (folder, proof) => Err(folder.err().into_iter().chain(proof.err()).collect()),
        }
    }

    /// Checks the bytes of a plugin, and returns their proof.
    pub(super) fn verify(
        &self,
        plugin: &PluginId,
        file: &DroppedFile,
    ) -> Result<Option<Verified>, AdmissionRefusal> {
        match &self.proof {
            Proof::None => Ok(None),
            Proof::Checksum(checksums) => {
                checksums.check(plugin, file.sha256()).map(|()| Some(Verified::Checksum))
            }
            Proof::Signature(keys) => {
                let text = signature::read(&self.folder, file.path(), plugin)?;
                let signature = signature::check(file.path(), text, keys, plugin, file.bytes())?;
                Ok(Some(Verified::Signature(signature)))
            }
        }
    }

    /// Checks a plugin again whose hash was verified before; none if the file has to be read for that.
    pub(super) fn verify_again(
        &self,
        plugin: &PluginId,
        path: &Path,
        sha256: &str,
        earlier: Option<&Verified>,
    ) -> Option<Result<Option<Verified>, AdmissionRefusal>> {
        match (&self.proof, earlier) {
            (Proof::None, _) => Some(Ok(None)),
            (Proof::Checksum(checksums), _) => {
                let consent = checksums.check(plugin, sha256);
                Some(consent.map(|()| Some(Verified::Checksum)))
            }
            (Proof::Signature(keys), Some(Verified::Signature(verified))) => {
                let present = signature::read(&self.folder, path, plugin).ok()?;
                verified
                    .still_holds(&present, keys)
                    .then(|| Ok(Some(Verified::Signature(verified.clone()))))
            }
            (Proof::Signature(_), _) => None,
        }
    }

    /// Checks that no user but root and the host's could have changed a file.
    pub(super) fn check_permissions(&self, file: &OpenFile) -> Result<(), AdmissionRefusal> {
        self.permissions.check_file(&self.folder, file)
    }

    /// Opens a file of the folder.
    pub(super) fn open(&self, path: &Path) -> Result<OpenFile, AdmissionRefusal> {
        self.folder.file(path.file_name().unwrap_or_default())
    }
}

fn open_folder(path: &Path, permissions: &Permissions) -> Result<Folder, VerifierError> {
    let unreadable = |error| VerifierError::unreadable_folder(path, &error);
    let folder = Folder::open(path).map_err(unreadable)?;
    let metadata = folder.metadata().map_err(unreadable)?;
    match permissions.check_folder(folder.path(), &metadata) {
        Ok(()) => Ok(folder),
        Err(exposed) => Err(VerifierError::Folder(
            Problem::new("folder-exposed", exposed.message).with_hint(exposed.hint),
        )),
    }
}

fn checksums(trust: &Trust, permissions: &Permissions) -> Result<Checksums, VerifierError> {
    let path = &trust.lock_file;
    let lock = LockFile::read(path).map_err(|reason| {
        let message = format!("cannot read the lock file `{}`: {reason}", path.display());
        let hint = "write it again with `tocsin plugins lock`";
        VerifierError::LockFile(Problem::new("lock-file-unreadable", message).with_hint(hint))
    })?;
    if let Some((_, metadata)) = &lock {
        permissions.check_lock_file(path, metadata).map_err(|exposed| {
            let problem = Problem::new("lock-file-exposed", exposed.message);
            VerifierError::LockFile(problem.with_hint(exposed.hint))
        })?;
    }
    Ok(Checksums::new(&trust.lock_name, lock.map(|(lock, _)| lock), &trust.checksums))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{
        super::{admission::AdmittedPlugin, folder::tests::settled_stamp},
        *,
    };

    const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// A plugins folder with a file `x.so` of the bytes `test`, which was admitted before. The file is
    /// no library: it is refused if it is read again.
    fn known(verified: Option<Verified>) -> (tempfile::TempDir, AdmittedPlugin) {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("x.so");
        fs::write(&path, "test").expect("written");
        let stamp = settled_stamp(&path);
        (place, AdmittedPlugin::pretended(path, "demo", SHA256, Some(stamp), verified))
    }

    fn again(known: &AdmittedPlugin, trust: &Trust) -> Result<AdmittedPlugin, String> {
        let folder = known.path.parent().expect("a folder");
        let verifier = Verifier::new(folder, trust).expect("the folder is good");
        verifier.admit_again(known).map_err(|refusal| {
            assert!(
                refusal.manifest.is_some()
                    || refusal.problem.message.contains("is not an ELF file")
            );
            refusal.to_string()
        })
    }

    /// Settings that trust a checksum of the plugin `demo 1.0.0`, or none.
    fn checksum(sha256: Option<&str>) -> Trust {
        let release = Release::try_from("demo 1.0.0".to_owned()).expect("a release");
        let checksum =
            |sha256: &str| Checksum::try_from(sha256.to_owned()).expect("a SHA-256 in hex");
        let checksums = sha256.map(|sha256| (release, checksum(sha256))).into_iter().collect();
        Trust { policy: Policy::Checksum, checksums, ..Trust::default() }
    }

    /// Settings that trust the signatures of one key.
    fn key(text: &str) -> Trust {
        let key = PublicKey::try_from(text.to_owned()).expect("a key");
        Trust { policy: Policy::Signature, public_keys: vec![key], ..Trust::default() }
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let (_place, known) = known(None);
        let trust = Trust::default();
        assert!(again(&known, &trust).expect("nothing has changed").verified().is_none());
        fs::write(&known.path, "TEST").expect("written");
        assert!(again(&known, &trust).expect_err("a changed file").contains("is not an ELF file"));
    }

    #[test]
    fn a_checksum_is_compared_again_without_reading_the_file() {
        let (_place, known) = known(None);
        let with = |sha256: Option<&str>| again(&known, &checksum(sha256));
        let admitted = with(Some(SHA256)).expect("the right checksum");
        assert_eq!(admitted.verified().map(Verified::as_str), Some("checksum"));
        let zeros = "0".repeat(64);
        let other = with(Some(&zeros)).expect_err("another checksum");
        assert!(other.contains("with other bytes"), "{other}");
        let unknown = with(None).expect_err("no checksum");
        assert!(unknown.contains("no checksum"), "{unknown}");
    }

    #[test]
    fn a_signature_is_checked_again_only_if_the_signature_or_the_keys_changed() {
        let (verified, text, trusted, other) = signature::tests::verified();
        let (place, known) = known(Some(Verified::Signature(verified)));
        let signature = place.path().join("x.so.minisig");
        fs::write(&signature, text).expect("written");
        let admitted = again(&known, &key(trusted)).expect("nothing has changed");
        assert_eq!(admitted.verified().map(Verified::as_str), Some("signature"));
        for read_again in [again(&known, &key(other)), {
            fs::write(&signature, "another").expect("written");
            again(&known, &key(trusted))
        }] {
            assert!(read_again.expect_err("the file is read").contains("is not an ELF file"));
        }
    }

    #[test]
    fn permissions_are_checked_again() {
        let (_place, mut known) = known(None);
        fs::set_permissions(&known.path, fs::Permissions::from_mode(0o666)).expect("ours");
        known.stamp = Some(settled_stamp(&known.path));
        let exposed = again(&known, &Trust::default()).expect_err("others may write");
        assert!(exposed.contains("by everybody"), "{exposed}");
        let allow_writable_by_others = vec!["x.so".into()];
        again(&known, &Trust { allow_writable_by_others, ..Trust::default() }).expect("allowed");
    }

    #[test]
    fn a_broken_folder_and_a_broken_lock_file_are_reported_together() {
        let place = tempfile::tempdir().expect("a folder");
        let lock_file = place.path().join("plugins.lock");
        fs::write(&lock_file, "[[plugins]]").expect("written");
        let trust = Trust { policy: Policy::Checksum, lock_file, ..Trust::default() };
        let errors = Verifier::new(&place.path().join("missing"), &trust).expect_err("two faults");
        let codes: Vec<_> = errors.iter().map(|error| error.problem().code).collect();
        assert_eq!(codes, ["folder-unreadable", "lock-file-unreadable"]);
        assert!(matches!(errors[..], [VerifierError::Folder(_), VerifierError::LockFile(_)]));
    }
}

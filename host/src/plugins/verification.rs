//! Whether the operator trusts a file of the plugins folder: who could change it, and whether it has
//! the checksum or the signature that `plugins.verify` asks for.
//!
//! It does not look into the file; that was done before, in [`admission`](super::admission).

pub mod checksum;
pub mod lock_file;
pub mod permissions;
pub mod signature;

use std::{io, path::Path};

use serde::Deserialize;
use tocsin_plugin_api::manifest::Manifest;

use self::{
    checksum::Checksums,
    lock_file::LockFile,
    permissions::Permissions,
    signature::{PublicKey, Seal},
};
use super::{
    admission::{AdmissionRefusal, AdmittedPlugin, DroppedFile},
    folder::{Folder, OpenFile},
};
use crate::{
    alert::PluginId,
    config::{ConfigError, ConfigErrors, LoadedConfig},
};

/// What a plugin has to show before it is loaded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Nothing: whoever can write to the folder is trusted.
    #[default]
    Off,
    /// Its hash, in the lock file or in the configuration.
    Checksum,
    /// A signature beside it, by one of the keys in the configuration.
    Signature,
}

/// What a plugin has shown.
#[derive(Clone, Debug)]
pub enum Verified {
    /// Its hash is the one that was expected.
    Checksum,
    /// It is signed.
    Signature(Seal),
}

impl Verified {
    /// The name of the policy that it satisfies.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Signature(_) => "signature",
        }
    }
}

/// What a configuration trusts, read once for one look at the plugins folder. The consent to a
/// plugin is a [`Verifier`]'s alone, and holds for bytes of one hash.
#[derive(Debug)]
pub struct Verifier {
    folder: Folder,
    permissions: Permissions,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    Anything,
    Checksums(Checksums),
    Keys(Vec<PublicKey>),
}

impl Verifier {
    /// Opens the plugins folder of a configuration, and reads the lock file where it is asked for.
    ///
    /// # Errors
    ///
    /// Where the folder is not there, or others than the host and root could change it or the lock
    /// file, or the lock file is broken.
    pub fn new(config: &LoadedConfig) -> Result<Self, ConfigErrors> {
        Self::with_policy(config, config.config.plugins.verify)
    }

    /// The same with another policy than the configuration's: what `tocsin plugins lock` writes down
    /// is not in the lock file yet.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_policy(config: &LoadedConfig, policy: Policy) -> Result<Self, ConfigErrors> {
        Self::of(config, &config.plugins_dir(), policy)
    }

    /// The same for files of another folder, as if it were the configuration's.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn of(config: &LoadedConfig, folder: &Path, policy: Policy) -> Result<Self, ConfigErrors> {
        let settings = &config.config.plugins;
        let permissions = Permissions::of_this_process(&settings.allow_writable_by_others);
        let folder = open_folder(config, folder, &permissions);
        let trust = match policy {
            Policy::Off => Ok(Trust::Anything),
            Policy::Checksum => checksums(config, &permissions).map(Trust::Checksums),
            Policy::Signature => Ok(Trust::Keys(settings.public_keys.clone())),
        };
        match (folder, trust) {
            (Ok(folder), Ok(trust)) => Ok(Self { folder, permissions, trust }),
            (folder, trust) => {
                Err(ConfigErrors(folder.err().into_iter().chain(trust.err()).collect()))
            }
        }
    }

    /// Opens, reads and examines a file of the folder, and consents to it or not.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to do about it.
    pub fn admit(&self, path: &Path) -> Result<AdmittedPlugin, AdmissionRefusal> {
        self.admit_open(self.open(path)?)
    }

    /// Admits again what was admitted before, as if it had been read again: under what is trusted
    /// now. The file is read only where it has changed since, or where its signature has.
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
        self.permissions.check_file(&self.folder, &file).map_err(with_manifest)?;
        match self.verify_again(known) {
            Some(verified) => Ok(known.verified_again(verified.map_err(with_manifest)?)),
            None => file.read()?.admit(self),
        }
    }

    /// Consents to the bytes of a plugin, or not.
    pub(super) fn verify(
        &self,
        plugin: &PluginId,
        file: &DroppedFile,
    ) -> Result<Option<Verified>, AdmissionRefusal> {
        match &self.trust {
            Trust::Anything => Ok(None),
            Trust::Checksums(checksums) => {
                checksums.check(plugin, file.sha256()).map(|()| Some(Verified::Checksum))
            }
            Trust::Keys(keys) => {
                let text = signature::read(&self.folder, file.path(), plugin)?;
                let seal = signature::check(file.path(), text, keys, plugin, file.bytes())?;
                Ok(Some(Verified::Signature(seal)))
            }
        }
    }

    /// The same for bytes that were verified before; none where they have to be read for it.
    fn verify_again(
        &self,
        known: &AdmittedPlugin,
    ) -> Option<Result<Option<Verified>, AdmissionRefusal>> {
        match (&self.trust, known.verified()) {
            (Trust::Anything, _) => Some(Ok(None)),
            (Trust::Checksums(checksums), _) => {
                let consent = checksums.check(&known.id, &known.sha256);
                Some(consent.map(|()| Some(Verified::Checksum)))
            }
            (Trust::Keys(keys), Some(Verified::Signature(seal))) => {
                let present = signature::read(&self.folder, &known.path, &known.id).ok()?;
                seal.still_holds(&present, keys)
                    .then(|| Ok(Some(Verified::Signature(seal.clone()))))
            }
            (Trust::Keys(_), _) => None,
        }
    }

    fn admit_open(&self, file: OpenFile) -> Result<AdmittedPlugin, AdmissionRefusal> {
        match self.permissions.check_file(&self.folder, &file) {
            Ok(()) => file.read()?.admit(self),
            Err(refusal) => Err(refusal.of(manifest(file))),
        }
    }

    fn open(&self, path: &Path) -> Result<OpenFile, AdmissionRefusal> {
        self.folder.file(path.file_name().unwrap_or_default())
    }
}

/// The error of a configuration whose plugins folder can't be listed.
pub fn unreadable_folder(config: &LoadedConfig, error: &io::Error) -> ConfigError {
    let folder = config.plugins_dir();
    let message = format!("cannot read the plugins folder `{}`: {error}", folder.display());
    let hint = "make it, and drop the plugins' `.so` files in; the path is relative to this file";
    config.plugins_error("dir", message).hint(hint)
}

fn open_folder(
    config: &LoadedConfig,
    path: &Path,
    permissions: &Permissions,
) -> Result<Folder, ConfigError> {
    let unreadable = |error| unreadable_folder(config, &error);
    let folder = Folder::open(path).map_err(unreadable)?;
    let metadata = folder.metadata().map_err(unreadable)?;
    match permissions.check_folder(folder.path(), &metadata) {
        Ok(()) => Ok(folder),
        Err(exposed) => Err(config.plugins_error("dir", exposed.message).hint(exposed.hint)),
    }
}

fn checksums(config: &LoadedConfig, permissions: &Permissions) -> Result<Checksums, ConfigError> {
    let settings = &config.config.plugins;
    let path = config.resolve(&settings.lock);
    let error = |message: String, hint: &str| config.plugins_error("lock", message).hint(hint);
    let lock = LockFile::read(&path).map_err(|problem| {
        let message = format!("cannot read the lock file `{}`: {problem}", path.display());
        error(message, "write it anew with `tocsin plugins lock`")
    })?;
    if let Some((_, metadata)) = &lock {
        permissions
            .check_lock_file(&path, metadata)
            .map_err(|exposed| error(exposed.message, &exposed.hint))?;
    }
    Ok(Checksums::new(&settings.lock, lock.map(|(lock, _)| lock), &settings.checksums))
}

/// What a file that is refused for another reason says of itself.
fn manifest(file: OpenFile) -> Option<Manifest> {
    Some(file.read().ok()?.examine().ok()?.0)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{super::folder::tests::settled_stamp, *};

    const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// A plugins folder with a file `x.so` of the bytes `test`, which was admitted before. It is no
    /// library: whoever reads it again refuses it for that.
    fn known(verified: Option<Verified>) -> (tempfile::TempDir, AdmittedPlugin) {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("x.so");
        fs::write(&path, "test").expect("written");
        let stamp = settled_stamp(&path);
        (place, AdmittedPlugin::pretended(path, "demo", SHA256, Some(stamp), verified))
    }

    fn again(known: &AdmittedPlugin, config: &str) -> Result<AdmittedPlugin, String> {
        let config = format!("[plugins]\ndir = '.'\n{config}");
        let file = known.path.with_file_name("tocsin.toml");
        let config = LoadedConfig::parse(&file, config, |_| None).expect("it is good");
        let verifier = Verifier::new(&config).expect("the folder is good");
        verifier.admit_again(known).map_err(|refusal| {
            assert!(refusal.manifest.is_some() || refusal.reason.contains("is not an ELF file"));
            refusal.to_string()
        })
    }

    #[test]
    fn a_file_that_has_not_changed_is_not_read_again() {
        let (_place, known) = known(None);
        assert!(again(&known, "").expect("it is the same").verified().is_none());
        fs::write(&known.path, "TEST").expect("written");
        assert!(again(&known, "").expect_err("it is another").contains("is not an ELF file"));
    }

    #[test]
    fn a_checksum_is_asked_for_again_without_reading_the_file() {
        let (_place, known) = known(None);
        let with = |sha256: &str| {
            let config =
                format!("verify = 'checksum'\nchecksums = {{ 'demo 1.0.0' = '{sha256}' }}");
            again(&known, &config)
        };
        let admitted = with(SHA256).expect("it is the right one");
        assert_eq!(admitted.verified().map(Verified::as_str), Some("checksum"));
        assert!(with(&"0".repeat(64)).expect_err("it is another").contains("with other bytes"));
        let unknown = again(&known, "verify = 'checksum'").expect_err("there is none");
        assert!(unknown.contains("no checksum"), "{unknown}");
    }

    #[test]
    fn a_signature_is_checked_again_only_where_it_or_the_keys_have_changed() {
        let (seal, text, keys, other) = signature::tests::sealed();
        let (place, known) = known(Some(Verified::Signature(seal)));
        let signature = place.path().join("x.so.minisig");
        let with =
            |key: &str| again(&known, &format!("verify = 'signature'\npublic_keys = ['{key}']"));
        fs::write(&signature, text).expect("written");
        let admitted = with(keys).expect("nothing has changed");
        assert_eq!(admitted.verified().map(Verified::as_str), Some("signature"));
        for read_again in [with(other), {
            fs::write(&signature, "another").expect("written");
            with(keys)
        }] {
            assert!(read_again.expect_err("it is read").contains("is not an ELF file"));
        }
    }

    #[test]
    fn rights_are_looked_at_again() {
        let (_place, mut known) = known(None);
        fs::set_permissions(&known.path, fs::Permissions::from_mode(0o666)).expect("ours");
        known.stamp = Some(settled_stamp(&known.path));
        assert!(again(&known, "").expect_err("others may write").contains("by everybody"));
        again(&known, "allow_writable_by_others = ['x.so']").expect("it is allowed");
    }
}

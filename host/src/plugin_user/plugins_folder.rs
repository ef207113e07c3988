//! The plugins folder of a configuration: reads it under the configuration's trust settings, and turns
//! faults of the folder and of the lock file into errors at the keys of `[plugins]`.
//!
//! No plugin is loaded here.

use std::path::Path;

use crate::{
    config::{ConfigError, ConfigErrors, LoadedConfig},
    plugins::{
        Catalog,
        verification::{Policy, Trust, Verifier, VerifierError},
    },
};

/// Reads the plugins folder of a configuration. Files that are as they were in the `earlier` reading are
/// not read again.
///
/// # Errors
///
/// [`ConfigErrors`] if the folder cannot be listed, or nothing in it can be trusted.
pub(crate) fn read_catalog(
    config: &LoadedConfig,
    earlier: &Catalog,
) -> Result<Catalog, ConfigErrors> {
    read_catalog_with(config, config.config.plugins.verify, earlier)
}

/// Reads the plugins folder with another policy than the configuration's: `tocsin plugins lock` writes
/// down plugins that the lock file does not name yet.
///
/// # Errors
///
/// As for [`read_catalog`].
pub(crate) fn read_catalog_with(
    config: &LoadedConfig,
    policy: Policy,
    earlier: &Catalog,
) -> Result<Catalog, ConfigErrors> {
    let folder = config.plugins_dir();
    let verifier = open_verifier(config, &folder, policy)?;
    Catalog::read(&folder, &verifier, earlier).map_err(|error| config_error(config, error).into())
}

/// Opens a verifier for a folder with the trust settings of a configuration and a policy.
///
/// # Errors
///
/// [`ConfigErrors`] if the folder or the lock file cannot be read or trusted.
pub(crate) fn open_verifier(
    config: &LoadedConfig,
    folder: &Path,
    policy: Policy,
) -> Result<Verifier, ConfigErrors> {
    let settings = &config.config.plugins;
    let trust = Trust {
        policy,
        lock_file: config.resolve(&settings.lock),
        lock_name: settings.lock.clone(),
        checksums: settings.checksums.clone(),
        public_keys: settings.public_keys.clone(),
        allow_writable_by_others: settings.allow_writable_by_others.clone(),
    };
    Verifier::new(folder, &trust).map_err(|errors| {
        ConfigErrors(errors.into_iter().map(|error| config_error(config, error)).collect())
    })
}

fn config_error(config: &LoadedConfig, error: VerifierError) -> ConfigError {
    let (key, problem) = match error {
        VerifierError::Folder(problem) => ("dir", problem),
        VerifierError::LockFile(problem) => ("lock", problem),
    };
    let error = config.plugins_error(key, problem.message);
    problem.hint.into_iter().fold(error, ConfigError::hint)
}

//! `[store]`: the database of alerts and requests, and its backups.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{ConfigErrors, Document, LoadedConfig, file::read, partial::read_section};
use crate::store::StoreConfig;

/// `[store]`: the database of alerts and requests, and its backups.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// Kind and place of the database: `sqlite:PATH`, relative to the configuration file. Default
    /// `sqlite:tocsin.db`.
    pub url: String,
    /// Folder of the backups, relative to the configuration file. Default: the folder of the database.
    pub backup_dir: Option<PathBuf>,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:tocsin.db".into(), backup_dir: None }
    }
}

/// The store of a configuration and the folder of its backups. Other sections may refer to values that only the
/// host can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorePaths {
    /// The store.
    pub store: StoreConfig,
    /// Folder of the backups.
    pub backup_dir: PathBuf,
}

impl StorePaths {
    /// Reads `[store]` from a host's configuration file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or `[store]` has errors.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Part {
            store: Store,
        }
        let document = read(path)?;
        let Part { store } = read_section(&document, "store", |_| true)?;
        let unknown = || ConfigErrors::from(unknown_kind(&document));
        Ok(Self::of(&document, &store).ok_or_else(unknown)?)
    }

    /// Returns the absolute path of the folder of the backups.
    ///
    /// # Errors
    ///
    /// If the folder does not exist.
    pub(crate) fn absolute_backup_dir(&self) -> io::Result<PathBuf> {
        let is_here = self.backup_dir.as_os_str().is_empty();
        if is_here { Path::new(".") } else { &self.backup_dir }.canonicalize()
    }

    fn of(document: &Document, Store { url, backup_dir }: &Store) -> Option<Self> {
        let path = url.strip_prefix("sqlite:").filter(|path| !path.is_empty())?;
        let store = StoreConfig::Sqlite { path: document.beside(Path::new(path)) };
        let backup_dir = match backup_dir {
            Some(folder) => document.beside(folder),
            None => store.default_backup_dir().to_owned(),
        };
        Some(Self { store, backup_dir })
    }
}

impl LoadedConfig {
    /// Returns the store and the folder of its backups; none if the kind of store is unknown.
    pub(crate) fn store_paths(&self) -> Option<StorePaths> {
        StorePaths::of(&self.document, &self.config.store)
    }
}

/// Returns the error for a kind of store that this host does not support.
pub(super) fn unknown_kind(document: &Document) -> super::ConfigError {
    document
        .error_at(&["store", "url"], "is not a kind of store that this host supports")
        .hint("write `sqlite:PATH`, such as `sqlite:tocsin.db`")
}

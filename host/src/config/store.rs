//! `[store]`: the database of alerts and requests, and its backups.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use tocsin_plugin_api::Secret;

use super::{ConfigError, ConfigErrors, Document, LoadedConfig, file::read, partial::read_section};
use crate::store::{PostgresAddress, StoreConfig};

/// `[store]`: the database of alerts and requests, and its backups.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// Kind and place of the database: `sqlite:PATH`, relative to the configuration file, or
    /// `postgres://USER@HOST/DATABASE`. Default `sqlite:tocsin.db`.
    pub url: String,
    /// Password for PostgreSQL, if the URL has none.
    pub password: Option<Secret>,
    /// Number of connections to PostgreSQL, besides two for webhooks. Default 8.
    pub connections: usize,
    /// Time after which PostgreSQL ends a statement. Default 10 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub statement_timeout: Duration,
    /// Folder of the backups, relative to the configuration file. Default: the folder of the database.
    pub backup_dir: Option<PathBuf>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sqlite:tocsin.db".into(),
            password: None,
            connections: PostgresAddress::CONNECTIONS,
            statement_timeout: PostgresAddress::STATEMENT_TIMEOUT,
            backup_dir: None,
        }
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
        Ok(Self::of(&document, &store).map_err(ConfigErrors::from)?)
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

    fn of(document: &Document, store: &Store) -> Result<Self, ConfigError> {
        let config = store_config(document, store)?;
        let backup_dir = match &store.backup_dir {
            Some(folder) => document.beside(folder),
            None => config.default_backup_dir().to_owned(),
        };
        Ok(Self { store: config, backup_dir })
    }
}

impl LoadedConfig {
    /// Returns the store and the folder of its backups; none if `store.url` is wrong.
    pub(crate) fn store_paths(&self) -> Option<StorePaths> {
        self.checked_store_paths().ok()
    }

    /// Returns the store and the folder of its backups.
    ///
    /// # Errors
    ///
    /// If `store.url` is wrong.
    pub(super) fn checked_store_paths(&self) -> Result<StorePaths, ConfigError> {
        StorePaths::of(&self.document, &self.config.store)
    }
}

fn store_config(document: &Document, store: &Store) -> Result<StoreConfig, ConfigError> {
    let refuse = |message: String| document.error_at(&["store", "url"], message);
    if let Some(path) = store.url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        return Ok(StoreConfig::Sqlite { path: document.beside(Path::new(path)) });
    }
    if !PostgresAddress::is_one(&store.url) {
        return Err(refuse("is not a kind of store that this host supports".into()).hint(
            "write `sqlite:PATH`, such as `sqlite:tocsin.db`, or `postgres://USER@HOST/DATABASE`",
        ));
    }
    let password = store.password.as_ref().map(Secret::expose);
    let mut address = PostgresAddress::parse(&store.url, password).map_err(|error| {
        let hint = error.hint;
        let refused = refuse(error.to_string());
        match hint {
            Some(hint) => refused.hint(hint),
            None => refused,
        }
    })?;
    address.connections = store.connections;
    address.statement_timeout = store.statement_timeout;
    Ok(StoreConfig::Postgres { address: Box::new(address), folder: document.beside(Path::new("")) })
}

//! `[store]`: the database of alerts and requests.

use serde::Deserialize;

/// `[store]`: the database of alerts and requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// Kind and place of the database: `sqlite:PATH`, relative to the configuration file. Default
    /// `sqlite:tocsin.db`.
    pub url: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:tocsin.db".into() }
    }
}

//! `[store]`: where alerts are kept.

use serde::Deserialize;

/// `[store]`: where alerts are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:PATH`, relative to the configuration file. Default `sqlite:tocsin.db`.
    pub url: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:tocsin.db".into() }
    }
}

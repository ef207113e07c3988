//! The host's configuration: its keys, their defaults, and what can be said of them without looking
//! at a plugin.
//!
//! It opens no database and no plugin: what an integration's options mean is for the plugin to say.

mod admin;
pub mod change;
mod checks;
mod document;
mod error;
mod file;
mod integration;
mod literals;
mod loaded;
mod log;
mod long_duration;
mod maintenance;
mod masking;
mod parse_error;
mod partial;
mod plugins;
mod references;
mod requests;
mod required_plugins;
mod retention;
mod server;
mod snippet;
mod store;
#[cfg(test)]
mod tests;
mod warnings;
mod watch;

use std::collections::BTreeMap;

use serde::Deserialize;

pub(crate) use self::references::without_line_end;
pub use self::{
    admin::{Admin, AdminToken},
    document::Document,
    error::{ConfigError, ConfigErrors},
    file::{ExposedConfig, UnreadableConfig, read},
    integration::IntegrationConfig,
    loaded::LoadedConfig,
    log::{Log, LogFormat},
    long_duration::LongDuration,
    maintenance::{Maintenance, Window},
    partial::{ClientConfig, read_plugin_paths},
    plugins::Plugins,
    references::referenced_files,
    requests::{Keep, Requests},
    required_plugins::RequiredPlugins,
    retention::Retention,
    server::Server,
    store::Store,
    watch::Watch,
};

/// A whole configuration. Every section and every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where webhooks come in.
    pub server: Server,
    /// API, metrics and health.
    pub admin: Admin,
    /// Where alerts are kept.
    pub store: Store,
    /// Where plugins are found, which are trusted, and what their calls may take.
    pub plugins: Plugins,
    /// Which requests are kept as they came.
    pub requests: Requests,
    /// How long anything is kept.
    pub retention: Retention,
    /// Whether changed files are noticed.
    pub watch: Watch,
    /// What is logged.
    pub log: Log,
    /// The integrations by name. The name is the last part of the endpoint's URL.
    pub integrations: BTreeMap<String, IntegrationConfig>,
}

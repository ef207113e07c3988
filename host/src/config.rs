//! The host's configuration: its keys, their defaults, and the checks that need no plugin.
//!
//! [`LoadedConfig::read`] is the way in. Only plugins check the options of their integrations and destinations.

mod admin;
pub(crate) mod change;
mod checks;
mod delivery;
mod destination;
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
mod recovery;
mod references;
mod requests;
mod required_plugins;
mod retention;
mod route;
mod scope;
mod secrets;
mod server;
mod snippet;
mod store;
mod syntax;
#[cfg(test)]
mod tests;
mod tls;
mod tracing;
mod warnings;
mod watch;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

pub(crate) use self::{
    admin::{Admin, AdminToken},
    delivery::DeliveryConfig,
    destination::DestinationConfig,
    file::{ExposedConfig, UnreadableConfig, read},
    integration::IntegrationConfig,
    log::{Log, LogFormat},
    long_duration::{LongDuration, duration},
    maintenance::Maintenance,
    partial::{ClientConfig, read_plugin_paths},
    plugins::Plugins,
    references::without_line_end,
    requests::{Keep, Requests},
    required_plugins::RequiredPlugins,
    retention::Retention,
    route::RouteConfig,
    scope::Scope,
    store::{Store, StorePaths},
    tls::{Listener, Tls},
    tracing::Tracing,
    watch::Watch,
};
pub use self::{
    document::Document,
    error::{ConfigError, ConfigErrors},
    loaded::LoadedConfig,
    references::referenced_files,
    server::Server,
};

/// A whole configuration. Every section and every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The listener for webhooks.
    pub server: Server,
    /// The listener for the API, metrics and health.
    pub admin: Admin,
    /// The database of alerts and requests.
    pub store: Store,
    /// Folder for the host's own files, such as the journal of plugin loads. Default: the folder of the
    /// SQLite file.
    pub state_dir: Option<PathBuf>,
    /// The folder of plugins, trust in them, and limits of their calls.
    pub plugins: Plugins,
    /// Requests that are kept in full, for a replay.
    pub requests: Requests,
    /// Ages and sizes above which stored data is deleted.
    pub retention: Retention,
    /// Automatic reloads of changed files.
    pub watch: Watch,
    /// Form and level of the log.
    pub log: Log,
    /// The integrations by name. The name is the last part of the endpoint's URL, see
    /// [`Server::endpoint`].
    pub integrations: BTreeMap<String, IntegrationConfig>,
    /// The destinations of news about alerts, by name.
    pub destinations: BTreeMap<String, DestinationConfig>,
    /// The destinations that are told of an alert.
    pub routes: Vec<RouteConfig>,
    /// Timeouts and retries of deliveries.
    pub delivery: DeliveryConfig,
    /// The receiver of traces.
    pub tracing: Tracing,
}

//! `[destinations.NAME]`: somewhere to send news about alerts, with its plugin and its limits.

use std::num::NonZeroUsize;

use semver::VersionReq;
use serde::Deserialize;
use tocsin_plugin_api::notification::Kind;

use crate::{http::sender::Network, limits::rate_limit::Rate};

/// `[destinations.NAME]`: somewhere to send news about alerts, with its plugin and its limits.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationConfig {
    /// Name of the plugin in its manifest, not the name of its file.
    pub plugin: String,
    /// Semver requirement for the plugin's version. The highest version that matches is used. Default:
    /// any.
    #[serde(default)]
    pub version: VersionReq,
    /// Switches the destination on. News for a disabled destination waits. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Kinds of news that are sent: `opened`, `acknowledged`, `resolved`, `occurred`, `noted`. Default:
    /// the first three.
    #[serde(default = "usual_events")]
    pub events: Vec<Kind>,
    /// Most attempts in a second, minute or hour, see [`Rate`], such as `1/s`. Default: as the plugin
    /// suggests.
    #[serde(default)]
    pub rate_limit: Option<Rate>,
    /// Most attempts at the same time. Default 8.
    #[serde(default = "usual_parallel")]
    pub parallel: NonZeroUsize,
    /// Number of new alerts that wait for the destination above which one message tells of all of them. 0
    /// means never. Default 20.
    #[serde(default = "usual_digest")]
    pub digest_above: u32,
    /// Private [`Network`]s that the destination may be in. Default: none.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
    /// Allows `http` without TLS to addresses in `allow_networks`. Default false.
    #[serde(default)]
    pub allow_http: bool,
    /// Options of the plugin, which alone knows their keys.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

fn yes() -> bool {
    true
}

fn usual_events() -> Vec<Kind> {
    vec![Kind::Opened, Kind::Acknowledged, Kind::Resolved]
}

fn usual_parallel() -> NonZeroUsize {
    const { NonZeroUsize::new(8).unwrap() }
}

fn usual_digest() -> u32 {
    20
}

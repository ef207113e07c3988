//! `[integrations.NAME]`: one endpoint, its plugin, and the settings that the host applies.

use semver::VersionReq;
use serde::Deserialize;
use tocsin_plugin_api::Urgency;

use super::{LongDuration, Maintenance};
use crate::{limits::rate_limit::Rate, template::Template};

/// `[integrations.NAME]`: one endpoint, its plugin, and the settings that the host applies.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntegrationConfig {
    /// Name of the plugin in its manifest, not the name of its file.
    pub plugin: String,
    /// Semver requirement for the plugin's version. The highest version that matches is used. Default:
    /// any.
    #[serde(default)]
    pub version: VersionReq,
    /// Switches the endpoint on. A disabled integration answers 405. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// [`Urgency`] of alerts to which the plugin gives none. Default medium.
    #[serde(default = "medium")]
    pub urgency: Urgency,
    /// [`Template`] for the titles of alerts. Default: the plugin's titles.
    #[serde(default)]
    pub title: Option<Template>,
    /// [`Template`] for the descriptions of alerts. Default: the plugin's descriptions.
    #[serde(default)]
    pub description: Option<Template>,
    /// Times of [`Maintenance`], in which requests are recorded but open no alert. Default: never.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// Most requests in a second, minute or hour, see [`Rate`], such as `100/s`. More get 429. Default: no
    /// limit.
    #[serde(default)]
    pub rate_limit: Option<Rate>,
    /// Most requests of each sender's address, such as `10/s`. More get 429. Default: no limit.
    #[serde(default)]
    pub sender_rate_limit: Option<Rate>,
    /// [Time](LongDuration) without a further occurrence after which an alert resolves by itself. Default:
    /// never.
    #[serde(default)]
    pub resolve_after: Option<LongDuration>,
    /// Options of the plugin, which alone knows their keys.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

fn yes() -> bool {
    true
}

fn medium() -> Urgency {
    Urgency::Medium
}

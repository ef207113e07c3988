//! `[integrations.NAME]`: one endpoint, what understands it, and what the host adds.

use semver::VersionReq;
use serde::Deserialize;
use tocsin_plugin_api::Urgency;

use super::{LongDuration, Maintenance};
use crate::{rate_limit::Rate, template::Template};

/// `[integrations.NAME]`: one endpoint and what understands it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct IntegrationConfig {
    /// The name of the plugin, from its manifest; not a file name.
    pub plugin: String,
    /// Which versions of it may be used, semver; the highest match is. Default: any.
    #[serde(default)]
    pub version: VersionReq,
    /// Whether webhooks are taken; a disabled integration answers 405. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The urgency of alerts whose plugin found none. Default medium.
    #[serde(default = "medium")]
    pub urgency: Urgency,
    /// A template for the titles of alerts. Default: the plugin's own.
    #[serde(default)]
    pub title: Option<Template>,
    /// A template for their descriptions. Default: the plugin's own.
    #[serde(default)]
    pub description: Option<Template>,
    /// When requests are recorded and no alert opens. Default: never.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// How many requests are taken in a time, such as `100/s`; more get 429. Default: any.
    #[serde(default)]
    pub rate_limit: Option<Rate>,
    /// The same for each sender's address.
    #[serde(default)]
    pub sender_rate_limit: Option<Rate>,
    /// After how long without another report an alert resolves by itself. Default: never.
    #[serde(default)]
    pub resolve_after: Option<LongDuration>,
    /// The plugin's own table.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

fn yes() -> bool {
    true
}

fn medium() -> Urgency {
    Urgency::Medium
}

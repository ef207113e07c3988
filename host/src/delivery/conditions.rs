//! Conditions on an alert, as routes and silences have them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Urgency;
use utoipa::ToSchema;

/// Conditions on an alert. All have to hold; those that are left out always hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Names of integrations. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub integrations: Vec<String>,
    /// Lowest urgency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub urgency: Option<Urgency>,
    /// Values of details by their labels. Every label needs a detail with a value that matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub details: BTreeMap<String, DetailCondition>,
}

/// Condition on the value of a detail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "is neither a text nor a pattern")]
pub enum DetailCondition {
    /// The value is exactly this text.
    Exactly(String),
    /// A regular expression matches the value.
    Matches {
        /// The regular expression, in the syntax of the crate `regex`.
        pattern: String,
    },
}

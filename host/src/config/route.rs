//! `[[routes]]`: the destinations that are told of an alert.

use std::collections::BTreeMap;

use serde::Deserialize;
use tocsin_plugin_api::Urgency;

use super::LongDuration;
use crate::delivery::conditions::DetailCondition;

/// `[[routes]]`: the destinations that are told of an alert.
///
/// All routes that match apply. Without routes, every destination is told of every alert.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteConfig {
    /// Names of destinations.
    pub to: Vec<String>,
    /// Names of integrations. Default: all.
    #[serde(default)]
    pub integrations: Vec<String>,
    /// Lowest urgency. Default: any.
    #[serde(default)]
    pub urgency: Option<Urgency>,
    /// Values of details by their labels. Default: none.
    #[serde(default)]
    pub details: BTreeMap<String, DetailCondition>,
    /// Hours in which the route tells of an alert. Further news about the alert follows at any hour.
    /// Default: always.
    #[serde(default)]
    pub hours: Option<HoursConfig>,
    /// Time after which the alert must still be open and not acknowledged. Default: none, the
    /// destinations are told at once.
    #[serde(default)]
    pub after: Option<LongDuration>,
    /// Time after which the message is repeated while the alert is still open and not acknowledged, counted
    /// from the route's first message, which comes at once or after `after`. Default: none, no message is
    /// repeated.
    #[serde(default)]
    pub repeat: Option<LongDuration>,
}

/// Hours of a week in a time zone.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoursConfig {
    /// Days, such as `mon-fri` or `sat,sun`. Default: every day.
    #[serde(default)]
    pub days: Option<String>,
    /// Beginning, such as `08:00`. Default `00:00`.
    #[serde(default)]
    pub from: Option<String>,
    /// End, such as `18:00`. An end before the beginning lies on the next day. Default `24:00`.
    #[serde(default)]
    pub to: Option<String>,
    /// Name of a time zone in the IANA database, such as `Europe/Berlin`. Default `UTC`.
    #[serde(default)]
    pub zone: Option<String>,
}

impl HoursConfig {
    /// Returns `days`, `from`, `to` and `zone`.
    pub(super) fn parts(&self) -> [Option<&str>; 4] {
        [&self.days, &self.from, &self.to, &self.zone].map(Option::as_deref)
    }
}

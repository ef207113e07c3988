//! `[[routes]]`: the destinations that are told of an alert.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

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

/// `[delivery]`: how deliveries are tried.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeliveryConfig {
    /// Waiting times before the second, third ... attempt. The last one is repeated until `give_up_after`.
    /// Default: `5s`, `30s`, `2m`, `10m`, `30m`, `2h`, `5h`, `10h`.
    pub retry: Vec<LongDuration>,
    /// Time after which a delivery that still fails is dead. Default `72h`.
    pub give_up_after: LongDuration,
    /// Timeout for the name resolution and the TCP connection. Default `10s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub connect_timeout: Duration,
    /// Timeout for the TLS handshake. Default `10s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub tls_timeout: Duration,
    /// Timeout for the headers of an answer. Default `20s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub header_timeout: Duration,
    /// Timeout for the body of an answer. Default `20s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub body_timeout: Duration,
    /// URL of an HTTP proxy for all deliveries. Default: none.
    pub proxy: Option<String>,
    /// File with further certificate authorities in PEM format, relative to the configuration file.
    /// Default: none, only those of the system.
    pub ca_file: Option<PathBuf>,
    /// Contents of `ca_file`, as they were checked.
    #[serde(skip)]
    pub ca_pem: Option<Vec<u8>>,
    /// Address of an alert for people, for the links in messages. `{number}` and `{id}` stand for the number
    /// and the id of the alert. Default: none, messages have no link.
    pub alert_url: Option<String>,
    /// Address of the list of alerts for people, for the link in a digest. Default: none.
    pub alerts_url: Option<String>,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let retry = [5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR];
        Self {
            retry: retry.map(LongDuration::from_secs).to_vec(),
            give_up_after: LongDuration::from_secs(72 * HOUR),
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(20),
            proxy: None,
            ca_file: None,
            ca_pem: None,
            alert_url: None,
            alerts_url: None,
        }
    }
}

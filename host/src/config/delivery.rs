//! `[delivery]`: how deliveries are tried.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::LongDuration;

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

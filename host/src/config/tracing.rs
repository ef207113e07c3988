//! `[tracing]`: the receiver of traces, and the requests of which there are traces.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use tocsin_plugin_api::Secret;

/// `[tracing]`: the receiver of traces, and the requests of which there are traces.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tracing {
    /// URL to which traces are posted, by OTLP over HTTP. Default: none, there are no traces.
    pub endpoint: Option<String>,
    /// Part of the requests of which there are traces, from 0 to 1, if the sender has not begun a trace.
    /// Default 1.
    pub sample_ratio: f64,
    /// Name of this host in traces. Default `tocsin`.
    pub service_name: String,
    /// Headers for the receiver, such as a token in `authorization`. Default: none.
    pub headers: BTreeMap<String, Secret>,
    /// Timeout for one attempt to post traces. Default `10s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub timeout: Duration,
    /// File with further certificate authorities in PEM format, relative to the configuration file.
    /// Default: none, only those of the system.
    pub ca_file: Option<PathBuf>,
    /// Contents of `ca_file`, as they were checked.
    #[serde(skip)]
    pub ca_pem: Option<Vec<u8>>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 1.0,
            service_name: "tocsin".into(),
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            ca_file: None,
            ca_pem: None,
        }
    }
}

impl Tracing {
    /// Returns true if the headers are equal. The values are compared in constant time.
    pub(crate) fn has_headers_of(&self, other: &Self) -> bool {
        let is_same =
            |((name, value), (other, secret)): ((&String, &Secret), (&String, &Secret))| {
                name == other && value.matches(secret.expose().as_bytes())
            };
        self.headers.len() == other.headers.len()
            && self.headers.iter().zip(&other.headers).all(is_same)
    }

    /// Returns true if all settings are equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        // The pattern names every key, so that a new one cannot be forgotten here.
        let Self { endpoint, sample_ratio, service_name, headers: _, timeout, ca_file: _, ca_pem } =
            self;
        *endpoint == other.endpoint
            && *sample_ratio == other.sample_ratio
            && *service_name == other.service_name
            && self.has_headers_of(other)
            && *timeout == other.timeout
            && *ca_pem == other.ca_pem
    }
}

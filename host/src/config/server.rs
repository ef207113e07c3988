//! `[server]`: where webhooks come in, and what a client may take.

use std::{net::SocketAddr, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::Deserialize;

use crate::http::sender::Network;

/// `[server]`: where webhooks come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The URL under which senders reach it, shown in endpoint URLs. Default: `http://` and `listen`.
    pub public_url: Option<String>,
    /// The largest body, in bytes; a larger one gets 413. Default 1 MiB.
    pub body_limit_bytes: usize,
    /// The largest request line with headers, in bytes; larger gets 431. At least 8192, default 16384.
    pub header_limit_bytes: usize,
    /// How long the headers of a request may take, and how long a connection may stay idle. Slower
    /// gets 408. Default `10s`.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long the body of a request may take; slower gets 408. Default `10s`.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// How long a client may take to read an answer, or 16 KiB of a long one, before its connection is
    /// closed. Default `10s`.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// How many connections are served at once; more wait to be accepted. Default 1024.
    pub max_connections: usize,
    /// How many of them one address may have; more are answered 503. Addresses of trusted proxies may
    /// have all. Default: a quarter of `max_connections`, but at least 16.
    pub max_connections_per_address: Option<usize>,
    /// How much memory the bodies of all requests may take while they are read and judged, in bytes;
    /// bodies up to 16 KiB do not count. One sender may take half of it. Larger bodies wait for a
    /// moment, and get 503. At least `body_limit_bytes`; default 64 MiB.
    pub body_memory_bytes: usize,
    /// How many wrong tokens an address may send within a minute; further ones get 429. A right token
    /// is never held up by them. 0: any number. Default 1000.
    pub max_wrong_tokens_per_minute: u32,
    /// Answers requests to unknown integrations like wrong tokens, so that nobody can find out which
    /// integrations there are. Default false: they are answered 404.
    pub hide_integrations: bool,
    /// How long requests in flight are waited for when the host is stopped. Default `20s`.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
    /// Addresses or networks of proxies whose `X-Forwarded-For` says who the sender is. Default: none.
    pub trusted_proxies: Vec<Network>,
}

/// One address has a few connections even where there are few in all.
const FEWEST_PER_ADDRESS: usize = 16;

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            body_limit_bytes: 1024 * 1024,
            header_limit_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_connections: 1024,
            max_connections_per_address: None,
            body_memory_bytes: 64 * 1024 * 1024,
            max_wrong_tokens_per_minute: 1000,
            hide_integrations: false,
            shutdown_timeout: Duration::from_secs(20),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Server {
    /// Returns how many connections one address may have.
    pub fn connections_per_address(&self) -> usize {
        let quarter = (self.max_connections / 4).max(FEWEST_PER_ADDRESS);
        self.max_connections_per_address.unwrap_or(quarter)
    }

    /// Returns how much memory bodies may take: the largest one always fits.
    pub fn body_memory(&self) -> usize {
        self.body_memory_bytes.max(self.body_limit_bytes)
    }

    /// The URL to which an integration's sender posts.
    pub fn endpoint(&self, integration: &str) -> String {
        let listen = format!("http://{}", self.listen);
        let base = self.public_url.as_deref().unwrap_or(&listen).trim_end_matches('/');
        format!("{base}/in/{integration}")
    }
}

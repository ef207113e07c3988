//! `[server]`: the listener for webhooks, and limits on its clients.

use std::{net::SocketAddr, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::Deserialize;

use super::tls::Tls;
use crate::http::sender::Network;

/// `[server]`: the listener for webhooks, and limits on its clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The URL under which senders reach the listener, shown in [endpoint](Self::endpoint) URLs. Default:
    /// `http://`, or `https://` with `tls`, and `listen`.
    pub public_url: Option<String>,
    /// Largest body of a request, in bytes. A larger one gets 413. Default 1 MiB.
    pub body_limit_bytes: usize,
    /// Largest request line with headers, in bytes. A larger one gets 431. At least 8192, default 16384.
    pub header_limit_bytes: usize,
    /// Timeout for the headers of a request, which get 408 after it, and for idle connections. Default
    /// `10s`.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// Timeout for the body of a request, which gets 408 after it. Default `10s`.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// Timeout for a client to read an answer, or 16 KiB of a long one. After it, the connection is
    /// closed. Default `10s`.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// Most connections that are served at once. More wait to be accepted. Default 1024.
    pub max_connections: usize,
    /// Most connections of one address, see [`connections_per_address`](Self::connections_per_address).
    /// More get 503. Addresses in `trusted_proxies` are exempt. Default: a quarter of `max_connections`,
    /// but at least 16.
    pub max_connections_per_address: Option<usize>,
    /// Most memory for the bodies of all requests in progress, in bytes, see
    /// [`body_memory`](Self::body_memory). Bodies up to 16 KiB do not count, and one sender may take half.
    /// A body that finds no memory within a second gets 503. At least `body_limit_bytes`, default 64 MiB.
    pub body_memory_bytes: usize,
    /// Most wrong tokens that one address may send within a minute. Further ones get 429; requests with a
    /// correct token are still served. 0 means no limit. Default 1000.
    pub max_wrong_tokens_per_minute: u32,
    /// Answers a request to an unknown integration as it answers a wrong token, so that senders cannot
    /// find out the names of integrations. Default false: such a request gets 404.
    pub hide_integrations: bool,
    /// Timeout for requests in flight when the host is stopped. Default `20s`.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
    /// Addresses or [`Network`]s of proxies whose `X-Forwarded-For` names the sender. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Certificate and key of the listener, which then speaks TLS only. Default: none, plain HTTP.
    pub(crate) tls: Option<Tls>,
}

/// Fewest connections that one address may have by default, however low `max_connections` is.
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
            tls: None,
        }
    }
}

impl Server {
    /// Returns the most connections that one address may have.
    pub fn connections_per_address(&self) -> usize {
        let quarter = (self.max_connections / 4).max(FEWEST_PER_ADDRESS);
        self.max_connections_per_address.unwrap_or(quarter)
    }

    /// Returns the memory for bodies, in bytes. The largest body always fits.
    pub fn body_memory(&self) -> usize {
        self.body_memory_bytes.max(self.body_limit_bytes)
    }

    /// Returns the URL to which senders of an integration post.
    pub fn endpoint(&self, integration: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let listen = format!("{scheme}://{}", self.listen);
        let base = self.public_url.as_deref().unwrap_or(&listen).trim_end_matches('/');
        format!("{base}/in/{integration}")
    }
}

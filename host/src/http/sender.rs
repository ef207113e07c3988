//! The address of a sender: that of the peer, or the one that a trusted proxy forwards.
//!
//! An address is no proof of a sender. A token is.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::HeaderMap;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

/// Address of the other end of a connection, as an extension of each request that reaches the routes of the
/// admin API.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// One address, or all addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            network if network.prefix_len() == network.max_prefix_len() => network.addr().fmt(f),
            network => network.fmt(f),
        }
    }
}

impl Network {
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| format!("`{text}` is neither an address nor a network"))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Returns true for the address of a trusted proxy.
pub fn is_proxy(address: IpAddr, proxies: &[Network]) -> bool {
    proxies.iter().any(|network| network.contains(address.to_canonical()))
}

/// Returns the sender of a request that came from `peer`. Each trusted proxy appends the address that it
/// forwards to `X-Forwarded-For`. Entries before that may be forged.
pub fn sender(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| is_proxy(address, proxies);
    let mut sender = peer.to_canonical();
    if !is_proxy(sender) {
        return sender;
    }
    let lines = headers.get_all("x-forwarded-for").iter();
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
    for hop in lines.iter().flat_map(|line| line.split(',')).rev() {
        let Some(address) = address(hop.trim()) else { break };
        sender = address;
        if !is_proxy(sender) {
            break;
        }
    }
    sender
}

/// Parses an entry of `X-Forwarded-For`. Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|it| it.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(peer: &str, forwarded: &[&'static str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let proxies: Vec<_> = proxies.iter().map(|text| text.parse().expect("a network")).collect();
        sender(peer.parse().expect("an address"), &headers, &proxies).to_string()
    }

    #[test]
    fn without_a_trusted_proxy_the_sender_is_the_peer_whatever_the_headers_say() {
        assert_eq!(sent("192.0.2.1", &["203.0.113.9"], &[]), "192.0.2.1");
        assert_eq!(sent("192.0.2.1", &["203.0.113.9"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(sent("::ffff:192.0.2.1", &[], &[]), "192.0.2.1");
    }

    #[test]
    fn behind_trusted_proxies_the_sender_is_the_address_that_the_outermost_proxy_forwards() {
        let proxies = &["10.0.0.0/8", "::1"];
        assert_eq!(sent("10.0.0.1", &["203.0.113.9"], proxies), "203.0.113.9");
        assert_eq!(sent("::1", &["203.0.113.9, 10.0.0.2"], proxies), "203.0.113.9");
        assert_eq!(sent("::1", &["6.6.6.6", "203.0.113.9,10.0.0.2"], proxies), "203.0.113.9");
        assert_eq!(sent("::1", &["[2001:db8::1]:80"], proxies), "2001:db8::1");
        assert_eq!(sent("::1", &["203.0.113.9:4711"], proxies), "203.0.113.9");
    }

    #[test]
    fn an_invalid_forwarded_address_ends_the_search_for_the_sender() {
        assert_eq!(sent("10.0.0.1", &[], &["10.0.0.1"]), "10.0.0.1");
        assert_eq!(sent("10.0.0.1", &["203.0.113.9, unknown"], &["10.0.0.1"]), "10.0.0.1");
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}

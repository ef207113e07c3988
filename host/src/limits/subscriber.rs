//! Limits count one address, or one network of addresses (one internet subscriber), as one sender.

use std::net::{IpAddr, Ipv6Addr};

/// Returns an IPv4 address unchanged, and the /64 network of an IPv6 address: a subscriber usually has at
/// least that (RFC 6177).
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

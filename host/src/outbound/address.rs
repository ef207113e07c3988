//! Networks whose addresses are not public, with a name for each.
//!
//! The lists are the special-purpose registries of IANA (RFC 6890), and the addresses at which clouds
//! serve metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Metadata services, which give credentials to whoever reaches them. Most are inside a larger network
/// that is not public either; the last one is outside of all.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(start: [u16; 4], length: u8) -> Ipv6Net {
    let [a, b, c, d] = start;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

/// IPv4 networks. The first that has an address names it.
const V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 32), "the unspecified address"),
    (v4(0, 0, 0, 0, 8), "an address of this host"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "an address behind a carrier's NAT"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(169, 254, 0, 0, 16), "a link-local address"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "a reserved address"),
    (v4(192, 0, 2, 0, 24), "an address for documentation"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "an address for benchmarks"),
    (v4(198, 51, 100, 0, 24), "an address for documentation"),
    (v4(203, 0, 113, 0, 24), "an address for documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(255, 255, 255, 255, 32), "the broadcast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// IPv6 networks. The first that has an address names it.
const V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "the unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (v6([0, 0, 0, 0], 96), "an IPv4-compatible address"),
    (v6([0x64, 0xff9b, 1, 0], 48), "a local NAT64 address"),
    (v6([0x100, 0, 0, 0], 64), "an address whose packets are discarded"),
    (v6([0x2001, 0, 0, 0], 32), "a Teredo address"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "an address for documentation"),
    (v6([0x2001, 0, 0, 0], 23), "a reserved address"),
    (v6([0x2002, 0, 0, 0], 16), "a 6to4 address"),
    (v6([0x3fff, 0, 0, 0], 20), "an address for documentation"),
    (v6([0xfc00, 0, 0, 0], 7), "a private address"),
    (v6([0xfe80, 0, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0, 0], 10), "a site-local address"),
    (v6([0xff00, 0, 0, 0], 8), "a multicast address"),
];

/// IPv6 networks that are public if they are not in [`V6`]: global unicast.
const GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// The network of NAT64 (RFC 6052). The last 32 bits are an IPv4 address.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

/// Describes an address that is not public, such as ``a private address (`10.0.0.0/8`)``. Returns `None`
/// for a public address.
pub(super) fn not_public(address: IpAddr) -> Option<String> {
    let canonical = address.to_canonical();
    if canonical != address {
        return not_public(canonical)
            .map(|meaning| format!("the IPv4-mapped form of `{canonical}`, {meaning}"));
    }
    if METADATA.contains(&address) {
        return Some("a metadata service".into());
    }
    match address {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<String> {
    let (network, meaning) = V4.iter().find(|(network, _)| network.contains(&address))?;
    Some(described(meaning, network))
}

fn not_public_v6(address: Ipv6Addr) -> Option<String> {
    if NAT64.contains(&address) {
        let inside = last_32_bits(address);
        return not_public(inside.into())
            .map(|meaning| format!("the NAT64 form of `{inside}`, {meaning}"));
    }
    match V6.iter().find(|(network, _)| network.contains(&address)) {
        Some((network, meaning)) => Some(described(meaning, network)),
        None if GLOBAL.contains(&address) => None,
        None => Some("a reserved address".into()),
    }
}

fn described(meaning: &str, network: &impl ToString) -> String {
    let network = network.to_string();
    match meaning.starts_with("the ") {
        true => meaning.into(),
        false => format!("{meaning} (`{network}`)"),
    }
}

fn last_32_bits(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meaning(address: &str) -> Option<String> {
        not_public(address.parse().expect("an address"))
    }

    #[test]
    fn public_addresses_have_no_special_meaning() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2a00:1450:4001::200e",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert_eq!(meaning(address), None, "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_form_of_an_ipv4_address_is_as_public_as_the_address(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let is_public = not_public(address.into()).is_none();
            let nat64 = Ipv6Addr::from_bits((0x64_ff9b << 96) | u128::from(bits));
            for form in [address.to_ipv6_mapped(), nat64] {
                prop_assert_eq!(not_public(form.into()).is_none(), is_public, "{}", form);
            }
            let old = u128::from(bits);
            let tunnels = [old, (0x2002 << 112) | (old << 80), (0x2001 << 112) | (!old & 0xffff_ffff)];
            for tunnel in tunnels {
                prop_assert!(not_public(Ipv6Addr::from_bits(tunnel).into()).is_some());
            }
        }

        #[test]
        fn no_address_outside_of_global_unicast_is_public(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            if not_public(address.into()).is_none() {
                let is_form = NAT64.contains(&address) || address.to_ipv4_mapped().is_some();
                prop_assert!(GLOBAL.contains(&address) || is_form);
            }
        }
    }

    #[test]
    fn names_every_kind_of_address_that_is_not_public() {
        for (address, expected) in [
            ("0.0.0.0", "the unspecified address"),
            ("0.1.2.3", "an address of this host (`0.0.0.0/8`)"),
            ("10.0.0.0", "a private address (`10.0.0.0/8`)"),
            ("10.255.255.255", "a private address (`10.0.0.0/8`)"),
            ("172.16.0.1", "a private address (`172.16.0.0/12`)"),
            ("172.31.255.255", "a private address (`172.16.0.0/12`)"),
            ("192.168.1.1", "a private address (`192.168.0.0/16`)"),
            ("127.0.0.1", "a loopback address (`127.0.0.0/8`)"),
            ("127.255.255.254", "a loopback address (`127.0.0.0/8`)"),
            ("169.254.1.1", "a link-local address (`169.254.0.0/16`)"),
            ("169.254.169.254", "a metadata service"),
            ("169.254.170.2", "a metadata service"),
            ("100.100.100.200", "a metadata service"),
            ("168.63.129.16", "a metadata service"),
            ("fd00:ec2::254", "a metadata service"),
            ("fd20:ce::254", "a metadata service"),
            ("100.64.0.1", "an address behind a carrier's NAT (`100.64.0.0/10`)"),
            ("192.0.0.8", "a reserved address (`192.0.0.0/24`)"),
            ("192.0.2.1", "an address for documentation (`192.0.2.0/24`)"),
            ("198.51.100.1", "an address for documentation (`198.51.100.0/24`)"),
            ("203.0.113.1", "an address for documentation (`203.0.113.0/24`)"),
            ("192.88.99.1", "a 6to4 relay (`192.88.99.0/24`)"),
            ("198.19.0.1", "an address for benchmarks (`198.18.0.0/15`)"),
            ("224.0.0.1", "a multicast address (`224.0.0.0/4`)"),
            ("240.0.0.1", "a reserved address (`240.0.0.0/4`)"),
            ("255.255.255.255", "the broadcast address"),
            ("::", "the unspecified address"),
            ("::1", "a loopback address (`::1/128`)"),
            ("::7f00:1", "an IPv4-compatible address (`::/96`)"),
            (
                "::ffff:10.0.0.1",
                "the IPv4-mapped form of `10.0.0.1`, a private address (`10.0.0.0/8`)",
            ),
            (
                "::ffff:169.254.169.254",
                "the IPv4-mapped form of `169.254.169.254`, a metadata service",
            ),
            (
                "64:ff9b::7f00:1",
                "the NAT64 form of `127.0.0.1`, a loopback address (`127.0.0.0/8`)",
            ),
            ("64:ff9b::a9fe:a9fe", "the NAT64 form of `169.254.169.254`, a metadata service"),
            ("64:ff9b:1::1", "a local NAT64 address (`64:ff9b:1::/48`)"),
            ("2002:7f00:1::", "a 6to4 address (`2002::/16`)"),
            ("2001:0:1234::1", "a Teredo address (`2001::/32`)"),
            ("2001:20::1", "a reserved address (`2001::/23`)"),
            ("2001:db8::1", "an address for documentation (`2001:db8::/32`)"),
            ("3fff::1", "an address for documentation (`3fff::/20`)"),
            ("100::1", "an address whose packets are discarded (`100::/64`)"),
            ("fc00::1", "a private address (`fc00::/7`)"),
            ("fdff::1", "a private address (`fc00::/7`)"),
            ("fe80::1", "a link-local address (`fe80::/10`)"),
            ("fec0::1", "a site-local address (`fec0::/10`)"),
            ("ff02::1", "a multicast address (`ff00::/8`)"),
            ("4000::1", "a reserved address"),
            ("::ffff:0:7f00:1", "a reserved address"),
        ] {
            assert_eq!(meaning(address).as_deref(), Some(expected), "{address}");
        }
    }
}

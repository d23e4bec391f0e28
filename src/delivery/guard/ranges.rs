//! Addresses that are no place on the public internet, from the IANA special-purpose registries for IPv4 and IPv6
//! (RFC 6890 and its updates) and the registry of IPv6 address space (RFC 4291). PURE.
//!
//! The registries' rows with "globally reachable: true" are not here: they are the public internet. A range inside another
//! stands before it. Of IPv6 only `2000::/3` is given out for the public internet; whatever is outside it and named
//! nowhere below is forbidden by the last row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::network::Network;

/// For whom a range can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Forbidden unless the configuration allows it.
    Private,
    /// Always forbidden: no server has such an address.
    Never,
}

/// A range of special addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Its addresses.
    pub network: Network,
    /// Whether it can be opened.
    pub reach: Reach,
    /// What it is for, in a few words.
    pub usage: &'static str,
}

/// The well-known prefix of NAT64 (RFC 6052): such an address is as good as the IPv4 address at its end.
const NAT64: Network = v6(0x64, 0xff9b, 0, 96);
const UNICAST: Network = v6(0x2000, 0, 0, 3);

const UNASSIGNED: Range = private(v6(0, 0, 0, 0), "not assigned (RFC 4291)");

/// The table.
pub const RANGES: &[Range] = &[
    never(v4(0, 0, 0, 0, 8), "this network (RFC 791)"),
    private(v4(10, 0, 0, 0, 8), "private use (RFC 1918)"),
    private(v4(100, 64, 0, 0, 10), "shared by carriers (RFC 6598)"),
    private(v4(127, 0, 0, 0, 8), "loopback (RFC 1122)"),
    private(v4(169, 254, 0, 0, 16), "link-local (RFC 3927)"),
    private(v4(172, 16, 0, 0, 12), "private use (RFC 1918)"),
    // In no registry, but reachable from inside Azure only, and it hands out what its machines are told.
    private(v4(168, 63, 129, 16, 32), "Azure's platform"),
    private(v4(192, 0, 0, 0, 24), "protocol assignments (RFC 6890)"),
    private(v4(192, 0, 2, 0, 24), "documentation (RFC 5737)"),
    private(v4(192, 88, 99, 0, 24), "6to4 relays (RFC 7526)"),
    private(v4(192, 168, 0, 0, 16), "private use (RFC 1918)"),
    private(v4(198, 18, 0, 0, 15), "benchmarks (RFC 2544)"),
    private(v4(198, 51, 100, 0, 24), "documentation (RFC 5737)"),
    private(v4(203, 0, 113, 0, 24), "documentation (RFC 5737)"),
    never(v4(224, 0, 0, 0, 4), "multicast (RFC 5771)"),
    never(v4(255, 255, 255, 255, 32), "broadcast (RFC 8190)"),
    private(v4(240, 0, 0, 0, 4), "reserved (RFC 1112)"),
    never(v6_host(0), "unspecified (RFC 4291)"),
    private(v6_host(1), "loopback (RFC 4291)"),
    private(v6(0, 0, 0, 96), "IPv4-compatible (RFC 4291)"),
    private(v6(0x64, 0xff9b, 1, 48), "NAT64 for local use (RFC 8215)"),
    private(v6(0x100, 0, 0, 64), "discard (RFC 6666)"),
    private(v6(0x2001, 0, 0, 32), "Teredo (RFC 4380)"),
    private(v6(0x2001, 0, 0, 23), "protocol assignments (RFC 2928)"),
    private(v6(0x2001, 0xdb8, 0, 32), "documentation (RFC 3849)"),
    private(v6(0x2002, 0, 0, 16), "6to4 (RFC 7526)"),
    private(v6(0x3fff, 0, 0, 20), "documentation (RFC 9637)"),
    private(v6(0x5f00, 0, 0, 16), "segment routing (RFC 9602)"),
    private(v6(0xfc00, 0, 0, 7), "unique local (RFC 4193)"),
    private(v6(0xfe80, 0, 0, 10), "link-local (RFC 4291)"),
    private(v6(0xfec0, 0, 0, 10), "site-local (RFC 3879)"),
    never(v6(0xff00, 0, 0, 8), "multicast (RFC 4291)"),
];

/// Returns the range that makes `address` special, the strictest if an IPv4 address inside it has one of its own; `None`
/// is the public internet.
pub(super) fn special(address: IpAddr) -> Option<Range> {
    let address = address.to_canonical();
    let own = listed(address);
    let inner = embedded(address).and_then(|inner| listed(IpAddr::V4(inner)));
    match (own, inner) {
        (Some(own), Some(inner)) if inner.reach == Reach::Never && own.reach != Reach::Never => {
            Some(inner)
        }
        (own, inner) => own.or(inner),
    }
}

fn listed(address: IpAddr) -> Option<Range> {
    let found = RANGES.iter().find(|range| range.network.contains(address));
    let is_public = address.is_ipv4() || UNICAST.contains(address) || NAT64.contains(address);
    found.copied().or((!is_public).then_some(UNASSIGNED))
}

/// Returns the IPv4 address that a translator or a tunnel would take from an IPv6 address.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let [_, a, b, _, _, _, y, z] = address.segments();
    let ipv4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => None,
        [0x2002, ..] => Some(ipv4(a, b)),
        // Teredo hides the client's address from translators by flipping its bits.
        [0x2001, 0, ..] => Some(ipv4(!y, !z)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => Some(ipv4(y, z)),
        _ => None,
    }
}

const fn private(network: Network, usage: &'static str) -> Range {
    Range {
        network,
        reach: Reach::Private,
        usage,
    }
}

const fn never(network: Network, usage: &'static str) -> Range {
    Range {
        network,
        reach: Reach::Never,
        usage,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u32) -> Network {
    Network::v4(Ipv4Addr::new(a, b, c, d), prefix_bits)
}

const fn v6(a: u16, b: u16, c: u16, prefix_bits: u32) -> Network {
    Network::v6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix_bits)
}

const fn v6_host(last: u16) -> Network {
    Network::v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, last), 128)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn usage(text: &str) -> Option<&'static str> {
        special(text.parse().unwrap()).map(|range| range.usage)
    }

    #[test]
    fn public_addresses_are_in_no_range() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.31.196.1",
            "192.52.193.1",
            "192.167.255.255",
            "192.175.48.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2000::",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2620:4f:8000::1",
            "3ffe:ffff::1",
        ] {
            assert_eq!(usage(text), None, "{text}");
        }
    }

    #[test]
    fn special_addresses_are_found_at_both_ends_of_their_range() {
        for range in RANGES {
            for address in [range.network.first(), range.network.last()] {
                let found = listed(address).unwrap();
                // A narrower range inside may take an end.
                let is_inside = range.network.contains(found.network.first());
                assert!(is_inside, "{address} is {}", found.usage);
                assert!(found.network.contains(address) && special(address).is_some());
            }
        }
        for (text, expected) in [
            ("127.0.0.1", "loopback (RFC 1122)"),
            ("::ffff:127.0.0.1", "loopback (RFC 1122)"),
            ("64:ff9b::127.0.0.1", "loopback (RFC 1122)"),
            ("64:ff9b::a9fe:a9fe", "link-local (RFC 3927)"),
            ("64:ff9b:1::1.1.1.1", "NAT64 for local use (RFC 8215)"),
            ("2002:7f00:1::", "6to4 (RFC 7526)"),
            ("2002:808:808::", "6to4 (RFC 7526)"),
            ("2002:ffff:ffff::", "broadcast (RFC 8190)"),
            // Their ends are 255.255.255.254 and 255.255.255.255, flipped.
            ("2001::1", "Teredo (RFC 4380)"),
            ("2001::", "broadcast (RFC 8190)"),
            ("2001:0:1::f7f7:f7f7", "Teredo (RFC 4380)"),
            ("2001:1::1", "protocol assignments (RFC 2928)"),
            ("::127.0.0.1", "IPv4-compatible (RFC 4291)"),
            ("::ffff:0:127.0.0.1", "not assigned (RFC 4291)"),
            ("64:ff9b:2::1", "not assigned (RFC 4291)"),
            ("100:0:0:1::1", "not assigned (RFC 4291)"),
            ("4000::1", "not assigned (RFC 4291)"),
            ("fe00::1", "not assigned (RFC 4291)"),
            ("fd00:ec2::254", "unique local (RFC 4193)"),
            ("168.63.129.16", "Azure's platform"),
            ("255.255.255.255", "broadcast (RFC 8190)"),
            ("255.255.255.254", "reserved (RFC 1112)"),
        ] {
            assert_eq!(usage(text), Some(expected), "{text}");
        }
    }
}

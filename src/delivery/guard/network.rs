//! A network in CIDR notation (RFC 4632, RFC 4291): an address and how many of its leading bits count. PURE.
//!
//! An IPv4 address inside an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address, here as for the machine that dials it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

const MAPPED_PREFIX_BITS: u32 = 96;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// The lowest address.
    base: IpAddr,
    /// Leading bits that count: at most 32 or 128.
    prefix_bits: u32,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, a slash and a number.
    #[error("not a network as 10.1.0.0/16 or fd00::/8")]
    Syntax,
    /// Bits are set behind the prefix: a slip of the pen in one of the two.
    #[error("the address has bits behind its first {prefix_bits}: the network is {network}")]
    HostBits {
        /// What was written behind the slash.
        prefix_bits: u32,
        /// The network that the address is in.
        network: Network,
    },
}

impl Network {
    /// Makes an IPv4 network; bits of `base` behind the prefix do not count.
    #[must_use]
    pub const fn v4(base: Ipv4Addr, prefix_bits: u32) -> Self {
        let bits = base.to_bits() & mask_v4(prefix_bits);
        Self {
            base: IpAddr::V4(Ipv4Addr::from_bits(bits)),
            prefix_bits,
        }
    }

    /// Makes an IPv6 network; bits of `base` behind the prefix do not count.
    #[must_use]
    pub const fn v6(base: Ipv6Addr, prefix_bits: u32) -> Self {
        let bits = base.to_bits() & mask_v6(prefix_bits);
        Self {
            base: IpAddr::V6(Ipv6Addr::from_bits(bits)),
            prefix_bits,
        }
    }

    /// Makes the network of one address.
    #[must_use]
    pub fn single(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::v4(address, 32),
            IpAddr::V6(address) => Self::v6(address, 128),
        }
    }

    /// Returns whether `address` is in the network. A mapped IPv4 address is in networks of IPv4 alone: one of IPv6 that reaches
    /// over the mapped ones, as `::/80`, allows no host of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.prefix_bits) == base.to_bits()
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.prefix_bits) == base.to_bits()
            }
            _ => false,
        }
    }

    /// Returns the lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.base
    }

    /// Returns the highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.base {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(
                base.to_bits() | !mask_v4(self.prefix_bits),
            )),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(
                base.to_bits() | !mask_v6(self.prefix_bits),
            )),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').ok_or(NetworkError::Syntax)?;
        let address: IpAddr = address.parse().map_err(|_not| NetworkError::Syntax)?;
        let is_number =
            (1..=3).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix_bits: u32 = prefix.parse().map_err(|_not| NetworkError::Syntax)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        if !is_number || prefix_bits > bits_max {
            return Err(NetworkError::Syntax);
        }
        // Networks of mapped addresses are IPv4 networks, unless they hold more than those.
        let (network, base) = match (address, address.to_canonical()) {
            (IpAddr::V4(base), _) => (Self::v4(base, prefix_bits), address),
            (IpAddr::V6(_), IpAddr::V4(base)) if prefix_bits >= MAPPED_PREFIX_BITS => {
                let network = Self::v4(base, prefix_bits - MAPPED_PREFIX_BITS);
                (network, IpAddr::V4(base))
            }
            (IpAddr::V6(base), _) => (Self::v6(base, prefix_bits), address),
        };
        if network.base != base {
            return Err(NetworkError::HostBits {
                prefix_bits,
                network,
            });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
}

const fn mask_v4(prefix_bits: u32) -> u32 {
    match u32::MAX.checked_shl(32_u32.saturating_sub(prefix_bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn mask_v6(prefix_bits: u32) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn networks_read_as_themselves_and_odd_ones_are_refused() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "1.2.3.4/32",
            "fc00::/7",
            "::/0",
            "::1/128",
        ] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10/8",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "a.example/8",
            "[::]/8",
            "::/0008",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Syntax), "{text}");
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert!(
            error.to_string().ends_with("the network is 10.0.0.0/8"),
            "{error}"
        );
    }

    #[test]
    fn one_family_is_not_in_the_other_but_a_mapped_address_is_its_ipv4_address() {
        assert!(network("10.0.0.0/8").contains("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!network("10.0.0.0/8").contains("::10.9.9.9".parse().unwrap()));
        assert!(!network("::/0").contains("10.9.9.9".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
    }

    /// Compares the leading bits one by one.
    fn shares_bits(a: &[u8], b: &[u8], count: u32) -> bool {
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        (0..count as usize).all(|at| bit(a, at) == bit(b, at))
    }

    proptest! {
        #[test]
        fn an_ipv4_network_holds_what_shares_its_bits(base: u32, near: u32, shift in 0..33_u32, prefix in 0..=32_u32) {
            // Addresses that share many bits are rare among random ones.
            let other = base ^ near.checked_shr(shift).unwrap_or(0);
            let network = Network::v4(Ipv4Addr::from_bits(base), prefix);
            let expected = shares_bits(&base.to_be_bytes(), &other.to_be_bytes(), prefix);
            prop_assert_eq!(network.contains(IpAddr::V4(Ipv4Addr::from_bits(other))), expected);
            prop_assert!(network.contains(network.first()) && network.contains(network.last()));
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }

        #[test]
        fn an_ipv6_network_holds_what_shares_its_bits(base: u128, near: u128, shift in 0..129_u32, prefix in 0..=128_u32) {
            // A mapped address is another family's.
            let base = base | 1 << 127;
            let other = base ^ near.checked_shr(shift).unwrap_or(0);
            prop_assume!(other >> 32 != 0xffff);
            let network = Network::v6(Ipv6Addr::from_bits(base), prefix);
            let expected = shares_bits(&base.to_be_bytes(), &other.to_be_bytes(), prefix);
            prop_assert_eq!(network.contains(IpAddr::V6(Ipv6Addr::from_bits(other))), expected);
            prop_assert!(network.contains(network.first()) && network.contains(network.last()));
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }

        #[test]
        fn texts_do_not_panic(text in "[0-9a-f:./]{0,24}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }
    }
}

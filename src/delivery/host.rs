//! The host of a URL, read as the WHATWG URL standard reads it, so that no odd spelling of an address passes for a name. PURE.
//!
//! Invariants:
//! - Whatever ends in a number is an IPv4 address or refused: `127.1`, `0x7f.1`, `017700000001` and `2130706433` all are
//!   `127.0.0.1`. A resolver never sees them.
//! - A name is ASCII letters, digits, `-` and `_` in labels of 1 to 63 bytes, lower case, without a trailing dot. A name in
//!   another script is written in Punycode (`xn--`), which a browser or a registrar gives.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name in bytes (RFC 1035, 2.3.4, without the trailing dot).
pub const NAME_BYTES_MAX: usize = 253;

/// Longest label of a name in bytes (RFC 1035, 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// A host, in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name for the resolver: lower case, no trailing dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("there is no host")]
    Empty,
    /// A character outside ASCII.
    #[error("the host is not ASCII: write it in Punycode, as xn--bcher-kva.example")]
    NotAscii,
    /// A character that no name has.
    #[error("{0:?} cannot stand in a host")]
    Character(char),
    /// An empty label, or one of more than 63 bytes.
    #[error("each part of a host has 1 to {LABEL_BYTES_MAX} bytes")]
    Label,
    /// A name of more than 253 bytes.
    #[error("a host has at most {NAME_BYTES_MAX} bytes")]
    Long,
    /// It ends in a number and is no IPv4 address.
    #[error("a host that ends in a number is an IPv4 address, and this is none")]
    Ipv4,
    /// Brackets without an IPv6 address.
    #[error("between brackets stands an IPv6 address, and this is none")]
    Ipv6,
    /// An IPv6 address with a zone.
    #[error("an IPv6 address with a zone names a network card of one machine: leave out the zone")]
    Zone,
}

impl Host {
    /// Parses the host of a URL: a name, an IPv4 address in any spelling, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(HostError::Ipv6)?;
            if inner.contains('%') {
                return Err(HostError::Zone);
            }
            return inner
                .parse::<Ipv6Addr>()
                .map(|address| Self::Address(IpAddr::V6(address)))
                .map_err(|_not| HostError::Ipv6);
        }
        if !text.is_ascii() {
            return Err(HostError::NotAscii);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if let Some(wrong) = text.chars().find(|c| !is_name_char(*c)) {
            return Err(HostError::Character(wrong));
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(HostError::Long);
        }
        let mut labels = text.split('.');
        if labels.clone().any(|label| !is_label(label)) {
            return Err(HostError::Label);
        }
        if labels.next_back().is_some_and(is_number) {
            let address = ipv4(text).ok_or(HostError::Ipv4)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

/// As it stands in a URL: an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
}

/// Whether a last label makes the whole an IPv4 address (WHATWG "ends in a number"), however large the number.
fn is_number(label: &str) -> bool {
    let is_decimal = label.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = hexadecimal(label);
    is_decimal || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn hexadecimal(part: &str) -> Option<&str> {
    part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"))
}

/// Reads one part: decimal, octal behind `0`, hexadecimal behind `0x`.
fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match (hexadecimal(part), part.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (part, 10),
    };
    if digits.is_empty() && part.starts_with('0') {
        return Some(0);
    }
    // `from_str_radix` takes a sign as well, but a name has no `+`, and no negative number fits.
    u32::from_str_radix(digits, radix).ok()
}

/// Reads an address of one to four parts; the last part fills the bytes that are left.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let filled = 8 * u32::try_from(leading.len()).ok()?;
    if u64::from(*last) >= 1 << (32 - filled) {
        return None;
    }
    let lead = leading
        .iter()
        .zip([24, 16, 8])
        .fold(0, |sum, (part, shift)| sum | part << shift);
    Some(Ipv4Addr::from_bits(lead | last))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn address(text: &str) -> Result<String, HostError> {
        match Host::parse(text)? {
            Host::Name(name) => Ok(format!("name {name}")),
            Host::Address(address) => Ok(address.to_string()),
        }
    }

    #[test]
    fn every_spelling_of_an_ipv4_address_is_that_address() {
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0X7F000001", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("0177.0.0.01", "127.0.0.1"),
            ("0x7f.0x0.0x0.0x1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("0x", "0.0.0.0"),
            ("0.0", "0.0.0.0"),
            ("4294967295", "255.255.255.255"),
            ("10.0xffffff", "10.255.255.255"),
            ("1.2.65535", "1.2.255.255"),
            ("169.254.0xa9fe", "169.254.169.254"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_ends_in_a_number_and_is_no_address_is_refused() {
        for text in [
            "256.1",
            "1.256.1.1",
            "1.2.3.256",
            "1.2.65536",
            "1.16777216",
            "4294967296",
            "99999999999999999999",
            "0x100000000",
            "1.2.3.4.5",
            "08",
            "1.2.3.09",
            "a.1",
            "a.0x1",
            "example.0",
        ] {
            assert_eq!(address(text), Err(HostError::Ipv4), "{text}");
        }
    }

    #[test]
    fn names_are_lower_case_and_lose_their_dot() {
        for (text, expected) in [
            ("Example.COM", "name example.com"),
            ("example.com.", "name example.com"),
            ("localhost.", "name localhost"),
            ("my_service", "name my_service"),
            ("xn--bcher-kva.example", "name xn--bcher-kva.example"),
            ("1.2.3.4.example", "name 1.2.3.4.example"),
            ("0xg", "name 0xg"),
            ("1e3", "name 1e3"),
            ("0x7f.0.0.1.nip.io", "name 0x7f.0.0.1.nip.io"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_name_has_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["a".repeat(50).as_str(); 6].join(".");
        for (text, expected) in [
            ("", HostError::Empty),
            (".", HostError::Empty),
            ("a..b", HostError::Label),
            (".a", HostError::Label),
            ("a..", HostError::Label),
            ("127.0.0.1..", HostError::Label),
            (&long, HostError::Label),
            (&longer, HostError::Long),
            ("a b", HostError::Character(' ')),
            ("a%2eb", HostError::Character('%')),
            ("a\\b", HostError::Character('\\')),
            ("a:b", HostError::Character(':')),
            ("-1,2", HostError::Character(',')),
            ("b\u{fc}cher.example", HostError::NotAscii),
            ("\u{ff11}27.0.0.1", HostError::NotAscii),
            ("127\u{3002}0\u{3002}0\u{3002}1", HostError::NotAscii),
        ] {
            assert_eq!(address(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn ipv6_stands_in_brackets_and_has_no_zone() {
        for (text, expected) in [
            ("[::1]", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("[::FFFF:7f00:1]", "::ffff:127.0.0.1"),
            ("[::127.0.0.1]", "::7f00:1"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("[fe80::1%eth0]", HostError::Zone),
            ("[fe80::1%25eth0]", HostError::Zone),
            ("[]", HostError::Ipv6),
            ("[::1", HostError::Ipv6),
            ("[127.0.0.1]", HostError::Ipv6),
            ("[v1.a]", HostError::Ipv6),
            ("[::0x7f.1]", HostError::Ipv6),
            ("::1", HostError::Character(':')),
            ("a[::1]", HostError::Character('[')),
        ] {
            assert_eq!(address(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_host_reads_as_itself() {
        for text in ["a.example", "10.0.0.1", "[2001:db8::1]", "[::ffff:1.2.3.4]"] {
            let host = Host::parse(text).unwrap();
            assert_eq!(host.to_string(), text);
            assert_eq!(Host::parse(&host.to_string()), Ok(host));
        }
    }
}

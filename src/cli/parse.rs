//! Values of arguments. PURE.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use storage::address::{Address, AddressError, AddressKind};
use storage::offset::{Offset, TimestampMs};

use crate::config::{parse_bytes, parse_duration_ms};
use crate::names::TopicName;

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the log start offset.
    Earliest,
    /// At the high watermark.
    Latest,
    /// At this offset.
    Offset(Offset),
    /// At the first record appended at this time or after it.
    Time(TimestampMs),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(at) = text.strip_prefix('@') {
            return time(at).map(Self::Time);
        }
        text.parse()
            .map(|offset| Self::Offset(Offset(offset)))
            .map_err(|_error| {
                "expected earliest, latest, an offset, or @TIME as in @2026-01-31T12:00:00Z"
                    .to_owned()
            })
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => offset.fmt(f),
            Self::Time(time) => write!(f, "@{time}"),
        }
    }
}

/// A limit, or the word `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<T>(pub Option<T>);

/// A range of offsets, `FROM..TO`, the end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// First offset.
    pub from: Offset,
    /// The offset after the last.
    pub to: Offset,
}

/// Parses a time: RFC 3339, or milliseconds since 1970.
pub(super) fn time(text: &str) -> Result<TimestampMs, String> {
    if let Ok(ms) = text.parse() {
        return Ok(TimestampMs(ms));
    }
    text.parse::<Timestamp>()
        .map(|time| TimestampMs(time.as_millisecond()))
        .map_err(|_error| {
            "expected a time as in 2026-01-31T12:00:00Z, or milliseconds since 1970".to_owned()
        })
}

/// Parses a size.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).map_err(|error| error.to_string())
}

/// Parses a size that fits in 32 bits.
pub(super) fn bytes_u32(text: &str) -> Result<u32, String> {
    u32::try_from(bytes(text)?).map_err(|_error| "too large: at most 4294967295 bytes".to_owned())
}

/// Parses a duration.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration_ms(text).map_err(|error| error.to_string())
}

/// Parses a size or `none`.
pub(super) fn limit_bytes(text: &str) -> Result<Limit<u64>, String> {
    if text == "none" {
        Ok(Limit(None))
    } else {
        bytes(text).map(|b| Limit(Some(b)))
    }
}

/// Parses a duration or `none`.
pub(super) fn limit_ms(text: &str) -> Result<Limit<i64>, String> {
    if text == "none" {
        Ok(Limit(None))
    } else {
        duration_ms(text).map(|ms| Limit(Some(ms)))
    }
}

/// Parses a partition or an offset.
pub(super) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_no_number| "expected a whole number, counted from 0".to_owned())
}

/// Parses the status of an HTTP answer.
pub(super) fn status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|code| (100..=999).contains(code));
    status.ok_or_else(|| "expected the status of an HTTP answer, as 503".to_owned())
}

/// Parses the id of a dead letter.
pub(super) fn letter_id(text: &str) -> Result<String, String> {
    match address_kind(text)? {
        AddressKind::Letter => Ok(text.to_owned()),
        AddressKind::Message => Err("it is the id of a message".to_owned()),
    }
}

/// Parses the id of a message.
pub(super) fn message_id(text: &str) -> Result<String, String> {
    match address_kind(text)? {
        AddressKind::Message => Ok(text.to_owned()),
        AddressKind::Letter => Err("it is the id of a dead letter".to_owned()),
    }
}

fn address_kind(text: &str) -> Result<AddressKind, String> {
    let address: Result<Address, AddressError> = text.parse();
    address
        .map(|address| address.kind)
        .map_err(|error| error.to_string())
}

/// Parses an IP address, and writes it as the broker does.
pub(super) fn ip(text: &str) -> Result<String, String> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical().to_string())
        .map_err(|_error| "expected an IP address, as 192.0.2.7 or 2001:db8::7".to_owned())
}

/// Parses `FROM..TO`.
pub(super) fn offset_range(text: &str) -> Result<OffsetRange, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| {
        let (from, to) = (Offset(from.parse().ok()?), Offset(to.parse().ok()?));
        (from < to).then_some(OffsetRange { from, to })
    });
    parsed.ok_or_else(|| {
        "expected FROM..TO with FROM below TO, the end excluded, as in 120..150".to_owned()
    })
}

/// Parses the name of a topic that is to be.
pub(super) fn topic_name(text: &str) -> Result<String, String> {
    let name = TopicName::parse(text).map_err(|error| error.to_string())?;
    Ok(name.to_string())
}

/// Parses a text of one line.
pub(super) fn one_line(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("there is nothing in it".to_owned());
    }
    if text.contains(['\n', '\r']) {
        return Err("it has more than one line; --details takes any number".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses `NAME=VALUE`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, as in topic.durability=written".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_say_what_they_count() {
        assert_eq!(count::<u32>("7"), Ok(7));
        assert_eq!(status("503"), Ok(503));
        for text in ["x", "-1", "4294967296", ""] {
            assert!(count::<u32>(text).is_err_and(|why| why.contains("from 0")));
        }
        for text in ["abc", "99", "1000"] {
            assert!(status(text).is_err_and(|why| why.contains("as 503")));
        }
    }

    /// A filter that nothing can match would say that there are no such letters.
    #[test]
    fn what_a_filter_is_to_match_is_checked() {
        let (letter, message) = ("0Fa84QYNDPdgyczpVPZ3ZRy", "07n42DI17vxvETCgiXrXTAy");
        assert_eq!(message_id(message).as_deref(), Ok(message));
        assert!(message_id(letter).is_err_and(|why| why.contains("dead letter")));
        assert!(message_id("07n42DI17vxvETCgiXrXTAx").is_err_and(|why| why.contains("mistyped")));
        assert!(letter_id(message).is_err_and(|why| why.contains("a message")));
        assert_eq!(ip("0:0:0:0:0:0:0:1").as_deref(), Ok("::1"));
        assert_eq!(ip("::ffff:192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert!(ip("300.1.1.1").is_err_and(|why| why.contains("192.0.2.7")));
    }

    #[test]
    fn from_takes_words_offsets_and_times() {
        for (text, expected) in [
            ("earliest", From::Earliest),
            ("latest", From::Latest),
            ("0", From::Offset(Offset(0))),
            ("18446744073709551615", From::Offset(Offset(u64::MAX))),
            ("@0", From::Time(TimestampMs(0))),
            ("@-5", From::Time(TimestampMs(-5))),
            ("@1970-01-01T00:00:01.5Z", From::Time(TimestampMs(1500))),
            ("@1970-01-01T01:00:00+01:00", From::Time(TimestampMs(0))),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-1",
            "first",
            "@",
            "@yesterday",
            "@1970-01-01",
            "1.5",
            "18446744073709551616",
            "Earliest",
        ] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_not_empty() {
        let range = OffsetRange {
            from: Offset(1),
            to: Offset(5),
        };
        assert_eq!(offset_range("1..5"), Ok(range));
        for text in ["", "1", "5..1", "1..1", "..5", "1..", "1...5", "-1..5"] {
            assert!(offset_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_take_none() {
        assert_eq!(limit_bytes("none"), Ok(Limit(None)));
        assert_eq!(limit_bytes("8MiB"), Ok(Limit(Some(8 << 20))));
        assert_eq!(limit_ms("1h"), Ok(Limit(Some(3_600_000))));
        assert!(limit_ms("never").is_err());
        assert!(bytes_u32("4GiB").is_err());
        assert_eq!(assignment("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(assignment("=b").is_err());
    }

    proptest! {
        #[test]
        fn from_comes_back(offset in any::<u64>(), time in any::<i64>()) {
            for from in [From::Offset(Offset(offset)), From::Time(TimestampMs(time))] {
                prop_assert_eq!(from.to_string().parse(), Ok(from));
            }
        }

        #[test]
        fn parsers_never_panic(text in "\\PC{0,24}") {
            let _from = text.parse::<From>();
            let _time = time(&text);
            let _range = offset_range(&text);
        }
    }
}

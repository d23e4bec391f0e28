//! Durations as the QStash headers write them: `50s`, `1d10h30m`, `1.5h`. PURE.
//!
//! A duration is one or more of a decimal number and its unit, one behind the other; they are added up, in whatever order
//! they come. Units are `ns`, `us` (also with the micro sign), `ms`, `s`, `m`, `h` and `d`. What is not a whole number of
//! milliseconds is rounded up: a wait is never shorter than was said, and a timeout never becomes none.
//!
//! A number alone is seconds: the SDKs take numbers as seconds and write the `s` themselves for delays, timeouts and
//! periods, but hand on a text as it is.

/// Longest duration, in bytes.
pub const DURATION_BYTES_MAX: usize = 64;

const NS_PER_MS: u128 = 1_000_000;
const NS_PER_SECOND: u128 = 1000 * NS_PER_MS;

// Longest first where one begins with the other.
const UNITS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1000),
    ("\u{b5}s", 1000),
    ("\u{3bc}s", 1000),
    ("ms", NS_PER_MS),
    ("s", NS_PER_SECOND),
    ("m", 60 * NS_PER_SECOND),
    ("h", 3600 * NS_PER_SECOND),
    ("d", 86_400 * NS_PER_SECOND),
];

/// Digits behind the point that count: a nanosecond is the 10^14th part of a day.
const FRACTION_DIGITS_MAX: usize = 15;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is too much of it.
    #[error("the duration has {bytes} bytes, it may have {DURATION_BYTES_MAX}")]
    TooLong {
        /// How many bytes there are.
        bytes: usize,
    },
    /// It is written in another way.
    #[error(
        "{value:?} is no duration, it must be numbers with their units, as in 10s, 6m5s or 1d10h30m"
    )]
    Malformed {
        /// The text.
        value: String,
    },
    /// There is a unit that no duration has.
    #[error("{value:?} has the unit {unit:?}, units are ns, us, ms, s, m, h and d")]
    UnknownUnit {
        /// The text.
        value: String,
        /// The unit.
        unit: String,
    },
    /// It is longer than can be counted.
    #[error(
        "{value:?} is too long a time, at most {} milliseconds can be counted",
        u64::MAX
    )]
    TooFar {
        /// The text.
        value: String,
    },
}

/// Parses a duration into milliseconds, rounded up. Blanks around it do not count.
///
/// # Errors
/// The [`DurationError`].
pub fn parse_duration_ms(text: &str) -> Result<u64, DurationError> {
    let text = text.trim();
    if text.len() > DURATION_BYTES_MAX {
        return Err(DurationError::TooLong { bytes: text.len() });
    }
    let value = || text.to_owned();
    let total = match parse_number(text) {
        Some((seconds, "")) => seconds.of(NS_PER_SECOND),
        _ => sum(text)?,
    };
    let ms = total.and_then(|ns| u64::try_from(ns.div_ceil(NS_PER_MS)).ok());
    ms.ok_or_else(|| DurationError::TooFar { value: value() })
}

/// Adds up numbers with units, in nanoseconds; `None` for too many.
fn sum(text: &str) -> Result<Option<u128>, DurationError> {
    let mut total = Some(0_u128);
    let mut rest = text;
    loop {
        let Some((number, behind)) = parse_number(rest) else {
            return Err(DurationError::Malformed {
                value: text.to_owned(),
            });
        };
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = behind
            .split_at_checked(end.unwrap_or(behind.len()))
            .unwrap_or((behind, ""));
        let Some((_, unit_ns)) = UNITS.iter().find(|(known, _)| *known == unit) else {
            return Err(unknown_unit(text, unit));
        };
        let part = number.of(*unit_ns);
        total = total.and_then(|total| total.checked_add(part?));
        rest = behind;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

fn unknown_unit(text: &str, unit: &str) -> DurationError {
    let value = text.to_owned();
    if !unit.is_empty() && unit.chars().all(char::is_alphabetic) {
        let unit = unit.to_owned();
        DurationError::UnknownUnit { value, unit }
    } else {
        DurationError::Malformed { value }
    }
}

/// A decimal number: `whole` and `fraction` / 10^`digits`.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    /// `None` for a number that cannot be counted.
    whole: Option<u128>,
    fraction: u128,
    digits: u32,
}

impl Decimal {
    /// Returns as many units of this many nanoseconds, rounded up.
    fn of(self, unit_ns: u128) -> Option<u128> {
        let whole = self.whole?.checked_mul(unit_ns)?;
        let part = (self.fraction * unit_ns).div_ceil(10_u128.pow(self.digits));
        whole.checked_add(part)
    }
}

/// Takes a number from the beginning, and returns it with what stands behind it.
fn parse_number(text: &str) -> Option<(Decimal, &str)> {
    let (whole, mut rest) = digits(text);
    let mut fraction = "";
    if let Some(behind) = rest.strip_prefix('.') {
        (fraction, rest) = digits(behind);
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let counted = fraction.get(..FRACTION_DIGITS_MAX).unwrap_or(fraction);
    let number = Decimal {
        whole: if whole.is_empty() {
            Some(0)
        } else {
            whole.parse().ok()
        },
        fraction: counted.parse().unwrap_or(0),
        digits: u32::try_from(counted.len()).unwrap_or(0),
    };
    Some((number, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_add_up() {
        for (text, expected) in [
            ("50s", 50_000),
            ("6m5s", 365_000),
            ("1d10h30m", 124_200_000),
            ("0s", 0),
            ("1h", 3_600_000),
            ("250ms", 250),
            ("2us", 1),
            ("1000us", 1),
            ("1001\u{b5}s", 2),
            ("1001\u{3bc}s", 2),
            ("1ns", 1),
            ("999999ns1ns", 1),
            ("1.5h", 5_400_000),
            ("0.5s", 500),
            (".25s", 250),
            ("1.s", 1000),
            ("30m1h", 5_400_000),
            ("1m1m", 120_000),
            (" 10s\t", 10_000),
            ("0.0001s", 1),
            ("1m0.1s500ms", 60_600),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_seconds() {
        for (text, expected) in [("10", 10_000), ("0", 0), ("1.5", 1500), ("007", 7000)] {
            assert_eq!(parse_duration_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_value() {
        for text in [
            "", " ", "s", "-5s", "+5s", "5 s", "1h 30m", "1h30", ".", ".s", "5s-", "1..5s", "1,5s",
            "5s\0",
        ] {
            let value = text.trim().to_owned();
            let expected = DurationError::Malformed { value };
            assert_eq!(parse_duration_ms(text), Err(expected), "{text:?}");
        }
        for (text, unit) in [
            ("5x", "x"),
            ("5S", "S"),
            ("1e3s", "e"),
            ("1h5mins", "mins"),
            ("2w", "w"),
        ] {
            let told = parse_duration_ms(text).unwrap_err().to_string();
            assert!(told.contains(&format!("{text:?} has the unit {unit:?}, units are ns")));
        }
    }

    #[test]
    fn no_length_overflows() {
        let most = "18446744073709551615ms";
        assert_eq!(parse_duration_ms(most), Ok(u64::MAX));
        for text in [
            "18446744073709551616ms",
            "18446744073709551615ms1ns",
            "999999999999999999999999999999999999d",
            "9999999999999999999999999999999999999999999999999999999999999d",
            "340282366920938463463374607431768211455ns1d",
            "99999999999999999999",
        ] {
            let value = text.to_owned();
            assert_eq!(
                parse_duration_ms(text),
                Err(DurationError::TooFar { value })
            );
        }
        let text = "1".repeat(DURATION_BYTES_MAX + 1);
        let bytes = DURATION_BYTES_MAX + 1;
        assert_eq!(
            parse_duration_ms(&text),
            Err(DurationError::TooLong { bytes })
        );
    }

    #[test]
    fn a_long_fraction_counts_as_far_as_a_nanosecond() {
        let text = "0.99999999999999999999999999999999d";
        assert_eq!(parse_duration_ms(text), Ok(86_400_000));
        assert_eq!(parse_duration_ms("0.001000000000000000000s"), Ok(1));
    }

    proptest! {
        #[test]
        fn parts_add_up(d in 0..400_u64, h in 0..100_u64, m in 0..100_u64, s in 0..100_u64, ms in 0..5000_u64) {
            let expected = (((d * 24 + h) * 60 + m) * 60 + s) * 1000 + ms;
            prop_assert_eq!(parse_duration_ms(&format!("{d}d{h}h{m}m{s}s{ms}ms")), Ok(expected));
            prop_assert_eq!(parse_duration_ms(&format!("{ms}ms{s}s{m}m{h}h{d}d")), Ok(expected));
            prop_assert_eq!(parse_duration_ms(&format!("{s}.{ms:04}")), Ok(s * 1000 + ms.div_ceil(10)));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9.]{0,20}[a-z\u{b5}]{0,3}[0-9.]{0,20}[a-z]{0,2}|\\PC{0,70}") {
            if let Err(error) = parse_duration_ms(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

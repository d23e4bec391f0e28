//! Sizes and durations as people write them: `8 MiB`, `1048576`, `7d`, `1h30m`, `500ms`. PURE.
//!
//! Formatting is exact: what is printed parses back to the same number.

use std::fmt::Write as _;

const BYTE_UNITS: &[(&str, u64)] = &[
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

const BINARY_NAMES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

const TIME_UNITS: &[(&str, i64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a size or a duration was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is not a size.
    #[error("not a size: say bytes as a whole number, or with a unit as in 64KiB, 8 MiB, 1GiB")]
    Size,
    /// The text is not a duration.
    #[error(
        "not a duration: say milliseconds as a whole number, or with units as in 7d, 1h30m, 500ms"
    )]
    Duration,
    /// The number does not fit in 64 bits.
    #[error("too large")]
    TooLarge,
}

/// Parses a size in bytes. A number without a unit is bytes; KiB is 1024 bytes and kB is 1000.
///
/// # Errors
/// [`UnitError::Size`] for anything else, [`UnitError::TooLarge`] when the bytes do not fit.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let (number, unit) = split_number(text).ok_or(UnitError::Size)?;
    let number: u64 = number.parse().map_err(|_overflow| UnitError::TooLarge)?;
    let unit = unit.trim().to_ascii_lowercase();
    if unit.is_empty() {
        return Ok(number);
    }
    let factor = BYTE_UNITS
        .iter()
        .find_map(|(name, factor)| (*name == unit).then_some(*factor))
        .ok_or(UnitError::Size)?;
    number.checked_mul(factor).ok_or(UnitError::TooLarge)
}

/// Formats bytes with the largest binary unit that divides them.
pub fn format_bytes(bytes: u64) -> String {
    BINARY_NAMES
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(
            || bytes.to_string(),
            |(name, factor)| format!("{}{name}", bytes / factor),
        )
}

/// Parses a duration into milliseconds. A number without a unit is milliseconds; units add up and may each stand once,
/// the largest first.
///
/// # Errors
/// [`UnitError::Duration`] for anything else, [`UnitError::TooLarge`] when the milliseconds do not fit.
pub fn parse_duration_ms(text: &str) -> Result<i64, UnitError> {
    let mut rest = text.trim();
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return rest.parse().map_err(|_overflow| UnitError::TooLarge);
    }
    let mut total = 0_i64;
    let mut factor_before = i64::MAX;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest).ok_or(UnitError::Duration)?;
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end).ok_or(UnitError::Duration)?;
        let factor = TIME_UNITS
            .iter()
            .find_map(|(name, factor)| (*name == unit).then_some(*factor))
            .filter(|factor| *factor < factor_before)
            .ok_or(UnitError::Duration)?;
        let number: i64 = number.parse().map_err(|_overflow| UnitError::TooLarge)?;
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .ok_or(UnitError::TooLarge)?;
        factor_before = factor;
        rest = tail.trim_start();
    }
    if factor_before == i64::MAX {
        return Err(UnitError::Duration);
    }
    Ok(total)
}

/// Formats milliseconds as the shortest sum of units; a negative number is shown as plain milliseconds.
pub fn format_duration_ms(ms: i64) -> String {
    if ms <= 0 {
        return format!("{ms}ms");
    }
    let mut rest = ms;
    let mut text = String::new();
    for (name, factor) in TIME_UNITS {
        let count = rest / factor;
        rest %= factor;
        if count > 0 {
            // Writing to a string cannot fail.
            let _ok = write!(text, "{count}{name}");
        }
    }
    text
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_take_units_in_any_case_with_or_without_a_blank() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("1MiB", 1 << 20),
            (" 8 MiB ", 8 << 20),
            ("8mib", 8 << 20),
            ("2kB", 2000),
            ("1GiB", 1 << 30),
            ("3b", 3),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for text in ["", "MiB", "-1", "1.5MiB", "1 MiBs", "1MiB 2", "0x10", "1M"] {
            assert_eq!(parse_bytes(text), Err(UnitError::Size), "{text}");
        }
        assert_eq!(parse_bytes("99999999TiB"), Err(UnitError::TooLarge));
        assert_eq!(
            parse_bytes("99999999999999999999"),
            Err(UnitError::TooLarge)
        );
    }

    #[test]
    fn durations_add_up() {
        for (text, ms) in [
            ("0", 0),
            ("250", 250),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d 2h", 93_600_000),
            ("1m1s1ms", 61_001),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn wrong_durations_are_refused() {
        for text in ["", " ", "d", "1x", "1m1h", "1h1h", "-1s", "1.5h", "1h30"] {
            assert_eq!(parse_duration_ms(text), Err(UnitError::Duration), "{text}");
        }
        assert_eq!(parse_duration_ms("999999999999d"), Err(UnitError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_back(bytes in any::<u64>(), shift in 0_u32..41, ms in 0_i64..) {
            let bytes = (bytes >> shift) << shift;
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
            prop_assert_eq!(parse_duration_ms(&format_duration_ms(ms)), Ok(ms));
        }

        #[test]
        fn parsers_never_panic(text in "\\PC{0,24}") {
            let _size = parse_bytes(&text);
            let _duration = parse_duration_ms(&text);
        }
    }
}

//! When the next attempt is made: what the receiver told us, else what the publisher wrote, else the default backoff. PURE.
//!
//! | who says | how long | jitter |
//! |---|---|---|
//! | the answer's headers | [`told_delay_ms`] | up to 10% more |
//! | the message's [`Expression`] | as it computes | none: it is taken at its word |
//! | nobody, or the expression gives no time | [`default_backoff_ms`] | up to 10% more |
//!
//! Jitter only ever adds, so nothing is tried again earlier than it was told. It spreads what failed together.

use storage::offset::TimestampMs;

use super::DAY_MS;
use super::duration::parse_duration_ms;
use super::expression::Expression;

/// The header that tells when to come again. It wins over [`RATE_LIMIT_HEADERS`].
pub const RETRY_AFTER: &str = "Retry-After";
/// The headers that tell when a limit is lifted. When several stand, the last one to be lifted counts.
pub const RATE_LIMIT_HEADERS: [&str; 3] = [
    "X-RateLimit-Reset",
    "X-RateLimit-Reset-Requests",
    "X-RateLimit-Reset-Tokens",
];

/// A number from here on is a unix time in seconds, no delay: it is 2001, or 31 years.
const UNIX_SECONDS_MIN: u64 = 1_000_000_000;
/// A number from here on is a unix time in milliseconds: it is 2001, or the year 33,658.
const UNIX_MS_MIN: u64 = 1_000_000_000_000;

/// Returns the wait before retry `retry`, from 1: `min(86400, e^(2.5 retry))` seconds, rounded down to whole ones.
#[must_use]
pub fn default_backoff_ms(retry: u32) -> u64 {
    // As numbers, so that no machine's `exp` rounds them otherwise.
    match retry {
        0 | 1 => 12_000,
        2 => 148_000,
        3 => 1_808_000,
        4 => 22_026_000,
        _ => DAY_MS,
    }
}

/// Returns the wait that the headers of an answer ask for, at most a day.
///
/// A value is a number of seconds, a duration such as `6m5s`, a unix time in seconds or milliseconds (a number that would
/// be 31 years or more), or an HTTP date. A value that is none of these, or that lies beyond a day, counts as absent.
/// A time that has passed is no wait for `Retry-After`, which tells when to come again; for the others it counts as
/// absent: many servers send them with every answer, and a limit that is over is not what made this attempt fail.
#[must_use]
pub fn told_delay_ms(headers: &[(String, String)], now: TimestampMs) -> Option<u64> {
    let values = |name: &'static str| {
        let named = headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        named.filter_map(move |(_, value)| Told::parse(value, now))
    };
    let after = values(RETRY_AFTER).map(|told| told.delay_ms().unwrap_or(0));
    let limits = RATE_LIMIT_HEADERS.into_iter().flat_map(values);
    let limits = limits.filter_map(Told::delay_ms);
    let within = |delay_ms: &u64| *delay_ms <= DAY_MS;
    after
        .filter(within)
        .max()
        .or_else(|| limits.filter(within).max())
}

/// Returns the wait before retry `retry`, from 1, of a message whose attempt ended with these headers. `random` is any
/// number, each as likely as the other. At most a day and a tenth.
#[must_use]
pub fn delay_ms(
    headers: &[(String, String)],
    expression: Option<&Expression>,
    retry: u32,
    now: TimestampMs,
    random: u64,
) -> u64 {
    let computed = || expression.and_then(|e| e.delay_ms(retry.saturating_sub(1)));
    match told_delay_ms(headers, now) {
        Some(told) => with_jitter(told, random),
        None => computed().unwrap_or_else(|| with_jitter(default_backoff_ms(retry), random)),
    }
}

/// Adds up to a tenth: none for a `random` of 0, the whole tenth for the largest.
fn with_jitter(delay_ms: u64, random: u64) -> u64 {
    let share = u128::from(delay_ms / 10) * u128::from(random) / u128::from(u64::MAX);
    delay_ms.saturating_add(u64::try_from(share).unwrap_or(0))
}

enum Told {
    Delay(u64),
    /// The milliseconds from now to a time; negative when it has passed.
    Until(i64),
}

impl Told {
    fn parse(value: &str, now: TimestampMs) -> Option<Self> {
        let value = value.trim();
        if let Ok(date) = httpdate::parse_http_date(value) {
            let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            return Some(Self::at(i64::try_from(since.as_millis()).ok()?, now));
        }
        let delay_ms = parse_duration_ms(value).ok()?;
        let is_number = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        Some(match delay_ms / 1000 {
            number if is_number && number >= UNIX_MS_MIN => {
                Self::at(i64::try_from(number).ok()?, now)
            }
            number if is_number && number >= UNIX_SECONDS_MIN => {
                Self::at(i64::try_from(delay_ms).ok()?, now)
            }
            _ => Self::Delay(delay_ms),
        })
    }

    fn at(time_ms: i64, now: TimestampMs) -> Self {
        Self::Until(TimestampMs(time_ms).since(now))
    }

    /// `None` when the time has passed.
    fn delay_ms(self) -> Option<u64> {
        match self {
            Self::Delay(delay_ms) => Some(delay_ms),
            Self::Until(ms) => u64::try_from(ms).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sat, 28 Nov 2026 12:00:00 GMT.
    const NOW: TimestampMs = TimestampMs(1_795_867_200_000);

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn told(pairs: &[(&str, &str)]) -> Option<u64> {
        told_delay_ms(&headers(pairs), NOW)
    }

    #[test]
    fn default_backoff_is_the_documented_one() {
        let documented = [12, 148, 30 * 60 + 8, (6 * 60 + 7) * 60 + 6, 86_400, 86_400];
        for (retry, seconds) in (1..).zip(documented) {
            assert_eq!(default_backoff_ms(retry), seconds * 1000, "retry {retry}");
            let formula = (2.5 * f64::from(retry)).exp().min(86_400.0).floor();
            assert_eq!(
                std::time::Duration::from_secs_f64(formula).as_millis(),
                u128::from(default_backoff_ms(retry))
            );
        }
        assert_eq!(default_backoff_ms(u32::MAX), DAY_MS);
        assert_eq!(default_backoff_ms(0), 12_000);
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        for (value, expected) in [
            ("0", Some(0)),
            ("10", Some(10_000)),
            ("1.5", Some(1500)),
            (" 7 ", Some(7000)),
            ("6m5s", Some(365_000)),
            ("250ms", Some(250)),
            ("100ns", Some(1)),
            ("Sat, 28 Nov 2026 12:00:30 GMT", Some(30_000)),
            ("Saturday, 28-Nov-26 12:00:30 GMT", Some(30_000)),
            ("Sat Nov 28 12:00:30 2026", Some(30_000)),
            ("Sat, 28 Nov 2026 11:00:00 GMT", Some(0)),
            ("1795867260", Some(60_000)),
            ("1795867260.25", Some(60_250)),
            ("1795867260250", Some(60_250)),
            ("1795867100", Some(0)),
            ("86400", Some(DAY_MS)),
            ("86401", None),
            ("24h1ms", None),
            ("Sun, 29 Nov 2026 12:00:01 GMT", None),
            ("999999999", None),
            ("1795953601", None),
            ("99999999999999999999", None),
            ("", None),
            ("-5", None),
            ("soon", None),
            ("Sat, 28 Foo 2026 12:00:30 GMT", None),
        ] {
            assert_eq!(told(&[("retry-after", value)]), expected, "{value:?}");
        }
    }

    #[test]
    fn rate_limit_headers_are_read_and_a_time_that_has_passed_says_nothing() {
        for name in RATE_LIMIT_HEADERS {
            assert_eq!(told(&[(name, "6m5s")]), Some(365_000), "{name}");
            assert_eq!(told(&[(name, "1795867260")]), Some(60_000), "{name}");
            assert_eq!(told(&[(name, "0")]), Some(0), "{name}");
            assert_eq!(told(&[(name, "1795867199")]), None, "{name}");
            assert_eq!(
                told(&[(name, "Sat, 28 Nov 2026 11:59:59 GMT")]),
                None,
                "{name}"
            );
        }
        assert_eq!(told(&[("X-RateLimit-Remaining", "5")]), None);
    }

    #[test]
    fn retry_after_wins_and_else_the_limit_that_is_lifted_last() {
        let limits = [
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "6m"),
            ("x-ratelimit-reset", "20"),
        ];
        assert_eq!(told(&limits), Some(360_000));
        let with = |after| {
            let mut all = limits.to_vec();
            all.push(("Retry-After", after));
            told(&all)
        };
        assert_eq!(with("3"), Some(3000));
        assert_eq!(with("never"), Some(360_000));
        assert_eq!(with("2d"), Some(360_000));
        assert_eq!(
            told(&[
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-reset-tokens", "25h")
            ]),
            Some(1000),
            "beyond a day is as if it were not there"
        );
    }

    #[test]
    fn headers_win_over_the_expression_and_it_over_the_default() {
        let expression = Expression::parse("1000 * (1 + retried)").unwrap();
        let negative = Expression::parse("-1").unwrap();
        let told = headers(&[("Retry-After", "7")]);
        let far = headers(&[("Retry-After", "100000")]);
        let delay = |headers: &[_], expression, retry| delay_ms(headers, expression, retry, NOW, 0);
        assert_eq!(delay(&told, Some(&expression), 1), 7000);
        assert_eq!(delay(&far, Some(&expression), 1), 1000);
        assert_eq!(delay(&far, None, 2), 148_000);
        assert_eq!(delay(&[], Some(&expression), 3), 3000);
        assert_eq!(delay(&[], Some(&negative), 3), 1_808_000);
        assert_eq!(delay(&[], None, 1), 12_000);
    }

    #[test]
    fn jitter_adds_a_tenth_at_most_and_nothing_to_an_expression() {
        let expression = Expression::parse("5000").unwrap();
        let told = headers(&[("Retry-After", "7")]);
        let delay =
            |headers: &[_], expression, random| delay_ms(headers, expression, 1, NOW, random);
        assert_eq!(delay(&told, None, u64::MAX), 7700);
        assert_eq!(delay(&told, None, u64::MAX / 2), 7349);
        assert_eq!(delay(&[], None, u64::MAX), 13_200);
        assert_eq!(delay(&[], Some(&expression), u64::MAX), 5000);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_told_nor_longer_than_a_tenth_more(
            seconds in 0..=86_400_u64, retry in any::<u32>(), random in any::<u64>(),
        ) {
            let told = headers(&[("Retry-After", &seconds.to_string())]);
            let delay = delay_ms(&told, None, retry, NOW, random);
            prop_assert!(delay >= seconds * 1000 && delay <= seconds * 1100);
            let backoff = default_backoff_ms(retry);
            let delay = delay_ms(&[], None, retry, NOW, random);
            prop_assert!(delay >= backoff && delay <= backoff + backoff / 10);
        }

        #[test]
        fn any_value_gives_at_most_a_day(value in "[0-9]{0,30}(\\.[0-9]{0,9})?[a-z]{0,2}|\\PC{0,40}", now in any::<i64>()) {
            let told = headers(&[("Retry-After", &value), ("X-RateLimit-Reset", &value)]);
            prop_assert!(told_delay_ms(&told, TimestampMs(now)).is_none_or(|ms| ms <= DAY_MS));
        }
    }
}

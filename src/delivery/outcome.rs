//! What an attempt's end means for its message: delivered, tried again, or dead. The one place that decides it. PURE.
//!
//! A message has 1 + retries attempts. An answer of 2xx is a delivery; everything else, a redirect and no answer at all
//! among it, is a failure.

use storage::dead_letter::{AttemptResult, Disposition, ErrorClass};
use storage::offset::TimestampMs;

use super::expression::Expression;
use super::retry::delay_ms;

/// The status with which a receiver says that retrying makes no sense, together with [`NON_RETRYABLE_ERROR`].
pub const NON_RETRYABLE_STATUS: u16 = 489;
/// The header that must be `true` with [`NON_RETRYABLE_STATUS`].
pub const NON_RETRYABLE_ERROR: &str = "Upstash-NonRetryable-Error";

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct AttemptEnd<'a> {
    /// The status, or why there is none.
    pub result: AttemptResult,
    /// The answer's headers.
    pub headers: &'a [(String, String)],
}

/// How often and when a message is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Attempts after the first one, at most.
    pub retries: u32,
    /// The delay before a retry; `None` is the default backoff.
    pub retry_delay: Option<&'a Expression>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It has arrived.
    Delivered,
    /// It is tried again.
    Retry {
        /// Not before this time.
        at: TimestampMs,
    },
    /// It becomes a dead letter.
    Dead(Disposition),
}

/// Decides what becomes of a message after attempt `attempt`, 1 for the first. `random` is any number, for jitter.
#[must_use]
pub fn decide(
    end: &AttemptEnd<'_>,
    attempt: u32,
    policy: &Policy<'_>,
    now: TimestampMs,
    random: u64,
) -> Decision {
    match end.result {
        AttemptResult::Status(200..=299) => Decision::Delivered,
        AttemptResult::Status(NON_RETRYABLE_STATUS) if says_not_retryable(end.headers) => {
            Decision::Dead(Disposition::NOT_RETRYABLE)
        }
        AttemptResult::Error(ErrorClass::FORBIDDEN) => {
            Decision::Dead(Disposition::DESTINATION_FORBIDDEN)
        }
        _ if attempt > policy.retries => Decision::Dead(Disposition::RETRIES_EXHAUSTED),
        // The retry after attempt n is retry n.
        _ => {
            let wait = delay_ms(end.headers, policy.retry_delay, attempt, now, random);
            Decision::Retry {
                at: now.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX)),
            }
        }
    }
}

fn says_not_retryable(headers: &[(String, String)]) -> bool {
    headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case(NON_RETRYABLE_ERROR) && value.trim().eq_ignore_ascii_case("true")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::DAY_MS;
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_795_867_200_000);
    const THREE: Policy<'static> = Policy {
        retries: 3,
        retry_delay: None,
    };

    fn after(result: AttemptResult, headers: &[(&str, &str)], attempt: u32) -> Decision {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(owned).collect();
        let headers = &headers;
        decide(&AttemptEnd { result, headers }, attempt, &THREE, NOW, 0)
    }

    fn status(status: u16, attempt: u32) -> Decision {
        after(AttemptResult::Status(status), &[], attempt)
    }

    fn retry(wait_ms: i64) -> Decision {
        let at = NOW.saturating_add(wait_ms);
        Decision::Retry { at }
    }

    #[test]
    fn only_2xx_is_delivered() {
        for code in [200, 201, 204, 299] {
            assert_eq!(status(code, 1), Decision::Delivered, "{code}");
            assert_eq!(status(code, 4), Decision::Delivered, "{code}");
            assert_eq!(status(code, 99), Decision::Delivered, "{code}");
        }
        for code in [
            0, 100, 199, 300, 301, 304, 308, 400, 401, 404, 429, 489, 500, 503, 999,
        ] {
            assert_eq!(status(code, 1), retry(12_000), "{code}");
        }
    }

    #[test]
    fn there_are_one_and_retries_attempts() {
        for (attempt, expected) in [
            (1, retry(12_000)),
            (2, retry(148_000)),
            (3, retry(1_808_000)),
            (4, Decision::Dead(Disposition::RETRIES_EXHAUSTED)),
            (5, Decision::Dead(Disposition::RETRIES_EXHAUSTED)),
        ] {
            assert_eq!(status(500, attempt), expected, "attempt {attempt}");
        }
        let none = Policy {
            retries: 0,
            retry_delay: None,
        };
        let end = AttemptEnd {
            result: AttemptResult::Status(500),
            headers: &[],
        };
        assert_eq!(
            decide(&end, 1, &none, NOW, 0),
            Decision::Dead(Disposition::RETRIES_EXHAUSTED)
        );
    }

    #[test]
    fn errors_are_tried_again_but_for_a_forbidden_destination() {
        for class in [
            ErrorClass::RESOLVE,
            ErrorClass::CONNECT,
            ErrorClass::TLS,
            ErrorClass::TIMEOUT,
            ErrorClass::BROKEN,
            ErrorClass::PROTOCOL,
            ErrorClass(200),
        ] {
            let result = AttemptResult::Error(class);
            assert_eq!(after(result, &[], 1), retry(12_000), "{class:?}");
            let dead = Decision::Dead(Disposition::RETRIES_EXHAUSTED);
            assert_eq!(after(result, &[], 4), dead, "{class:?}");
        }
        let forbidden = AttemptResult::Error(ErrorClass::FORBIDDEN);
        let dead = Decision::Dead(Disposition::DESTINATION_FORBIDDEN);
        assert_eq!(after(forbidden, &[], 1), dead);
        assert_eq!(after(forbidden, &[], 4), dead);
    }

    #[test]
    fn not_retryable_takes_the_status_and_the_header() {
        let name = "upstash-nonretryable-error";
        let dead = Decision::Dead(Disposition::NOT_RETRYABLE);
        for (code, header, expected) in [
            (489, (name, "true"), dead),
            (489, (NON_RETRYABLE_ERROR, "TRUE"), dead),
            (489, (NON_RETRYABLE_ERROR, " True "), dead),
            (489, (NON_RETRYABLE_ERROR, "false"), retry(12_000)),
            (489, (NON_RETRYABLE_ERROR, "1"), retry(12_000)),
            (489, ("x-other", "true"), retry(12_000)),
            (500, (NON_RETRYABLE_ERROR, "true"), retry(12_000)),
            (200, (NON_RETRYABLE_ERROR, "true"), Decision::Delivered),
        ] {
            let found = after(AttemptResult::Status(code), &[header], 1);
            assert_eq!(found, expected, "{code} {header:?}");
        }
        let last = after(AttemptResult::Status(489), &[(name, "true")], 4);
        assert_eq!(last, dead, "also at the last attempt");
    }

    #[test]
    fn the_receivers_and_the_publishers_delays_are_kept() {
        let told = [("Retry-After", "7")];
        assert_eq!(after(AttemptResult::Status(429), &told, 1), retry(7000));
        let expression = Expression::parse("1000 * (1 + retried)").unwrap();
        let policy = Policy {
            retries: 3,
            retry_delay: Some(&expression),
        };
        let end = AttemptEnd {
            result: AttemptResult::Error(ErrorClass::TIMEOUT),
            headers: &[],
        };
        let found = [1, 2, 3].map(|attempt| decide(&end, attempt, &policy, NOW, u64::MAX));
        assert_eq!(found, [1000, 2000, 3000].map(retry));
    }

    fn result() -> impl Strategy<Value = AttemptResult> {
        prop_oneof![
            any::<u16>().prop_map(AttemptResult::Status),
            (0..12_u8).prop_map(|class| AttemptResult::Error(ErrorClass(class))),
        ]
    }

    proptest! {
        #[test]
        fn a_failing_message_dies_after_its_attempts_and_never_waits_longer_than_a_day_and_a_tenth(
            results in proptest::collection::vec(result(), 1..30), retries in 0..20_u32, random in any::<u64>(),
        ) {
            let policy = Policy { retries, retry_delay: None };
            for (attempt, result) in (1..).zip(results) {
                let end = AttemptEnd { result, headers: &[] };
                match decide(&end, attempt, &policy, NOW, random) {
                    Decision::Retry { at } => {
                        prop_assert!(attempt <= retries);
                        let wait = at.since(NOW);
                        prop_assert!(wait >= 12_000 && wait <= i64::try_from(DAY_MS / 10 * 11).unwrap());
                    }
                    Decision::Delivered => {
                        let is_2xx = matches!(result, AttemptResult::Status(code) if code / 100 == 2);
                        prop_assert!(is_2xx);
                    }
                    Decision::Dead(disposition) => {
                        let is_forbidden = result == AttemptResult::Error(ErrorClass::FORBIDDEN);
                        prop_assert!(attempt > retries || is_forbidden);
                        prop_assert_eq!(disposition == Disposition::DESTINATION_FORBIDDEN, is_forbidden);
                    }
                }
            }
        }
    }
}

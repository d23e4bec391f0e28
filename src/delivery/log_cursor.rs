//! Where a list of log events goes on: decimal digits, because clients compare it with zero. PURE.
//!
//! Events come newest first: by falling time, then falling partition, then falling position. A cursor of at most 15 digits
//! is a time in milliseconds, and all events up to it follow; clients begin with the current time. A longer one is written
//! here:
//!
//! | digits | meaning |
//! |---|---|
//! | 13 or more | time, ms since 1970 |
//! | 5 | index of the partition |
//! | 20 | position of the last event of the page within its partition |

use std::fmt;
use std::str::FromStr;

use storage::offset::TimestampMs;

const PARTITION_DIGITS: usize = 5;
const POSITION_DIGITS: usize = 20;
const TIME_DIGITS: usize = 13;
/// Longest cursor that is a time alone.
const PLAIN_DIGITS_MAX: usize = 15;

/// The place that the next page begins after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogCursor {
    /// Time of the event.
    pub time: TimestampMs,
    /// Index of its partition.
    pub partition: u32,
    /// Its position there, unique among the partition's events of this time.
    pub position: u64,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cursor is {text:?}, it must be the cursor of the page before, or a time in milliseconds since 1970"
)]
pub struct LogCursorError {
    /// The text, cut.
    text: String,
}

impl LogCursor {
    /// Returns the cursor that all events up to a time (inclusive) follow.
    #[must_use]
    pub fn from_time(time: TimestampMs) -> Self {
        Self {
            time,
            partition: u32::MAX,
            position: u64::MAX,
        }
    }

    /// Returns whether an event at `place` follows this cursor.
    #[must_use]
    pub fn is_followed_by(&self, place: &Self) -> bool {
        place < self
    }
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:0TIME_DIGITS$}{:0PARTITION_DIGITS$}{:0POSITION_DIGITS$}",
            self.time.0.max(0),
            self.partition,
            self.position
        )
    }
}

impl FromStr for LogCursor {
    type Err = LogCursorError;

    fn from_str(text: &str) -> Result<Self, LogCursorError> {
        parse(text).ok_or_else(|| LogCursorError {
            text: text.chars().take(64).collect(),
        })
    }
}

fn parse(text: &str) -> Option<LogCursor> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.len() <= PLAIN_DIGITS_MAX {
        return Some(LogCursor::from_time(TimestampMs(text.parse().ok()?)));
    }
    let time_digits = text.len().checked_sub(PARTITION_DIGITS + POSITION_DIGITS)?;
    if time_digits < TIME_DIGITS {
        return None;
    }
    let (time, place) = text.split_at_checked(time_digits)?;
    let (partition, position) = place.split_at_checked(PARTITION_DIGITS)?;
    Some(LogCursor {
        time: TimestampMs(time.parse().ok()?),
        partition: partition.parse().ok()?,
        position: position.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn at(time: i64, partition: u32, position: u64) -> LogCursor {
        LogCursor {
            time: TimestampMs(time),
            partition,
            position,
        }
    }

    #[test]
    fn cursors_come_back_and_are_numbers_above_zero() {
        for cursor in [
            at(1_700_000_000_000, 7, 0),
            at(0, 0, 0),
            at(1, 99_999, u64::MAX),
            at(253_402_300_800_000, 3, 12),
        ] {
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
            assert_eq!(text.parse(), Ok(cursor), "{text}");
        }
        let number: f64 = at(1_700_000_000_000, 0, 0).to_string().parse().unwrap();
        assert!(number > 0.0);
    }

    #[test]
    fn a_time_stands_for_all_events_up_to_it() {
        let cursor: LogCursor = "1700000000000".parse().unwrap();
        assert!(cursor.is_followed_by(&at(1_700_000_000_000, 99_999, 5)));
        assert!(cursor.is_followed_by(&at(0, 0, 0)));
        assert!(!cursor.is_followed_by(&at(1_700_000_000_001, 0, 0)));
        let place = at(5, 1, 1);
        assert!(!place.is_followed_by(&place));
        assert!(place.is_followed_by(&at(5, 1, 0)));
        assert!(place.is_followed_by(&at(5, 0, 9)));
    }

    #[test]
    fn what_is_no_cursor_is_refused_with_its_text() {
        let long = "9".repeat(500);
        for text in ["", "-1", "1e3", "abc", " 1", "1234567890123456", &long] {
            let error = text.parse::<LogCursor>().unwrap_err().to_string();
            assert!(error.len() < 250, "{error}");
            assert!(error.contains("must be the cursor"), "{error}");
        }
    }
}

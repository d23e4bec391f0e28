//! Values that stand in queries and bodies alike: times, dispositions, orders. PURE.

use jiff::Timestamp;
use serde::Deserialize;
use storage::offset::TimestampMs;

use crate::http::ApiError;
use crate::protocol::letter::{disposition_choices, disposition_number};
use crate::protocol::selection::Order;

/// A time: milliseconds since 1970, or RFC 3339.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Time {
    /// Milliseconds since 1970.
    Ms(i64),
    /// Either, as text.
    Text(String),
}

/// A disposition, by number or by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum DispositionArgument {
    /// The number.
    Number(u8),
    /// The name, or the number as text.
    Text(String),
}

impl Time {
    /// Returns the time. `name` is the field's, for the error.
    pub(super) fn resolve(&self, name: &str) -> Result<TimestampMs, ApiError> {
        match self {
            Self::Ms(ms) => Ok(TimestampMs(*ms)),
            Self::Text(text) => time(name, text),
        }
    }
}

/// Parses a time.
pub(super) fn time(name: &str, text: &str) -> Result<TimestampMs, ApiError> {
    if let Ok(ms) = text.parse() {
        return Ok(TimestampMs(ms));
    }
    let parsed: Result<Timestamp, _> = text.parse();
    parsed.map(|time| TimestampMs(time.as_millisecond())).map_err(|error| {
        ApiError::bad_request(format!(
            "{name} is {text:?}, it must be milliseconds since 1970 or a time such as 2026-01-31T12:00:00Z: {error}"
        ))
    })
}

impl DispositionArgument {
    /// Returns the number.
    pub(super) fn resolve(&self) -> Result<u8, ApiError> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => disposition(text),
        }
    }
}

/// Parses a disposition.
pub(super) fn disposition(text: &str) -> Result<u8, ApiError> {
    disposition_number(text).ok_or_else(|| {
        ApiError::bad_request(format!(
            "the disposition is {text:?}, it must be {}",
            disposition_choices()
        ))
    })
}

/// Parses an order; the short names are those of the command line.
pub(super) fn order(text: &str) -> Result<Order, ApiError> {
    match text {
        "oldest_first" | "oldest" => Ok(Order::OldestFirst),
        "newest_first" | "newest" => Ok(Order::NewestFirst),
        _ => Err(ApiError::bad_request(format!(
            "the order is {text:?}, it must be oldest_first or newest_first"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::letter::disposition_name;

    #[test]
    fn an_order_has_the_names_of_the_command_line_too() {
        for (text, expected) in [
            ("oldest_first", Order::OldestFirst),
            ("oldest", Order::OldestFirst),
            ("newest_first", Order::NewestFirst),
            ("newest", Order::NewestFirst),
        ] {
            assert_eq!(order(text).unwrap(), expected);
        }
        assert!(order("oldestFirst").is_err());
    }

    #[test]
    fn times_are_milliseconds_or_rfc_3339() {
        assert_eq!(time("t", "-5").unwrap(), TimestampMs(-5));
        assert_eq!(
            time("t", "1970-01-01T00:00:01.5Z").unwrap(),
            TimestampMs(1500)
        );
        assert_eq!(
            time("t", "1970-01-01T01:00:00+01:00").unwrap(),
            TimestampMs(0)
        );
        for text in ["", "soon", "1970-01-01", "1e3", "99999999999999999999"] {
            let error = time("died_from", text).unwrap_err();
            assert!(
                error.message.contains(&format!("died_from is {text:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn dispositions_by_name_or_number() {
        let names = [
            "retries_exhausted",
            "not_retryable",
            "rejected",
            "destination_forbidden",
        ];
        for (name, number) in names.into_iter().zip(1..) {
            assert_eq!(disposition(name).unwrap(), number);
            assert_eq!(disposition_name(number), name);
            let label = crate::metrics::DispositionLabel::new(number);
            assert_eq!(label.disposition, name, "metrics say the same");
        }
        assert_eq!(disposition("200").unwrap(), 200);
        assert_eq!(disposition_name(200), "200");
        assert!(disposition("256").unwrap_err().message.contains("\"256\""));
        assert!(disposition("Rejected").is_err());
    }
}

//! The values of single headers. PURE: each function takes a header's name for its error, and its value.

use storage::dead_letter::limits::{LABEL_BYTES_MAX, LABEL_COUNT_MAX};
use storage::delivery::limits::RETRIES_MAX;
use storage::delivery::{FlowControl, Redaction};
use storage::offset::TimestampMs;

use super::error::{HeaderError, cut_url};
use crate::delivery::destination::Destination;
use crate::delivery::duration::{DurationError, parse_duration_ms};
use crate::delivery::expression::Expression;
use crate::delivery::redact::parse_redaction;
use crate::names::FlowKey;
use crate::qstash::limits::{DELAY_MS_MAX, FLOW_NUMBER_MAX, PERIOD_MS, TIMEOUT_MS_MAX};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) fn method(name: &str, value: &str) -> Result<String, HeaderError> {
    let known = METHODS
        .iter()
        .find(|method| method.eq_ignore_ascii_case(value));
    let known = known.ok_or_else(|| {
        HeaderError::value(
            name,
            value,
            format!("it must be one of {}", METHODS.join(", ")),
        )
    })?;
    Ok((*known).to_owned())
}

pub(super) fn retries(name: &str, value: &str) -> Result<u32, HeaderError> {
    let number: Option<u32> = value.parse().ok();
    number
        .filter(|retries| *retries <= RETRIES_MAX)
        .ok_or_else(|| {
            let expected = format!("it must be a whole number from 0 to {RETRIES_MAX}");
            HeaderError::value(name, value, expected)
        })
}

pub(super) fn timeout_ms(name: &str, value: &str) -> Result<u64, HeaderError> {
    let timeout = duration(name, value)?;
    if timeout == 0 {
        let expected = "it must be a time above 0, such as 30s";
        return Err(HeaderError::value(name, value, expected));
    }
    Ok(timeout.min(TIMEOUT_MS_MAX))
}

pub(super) fn delay_ms(name: &str, value: &str) -> Result<u64, HeaderError> {
    let delay = duration(name, value)?;
    if delay > DELAY_MS_MAX {
        return Err(HeaderError::value(
            name,
            value,
            "it must be at most a year, which is 366d",
        ));
    }
    Ok(delay)
}

fn duration(name: &str, value: &str) -> Result<u64, HeaderError> {
    parse_duration_ms(value).map_err(|error| HeaderError::value(name, value, error.to_string()))
}

/// Parses unix seconds.
pub(super) fn not_before(
    name: &str,
    value: &str,
    now: TimestampMs,
) -> Result<TimestampMs, HeaderError> {
    let seconds: Option<i64> = value.parse().ok();
    let time = seconds.and_then(|seconds| seconds.checked_mul(1000));
    let latest = now
        .0
        .saturating_add(i64::try_from(DELAY_MS_MAX).unwrap_or(i64::MAX));
    match time {
        Some(time) if time <= latest => Ok(TimestampMs(time)),
        _ => Err(HeaderError::value(
            name,
            value,
            format!(
                "it must be a unix time in seconds, at most a year from now (now is {})",
                now.0.div_euclid(1000)
            ),
        )),
    }
}

pub(super) fn retry_delay(name: &str, value: &str) -> Result<String, HeaderError> {
    match Expression::parse(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(HeaderError::value(name, value, error.to_string())),
    }
}

pub(super) fn url(name: &str, value: &str) -> Result<String, HeaderError> {
    let destination = Destination::parse(value)
        .map_err(|error| HeaderError::value(name, &cut_url(value), error.to_string()))?;
    Ok(destination.as_str().to_owned())
}

pub(super) fn boolean(name: &str, value: &str) -> Result<bool, HeaderError> {
    if value.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(HeaderError::value(name, value, "it must be true or false"))
    }
}

/// Adds comma-separated labels.
pub(super) fn labels(name: &str, value: &str, labels: &mut Vec<String>) -> Result<(), HeaderError> {
    for label in parts(value) {
        if label.len() > LABEL_BYTES_MAX || labels.len() >= LABEL_COUNT_MAX {
            let expected = format!(
                "it may have {LABEL_COUNT_MAX} labels of {LABEL_BYTES_MAX} bytes each, between commas"
            );
            return Err(HeaderError::value(name, value, expected));
        }
        if !labels.iter().any(|known| known == label) {
            labels.push(label.to_owned());
        }
    }
    Ok(())
}

/// Adds what is to be redacted.
pub(super) fn redaction(
    name: &str,
    value: &str,
    redaction: &mut Redaction,
) -> Result<(), HeaderError> {
    let more = parse_redaction(value)
        .map_err(|error| HeaderError::value(name, value, error.to_string()))?;
    redaction.body |= more.body;
    redaction.headers |= more.headers;
    for header in more.header_names {
        if !redaction.header_names.contains(&header) {
            redaction.header_names.push(header);
        }
    }
    Ok(())
}

pub(super) fn flow_key(name: &str, value: &str) -> Result<String, HeaderError> {
    match FlowKey::parse(value) {
        Ok(key) => Ok(key.to_string()),
        Err(error) => Err(HeaderError::value(name, value, error.to_string())),
    }
}

/// Parses `parallelism=5, rate=10, period=1m`: any of them, each once, in any order.
pub(super) fn flow_value(
    name: &str,
    value: &str,
    flow: &mut FlowControl,
) -> Result<(), HeaderError> {
    let wrong = |what: &str| {
        let (least, most) = (PERIOD_MS.start() / 1000, "7d");
        let expected = format!(
            "{what}; it must be such as parallelism=5, rate=10, period=1m, with numbers from 1 to {FLOW_NUMBER_MAX} and a \
             period from {least}s to {most}"
        );
        HeaderError::value(name, value, expected)
    };
    for part in parts(value) {
        let (field, text) = part
            .split_once('=')
            .ok_or_else(|| wrong("a part has no ="))?;
        let (field, text) = (field.trim().to_ascii_lowercase(), text.trim());
        let number = || {
            if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_digit()) {
                return Err(wrong(&format!("{field} is no number")));
            }
            let number: Option<u32> = text.parse().ok();
            number
                .filter(|number| (1..=FLOW_NUMBER_MAX).contains(number))
                .ok_or_else(|| wrong(&format!("{field} is out of range")))
        };
        let is_repeated = match field.as_str() {
            "parallelism" => flow.parallelism.replace(number()?).is_some(),
            "rate" => flow.rate.replace(number()?).is_some(),
            "period" => {
                let period = match parse_duration_ms(text) {
                    Ok(period) => Some(period).filter(|period| PERIOD_MS.contains(period)),
                    Err(DurationError::TooFar { .. }) => None,
                    Err(_) => return Err(wrong("period is no duration")),
                };
                let period = period.ok_or_else(|| wrong("period is out of range"))?;
                flow.period_ms.replace(period).is_some()
            }
            _ => return Err(wrong("a part is unknown")),
        };
        if is_repeated {
            return Err(wrong(&format!("{field} is given twice")));
        }
    }
    Ok(())
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

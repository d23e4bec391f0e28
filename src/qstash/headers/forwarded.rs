//! Headers that go on to a destination. PURE.

use bytes::Bytes;

use super::error::HeaderError;
use crate::delivery::request::{check_forwarded, is_forwarded};
use crate::qstash::limits::FORWARDED_COUNT_MAX;

/// Adds a header for the destination. `given` is the name that it came by. A value is never shown: it may be a secret.
///
/// What belongs to a connection or to the broker (`Host`, `Content-Length`) is passed over: people forward all that they
/// got themselves.
pub(super) fn forward(
    given: &str,
    name: &str,
    value: &[u8],
    headers: &mut Vec<(String, Bytes)>,
) -> Result<(), HeaderError> {
    let (name, value) = check_forwarded(name, value.trim_ascii())
        .map_err(|error| HeaderError::name(given, error.to_string()))?;
    if !is_forwarded(&name) {
        return Ok(());
    }
    if headers.len() >= FORWARDED_COUNT_MAX {
        let expected = format!("it is one too many, at most {FORWARDED_COUNT_MAX} are forwarded");
        return Err(HeaderError::name(given, expected));
    }
    let value = Bytes::copy_from_slice(value.as_bytes());
    headers.push((name.as_str().to_owned(), value));
    Ok(())
}

//! Frames: what stands on the wire between two peers.
//!
//! | part | bytes | of | meaning |
//! |---|---|---|---|
//! | length | 4 | both | `u32`, bytes that follow |
//! | API key | 2 | request | [`ApiKey`] |
//! | API version | 2 | request | layout of the payload and of its answer's, see [`api_key`](super::api_key) |
//! | correlation id | 4 | both | chosen by the client, repeated in the answer |
//! | error code | 2 | answer | 0, or an [`ErrorCode`](super::error_code::ErrorCode) |
//! | error message | 2 + n | answer | string, empty when the code is 0 |
//! | payload | rest | both | as the API's module says; none in an answer with an error code |
//!
//! What follows the length is the *body*. A connection answers in the order of its requests; a client may send as many as
//! it likes before the first answer, and the broker stops reading from a socket when it has too many to work on.
//!
//! Invariant: a length is compared with the connection's maximum before anything else is done with it, and is never the
//! size of an allocation: a buffer grows by what has arrived.

use bytes::Bytes;

use super::api_key::{API_VERSION_MAX, ApiKey};
use super::cursor::{DecodeError, EncodeError, Reader, Wire, Writer};
use super::error_code::Refusal;

/// Bytes of the length before a body.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a request's header, at the start of its body.
pub const REQUEST_HEADER_BYTES: usize = 2 + 2 + 4;

/// A frame that is larger than the connection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {bytes} bytes is announced, this connection takes at most {bytes_max}")]
pub struct FrameTooLarge {
    /// Announced length of the body, in bytes.
    pub bytes: u32,
    /// Largest body, in bytes.
    pub bytes_max: u32,
}

/// Reads the length at the start of what has arrived; `None` when fewer than [`LENGTH_BYTES`] bytes have.
///
/// # Errors
/// [`FrameTooLarge`] when the body would be larger than `bytes_max`.
pub fn body_bytes(arrived: &[u8], bytes_max: u32) -> Result<Option<u32>, FrameTooLarge> {
    let Some(length) = arrived.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes(*length);
    if bytes > bytes_max {
        return Err(FrameTooLarge { bytes, bytes_max });
    }
    Ok(Some(bytes))
}

/// The header of a request. The numbers are as they came: what they mean is decided by who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// Number of the API key.
    pub api_key: u16,
    /// Version of the payload's layout.
    pub api_version: u16,
    /// Repeated in the answer.
    pub correlation_id: u32,
}
super::cursor::wire_struct!(RequestHeader {
    api_key,
    api_version,
    correlation_id,
});

impl RequestHeader {
    /// Returns the key, or `None` for a number that no request has.
    #[must_use]
    pub fn key(&self) -> Option<ApiKey> {
        ApiKey::from_number(self.api_key)
    }
}

/// A request: which answer belongs to it, and under which key it is sent.
pub trait Request: Wire {
    /// The key in the request's header.
    const KEY: ApiKey;
    /// What comes back.
    type Answer: Wire;
}

/// Encodes a whole frame with a request, as parts that follow each other.
///
/// # Errors
/// [`EncodeError`] when a value does not fit its length field.
pub fn encode_request(
    header: RequestHeader,
    write_payload: impl FnOnce(&mut Writer),
) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = Writer::of_version(header.api_version);
    writer.put(&[0; LENGTH_BYTES]);
    header.write(&mut writer);
    write_payload(&mut writer);
    writer.finish_frame()
}

/// Encodes a whole frame with an answer in the newest layout, as parts that follow each other.
///
/// # Errors
/// [`EncodeError`] when a value does not fit its length field.
pub fn encode_answer<T: Wire>(
    correlation_id: u32,
    answer: &Result<T, Refusal>,
) -> Result<Vec<Bytes>, EncodeError> {
    encode_answer_in(API_VERSION_MAX, correlation_id, answer)
}

/// Encodes a whole frame with an answer in the layout of an API version, as parts that follow each other.
///
/// # Errors
/// [`EncodeError`] when a value does not fit its length field.
pub fn encode_answer_in<T: Wire>(
    version: u16,
    correlation_id: u32,
    answer: &Result<T, Refusal>,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = Writer::of_version(version);
    writer.put(&[0; LENGTH_BYTES]);
    correlation_id.write(&mut writer);
    answer.write(&mut writer);
    writer.finish_frame()
}

/// Decodes the payload of a request behind its header, to the end of the body, in the layout of the reader's version.
///
/// # Errors
/// The [`DecodeError`] that was met first.
pub fn decode_payload<T: Wire>(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
    let value = T::read(reader)?;
    reader.finish()?;
    Ok(value)
}

/// Reads the correlation id that opens the body of an answer.
///
/// # Errors
/// [`DecodeError::Truncated`].
pub fn answer_correlation_id(body: &[u8]) -> Result<u32, DecodeError> {
    u32::read(&mut Reader::new(body)).map_err(|error| error.of("correlation id"))
}

/// Decodes the body of an answer in its newest layout, the correlation id included.
///
/// # Errors
/// The [`DecodeError`] that was met first.
pub fn decode_answer<T: Wire>(body: &Bytes) -> Result<(u32, Result<T, Refusal>), DecodeError> {
    let mut reader = Reader::shared(body);
    let correlation_id = u32::read(&mut reader).map_err(|error| error.of("correlation id"))?;
    Ok((correlation_id, decode_payload(&mut reader)?))
}

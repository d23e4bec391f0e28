//! What a publication may take.

use bytes::Bytes;
use storage::delivery::Envelope;
use storage::delivery::limits::ENVELOPE_BYTES_MAX;

use crate::protocol::error_code::{ErrorCode, Refusal};

/// Refuses a message whose body or envelope is too large.
pub(super) fn check_sizes(
    envelope: &Envelope,
    body: &Bytes,
    body_bytes_max: u32,
) -> Result<(), Refusal> {
    let max = usize::try_from(body_bytes_max).unwrap_or(usize::MAX);
    if body.len() > max {
        let message = format!(
            "the message has {} bytes, at most {max} are taken (delivery.message_bytes_max)",
            body.len()
        );
        return Err(Refusal::new(ErrorCode::BatchTooLarge, message));
    }
    let bytes = envelope.encode().len();
    if bytes > ENVELOPE_BYTES_MAX {
        let message = format!(
            "the message's headers and settings have {bytes} bytes, at most {ENVELOPE_BYTES_MAX} are taken"
        );
        return Err(Refusal::new(ErrorCode::LimitExceeded, message));
    }
    Ok(())
}

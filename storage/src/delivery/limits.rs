//! Every maximum of pushed records, each with its reason.

use crate::limits::HEADER_VALUE_BYTES_MAX;

/// Largest envelope, in bytes: it is the value of one record header.
pub const ENVELOPE_BYTES_MAX: usize = HEADER_VALUE_BYTES_MAX as usize;

/// Largest number of retries of one message: its attempts are numbered with 16 bits.
pub const RETRIES_MAX: u32 = 10_000;

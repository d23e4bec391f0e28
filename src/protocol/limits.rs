//! Every maximum of the protocol, each with its reason. Those that the broker may be configured for are told to the
//! client in the answer to its handshake.

use storage::limits::BATCH_BYTES_DEFAULT;

/// Largest frame body, in bytes, that a connection may send before its handshake was accepted: an unknown peer must not
/// make the broker hold more than this.
pub const FRAME_BYTES_BEFORE_HANDSHAKE: u32 = 64 << 10;

/// What a frame may hold besides its batches, in bytes: names and numbers of the partitions.
pub const FRAME_OVERHEAD_BYTES: u32 = 64 << 10;

/// Default largest frame body, in bytes: a request or an answer with full batches of four partitions.
pub const FRAME_BYTES_DEFAULT: u32 = 4 * BATCH_BYTES_DEFAULT + FRAME_OVERHEAD_BYTES;

/// Letters that one page, one retry or one delete covers at most: bounds how long one request holds its connection.
pub const LETTERS_PER_CALL_MAX: u32 = 10_000;

/// Longest wait of a fetch, in milliseconds: below the idle timeouts of what stands between client and broker.
pub const FETCH_WAIT_MS_MAX: u32 = 30_000;

/// Longest string, in bytes: its length is a `u16`.
pub const STRING_BYTES_MAX: usize = 0xFFFF;

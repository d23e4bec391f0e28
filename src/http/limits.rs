//! Every maximum of the HTTP plumbing that is not configured.

use std::time::Duration;

/// Largest request head (request line and headers), in bytes. Forwarded headers of a published message are part of it.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Largest read buffer of a connection, in bytes: a whole head, and what came with it.
pub const BUFFER_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// Largest number of header fields in a request.
pub const HEADER_COUNT_MAX: usize = 200;

/// Longest life of a connection: it is then ended after the answer that is under way, so that no client holds a place
/// for ever.
pub const CONNECTION_LIFETIME_MAX: Duration = Duration::from_hours(1);

/// Time that a connection has to finish its answer once it has been told to end.
pub const DRAIN_MAX: Duration = Duration::from_secs(8);

/// Longest wait for room for a body that has arrived, over all of its pieces.
pub const ROOM_WAIT_MAX: Duration = Duration::from_secs(30);

/// Pause before accepting again after accepting failed (as when no file descriptor is left).
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

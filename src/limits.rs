//! Every maximum of the broker, each with its reason. What an operator may set lives in the config and is checked against
//! these; what a log can hold is in [`storage::limits`].

use std::time::Duration;

use storage::limits::BATCH_BYTES_CEILING;

/// Largest frame of the binary protocol, in bytes: a produce request with one batch of the largest size and its envelope.
pub const FRAME_BYTES_MAX: u32 = BATCH_BYTES_CEILING + (1 << 20);

/// Largest frame before the handshake is done, in bytes: a stranger gets no large buffer.
pub const HANDSHAKE_FRAME_BYTES_MAX: u32 = 4 << 10;

/// Longest time from the connection to the end of its handshake.
pub const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Default largest number of connections of the binary protocol: each costs two buffers and a file descriptor.
pub const CONNECTION_COUNT_DEFAULT: u32 = 4_096;

/// Largest number of connections that can be configured: what the descriptors of a process allow besides its files.
pub const CONNECTION_COUNT_MAX: u32 = 65_536;

/// Requests of one connection that are accepted and not answered. The socket is not read while there are as many.
pub const IN_FLIGHT_REQUEST_COUNT_MAX: u32 = 256;

/// Bytes of requests of one connection that are accepted and not answered. One frame of the largest size always fits.
pub const IN_FLIGHT_BYTES_MAX: u64 = 128 << 20;

/// Bytes of accepted produce requests over all connections. Past it sockets are not read: memory stays bounded.
pub const PRODUCE_BYTES_IN_FLIGHT_DEFAULT: u64 = 512 << 20;

/// Partitions in one produce, fetch or list-offsets request.
pub const PARTITIONS_PER_REQUEST_MAX: u32 = 1_024;

/// Topics in one metadata request or answer: all there can be.
pub const TOPICS_PER_REQUEST_MAX: u32 = storage::limits::TOPIC_COUNT_MAX;

/// Longest wait of a long poll, so that a dead connection is noticed and a drain ends.
pub const FETCH_WAIT_MAX: Duration = Duration::from_secs(30);

/// Most bytes that one fetch may ask for: an answer stays below the largest frame.
pub const FETCH_BYTES_MAX: u32 = BATCH_BYTES_CEILING;

/// Default bytes of one fetch, for one partition.
pub const FETCH_BYTES_DEFAULT: u32 = 8 << 20;

/// Bytes of fetched batches that are read and not sent, over all connections. Past it a fetch gets one batch at a time.
pub const FETCHED_BYTES_MAX: u64 = 512 << 20;

/// Largest token, in bytes: it stands in the handshake's frame and in one header.
pub const TOKEN_BYTES_MAX: u32 = 1 << 10;

/// Largest client name, in bytes: for logs and lists only.
pub const CLIENT_NAME_BYTES_MAX: u32 = 255;

/// Largest name of a topic or a group, in bytes.
pub const NAME_BYTES_MAX: u32 = storage::limits::NAME_BYTES_MAX;

/// Producer ids that one entry of the control log gives out: one sync for as many new producers.
pub const PRODUCER_ID_BLOCK: u32 = 1_000;

/// Largest reason of a reject, in bytes.
pub const REJECT_REASON_BYTES_MAX: u32 = 1 << 10;

/// Largest details of a reject, in bytes: what a letter keeps of one body.
pub const REJECT_DETAILS_BYTES_MAX: u32 = 4 << 10;

/// Largest request id of a retry, in bytes: it stands in a cause and in a marker.
pub const REQUEST_ID_BYTES_MAX: u32 = 128;

/// Letters that one call may retry or delete. A larger selection is worked off by several calls with a cursor.
pub const LETTERS_PER_CALL_MAX: u32 = 10_000;

/// Letters in one page of a list: a page is an answer that a person or a script still reads at once.
pub const LETTER_PAGE_MAX: u32 = 1_000;

/// Letters in one page of a list, when nothing else is asked for.
pub const LETTER_PAGE_DEFAULT: u32 = 100;

/// Bytes of letters in one page: letters hold whole records, so a page may end before its count.
pub const LETTER_PAGE_BYTES_MAX: u32 = 16 << 20;

/// Values of one field of a filter.
pub const FILTER_VALUE_COUNT_MAX: u32 = 100;

/// Records that one peek gives back.
pub const PEEK_RECORD_COUNT_MAX: u32 = 1_000;

/// Largest body of an admin request, in bytes: 10,000 ids of letters and room.
pub const HTTP_BODY_BYTES_MAX: u32 = 1 << 20;

/// Largest head of an HTTP request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: u32 = 64 << 10;

/// Largest number of HTTP connections.
pub const HTTP_CONNECTION_COUNT_MAX: u32 = 1_024;

/// Longest time for an HTTP request's head and body to arrive.
pub const HTTP_READ_WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest time that a drain takes from the signal to the exit.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// How far the wall clock may depart from the monotonic clock before ages are no longer trusted, in milliseconds.
pub const CLOCK_DEPARTURE_MS_MAX: i64 = 60_000;

/// Threads that sync files.
pub const SYNC_THREAD_COUNT: u32 = 16;

/// Bytes of a topic of durability `written` that may be unsynced before a background sync begins.
pub const WRITTEN_UNSYNCED_BYTES_MAX: u64 = 256 << 20;

/// Longest time that data of a topic of durability `written` stays unsynced.
pub const WRITTEN_UNSYNCED_WAIT_MAX: Duration = Duration::from_secs(1);

/// Default free space below which produce is refused, in bytes.
pub const FREE_BYTES_MIN_DEFAULT: u64 = 1 << 30;

const _: () = assert!(IN_FLIGHT_BYTES_MAX >= FRAME_BYTES_MAX as u64);
const _: () = assert!(PRODUCE_BYTES_IN_FLIGHT_DEFAULT >= IN_FLIGHT_BYTES_MAX);
const _: () = assert!(FETCH_BYTES_MAX < FRAME_BYTES_MAX);

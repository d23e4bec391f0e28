//! Every maximum of the broker, each with its reason. What an operator may set lives in the config and is checked against
//! these; what a log can hold is in [`storage::limits`].

use std::time::Duration;

use storage::limits::BATCH_BYTES_CEILING;

/// Largest frame body that can be configured, and largest answer that a client takes, in bytes: a fetch's worth of batches
/// of the largest size, and one more that was begun.
pub const FRAME_BYTES_MAX: u32 = 2 * BATCH_BYTES_CEILING;

/// Largest frame body before the handshake was accepted, in bytes: a stranger gets no large buffer. A client's name and the
/// longest token that can be configured, of 512 bytes, leave room.
pub const HANDSHAKE_FRAME_BYTES_MAX: u32 = 64 << 10;

/// What a frame may hold besides its batches, in bytes: names and numbers of the partitions.
pub const FRAME_OVERHEAD_BYTES: u32 = 64 << 10;

/// Largest client name, in bytes: for logs and lists only.
pub const CLIENT_NAME_BYTES_MAX: u32 = 255;

/// Longest string of the binary protocol, in bytes: its length is a `u16`.
pub const STRING_BYTES_MAX: usize = 0xFFFF;

/// Partitions in one produce, fetch, list-offsets or commit-offsets request.
pub const PARTITIONS_PER_REQUEST_MAX: u32 = 1_024;

/// Bytes of answers to produce requests that wait for their turn on one connection: many small refusals take more memory than
/// their requests did, and a peer need not read them.
pub const PRODUCE_ANSWERS_BYTES_MAX: u64 = 4 << 20;

/// Topics in one metadata request or answer: all there can be.
pub const TOPICS_PER_REQUEST_MAX: u32 = storage::limits::TOPIC_COUNT_MAX;

/// Values of arrays in one request of the binary protocol: as many topics or ids of letters as one may name, and some more, so
/// that who names too many is told the limit of what was named.
pub const VALUES_PER_REQUEST_MAX: u32 = 1 << 14;

/// Bytes of memory that a value of an array takes besides those that stand in the frame, at most: what a committed offset with
/// two short strings does.
pub const REQUEST_VALUE_BYTES: usize = 128;

/// Longest wait of a long poll, in milliseconds: below the idle timeouts of what stands between client and broker, so that
/// a dead connection is noticed and a drain ends.
pub const FETCH_WAIT_MS_MAX: u32 = 30_000;

/// [`FETCH_WAIT_MS_MAX`] as a duration.
pub const FETCH_WAIT_MAX: Duration = Duration::from_millis(FETCH_WAIT_MS_MAX as u64);

/// How long a fetch waits for room for what it has read, before it is refused.
pub const FETCH_ROOM_WAIT_MAX: Duration = Duration::from_secs(10);

/// Most bytes that one fetch may ask for: an answer stays below the largest frame.
pub const FETCH_BYTES_MAX: u32 = BATCH_BYTES_CEILING;

/// Bytes of fetched batches that are read and not sent, over all connections. Past it a fetch gets one batch at a time.
pub const FETCHED_BYTES_MAX: u64 = 512 << 20;

/// Largest name of a topic or a group, in bytes.
pub const NAME_BYTES_MAX: u32 = storage::limits::NAME_BYTES_MAX;

/// Producer ids that one entry of the control log gives out: one sync for as many new producers.
pub const PRODUCER_ID_BLOCK: u32 = 1_000;

/// Largest reason of a reject, in bytes.
pub const REJECT_REASON_BYTES_MAX: u32 = 1 << 10;

/// Largest details of a reject, in bytes: so that a stack trace is not what keeps a record from being dead-lettered. A letter keeps
/// the first [`storage::dead_letter::limits::DETAILS_BYTES_MAX`] bytes.
pub const REJECT_DETAILS_BYTES_MAX: u32 = 64 << 10;

/// Largest request id of a retry, in bytes: it stands in a cause and in a marker.
pub const REQUEST_ID_BYTES_MAX: u32 = 128;

/// Letters that one call may name by their ids.
pub const LETTER_IDS_PER_CALL_MAX: u32 = 10_000;

/// Letters that one call may retry or delete by their fields: so many that the end of a call, which waits for a sync, costs little
/// beside them. A larger selection is worked off by several calls with a cursor.
pub const LETTERS_PER_CALL_MAX: u32 = 20_000;

/// Letters in one page of a list by the binary protocol.
pub const LETTERS_LISTED_MAX: u32 = 10_000;

/// Letters in one page of a list by HTTP: a page is an answer that a person or a script still reads at once.
pub const LETTER_PAGE_MAX: u32 = 1_000;

/// Letters in one page of a list, when nothing else is asked for.
pub const LETTER_PAGE_DEFAULT: u32 = 100;

/// Bytes of letters in one page: letters hold whole records, so a page may end before its count.
pub const LETTER_PAGE_BYTES_MAX: u32 = 16 << 20;

/// Bytes of letters that one retry or delete works off, and that a call by ids holds in memory; what is left comes with the next
/// page.
pub const RESOLVE_BYTES_MAX: u32 = 128 << 20;

/// Values of one field of a filter.
pub const FILTER_VALUE_COUNT_MAX: u32 = 100;

/// Records that one peek gives back.
pub const PEEK_RECORD_COUNT_MAX: u32 = 1_000;

/// Largest body of an admin request, in bytes: 10,000 ids of letters and room.
pub const HTTP_BODY_BYTES_MAX: u32 = 1 << 20;

/// Longest time that a drain takes from the signal to the exit.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Longest time that attempts under way get to end in a drain: well within what the process has from the signal to its
/// exit, so that the logs are closed in good order however a destination hangs.
pub const ATTEMPT_DRAIN_WAIT_MAX: Duration = Duration::from_secs(6);

/// How far the wall clock may depart from the monotonic clock before ages are no longer trusted, in milliseconds.
pub const CLOCK_DEPARTURE_MS_MAX: i64 = 60_000;

/// Bytes of a topic of durability `written` that may be unsynced before a background sync begins, in a segment with much room.
pub const WRITTEN_UNSYNCED_BYTES_MAX: u64 = 16 << 20;

/// The same at a segment's end.
pub const WRITTEN_UNSYNCED_BYTES_MIN: u64 = 1 << 20;

const _: () = assert!(FETCH_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(TOPICS_PER_REQUEST_MAX < VALUES_PER_REQUEST_MAX);
const _: () = assert!(LETTER_IDS_PER_CALL_MAX < VALUES_PER_REQUEST_MAX);
const _: () = assert!(PARTITIONS_PER_REQUEST_MAX < VALUES_PER_REQUEST_MAX);

//! Every maximum of dead letters, each with its reason. Together they keep a letter within
//! [`LETTER_OVERHEAD_BYTES`] of its record, so that dead-lettering never fails by size.

use crate::limits::LETTER_OVERHEAD_BYTES;

/// Attempts that a letter keeps: the first and the last fifteen. The first shows how it began, the last why it ended.
pub const ATTEMPT_COUNT_MAX: usize = 16;

/// Bytes kept of an attempt's body: enough for an error page's message.
pub const ATTEMPT_BODY_BYTES_MAX: usize = 4 << 10;

/// Bytes kept of an answer's body until a callback has told it: as many as a message may have by default.
pub const TOLD_BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes kept of an attempt's headers, names and values together.
pub const ATTEMPT_HEADER_BYTES_MAX: usize = 2 << 10;

/// Headers kept of an attempt.
pub const ATTEMPT_HEADER_COUNT_MAX: usize = 64;

/// Bytes of the whole history.
pub const HISTORY_BYTES_MAX: usize = 64 << 10;

/// Bytes kept of a name: topic, group, message id, caller, a destination's parts other than its URL.
pub const NAME_BYTES_MAX: usize = 1 << 10;

/// Bytes kept of a destination's URL.
pub const URL_BYTES_MAX: usize = 8 << 10;

/// Bytes kept of the reason: one line for people.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// Bytes kept of the details, which may be a stack trace.
pub const DETAILS_BYTES_MAX: usize = 16 << 10;

/// Labels kept.
pub const LABEL_COUNT_MAX: usize = 32;

/// Bytes kept of one label.
pub const LABEL_BYTES_MAX: usize = 256;

/// Bytes kept of the name of who resolved a letter, and of a request id.
pub const WHO_BYTES_MAX: usize = 256;

/// Normalised characters that a fingerprint looks at.
pub const FINGERPRINT_CHARS_MAX: usize = 512;

/// Bytes of letters that go into one batch, unless one alone has more: who reads a letter reads and checks its whole batch, and
/// those of a filtered page may each stand in another one.
pub const LETTERS_BATCH_BYTES_GOAL: usize = 32 << 10;

/// Largest live set that a checkpoint can hold, in bytes: 100 M letters at a bit each take 12 MiB.
pub const LIVE_SET_BYTES_MAX: usize = 64 << 20;

/// Letters that share one pair of earliest and latest death in a facet file.
pub const DEATH_BLOCK_LETTERS: usize = 1024;

/// Values of a field that are counted by name: what a person can look at. The rest is summed.
pub const FACET_VALUE_COUNT_MAX: usize = 1000;

/// Partitions that one page cursor can carry.
pub const CURSOR_PARTITION_COUNT_MAX: usize = 1024;

/// Longest text of a page cursor, in bytes: all partitions with their largest numbers.
pub const CURSOR_TEXT_BYTES_MAX: usize = 48 << 10;

// Names: topic, group or six parts of a destination, first message id, message id, caller.
const TEXT_BYTES_MAX: usize = 10 * NAME_BYTES_MAX
    + URL_BYTES_MAX
    + REASON_BYTES_MAX
    + DETAILS_BYTES_MAX
    + LABEL_COUNT_MAX * (LABEL_BYTES_MAX + 5);

// What is left is for the framing, the batch header and the cause.
const _: () =
    assert!(HISTORY_BYTES_MAX + TEXT_BYTES_MAX + (16 << 10) <= LETTER_OVERHEAD_BYTES as usize);

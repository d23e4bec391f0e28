//! Every maximum of pushed records, each with its reason.

use crate::limits::HEADER_VALUE_BYTES_MAX;

/// Largest envelope, in bytes: it is the value of one record header.
pub const ENVELOPE_BYTES_MAX: usize = HEADER_VALUE_BYTES_MAX as usize;

/// Largest number of retries of one message: its attempts are numbered with 16 bits.
pub const RETRIES_MAX: u32 = 10_000;

/// Size at which a segment of a delivery log is full, in bytes. The head goes by whole segments: small ones let it follow
/// the newest snapshot, and what is still needed of one is little to copy.
pub const DELIVERY_SEGMENT_BYTES: u32 = 32 << 20;

/// Largest part of a snapshot, in bytes: any state is appended in records of at most this.
pub const SNAPSHOT_PART_BYTES_MAX: u32 = 1 << 20;

/// Parts that are appended under one hold of the owner's lock: a few milliseconds.
pub const SNAPSHOT_PARTS_PER_STEP: usize = 4;

/// Growth of the delivery log since its last snapshot at which the next one is due, in bytes: bounds what is read when the
/// partition is opened. Half a million entries at most, which fold in a fraction of a second.
pub const SNAPSHOT_DELIVERY_BYTES: u64 = 32 << 20;

/// Growth of the main log since the last snapshot at which the next one is due, in bytes: as much is read and its envelopes
/// are decoded when the partition is opened.
pub const SNAPSHOT_MAIN_BYTES: u64 = 64 << 20;

/// A snapshot and the copies made for it are followed by at least this many times their own bytes, so that they never are the
/// greater part of what is written.
pub const SNAPSHOT_PAUSE_FACTOR: u64 = 2;

/// Bytes of copies (histories and carried records) that are read and appended together: what they hold in memory.
pub const COPY_BYTES_MAX: usize = 1 << 20;

/// Copies that are appended together, whatever their bytes: how long the owner's lock is held.
pub const COPY_COUNT_MAX: usize = 256;

/// A segment of the main log of which more than one in so many records is still needed is held instead of copied: the copies
/// would cost more than the space that they free.
pub const HELD_SHARE: u64 = 10;

/// Entries that one look backwards reads at a time.
pub const ENTRIES_PER_WINDOW: u64 = 256;

/// Decoded batches of the main log that one reader of messages keeps, in bytes: a few publish requests' worth, for each
/// partition that is at work.
pub const RECENT_BATCH_BYTES_MAX: usize = 4 << 20;

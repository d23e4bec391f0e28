//! Every maximum of this surface, each with its reason. What a letter keeps of a name is in [`storage::dead_letter::limits`].

/// Longest delay, in milliseconds: a year, as promised; a leap day more does no harm.
pub const DELAY_MS_MAX: u64 = 366 * 24 * 3600 * 1000;

/// Longest time for one attempt, in milliseconds: the longest that can be configured. A longer one is cut to it, and to what is
/// configured below it.
pub const TIMEOUT_MS_MAX: u64 = 24 * 3600 * 1000;

/// Shortest and longest period of a flow-control key, in milliseconds: a second, in which answers count it, to a week.
pub const PERIOD_MS: std::ops::RangeInclusive<u64> = 1000..=7 * 24 * 3600 * 1000;

/// Largest number in a flow-control value: far above what one machine delivers.
pub const FLOW_NUMBER_MAX: u32 = 1_000_000;

/// Headers that one message forwards, and as many for each callback: what a record may have.
pub const FORWARDED_COUNT_MAX: usize = storage::limits::HEADER_COUNT_MAX as usize;

/// Messages in one batch: they are appended one by one, and the answer waits for all of them.
pub const BATCH_COUNT_MAX: usize = 1_000;

/// Endpoints that one request may add or remove: what a group may have.
pub const ENDPOINTS_PER_REQUEST_MAX: usize = 1_000;

/// Dead letters in one page, and as many when nothing is said.
pub const DLQ_COUNT_MAX: u32 = 100;

/// Messages that a request with a count may cancel.
pub const CANCEL_COUNT_MAX: u32 = 500;

/// Log events in one page.
pub const LOG_COUNT_MAX: u32 = 1_000;

/// Log events in one page when nothing is said: what one client documents; the description has 100 as well.
pub const LOG_COUNT_DEFAULT: u32 = 100;

/// Values of one field of a filter.
pub const FILTER_VALUE_COUNT_MAX: usize = crate::limits::FILTER_VALUE_COUNT_MAX as usize;

/// Ids in one request: as many as a page of a bulk call resolves.
pub const IDS_PER_REQUEST_MAX: usize = crate::limits::LETTER_IDS_PER_CALL_MAX as usize;

/// Bytes of a value that an error repeats.
pub const SHOWN_BYTES_MAX: usize = 128;

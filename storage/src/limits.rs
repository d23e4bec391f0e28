//! Every maximum of the storage crate, each with its reason. Limits that an operator may set live in the configs and are
//! checked against these.

/// Largest record (key, value and headers together), in bytes, that a log can be configured for. Keeps a batch of one
/// record with its failure history below [`BATCH_BYTES_CEILING`].
pub const RECORD_BYTES_CEILING: u32 = 16 << 20;

/// Default largest record, in bytes.
pub const RECORD_BYTES_DEFAULT: u32 = 1 << 20;

/// Largest batch (header and body), in bytes, that any log takes. A batch is held in memory whole.
pub const BATCH_BYTES_CEILING: u32 = 64 << 20;

/// Default largest batch, in bytes, on the wire and on disk.
pub const BATCH_BYTES_DEFAULT: u32 = 8 << 20;

/// Largest unpacked records section, as a multiple of the largest batch: bounds what a compression bomb can cost. It is
/// [`BATCH_BYTES_CEILING`] at most: readers unpack no more.
pub const UNPACKED_BYTES_PER_BATCH_BYTE: u32 = 8;

/// What a letter may be larger than its record, in bytes: the failure history and the provenance.
pub const LETTER_OVERHEAD_BYTES: u32 = 128 << 10;

/// Largest key, in bytes.
pub const KEY_BYTES_MAX: u32 = 64 << 10;

/// Largest number of headers of one record.
pub const HEADER_COUNT_MAX: u32 = 100;

/// Largest header name, in bytes.
pub const HEADER_NAME_BYTES_MAX: u32 = 1 << 10;

/// Largest header value, in bytes.
pub const HEADER_VALUE_BYTES_MAX: u32 = 64 << 10;

/// Largest number of records in one batch: what a client can pack into the default batch with records of 8 bytes.
pub const RECORD_COUNT_MAX: u32 = 1 << 20;

/// Smallest segment that can be configured, in bytes: tests use it to make rolls common.
pub const SEGMENT_BYTES_MIN: u32 = 4 << 10;

/// Largest segment, in bytes: positions inside a segment fit in 32 bits with room for one batch behind the limit.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// Default segment, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u32 = 128 << 20;

/// One index entry stands for at least this many bytes of log.
pub const INDEX_INTERVAL_BYTES: u64 = 64 << 10;

/// First preallocation of a segment, in bytes; each further one doubles it.
pub const PREALLOCATE_BYTES_MIN: u64 = 256 << 10;

/// Largest step of preallocation, in bytes.
pub const PREALLOCATE_BYTES_MAX: u64 = 32 << 20;

/// Sealed segments whose files are kept open, for each log: the rest is opened when it is read.
pub const OPEN_SEALED_SEGMENTS_MAX: usize = 16;

/// Producers that a partition remembers; the one that was silent longest is dropped first.
pub const PRODUCERS_MAX: usize = 10_000;

/// Batches that a partition remembers of each producer, which is also how many a producer may have in flight.
pub const PRODUCER_BATCHES_MAX: usize = 5;

/// Longest memory of a producer's batches, in milliseconds (24 h).
pub const PRODUCER_MEMORY_MS: i64 = 24 * 3600 * 1000;

/// Default age at which a segment is rolled, in milliseconds (1 day).
pub const SEGMENT_MS_DEFAULT: i64 = 24 * 3600 * 1000;

/// Largest age that a setting can name, in milliseconds (100 years): sums with a time of day stay far from overflow.
pub const TIME_SETTING_MS_MAX: i64 = 100 * 366 * 24 * 3600 * 1000;

/// What the encoding can add to a record's key, value and headers, in bytes: two varints of at most 10 bytes, a count
/// and the lengths of at most [`HEADER_COUNT_MAX`] headers.
pub const RECORD_OVERHEAD_BYTES_MAX: u32 = 2 << 10;

/// Largest name of a topic or a group, in bytes: Kafka's, so that names can be carried over.
pub const NAME_BYTES_MAX: u32 = 249;

/// Topics of one broker: the control state is held in memory whole.
pub const TOPIC_COUNT_MAX: u32 = 10_000;

/// Partitions of one topic: what one create or metadata call may name.
pub const TOPIC_PARTITION_COUNT_MAX: u32 = 10_000;

/// Partitions of one broker: each costs directories, files and memory.
pub const PARTITION_COUNT_MAX: u32 = 100_000;

/// Consumer groups of one broker: the control state is held in memory whole.
pub const GROUP_COUNT_MAX: u32 = 10_000;

/// Committed offsets of one group: what one snapshot, list or commit may have to hold.
pub const GROUP_COMMIT_COUNT_MAX: u32 = 10_000;

/// Largest text that a consumer may leave with a committed offset, in bytes: Kafka's default.
pub const COMMIT_METADATA_BYTES_MAX: u32 = 4 << 10;

/// Committed offsets of all groups together: the control state is held in memory whole.
pub const COMMIT_COUNT_MAX: u64 = 1_000_000;

/// Texts that consumers have left with all committed offsets together, in bytes: they are held in memory, and stand in each snapshot.
pub const COMMITS_METADATA_BYTES_MAX: u64 = 64 << 20;

/// Largest part of a control snapshot, in bytes: a snapshot of any size is appended in records of at most this.
pub const SNAPSHOT_PART_BYTES_MAX: u32 = 512 << 10;

/// Size at which a segment of the control log is full, in bytes.
pub const CONTROL_SEGMENT_BYTES: u32 = 16 << 20;

/// Growth of the control log since its last snapshot at which the next one is due, in bytes: bounds what is read when the
/// broker starts.
pub const CONTROL_SNAPSHOT_BYTES: u64 = 8 << 20;

/// Queues of one broker: the control state is held in memory whole.
pub const QUEUE_COUNT_MAX: u32 = 10_000;

/// Messages of one queue under way at a time: each is a connection to its destination.
pub const QUEUE_PARALLELISM_MAX: u32 = 1_000;

/// URL groups of one broker: the control state is held in memory whole.
pub const URL_GROUP_COUNT_MAX: u32 = 10_000;

/// Endpoints of one URL group: one publish makes a message for each, all in one batch.
pub const URL_GROUP_ENDPOINT_COUNT_MAX: u32 = 100;

/// Endpoints of all URL groups together: with URLs of the largest size they still fit in memory and in a snapshot.
pub const ENDPOINT_COUNT_MAX: u32 = 20_000;

/// Largest URL of a destination, in bytes: what common servers take as a request line.
pub const URL_BYTES_MAX: u32 = 8 << 10;

/// Schedules of one broker: each has its next due time in memory.
pub const SCHEDULE_COUNT_MAX: u32 = 10_000;

/// Bodies and envelopes of all schedules together, in bytes: they are held in memory whole, and every snapshot of the
/// control state has them.
pub const SCHEDULE_CONTENT_BYTES_MAX: u64 = 64 << 20;

/// Largest cron expression, in bytes: five lists of numbers and the name of a time zone.
pub const CRON_BYTES_MAX: u32 = 512;

/// Largest text of an address that a publisher has, in bytes: an IPv6 address with its zone.
pub const CALLER_IP_BYTES_MAX: u32 = 64;

/// Flow-control keys of which something was decided: the control state is held in memory whole.
pub const FLOW_KEY_COUNT_MAX: u32 = 10_000;

/// Largest flow-control key, in bytes: applications make keys of what they have, such as URLs.
pub const FLOW_KEY_BYTES_MAX: u32 = 1 << 10;

/// Longest period of a flow-control rate, in milliseconds (one week): a longer one is a mistake, not a limit.
pub const FLOW_PERIOD_MS_MAX: u32 = 7 * 24 * 3600 * 1000;

/// Largest signing key, in bytes: one that is not generated here still is a line of text.
pub const SIGNING_KEY_BYTES_MAX: u32 = 256;

/// Bytes of buffers that nobody uses and that are kept for the next fetches, a few answers of what a consumer asks for at once; and
/// as many for the next letters that are resolved.
pub const READ_BUFFERS_BYTES_MAX: usize = 16 << 20;

/// Bytes of the batches appended last that one log keeps in memory for readers that have caught up: what a pipelined producer
/// has in flight.
pub const RECENT_BYTES_MAX: usize = 8 << 20;

/// The same, over all logs. A log that finds no room keeps nothing: its readers read the file.
pub const RECENT_BYTES_TOTAL_MAX: usize = 64 << 20;

//! `/admin/v1/topics/{topic}/partitions/{index}`: a partition with its segments and what is damaged.

use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use super::topics::Partition;
use crate::broker::{DamageView, PartitionDetail, SegmentView};
use storage::log_id::LogKind;

/// A partition with its segments.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartitionDetail)]
pub(super) struct Detail {
    /// Topic.
    topic: String,
    /// Offsets and counts.
    #[serde(flatten)]
    partition: Partition,
    /// Bytes of the main log's segments.
    main_bytes: u64,
    /// Bytes of the dead-letter log's segments.
    dead_letter_bytes: u64,
    /// Bytes of the delivery log's segments; 0 where the topic is not pushed.
    delivery_bytes: u64,
    /// Segments of the main log, then of the dead-letter log, then of the delivery log, oldest first.
    segments: Vec<Segment>,
    /// What was found damaged so far.
    damage: Vec<Damage>,
    /// Why the main log takes no appends, if it takes none.
    refusal: Option<String>,
}

/// A segment.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Segment {
    /// `main`, `dead-letter` or `delivery`.
    log: &'static str,
    /// Offset of the first record.
    base_offset: u64,
    /// First offset behind the segment (exclusive end).
    end_offset: u64,
    /// Bytes of batches and header.
    bytes: u64,
    /// Append time of the first batch, in milliseconds since 1970.
    first_append_ms: i64,
    /// Append time of the last batch, in milliseconds since 1970.
    last_append_ms: i64,
    /// Whether it takes no more batches.
    is_sealed: bool,
}

/// A range that cannot be read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Damage {
    /// `main`, `dead-letter` or `delivery`.
    log: &'static str,
    /// First offset that cannot be read.
    from: u64,
    /// First offset behind the damage (exclusive end).
    to: u64,
    /// Name of the damaged file.
    file: String,
    /// What does not verify.
    reason: String,
}

impl From<SegmentView> for Segment {
    fn from(view: SegmentView) -> Self {
        let stats = view.stats;
        Self {
            log: view.log.name(),
            base_offset: stats.base_offset.0,
            end_offset: stats.end_offset.0,
            bytes: stats.bytes,
            first_append_ms: stats.first_append_time.0,
            last_append_ms: stats.last_append_time.0,
            is_sealed: stats.is_sealed,
        }
    }
}

impl From<DamageView> for Damage {
    fn from(view: DamageView) -> Self {
        Self {
            log: view.log.name(),
            from: view.from,
            to: view.to,
            file: view.file,
            reason: view.reason,
        }
    }
}

impl Detail {
    fn new(topic: String, detail: PartitionDetail) -> Self {
        let bytes = |log: LogKind| {
            let of_log = detail.segments.iter().filter(|segment| segment.log == log);
            of_log.fold(0_u64, |sum, segment| {
                sum.saturating_add(segment.stats.bytes)
            })
        };
        Self {
            topic,
            partition: detail.view.into(),
            main_bytes: bytes(LogKind::Main),
            dead_letter_bytes: bytes(LogKind::DeadLetter),
            delivery_bytes: bytes(LogKind::Delivery),
            segments: detail.segments.into_iter().map(Segment::from).collect(),
            damage: detail.damage.into_iter().map(Damage::from).collect(),
            refusal: detail.refusal,
        }
    }
}

/// Describes a partition: offsets, segments, sizes, damage.
#[utoipa::path(get, path = "/admin/v1/topics/{topic}/partitions/{index}", tag = "topics", operation_id = "describe_partition",
    params(("topic" = String, Path, description = "The topic's name"),
        ("index" = u32, Path, description = "The partition's index within the topic")), responses(
    (status = 200, description = "The partition with its segments and its damage.", body = Detail),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn describe(call: Call) -> Answer {
    let (topic, index) = (call.param("topic"), call.partition_index()?);
    let name = topic.clone();
    let detail = call
        .blocking(move |broker| broker.partition_detail(&name, index))
        .await?;
    ok(&Detail::new(topic, detail))
}

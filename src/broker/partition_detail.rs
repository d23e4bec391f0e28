//! One partition with its segments and what of it is damaged, for operators.

use storage::log::SegmentStats;
use storage::log_id::LogKind;

use super::topics::partition_view;
use super::{Broker, partition_of};
use crate::protocol::error_code::Refusal;
use crate::protocol::metadata::PartitionView;

/// A segment of a partition's log, as the admin surface shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentView {
    /// Which of the partition's logs.
    pub log: LogKind,
    /// The segment.
    pub stats: SegmentStats,
}

/// A range that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageView {
    /// Which of the partition's logs.
    pub log: LogKind,
    /// First offset that cannot be read.
    pub from: u64,
    /// First offset behind the damage (exclusive end).
    pub to: u64,
    /// Name of the damaged file.
    pub file: String,
    /// What does not verify.
    pub reason: String,
}

/// A partition with its segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDetail {
    /// Offsets and counts.
    pub view: PartitionView,
    /// Segments of the main log, then of the dead-letter log, then of the delivery log, oldest first.
    pub segments: Vec<SegmentView>,
    /// What was found damaged so far.
    pub damage: Vec<DamageView>,
    /// Why the main log takes no appends, if it takes none.
    pub refusal: Option<String>,
}

impl Broker {
    /// Describes one partition with its segments.
    ///
    /// # Errors
    /// `UnknownTopic`, `UnknownPartition` of the [error codes](crate::protocol::error_code::ErrorCode).
    pub fn partition_detail(&self, topic: &str, index: u32) -> Result<PartitionDetail, Refusal> {
        let topic = self.topic(topic)?;
        let partition = partition_of(&topic, index)?;
        let dead_letters = partition.dead_letters();
        let readers = [
            (LogKind::Main, Some(partition.reader().clone())),
            (
                LogKind::DeadLetter,
                dead_letters.map(|view| view.reader().clone()),
            ),
            (LogKind::Delivery, partition.delivery_reader()),
        ];
        let mut segments = Vec::new();
        let mut damage = Vec::new();
        for (log, reader) in readers {
            let Some(reader) = reader else { continue };
            segments.extend(
                reader
                    .segments()
                    .into_iter()
                    .map(|stats| SegmentView { log, stats }),
            );
            damage.extend(reader.damage().into_iter().map(|range| {
                DamageView {
                    log,
                    from: range.from.0,
                    to: range.to.0,
                    file: range
                        .path
                        .file_name()
                        .map(|name| name.to_string_lossy().into_owned())
                        .unwrap_or_default(),
                    reason: range.reason.to_string(),
                }
            }));
        }
        let refusal = partition.poison().map(|cause| cause.to_string());
        Ok(PartitionDetail {
            view: partition_view(index, &partition),
            segments,
            damage,
            refusal,
        })
    }
}

//! Groups: names for committed offsets, nothing more. Nobody is assigned anything.
//!
//! Invariant: everything below a committed offset is durable, also on a written topic. A power cut that took records from below
//! it would give their offsets to others, which the group would pass over.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use storage::control::{Commit, ControlState, Entry};
use storage::limits::COMMIT_METADATA_BYTES_MAX;
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::Offset;

use super::{Broker, partition_of, refusal};
use crate::engine::PartitionHandle;
use crate::limits::{PARTITIONS_PER_REQUEST_MAX, TOPICS_PER_REQUEST_MAX};
use crate::metrics::LagLabel;
use crate::names::GroupName;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::group_offsets::{
    CommitOffsetsRequest, CommittedOffset, DeleteGroupRequest, FetchOffsetsAnswer,
    FetchOffsetsRequest, GroupPartitionView, GroupView, ListGroupsAnswer,
};

impl Broker {
    /// Stores offsets that a group has got to, when all below them is durable. Answered after the sync; commits that come
    /// together share one.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidGroupName`], [`ErrorCode::LimitExceeded`] when there are too many, [`ErrorCode::UnknownTopic`],
    /// [`ErrorCode::UnknownPartition`], [`ErrorCode::OffsetOutOfRange`] above the log end, the main log's when it cannot be synced,
    /// or the control log's.
    pub async fn commit_offsets(
        self: &Arc<Self>,
        request: &CommitOffsetsRequest,
    ) -> Result<(), Refusal> {
        let group = parse_group(&request.group)?;
        let count = request.offsets.len();
        at_most(
            "offsets are committed at once",
            count,
            PARTITIONS_PER_REQUEST_MAX,
        )?;
        let mut commits: BTreeMap<PartitionNumber, Commit> = BTreeMap::new();
        let mut unsynced = Vec::new();
        for offset in &request.offsets {
            let topic = self.topic(&offset.topic)?;
            let partition = partition_of(&topic, offset.partition)?;
            let end = partition.reader().log_end();
            if offset.offset > end {
                let message = format!(
                    "offset {} cannot be committed, the log ends at {end}",
                    offset.offset
                );
                return Err(Refusal::new(ErrorCode::OffsetOutOfRange, message));
            }
            if offset.offset > partition.reader().durable_end() {
                partition.schedule_sync(LogKind::Main);
                unsynced.push((offset, partition.clone()));
            }
            at_most(
                "bytes of metadata are committed",
                offset.metadata.len(),
                COMMIT_METADATA_BYTES_MAX,
            )?;
            let metadata = offset.metadata.clone();
            commits.insert(
                partition.number(),
                Commit {
                    partition: partition.number(),
                    offset: offset.offset,
                    metadata,
                },
            );
        }
        if commits.is_empty() {
            return Ok(());
        }
        for (offset, partition) in unsynced {
            let synced = partition.wait_durable(offset.offset).await;
            synced.map_err(|error| refusal::of_log(&error))?;
            // It may have been deleted meanwhile, and another one have its name.
            let found = partition_of(&*self.topic(&offset.topic)?, offset.partition)?;
            if !Arc::ptr_eq(&found, &partition) {
                let message = format!("topic {:?} was deleted", offset.topic);
                return Err(Refusal::new(ErrorCode::UnknownTopic, message));
            }
        }
        let entry = Entry::OffsetsCommitted {
            group: group.to_string(),
            time: self.clock.now(),
            commits: commits.into_values().collect(),
        };
        let (answer, must_write) = self.control.queue(entry);
        if must_write {
            let this = Arc::clone(self);
            self.pool
                .submit(move || this.control.write_waiting(|| this.clock.now()));
        }
        answer.await.unwrap_or_else(|_| {
            Err(Refusal::new(
                ErrorCode::ShuttingDown,
                "the broker is ending",
            ))
        })
    }

    /// Returns what a group has committed; nothing for a group that never did.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidGroupName`], [`ErrorCode::LimitExceeded`] when too many topics are named.
    pub fn fetch_offsets(
        &self,
        request: &FetchOffsetsRequest,
    ) -> Result<FetchOffsetsAnswer, Refusal> {
        let group = parse_group(&request.group)?;
        let count = request.topics.as_ref().map_or(0, Vec::len);
        at_most("topics are asked for", count, TOPICS_PER_REQUEST_MAX)?;
        let mut offsets = self.control.look(|state| committed(state, group.as_str()));
        if let Some(topics) = &request.topics {
            let wanted: HashSet<&str> = topics.iter().map(String::as_str).collect();
            offsets.retain(|offset| wanted.contains(offset.topic.as_str()));
        }
        Ok(FetchOffsetsAnswer { offsets })
    }

    /// Lists the groups with what they committed and how far they are behind.
    #[must_use]
    pub fn list_groups(&self) -> ListGroupsAnswer {
        let groups = self.control.look(|state| {
            let names: Vec<_> = state.groups().map(|(name, _)| name.to_owned()).collect();
            names
                .into_iter()
                .map(|name| (committed(state, &name), name))
                .collect::<Vec<_>>()
        });
        let view = |(offsets, name): (Vec<CommittedOffset>, String)| {
            let partitions = offsets
                .into_iter()
                .filter_map(|offset| self.with_lag(offset))
                .collect();
            GroupView { name, partitions }
        };
        ListGroupsAnswer {
            groups: groups.into_iter().map(view).collect(),
        }
    }

    /// Forgets a group. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownGroup`], or the control log's.
    pub fn delete_group(&self, request: &DeleteGroupRequest) -> Result<(), Refusal> {
        let group = parse_group(&request.group)?;
        self.control.change(self.clock.now(), |state| {
            if state.group(group.as_str()).is_none() {
                return Err(Refusal::new(
                    ErrorCode::UnknownGroup,
                    format!("there is no group {group}"),
                ));
            }
            Ok((
                Entry::GroupDeleted {
                    group: group.to_string(),
                },
                (),
            ))
        })
    }

    /// Brings the metrics of lag up to date.
    pub(super) fn measure_lag(&self) {
        let lags = self.list_groups().groups.into_iter().flat_map(|group| {
            group.partitions.into_iter().map(move |partition| {
                let label = LagLabel {
                    group: group.name.clone(),
                    topic: partition.committed.topic,
                    partition: partition.committed.partition,
                };
                (label, partition.lag)
            })
        });
        self.metrics.replace_lags(lags.collect());
    }

    fn with_lag(&self, committed: CommittedOffset) -> Option<GroupPartitionView> {
        let topic = self.topic(&committed.topic).ok()?;
        let partition = partition_of(&topic, committed.partition).ok()?;
        let high_watermark = partition.reader().high_watermark();
        let lag = lag(&partition, committed.offset, high_watermark);
        Some(GroupPartitionView {
            committed,
            high_watermark,
            lag,
        })
    }
}

/// Returns how many offsets lie between what was committed and what can be read; what retention took counts no more.
fn lag(partition: &PartitionHandle, committed: Offset, high_watermark: Offset) -> u64 {
    let from = committed.max(partition.reader().log_start());
    high_watermark.since(from).unwrap_or(0)
}

fn committed(state: &ControlState, group: &str) -> Vec<CommittedOffset> {
    let Some(offsets) = state.group(group) else {
        return Vec::new();
    };
    let view = |(number, committed): (&PartitionNumber, &storage::control::Committed)| {
        let (topic, partition) = state.partition(*number)?;
        Some(CommittedOffset {
            topic: topic.to_owned(),
            partition,
            offset: committed.offset,
            metadata: committed.metadata.clone(),
        })
    };
    offsets.iter().filter_map(view).collect()
}

fn at_most(what: &str, count: usize, count_max: u32) -> Result<(), Refusal> {
    if count <= usize::try_from(count_max).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let message = format!("{count} {what}, at most {count_max} are taken");
    Err(Refusal::new(ErrorCode::LimitExceeded, message))
}

fn parse_group(name: &str) -> Result<GroupName, Refusal> {
    GroupName::parse(name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidGroupName, error.to_string()))
}

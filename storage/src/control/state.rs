//! What the control log adds up to: a fold over its entries, in memory whole.
//!
//! # Invariants
//! 1. [`ControlState::apply`] is the only way that the state changes, so that the state after a restart is the one before.
//! 2. An entry that contradicts the state is refused and changes nothing: a name created twice, a partition number or a
//!    producer id used again.
//! 3. Everything that [`ControlState::check`] let through applies, also under later limits: `apply` refuses
//!    contradictions only, `check` also what is beyond a limit.

use std::collections::BTreeMap;

use super::entry::{Entry, Gap};
use super::groups::{GroupOffsets, Groups};
use super::push::PushState;
use super::refusal::Refusal;
use super::settings::TopicSettings;
use super::snapshot;
use super::snapshot_part::SnapshotPart;
use crate::log_id::{LogId, PartitionNumber};
use crate::offset::Offset;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its settings.
    pub settings: TopicSettings,
    /// The numbers of its partitions, by index.
    pub partitions: Vec<PartitionNumber>,
}

/// The broker's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlState {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) next_partition: PartitionNumber,
    pub(super) next_producer_id: u64,
    pub(super) groups: Groups,
    pub(super) gaps: BTreeMap<LogId, BTreeMap<Offset, Offset>>,
    pub(super) push: PushState,
    /// Topic name and index of each partition; follows from `topics`.
    pub(super) by_number: BTreeMap<PartitionNumber, (String, u32)>,
    /// Parts of a snapshot whose last part has not come.
    pub(super) partial: Vec<SnapshotPart>,
}

impl Default for ControlState {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            next_partition: PartitionNumber::FIRST,
            next_producer_id: 0,
            groups: Groups::default(),
            gaps: BTreeMap::new(),
            push: PushState::default(),
            by_number: BTreeMap::new(),
            partial: Vec::new(),
        }
    }
}

impl ControlState {
    /// Returns the topic with this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Returns the topics, by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (&str, &Topic)> {
        self.topics
            .iter()
            .map(|(name, topic)| (name.as_str(), topic))
    }

    /// Returns the name of the topic that has this partition, and the partition's index in it.
    #[must_use]
    pub fn partition(&self, number: PartitionNumber) -> Option<(&str, u32)> {
        let (name, index) = self.by_number.get(&number)?;
        Some((name, *index))
    }

    /// Returns how many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.by_number.len()
    }

    /// Returns the next partition number to give out. It is never one that was used before.
    #[must_use]
    pub fn next_partition(&self) -> PartitionNumber {
        self.next_partition
    }

    /// Returns the numbers that the next `count` partitions get, or `None` when there are not that many left.
    #[must_use]
    pub fn next_partitions(&self, count: u32) -> Option<Vec<PartitionNumber>> {
        let end = self.next_partition.0.checked_add(count)?;
        Some((self.next_partition.0..end).map(PartitionNumber).collect())
    }

    /// Returns the first id of the next producer id block.
    #[must_use]
    pub fn next_producer_id(&self) -> u64 {
        self.next_producer_id
    }

    /// Returns what a group committed, by partition number.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&GroupOffsets> {
        self.groups.get(name)
    }

    /// Returns the groups, by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&str, &GroupOffsets)> {
        self.groups.iter()
    }

    /// Returns the names of the groups that committed an offset in one of the topic's partitions.
    pub fn groups_of_topic(&self, name: &str) -> impl Iterator<Item = &str> {
        let partitions = self
            .topics
            .get(name)
            .map_or(&[][..], |topic| &topic.partitions);
        self.groups
            .iter()
            .filter(|(_, offsets)| partitions.iter().any(|p| offsets.contains_key(p)))
            .map(|(name, _)| name)
    }

    /// Returns the dropped ranges, by log and offset; they neither overlap nor touch.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.gaps.keys().flat_map(|log| self.gaps_of(*log))
    }

    /// Returns the dropped ranges of one log, by offset.
    pub fn gaps_of(&self, log: LogId) -> impl Iterator<Item = Gap> {
        self.gaps.get(&log).into_iter().flat_map(move |ranges| {
            ranges.iter().map(move |(from, to)| Gap {
                log,
                from: *from,
                to: *to,
            })
        })
    }

    /// Returns what deliveries over HTTP go by. A copy of it costs next to nothing.
    #[must_use]
    pub fn push(&self) -> &PushState {
        &self.push
    }

    /// Encodes the state as entries that put it in the place of whatever was folded before them.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Entry> {
        snapshot::parts(self)
            .into_iter()
            .map(Entry::Snapshot)
            .collect()
    }

    /// Applies an entry that stands in the log.
    ///
    /// # Errors
    /// The [`Refusal`] of an entry that contradicts the state; the state is as it was.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.contradicts(entry)?;
        if let Entry::Snapshot(part) = entry {
            return self.apply_snapshot(part);
        }
        self.partial.clear();
        match entry {
            Entry::TopicCreated {
                name,
                settings,
                partitions,
            } => {
                let topic = Topic {
                    settings: *settings,
                    partitions: Vec::new(),
                };
                self.topics.insert(name.clone(), topic);
                self.add_partitions(name, partitions);
            }
            Entry::TopicAltered { name, settings } => {
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.settings = *settings;
                }
            }
            Entry::PartitionsAdded { name, partitions } => self.add_partitions(name, partitions),
            Entry::TopicDeleted { name } => self.delete_topic(name),
            Entry::ProducerIdBlock { first, count } => {
                self.next_producer_id = first.saturating_add(u64::from(*count));
            }
            Entry::OffsetsCommitted {
                group,
                time,
                commits,
            } => self.groups.commit(group, *time, commits),
            Entry::GroupDeleted { group } => {
                self.groups.delete(group);
            }
            Entry::Gap(gap) => self.add_gap(gap),
            Entry::Snapshot(_) => {}
            Entry::Push(entry) => self.push.apply(entry),
        }
        Ok(())
    }

    fn add_partitions(&mut self, name: &str, partitions: &[PartitionNumber]) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        for number in partitions {
            let index = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            topic.partitions.push(*number);
            self.by_number.insert(*number, (name.to_owned(), index));
            self.next_partition = PartitionNumber(number.0.saturating_add(1));
        }
    }

    fn delete_topic(&mut self, name: &str) {
        let Some(topic) = self.topics.remove(name) else {
            return;
        };
        for number in &topic.partitions {
            self.by_number.remove(number);
        }
        self.groups.forget(&topic.partitions);
        self.gaps
            .retain(|log, _| !topic.partitions.contains(&log.partition));
    }

    /// Adds a dropped range. Ranges that overlap or touch become one: dropping twice is dropping once.
    pub(super) fn add_gap(&mut self, gap: &Gap) {
        let ranges = self.gaps.entry(gap.log).or_default();
        let (mut from, mut to) = (gap.from, gap.to);
        while let Some((&before, &end)) = ranges.range(..=to).next_back() {
            if end < from {
                break;
            }
            from = from.min(before);
            to = to.max(end);
            ranges.remove(&before);
        }
        ranges.insert(from, to);
    }

    fn apply_snapshot(&mut self, part: &SnapshotPart) -> Result<(), Refusal> {
        if part.index == 0 {
            self.partial.clear();
        }
        if part.index.checked_add(1) == Some(part.count) {
            let state = snapshot::assemble(&self.partial, part)?;
            *self = state;
        } else {
            self.partial.push(part.clone());
        }
        Ok(())
    }
}

//! Which entries a state takes.
//!
//! Two sets of rules: those that every entry of a log keeps, whatever the limits were when it was written, and those for
//! what somebody asks for now.

use std::collections::BTreeMap;

use super::entry::{Commit, Entry};
use super::groups::Amount;
use super::refusal::{Refusal, bounded, rising, room};
use super::snapshot;
use super::state::{ControlState, Topic};
use crate::batch::header::NO_PRODUCER;
use crate::limits::{
    COMMIT_COUNT_MAX, COMMIT_METADATA_BYTES_MAX, COMMITS_METADATA_BYTES_MAX,
    GROUP_COMMIT_COUNT_MAX, GROUP_COUNT_MAX, NAME_BYTES_MAX, PARTITION_COUNT_MAX, TOPIC_COUNT_MAX,
    TOPIC_PARTITION_COUNT_MAX,
};
use crate::log_id::{LogId, PartitionNumber};

impl ControlState {
    /// Checks an entry that somebody asks for, before it is appended: what [`Self::apply`] checks, and the limits.
    ///
    /// # Errors
    /// The [`Refusal`], with the value and what would be right.
    pub fn check(&self, entry: &Entry) -> Result<(), Refusal> {
        self.contradicts(entry)?;
        match entry {
            Entry::TopicCreated {
                name,
                settings,
                partitions,
            } => {
                settings.validate()?;
                bounded("length of the topic's name", name.len(), NAME_BYTES_MAX)?;
                let topics = self.topics.len().saturating_add(1);
                bounded("number of topics", topics, TOPIC_COUNT_MAX)?;
                self.check_partition_count(0, partitions.len())
            }
            Entry::TopicAltered { settings, .. } => Ok(settings.validate()?),
            Entry::PartitionsAdded { name, partitions } => {
                let present = self.topics.get(name).map_or(0, |t| t.partitions.len());
                self.check_partition_count(present, partitions.len())
            }
            Entry::OffsetsCommitted { group, commits, .. } => self.check_commits(group, commits),
            Entry::TopicDeleted { .. }
            | Entry::ProducerIdBlock { .. }
            | Entry::GroupDeleted { .. }
            | Entry::Gap(_)
            | Entry::Snapshot(_) => Ok(()),
            Entry::Push(entry) => self.push.check(entry),
        }
    }

    fn check_partition_count(&self, present: usize, added: usize) -> Result<(), Refusal> {
        let of_topic = present.saturating_add(added);
        bounded(
            "number of the topic's partitions",
            of_topic,
            TOPIC_PARTITION_COUNT_MAX,
        )?;
        let of_broker = self.by_number.len().saturating_add(added);
        bounded("number of partitions", of_broker, PARTITION_COUNT_MAX)
    }

    fn check_commits(&self, group: &str, commits: &[Commit]) -> Result<(), Refusal> {
        bounded("length of the group's name", group.len(), NAME_BYTES_MAX)?;
        let known = self.groups.get(group);
        let groups = self
            .groups()
            .len()
            .saturating_add(usize::from(known.is_none()));
        bounded("number of groups", groups, GROUP_COUNT_MAX)?;
        let is_new = |c: &&Commit| known.is_none_or(|g| !g.contains_key(&c.partition));
        let offsets = known
            .map_or(0, BTreeMap::len)
            .saturating_add(commits.iter().filter(is_new).count());
        bounded(
            "number of the group's committed offsets",
            offsets,
            GROUP_COMMIT_COUNT_MAX,
        )?;
        let longest = commits.iter().map(|c| c.metadata.len()).max().unwrap_or(0);
        // Metadata may be empty, everything else that is bounded may not.
        bounded(
            "length of a commit's metadata",
            longest.max(1),
            COMMIT_METADATA_BYTES_MAX,
        )?;
        self.check_growth(self.groups.growth(group, commits))
    }

    /// Checks that so much more may be committed. What does not grow is not refused: a limit may be younger than what is held.
    pub(super) fn check_growth(&self, growth: Amount) -> Result<(), Refusal> {
        let after = self.groups.amount().plus(growth);
        if growth.commits > 0 {
            let what = "number of all committed offsets";
            room(what, after.commits, COMMIT_COUNT_MAX)?;
        }
        if growth.metadata_bytes > 0 {
            let what = "length of the metadata of all committed offsets";
            room(what, after.metadata_bytes, COMMITS_METADATA_BYTES_MAX)?;
        }
        Ok(())
    }

    /// The rules that every entry of a log keeps, whatever the limits were when it was written.
    pub(super) fn contradicts(&self, entry: &Entry) -> Result<(), Refusal> {
        match entry {
            Entry::TopicCreated {
                name, partitions, ..
            } => {
                if self.topics.contains_key(name) {
                    return Err(Refusal::TopicExists { name: name.clone() });
                }
                self.check_numbers(partitions)
            }
            Entry::TopicAltered { name, settings } => {
                let topic = self.known_topic(name)?;
                if topic.settings.durability != settings.durability {
                    return Err(Refusal::DurabilityFixed { name: name.clone() });
                }
                Ok(())
            }
            Entry::PartitionsAdded { name, partitions } => {
                self.known_topic(name)?;
                self.check_numbers(partitions)
            }
            Entry::TopicDeleted { name } => self.known_topic(name).map(|_| ()),
            Entry::ProducerIdBlock { first, count } => {
                bounded("number of producer ids", u64::from(*count), u32::MAX)?;
                // The id behind the block must stay representable and never be the one that stands for no producer.
                let max = NO_PRODUCER.saturating_sub(u64::from(*count));
                rising("first producer id", *first, self.next_producer_id, max)
            }
            Entry::OffsetsCommitted { commits, .. } => {
                bounded("number of commits", commits.len(), u32::MAX)?;
                commits
                    .iter()
                    .try_for_each(|c| self.known_partition(c.partition))
            }
            Entry::GroupDeleted { group } => {
                if self.groups.get(group).is_some() {
                    return Ok(());
                }
                Err(Refusal::UnknownGroup {
                    name: group.clone(),
                })
            }
            Entry::Gap(gap) => {
                if gap.log != LogId::CONTROL {
                    self.known_partition(gap.log.partition)?;
                }
                // Not `from + 1 <= to`: behind the last representable offset there is no gap at all.
                let from_max = gap.to.0.saturating_sub(1);
                rising("end of the gap", gap.to.0, 1, u64::MAX)?;
                rising("start of the gap", gap.from.0, 0, from_max)
            }
            Entry::Snapshot(part) => snapshot::check_part(&self.partial, part),
            Entry::Push(entry) => self.push.contradicts(entry),
        }
    }

    fn known_topic(&self, name: &str) -> Result<&Topic, Refusal> {
        self.topics.get(name).ok_or_else(|| Refusal::UnknownTopic {
            name: name.to_owned(),
        })
    }

    fn known_partition(&self, number: PartitionNumber) -> Result<(), Refusal> {
        if self.by_number.contains_key(&number) {
            return Ok(());
        }
        Err(Refusal::UnknownPartition { number })
    }

    /// Checks that new partition numbers rise from the next free one. The last number there is is never given out, so
    /// that the next one is always representable.
    fn check_numbers(&self, partitions: &[PartitionNumber]) -> Result<(), Refusal> {
        bounded("number of new partitions", partitions.len(), u32::MAX)?;
        let mut next = self.next_partition.0;
        for number in partitions {
            let max = u64::from(u32::MAX).saturating_sub(1);
            rising("partition number", number.0.into(), next.into(), max)?;
            next = number.0.saturating_add(1);
        }
        Ok(())
    }
}

//! What consumer groups have committed, and how much of it there is.
//!
//! Invariant: [`Groups::amount`] is that of what is held, whatever was committed, put in another's place, or deleted. A check of a
//! commit must not count all others.

use std::collections::BTreeMap;

use super::entry::Commit;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// What a group committed in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to consume.
    pub offset: Offset,
    /// What the consumer left with it.
    pub metadata: String,
    /// When it was committed.
    pub time: TimestampMs,
}

/// Committed offsets of one group.
pub type GroupOffsets = BTreeMap<PartitionNumber, Committed>;

/// How much is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    /// Offsets.
    pub(super) commits: u64,
    /// Bytes of what was left with them.
    pub(super) metadata_bytes: u64,
}

/// All groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<String, GroupOffsets>,
    amount: Amount,
}

impl Groups {
    pub(super) fn get(&self, name: &str) -> Option<&GroupOffsets> {
        self.by_name.get(name)
    }

    /// Returns the groups, by name.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &GroupOffsets)> {
        self.by_name
            .iter()
            .map(|(name, offsets)| (name.as_str(), offsets))
    }

    /// Returns how much all of them hold.
    pub(super) fn amount(&self) -> Amount {
        self.amount
    }

    /// Returns how much more there will be when a group has committed this, at most: it does not count what becomes less. That of
    /// several commits is at most the sum, also where they are of the same group and partition.
    pub(super) fn growth(&self, group: &str, commits: &[Commit]) -> Amount {
        let known = self.by_name.get(group);
        let mut growth = Amount::default();
        for commit in commits {
            let replaced = known.and_then(|known| known.get(&commit.partition));
            let before = replaced.map_or(0, |replaced| bytes(&replaced.metadata));
            let more = bytes(&commit.metadata).saturating_sub(before);
            growth = growth.plus(Amount {
                commits: u64::from(replaced.is_none()),
                metadata_bytes: more,
            });
        }
        growth
    }

    /// Takes commits over; each takes the place of the one before it in its partition.
    pub(super) fn commit(&mut self, group: &str, time: TimestampMs, commits: &[Commit]) {
        let offsets = self.by_name.entry(group.to_owned()).or_default();
        for commit in commits {
            let committed = Committed {
                offset: commit.offset,
                metadata: commit.metadata.clone(),
                time,
            };
            self.amount.add(&committed.metadata);
            if let Some(replaced) = offsets.insert(commit.partition, committed) {
                self.amount.take(&replaced.metadata);
            }
        }
    }

    /// Adds a whole group. Returns false, and changes nothing, if there is one of the name.
    pub(super) fn insert(&mut self, name: String, offsets: GroupOffsets) -> bool {
        if self.by_name.contains_key(&name) {
            return false;
        }
        for committed in offsets.values() {
            self.amount.add(&committed.metadata);
        }
        self.by_name.insert(name, offsets);
        true
    }

    /// Deletes a group.
    pub(super) fn delete(&mut self, name: &str) {
        for committed in self.by_name.remove(name).unwrap_or_default().values() {
            self.amount.take(&committed.metadata);
        }
    }

    /// Deletes what was committed in partitions, and the groups that have nothing left.
    pub(super) fn forget(&mut self, partitions: &[PartitionNumber]) {
        for offsets in self.by_name.values_mut() {
            for number in partitions {
                if let Some(committed) = offsets.remove(number) {
                    self.amount.take(&committed.metadata);
                }
            }
        }
        self.by_name.retain(|_, offsets| !offsets.is_empty());
    }
}

impl Amount {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            commits: self.commits.saturating_add(other.commits),
            metadata_bytes: self.metadata_bytes.saturating_add(other.metadata_bytes),
        }
    }

    fn add(&mut self, metadata: &str) {
        self.commits = self.commits.saturating_add(1);
        self.metadata_bytes = self.metadata_bytes.saturating_add(bytes(metadata));
    }

    fn take(&mut self, metadata: &str) {
        self.commits = self.commits.saturating_sub(1);
        self.metadata_bytes = self.metadata_bytes.saturating_sub(bytes(metadata));
    }
}

fn bytes(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commits(partitions: &[(u32, usize)]) -> Vec<Commit> {
        // As a request makes them: a partition stands once.
        let by_partition: BTreeMap<_, _> = partitions.iter().copied().collect();
        let commit = |(partition, length): (u32, usize)| Commit {
            partition: PartitionNumber(partition),
            offset: Offset(1),
            metadata: "m".repeat(length),
        };
        by_partition.into_iter().map(commit).collect()
    }

    fn counted(groups: &Groups) -> Amount {
        let mut amount = Amount::default();
        for (_, offsets) in groups.iter() {
            for committed in offsets.values() {
                amount.add(&committed.metadata);
            }
        }
        amount
    }

    #[derive(Debug, Clone)]
    enum Step {
        Commit(u8, Vec<(u32, usize)>),
        Delete(u8),
        Forget(Vec<u32>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let places = prop::collection::vec((0_u32..6, 0_usize..9), 1..4);
        prop_oneof![
            4 => (0_u8..4, places).prop_map(|(group, places)| Step::Commit(group, places)),
            1 => (0_u8..4).prop_map(Step::Delete),
            1 => prop::collection::vec(0_u32..6, 1..3).prop_map(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn the_amount_is_that_of_what_is_held(steps in prop::collection::vec(step(), 1..40)) {
            let mut groups = Groups::default();
            for step in steps {
                match step {
                    Step::Commit(group, places) => {
                        let (name, commits) = (group.to_string(), commits(&places));
                        let before = groups.clone();
                        let at_most = groups.amount().plus(groups.growth(&name, &commits));
                        groups.commit(&name, TimestampMs(0), &commits);
                        prop_assert_eq!(groups.amount().commits, at_most.commits);
                        prop_assert!(groups.amount().metadata_bytes <= at_most.metadata_bytes);
                        let again = groups.growth(&name, &commits);
                        prop_assert_eq!(again, Amount::default(), "what is there already: {:?}", before);
                    }
                    Step::Delete(group) => groups.delete(&group.to_string()),
                    Step::Forget(partitions) => {
                        let numbers: Vec<_> = partitions.into_iter().map(PartitionNumber).collect();
                        groups.forget(&numbers);
                    }
                }
                prop_assert_eq!(groups.amount(), counted(&groups));
                let mut copied = Groups::default();
                for (name, offsets) in groups.iter() {
                    prop_assert!(copied.insert(name.to_owned(), offsets.clone()));
                    prop_assert!(!copied.insert(name.to_owned(), offsets.clone()));
                }
                prop_assert_eq!(&copied, &groups);
            }
        }
    }
}

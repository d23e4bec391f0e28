//! How far a consumer has got in its partitions, and what it fetches next. Pure.

use std::collections::{BTreeMap, BTreeSet};

use storage::offset::Offset;

use crate::protocol::fetch::{FetchPartition, FetchRequest};

/// One partition of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Index within the topic.
    pub partition: u32,
    /// Next offset to fetch.
    pub next: Offset,
    /// Where to stop (exclusive); `None` to go on for ever.
    pub end: Option<Offset>,
}

impl Position {
    /// Returns whether everything that was wanted has been fetched.
    pub(super) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// Leaves out what was named before: two positions in one partition would hand out its records twice.
pub(super) fn distinct(partitions: Vec<u32>) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let first = partitions
        .into_iter()
        .filter(|partition| seen.insert(*partition));
    first.collect()
}

/// Moves what was consumed of a partition up to `next`, and never back: what was committed for a group would be read again.
pub(super) fn rise(consumed: &mut BTreeMap<u32, Offset>, partition: u32, next: Offset) {
    let reached = consumed.entry(partition).or_insert(next);
    *reached = next.max(*reached);
}

/// How much to fetch, and how long to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchRules {
    pub partition_bytes_max: u32,
    pub bytes_min: u32,
    pub bytes_max: u32,
    pub wait_ms_max: u32,
}

/// Makes the next fetch, `None` when all partitions are done. The partitions take turns in being first: the broker fills
/// its answer from the front.
pub(super) fn next_fetch(
    topic: &str,
    positions: &mut [Position],
    rules: FetchRules,
) -> Option<FetchRequest> {
    if positions.len() > 1 {
        positions.rotate_left(1);
    }
    let open = positions.iter().filter(|position| !position.is_done());
    let partitions: Vec<_> = open
        .map(|position| FetchPartition {
            topic: topic.to_owned(),
            partition: position.partition,
            offset: position.next,
            bytes_max: rules.partition_bytes_max,
        })
        .collect();
    if partitions.is_empty() {
        return None;
    }
    Some(FetchRequest {
        partitions,
        bytes_min: rules.bytes_min,
        bytes_max: rules.bytes_max,
        wait_ms_max: rules.wait_ms_max,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    const RULES: FetchRules = FetchRules {
        partition_bytes_max: 1,
        bytes_min: 2,
        bytes_max: 3,
        wait_ms_max: 4,
    };

    fn position(partition: u32, next: u64, end: Option<u64>) -> Position {
        Position {
            partition,
            next: Offset(next),
            end: end.map(Offset),
        }
    }

    #[test]
    fn partitions_take_turns_in_being_first() {
        let mut positions = [position(0, 0, None), position(1, 0, None)];
        let first = |request: FetchRequest| request.partitions.first().unwrap().partition;
        let a = first(next_fetch("t", &mut positions, RULES).unwrap());
        let b = first(next_fetch("t", &mut positions, RULES).unwrap());
        assert_ne!(a, b);
    }

    #[test]
    fn what_was_consumed_only_rises() {
        let mut consumed = BTreeMap::new();
        for (next, reached) in [(5, 5), (7, 7), (6, 7)] {
            rise(&mut consumed, 3, Offset(next));
            assert_eq!(consumed, BTreeMap::from([(3, Offset(reached))]));
        }
    }

    #[test]
    fn partitions_at_their_end_are_not_fetched() {
        let mut positions = [position(0, 5, Some(5)), position(1, 4, Some(5))];
        let request = next_fetch("t", &mut positions, RULES).unwrap();
        let asked: Vec<_> = request.partitions.iter().map(|p| p.partition).collect();
        assert_eq!(asked, [1]);
        for position in &mut positions {
            position.next = Offset(5);
        }
        assert_eq!(next_fetch("t", &mut positions, RULES), None);
    }
}

//! What holds for any entry.

use proptest::prelude::*;

use super::{fold, gap, numbers};
use crate::control::push::tests::any_push_entry;
use crate::control::*;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

fn any_settings() -> impl Strategy<Value = TopicSettings> {
    let limits = (any::<u32>(), any::<i64>(), any::<u32>(), any::<u32>());
    let retention = (any::<Option<i64>>(), any::<Option<u64>>());
    (limits, retention.clone(), retention).prop_map(|(limits, main, dead)| TopicSettings {
        durability: Durability::Synced,
        segment_bytes: limits.0,
        segment_ms: limits.1,
        retention_ms: main.0,
        retention_bytes: main.1,
        dead_letter_retention_ms: dead.0,
        dead_letter_retention_bytes: dead.1,
        record_bytes_max: limits.2,
        batch_bytes_max: limits.3,
    })
}

/// Any entry that refers to few names and numbers, so that many apply.
fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![any_log_entry(), any_push_entry()]
}

fn any_log_entry() -> impl Strategy<Value = Entry> {
    let name = || "[ab\u{e9}]";
    let fresh = || prop::collection::vec(1..40_u32, 1..3).prop_map(|n| numbers(&n));
    let commit =
        (1..20_u32, any::<u64>(), ".{0,4}").prop_map(|(partition, offset, metadata)| Commit {
            partition: PartitionNumber(partition),
            offset: Offset(offset),
            metadata,
        });
    let commits = prop::collection::vec(commit, 1..3);
    prop_oneof![
        (name(), any_settings(), fresh()).prop_map(|(name, settings, partitions)| {
            Entry::TopicCreated {
                name,
                settings,
                partitions,
            }
        }),
        (name(), any_settings())
            .prop_map(|(name, settings)| Entry::TopicAltered { name, settings }),
        (name(), fresh())
            .prop_map(|(name, partitions)| Entry::PartitionsAdded { name, partitions }),
        name().prop_map(|name| Entry::TopicDeleted { name }),
        (0..5_000_u64, 1..100_u32)
            .prop_map(|(first, count)| Entry::ProducerIdBlock { first, count }),
        (name(), any::<i64>(), commits).prop_map(|(group, time, commits)| {
            let time = TimestampMs(time);
            Entry::OffsetsCommitted {
                group,
                time,
                commits,
            }
        }),
        name().prop_map(|group| Entry::GroupDeleted { group }),
        (1..20_u32, 0..50_u64, 1..20_u64).prop_map(|(partition, from, n)| gap(
            partition,
            from,
            from + n
        )),
    ]
}

proptest! {
    #[test]
    fn any_entry_comes_back_as_it_was(entry in any_entry()) {
        prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_entry(
        entry in any_entry(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = entry.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Entry::decode(&bytes) {
            prop_assert_ne!(&other, &entry);
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn the_fold_from_a_snapshot_is_the_fold_from_the_start(
        entries in prop::collection::vec(any_entry(), 0..80), cut in any::<prop::sample::Index>(),
    ) {
        let mut state = ControlState::default();
        let mut accepted = Vec::new();
        for entry in entries {
            let before = state.clone();
            if state.apply(&entry).is_ok() {
                accepted.push(entry);
            } else {
                prop_assert_eq!(&state, &before);
            }
        }
        let cut = cut.index(accepted.len() + 1);
        let mut from_snapshot = fold(&accepted[..cut]).snapshot();
        from_snapshot.extend_from_slice(&accepted[cut..]);
        prop_assert_eq!(fold(&from_snapshot), state.clone());
        // Equal states have equal bytes, however they came about.
        prop_assert_eq!(fold(&from_snapshot).snapshot(), state.snapshot());
    }
}

//! What entries add up to.

use super::{
    added, altered, committed, created, deleted, fold, gap, numbers, samples, short_lived,
};
use crate::batch::header::NO_PRODUCER;
use crate::control::*;
use crate::limits::{
    COMMIT_METADATA_BYTES_MAX, COMMITS_METADATA_BYTES_MAX, SNAPSHOT_PART_BYTES_MAX,
};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

#[test]
fn the_fold_knows_topics_partitions_groups_and_gaps() {
    let state = fold(&samples()[..8]);
    assert_eq!(
        state.topics().map(|(n, _)| n).collect::<Vec<_>>(),
        ["flights", "other"]
    );
    let flights = state.topic("flights").unwrap();
    assert_eq!(flights.partitions, numbers(&[1, 2, 3]));
    assert_eq!(flights.settings, short_lived());
    assert_eq!(state.partition(PartitionNumber(3)), Some(("flights", 2)));
    assert_eq!(state.partition(PartitionNumber(5)), None);
    assert_eq!(state.partition_count(), 4);
    assert_eq!(state.next_partitions(2), Some(numbers(&[5, 6])));
    assert_eq!(state.next_producer_id(), 1_000);
    let billing = state.group("billing").unwrap();
    assert_eq!(billing[&PartitionNumber(1)].offset, Offset(10));
    assert_eq!(billing[&PartitionNumber(1)].metadata, "at 10");
    assert_eq!(
        state.groups_of_topic("flights").collect::<Vec<_>>(),
        ["billing"]
    );
    assert_eq!(
        state.groups_of_topic("other").collect::<Vec<_>>(),
        ["audit", "billing"]
    );
    assert_eq!(state.gaps().count(), 1);
}

#[test]
fn a_deleted_topic_takes_its_commits_and_gaps_along_and_its_numbers_stay_used() {
    let mut state = fold(&samples()[..8]);
    state.apply(&deleted("other")).unwrap();
    assert_eq!(state.group("audit"), None, "it committed nowhere else");
    assert_eq!(state.group("billing").unwrap().len(), 1);
    state.apply(&deleted("flights")).unwrap();
    assert_eq!(state.gaps().count(), 0);
    assert_eq!(state.groups().len(), 0);
    assert_eq!(state.partition_count(), 0);
    assert_eq!(state.next_partition(), PartitionNumber(5));
    assert!(state.apply(&created("flights", &[4])).is_err());
    state.apply(&created("flights", &[5])).unwrap();
}

/// Checks that each entry is refused, in these words, and changes nothing.
fn assert_refused<const N: usize>(cases: [(Entry, &str); N]) {
    let mut state = fold(&samples()[..8]);
    let before = state.clone();
    for (entry, told) in cases {
        let refusal = state.apply(&entry).unwrap_err();
        assert!(
            refusal.to_string().starts_with(told),
            "{refusal}, not {told}"
        );
        assert_eq!(state.check(&entry), Err(refusal));
        assert_eq!(state, before, "after {entry:?}");
    }
}

#[test]
fn topics_that_contradict_the_state_are_refused_and_change_nothing() {
    let written = TopicSettings {
        durability: Durability::Written,
        ..TopicSettings::default()
    };
    assert_refused([
        (created("flights", &[5]), "the topic flights exists already"),
        (
            created("new", &[3]),
            "the partition number is 3, it must be 5 to 4294967294",
        ),
        (
            created("new", &[6, 5]),
            "the partition number is 5, it must be 7 to 4294967294",
        ),
        (
            created("new", &[5, 5]),
            "the partition number is 5, it must be 6 to 4294967294",
        ),
        (
            created("new", &[u32::MAX]),
            "the partition number is 4294967295, it must be 5 to",
        ),
        (
            created("new", &[]),
            "the number of new partitions would be 0, it must be 1 to",
        ),
        (altered("no", written), "there is no topic no"),
        (
            altered("other", written),
            "the durability of topic other is fixed",
        ),
        (added("no", &[5]), "there is no topic no"),
        (
            added("other", &[4]),
            "the partition number is 4, it must be 5 to",
        ),
        (deleted("no"), "there is no topic no"),
    ]);
}

#[test]
fn other_entries_that_contradict_the_state_are_refused_and_change_nothing() {
    let block = |first, count| Entry::ProducerIdBlock { first, count };
    let part = |index, count| {
        Entry::Snapshot(SnapshotPart {
            index,
            count,
            state_crc: 1,
            bytes: Vec::new(),
        })
    };
    let group = "nobody".to_owned();
    assert_refused([
        (
            block(999, 1),
            "the first producer id is 999, it must be 1000 to",
        ),
        (
            block(NO_PRODUCER - 1, 2),
            "the first producer id is 18446744073709551614, it must",
        ),
        (
            block(1_000, 0),
            "the number of producer ids would be 0, it must be 1 to",
        ),
        (
            committed("g", &[(1, 1), (9, 1)]),
            "no topic has a partition with number 9",
        ),
        (committed("g", &[]), "the number of commits would be 0"),
        (Entry::GroupDeleted { group }, "there is no group nobody"),
        (gap(9, 1, 2), "no topic has a partition with number 9"),
        (gap(1, 2, 2), "the start of the gap is 2, it must be 0 to 1"),
        (gap(1, 0, 0), "the end of the gap is 0, it must be 1 to"),
        (
            gap(1, u64::MAX, u64::MAX),
            "the start of the gap is 18446744073709551615, it must",
        ),
        (part(1, 2), "the snapshot does not decode"),
        (part(0, 0), "the snapshot does not decode"),
        (part(0, 1), "the snapshot does not decode"),
    ]);
}

#[test]
fn limits_hold_for_what_is_asked_and_not_for_what_stands_in_the_log() {
    let state = fold(&samples()[..8]);
    let long = "x".repeat(250);
    let tiny = TopicSettings {
        segment_bytes: 1,
        ..TopicSettings::default()
    };
    let many: Vec<u32> = (5..10_006).collect();
    let mut chatty = committed("g", &[(1, 1)]);
    if let Entry::OffsetsCommitted { commits, .. } = &mut chatty {
        commits[0].metadata = "x".repeat(4_097);
    }
    for (entry, told) in [
        (
            created(&long, &[5]),
            "the length of the topic's name would be 250, it must be 1 to 249",
        ),
        (
            altered("other", tiny),
            "segment_bytes is 1, it must be 4096 to 1073741824 bytes",
        ),
        (
            committed(&long, &[(1, 1)]),
            "the length of the group's name would be 250",
        ),
        (
            chatty,
            "the length of a commit's metadata would be 4097, it must be 1 to 4096",
        ),
        (
            added("flights", &many),
            "the number of the topic's partitions would be 10004",
        ),
    ] {
        let refusal = state.check(&entry).unwrap_err();
        assert!(refusal.to_string().starts_with(told), "{refusal}");
        state.clone().apply(&entry).unwrap();
    }
}

#[test]
fn gaps_that_overlap_or_touch_become_one() {
    let mut state = fold(&samples()[..3]);
    let ranges = |state: &ControlState| {
        let log = LogId::new(PartitionNumber(1), LogKind::Main);
        state
            .gaps_of(log)
            .map(|g| (g.from.0, g.to.0))
            .collect::<Vec<_>>()
    };
    for (from, to) in [(10, 20), (30, 40), (50, 60), (20, 25), (45, 46)] {
        state.apply(&gap(1, from, to)).unwrap();
    }
    assert_eq!(ranges(&state), [(10, 25), (30, 40), (45, 46), (50, 60)]);
    state.apply(&gap(1, 10, 20)).unwrap();
    assert_eq!(ranges(&state), [(10, 25), (30, 40), (45, 46), (50, 60)]);
    state.apply(&gap(1, 5, 45)).unwrap();
    assert_eq!(ranges(&state), [(5, 46), (50, 60)]);
    state.apply(&gap(1, 0, 100)).unwrap();
    assert_eq!(ranges(&state), [(0, 100)]);
}

/// A state whose snapshot has several parts.
fn large() -> ControlState {
    let mut state = fold(&[created("t", &[1])]);
    let metadata = "m".repeat(4_000);
    for n in 0..600 {
        let mut entry = committed(&format!("group-{n}"), &[(1, n)]);
        if let Entry::OffsetsCommitted { commits, .. } = &mut entry {
            commits[0].metadata.clone_from(&metadata);
        }
        state.apply(&entry).unwrap();
    }
    state
}

#[test]
fn a_snapshot_in_parts_counts_only_whole() {
    let state = large();
    let parts = state.snapshot();
    assert!(parts.len() > 3, "{} parts", parts.len());
    let part_max = usize::try_from(SNAPSHOT_PART_BYTES_MAX).unwrap() + 64;
    assert!(parts.iter().all(|part| part.encode().len() <= part_max));
    assert_eq!(fold(&parts), state);

    // The broker ended in the middle of the first; what follows counts, and then a whole one does.
    let other = created("other", &[1]);
    let mut entries = parts[..2].to_vec();
    entries.push(other.clone());
    assert_eq!(fold(&entries), fold(&[other]));
    entries.extend(parts[..2].to_vec());
    entries.extend(parts.clone());
    assert_eq!(fold(&entries), state);

    // Parts that do not belong together are damage.
    let mut mixed = fold(&parts[..1]);
    assert!(mixed.apply(&parts[2]).is_err());
    let Entry::Snapshot(mut wrong) = parts[1].clone() else {
        panic!("a snapshot is of parts");
    };
    wrong.state_crc ^= 1;
    assert!(mixed.apply(&Entry::Snapshot(wrong)).is_err());
}

type Change = fn(&mut TopicSettings);

#[test]
fn the_default_settings_and_the_edges_of_each_range_are_valid() {
    let defaults = TopicSettings::default();
    assert_eq!(defaults.validate(), Ok(()));
    assert_eq!(defaults.segment_bytes, 128 << 20);
    assert_eq!(defaults.retention_ms, Some(604_800_000));
    assert_eq!(defaults.dead_letter_retention_ms, Some(2_592_000_000));
    assert_eq!(short_lived().validate(), Ok(()));
    let wrong: [(&str, Change); 10] = [
        ("segment_bytes is 4095,", |s| s.segment_bytes = 4_095),
        ("segment_bytes is 1073741825,", |s| {
            s.segment_bytes = (1 << 30) + 1;
        }),
        ("segment_ms is 0, it must be 1 to 3162240000000 ms", |s| {
            s.segment_ms = 0;
        }),
        ("retention_ms is -1,", |s| s.retention_ms = Some(-1)),
        ("retention_bytes is 0,", |s| s.retention_bytes = Some(0)),
        ("dead_letter_retention_ms is 0,", |s| {
            s.dead_letter_retention_ms = Some(0);
        }),
        ("dead_letter_retention_bytes is 0,", |s| {
            s.dead_letter_retention_bytes = Some(0);
        }),
        ("record_bytes_max is 16777217,", |s| {
            s.record_bytes_max = (16 << 20) + 1;
        }),
        ("batch_bytes_max is 67108865,", |s| {
            s.batch_bytes_max = (64 << 20) + 1;
        }),
        (
            "batch_bytes_max is 1048576, it must be at least 1050720: a record may have",
            |s| {
                s.batch_bytes_max = 1 << 20;
            },
        ),
    ];
    for (told, change) in wrong {
        let mut settings = TopicSettings::default();
        change(&mut settings);
        let error = settings.validate().unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn what_all_groups_leave_with_their_commits_has_a_bound_and_less_is_never_refused() {
    let partitions: Vec<u32> = (1..=1_000).collect();
    let mut state = fold(&[created("t", &partitions)]);
    let commit = |group: usize, count: usize, length: usize| Entry::OffsetsCommitted {
        group: format!("g{group}"),
        time: TimestampMs(0),
        commits: partitions[..count]
            .iter()
            .map(|partition| Commit {
                partition: PartitionNumber(*partition),
                offset: Offset(1),
                metadata: "m".repeat(length),
            })
            .collect(),
    };
    let longest = usize::try_from(COMMIT_METADATA_BYTES_MAX).unwrap();
    let full = usize::try_from(COMMITS_METADATA_BYTES_MAX).unwrap() / longest;
    for group in 0..full / 1_000 {
        state.check(&commit(group, 1_000, longest)).unwrap();
        state.apply(&commit(group, 1_000, longest)).unwrap();
    }
    let last = commit(99, full % 1_000, longest);
    state.check(&last).unwrap();
    state.apply(&last).unwrap();
    let refusal = state.check(&commit(98, 1, 1)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the length of the metadata of all committed offsets would be 67108865, it must be at most 67108864"
    );
    for entry in [
        commit(98, 1, 0),
        commit(99, full % 1_000, longest),
        commit(0, 1_000, 1),
    ] {
        state.check(&entry).unwrap();
    }
}

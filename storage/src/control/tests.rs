//! Tests of control entries and of what they add up to.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::fmt::Write as _;

use proptest::prelude::*;

use super::entry::{ENTRY_KIND_MAX, ENTRY_VERSION};
use super::push::tests::any_push_entry;
use super::*;
use crate::batch::header::NO_PRODUCER;
use crate::limits::{SEGMENT_BYTES_MIN, SNAPSHOT_PART_BYTES_MAX};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

fn numbers(numbers: &[u32]) -> Vec<PartitionNumber> {
    numbers.iter().copied().map(PartitionNumber).collect()
}

fn created(name: &str, partitions: &[u32]) -> Entry {
    Entry::TopicCreated {
        name: name.to_owned(),
        settings: TopicSettings::default(),
        partitions: numbers(partitions),
    }
}

fn added(name: &str, partitions: &[u32]) -> Entry {
    Entry::PartitionsAdded {
        name: name.to_owned(),
        partitions: numbers(partitions),
    }
}

fn altered(name: &str, settings: TopicSettings) -> Entry {
    let name = name.to_owned();
    Entry::TopicAltered { name, settings }
}

fn deleted(name: &str) -> Entry {
    Entry::TopicDeleted {
        name: name.to_owned(),
    }
}

fn committed(group: &str, commits: &[(u32, u64)]) -> Entry {
    Entry::OffsetsCommitted {
        group: group.to_owned(),
        time: TimestampMs(1_700_000_000_000),
        commits: commits
            .iter()
            .map(|(partition, offset)| Commit {
                partition: PartitionNumber(*partition),
                offset: Offset(*offset),
                metadata: format!("at {offset}"),
            })
            .collect(),
    }
}

fn gap(partition: u32, from: u64, to: u64) -> Entry {
    Entry::Gap(Gap {
        log: LogId::new(PartitionNumber(partition), LogKind::Main),
        from: Offset(from),
        to: Offset(to),
    })
}

fn short_lived() -> TopicSettings {
    TopicSettings {
        segment_bytes: SEGMENT_BYTES_MIN,
        retention_ms: None,
        retention_bytes: Some(8 << 20),
        dead_letter_retention_ms: None,
        dead_letter_retention_bytes: Some(1),
        ..TopicSettings::default()
    }
}

/// One entry of each kind, in an order that applies.
fn samples() -> Vec<Entry> {
    vec![
        created("flights", &[1, 2]),
        altered("flights", short_lived()),
        added("flights", &[3]),
        created("other", &[4]),
        Entry::ProducerIdBlock {
            first: 0,
            count: 1_000,
        },
        committed("billing", &[(1, 10), (4, u64::MAX)]),
        committed("audit", &[(4, 0)]),
        gap(2, 5, 9),
        Entry::GroupDeleted {
            group: "audit".to_owned(),
        },
        deleted("other"),
        Entry::Snapshot(SnapshotPart {
            index: 0,
            count: 2,
            state_crc: 0xDEAD_BEEF,
            bytes: vec![1, 2, 3],
        }),
    ]
}

/// Compares encodings with those of a file, a line each; with `REDRIVE_WRITE_GOLDEN` set, the file is written anew.
pub(super) fn assert_golden(name: &str, encoded: &[Vec<u8>]) {
    let path: std::path::PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name]
        .iter()
        .collect();
    let mut found = String::new();
    for bytes in encoded {
        for byte in bytes {
            write!(found, "{byte:02x}").unwrap();
        }
        found.push('\n');
    }
    if std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}");
}

pub(super) fn fold(entries: &[Entry]) -> ControlState {
    let mut state = ControlState::default();
    for entry in entries {
        state.apply(entry).unwrap();
    }
    state
}

#[test]
fn the_encodings_are_the_golden_ones() {
    let encoded: Vec<_> = samples().iter().map(Entry::encode).collect();
    assert_golden("control-v1.hex", &encoded);
}

#[test]
fn a_state_that_an_earlier_program_wrote_is_the_same_state() {
    const WRITTEN: &str = include_str!("../../tests/fixtures/control-state-v1.hex");
    let digits = WRITTEN.trim_end().as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let part = Entry::decode(&bytes).unwrap();
    let Entry::Snapshot(held) = &part else {
        panic!("{part:?} is not a snapshot");
    };
    assert_eq!(held.bytes[0], 1, "version");
    let state = fold(&[part]);
    assert_eq!(state, fold(&samples()[..8]));
    // What it says is written in the present version from now on.
    assert_eq!(fold(&state.snapshot()), state);
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for (entry, kind) in samples().iter().zip([1, 2, 3, 1, 5, 6, 6, 8, 7, 4, 9]) {
        assert_eq!(entry.kind(), kind);
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(entry));
    }
}

#[test]
fn truncated_at_every_byte_is_an_error_and_so_is_a_byte_more() {
    for entry in samples() {
        let mut bytes = entry.encode();
        for end in 0..bytes.len() {
            assert!(
                Entry::decode(&bytes[..end]).is_err(),
                "{entry:?} cut at {end}"
            );
        }
        bytes.push(0);
        assert!(Entry::decode(&bytes).is_err(), "{entry:?} with a byte more");
    }
}

#[test]
fn unknown_kinds_and_versions_are_refused_with_both_numbers() {
    for found in [0, ENTRY_KIND_MAX + 1, 255] {
        let known = ENTRY_KIND_MAX;
        let expected = Err(EntryError::UnknownKind { found, known });
        assert_eq!(Entry::decode(&[found, 1]), expected);
    }
    for found in [0, 2] {
        let (kind, known) = (4, ENTRY_VERSION);
        let expected = EntryError::UnknownVersion { kind, found, known };
        let told = "the control entry of kind 4 has version ";
        assert_eq!(
            expected.to_string(),
            format!("{told}{found}, this program knows 1")
        );
        assert_eq!(Entry::decode(&[kind, found]), Err(expected));
    }
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_allocated() {
    for kind in 1..=ENTRY_KIND_MAX {
        for filler in [0x00, 0x01, 0x7F, 0xFF] {
            let mut bytes = vec![kind, ENTRY_VERSION];
            bytes.extend([filler; 40]);
            // Decodes or does not; a length of 4 GiB that was believed would end the test.
            if let Ok(entry) = Entry::decode(&bytes) {
                assert_eq!(entry.encode(), bytes);
            }
        }
    }
    let mut bytes = vec![3, ENTRY_VERSION, 0, 0, 0, 0];
    bytes.extend(u32::MAX.to_be_bytes());
    assert_eq!(
        Entry::decode(&bytes).unwrap_err(),
        EntryError::Corrupt(crate::error::Corruption::Truncated {
            part: "control entry",
            needed: u64::from(u32::MAX) * 4,
            available: 0,
        })
    );
}

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

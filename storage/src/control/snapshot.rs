//! The bytes of a whole [`ControlState`], cut into parts that fit in records.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | state version | 1 | u8 | [`STATE_VERSION`]; version 1, which ends with the gaps, is still read |
//! | next partition number | 4 | u32 | |
//! | next producer id | 8 | u64 | |
//! | topics | | list | name text, settings, partition numbers list of u32; by name |
//! | groups | | list | name text, list of (partition u32, offset u64, commit time i64, metadata text); by name, partition |
//! | gaps | | list | as in a gap entry; by log, offset |
//! | push | | | from version 2 on: the lists of [`super::push`] |
//!
//! Texts and lists are those of [`super::entry`]. Names, partitions and gaps stand in rising order, so that equal states
//! have equal bytes.

use super::entry::{Gap, decode_partitions, encode_partitions};
use super::fields::{Fields, Output};
use super::groups::{Committed, GroupOffsets};
use super::push::PushState;
use super::refusal::Refusal;
use super::settings::TopicSettings;
use super::snapshot_part::SnapshotPart;
use super::state::{ControlState, Topic};
use crate::checksum::crc32;
use crate::error::Corruption;
use crate::limits::SNAPSHOT_PART_BYTES_MAX;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// The version of the layout above.
pub(super) const STATE_VERSION: u8 = 2;
/// The version of states that end with the gaps.
const STATE_VERSION_WITHOUT_PUSH: u8 = 1;

/// Encodes the state and cuts it.
pub(super) fn parts(state: &ControlState) -> Vec<SnapshotPart> {
    let bytes = encode(state);
    let state_crc = crc32(&bytes);
    let part_bytes = usize::try_from(SNAPSHOT_PART_BYTES_MAX).unwrap_or(usize::MAX);
    let count = u32::try_from(bytes.len().div_ceil(part_bytes)).unwrap_or(u32::MAX);
    (0..count)
        .zip(bytes.chunks(part_bytes))
        .map(|(index, bytes)| SnapshotPart {
            index,
            count,
            state_crc,
            bytes: bytes.to_vec(),
        })
        .collect()
}

/// Checks that a part follows the ones before it. A first part may come at any time: what was begun before it counts for
/// nothing.
pub(super) fn check_part(before: &[SnapshotPart], part: &SnapshotPart) -> Result<(), Refusal> {
    let wrong = |field, value: u32| {
        Err(Refusal::Snapshot(Corruption::Field {
            field,
            value: u64::from(value),
        }))
    };
    if part.index >= part.count {
        return wrong("snapshot part count", part.count);
    }
    if part.index > 0 {
        let follows = before.last().is_some_and(|last| {
            last.index.checked_add(1) == Some(part.index)
                && last.count == part.count
                && last.state_crc == part.state_crc
        });
        if !follows {
            return wrong("snapshot part index", part.index);
        }
    }
    if part.index.checked_add(1) == Some(part.count) {
        let before = if part.index == 0 { &[][..] } else { before };
        assemble(before, part)?;
    }
    Ok(())
}

/// Decodes the state of a snapshot whose last part is `last`.
pub(super) fn assemble(
    before: &[SnapshotPart],
    last: &SnapshotPart,
) -> Result<ControlState, Corruption> {
    let bytes: Vec<u8> = before
        .iter()
        .chain([last])
        .flat_map(|part| part.bytes.iter().copied())
        .collect();
    let computed = crc32(&bytes);
    if computed != last.state_crc {
        return Err(Corruption::Checksum {
            part: "control snapshot",
            found: last.state_crc,
            computed,
        });
    }
    decode(&bytes)
}

fn encode(state: &ControlState) -> Vec<u8> {
    let mut out = Output::default();
    out.u8(STATE_VERSION);
    out.u32(state.next_partition.0);
    out.u64(state.next_producer_id);
    out.count(state.topics.len());
    for (name, topic) in &state.topics {
        out.text(name);
        topic.settings.encode(&mut out);
        encode_partitions(&mut out, &topic.partitions);
    }
    out.count(state.groups().len());
    for (name, offsets) in state.groups() {
        out.text(name);
        out.count(offsets.len());
        for (partition, committed) in offsets {
            out.u32(partition.0);
            out.u64(committed.offset.0);
            out.i64(committed.time.0);
            out.text(&committed.metadata);
        }
    }
    out.count(state.gaps().count());
    for gap in state.gaps() {
        gap.encode(&mut out);
    }
    state.push.encode(&mut out);
    out.0
}

fn decode(bytes: &[u8]) -> Result<ControlState, Corruption> {
    let mut fields = Fields::new("control snapshot", bytes);
    let version = fields.u8()?;
    if !(STATE_VERSION_WITHOUT_PUSH..=STATE_VERSION).contains(&version) {
        return Err(Corruption::Field {
            field: "control snapshot version",
            value: u64::from(version),
        });
    }
    let mut state = ControlState {
        next_partition: PartitionNumber(fields.u32()?),
        next_producer_id: fields.u64()?,
        ..ControlState::default()
    };
    for _ in 0..fields.count(4 + TopicSettings::ENCODED_BYTES_MIN + 4)? {
        let name = fields.text("topic")?;
        let topic = Topic {
            settings: TopicSettings::decode(&mut fields)?,
            partitions: decode_partitions(&mut fields)?,
        };
        for (index, number) in (0..).zip(&topic.partitions) {
            let place = (name.clone(), index);
            let is_new = state.by_number.insert(*number, place).is_none();
            check(
                is_new && *number < state.next_partition,
                "partition number",
                number.0,
            )?;
        }
        check(
            state.topics.insert(name, topic).is_none(),
            "repeated topic",
            1,
        )?;
    }
    for _ in 0..fields.count(4 + 4)? {
        let name = fields.text("group")?;
        let offsets = decode_offsets(&mut fields, &state)?;
        check(state.groups.insert(name, offsets), "repeated group", 1)?;
    }
    for _ in 0..fields.count(4 + 1 + 8 + 8)? {
        let gap = Gap::decode(&mut fields)?;
        check(gap.from < gap.to, "gap", gap.log.partition.0)?;
        state.add_gap(&gap);
    }
    if version > STATE_VERSION_WITHOUT_PUSH {
        state.push = PushState::decode(&mut fields)?;
    }
    fields.finish()?;
    Ok(state)
}

fn decode_offsets(
    fields: &mut Fields<'_>,
    state: &ControlState,
) -> Result<GroupOffsets, Corruption> {
    let mut offsets = GroupOffsets::new();
    for _ in 0..fields.count(4 + 8 + 8 + 4)? {
        let number = PartitionNumber(fields.u32()?);
        let committed = Committed {
            offset: Offset(fields.u64()?),
            time: TimestampMs(fields.i64()?),
            metadata: fields.text("metadata")?,
        };
        check(
            state.by_number.contains_key(&number),
            "partition of a commit",
            number.0,
        )?;
        check(
            offsets.insert(number, committed).is_none(),
            "repeated commit",
            number.0,
        )?;
    }
    Ok(offsets)
}

fn check(holds: bool, field: &'static str, value: u32) -> Result<(), Corruption> {
    if holds {
        return Ok(());
    }
    Err(Corruption::Field {
        field,
        value: u64::from(value),
    })
}

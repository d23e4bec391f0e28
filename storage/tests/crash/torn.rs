//! A torn tail told from damage, with the verdict known from how each tail was made.

use std::path::PathBuf;
use std::sync::Arc;

use storage::batch::header::BatchHeader;
use storage::checkpoint::LogCheckpoint;
use storage::disk::sim::SimDisk;
use storage::error::PoisonCause;
use storage::log::{Log, LogConfig};

use crate::broker::{DIR, NOW, batch, new_disk, place};

/// What recovery must say of a tail.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Whole,
    /// Cut behind so many batches.
    Torn(usize),
    /// Damaged from the batch with this number on, and never cut.
    Damaged(usize),
}

/// Groups of batches, each synced before the next one is written; the last group is not.
fn grouped(groups: &[usize]) -> (SimDisk, Vec<usize>, LogCheckpoint, PathBuf) {
    let disk = new_disk(21);
    let (mut log, _) = Log::open(
        place(Arc::new(disk.clone())),
        LogConfig::default(),
        None,
        NOW,
    )
    .unwrap();
    let (mut at, mut starts, mut hint) = (32, vec![32], log.checkpoint());
    for (number, count) in groups.iter().enumerate() {
        for _ in 0..*count {
            let mut bytes = batch(1, 300, at as u64);
            let header = BatchHeader::decode(&bytes).unwrap();
            log.append(&header, &mut bytes, NOW).unwrap();
            at += bytes.len();
            starts.push(at);
        }
        if number + 1 < groups.len() {
            log.begin_sync().unwrap().run().unwrap();
            hint = log.checkpoint();
        }
    }
    (
        disk,
        starts,
        hint,
        PathBuf::from(format!("{DIR}/{:020}.log", 0)),
    )
}

fn verdict(disk: &SimDisk, hint: Option<&LogCheckpoint>) -> Verdict {
    let (log, report) = Log::open(
        place(Arc::new(disk.clone())),
        LogConfig::default(),
        hint,
        NOW,
    )
    .unwrap();
    match (report.damage.first(), report.cut) {
        (Some(range), None) => {
            assert_eq!(log.poison(), Some(PoisonCause::Damaged));
            Verdict::Damaged(range.from.0 as usize)
        }
        (None, Some(cut)) => Verdict::Torn(cut.offset.0 as usize),
        (None, None) => Verdict::Whole,
        both => panic!("{both:?}"),
    }
}

#[test]
fn a_torn_tail_is_told_from_damage() {
    // Two batches are synced, then one, then three are written and not synced: 0 1 | 2 | 3 4 5.
    let (whole, starts, hint, path) = grouped(&[2, 1, 3]);
    let flipped = |batch: usize, byte: usize| {
        let disk = whole.snapshot();
        disk.flip_bit(&path, (starts[batch] + byte) as u64 * 8)
            .unwrap();
        disk
    };
    for byte in [0, 16, 84, 92, 200] {
        // The next group says that 0 and 1 were durable; the one behind it that 2 was; nobody says so of 3, 4 and 5.
        let expected = [0, 1, 2]
            .map(Verdict::Damaged)
            .into_iter()
            .chain([3, 4, 5].map(Verdict::Torn));
        for (batch, expected) in expected.enumerate() {
            assert_eq!(
                verdict(&flipped(batch, byte), None),
                expected,
                "batch {batch}, byte {byte}"
            );
        }
        for batch in [3, 4, 5] {
            assert_eq!(
                verdict(&flipped(batch, byte), Some(&hint)),
                Verdict::Torn(batch),
                "batch {batch}, byte {byte}"
            );
        }
    }
}

#[test]
fn a_tail_that_ends_early_or_in_other_bytes_is_told_from_damage() {
    let (whole, starts, hint, path) = grouped(&[2, 1, 3]);
    assert_eq!(verdict(&whole, None), Verdict::Whole);
    assert_eq!(verdict(&whole, Some(&hint)), Verdict::Whole);
    for (batch, [start, end]) in starts.windows(2).map(|w| [w[0], w[1]]).enumerate() {
        for bytes in [start, start + 1, start + 50, start + 96, end - 1] {
            let disk = whole.snapshot();
            disk.truncate_file(&path, bytes as u64).unwrap();
            let torn = if bytes == start {
                Verdict::Whole
            } else {
                Verdict::Torn(batch)
            };
            let with_hint = if batch < 3 {
                Verdict::Damaged(batch)
            } else {
                torn
            };
            assert_eq!(
                verdict(&disk.snapshot(), Some(&hint)),
                with_hint,
                "cut to {bytes}"
            );
            let torn = if bytes == start {
                Verdict::Whole
            } else {
                Verdict::Torn(batch)
            };
            assert_eq!(verdict(&disk, None), torn, "cut to {bytes}");
        }
    }
    for (tail, expected) in [
        (vec![0; 5000], Verdict::Whole),
        (vec![0xFF; 5], Verdict::Torn(6)),
        ([vec![0; 4000], vec![7]].concat(), Verdict::Torn(6)),
        (batch(1, 100, 1), Verdict::Torn(6)),
    ] {
        let disk = whole.snapshot();
        let mut bytes = disk.read_file(&path).unwrap();
        bytes.truncate(starts[6]);
        bytes.extend_from_slice(&tail);
        disk.write_file(&path, &bytes).unwrap();
        assert_eq!(
            verdict(&disk, None),
            expected,
            "{} bytes behind",
            tail.len()
        );
    }
}

#[test]
fn a_batch_in_the_place_of_another_breaks_the_chain() {
    // As when a disk gives back an older write of the same place: every batch verifies, and one is not what was there.
    let filled = |second: u64| {
        let disk = new_disk(23);
        let (mut log, _) = Log::open(
            place(Arc::new(disk.clone())),
            LogConfig::default(),
            None,
            NOW,
        )
        .unwrap();
        for number in [1, second, 3, 4, 5] {
            log.append_synced(&mut batch(1, 300, number), NOW).unwrap();
        }
        (disk, log.checkpoint())
    };
    let (disk, hint) = filled(2);
    let (other, _) = filled(99);
    let path = PathBuf::from(format!("{DIR}/{:020}.log", 0));
    let mut bytes = disk.read_file(&path).unwrap();
    let second = 32 + 396..32 + 2 * 396;
    bytes[second.clone()].copy_from_slice(&other.read_file(&path).unwrap()[second]);
    disk.write_file(&path, &bytes).unwrap();
    assert_eq!(verdict(&disk.snapshot(), None), Verdict::Damaged(2));
    assert_eq!(verdict(&disk, Some(&hint)), Verdict::Damaged(2));
}

#[test]
fn a_zeroed_first_block_of_a_segment_with_one_batch_is_reported() {
    let disk = new_disk(22);
    let (mut log, _) = Log::open(
        place(Arc::new(disk.clone())),
        LogConfig::default(),
        None,
        NOW,
    )
    .unwrap();
    log.append_synced(&mut batch(1, 900, 1), NOW).unwrap();
    let path = PathBuf::from(format!("{DIR}/{:020}.log", 0));
    let mut bytes = disk.read_file(&path).unwrap();
    bytes[..512].fill(0);
    disk.write_file(&path, &bytes).unwrap();
    assert_eq!(verdict(&disk.snapshot(), None), Verdict::Torn(0));
    assert_eq!(verdict(&disk, Some(&log.checkpoint())), Verdict::Damaged(0));
    assert_eq!(disk.read_file(&path).unwrap(), bytes);
}

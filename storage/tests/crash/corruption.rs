//! Damaged bytes: every flip, cut, swap and loss is detected or harmless, and no wrong byte is ever served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::batch::header::BatchHeader;
use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::disk::sim::SimDisk;
use storage::error::{LogError, PoisonCause};
use storage::log::{Log, LogConfig, ReadBound, RecoveryReport};
use storage::offset::Offset;

use crate::broker::{DIR, NOW, SLOTS, batch, new_disk, place};

const SECTOR: usize = 512;

/// A log of three segments with everything acknowledged, and its checkpoint.
struct Sample {
    disk: SimDisk,
    /// Every batch, whole, by its base offset.
    batches: BTreeMap<u64, Vec<u8>>,
    end: u64,
    segments: Vec<PathBuf>,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1100,
        ..LogConfig::default()
    }
}

fn sample() -> Sample {
    let disk = new_disk(20);
    let (mut log, _) = Log::open(place(Arc::new(disk.clone())), config(), None, NOW).unwrap();
    let mut batches = BTreeMap::new();
    for number in 0..17_u32 {
        let mut bytes = batch(1 + number % 3, 40 + number * 5, u64::from(number));
        let appended = log.append_synced(&mut bytes, NOW).unwrap();
        batches.insert(appended.base_offset.0, bytes);
    }
    let (mut store, _) = CheckpointStore::open(&disk, SLOTS.map(PathBuf::from)).unwrap();
    store.write(&[log.checkpoint()]).unwrap();
    let base = |segment: &storage::log::SegmentStats| {
        format!("{DIR}/{:020}.log", segment.base_offset.0).into()
    };
    let segments = log.reader().segments().iter().map(base).collect();
    let end = log.next_offset().0;
    Sample {
        disk,
        batches,
        end,
        segments,
    }
}

/// How a damaged log was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, counted together"
)]
struct Found {
    is_refused: bool,
    is_reported: bool,
    is_cut: bool,
    unreadable: u64,
    is_shorter: bool,
}

impl Sample {
    /// Opens a damaged copy, reads every offset, and compares.
    fn look(&self, disk: &SimDisk, with_checkpoint: bool, what: &str) -> Found {
        let hint = if with_checkpoint {
            checkpoint(disk, what)
        } else {
            None
        };
        let disk = Arc::new(disk.clone());
        match Log::open(place(disk), config(), hint.as_ref(), NOW) {
            Ok((log, report)) => self.read_all(&log, &report, what),
            Err(LogError::Corrupt { .. }) => Found {
                is_refused: true,
                ..Found::default()
            },
            Err(other) => panic!("{what}: {other:?}"),
        }
    }

    fn read_all(&self, log: &Log, report: &RecoveryReport, what: &str) -> Found {
        let reader = log.reader();
        let end = reader.log_end().0;
        let mut found = Found {
            is_reported: !report.damage.is_empty(),
            is_cut: report.cut.is_some(),
            is_shorter: end < self.end,
            ..Found::default()
        };
        for range in &report.damage {
            assert!(range.from <= range.to, "{what}: {range:?}");
        }
        for offset in reader.log_start().0..end.min(self.end) {
            match reader.read(Offset(offset), 1, ReadBound::HighWatermark) {
                Ok(bytes) => {
                    let (base, expected) = self.batches.range(..=offset).next_back().unwrap();
                    assert_eq!(
                        &bytes, expected,
                        "{what}: wrong bytes served at {offset} (batch {base})"
                    );
                }
                Err(LogError::Corrupt { from, to, .. }) => {
                    let holds = (from.0..to.0).contains(&offset);
                    assert!(
                        holds,
                        "{what}: {offset} is refused with the range {from} to {to}"
                    );
                    found.unreadable += 1;
                }
                Err(other) => panic!("{what}: {offset}: {other:?}"),
            }
        }
        found
    }

    fn files(&self) -> Vec<PathBuf> {
        self.disk
            .paths()
            .into_iter()
            .filter(|path| path.extension().is_some() || path.ends_with("0") || path.ends_with("1"))
            .collect()
    }

    fn last(&self) -> &Path {
        self.segments.last().unwrap()
    }
}

fn checkpoint(disk: &SimDisk, what: &str) -> Option<LogCheckpoint> {
    match CheckpointStore::open(disk, SLOTS.map(PathBuf::from)) {
        Ok((_, entries)) => entries.into_iter().next(),
        Err(error) => panic!("{what}: {error:?}"),
    }
}

/// Nothing may be lost in silence: what is not served is reported.
fn assert_detected(found: Found, what: &str) {
    let is_told = found.is_refused || found.is_reported || found.is_cut;
    assert!(
        is_told || !found.is_shorter,
        "{what}: shorter, and nobody says so: {found:?}"
    );
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    let sample = sample();
    let mut kinds: BTreeMap<Found, u64> = BTreeMap::new();
    for path in sample.files() {
        let bits = sample.disk.read_file(&path).unwrap().len() as u64 * 8;
        for bit in 0..bits {
            let disk = sample.disk.snapshot();
            disk.flip_bit(&path, bit).unwrap();
            // The checkpoint alone matters to itself; a log is opened with it and, for every third bit, without.
            for with_checkpoint in [true, false] {
                if !with_checkpoint && bit % 3 != 0 {
                    continue;
                }
                let what = format!(
                    "{}, bit {bit}, checkpoint {with_checkpoint}",
                    path.display()
                );
                let found = sample.look(&disk, with_checkpoint, &what);
                assert_detected(found, &what);
                let is_slot = path.starts_with("/data/checkpoints");
                assert!(
                    !found.is_shorter || !with_checkpoint || is_slot,
                    "{what}: {found:?}"
                );
                *kinds.entry(found).or_default() += 1;
            }
        }
    }
    eprintln!("{} flips: {kinds:?}", kinds.values().sum::<u64>());
}

#[test]
fn every_truncation_is_detected() {
    let sample = sample();
    for path in sample.files() {
        let len = sample.disk.read_file(&path).unwrap().len() as u64;
        for bytes in 0..len {
            let disk = sample.disk.snapshot();
            disk.truncate_file(&path, bytes).unwrap();
            let what = format!("{} cut to {bytes}", path.display());
            let found = sample.look(&disk, true, &what);
            assert_detected(found, &what);
            let is_slot = path.starts_with("/data/checkpoints");
            assert!(!found.is_shorter || is_slot, "{what}: {found:?}");
            // Without the checkpoint a shorter last segment is a shorter log; any other is damage.
            let found = sample.look(&disk, false, &what);
            if path != sample.last() {
                assert_detected(found, &what);
            }
        }
    }
}

#[test]
fn every_block_that_is_zeroed_or_swapped_is_detected() {
    let sample = sample();
    let blocks: Vec<(PathBuf, usize)> = sample
        .files()
        .into_iter()
        .flat_map(|path| {
            let len = sample.disk.read_file(&path).unwrap().len();
            (0..len).step_by(SECTOR).map(move |at| (path.clone(), at))
        })
        .collect();
    for (path, at) in &blocks {
        let mut changed = sample.disk.read_file(path).unwrap();
        let end = changed.len().min(at + SECTOR);
        changed[*at..end].fill(0);
        let disk = sample.disk.snapshot();
        disk.write_file(path, &changed).unwrap();
        look_both(
            &sample,
            &disk,
            &[path],
            &format!("{} zeroed at {at}", path.display()),
        );
        for (other, other_at) in &blocks {
            let disk = sample.disk.snapshot();
            let mut theirs = disk.read_file(other).unwrap();
            let mut ours = disk.read_file(path).unwrap();
            let count = SECTOR.min(theirs.len() - other_at).min(ours.len() - at);
            let block = theirs[*other_at..other_at + count].to_vec();
            theirs[*other_at..other_at + count].copy_from_slice(&ours[*at..at + count]);
            disk.write_file(other, &theirs).unwrap();
            if path == other {
                ours = theirs;
            }
            ours[*at..at + count].copy_from_slice(&block);
            disk.write_file(path, &ours).unwrap();
            let what = format!(
                "{} at {at} swapped with {} at {other_at}",
                path.display(),
                other.display()
            );
            look_both(&sample, &disk, &[path, other], &what);
        }
    }
}

/// With the checkpoint nothing is lost in silence, unless the checkpoint itself was changed.
fn look_both(sample: &Sample, disk: &SimDisk, changed: &[&PathBuf], what: &str) {
    let found = sample.look(&disk.snapshot(), true, what);
    assert_detected(found, what);
    if changed
        .iter()
        .all(|path| !path.starts_with("/data/checkpoints"))
    {
        assert!(!found.is_shorter, "{what}: {found:?}");
    }
    sample.look(&disk.snapshot(), false, what);
}

#[test]
fn segments_that_are_missing_doubled_swapped_or_empty_are_detected_and_never_destroyed() {
    let sample = sample();
    let contents: Vec<_> = sample
        .segments
        .iter()
        .map(|path| sample.disk.read_file(path).unwrap())
        .collect();
    let check = |disk: &SimDisk, kept: &[Vec<u8>], what: &str| {
        for with_checkpoint in [true, false] {
            let disk = disk.snapshot();
            let found = sample.look(&disk, with_checkpoint, what);
            let is_told = found.is_refused || found.is_reported || found.unreadable > 0;
            assert!(is_told || !with_checkpoint, "{what}: {found:?}");
            let left: Vec<_> = disk
                .paths()
                .iter()
                .map(|path| disk.read_file(path).unwrap())
                .collect();
            for bytes in kept {
                let whole =
                    |file: &Vec<u8>| file.len() >= bytes.len() && file[..bytes.len()] == bytes[..];
                assert!(
                    left.iter().any(whole),
                    "{what}, checkpoint {with_checkpoint}: bytes are gone"
                );
            }
        }
    };
    for (at, path) in sample.segments.iter().enumerate() {
        let disk = sample.disk.snapshot();
        disk.remove_file(path).unwrap();
        let kept: Vec<_> = (0..contents.len())
            .filter(|other| *other != at)
            .map(|other| contents[other].clone())
            .collect();
        check(&disk, &kept, &format!("segment {at} missing"));
        for name in [1, sample.end - 1, sample.end, sample.end + 50] {
            let to = PathBuf::from(format!("{DIR}/{name:020}.log"));
            if sample.segments.contains(&to) {
                continue;
            }
            let disk = disk.snapshot();
            disk.write_file(&to, &contents[at]).unwrap();
            check(&disk, &contents, &format!("segment {at} renamed to {name}"));
            disk.write_file(path, &contents[at]).unwrap();
            check(&disk, &contents, &format!("segment {at} doubled as {name}"));
        }
        let disk = sample.disk.snapshot();
        disk.truncate_file(path, 0).unwrap();
        check(&disk, &kept, &format!("segment {at} empty"));
        for (other, other_path) in sample.segments.iter().enumerate().skip(at + 1) {
            let disk = sample.disk.snapshot();
            disk.write_file(path, &contents[other]).unwrap();
            disk.write_file(other_path, &contents[at]).unwrap();
            check(
                &disk,
                &contents,
                &format!("segments {at} and {other} swapped"),
            );
        }
    }
}

#[test]
fn a_log_without_any_segment_is_refused_when_the_checkpoint_says_it_held_something() {
    let sample = sample();
    for path in &sample.segments {
        sample.disk.remove_file(path).unwrap();
    }
    let found = sample.look(&sample.disk, true, "all segments missing");
    assert!(found.is_refused, "{found:?}");
}

#[test]
fn a_zeroed_first_block_of_a_segment_with_one_batch_is_reported() {
    let disk = new_disk(22);
    let (mut log, _) = Log::open(place(Arc::new(disk.clone())), config(), None, NOW).unwrap();
    log.append_synced(&mut batch(1, 900, 1), NOW).unwrap();
    let path = PathBuf::from(format!("{DIR}/{:020}.log", 0));
    let mut bytes = disk.read_file(&path).unwrap();
    bytes[..SECTOR].fill(0);
    disk.write_file(&path, &bytes).unwrap();
    assert_eq!(verdict(&disk.snapshot(), None), Verdict::Torn(0));
    assert_eq!(verdict(&disk, Some(&log.checkpoint())), Verdict::Damaged(0));
    assert_eq!(disk.read_file(&path).unwrap(), bytes);
}

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

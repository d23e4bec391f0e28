//! Damaged bytes: every flip, cut, swap and loss is detected or harmless, and no wrong byte is ever served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::disk::sim::SimDisk;
use storage::error::LogError;
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
                let is_slot = path.starts_with("/data/.checkpoints");
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
            let is_slot = path.starts_with("/data/.checkpoints");
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
        .all(|path| !path.starts_with("/data/.checkpoints"))
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

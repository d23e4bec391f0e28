//! A segment header that does not verify: it is told from one that can be mended to one that cannot, and mended in place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::batch::Codec;
use storage::disk::Disk;
use storage::disk::sim::{SimDisk, Survival};
use storage::error::{Corruption, PoisonCause};
use storage::log_id::PartitionNumber;
use storage::repair::{Mended, RepairError, mend_headers};
use storage::segment::{SegmentHeader, Unproven};
use storage::verify::{Fault, Finding};

use crate::gaps::{open, plain, repair, segments};
use crate::sample::{MAIN, NUMBER};
use crate::{ROOT, files, is_segment, sim, verify};

const HEADER_BYTES: usize = 32;

fn try_mend(
    disk: &Arc<dyn Disk>,
    partition: Option<PartitionNumber>,
) -> Result<Mended, RepairError> {
    mend_headers(disk, Path::new(ROOT), ("test", 1), partition)
}

fn mend(disk: &SimDisk) -> Mended {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    try_mend(&shared, None).unwrap()
}

fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("old-header")
}

fn flipped(disk: &SimDisk, path: &Path, bits: &[u64]) -> SimDisk {
    let copy = disk.snapshot();
    for bit in bits {
        copy.flip_bit(path, *bit).unwrap();
    }
    copy
}

/// The one thing that is wrong, which is a header at the start of `path`.
fn only_header(disk: &SimDisk, path: &Path, what: &str) -> Finding {
    let mut findings = verify(disk).findings;
    assert_eq!(findings.len(), 1, "{what}: {findings:?}");
    let finding = findings.remove(0);
    assert_eq!(finding.path, path, "{what}");
    assert_eq!(finding.position.0, 0, "{what}");
    assert_eq!(finding.from, finding.to, "{what}: no offset is lost");
    assert!(finding.what.is_header(), "{what}: {}", finding.what);
    finding
}

#[test]
fn every_flipped_bit_of_a_header_that_was_used_is_mended_to_the_very_bytes() {
    let disk = sim();
    let files = files(&disk);
    let segments: Vec<_> = files.iter().filter(|(path, _)| is_segment(path)).collect();
    assert!(segments.len() >= 6);
    for (path, bytes) in segments {
        for bit in 0..HEADER_BYTES as u64 * 8 {
            let what = format!("{} bit {bit}", path.display());
            let damaged = flipped(&disk, path, &[bit]);
            let finding = only_header(&damaged, path, &what);
            let said = finding.what.to_string();
            assert!(said.ends_with("`repair` can mend it"), "{what}: {said}");
            let before = damaged.read_file(path).unwrap();
            let mended = mend(&damaged);
            assert_eq!(mended.left, vec![], "{what}");
            assert_eq!(mended.headers.len(), 1, "{what}");
            assert_eq!(mended.headers[0].path, *path, "{what}");
            assert_eq!(mended.headers[0].copy, copy_of(path), "{what}");
            assert_eq!(damaged.read_file(path).unwrap(), *bytes, "{what}");
            let kept = damaged.read_file(&copy_of(path)).unwrap();
            assert_eq!(kept, before[..HEADER_BYTES], "{what}");
            let report = verify(&damaged);
            assert_eq!((report.findings, report.notes), (vec![], vec![]), "{what}");
            assert_eq!(mend(&damaged), Mended::default(), "{what}, again");
        }
    }
}

#[test]
fn a_log_is_read_only_until_its_last_header_is_mended_and_then_goes_on() {
    let disk = plain();
    let (_, path) = segments(&disk, MAIN).pop().unwrap();
    let damaged = flipped(&disk, &path, &[130]);
    let bytes = damaged.read_file(&path).unwrap();
    let all: Vec<u64> = (0..60).collect();
    for _ in 0..2 {
        let opened = open(&damaged);
        let poison = opened.owner.lock().main().poison();
        assert_eq!(poison, Some(PoisonCause::Damaged));
        assert_eq!(opened.readable(), all, "what stands behind it is served");
    }
    assert_eq!(
        damaged.read_file(&path).unwrap(),
        bytes,
        "a start mends nothing"
    );
    mend(&damaged);
    // What was answered is on the disk.
    let disk = damaged.reboot(Survival::Nothing);
    let opened = open(&disk);
    assert_eq!(opened.owner.lock().main().poison(), None);
    assert_eq!(opened.report.main.damage, vec![]);
    assert_eq!(opened.readable(), all);
    assert_eq!(opened.produce(2, Codec::None).0, 60);
    drop(opened);
    assert_eq!(verify(&disk).findings, vec![]);
}

#[test]
fn a_control_log_that_cannot_be_opened_is_mended() {
    let disk = sim();
    let path = Path::new("/data/control/00000000000000000000.log");
    let before = open(&disk).readable();
    let damaged = flipped(&disk, path, &[77]);
    let shared: Arc<dyn Disk> = Arc::new(damaged.clone());
    let refused = storage::control::ControlLog::open(
        Arc::clone(&shared),
        Path::new(ROOT),
        None,
        crate::sample::NOW,
    );
    assert!(refused.is_err(), "a start does not mend it");
    assert_eq!(try_mend(&shared, Some(NUMBER)).unwrap().headers.len(), 1);
    assert_eq!(open(&damaged).readable(), before);
}

#[test]
fn a_header_whose_first_batch_is_lost_too_is_left_and_not_needed_once_that_is_given_up() {
    let disk = plain();
    for (base, path) in segments(&disk, MAIN) {
        // The magic of the first batch, and then all of the first sector.
        let magic = flipped(&disk, &path, &[8, HEADER_BYTES as u64 * 8]);
        let sector = disk.snapshot();
        let mut bytes = sector.read_file(&path).unwrap();
        bytes[..512].fill(0);
        sector.write_file(&path, &bytes).unwrap();
        for damaged in [magic, sector] {
            let bytes = damaged.read_file(&path).unwrap();
            let mended = mend(&damaged);
            assert_eq!(mended.headers, vec![]);
            assert_eq!(mended.left.len(), 1, "segment {base}");
            let Fault::HeaderUnproven { why, .. } = &mended.left[0].what else {
                panic!("segment {base}: {}", mended.left[0].what);
            };
            assert!(matches!(why, Unproven::FirstBatch(_)), "{why}");
            assert_eq!(damaged.read_file(&path).unwrap(), bytes);
            assert!(damaged.read_file(&copy_of(&path)).is_err());
            let findings = verify(&damaged).findings;
            let lost: Vec<_> = findings.iter().filter(|f| f.what.is_unreadable()).collect();
            assert_eq!(lost.len(), 1, "segment {base}: {findings:?}");
            repair(&damaged, MAIN, lost[0].from.0, lost[0].to.0).unwrap();
            assert_eq!(verify(&damaged).findings, vec![], "segment {base}");
            let opened = open(&damaged);
            assert_eq!(opened.owner.lock().main().poison(), None);
            let lost_count = usize::try_from(lost[0].to.0 - lost[0].from.0).unwrap();
            assert_eq!(opened.readable().len(), 60 - lost_count);
        }
    }
}

#[test]
fn a_beginning_that_a_start_keeps_though_nothing_says_that_it_was_durable_can_be_given_up() {
    given_up(|bytes| bytes[..100].fill(0));
}

#[test]
fn a_header_is_no_help_where_a_start_would_cut_what_stands_behind_the_first_batch() {
    let first_end = HEADER_BYTES + storage::batch::header::HEADER_BYTES;
    given_up(|bytes| {
        bytes[8] ^= 1;
        bytes[first_end + 2] ^= 1;
    });
}

/// Three batches that nothing but the header's damage keeps from being cut, the first of them damaged.
fn given_up(damage: impl FnOnce(&mut [u8])) {
    let disk = SimDisk::new(3);
    let opened = open(&disk);
    for _ in 0..3 {
        opened.write(2, Codec::None);
    }
    opened.sync();
    drop(opened);
    let (_, path) = segments(&disk, MAIN).pop().unwrap();
    let mut bytes = disk.read_file(&path).unwrap();
    damage(&mut bytes);
    disk.write_file(&path, &bytes).unwrap();
    // With a sound header the next start would take all of it for a torn tail.
    let mended = mend(&disk);
    assert_eq!((mended.headers.len(), mended.left.len()), (0, 1));
    assert_eq!(disk.read_file(&path).unwrap(), bytes);
    let opened = open(&disk);
    let poison = opened.owner.lock().main().poison();
    assert_eq!(poison, Some(PoisonCause::Damaged));
    drop(opened);
    assert!(repair(&disk, MAIN, 0, 4).is_err(), "the second can be read");
    repair(&disk, MAIN, 0, 2).unwrap();
    assert_eq!(verify(&disk).findings, vec![]);
    let opened = open(&disk);
    assert_eq!(opened.owner.lock().main().poison(), None);
    assert_eq!(opened.readable(), vec![2, 3, 4, 5]);
    assert_eq!(opened.produce(1, Codec::None).0, 6);
}

#[test]
fn what_a_power_cut_leaves_of_mending_has_either_header_and_the_copy_before_the_new_one() {
    let disk = plain();
    for (base, path) in segments(&disk, MAIN) {
        let damaged = flipped(&disk, &path, &[130]);
        let sound = disk.read_file(&path).unwrap();
        let old = damaged.read_file(&path).unwrap();
        let counted = damaged.snapshot();
        let (before, _) = (counted.op_count(), mend(&counted));
        assert!(counted.op_count() > before + 4);
        for op in before + 1..=counted.op_count() {
            for survival in [
                Survival::Nothing,
                Survival::Everything,
                Survival::Random(op),
            ] {
                let what = format!("segment {base}, cut at {op}, {survival:?}");
                let cut = damaged.snapshot();
                cut.cut_power_at(op);
                let shared: Arc<dyn Disk> = Arc::new(cut.clone());
                let result = try_mend(&shared, None);
                assert!(result.is_err(), "{what}");
                let cut = cut.reboot(survival);
                let found = cut.read_file(&path).unwrap();
                if found == sound {
                    let kept = cut.read_file(&copy_of(&path)).unwrap();
                    assert_eq!(kept, old[..HEADER_BYTES], "{what}");
                } else {
                    assert_eq!(found, old, "{what}");
                }
                mend(&cut);
                assert_eq!(cut.read_file(&path).unwrap(), sound, "{what}");
                assert_eq!(verify(&cut).findings, vec![], "{what}");
            }
        }
    }
}

#[test]
fn a_header_is_mended_also_where_only_the_records_of_the_first_batch_are_damaged() {
    let disk = plain();
    for (base, path) in segments(&disk, MAIN) {
        let bytes = disk.read_file(&path).unwrap();
        let damaged = flipped(&disk, &path, &[8, (HEADER_BYTES as u64 + 200) * 8]);
        assert_eq!(mend(&damaged).headers.len(), 1, "segment {base}");
        let mended = damaged.read_file(&path).unwrap();
        assert_eq!(mended[..HEADER_BYTES], bytes[..HEADER_BYTES]);
        let findings = verify(&damaged).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].from.0, findings[0].to.0), (base, base + 2));
    }
}

#[test]
fn a_header_that_verifies_is_left_as_it_is() {
    let disk = plain();
    let segments = segments(&disk, MAIN);
    for (at, (base, path)) in segments.iter().enumerate() {
        let mut header = SegmentHeader::decode(&disk.read_file(path).unwrap()).unwrap();
        header.base_offset.0 += 1;
        let moved = header.encode();
        header.base_offset.0 -= 1;
        header.log.partition.0 += 1;
        let of_another = header.encode();
        header.log.partition.0 -= 1;
        header.prev_header_crc ^= 1;
        for forged in [moved, of_another, header.encode()] {
            let damaged = disk.snapshot();
            let mut bytes = damaged.read_file(path).unwrap();
            bytes[..HEADER_BYTES].copy_from_slice(&forged);
            damaged.write_file(path, &bytes).unwrap();
            let mended = mend(&damaged);
            assert_eq!(mended.headers, vec![], "segment {base}");
            assert!(!mended.left.is_empty(), "segment {base}, {at}");
            let is_whole = |finding: &Finding| matches!(finding.what, Fault::Header(_));
            assert!(mended.left.iter().all(is_whole), "{:?}", mended.left);
            assert_eq!(damaged.read_file(path).unwrap(), bytes);
        }
    }
}

#[test]
fn a_file_of_another_place_whose_header_is_damaged_is_not_made_to_fit() {
    let disk = plain();
    let segments = segments(&disk, MAIN);
    let bytes = disk.read_file(&segments[1].1).unwrap();
    // Another segment of the same log under its name.
    let (_, path) = &segments[2];
    let damaged = disk.snapshot();
    damaged.write_file(path, &bytes).unwrap();
    damaged.flip_bit(path, 8).unwrap();
    let mended = mend(&damaged);
    assert_eq!(mended.headers, vec![]);
    let Fault::HeaderUnproven { why, .. } = &mended.left[0].what else {
        panic!("{}", mended.left[0].what);
    };
    assert!(
        matches!(why, Unproven::FirstBatch(Corruption::OffsetGap { .. })),
        "{why}"
    );
}

#[test]
fn a_segment_that_follows_another_batch_than_the_one_before_it_is_not_made_to_fit() {
    let disk = plain();
    let other = SimDisk::new(3);
    let opened = open(&other);
    for _ in 0..30 {
        opened.write(2, Codec::None);
    }
    opened.sync();
    drop(opened);
    let (base, path) = segments(&disk, MAIN)[1].clone();
    let damaged = disk.snapshot();
    damaged
        .write_file(&path, &other.read_file(&path).unwrap())
        .unwrap();
    damaged.flip_bit(&path, 8).unwrap();
    let bytes = damaged.read_file(&path).unwrap();
    let mended = mend(&damaged);
    assert_eq!(mended.headers, vec![]);
    let Fault::HeaderUnproven { why, .. } = &mended.left[0].what else {
        panic!("segment {base}: {}", mended.left[0].what);
    };
    assert!(matches!(why, Unproven::Neighbour(_)), "{why}");
    assert_eq!(damaged.read_file(&path).unwrap(), bytes);
}

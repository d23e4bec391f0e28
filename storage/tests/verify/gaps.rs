//! Giving ranges up, and what becomes of the log afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::batch::Codec;
use storage::disk::Disk;
use storage::disk::sim::{SimDisk, Survival};
use storage::log_id::{LogId, LogKind};
use storage::offset::Offset;
use storage::repair::{Repair, RepairError, Repaired};
use storage::segment::file_name::{self, FileKind};

use crate::sample::{LETTERS, MAIN, NOW, NUMBER, Open};
use crate::{ROOT, sim, verify};

pub(crate) fn repair(
    disk: &SimDisk,
    log: LogId,
    from: u64,
    to: u64,
) -> Result<Repaired, RepairError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let request = Repair {
        partition: NUMBER,
        kind: log.kind,
        from: Offset(from),
        to: Offset(to),
    };
    storage::repair::repair(&shared, Path::new(ROOT), ("test", 1), &request, NOW)
}

pub(crate) fn open(disk: &SimDisk) -> Open {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Open::new(&shared, Path::new(ROOT))
}

/// 30 batches of two records, and a checkpoint behind them.
pub(crate) fn plain() -> SimDisk {
    let disk = SimDisk::new(3);
    let open = open(&disk);
    for _ in 0..30 {
        open.produce(2, Codec::None);
    }
    open.checkpoint();
    drop(open);
    disk
}

pub(crate) fn segments(disk: &SimDisk, log: LogId) -> Vec<(u64, PathBuf)> {
    let dir = storage::data_dir::log_dir(Path::new(ROOT), log);
    let names = Disk::list(disk, &dir).unwrap();
    let parsed = names.iter().filter_map(|name| file_name::parse(&name.name));
    parsed
        .filter(|(_, kind)| *kind == FileKind::Log)
        .map(|(base, kind)| (base.0, file_name::path(&dir, base, kind)))
        .collect()
}

/// Gives up everything that cannot be read, and checks that the log goes on as if it had never been there.
fn give_up_all(disk: &SimDisk, what: &str) {
    let report = verify(disk);
    let lost: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.log == Some(MAIN) && finding.what.is_unreadable())
        .map(|finding| (finding.from.0, finding.to.0))
        .collect();
    assert!(!lost.is_empty(), "{what}: {report:?}");
    for (from, to) in &lost {
        repair(disk, MAIN, *from, *to).unwrap();
        // Again: nothing more is lost.
        assert_eq!(repair(disk, MAIN, *from, *to).unwrap().lost, vec![]);
    }
    assert_eq!(verify(disk).findings, vec![], "{what} after repair");
    let mut disk = disk.clone();
    let mut expected: Vec<u64> = (0..60)
        .filter(|offset| !lost.iter().any(|(from, to)| from <= offset && offset < to))
        .collect();
    for round in 0..3 {
        let opened = open(&disk);
        assert_eq!(opened.report.main.damage, vec![], "{what}, round {round}");
        assert_eq!(opened.owner.lock().main().poison(), None, "{what}");
        assert_eq!(opened.readable(), expected, "{what}, round {round}");
        for _ in 0..12 {
            let base = opened.produce(2, Codec::None).0;
            assert!(base >= 60, "{what}: offset {base} was given out again");
            expected.extend([base, base + 1]);
        }
        if round == 1 {
            opened.checkpoint();
        }
        drop(opened);
        assert_eq!(verify(&disk).findings, vec![], "{what}, round {round}");
        disk = disk.reboot(Survival::Random(round));
        assert_eq!(verify(&disk).findings, vec![], "{what}, cut {round}");
    }
}

#[test]
fn any_damaged_batch_can_be_given_up() {
    let disk = plain();
    for (base, path) in segments(&disk, MAIN) {
        let bytes = disk.read_file(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for at in (40..used).step_by(used / 12) {
            let copy = disk.snapshot();
            copy.flip_bit(&path, at as u64 * 8).unwrap();
            give_up_all(&copy, &format!("segment {base} byte {at}"));
        }
    }
}

#[test]
fn a_missing_segment_can_be_given_up_first_middle_or_last() {
    let disk = plain();
    let segments = segments(&disk, MAIN);
    assert!(segments.len() >= 3);
    for (base, path) in &segments {
        let copy = disk.snapshot();
        copy.remove_file(path).unwrap();
        give_up_all(&copy, &format!("segment {base} missing"));
    }
    let copy = disk.snapshot();
    for (_, path) in &segments {
        copy.remove_file(path).unwrap();
    }
    give_up_all(&copy, "all segments missing");
}

#[test]
fn a_cut_or_wiped_segment_can_be_given_up() {
    let disk = plain();
    for (base, path) in segments(&disk, MAIN) {
        let bytes = disk.read_file(&path).unwrap();
        for keep in [0, 16, 32, 500, 1000] {
            let copy = disk.snapshot();
            copy.truncate_file(&path, keep).unwrap();
            give_up_all(&copy, &format!("segment {base} cut to {keep}"));
        }
        for wiped in [600, 1600, bytes.len()] {
            let mut wiped_bytes = bytes.clone();
            wiped_bytes[..wiped].fill(0);
            let copy = disk.snapshot();
            copy.write_file(&path, &wiped_bytes).unwrap();
            give_up_all(&copy, &format!("segment {base} wiped to {wiped}"));
        }
    }
}

#[test]
fn adjacent_ranges_are_given_up_one_after_the_other() {
    let disk = plain();
    let (_, path) = &segments(&disk, MAIN)[1];
    let batch = {
        let bytes = disk.read_file(path).unwrap();
        storage::batch::BatchHeader::decode(&bytes[32..])
            .unwrap()
            .length
    };
    for first in 0..2_u64 {
        let copy = disk.snapshot();
        for number in [1 + first, 2 - first] {
            let at = 32 + number * u64::from(batch) + 200;
            copy.flip_bit(path, at * 8).unwrap();
            if first == 1 || number == 1 {
                let report = verify(&copy);
                let finding = &report.findings[0];
                repair(&copy, MAIN, finding.from.0, finding.to.0).unwrap();
            }
        }
        let report = verify(&copy);
        for finding in &report.findings {
            repair(&copy, MAIN, finding.from.0, finding.to.0).unwrap();
        }
        assert_eq!(verify(&copy).findings, vec![], "first {first}");
        let opened = open(&copy);
        assert_eq!(opened.readable().len(), 56);
    }
}

#[test]
fn nothing_that_can_be_read_is_given_up() {
    let disk = plain();
    let (base, path) = segments(&disk, MAIN)[1].clone();
    disk.flip_bit(&path, (32 + 200) * 8).unwrap();
    let refused = repair(&disk, MAIN, base, base + 4).unwrap_err();
    assert!(
        matches!(refused, RepairError::NotDamaged { from, to, .. } if (from.0, to.0) == (base + 2, base + 4)),
        "{refused}"
    );
    let refused = repair(&disk, MAIN, base, base + 1).unwrap_err();
    assert!(
        matches!(refused, RepairError::Partial { from, to, .. } if (from.0, to.0) == (base, base + 2)),
        "{refused}"
    );
    let refused = repair(&disk, LogId::CONTROL, 0, 1).unwrap_err();
    assert!(matches!(refused, RepairError::ControlLog), "{refused}");
    assert!(repair(&disk, MAIN, 1000, 1001).is_err());
    assert!(verify(&disk).findings.len() == 1);
}

#[test]
fn letters_whose_markers_are_lost_are_not_republished_again() {
    let disk = sim();
    open(&disk).checkpoint();
    let segments = segments(&disk, LETTERS);
    for (_, path) in &segments {
        let copy = disk.snapshot();
        let before = open(&copy).readable();
        copy.remove_file(path).unwrap();
        let report = verify(&copy);
        for finding in report.findings.iter().filter(|f| f.what.is_unreadable()) {
            assert_eq!(finding.log, Some(LETTERS));
            repair(&copy, LETTERS, finding.from.0, finding.to.0).unwrap();
        }
        let opened = open(&copy);
        assert_eq!(opened.report.dead_letters.damage, vec![]);
        assert_eq!(opened.readable(), before);
        drop(opened);
        assert_eq!(verify(&copy).findings, vec![], "{}", path.display());
    }
    assert_eq!(LETTERS.kind, LogKind::DeadLetter);
}

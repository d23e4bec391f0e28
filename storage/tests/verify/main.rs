//! Verification and repair: a sound directory has no finding, every single damage is found or harmless, nothing is written,
//! and what was given up stays given up.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod deliveries;
mod gaps;
mod headers;
mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sample::{LETTERS, MAIN, Open, fill};
use storage::batch::Codec;
use storage::disk::sim::{SimDisk, Survival};
use storage::disk::{Disk, RealDisk};
use storage::error::LogError;
use storage::verify::{Fault, Finding, Remark, VerifyOptions, VerifyReport};

const ROOT: &str = "/data";

fn sim() -> SimDisk {
    let disk = SimDisk::new(5);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    fill(&shared, Path::new(ROOT));
    disk
}

fn try_verify(disk: &SimDisk) -> Result<VerifyReport, LogError> {
    let before = disk.state_hash();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = storage::verify::verify(&shared, Path::new(ROOT), &VerifyOptions::default());
    assert_eq!(disk.state_hash(), before, "verify changed the disk");
    report
}

fn verify(disk: &SimDisk) -> VerifyReport {
    try_verify(disk).unwrap()
}

/// Every file, with its bytes.
fn files(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.paths().into_iter();
    files
        .filter_map(|path| Some((path.clone(), disk.read_file(&path).ok()?)))
        .collect()
}

/// Runs `change` on a copy of the disk.
fn changed(disk: &SimDisk, change: impl FnOnce(&SimDisk)) -> SimDisk {
    let copy = disk.snapshot();
    change(&copy);
    copy
}

#[test]
fn a_sound_directory_has_no_finding_and_everything_in_it_is_counted() {
    let disk = sim();
    let report = verify(&disk);
    assert_eq!(report.findings, vec![]);
    assert_eq!(report.notes, vec![]);
    assert_eq!(report.counts.partitions, 1);
    assert_eq!((report.counts.letters, report.counts.markers), (18, 10));
    assert!(report.counts.segments >= 6, "{:?}", report.counts);
    assert_eq!(report.in_use_by, None);
}

#[test]
fn a_fresh_and_an_empty_directory_have_no_finding() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    drop(Open::new(&shared, Path::new(ROOT)));
    assert_eq!(verify(&disk).findings, vec![]);
}

#[test]
fn a_directory_after_a_power_cut_has_no_finding() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let open = Open::new(&shared, Path::new(ROOT));
        open.checkpoint();
        for number in 0..8 {
            let offset = open.produce(1 + number % 3, Codec::None);
            let letter = open.reject(offset);
            open.republish(letter, number % 2 == 0);
        }
        drop(open);
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::Random(seed),
        ] {
            let report = verify(&disk.reboot(survival));
            assert_eq!(report.findings, vec![], "seed {seed}, {survival:?}");
        }
    }
}

#[test]
fn markers_that_are_due_are_a_note() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = Open::new(&shared, Path::new(ROOT));
    let letter = open.reject(open.produce(1, Codec::None));
    open.republish(letter, false);
    drop(open);
    let report = verify(&disk);
    assert_eq!(report.findings, vec![]);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.what == Remark::MarkersDue { count: 1 }),
        "{:?}",
        report.notes
    );
}

#[test]
fn beside_a_broker_the_ends_are_left_out_and_it_says_so() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = Open::new(&shared, Path::new(ROOT));
    for _ in 0..40 {
        open.reject(open.produce(2, Codec::None));
    }
    let report = verify(&disk);
    assert_eq!(report.in_use_by.as_deref(), Some("test (pid 1)"));
    assert_eq!(report.findings, vec![]);
    let reader = open.owner.lock().main().reader();
    let sealed = reader.segments()[0];
    let path = storage::segment::file_name::path(
        &storage::data_dir::log_dir(Path::new(ROOT), MAIN),
        sealed.base_offset,
        storage::segment::file_name::FileKind::Log,
    );
    disk.flip_bit(&path, (32 + 300) * 8).unwrap();
    let report = verify(&disk);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].path, path);
}

fn is_hint(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".index") || name.ends_with(".facets") || name.contains("checkpoint")
}

/// Damage is found by file, or nothing that anybody reads depends on it.
fn assert_found(disk: &SimDisk, path: &Path, what: &str) {
    if path.ends_with("LOCK") {
        return;
    }
    let report = match try_verify(disk) {
        Err(LogError::UnknownVersion { path: named, .. }) => return assert_eq!(named, path),
        report => report.unwrap(),
    };
    if is_hint(path) {
        // Rebuilt, and said so; or it was of no use to begin with.
        let rebuilt = report.notes.iter().any(|note| note.path == path);
        let found = report.findings.iter().any(|finding| finding.path == path);
        assert!(rebuilt || found || report.is_clean(), "{what}: {report:?}");
        return;
    }
    let named = |finding: &Finding| finding.path == path;
    let is_tail = report
        .notes
        .iter()
        .any(|note| note.path == path && matches!(note.what, Remark::TornTail { .. }));
    assert!(
        report.findings.iter().any(named) || is_tail,
        "{what}: {:?}",
        report.findings
    );
}

#[test]
fn every_flipped_bit_is_found_or_harmless() {
    let disk = sim();
    for (path, bytes) in files(&disk) {
        if bytes.is_empty() {
            continue;
        }
        // Preallocated zeros behind the last batch are nobody's.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let step = (used / 150).max(1);
        for at in (0..=used).step_by(step) {
            let bit = (at * 8 + at % 8) as u64;
            let damaged = changed(&disk, |disk| disk.flip_bit(&path, bit).unwrap());
            assert_found(&damaged, &path, &format!("{} bit {bit}", path.display()));
        }
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

#[test]
fn a_cut_in_a_sealed_segment_is_found_with_the_offsets() {
    let disk = sim();
    let files = files(&disk);
    let segments: Vec<_> = files.iter().filter(|(path, _)| is_segment(path)).collect();
    for pair in segments.windows(2) {
        let (path, bytes) = pair[0];
        if path.parent() != pair[1].0.parent() {
            continue;
        }
        for keep in (0..bytes.len()).step_by(bytes.len() / 20) {
            let damaged = changed(&disk, |disk| {
                disk.truncate_file(path, keep as u64).unwrap();
            });
            let report = verify(&damaged);
            let lost = report
                .findings
                .iter()
                .find(|finding| finding.path == *path && finding.what.is_unreadable())
                .unwrap_or_else(|| panic!("{} cut to {keep}", path.display()));
            assert!(lost.from < lost.to);
        }
    }
}

#[test]
fn a_missing_or_swapped_segment_is_found() {
    let disk = sim();
    let segments: Vec<_> = files(&disk)
        .into_iter()
        .filter(|(path, _)| is_segment(path))
        .collect();
    for (path, _) in &segments {
        let damaged = changed(&disk, |disk| disk.remove_file(path).unwrap());
        let report = verify(&damaged);
        let is_last = !segments
            .iter()
            .any(|(other, _)| other.parent() == path.parent() && other > path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        let base: u64 = name.parse().unwrap();
        let found = report
            .findings
            .iter()
            .any(|finding| finding.what.is_unreadable() && finding.from.0 == base);
        // Of the last segment of a log only the checkpoint knows; what it does not know of is gone without a trace.
        assert!(found || is_last, "{}: {report:?}", path.display());
    }
    for pair in segments.windows(2) {
        let [(a, of_a), (b, of_b)] = pair else {
            unreachable!()
        };
        let damaged = changed(&disk, |disk| {
            disk.write_file(a, of_b).unwrap();
            disk.write_file(b, of_a).unwrap();
        });
        let report = verify(&damaged);
        for path in [a, b] {
            assert!(
                report.findings.iter().any(|finding| finding.path == *path),
                "{}: {report:?}",
                path.display()
            );
        }
    }
}

#[test]
fn a_copy_of_a_stopped_directory_is_a_backup() {
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("data"), temp.path().join("copy"));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    fill(&disk, &from);
    let copied = std::process::Command::new("cp")
        .args(["-r".as_ref(), from.as_os_str(), to.as_os_str()])
        .status()
        .unwrap();
    assert!(copied.success());
    for root in [&from, &to] {
        let report = storage::verify::verify(&disk, root, &VerifyOptions::default()).unwrap();
        assert_eq!(report.findings, vec![]);
        assert_eq!(report.counts.letters, 18);
    }
    assert_eq!(
        Open::new(&disk, &from).readable(),
        Open::new(&disk, &to).readable()
    );
}

#[test]
fn a_partition_that_was_never_given_out_is_found() {
    let disk = sim();
    let dir = Path::new("/data/0000000009/main/x");
    disk.write_file(dir, b"x").unwrap();
    let report = verify(&disk);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].what, Fault::UnknownPartition);
    assert_ne!(MAIN, LETTERS);
}

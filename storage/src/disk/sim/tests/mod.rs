//! The simulated disk loses what it may lose, keeps what it must keep, and is a plain disk while the power is on: `model`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod model;

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

const SECTOR: usize = SECTOR_BYTES;

fn root() -> &'static Path {
    Path::new("/")
}

fn file_path() -> &'static Path {
    Path::new("/file")
}

/// Makes a disk with one empty file whose name is durable.
fn disk_with_file() -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    let file = disk.open(file_path(), OpenMode::CreateNew).unwrap();
    disk.sync_dir(root(), Site::SegmentName).unwrap();
    (disk, file)
}

fn contents_after(disk: &SimDisk, survival: Survival) -> Vec<u8> {
    disk.reboot(survival).read_file(file_path()).unwrap()
}

fn random_survivals() -> impl Iterator<Item = Survival> {
    (0..400).map(Survival::Random)
}

#[test]
fn unsynced_bytes_vanish_and_synced_ones_stay() {
    let (disk, file) = disk_with_file();
    file.write_all_at(b"kept", 0).unwrap();
    file.sync(Site::Append).unwrap();
    file.write_all_at(b"lost", 4).unwrap();
    assert_eq!(contents_after(&disk, Survival::Nothing), b"kept");
    assert_eq!(contents_after(&disk, Survival::Everything), b"keptlost");
    assert_eq!(disk.read_file(file_path()).unwrap(), b"keptlost");
}

#[test]
fn write_is_torn_by_sectors_only() {
    let (disk, file) = disk_with_file();
    file.write_all_at(&[1; 3 * SECTOR], 0).unwrap();
    file.sync(Site::Append).unwrap();
    file.write_all_at(&[2; 3 * SECTOR], 0).unwrap();
    file.write_all_at(&[3; 3 * SECTOR], 0).unwrap();
    let mut seen = BTreeSet::new();
    for survival in random_survivals() {
        let bytes = contents_after(&disk, survival);
        let sectors: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(
            bytes
                .chunks(SECTOR)
                .all(|sector| sector.iter().all(|b| *b == sector[0]))
        );
        seen.insert(sectors);
    }
    assert_eq!(
        seen.len(),
        27,
        "every sector survives in any of its three versions"
    );
}

#[test]
fn lengths_survive_up_to_some_point_in_their_order() {
    let (disk, file) = disk_with_file();
    file.write_all_at(&[1; 1000], 0).unwrap();
    file.sync(Site::Append).unwrap();
    file.set_len(10, Site::RecoveryCut).unwrap();
    file.allocate(2000).unwrap();
    file.write_all_at(&[2; 10], 1990).unwrap();
    let mut lengths = BTreeSet::new();
    for survival in random_survivals() {
        let bytes = contents_after(&disk, survival);
        lengths.insert(bytes.len());
        if bytes.len() == 2000 {
            assert!(
                bytes[10..1990].iter().all(|byte| *byte == 0),
                "{survival:?}"
            );
        } else {
            assert!(bytes.iter().all(|byte| *byte == 1), "{survival:?}");
        }
    }
    assert_eq!(lengths, BTreeSet::from([10, 1000, 2000]));
}

#[test]
fn names_need_a_directory_sync() {
    let (disk, file) = disk_with_file();
    file.write_all_at(b"x", 0).unwrap();
    file.sync(Site::Append).unwrap();
    let new = disk.open(Path::new("/new"), OpenMode::CreateNew).unwrap();
    new.write_all_at(b"y", 0).unwrap();
    new.sync(Site::SegmentHeader).unwrap();
    disk.rename(file_path(), Path::new("/renamed"), Site::Checkpoint)
        .unwrap();
    assert_eq!(disk.reboot(Survival::Nothing).paths(), [file_path()]);
    let names = ["/new", "/renamed"].map(PathBuf::from);
    assert_eq!(disk.reboot(Survival::Everything).paths(), names);
    disk.sync_dir(root(), Site::CheckpointName).unwrap();
    assert_eq!(disk.reboot(Survival::Nothing).paths(), names);
}

#[test]
fn unsynced_removal_comes_back_and_new_file_comes_back_empty() {
    let (disk, file) = disk_with_file();
    file.write_all_at(b"x", 0).unwrap();
    file.sync(Site::Append).unwrap();
    disk.remove(file_path()).unwrap();
    let new = disk.open(Path::new("/new"), OpenMode::CreateNew).unwrap();
    new.write_all_at(b"y", 0).unwrap();
    assert_eq!(contents_after(&disk, Survival::Nothing), b"x");
    let came_back_empty = random_survivals().any(|survival| {
        disk.reboot(survival).read_file(Path::new("/new")).ok() == Some(Vec::new())
    });
    assert!(came_back_empty);
    let both = random_survivals().any(|survival| disk.reboot(survival).paths().len() == 2);
    assert!(both);
}

#[test]
fn directory_needs_the_sync_of_its_parent() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("/d")).unwrap();
    disk.open(Path::new("/d/f"), OpenMode::CreateNew).unwrap();
    disk.sync_dir(Path::new("/d"), Site::SegmentName).unwrap();
    assert!(disk.reboot(Survival::Nothing).paths().is_empty());
    disk.sync_dir(root(), Site::LogName).unwrap();
    assert_eq!(disk.reboot(Survival::Nothing).paths(), [Path::new("/d/f")]);
}

#[test]
fn power_cut_fails_its_operation_and_all_later_ones() {
    let (disk, file) = disk_with_file();
    disk.cut_power_at(disk.op_count() + 2);
    file.write_all_at(b"x", 0).unwrap();
    let error = file.sync(Site::Append).unwrap_err();
    assert!(PowerCut::is_cause_of(&error));
    assert!(PowerCut::is_cause_of(
        &file.read_at(&mut [0], 0).unwrap_err()
    ));
    assert!(PowerCut::is_cause_of(&disk.list(root()).unwrap_err()));
    assert!(disk.is_power_cut());
    assert_eq!(
        contents_after(&disk, Survival::Nothing),
        b"",
        "the sync was interrupted"
    );
    assert_eq!(contents_after(&disk, Survival::Everything), b"x");
    assert!(disk.trace().contains("POWER CUT"), "{}", disk.trace());
}

#[test]
fn lie_reports_success_and_does_nothing() {
    let (disk, file) = disk_with_file();
    disk.lie_at(Site::Append);
    disk.lie_at(Site::RecoveryCut);
    file.write_all_at(b"hello", 0).unwrap();
    file.set_len(1, Site::RecoveryCut).unwrap();
    file.sync(Site::Append).unwrap();
    assert_eq!(file.byte_count().unwrap(), 5);
    assert_eq!(contents_after(&disk, Survival::Nothing), b"");
    file.sync(Site::RollSealed).unwrap();
    let disk = disk.reboot(Survival::Nothing);
    assert_eq!(disk.read_file(file_path()).unwrap(), b"hello");
    let file = disk.open(file_path(), OpenMode::Write).unwrap();
    file.write_all_at(b"j", 0).unwrap();
    file.sync(Site::Append).unwrap();
    assert_eq!(
        contents_after(&disk, Survival::Nothing),
        b"hello",
        "lies outlive a reboot"
    );
}

#[test]
fn failed_sync_loses_what_readers_still_see() {
    let (disk, file) = disk_with_file();
    file.write_all_at(b"old", 0).unwrap();
    file.sync(Site::Append).unwrap();
    disk.fail_sync_at(disk.op_count() + 2);
    file.write_all_at(b"new", 0).unwrap();
    file.sync(Site::Append).unwrap_err();
    file.sync(Site::Append).unwrap();
    assert_eq!(disk.read_file(file_path()).unwrap(), b"new");
    assert_eq!(contents_after(&disk, Survival::Everything), b"old");
    file.write_all_at(b"new", 0).unwrap();
    file.sync(Site::Append).unwrap();
    assert_eq!(
        contents_after(&disk, Survival::Everything),
        b"old",
        "written again over memory that looks clean"
    );
    file.forget(0).unwrap();
    assert_eq!(disk.read_file(file_path()).unwrap(), b"old");
    file.write_all_at(b"new", 0).unwrap();
    file.sync(Site::Append).unwrap();
    assert_eq!(
        contents_after(&disk, Survival::Nothing),
        b"new",
        "written over what the disk has"
    );
}

#[test]
fn full_disk_takes_a_part_and_refuses_to_allocate() {
    let (disk, file) = disk_with_file();
    disk.set_capacity_bytes(Some(1000));
    assert_eq!(disk.free_bytes(root()).unwrap(), 1000);
    let error = file.allocate(1001).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.byte_count().unwrap(), 0);
    let error = file.write_all_at(&[1; 1001], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.free_bytes(root()).unwrap(), 0);
    file.write_all_at(&[2; 1000], 0).unwrap();
    disk.remove(file_path()).unwrap();
    assert_eq!(disk.free_bytes(root()).unwrap(), 1000);
}

#[test]
fn bit_is_flipped_for_readers_and_for_good() {
    let (disk, file) = disk_with_file();
    file.write_all_at(&[0; 600], 0).unwrap();
    file.sync(Site::Append).unwrap();
    disk.flip_bit(file_path(), 599 * 8 + 7).unwrap();
    assert_eq!(disk.read_file(file_path()).unwrap()[599], 0x80);
    assert_eq!(contents_after(&disk, Survival::Nothing)[599], 0x80);
    disk.flip_bit(file_path(), 600 * 8).unwrap_err();
    disk.truncate_file(file_path(), 10).unwrap();
    assert_eq!(contents_after(&disk, Survival::Nothing), [0; 10]);
}

#[test]
fn snapshot_is_apart_from_its_original() {
    let (disk, file) = disk_with_file();
    file.write_all_at(b"one", 0).unwrap();
    let snapshot = disk.snapshot();
    file.write_all_at(b"two", 0).unwrap();
    assert_eq!(snapshot.read_file(file_path()).unwrap(), b"one");
    assert_eq!(contents_after(&snapshot, Survival::Nothing), b"");
}

#[test]
fn same_seed_gives_same_hash_and_other_seeds_others() {
    let run = |seed| {
        let (disk, file) = disk_with_file();
        file.allocate(16 << 10).unwrap();
        file.sync(Site::Append).unwrap();
        file.write_all_at(&[7; 16 << 10], 0).unwrap();
        disk.reboot(Survival::Random(seed)).state_hash()
    };
    let hashes: BTreeSet<u64> = (0..200).map(run).collect();
    assert!(hashes.len() > 50, "{} distinct images", hashes.len());
    for seed in 0..200 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

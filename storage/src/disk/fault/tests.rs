//! Rules fail what they name, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use super::*;
use crate::disk::sim::{SimDisk, Survival};

const EIO: i32 = 5;

fn disk_with_file() -> (SimDisk, FaultDisk, Arc<dyn DiskFile>) {
    let sim = SimDisk::new(1);
    let disk = FaultDisk::new(Arc::new(sim.clone()));
    let file = disk.open(Path::new("/a.log"), OpenMode::CreateNew).unwrap();
    (sim, disk, file)
}

#[test]
fn nth_write_fails_once() {
    let (_, disk, file) = disk_with_file();
    disk.add(Rule::new(OpClass::Write, Effect::Fail(io::ErrorKind::StorageFull)).nth(2));
    file.write_all_at(b"1", 0).unwrap();
    let error = file.write_all_at(b"2", 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_all_at(b"3", 1).unwrap();
    assert_eq!(file.map().unwrap().as_ref(), b"13");
    assert_eq!((disk.count(OpClass::Write), disk.hit_count()), (3, 1));
}

#[test]
fn rule_for_ever_lasts_until_healed() {
    let (_, disk, file) = disk_with_file();
    disk.add(Rule::new(OpClass::Read, Effect::FailOs(EIO)).forever());
    for _ in 0..3 {
        let error = file.read_at(&mut [0], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO));
    }
    disk.heal();
    file.read_at(&mut [0], 0).unwrap();
}

#[test]
fn rule_is_narrowed_to_path_and_site() {
    let (_, disk, file) = disk_with_file();
    let other = disk
        .open(Path::new("/b.index"), OpenMode::CreateNew)
        .unwrap();
    let rule = Rule::new(OpClass::Sync, Effect::FailOs(EIO)).forever();
    disk.add(rule.on(".log").at(Site::Append));
    other.sync(Site::Append).unwrap();
    file.sync(Site::RollSealed).unwrap();
    file.sync(Site::Append).unwrap_err();
}

#[test]
fn failed_sync_does_not_reach_the_disk() {
    let (sim, disk, file) = disk_with_file();
    disk.sync_dir(Path::new("/"), Site::DataDir).unwrap();
    disk.add(Rule::new(OpClass::Sync, Effect::FailOs(EIO)));
    file.write_all_at(b"x", 0).unwrap();
    file.sync(Site::Append).unwrap_err();
    let sim = sim.reboot(Survival::Nothing);
    assert_eq!(sim.read_file(Path::new("/a.log")).unwrap(), b"");
}

#[test]
fn reads_are_shortened_and_writes_done_in_part() {
    let (_, disk, file) = disk_with_file();
    disk.add(Rule::new(
        OpClass::Write,
        Effect::WritePart(3, io::ErrorKind::StorageFull),
    ));
    disk.add(Rule::new(OpClass::Read, Effect::ShortRead(2)));
    file.write_all_at(b"hello", 0).unwrap_err();
    let mut buf = [0; 8];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 2);
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
    assert_eq!(&buf[..3], b"hel");
}

#[test]
fn every_class_can_be_failed() {
    let (_, disk, file) = disk_with_file();
    let path = Path::new("/a.log");
    let root = Path::new("/");
    let ops: [(OpClass, &dyn Fn() -> io::Result<()>); 16] = [
        (OpClass::Open, &|| disk.open(path, OpenMode::Read).map(drop)),
        (OpClass::Create, &|| {
            disk.open(Path::new("/n"), OpenMode::CreateNew).map(drop)
        }),
        (OpClass::CreateDir, &|| disk.create_dir(Path::new("/d"))),
        (OpClass::List, &|| disk.list(root).map(drop)),
        (OpClass::Rename, &|| disk.rename(path, path, Site::DataDir)),
        (OpClass::SyncDir, &|| disk.sync_dir(root, Site::DataDir)),
        (OpClass::FreeBytes, &|| disk.free_bytes(root).map(drop)),
        (OpClass::Read, &|| file.read_at(&mut [0], 0).map(drop)),
        (OpClass::Write, &|| file.write_all_at(b"x", 0)),
        (OpClass::Sync, &|| file.sync(Site::Append)),
        (OpClass::ByteCount, &|| file.byte_count().map(drop)),
        (OpClass::SetLen, &|| file.set_len(3, Site::RecoveryCut)),
        (OpClass::Allocate, &|| file.allocate(9)),
        (OpClass::Map, &|| file.map().map(drop)),
        (OpClass::Lock, &|| file.try_lock().map(drop)),
        (OpClass::Remove, &|| disk.remove(path)),
    ];
    for (class, op) in ops {
        disk.add(Rule::new(
            class,
            Effect::Fail(io::ErrorKind::PermissionDenied),
        ));
        let error = op().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{class:?}");
        assert!(op().is_ok(), "{class:?}");
    }
}

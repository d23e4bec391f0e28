//! The operating system's files do what the traits promise.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

const UMASK_TEST: &str = "disk::real::tests::modes_do_not_depend_on_the_umask";
const UMASK_DIR: &str = "REDRIVE_TEST_UMASK_DIR";

#[test]
fn modes_do_not_depend_on_the_umask() {
    if let Some(dir) = std::env::var_os(UMASK_DIR) {
        let dir = Path::new(&dir).join("dir");
        RealDisk.create_dir(&dir).unwrap();
        let file = dir.join("file");
        RealDisk.open(&file, OpenMode::CreateNew).unwrap();
        assert_eq!(mode_of(&dir), 0o700);
        assert_eq!(mode_of(&file), 0o600);
        return;
    }
    // The umask belongs to the whole process, so the test runs itself in another one.
    let temp = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "umask 0277 && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", UMASK_TEST])
        .env(UMASK_DIR, temp.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(temp.path().join("dir/file").exists(), "{output:?}");
}

#[test]
fn symbolic_link_is_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let (target, link) = (temp.path().join("target"), temp.path().join("link"));
    fs::write(&target, b"secret").unwrap();
    symlink(&target, &link).unwrap();
    for mode in [OpenMode::Read, OpenMode::Write, OpenMode::CreateNew] {
        assert!(RealDisk.open(&link, mode).is_err(), "{mode:?}");
    }
    RealDisk.remove(&link).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"secret");
}

#[test]
fn files_read_back_grow_and_shrink() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let file = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
    file.write_all_at(b"hello", 3).unwrap();
    file.allocate(4096).unwrap();
    file.allocate(10).unwrap();
    file.sync(Site::Append).unwrap();
    assert_eq!(file.byte_count().unwrap(), 4096);
    file.set_len(8, Site::RecoveryCut).unwrap();
    assert_eq!(file.map().unwrap().as_ref(), b"\0\0\0hello");
    let mut buf = [0; 16];
    assert_eq!(file.read_at(&mut buf, 3).unwrap(), 5);
    assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
}

#[test]
fn empty_file_can_be_mapped() {
    let temp = tempfile::tempdir().unwrap();
    let file = RealDisk
        .open(&temp.path().join("file"), OpenMode::CreateNew)
        .unwrap();
    assert_eq!(file.map().unwrap().as_ref(), b"");
}

#[test]
fn errors_have_the_promised_kinds() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let kind = |result: io::Result<Arc<dyn DiskFile>>| result.unwrap_err().kind();
    assert_eq!(
        kind(RealDisk.open(&path, OpenMode::Write)),
        io::ErrorKind::NotFound
    );
    assert_eq!(
        kind(RealDisk.open(temp.path(), OpenMode::Read)),
        io::ErrorKind::IsADirectory
    );
    RealDisk.open(&path, OpenMode::CreateNew).unwrap();
    assert_eq!(
        kind(RealDisk.open(&path, OpenMode::CreateNew)),
        io::ErrorKind::AlreadyExists
    );
    let quota = io::Error::from_raw_os_error(Errno::DQUOT.raw_os_error());
    assert_eq!(full_disk(quota).kind(), io::ErrorKind::StorageFull);
    let full = RealDisk
        .open(Path::new("/dev/full"), OpenMode::Write)
        .unwrap();
    let error = full.write_all_at(b"x", 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn names_are_listed_in_order_renamed_and_removed() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    for name in ["b", "a"] {
        RealDisk.open(&path(name), OpenMode::CreateNew).unwrap();
    }
    RealDisk.create_dir(&path("d")).unwrap();
    RealDisk.create_dir(&path("d")).unwrap();
    RealDisk
        .rename(&path("b"), &path("c"), Site::DataDir)
        .unwrap();
    assert!(
        RealDisk
            .rename(&path("c"), &path("d/c"), Site::DataDir)
            .is_err()
    );
    RealDisk.remove(&path("a")).unwrap();
    RealDisk.sync_dir(temp.path(), Site::DataDir).unwrap();
    let names = RealDisk.list(temp.path()).unwrap();
    let names: Vec<_> = names.iter().map(|e| (e.name.as_str(), e.is_dir)).collect();
    assert_eq!(names, [("c", false), ("d", true)]);
    RealDisk.remove(&path("d")).unwrap();
    assert!(RealDisk.free_bytes(temp.path()).unwrap() > 0);
}

/// A child between its fork and its exec holds a copy of every descriptor.
#[test]
fn a_lock_ends_with_its_file_though_a_child_has_a_copy_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let created = File::create_new(&path).unwrap();
    let childs_copy = created.try_clone().unwrap();
    let first = RealFile::new(created);
    assert!(first.try_lock().unwrap());
    drop(first);
    let second = RealDisk.open(&path, OpenMode::Write).unwrap();
    assert!(second.try_lock().unwrap());
    drop(childs_copy);
}

#[test]
fn lock_has_one_holder() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let first = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
    let second = RealDisk.open(&path, OpenMode::Write).unwrap();
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
}

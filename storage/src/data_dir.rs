//! The data directory: who has it, which format it holds, and where things are in it.
//!
//! | path | what |
//! |---|---|
//! | `FORMAT` | one line of text: `redrive data format` and the version, a decimal number; locked as `LOCK` is, because that may be removed by somebody who takes it for stale |
//! | `LOCK` | locked (flock) while a process has the directory; its text names that process |
//! | `control/` | the control log |
//! | `{partition number, 10 digits}/{log kind}/` | a log of a partition |
//! | `checkpoint-{shard, 3 digits}-{slot}` | a slot of a shard's checkpoint |
//!
//! A directory of an unknown version is refused before anything in it is touched. `FORMAT` is durable before anything
//! else is made, so a directory with a control log and without it is damaged, and refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode, Site, read_anew, read_exact_at};
use crate::error::LogError;
use crate::log_id::{LogId, LogKind, PartitionNumber};

/// The format version that this program writes, and the only one it reads.
pub const FORMAT_VERSION: u16 = 1;

const FORMAT_MAGIC: &str = "redrive data format ";
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const CONTROL_DIR: &str = "control";
/// What ext4 has at the top of every file system.
const LOST_AND_FOUND: &str = "lost+found";

/// Most bytes of `FORMAT` or `LOCK` that are read: both hold one short line.
const TEXT_BYTES_MAX: u64 = 512;

/// A data directory that this process has for itself, until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _locks: [Arc<dyn DiskFile>; 2],
}

impl DataDir {
    /// Takes the directory for this process, and makes it where it is missing (its parent must exist).
    ///
    /// # Errors
    /// `Locked` when another process has it, `UnknownVersion` when a newer program made it, `Io` when the disk refuses or
    /// when it holds something else than Redrive's data, but for hidden files and what a file system keeps for itself.
    pub fn open(disk: &dyn Disk, path: &Path, program: &str, pid: u32) -> Result<Self, LogError> {
        disk.create_dir(path)
            .map_err(|source| LogError::io("create", path, source))?;
        // First: a lock file that we make where another one was removed would name us, and be locked by nobody.
        let known = read_format(disk, path)?.then(|| lock_format(disk, path));
        let known = known.transpose()?;
        if known.is_none() {
            check_empty(disk, path)?;
        }
        let lock = take_lock(disk, path, program, pid)?;
        let format = match known {
            Some(format) => format,
            None => begin_format(disk, path)?,
        };
        make_durable(disk, path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _locks: [lock, format],
        })
    }

    /// Returns the directory's own path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the files of the two slots of a shard's checkpoint.
    #[must_use]
    pub fn checkpoint_paths(&self, shard: u32) -> [PathBuf; 2] {
        checkpoint_paths(&self.path, shard)
    }
}

/// Returns the directory of all logs of the partition of `id`; the control log's is the data directory.
#[must_use]
pub fn partition_dir(root: &Path, id: LogId) -> PathBuf {
    match id.kind {
        LogKind::Control => root.to_path_buf(),
        LogKind::Main | LogKind::DeadLetter | LogKind::Delivery => {
            root.join(format!("{:010}", id.partition.0))
        }
    }
}

/// Returns the directory of a log.
#[must_use]
pub fn log_dir(root: &Path, id: LogId) -> PathBuf {
    partition_dir(root, id).join(id.kind.name())
}

/// Returns the files of the two slots of a shard's checkpoint.
#[must_use]
pub fn checkpoint_paths(root: &Path, shard: u32) -> [PathBuf; 2] {
    [0, 1].map(|slot| root.join(format!("checkpoint-{shard:03}-{slot}")))
}

/// Returns the file that holds the format version.
pub(crate) fn format_path(root: &Path) -> PathBuf {
    root.join(FORMAT_FILE)
}

/// Parses the name of a checkpoint slot into shard and slot.
pub(crate) fn parse_checkpoint(name: &str) -> Option<(u32, u32)> {
    let (shard, slot) = name.strip_prefix("checkpoint-")?.split_once('-')?;
    let (shard, slot) = (shard.parse().ok()?, slot.parse().ok()?);
    (name == format!("checkpoint-{shard:03}-{slot}") && slot < 2).then_some((shard, slot))
}

/// Parses the name of a partition's directory.
pub(crate) fn parse_partition(name: &str) -> Option<PartitionNumber> {
    let number = name.parse().ok().map(PartitionNumber)?;
    (name == format!("{:010}", number.0)).then_some(number)
}

/// Returns whether something of this name at the top of a directory may be a broker's.
#[must_use]
pub fn is_name(name: &str) -> bool {
    [FORMAT_FILE, LOCK_FILE, CONTROL_DIR].contains(&name)
        || parse_checkpoint(name).is_some()
        || parse_partition(name).is_some()
}

/// Refuses a directory that is not ours yet and holds what is somebody else's: ours would be strewn among it.
fn check_empty(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let entries = disk.list(dir);
    let entries = entries.map_err(|source| LogError::io("list", dir, source))?;
    let is_foreign =
        |name: &str| !is_name(name) && !name.starts_with('.') && name != LOST_AND_FOUND;
    let mut names = entries.iter().map(|entry| entry.name.as_str());
    match names.find(|name| is_foreign(name)) {
        Some(name) => {
            let text = format!(
                "it holds {name:?} and no data of a broker: name an empty directory, or a new one"
            );
            Err(unrecognised(dir, text))
        }
        None => Ok(()),
    }
}

/// The locks that were taken, or who has one.
pub(crate) type Probe = (Vec<Arc<dyn DiskFile>>, Option<String>);

/// Takes the locks of a directory without writing to it, for as long as the value lives, or says who has one. A directory without
/// the files that are locked gives neither.
pub(crate) fn probe_lock(disk: &dyn Disk, dir: &Path) -> Result<Probe, LogError> {
    let mut locks = Vec::new();
    for name in [LOCK_FILE, FORMAT_FILE] {
        let path = dir.join(name);
        match disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                let lock = opened.map_err(|source| LogError::io("open", &path, source))?;
                if !try_lock(lock.as_ref(), &path)? {
                    return Ok((Vec::new(), Some(holder_of(disk, dir))));
                }
                locks.push(lock);
            }
        }
    }
    Ok((locks, None))
}

fn try_lock(lock: &dyn DiskFile, path: &Path) -> Result<bool, LogError> {
    lock.try_lock()
        .map_err(|source| LogError::io("lock", path, source))
}

/// Returns who has the directory, as it wrote its name.
fn holder_of(disk: &dyn Disk, dir: &Path) -> String {
    let lock = disk.open(&dir.join(LOCK_FILE), OpenMode::Read);
    let text = lock.and_then(|lock| read_text(lock.as_ref()));
    match text.unwrap_or_default().trim() {
        "" => "another process".to_owned(),
        holder => holder.to_owned(),
    }
}

fn take_lock(
    disk: &dyn Disk,
    dir: &Path,
    program: &str,
    pid: u32,
) -> Result<Arc<dyn DiskFile>, LogError> {
    let path = dir.join(LOCK_FILE);
    let lock = open_or_create(disk, &path)?;
    if !try_lock(lock.as_ref(), &path)? {
        return Err(locked(disk, dir));
    }
    write_text(lock.as_ref(), &format!("{program} (pid {pid})\n"))
        .map_err(|source| LogError::io("write", &path, source))?;
    Ok(lock)
}

fn lock_format(disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn DiskFile>, LogError> {
    let path = dir.join(FORMAT_FILE);
    let opened = disk.open(&path, OpenMode::Write);
    let format = opened.map_err(|source| LogError::io("open", &path, source))?;
    if try_lock(format.as_ref(), &path)? {
        Ok(format)
    } else {
        Err(locked(disk, dir))
    }
}

fn locked(disk: &dyn Disk, dir: &Path) -> LogError {
    LogError::Locked {
        path: dir.to_path_buf(),
        holder: holder_of(disk, dir),
    }
}

/// Writes the format where it is not written, and locks it.
fn begin_format(disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn DiskFile>, LogError> {
    // The process that had the lock before may have been the first to write it.
    if !read_format(disk, dir)? {
        write_format(disk, dir)?;
    }
    lock_format(disk, dir)
}

/// Returns whether the directory has its format written, or refuses it.
pub(crate) fn read_format(disk: &dyn Disk, dir: &Path) -> Result<bool, LogError> {
    let path = dir.join(FORMAT_FILE);
    let text = match disk.open(&path, OpenMode::Read) {
        Ok(file) => read_text(file.as_ref()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    };
    let text = text.map_err(|source| LogError::io("read", &path, source))?;
    // A crash, or a full disk, during the very first start may have left the file empty, with a length and no bytes, or with
    // a part of its line.
    let rest = FORMAT_MAGIC.strip_prefix(text.trim_end_matches('\0'));
    if rest.is_some() {
        return if disk.list(&dir.join(CONTROL_DIR)).is_ok() {
            let text = "the directory has a control log and no format version";
            Err(unrecognised(&path, text.to_owned()))
        } else {
            Ok(false)
        };
    }
    let number = text.strip_prefix(FORMAT_MAGIC).map(str::trim_end);
    match number.and_then(|number| number.parse::<u16>().ok()) {
        Some(FORMAT_VERSION) => Ok(true),
        Some(found) => Err(LogError::UnknownVersion {
            path,
            found,
            known: FORMAT_VERSION,
        }),
        None => {
            let text = format!("the line is {text:?}, not \"{FORMAT_MAGIC}\" and a version");
            Err(unrecognised(&path, text))
        }
    }
}

fn write_format(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let path = dir.join(FORMAT_FILE);
    let file = open_or_create(disk, &path)?;
    write_text(file.as_ref(), &format_line()).map_err(|source| LogError::io("write", &path, source))
}

/// The one line of `FORMAT`.
fn format_line() -> String {
    format!("{FORMAT_MAGIC}{FORMAT_VERSION}\n")
}

/// Syncs what was read or written: the process that wrote it may have ended before its own sync, or that sync may have failed
/// and left pages that only look clean. So what the directory is recognised by is written once more before, over what the disk
/// has.
fn make_durable(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let path = dir.join(FORMAT_FILE);
    let file = disk.open(&path, OpenMode::Write);
    let file = file.map_err(|source| LogError::io("open", &path, source))?;
    read_anew(file.as_ref(), Site::DataDir)
        .map_err(|source| LogError::io("sync", &path, source))?;
    file.write_all_at(format_line().as_bytes(), 0)
        .map_err(|source| LogError::io("write", &path, source))?;
    for name in [LOCK_FILE, FORMAT_FILE] {
        let path = dir.join(name);
        disk.open(&path, OpenMode::Write)
            .and_then(|file| file.sync(Site::DataDir))
            .map_err(|source| LogError::io("sync", &path, source))?;
    }
    disk.sync_dir(dir, Site::DataDir)
        .map_err(|source| LogError::io("sync", dir, source))?;
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    match disk.sync_dir(parent, Site::DataDir) {
        // Who may not read the parent did not make the directory either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result.map_err(|source| LogError::io("sync", parent, source)),
    }
}

fn open_or_create(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, LogError> {
    let opened = match disk.open(path, OpenMode::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match disk.open(path, OpenMode::CreateNew) {
                // Another process was faster; the lock decides between the two.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    disk.open(path, OpenMode::Write)
                }
                result => result,
            }
        }
        result => result,
    };
    opened.map_err(|source| LogError::io("open", path, source))
}

fn read_text(file: &dyn DiskFile) -> io::Result<String> {
    let byte_count = file.byte_count()?.min(TEXT_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(byte_count).unwrap_or(0)];
    read_exact_at(file, &mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write_text(file: &dyn DiskFile, text: &str) -> io::Result<()> {
    file.set_len(0, Site::DataDir)?;
    file.write_all_at(text.as_bytes(), 0)
}

fn unrecognised(path: &Path, text: String) -> LogError {
    let source = io::Error::new(io::ErrorKind::InvalidData, text);
    LogError::io("recognise", path, source)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests may panic"
    )]

    use super::*;
    use crate::disk::RealDisk;
    use crate::disk::fault::{Effect, FaultDisk, OpClass, Rule};
    use crate::disk::sim::{SimDisk, Survival};

    const DIR: &str = "/data";

    fn open(disk: &SimDisk) -> Result<DataDir, LogError> {
        DataDir::open(disk, Path::new(DIR), "redrive serve", 42)
    }

    #[test]
    fn second_opener_is_told_the_holder() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let first = DataDir::open(&RealDisk, &path, "redrive serve", 42).unwrap();
        let error = DataDir::open(&RealDisk, &path, "redrive verify", 43).unwrap_err();
        let LogError::Locked { holder, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(holder, "redrive serve (pid 42)");
        drop(first);
        DataDir::open(&RealDisk, &path, "redrive verify", 43).unwrap();
    }

    #[test]
    fn a_directory_has_one_owner_also_when_its_lock_file_was_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let first = DataDir::open(&RealDisk, &path, "redrive serve", 42).unwrap();
        std::fs::remove_file(path.join(LOCK_FILE)).unwrap();
        for _ in 0..2 {
            let (_, holder) = probe_lock(&RealDisk, &path).unwrap();
            assert_eq!(holder.as_deref(), Some("another process"));
            let error = DataDir::open(&RealDisk, &path, "redrive serve", 43).unwrap_err();
            assert!(matches!(error, LogError::Locked { .. }), "{error}");
        }
        drop(first);
        DataDir::open(&RealDisk, &path, "redrive serve", 43).unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        for (name, is_taken) in [("notes.txt", false), (".keep", true), ("lost+found", true)] {
            let disk = SimDisk::new(1);
            disk.write_file(&Path::new(DIR).join(name), b"").unwrap();
            let opened = open(&disk);
            assert_eq!(opened.is_ok(), is_taken, "{name}: {opened:?}");
            let names: Vec<_> = disk.paths();
            assert_eq!(names.len() == 1, !is_taken, "{names:?}");
            drop(opened);
            // What comes later is no reason to refuse what is ours.
            disk.write_file(&Path::new(DIR).join("later"), b"").unwrap();
            assert_eq!(open(&disk).is_ok(), is_taken, "{name}");
        }
    }

    #[test]
    fn a_first_start_that_wrote_a_part_of_the_format_is_begun_again() {
        for count in 0..FORMAT_MAGIC.len() + 2 {
            let disk = SimDisk::new(1);
            let faults = FaultDisk::over(&disk);
            let part = Effect::WritePart(count, io::ErrorKind::StorageFull);
            faults.add(Rule::new(OpClass::Write, part).on(FORMAT_FILE));
            let failed = DataDir::open(&faults, Path::new(DIR), "redrive serve", 42);
            assert!(failed.is_err(), "{count}");
            open(&disk).unwrap_or_else(|error| panic!("{count}: {error:?}"));
            let format = Path::new(DIR).join(FORMAT_FILE);
            let text = disk.read_file(&format).unwrap();
            assert!(text.starts_with(b"redrive data format 1"), "{count}");
            // Where there is a control log, a part of the line is damage.
            disk.create_dir(&Path::new(DIR).join(CONTROL_DIR)).unwrap();
            let part = &text[..count.min(FORMAT_MAGIC.len())];
            disk.write_file(&format, part).unwrap();
            assert!(open(&disk).is_err(), "{count}");
        }
    }

    #[test]
    fn a_format_whose_sync_failed_is_written_again_before_it_is_relied_on() {
        for op in 1..12 {
            let disk = SimDisk::new(1);
            disk.fail_sync_at(op);
            let failed = open(&disk).is_err();
            let opened = open(&disk);
            assert!(opened.is_ok(), "op {op}: {opened:?}");
            drop(opened);
            let left = disk.reboot(Survival::Nothing);
            let text = left.read_file(&Path::new(DIR).join(FORMAT_FILE));
            let text = text.unwrap_or_default();
            assert_eq!(text, b"redrive data format 1\n", "op {op}, {failed}");
        }
    }

    #[test]
    fn simulated_lock_ends_with_its_holder() {
        let disk = SimDisk::new(1);
        let first = open(&disk).unwrap();
        assert!(matches!(open(&disk), Err(LogError::Locked { .. })));
        drop(first);
        open(&disk).unwrap();
    }

    #[test]
    fn unknown_version_is_refused_with_both_numbers_and_nothing_touched() {
        let disk = SimDisk::new(1);
        let format = Path::new("/data/FORMAT");
        disk.write_file(format, b"redrive data format 7\n").unwrap();
        let before = disk.state_hash();
        let error = open(&disk).unwrap_err();
        assert!(
            matches!(
                error,
                LogError::UnknownVersion {
                    found: 7,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(disk.state_hash(), before);
        assert_eq!(disk.op_count(), 0);
    }

    #[test]
    fn foreign_format_file_is_refused() {
        for text in [
            "something else\n",
            "redrive data format x\n",
            "redrive data format \n",
        ] {
            let disk = SimDisk::new(1);
            disk.write_file(Path::new("/data/FORMAT"), text.as_bytes())
                .unwrap();
            assert!(matches!(open(&disk), Err(LogError::Io { .. })), "{text}");
        }
    }

    #[test]
    fn control_log_without_format_is_refused() {
        let disk = SimDisk::new(1);
        disk.write_file(Path::new("/data/control/x"), b"x").unwrap();
        assert!(matches!(open(&disk), Err(LogError::Io { .. })));
    }

    #[test]
    fn opened_directory_survives_a_power_cut() {
        let disk = SimDisk::new(1);
        drop(open(&disk).unwrap());
        let disk = disk.reboot(Survival::Nothing);
        let format = disk.read_file(Path::new("/data/FORMAT")).unwrap();
        assert_eq!(format, b"redrive data format 1\n");
    }

    #[test]
    fn power_cut_at_any_operation_leaves_a_directory_that_opens() {
        let disk = SimDisk::new(1);
        drop(open(&disk).unwrap());
        for op in 1..=disk.op_count() {
            let survivals = (0..32).map(Survival::Random);
            let extremes = [Survival::Nothing, Survival::Everything];
            for survival in survivals.chain(extremes) {
                let disk = SimDisk::new(1);
                disk.cut_power_at(op);
                open(&disk).unwrap_err();
                let disk = disk.reboot(survival);
                let opened = open(&disk);
                assert!(opened.is_ok(), "op {op}, {survival:?}: {opened:?}");
            }
        }
    }

    #[test]
    fn paths_are_those_of_the_table() {
        let dir = open(&SimDisk::new(1)).unwrap();
        let id = LogId::new(PartitionNumber(17), LogKind::DeadLetter);
        assert_eq!(
            log_dir(dir.path(), id),
            Path::new("/data/0000000017/dead-letter")
        );
        assert_eq!(
            log_dir(dir.path(), LogId::CONTROL),
            Path::new("/data/control")
        );
        assert_eq!(
            dir.checkpoint_paths(3)[1],
            Path::new("/data/checkpoint-003-1")
        );
    }
}

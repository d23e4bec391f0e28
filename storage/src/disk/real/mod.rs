//! The operating system's files.
//!
//! Directories are made with mode 0700 and files with 0600, whatever the umask. A symbolic link at the last step of a
//! file's path is an error. Interrupted calls are tried again; a full disk and a full quota are both `StorageFull`.

mod close;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise};
use rustix::io::Errno;

use super::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};
use crate::disk::map::map_file;

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
const OPEN_FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// Memory is dropped from a multiple of this: the kernel keeps a file in pieces of up to a few MiB, and drops none of which a part
/// is to stay.
const FORGOTTEN_BYTES: u64 = 16 << 20;

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    is_locked: AtomicBool,
}

impl RealFile {
    fn new(file: File) -> Self {
        Self {
            file,
            is_locked: AtomicBool::new(false),
        }
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        // Closing does not do it while a child that is just being started has a copy of the descriptor.
        if self.is_locked.load(Ordering::Acquire) {
            self.file.unlock().ok();
        }
        close::before_close(&self.file);
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(mode != OpenMode::Read)
            .create_new(mode == OpenMode::CreateNew)
            .mode(FILE_MODE)
            .custom_flags(OPEN_FLAGS.bits().cast_signed());
        let file = options.open(path).map_err(full_disk)?;
        if mode == OpenMode::CreateNew {
            // The umask may have taken bits from the mode.
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        } else if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(RealFile::new(file)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(DIR_MODE).create(path) {
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(DIR_MODE)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(path)?.is_dir() {
                    Ok(())
                } else {
                    Err(io::ErrorKind::NotADirectory.into())
                }
            }
            Err(error) => Err(full_disk(error)),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir });
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path, _site: Site) -> io::Result<()> {
        if from.parent() != to.parent() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        fs::rename(from, to).map_err(full_disk)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() {
            fs::remove_dir(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn sync_dir(&self, path: &Path, _site: Site) -> io::Result<()> {
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(path)?
            .sync_all()
            .map_err(full_disk)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::io::retry_on_intr(|| rustix::fs::statvfs(path))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        // The standard library finishes short writes and tries interrupted ones again.
        self.file.write_all_at(bytes, position).map_err(full_disk)
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        self.file.sync_data().map_err(full_disk)
    }

    fn forget(&self, position: u64) -> io::Result<()> {
        let position = position.saturating_sub(position % FORGOTTEN_BYTES);
        match rustix::io::retry_on_intr(|| fadvise(&self.file, position, None, Advice::DontNeed)) {
            // A file system that keeps nothing else than memory has nothing to read again.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn byte_count(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, bytes: u64, _site: Site) -> io::Result<()> {
        self.file.set_len(bytes).map_err(full_disk)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes);
        match rustix::io::retry_on_intr(allocate) {
            // The file system cannot reserve: the file grows, and a later write may find the disk full.
            Err(Errno::OPNOTSUPP) if self.byte_count()? < bytes => {
                self.file.set_len(bytes).map_err(full_disk)
            }
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(full_disk(errno.into())),
        }
    }

    fn map(&self) -> io::Result<MappedBytes> {
        map_file(&self.file).map(MappedBytes::Mapped)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => {
                self.is_locked.store(true, Ordering::Release);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Gives a full quota the kind of a full disk: to us they are the same.
fn full_disk(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(Errno::DQUOT.raw_os_error()) {
        io::Error::new(io::ErrorKind::StorageFull, error)
    } else {
        error
    }
}

#[cfg(test)]
mod tests;

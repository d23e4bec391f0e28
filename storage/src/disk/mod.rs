//! The one door to files: every read, write, sync and directory change of the project goes through [`Disk`] and [`DiskFile`].
//!
//! Three implementations stand behind it: [`real`] (the operating system's), `sim` (a disk in memory whose power can be
//! cut after any operation, with torn, reordered and lost writes) and `fault` (fails chosen operations with chosen errors).
//! The last two exist only with the feature `sim`. What only changes a few operations of another disk is a [`DiskLayer`].
//!
//! What is assumed of a disk, and what the simulated one models: a 512-byte sector is written whole or not at all; a write
//! is durable only after a later [`DiskFile::sync`]; a new, renamed or removed name is durable only after a later
//! [`Disk::sync_dir`] of its directory; unsynced writes may survive in any combination and order.
//!
//! Every sync, truncation and rename names its [`Site`]. The real disk ignores it. The simulated disk can be told to lie at
//! one site (report success and do nothing), which is how the tests prove that each of them is needed.

#[cfg(any(test, feature = "sim"))]
pub mod fault;
mod layer;
mod map;
pub mod real;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod site;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use layer::{DiskLayer, FileLayer};
pub use real::RealDisk;
pub use site::Site;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reads only.
    Read,
    /// An existing file, for reads and writes.
    Write,
    /// A file that must not exist yet, for reads and writes, mode 0600.
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without its directory. Names that are not UTF-8 are left out of listings: none of ours are.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A tree of files. Paths are as the caller has them; implementations keep no current directory.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file, never following a symbolic link at the last step.
    ///
    /// # Errors
    /// `NotFound` for a missing file, `AlreadyExists` for [`OpenMode::CreateNew`] on an existing one, or any error of the disk.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a directory, mode 0700. An existing directory is no error; the parent must exist.
    ///
    /// # Errors
    /// Any error of the disk.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory, in order of names.
    ///
    /// # Errors
    /// `NotFound` for a missing directory, or any error of the disk.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Renames a file within one directory, replacing what has the new name.
    ///
    /// # Errors
    /// Any error of the disk.
    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()>;

    /// Removes a file, or an empty directory.
    ///
    /// # Errors
    /// `NotFound` for a missing one, or any error of the disk.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Any error of the disk. After one the state of the names is unknown until a restart.
    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()>;

    /// Returns the bytes that this process may still write to the file system that holds `path`.
    ///
    /// # Errors
    /// Any error of the disk.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. All methods take `&self`: positions are explicit, and the file may be shared between threads.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at most `buf.len()` bytes at `position`; 0 at or past the end of the file. May return fewer than asked for.
    ///
    /// # Errors
    /// Any error of the disk except an interruption, which is tried again.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `position`, extending the file where needed.
    ///
    /// # Errors
    /// Any error of the disk. Some of the bytes may then have been written.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Makes everything written before this call durable, and the file's length with it (fdatasync).
    ///
    /// # Errors
    /// Any error of the disk. It must never be tried again: the failed pages may already be marked clean.
    fn sync(&self, site: Site) -> io::Result<()>;

    /// Drops what memory holds of the file from `position` on, or some bytes before, and does not wait to be written: what is read next comes from the
    /// disk. After a failed sync that may be less, and what is written over such memory may never reach the disk.
    ///
    /// # Errors
    /// Any error of the disk.
    fn forget(&self, position: u64) -> io::Result<()>;

    /// Returns the length in bytes.
    ///
    /// # Errors
    /// Any error of the disk.
    fn byte_count(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) the file to `bytes`.
    ///
    /// # Errors
    /// Any error of the disk.
    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()>;

    /// Reserves disk space so that the file is at least `bytes` long, the new part reading as zeros. Never shortens.
    ///
    /// # Errors
    /// `StorageFull` when there is no space, before a byte is changed, or any other error of the disk.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Returns the whole file as bytes that stay readable: a memory map on the real disk, a copy elsewhere.
    ///
    /// # Errors
    /// Any error of the disk.
    fn map(&self) -> io::Result<MappedBytes>;

    /// Takes the exclusive advisory lock of the file for as long as it is open. Returns false when another holds it.
    ///
    /// # Errors
    /// Any error of the disk.
    fn try_lock(&self) -> io::Result<bool>;
}

/// The bytes of a file that no longer changes.
#[derive(Debug)]
pub enum MappedBytes {
    /// A memory map of the file.
    Mapped(memmap2::Mmap),
    /// A copy in memory.
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for MappedBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Has what is read next of a small file come from the disk, whatever the process before has left in memory after a failed sync.
///
/// # Errors
/// Any error of the disk.
pub fn read_anew(file: &dyn DiskFile, site: Site) -> io::Result<()> {
    // Pages that wait to be written are not dropped.
    file.sync(site)?;
    file.forget(0)
}

/// Fills `buf` from `position`, or fails with `UnexpectedEof` when the file ends before.
///
/// # Errors
/// `UnexpectedEof`, or any error of the disk.
pub fn read_exact_at(file: &dyn DiskFile, mut buf: &mut [u8], mut position: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let count = file.read_at(buf, position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(rest) = buf.get_mut(count..) else {
            return Err(io::Error::other(
                "a disk returned more bytes than were asked for",
            ));
        };
        buf = rest;
        position = position.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(())
}

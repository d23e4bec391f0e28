//! A simulated disk on which one write can fail half way, as a disk that is full or broken fails one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::disk::sim::SimDisk;
use storage::disk::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};

/// What is left until something fails; 0 for nothing that fails.
#[derive(Debug, Default)]
struct Plan {
    writes: AtomicU64,
    truncations: AtomicU64,
}

#[derive(Debug, Clone)]
pub(crate) struct FailingDisk {
    disk: SimDisk,
    plan: Arc<Plan>,
}

impl FailingDisk {
    pub(crate) fn new(disk: &SimDisk) -> Self {
        Self {
            disk: disk.clone(),
            plan: Arc::default(),
        }
    }

    /// Makes the `count`-th write from now fail, having written half of its bytes.
    pub(crate) fn fail_write(&self, count: u64) {
        self.plan.writes.store(count, Ordering::Relaxed);
    }

    /// Makes the `count`-th truncation from now fail.
    pub(crate) fn fail_truncation(&self, count: u64) {
        self.plan.truncations.store(count, Ordering::Relaxed);
    }
}

/// Counts down; true for the one that fails.
fn is_due(left: &AtomicU64) -> bool {
    let before = left.load(Ordering::Relaxed);
    left.store(before.saturating_sub(1), Ordering::Relaxed);
    before == 1
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let plan = Arc::clone(&self.plan);
        Ok(Arc::new(FailingFile { file, plan }))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()> {
        self.disk.rename(from, to, site)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        self.disk.sync_dir(path, site)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl DiskFile for FailingFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if is_due(&self.plan.writes) {
            self.file
                .write_all_at(&bytes[..bytes.len() / 2], position)?;
            return Err(io::Error::other("the write failed half way"));
        }
        self.file.write_all_at(bytes, position)
    }
    fn sync(&self, site: Site) -> io::Result<()> {
        self.file.sync(site)
    }
    fn byte_count(&self) -> io::Result<u64> {
        self.file.byte_count()
    }
    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        if is_due(&self.plan.truncations) {
            return Err(io::Error::other("the truncation failed"));
        }
        self.file.set_len(bytes, site)
    }
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }
    fn map(&self) -> io::Result<MappedBytes> {
        self.file.map()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

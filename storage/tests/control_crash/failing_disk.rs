//! A simulated disk on which one write can fail half way, as a disk that is full or broken fails one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::disk::sim::SimDisk;
use storage::disk::{Disk, DiskFile, DiskLayer, FileLayer, OpenMode, Site};

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

impl DiskLayer for FailingDisk {
    fn below(&self) -> &dyn Disk {
        &self.disk
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let plan = Arc::clone(&self.plan);
        Ok(Arc::new(FailingFile { file, plan }))
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl FileLayer for FailingFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if is_due(&self.plan.writes) {
            self.file
                .write_all_at(&bytes[..bytes.len() / 2], position)?;
            return Err(io::Error::other("the write failed half way"));
        }
        self.file.write_all_at(bytes, position)
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        if is_due(&self.plan.truncations) {
            return Err(io::Error::other("the truncation failed"));
        }
        self.file.set_len(bytes, site)
    }
}

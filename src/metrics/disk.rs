//! A disk that measures what is written and synced, whatever for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use storage::disk::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};

use super::{Metrics, observe_duration};

/// Another disk, measured.
#[derive(Debug)]
pub(crate) struct MeasuredDisk {
    disk: Arc<dyn Disk>,
    metrics: Arc<Metrics>,
}

impl MeasuredDisk {
    /// Measures a disk from now on.
    pub(crate) fn new(disk: Arc<dyn Disk>, metrics: Arc<Metrics>) -> Self {
        Self { disk, metrics }
    }
}

impl Disk for MeasuredDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(MeasuredFile {
            file: self.disk.open(path, mode)?,
            metrics: Arc::clone(&self.metrics),
        }))
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
        synced(&self.metrics, || self.disk.sync_dir(path, site))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

#[derive(Debug)]
struct MeasuredFile {
    file: Arc<dyn DiskFile>,
    metrics: Arc<Metrics>,
}

impl DiskFile for MeasuredFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let started = Instant::now();
        let written = self.file.write_all_at(bytes, position);
        observe_duration(&self.metrics.logs.write_seconds, started.elapsed());
        written
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        synced(&self.metrics, || self.file.sync(site))
    }

    fn byte_count(&self) -> io::Result<u64> {
        self.file.byte_count()
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
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

fn synced(metrics: &Metrics, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let started = Instant::now();
    let synced = sync();
    observe_duration(&metrics.logs.sync_seconds, started.elapsed());
    if synced.is_err() {
        metrics.logs.sync_failures.inc();
    }
    synced
}

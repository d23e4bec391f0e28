//! A disk that measures what is written and synced, whatever for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use storage::disk::{Disk, DiskFile, DiskLayer, FileLayer, OpenMode, Site};

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

impl DiskLayer for MeasuredDisk {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(MeasuredFile {
            file: self.disk.open(path, mode)?,
            metrics: Arc::clone(&self.metrics),
        }))
    }

    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        synced(&self.metrics, || self.disk.sync_dir(path, site))
    }
}

#[derive(Debug)]
struct MeasuredFile {
    file: Arc<dyn DiskFile>,
    metrics: Arc<Metrics>,
}

impl FileLayer for MeasuredFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
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

//! The broker's disk: the simulated one, on which chosen operations fail, and whose power cut ends the
//! broker's life at once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use storage::disk::sim::SimDisk;
use storage::disk::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::world::World;

/// What fails, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    chance: Chance,
    /// One write or allocation in so many fails; 0: none.
    pub(crate) write_one_in: u64,
}

impl Failures {
    pub(crate) fn none(chance: Chance) -> Self {
        Self {
            chance,
            write_one_in: 0,
        }
    }
}

/// Names a site and, after a colon, a part of a path: what is synced there succeeds and does nothing.
pub(crate) const LIE: &str = "REDRIVE_SIMULATION_LIE";

/// The disk of one life.
#[derive(Debug, Clone)]
pub(crate) struct StageDisk {
    disk: SimDisk,
    stage: Arc<Stage>,
}

#[derive(Debug)]
struct Stage {
    world: Arc<World>,
    failures: Mutex<Failures>,
    /// Told when the power is cut.
    is_cut: Arc<Notify>,
    lie: Option<(String, String)>,
}

impl StageDisk {
    pub(crate) fn new(
        world: &Arc<World>,
        disk: SimDisk,
        failures: Failures,
        is_cut: Arc<Notify>,
    ) -> Self {
        let stage = Stage {
            world: Arc::clone(world),
            failures: Mutex::new(failures),
            is_cut,
            lie: std::env::var(LIE).ok().map(|lie| {
                let (site, part) = lie.split_once(':').unwrap();
                (site.to_owned(), part.to_owned())
            }),
        };
        Self {
            disk,
            stage: Arc::new(stage),
        }
    }

    pub(crate) fn stop_failing(&self) {
        self.stage.failures.lock().write_one_in = 0;
    }

    fn over<T>(&self, done: io::Result<T>) -> io::Result<T> {
        self.stage.look(&self.disk, done.is_err());
        done
    }
}

impl Stage {
    fn look(&self, disk: &SimDisk, has_failed: bool) {
        if disk.is_power_cut() {
            self.is_cut.notify_one();
        } else if has_failed {
            self.world.disk_has_failed();
        }
    }

    fn is_lie(&self, site: Site, path: &Path) -> bool {
        let is_there = |(lie, part): &(String, String)| {
            format!("{site:?}") == *lie && path.to_string_lossy().contains(part)
        };
        self.lie.as_ref().is_some_and(is_there)
    }

    fn may_write(&self) -> io::Result<()> {
        let mut failures = self.failures.lock();
        let one_in = failures.write_one_in;
        if one_in > 0 && failures.chance.one_in(one_in) {
            self.world.disk_has_failed();
            return Err(io::Error::other("the stage fails a write"));
        }
        Ok(())
    }
}

impl Disk for StageDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.over(self.disk.open(path, mode))?;
        Ok(Arc::new(StageFile {
            file,
            path: path.to_owned(),
            disk: self.clone(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.over(self.disk.create_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()> {
        self.over(self.disk.rename(from, to, site))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.over(self.disk.remove(path))
    }

    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        self.over(self.disk.sync_dir(path, site))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

#[derive(Debug)]
struct StageFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    disk: StageDisk,
}

impl DiskFile for StageFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.disk.stage.may_write()?;
        self.disk.over(self.file.write_all_at(bytes, position))
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        if self.disk.stage.is_lie(site, &self.path) {
            return Ok(());
        }
        self.disk.over(self.file.sync(site))
    }

    fn forget(&self, position: u64) -> io::Result<()> {
        self.file.forget(position)
    }

    fn byte_count(&self) -> io::Result<u64> {
        self.file.byte_count()
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        self.disk.over(self.file.set_len(bytes, site))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.stage.may_write()?;
        self.disk.over(self.file.allocate(bytes))
    }

    fn map(&self) -> io::Result<MappedBytes> {
        self.file.map()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

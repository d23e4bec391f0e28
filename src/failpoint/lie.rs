//! The system's disk with one thing left out: what is called at one site succeeds and does nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::disk::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, RealDisk, Site};

/// Where the disk lies.
#[derive(Debug, Clone)]
struct Lie {
    site: String,
    /// What the path has in it; empty for every path.
    part: String,
}

impl Lie {
    fn is_told(&self, site: Site, path: &Path) -> bool {
        format!("{site:?}") == self.site && path.to_string_lossy().contains(&self.part)
    }
}

/// A disk that lies at one site.
#[derive(Debug)]
pub(super) struct LyingDisk {
    lie: Lie,
}

impl LyingDisk {
    /// Takes a site's name, or a name, a colon and a part of a path.
    pub(super) fn new(text: &str) -> Self {
        let (site, part) = text.split_once(':').unwrap_or((text, ""));
        let (site, part) = (site.to_owned(), part.to_owned());
        Self {
            lie: Lie { site, part },
        }
    }
}

impl Disk for LyingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile {
            file: RealDisk.open(path, mode)?,
            path: path.to_owned(),
            lie: self.lie.clone(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, from) {
            return Ok(());
        }
        RealDisk.rename(from, to, site)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, path) {
            return Ok(());
        }
        RealDisk.sync_dir(path, site)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

#[derive(Debug)]
struct LyingFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    lie: Lie,
}

impl DiskFile for LyingFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, &self.path) {
            return Ok(());
        }
        self.file.sync(site)
    }

    fn byte_count(&self) -> io::Result<u64> {
        self.file.byte_count()
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, &self.path) {
            return Ok(());
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

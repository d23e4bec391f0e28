//! The system's disk with one thing left out: what is called at one site succeeds and does nothing.
//!
//! [`FORGET`] is no site: memory is not dropped, and a start reads what a failed sync has left there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::disk::{Disk, DiskFile, DiskLayer, FileLayer, OpenMode, RealDisk, Site};

/// Leaves out that files are read from the disk again.
const FORGET: &str = "Forget";

/// Where the disk lies.
#[derive(Debug, Clone)]
struct Lie {
    site: String,
    /// What the path has in it; empty for every path.
    part: String,
}

impl Lie {
    fn is_told(&self, site: Site, path: &Path) -> bool {
        self.is_at(&format!("{site:?}"), path)
    }

    fn is_at(&self, site: &str, path: &Path) -> bool {
        site == self.site && path.to_string_lossy().contains(&self.part)
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

impl DiskLayer for LyingDisk {
    fn below(&self) -> &dyn Disk {
        &RealDisk
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile {
            file: RealDisk.open(path, mode)?,
            path: path.to_owned(),
            lie: self.lie.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, from) {
            return Ok(());
        }
        RealDisk.rename(from, to, site)
    }

    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, path) {
            return Ok(());
        }
        RealDisk.sync_dir(path, site)
    }
}

#[derive(Debug)]
struct LyingFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    lie: Lie,
}

impl FileLayer for LyingFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn forget(&self, position: u64) -> io::Result<()> {
        if self.lie.is_at(FORGET, &self.path) {
            return Ok(());
        }
        self.file.forget(position)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, &self.path) {
            return Ok(());
        }
        self.file.sync(site)
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        if self.lie.is_told(site, &self.path) {
            return Ok(());
        }
        self.file.set_len(bytes, site)
    }
}

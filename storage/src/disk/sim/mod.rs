//! A disk in memory whose power can be cut after any operation.
//!
//! It keeps apart what readers see and what is durable, for the bytes of each file (in sectors of 512), for its length, and
//! for the names in each directory. [`SimDisk::reboot`] returns what a power cut would leave, chosen by a [`Survival`]:
//!
//! | change | durable after | until then |
//! |---|---|---|
//! | write | the file's sync | each sector survives by itself, in any of its versions since the last sync |
//! | length (write past the end, `set_len`, `allocate`) | the file's sync | survives up to some point in its order |
//! | create, rename, remove | `sync_dir` of the directory | each survives by itself |
//!
//! The operations that change something are counted from 1 (creating, writing, syncing, cutting, allocating, renaming,
//! removing, syncing a directory), failed ones too, so that a test can go through them all. The seed fixes everything: the
//! same operations with the same seeds leave the same disk.

mod control;
mod fate;
mod file;
mod inode;
mod random;
mod state;
mod trace;
mod tree;

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, OpenMode, Site};
use fate::Fate;
pub use fate::Survival;
use file::SimFile;
pub use inode::SECTOR_BYTES;
use state::{Change, State};
use tree::Node;

/// A disk in memory. A clone is another handle on the same disk; [`SimDisk::snapshot`] makes an independent one.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// The error of every operation at and after the power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the power of the simulated disk is cut")]
pub struct PowerCut;

impl PowerCut {
    /// Returns whether `error` comes from a power cut.
    #[must_use]
    pub fn is_cause_of(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<Self>())
    }
}

impl From<PowerCut> for io::Error {
    fn from(cut: PowerCut) -> Self {
        Self::other(cut)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let inode = if mode == OpenMode::CreateNew {
            let end = state.begin(&Change::new("create", path))?;
            let created = state.create(path)?;
            end.finish()?;
            created
        } else {
            state.check_power()?;
            match state.node(path)? {
                Node::File(inode) => inode,
                Node::Dir(_) => return Err(io::ErrorKind::IsADirectory.into()),
            }
        };
        let handle = state.next_handle();
        drop(state);
        Ok(Arc::new(SimFile::new(
            Arc::clone(&self.state),
            inode,
            handle,
            path,
            mode,
        )))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        match state.node(path) {
            Ok(Node::Dir(_)) => return Ok(()),
            Ok(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(_) => {}
        }
        let end = state.begin(&Change::new("create directory", path))?;
        state.create_dir(path)?;
        end.finish()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        state.check_power()?;
        let entries = state.dir_at(path)?.names().map(|(name, node)| DirEntry {
            name: name.clone(),
            is_dir: matches!(node, Node::Dir(_)),
        });
        Ok(entries.collect())
    }

    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()> {
        let mut state = self.state.lock();
        let end = state.begin(&Change::new("rename", from).at(site))?;
        if !end.is_lie() {
            state.rename(from, to)?;
        }
        end.finish()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let end = state.begin(&Change::new("remove", path))?;
        state.remove(path)?;
        end.finish()
    }

    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        let mut state = self.state.lock();
        let end = state.begin(&Change::new("sync directory", path).at(site))?;
        let dir = state.dir_at_mut(path)?;
        // A sync that the power cut interrupts leaves it to the survival what became durable.
        if !end.is_lie() && !end.is_cut() {
            if end.is_failure() {
                return Err(io::Error::other("the simulated disk failed a sync"));
            }
            dir.sync();
        }
        end.finish()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.check_power()?;
        state.node(path)?;
        Ok(state.free_bytes())
    }
}

#[cfg(test)]
mod tests;

//! An open file of the simulated disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::inode::Inode;
use super::state::{Change, Course, State};
use super::tree::InodeId;
use crate::disk::{DiskFile, MappedBytes, OpenMode, Site};

/// An open file.
#[derive(Debug)]
pub(super) struct SimFile {
    state: Arc<Mutex<State>>,
    inode: InodeId,
    handle: u64,
    path: PathBuf,
    mode: OpenMode,
}

impl SimFile {
    pub(super) fn new(
        state: Arc<Mutex<State>>,
        inode: InodeId,
        handle: u64,
        path: &Path,
        mode: OpenMode,
    ) -> Self {
        Self {
            state,
            inode,
            handle,
            path: path.to_path_buf(),
            mode,
        }
    }

    fn change(&self, verb: &'static str) -> Change<'_> {
        Change::new(verb, &self.path)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.mode == OpenMode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(state.inode(self.inode)?.read(buf, position))
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.check_writable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let byte_count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let course = state.begin(&self.change("write").range(position, byte_count))?;
        let end = position
            .checked_add(byte_count)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let size_max = state.size_max(self.inode)?;
        let inode = state.inode_mut(self.inode)?;
        if end <= size_max {
            inode.write(bytes, position);
            return course.finish();
        }
        let fitting = usize::try_from(size_max.saturating_sub(position)).unwrap_or(usize::MAX);
        let fitting = bytes.get(..fitting).unwrap_or_default();
        inode.write(fitting, position);
        course.finish()?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        let mut state = self.state.lock();
        let course = state.begin(&self.change("sync").at(site))?;
        match course {
            Course::Normal => state.inode_mut(self.inode)?.sync(),
            Course::Failure => {
                state.inode_mut(self.inode)?.lose_unsynced();
                return Err(io::Error::other("the simulated disk failed a sync"));
            }
            Course::Lie | Course::Cut => {}
        }
        course.finish()
    }

    fn forget(&self, position: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.inode_mut(self.inode)?.forget(position);
        Ok(())
    }

    fn byte_count(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(state.inode(self.inode)?.byte_count())
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.state.lock();
        let course = state.begin(&self.change("set_len").range(0, bytes).at(site))?;
        if !course.is_lie() {
            state.inode_mut(self.inode)?.set_len(bytes);
        }
        course.finish()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.state.lock();
        let course = state.begin(&self.change("allocate").range(0, bytes))?;
        let size_max = state.size_max(self.inode)?;
        let inode = state.inode_mut(self.inode)?;
        if bytes > inode.byte_count() {
            if bytes > size_max {
                course.finish()?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            inode.set_len(bytes);
        }
        course.finish()
    }

    fn map(&self) -> io::Result<MappedBytes> {
        let state = self.state.lock();
        state.check_power()?;
        let bytes = state.inode(self.inode).map(Inode::read_all)?;
        Ok(MappedBytes::Owned(bytes))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.check_power()?;
        let holder = *state.locks.entry(self.inode).or_insert(self.handle);
        Ok(holder == self.handle)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.locks.get(&self.inode) == Some(&self.handle) {
            state.locks.remove(&self.inode);
        }
    }
}

//! What a test does to the simulated disk from outside: cuts its power, makes it lie, damages its bytes, looks at it.
//!
//! None of these operations is counted, and all of them work while the power is cut.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::inode::Inode;
use super::random::Random;
use super::state::State;
use super::tree::{Dir, DirId, Node};
use super::{Fate, SimDisk, Survival};
use crate::disk::Site;

impl SimDisk {
    /// Makes an empty disk. The seed is mixed into those of [`Survival::Random`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    /// Copies the disk as it is, with its unsynced changes; files open on this one are not open there.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let mut state = self.state.lock().clone();
        state.locks.clear();
        Self::from_state(state)
    }

    /// Returns what a power cut at this moment leaves, with the power on. This disk stays as it is.
    ///
    /// Lies and the capacity stay in force, a planned power cut or failure does not; operations are counted from 1 again.
    #[must_use]
    pub fn reboot(&self, survival: Survival) -> Self {
        let old = self.state.lock();
        let mut random = Random::new(match survival {
            Survival::Random(seed) => Random::new(old.seed ^ seed.rotate_left(32)).next(),
            Survival::Nothing | Survival::Everything => old.seed,
        });
        let mut new = State::new(old.seed);
        new.lies.clone_from(&old.lies);
        new.capacity_bytes = old.capacity_bytes;
        new.dirs = (old.dirs.iter())
            .map(|dir| rebooted_dir(dir, survival, &mut random))
            .collect();
        new.inodes = (old.inodes.iter())
            .map(|inode| rebooted_inode(inode, survival, &mut random))
            .collect();
        Self::from_state(new)
    }

    /// Returns the disk as the next process finds it when this one is killed, with the power on: everything that was written
    /// is visible, and what was not synced is as far from durable as before. This disk stays as it is.
    ///
    /// Lies and the capacity stay in force, a planned power cut or failure does not; operations are counted from 1 again.
    #[must_use]
    pub fn restart_process(&self) -> Self {
        let mut state = self.state.lock().clone();
        state.locks.clear();
        state.op_count = 0;
        state.is_cut = false;
        (state.cut_at, state.fail_sync_at) = (None, None);
        Self::from_state(state)
    }

    /// Makes the `op`-th counted operation the last: it fails, having had part of its effect, and all after it fail.
    pub fn cut_power_at(&self, op: u64) {
        self.state.lock().cut_at = Some(op);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.state.lock().is_cut = true;
    }

    /// Returns whether the power is cut.
    #[must_use]
    pub fn is_power_cut(&self) -> bool {
        self.state.lock().is_cut
    }

    /// Makes the `op`-th counted operation fail if it is a sync, as a kernel fails one: the writes that waited for it are
    /// still read but will never be durable, also when they are written again, and the next sync reports success.
    pub fn fail_sync_at(&self, op: u64) {
        self.state.lock().fail_sync_at = Some(op);
    }

    /// Returns whether readers see what a failed sync has lost: nobody can rely on it any more.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.state.lock().inodes.iter().any(|file| file.has_lost())
    }

    /// Does to a file what a kernel does when its sync fails: the writes that waited for it are still read but will never be
    /// durable. For disks that fail a sync in front of this one.
    pub fn lose_unsynced(&self, path: &Path) {
        let mut state = self.state.lock();
        if let Ok(Node::File(id)) = state.node(path)
            && let Ok(inode) = state.inode_mut(id)
        {
            inode.lose_unsynced();
        }
    }

    /// Skips every sync, directory sync, `set_len` and rename at `site` from now on; they report success.
    pub fn lie_at(&self, site: Site) {
        self.state.lock().lies.insert(site);
    }

    /// Ends all lies.
    pub fn stop_lying(&self) {
        self.state.lock().lies.clear();
    }

    /// Limits the sum of the lengths of all files, or lifts the limit.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Returns how many operations that change something there have been.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.state.lock().op_count
    }

    /// Returns a hash of everything that readers see: names, lengths and bytes.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let state = self.state.lock();
        let mut hasher = DefaultHasher::new();
        for (path, node) in state.walk() {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write_u8(0xFF);
            if let Node::File(id) = node
                && let Ok(inode) = state.inode(id)
            {
                inode.hash_into(|bytes| hasher.write(bytes));
            }
        }
        hasher.finish()
    }

    /// Returns the last operations, a line each, oldest first.
    #[must_use]
    pub fn trace(&self) -> String {
        self.state.lock().trace.to_string()
    }

    /// Returns the paths of all files, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let files = state.walk().into_iter();
        files
            .filter(|(_, node)| matches!(node, Node::File(_)))
            .map(|(path, _)| path)
            .collect()
    }

    /// Returns the bytes of a file as readers see them.
    ///
    /// # Errors
    /// `NotFound` for a missing file, `IsADirectory` for a directory.
    pub fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        match state.node(path)? {
            Node::File(id) => state.inode(id).map(Inode::read_all),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Replaces the bytes of a file, or makes it, and its directories; all of it durable.
    ///
    /// # Errors
    /// `NotADirectory` or `IsADirectory` where the path crosses what is there.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut dirs: Vec<_> = path.ancestors().skip(1).collect();
        dirs.reverse();
        for dir in dirs {
            if state.node(dir).is_err() {
                state.create_dir(dir)?;
                state.sync_parent_of(dir)?;
            }
        }
        let id = match state.node(path) {
            Ok(Node::File(id)) => id,
            Ok(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            Err(_) => {
                let id = state.create(path)?;
                state.sync_parent_of(path)?;
                id
            }
        };
        *state.inode_mut(id)? = Inode::durable(bytes);
        Ok(())
    }

    /// Cuts a file, or extends it with zeros, durably.
    ///
    /// # Errors
    /// As [`SimDisk::read_file`].
    pub fn truncate_file(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut contents = self.read_file(path)?;
        let byte_count = usize::try_from(bytes).map_err(io::Error::other)?;
        contents.resize(byte_count, 0);
        self.write_file(path, &contents)
    }

    /// Removes a file, durably.
    ///
    /// # Errors
    /// `NotFound` for a missing file.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.remove(path)?;
        state.sync_parent_of(path)
    }

    /// Flips one bit of a file, in what readers see and in what is durable: bit `bit % 8` (0 the lowest) of byte `bit / 8`.
    ///
    /// # Errors
    /// `UnexpectedEof` behind the end of the file, or as [`SimDisk::read_file`].
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let Node::File(id) = state.node(path)? else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        if state.inode_mut(id)?.flip_bit(bit) {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn from_state(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl State {
    /// Returns every path below the root with what it stands for, in order of paths.
    fn walk(&self) -> Vec<(PathBuf, Node)> {
        let mut found = Vec::new();
        let mut waiting = vec![(PathBuf::from("/"), DirId(0))];
        while let Some((path, id)) = waiting.pop() {
            let Ok(dir) = self.dir(id) else { continue };
            for (name, node) in dir.names() {
                let path = path.join(name);
                if let Node::Dir(id) = node {
                    waiting.push((path.clone(), id));
                }
                found.push((path, node));
            }
        }
        found.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        found
    }

    fn sync_parent_of(&mut self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        self.dir_at_mut(parent).map(Dir::sync)
    }
}

fn rebooted_dir(dir: &Arc<Dir>, survival: Survival, random: &mut Random) -> Arc<Dir> {
    if dir.is_clean() {
        return Arc::clone(dir);
    }
    Arc::new(dir.after_power_cut(&mut Fate::of(survival, random)))
}

fn rebooted_inode(inode: &Arc<Inode>, survival: Survival, random: &mut Random) -> Arc<Inode> {
    if inode.is_clean() {
        return Arc::clone(inode);
    }
    Arc::new(inode.after_power_cut(&mut Fate::of(survival, random)))
}

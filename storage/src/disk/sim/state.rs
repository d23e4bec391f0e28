//! Everything the simulated disk holds, behind one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::PowerCut;
use super::inode::Inode;
use super::trace::{Trace, TraceLine};
use super::tree::{Dir, DirId, InodeId, Node, names_of};
use crate::disk::Site;

const ROOT: DirId = DirId(0);

/// The files, the names and the settings of one simulated disk.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) inodes: Vec<Arc<Inode>>,
    pub(super) dirs: Vec<Arc<Dir>>,
    pub(super) op_count: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) is_cut: bool,
    pub(super) fail_sync_at: Option<u64>,
    pub(super) lies: BTreeSet<Site>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) locks: BTreeMap<InodeId, u64>,
    pub(super) handle_count: u64,
    pub(super) trace: Trace,
}

/// An operation that is about to change something.
#[derive(Debug)]
pub(super) struct Change<'a> {
    verb: &'static str,
    path: &'a Path,
    range: Option<(u64, u64)>,
    site: Option<Site>,
}

impl<'a> Change<'a> {
    pub(super) fn new(verb: &'static str, path: &'a Path) -> Self {
        Self {
            verb,
            path,
            range: None,
            site: None,
        }
    }

    pub(super) fn at(self, site: Site) -> Self {
        let site = Some(site);
        Self { site, ..self }
    }

    pub(super) fn range(self, position: u64, bytes: u64) -> Self {
        let range = Some((position, bytes));
        Self { range, ..self }
    }
}

/// How a counted operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Course {
    /// As asked.
    Normal,
    /// It reports success and does nothing.
    Lie,
    /// A sync fails and loses what it should have made durable.
    Failure,
    /// The power is cut in the middle of it.
    Cut,
}

impl Course {
    pub(super) fn is_lie(self) -> bool {
        self == Self::Lie
    }

    pub(super) fn is_failure(self) -> bool {
        self == Self::Failure
    }

    pub(super) fn is_cut(self) -> bool {
        self == Self::Cut
    }

    /// Returns the result of the operation.
    pub(super) fn finish(self) -> io::Result<()> {
        if self.is_cut() {
            Err(PowerCut.into())
        } else {
            Ok(())
        }
    }
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            inodes: Vec::new(),
            dirs: vec![Arc::new(Dir::default())],
            op_count: 0,
            cut_at: None,
            is_cut: false,
            fail_sync_at: None,
            lies: BTreeSet::new(),
            capacity_bytes: None,
            locks: BTreeMap::new(),
            handle_count: 0,
            trace: Trace::default(),
        }
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.is_cut {
            return Err(PowerCut.into());
        }
        Ok(())
    }

    /// Counts an operation and decides how it goes.
    pub(super) fn begin(&mut self, change: &Change<'_>) -> io::Result<Course> {
        self.check_power()?;
        self.op_count += 1;
        let op = Some(self.op_count);
        let (course, note) = if self.cut_at == op {
            self.is_cut = true;
            (Course::Cut, " POWER CUT")
        } else if self.fail_sync_at == op {
            (Course::Failure, " FAILS IF A SYNC")
        } else if change.site.is_some_and(|site| self.lies.contains(&site)) {
            (Course::Lie, " LIE")
        } else {
            (Course::Normal, "")
        };
        self.trace.push(TraceLine {
            op: self.op_count,
            verb: change.verb,
            path: Arc::from(change.path),
            range: change.range,
            site: change.site,
            note,
        });
        Ok(course)
    }

    pub(super) fn next_handle(&mut self) -> u64 {
        self.handle_count += 1;
        self.handle_count
    }

    pub(super) fn inode(&self, id: InodeId) -> io::Result<&Inode> {
        let inode = self.inodes.get(id.0).map(Arc::as_ref);
        inode.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode_mut(&mut self, id: InodeId) -> io::Result<&mut Inode> {
        let inode = self.inodes.get_mut(id.0).map(Arc::make_mut);
        inode.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn dir(&self, id: DirId) -> io::Result<&Dir> {
        let dir = self.dirs.get(id.0).map(Arc::as_ref);
        dir.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn dir_mut(&mut self, id: DirId) -> io::Result<&mut Dir> {
        let dir = self.dirs.get_mut(id.0).map(Arc::make_mut);
        dir.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns what a path stands for.
    pub(super) fn node(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for name in names_of(path)? {
            let Node::Dir(dir) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = self.dir(dir)?.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn dir_at(&self, path: &Path) -> io::Result<&Dir> {
        self.dir(self.dir_id(path)?)
    }

    pub(super) fn dir_at_mut(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dir_mut(self.dir_id(path)?)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<InodeId> {
        let (dir, name) = self.parent(path)?;
        if self.dir(dir)?.get(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = InodeId(self.inodes.len());
        self.inodes.push(Arc::default());
        self.dir_mut(dir)?.link(name, Node::File(inode));
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<DirId> {
        let (parent, name) = self.parent(path)?;
        let dir = DirId(self.dirs.len());
        self.dirs.push(Arc::default());
        self.dir_mut(parent)?.link(name, Node::Dir(dir));
        Ok(dir)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (dir, from) = self.parent(from)?;
        let (to_dir, to) = self.parent(to)?;
        if dir != to_dir {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let dir = self.dir_mut(dir)?;
        let node = dir.get(from).ok_or(io::ErrorKind::NotFound)?;
        if from == to {
            return Ok(());
        }
        if let Some(Node::Dir(_)) = dir.get(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        dir.rename(node, to);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match self.dir(parent)?.get(name) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Node::Dir(dir)) if !self.dir(dir)?.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            Some(_) => {}
        }
        self.dir_mut(parent)?.unlink(name);
        Ok(())
    }

    /// Returns the bytes left below the capacity. A file takes up its whole length.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity_bytes) = self.capacity_bytes else {
            return u64::MAX;
        };
        let mut used_bytes = 0_u64;
        for dir in &self.dirs {
            for (_, node) in dir.names() {
                if let Node::File(id) = node {
                    let bytes = self.inode(id).map_or(0, Inode::byte_count);
                    used_bytes = used_bytes.saturating_add(bytes);
                }
            }
        }
        capacity_bytes.saturating_sub(used_bytes)
    }

    /// Returns the greatest length that the capacity allows a file.
    pub(super) fn size_max(&self, id: InodeId) -> io::Result<u64> {
        Ok(self
            .inode(id)?
            .byte_count()
            .saturating_add(self.free_bytes()))
    }

    fn dir_id(&self, path: &Path) -> io::Result<DirId> {
        match self.node(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Returns the directory that holds the last name of a path, and that name.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<(DirId, &'p str)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidFilename)?;
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        Ok((self.dir_id(parent)?, name))
    }
}

//! A disk that fails chosen operations, around any other disk.
//!
//! A [`Rule`] names a class of operations, where they happen, from which of them on it works, and what happens then. A
//! failed operation does not reach the disk below, except that [`Effect::WritePart`] lets the first bytes through. Rules
//! are added and healed while the disk is in use.
//!
//! Around a simulated disk ([`FaultDisk::over`]) a failed sync also loses what it was to make durable, as a kernel does. A sync
//! that is asked of a file after one of it has failed is counted: nobody may try it again.

mod record;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::sim::SimDisk;
use super::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};
pub use record::Asked;
use record::Record;

/// A class of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpClass {
    /// Opening an existing file.
    Open,
    /// Creating a file.
    Create,
    /// Creating a directory.
    CreateDir,
    /// Listing a directory.
    List,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Syncing a directory.
    SyncDir,
    /// Asking for the free bytes.
    FreeBytes,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Syncing a file.
    Sync,
    /// Asking for the length.
    ByteCount,
    /// Cutting or extending a file.
    SetLen,
    /// Reserving space.
    Allocate,
    /// Mapping a file.
    Map,
    /// Locking a file.
    Lock,
}

/// What happens to an operation instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It fails with this kind.
    Fail(io::ErrorKind),
    /// It fails with this error number of the operating system.
    FailOs(i32),
    /// A read returns at most this many bytes. Nothing for other operations.
    ShortRead(usize),
    /// A write writes this many bytes and fails with this kind. Other operations just fail.
    WritePart(usize, io::ErrorKind),
}

/// How often a rule works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Once,
    /// From then on, until it is healed.
    Forever,
}

/// Fails some operations.
#[derive(Debug, Clone)]
pub struct Rule {
    class: OpClass,
    site: Option<Site>,
    path_suffix: String,
    first: u64,
    times: Times,
    effect: Effect,
}

impl Rule {
    /// Fails the next operation of `class`, once.
    #[must_use]
    pub fn new(class: OpClass, effect: Effect) -> Self {
        Self {
            class,
            site: None,
            path_suffix: String::new(),
            first: 1,
            times: Times::Once,
            effect,
        }
    }

    /// Narrows the rule to paths whose text ends with `suffix`.
    #[must_use]
    pub fn on(self, suffix: &str) -> Self {
        let path_suffix = suffix.to_owned();
        Self {
            path_suffix,
            ..self
        }
    }

    /// Narrows the rule to one site (of syncs, directory syncs, `set_len` and renames).
    #[must_use]
    pub fn at(self, site: Site) -> Self {
        let site = Some(site);
        Self { site, ..self }
    }

    /// Lets the rule begin with the `nth` operation that it fits, counted from 1 when the rule is added.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { first: nth, ..self }
    }

    /// Lets the rule work until it is healed.
    #[must_use]
    pub fn forever(self) -> Self {
        let times = Times::Forever;
        Self { times, ..self }
    }

    fn fits(&self, op: &Op<'_>) -> bool {
        self.class == op.class
            && (self.site.is_none() || self.site == op.site)
            && (op.path.as_os_str().as_encoded_bytes()).ends_with(self.path_suffix.as_bytes())
    }
}

/// A disk that fails operations as its rules say. A clone is another handle on the same one.
#[derive(Debug, Clone)]
pub struct FaultDisk {
    disk: Arc<dyn Disk>,
    /// The same disk, where a failed sync is to lose what waited for it.
    sim: Option<SimDisk>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    record: Record,
    rules: Vec<ActiveRule>,
    /// Every operation so far by class; a class that never came up is missing.
    counts: BTreeMap<OpClass, u64>,
    hit_count: u64,
}

#[derive(Debug)]
struct ActiveRule {
    rule: Rule,
    seen_count: u64,
}

#[derive(Debug, Clone, Copy)]
struct Op<'a> {
    class: OpClass,
    path: &'a Path,
    site: Option<Site>,
}

impl FaultDisk {
    /// Puts a disk without rules around `disk`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            sim: None,
            plan: Arc::default(),
        }
    }

    /// Puts a disk without rules around a simulated one, whose files lose what a failed sync was to make durable.
    #[must_use]
    pub fn over(sim: &SimDisk) -> Self {
        Self {
            sim: Some(sim.clone()),
            ..Self::new(Arc::new(sim.clone()))
        }
    }

    /// Adds a rule. Where several fit an operation, the one that was added first decides.
    pub fn add(&self, rule: Rule) {
        self.plan.lock().rules.push(ActiveRule {
            rule,
            seen_count: 0,
        });
    }

    /// Drops all rules.
    pub fn heal(&self) {
        self.plan.lock().rules.clear();
    }

    /// Returns how many operations of a class there have been, failed ones too.
    #[must_use]
    pub fn count(&self, class: OpClass) -> u64 {
        self.plan.lock().counts.get(&class).copied().unwrap_or(0)
    }

    /// Returns how often a rule has worked.
    #[must_use]
    pub fn hit_count(&self) -> u64 {
        self.plan.lock().hit_count
    }

    fn check(&self, class: OpClass, path: &Path, site: Option<Site>) -> io::Result<()> {
        let op = Op { class, path, site };
        let effect = self.plan.lock().meet(&op);
        effect.map_or(Ok(()), Effect::fail)
    }
}

impl Plan {
    /// Counts an operation and returns what is to happen to it.
    fn meet(&mut self, op: &Op<'_>) -> Option<Effect> {
        *self.counts.entry(op.class).or_default() += 1;
        let mut chosen = None;
        for active in &mut self.rules {
            if active.rule.fits(op) {
                active.seen_count += 1;
                if chosen.is_none() && active.works() {
                    chosen = Some(active.rule.effect);
                }
            }
        }
        self.hit_count += u64::from(chosen.is_some());
        self.record.note(op, chosen.is_some());
        chosen
    }
}

impl ActiveRule {
    fn works(&self) -> bool {
        match self.rule.times {
            Times::Once => self.seen_count == self.rule.first,
            Times::Forever => self.seen_count >= self.rule.first,
        }
    }
}

impl Effect {
    fn fail(self) -> io::Result<()> {
        match self {
            Self::Fail(kind) | Self::WritePart(_, kind) => Err(kind.into()),
            Self::FailOs(code) => Err(io::Error::from_raw_os_error(code)),
            Self::ShortRead(_) => Ok(()),
        }
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let class = match mode {
            OpenMode::CreateNew => OpClass::Create,
            OpenMode::Read | OpenMode::Write => OpClass::Open,
        };
        self.check(class, path, None)?;
        Ok(Arc::new(FaultFile {
            file: self.disk.open(path, mode)?,
            path: path.to_path_buf(),
            sim: self.sim.clone(),
            plan: Arc::clone(&self.plan),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check(OpClass::CreateDir, path, None)?;
        self.disk.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.check(OpClass::List, path, None)?;
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path, site: Site) -> io::Result<()> {
        self.check(OpClass::Rename, from, Some(site))?;
        self.disk.rename(from, to, site)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(OpClass::Remove, path, None)?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path, site: Site) -> io::Result<()> {
        self.check(OpClass::SyncDir, path, Some(site))?;
        self.disk.sync_dir(path, site)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.check(OpClass::FreeBytes, path, None)?;
        self.disk.free_bytes(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    sim: Option<SimDisk>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultFile {
    fn meet(&self, class: OpClass, site: Option<Site>) -> Option<Effect> {
        let path = &self.path;
        self.plan.lock().meet(&Op { class, path, site })
    }

    fn check(&self, class: OpClass, site: Option<Site>) -> io::Result<()> {
        self.meet(class, site).map_or(Ok(()), Effect::fail)
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut count_max = buf.len();
        match self.meet(OpClass::Read, None) {
            Some(Effect::ShortRead(count)) => count_max = count_max.min(count),
            Some(effect) => effect.fail()?,
            None => {}
        }
        let part = buf.get_mut(..count_max).unwrap_or_default();
        self.file.read_at(part, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Some(effect) = self.meet(OpClass::Write, None) {
            if let Effect::WritePart(count, _) = effect {
                let part = bytes.get(..count).unwrap_or(bytes);
                self.file.write_all_at(part, position)?;
            }
            effect.fail()?;
        }
        self.file.write_all_at(bytes, position)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        if let Some(effect) = self.meet(OpClass::Sync, Some(site)) {
            if let Some(sim) = &self.sim {
                sim.lose_unsynced(&self.path);
            }
            effect.fail()?;
        }
        self.file.sync(site)
    }

    fn forget(&self, position: u64) -> io::Result<()> {
        self.file.forget(position)
    }

    fn byte_count(&self) -> io::Result<u64> {
        self.check(OpClass::ByteCount, None)?;
        self.file.byte_count()
    }

    fn set_len(&self, bytes: u64, site: Site) -> io::Result<()> {
        self.check(OpClass::SetLen, Some(site))?;
        self.file.set_len(bytes, site)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.check(OpClass::Allocate, None)?;
        self.file.allocate(bytes)
    }

    fn map(&self) -> io::Result<MappedBytes> {
        self.check(OpClass::Map, None)?;
        self.file.map()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.check(OpClass::Lock, None)?;
        self.file.try_lock()
    }
}

#[cfg(test)]
mod tests;

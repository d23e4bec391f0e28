//! What the faulty disk remembers of the operations that it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{FaultDisk, Op, OpClass, Rule};
use crate::disk::Site;

/// One operation that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// What it was.
    pub class: OpClass,
    /// Of which file or directory.
    pub path: PathBuf,
    /// Where in the code, for syncs, directory syncs, `set_len` and renames.
    pub site: Option<Site>,
    /// Which of those that are alike in all of this, counted from 1.
    pub nth: u64,
}

impl Asked {
    /// Returns a rule that works from this operation on, when the same is asked for once more.
    #[must_use]
    pub fn rule(&self, effect: super::Effect) -> Rule {
        let rule = Rule::new(self.class, effect)
            .on(&self.path.to_string_lossy())
            .nth(self.nth);
        match self.site {
            Some(site) => rule.at(site),
            None => rule,
        }
    }
}

impl FaultDisk {
    /// Keeps every operation from now on, for [`FaultDisk::asked`].
    pub fn record(&self) {
        self.plan.lock().record.start();
    }

    /// Returns the operations that were asked for since [`FaultDisk::record`], each once for every time.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.plan.lock().record.asked()
    }

    /// Tells the disk that the program starts anew, which may sync what it finds and writes again.
    pub fn restarted(&self) {
        self.plan.lock().record.restarted();
    }

    /// Returns the files and directories that were synced again after a sync of them had failed, once for each time. A
    /// directory whose names have changed since, and a file that was created since, are others.
    #[must_use]
    pub fn synced_again(&self) -> Vec<PathBuf> {
        self.plan.lock().record.synced_again()
    }
}

/// What operations are told apart by, but for their number.
type Kind = (OpClass, PathBuf, Option<Site>);

#[derive(Debug, Default)]
pub(super) struct Record {
    counts: Option<BTreeMap<Kind, u64>>,
    /// Directories that were created, or found.
    dirs: BTreeSet<PathBuf>,
    failed_syncs: BTreeSet<PathBuf>,
    synced_again: Vec<PathBuf>,
}

impl Record {
    pub(super) fn start(&mut self) {
        self.counts = Some(BTreeMap::new());
    }

    pub(super) fn note(&mut self, op: &Op<'_>, has_failed: bool) {
        self.note_sync(op.class, op.path, has_failed);
        if let Some(counts) = &mut self.counts {
            let key = (op.class, op.path.to_path_buf(), op.site);
            *counts.entry(key).or_default() += 1;
        }
    }

    pub(super) fn restarted(&mut self) {
        self.failed_syncs.clear();
    }

    fn note_sync(&mut self, class: OpClass, path: &Path, has_failed: bool) {
        match class {
            OpClass::CreateDir if self.dirs.contains(path) => {}
            // Another file from now on, and a name that no sync has been asked for.
            OpClass::Create | OpClass::CreateDir | OpClass::Remove | OpClass::Rename
                if !has_failed =>
            {
                self.failed_syncs.remove(path);
                self.failed_syncs.remove(path.parent().unwrap_or(path));
                if class == OpClass::CreateDir {
                    self.dirs.insert(path.to_path_buf());
                }
            }
            OpClass::Sync | OpClass::SyncDir => {
                if self.failed_syncs.contains(path) {
                    self.synced_again.push(path.to_path_buf());
                }
                if has_failed {
                    self.failed_syncs.insert(path.to_path_buf());
                }
            }
            _ => {}
        }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        let counts = self.counts.iter().flatten();
        let each = |((class, path, site), count): (&Kind, &u64)| {
            let (class, path, site) = (*class, path.clone(), *site);
            let one = move |nth| Asked {
                class,
                path: path.clone(),
                site,
                nth,
            };
            (1..=*count).map(one).collect::<Vec<_>>()
        };
        counts.flat_map(each).collect()
    }

    pub(super) fn synced_again(&self) -> Vec<PathBuf> {
        self.synced_again.clone()
    }
}

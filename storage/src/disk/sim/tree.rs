//! The names of the simulated disk: directories, with what readers see, what is durable, and the changes between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::Fate;

/// Number of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirId(pub(super) usize);

/// Number of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InodeId(pub(super) usize);

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(InodeId),
    Dir(DirId),
}

type Names = BTreeMap<String, Node>;

/// A change of a directory that is not durable yet.
#[derive(Debug, Clone)]
enum NameChange {
    Link { name: String, node: Node },
    Unlink { name: String },
    Rename { node: Node, to: String },
}

/// One directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Dir {
    visible: Names,
    durable: Names,
    waiting: Vec<NameChange>,
}

impl Dir {
    pub(super) fn names(&self) -> impl Iterator<Item = (&String, Node)> {
        self.visible.iter().map(|(name, node)| (name, *node))
    }

    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.visible.get(name).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.visible.is_empty()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn link(&mut self, name: &str, node: Node) {
        self.change(NameChange::Link {
            name: name.to_owned(),
            node,
        });
    }

    pub(super) fn unlink(&mut self, name: &str) {
        self.change(NameChange::Unlink {
            name: name.to_owned(),
        });
    }

    pub(super) fn rename(&mut self, node: Node, to: &str) {
        self.change(NameChange::Rename {
            node,
            to: to.to_owned(),
        });
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.visible);
        self.waiting.clear();
    }

    /// Returns the directory as a power cut leaves it.
    pub(super) fn after_power_cut(&self, fate: &mut Fate) -> Self {
        let mut names = self.durable.clone();
        for change in &self.waiting {
            if fate.survives() {
                change.apply(&mut names);
            }
        }
        Self {
            visible: names.clone(),
            durable: names,
            waiting: Vec::new(),
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.visible);
        self.waiting.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { node, to } => {
                names.retain(|_, named| named != node);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// Splits a path into the names from the root down. A relative path counts from the root.
pub(super) fn names_of(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidFilename)?);
            }
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
    }
    Ok(names)
}

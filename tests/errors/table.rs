//! What was tried: for each kind of operation and each error, how many runs, with the error once and for ever after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use storage::disk::fault::{Asked, Effect, OpClass};

/// The errors, and the two ways in which an operation does a part of what was asked.
pub(crate) const ERRORS: [(&str, i32); 12] = [
    ("EIO", 5),
    ("ENOSPC", 28),
    ("EDQUOT", 122),
    ("EINTR", 4),
    ("EAGAIN", 11),
    ("EMFILE", 24),
    ("ENFILE", 23),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EROFS", 30),
    ("EFBIG", 27),
    ("ENOENT", 2),
];
pub(crate) const SHORT: &str = "short";

/// Returns every effect that an operation of a class may have.
pub(crate) fn effects_of(class: OpClass) -> Vec<(&'static str, Effect)> {
    let mut effects: Vec<_> = ERRORS
        .into_iter()
        .map(|(name, code)| (name, Effect::FailOs(code)))
        .collect();
    match class {
        OpClass::Write => {
            let effect = Effect::WritePart(17, std::io::ErrorKind::StorageFull);
            effects.push((SHORT, effect));
        }
        OpClass::Read => effects.push((SHORT, Effect::ShortRead(1))),
        _ => {}
    }
    effects
}

/// Returns what kind of file an operation is about.
fn place_of(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    let is = |part: &str| text.contains(part);
    match () {
        () if is("/main/") && is(".index") => "main index",
        () if is("/dead-letter/") && is(".index") => "letters' index",
        () if is("/delivery/") && is(".index") => "delivery index",
        () if is(".facets") => "facets",
        () if is("/main/") => "main segment",
        () if is("/dead-letter/") => "letters' segment",
        () if is("/delivery/") => "delivery segment",
        () if is("control/") => "control segment",
        () if text.ends_with("/main") => "main directory",
        () if text.ends_with("/dead-letter") => "letters' directory",
        () if text.ends_with("/delivery") => "delivery directory",
        () if text.ends_with("/control") => "control directory",
        () if is("checkpoint") => "checkpoint",
        () if text == "/data" => "data directory",
        () if path.parent() == Some(Path::new("/data")) && is("/data/0") => "partition directory",
        () if path.parent() == Some(Path::new("/data")) => "data directory's files",
        () => "other",
    }
}

/// Returns the kind of an operation: what it is, of which file, where in the code.
pub(crate) fn kind_of(asked: &Asked) -> String {
    let site = asked.site.map(|site| format!(" ({site:?})"));
    let place = place_of(&asked.path);
    format!("{:?} {place}{}", asked.class, site.unwrap_or_default())
}

/// The runs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    cells: BTreeMap<(String, &'static str), [u64; 2]>,
    classes: BTreeMap<String, OpClass>,
    /// The codes that callers were refused with.
    pub(crate) codes: BTreeMap<String, u64>,
}

impl Table {
    /// Makes a row for each kind.
    pub(crate) fn new(all: &[Asked]) -> Self {
        let classes = all.iter().map(|asked| (kind_of(asked), asked.class));
        Self {
            classes: classes.collect(),
            ..Self::default()
        }
    }

    pub(crate) fn count(&mut self, asked: &Asked, error: &'static str, is_forever: bool) {
        let cell = self.cells.entry((kind_of(asked), error)).or_default();
        cell[usize::from(is_forever)] += 1;
    }

    pub(crate) fn kinds(&self) -> BTreeSet<String> {
        self.classes.keys().cloned().collect()
    }

    /// Prints the table, once/for ever in each cell, and returns the empty cells.
    pub(crate) fn print(&self) -> Vec<String> {
        let names = || ERRORS.iter().map(|(name, _)| *name).chain([SHORT]);
        let mut head = format!("{:48}", "runs, once/for ever");
        for name in names() {
            write!(head, "{name:>9}").expect("a string takes everything");
        }
        eprintln!("{head}");
        let mut empty = Vec::new();
        for (kind, class) in &self.classes {
            let has: BTreeSet<_> = effects_of(*class).iter().map(|(name, _)| *name).collect();
            let mut line = format!("{kind:48}");
            for name in names() {
                if !has.contains(name) {
                    line.push_str("        -");
                    continue;
                }
                let cell = self.cells.get(&(kind.clone(), name)).copied();
                let [once, forever] = cell.unwrap_or_default();
                let runs = format!("{once}/{forever}");
                write!(line, "{runs:>9}").expect("a string takes everything");
                if once == 0 || forever == 0 {
                    empty.push(format!("{kind} {name}"));
                }
            }
            eprintln!("{line}");
        }
        eprintln!("refusals: {:?}", self.codes);
        empty
    }
}

/// Mixes cells, the same way every time.
pub(crate) fn mixed(cell: &(String, &'static str, bool)) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    cell.hash(&mut hasher);
    hasher.finish()
}

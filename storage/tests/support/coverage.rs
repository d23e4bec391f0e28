//! How a run of the broker ends, and the table of the crashes that were tried. A suite that takes this file in has the modules
//! `crashes`, `machine` and `oracle`.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use storage::data_dir::checkpoint_paths;
use storage::disk::sim::{SimDisk, Survival};

use crate::crashes::Wreck;
use crate::machine::CHECKPOINTS;

/// How a run of the broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Nothing,
    Everything,
    Random,
    Kill,
    /// As `Random`, and the checkpoint files are gone as well.
    NoCheckpoint,
}

pub const KINDS: [Kind; 5] = [
    Kind::Nothing,
    Kind::Everything,
    Kind::Random,
    Kind::Kill,
    Kind::NoCheckpoint,
];

impl Kind {
    pub fn after(self, disk: &SimDisk, seed: u64) -> SimDisk {
        let disk = match self {
            Self::Nothing => disk.reboot(Survival::Nothing),
            Self::Everything => disk.reboot(Survival::Everything),
            Self::Random | Self::NoCheckpoint => disk.reboot(Survival::Random(seed)),
            Self::Kill => disk.restart_process(),
        };
        if self == Self::NoCheckpoint {
            for path in checkpoint_paths(Path::new(CHECKPOINTS), 0) {
                // A crash may have left none.
                disk.remove_file(&path).ok();
            }
        }
        disk
    }
}

/// Crashes that were tried: which one, where it came, how the run ended.
#[derive(Debug, Default)]
pub struct Coverage {
    cells: BTreeMap<(&'static str, String), BTreeMap<Kind, u64>>,
    pub images: HashSet<u64>,
    pub met: HashSet<u64>,
    pub cuts: u64,
    pub lives: u64,
}

/// Places in which a crash is to be shown, and whether one must have come there.
pub struct Row {
    pub which: &'static str,
    pub places: &'static [&'static str],
    pub is_due: bool,
}

impl Coverage {
    pub fn count(&mut self, which: &'static str, place: impl Into<String>, kind: Kind) {
        self.cuts += 1;
        let row = self.cells.entry((which, place.into())).or_default();
        *row.entry(kind).or_default() += 1;
    }

    /// Notes what is left and what callers know; returns whether the two were never met together.
    pub fn is_new(&mut self, wreck: &Wreck) -> bool {
        let image = wreck.disk.state_hash();
        self.images.insert(image);
        let mut hasher = DefaultHasher::new();
        (image, &wreck.oracle, wreck.begun).hash(&mut hasher);
        self.met.insert(hasher.finish())
    }

    /// Prints the table, and returns the cells that are empty and must not be.
    pub fn print(&self, table: &[Row]) -> Vec<String> {
        let mut empty = Vec::new();
        for row in table {
            let names = KINDS.map(|kind| format!("{:>13}", format!("{kind:?}")));
            eprintln!("{:26} {}", row.which, names.concat());
            for place in row.places {
                let found = self.cells.get(&(row.which, (*place).to_owned()));
                let counts =
                    KINDS.map(|kind| found.and_then(|row| row.get(&kind)).copied().unwrap_or(0));
                let cells = counts.map(|count| format!("{count:>13}"));
                eprintln!("  {place:24} {}", cells.concat());
                if row.is_due && counts.contains(&0) {
                    empty.push(format!("{} {place}", row.which));
                }
            }
        }
        eprintln!(
            "{} crashes, {} distinct images, {} distinct states of image and callers, {} recoveries that were checked",
            self.cuts,
            self.images.len(),
            self.met.len(),
            self.lives
        );
        empty
    }
}

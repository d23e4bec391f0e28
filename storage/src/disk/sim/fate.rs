//! Which of the unsynced changes a power cut leaves behind.

use super::random::Random;

/// What a power cut leaves of the unsynced changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Survival {
    /// None of them: finds most missing syncs.
    Nothing,
    /// All of them, as after the end of a process: finds what is served too early.
    Everything,
    /// Some of them, as the seed decides: for each file and directory none, all, or each sector, length and name by itself.
    Random(u64),
}

/// A [`Survival`] while it is being applied to one file or directory.
#[derive(Debug)]
pub(super) enum Fate {
    Nothing,
    Everything,
    Random(Random),
}

impl Fate {
    /// Decides for the next file or directory.
    pub(super) fn of(survival: Survival, random: &mut Random) -> Self {
        match survival {
            Survival::Nothing => Self::Nothing,
            Survival::Everything => Self::Everything,
            Survival::Random(_) => match random.below(4) {
                0 => Self::Nothing,
                1 => Self::Everything,
                _ => Self::Random(Random::new(random.next())),
            },
        }
    }

    /// Returns whether a change survives.
    pub(super) fn survives(&mut self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Random(random) => random.below(2) == 1,
        }
    }

    /// Returns how many of `count` ordered changes survive.
    pub(super) fn prefix(&mut self, count: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Everything => count,
            Self::Random(random) => random.below(count + 1),
        }
    }

    /// Returns which of `count` versions survives, counted from 1 (oldest), or 0 for none of them.
    pub(super) fn version(&mut self, count: usize) -> usize {
        self.prefix(count)
    }
}

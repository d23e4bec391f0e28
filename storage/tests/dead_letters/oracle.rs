//! What callers were told, kept outside of the partition: the promises that every crash must leave standing.

use storage::offset::Offset;
use storage::partition::Outcome;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub check: &'static str,
    pub seen: String,
}

/// How a run ended early.
#[derive(Debug)]
pub enum Stop {
    /// The power was cut.
    Cut,
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

pub fn ensure(
    holds: bool,
    check: &'static str,
    seen: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds {
        return Ok(());
    }
    let seen = seen();
    Err(Broken { check, seen })
}

/// What was done about a letter, as far as anybody was told or has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    Live,
    Republished(Offset),
    Deleted,
}

/// A record of the main log, as the workload names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    /// The n-th produced record.
    Produced(usize),
    /// The fresh record of the n-th letter.
    Fresh(usize),
}

/// One letter, in the order of the workload's rejections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Letter {
    pub at: Option<Offset>,
    pub fate: Fate,
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Flight {
    Produce {
        first: usize,
        count: usize,
    },
    /// Letters of one batch: all of them or none.
    Reject(Vec<usize>),
    /// Letters of one batch: all of them or none.
    Republish(Vec<usize>),
    Delete(Vec<usize>),
    MainStart(Offset),
    LetterStart(Offset),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Oracle {
    /// Where each produced record stands.
    pub produced: Vec<Option<Offset>>,
    pub letters: Vec<Letter>,
    pub main_start: Offset,
    pub letter_start: Offset,
    pub flight: Option<Flight>,
    /// The checkpoint files were deleted: nothing says how far retention had come.
    pub is_checkpoint_lost: bool,
}

impl Oracle {
    pub fn at(&self, from: Of) -> Option<Offset> {
        match from {
            Of::Produced(record) => self.produced.get(record).copied().flatten(),
            Of::Fresh(letter) => match self.letters.get(letter)?.fate {
                Fate::Republished(target) => Some(target),
                _ => None,
            },
        }
    }

    /// Returns the letter that stands at an offset.
    pub fn letter_at(&self, at: Offset) -> Option<usize> {
        self.letters.iter().position(|l| l.at == Some(at))
    }

    pub fn is_expired(&self, letter: usize) -> bool {
        self.letters[letter]
            .at
            .is_some_and(|at| at < self.letter_start)
    }

    pub fn rejected(&mut self, letter: usize, at: Offset) -> Result<(), Broken> {
        let before = self.letters[letter].at;
        ensure(
            before.is_none_or(|before| before == at),
            "a repeated reject gets the same id",
            || format!("letter {letter}: {before:?}, then {at}"),
        )?;
        self.letters[letter].at = Some(at);
        Ok(())
    }

    /// Takes the answer to a request to republish (`is_retry`) or delete a letter.
    pub fn answered(&mut self, at: Offset, outcome: Outcome, is_retry: bool) -> Result<(), Broken> {
        let letter = self.letter_at(at).unwrap();
        let before = self.letters[letter].fate;
        let is_expired = self.is_expired(letter);
        let seen = || {
            format!("letter {letter} at {at}: {before:?}, expired {is_expired}, answer {outcome:?}")
        };
        let is_right = match (outcome, before) {
            (_, _) if is_expired => outcome == Outcome::NotFound,
            (
                Outcome::Republished {
                    is_repeat: false, ..
                },
                Fate::Live,
            ) => is_retry,
            (
                Outcome::Republished {
                    target,
                    is_repeat: true,
                },
                Fate::Republished(first),
            ) => target == first,
            (Outcome::Deleted, Fate::Live) => !is_retry,
            (Outcome::NotFound, Fate::Deleted) => true,
            _ => false,
        };
        ensure(is_right, "the answer fits what was answered before", seen)?;
        match outcome {
            Outcome::Republished { target, .. } => {
                self.letters[letter].fate = Fate::Republished(target);
            }
            Outcome::Deleted => self.letters[letter].fate = Fate::Deleted,
            _ => {}
        }
        Ok(())
    }
}

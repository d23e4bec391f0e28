//! Going through the steps of rejecting, republishing and deleting on one thread, with the owner's lock held only for
//! deciding and writing.
//!
//! The broker and the crash tests run the same code: the broker on a thread that may block, the tests on the simulated disk,
//! where [`Hooks::after`] stops it behind any step.

use std::borrow::Cow;

use parking_lot::Mutex;

use super::append::Partition;
use super::fresh::FreshBatch;
use super::reject::RejectOutcome;
use super::republish::{Claim, MARKERS_PER_BATCH_MAX, Republished, Who};
use super::steps::Steps;
use crate::dead_letter::{
    DeadLetter, DeadLetterLog, DeadLetterView, PlacedLetter, Resolution, batch_length,
};
use crate::error::LogError;
use crate::log_id::LogKind;
use crate::offset::{Offset, TimestampMs};

/// A step that has been done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The letters are claimed in memory.
    Claimed,
    /// The fresh records are written.
    Written,
    /// The fresh records are synced: the commit point.
    Synced,
    /// The markers are written.
    MarkersWritten,
    /// The markers are synced.
    MarkersSynced,
}

/// What the caller of a [`Resolver`] brings along.
#[derive(Clone, Copy)]
pub struct Hooks<'a> {
    /// The broker's time.
    pub now: &'a dyn Fn() -> TimestampMs,
    /// Called after each step.
    pub after: &'a dyn Fn(Step),
    /// Called to wait until somebody else's roll or resolution may have got on.
    pub wait: &'a dyn Fn(),
}

impl std::fmt::Debug for Hooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

/// What became of one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was republished, by this call or an earlier one.
    Republished {
        /// Offset of the fresh record in the main log.
        target: Offset,
        /// Whether an earlier call had won.
        is_repeat: bool,
    },
    /// It was deleted by this call.
    Deleted,
    /// There is no live letter there, and none that was republished.
    NotFound,
    /// Somebody else is resolving it: ask again.
    Busy,
    /// It could not be resolved; it is live, or its fate is known after the log's recovery.
    Failed,
}

/// The outcomes of a call, and what made letters fail.
#[derive(Debug)]
pub struct Outcomes {
    /// Each letter that was asked for, in that order.
    pub letters: Vec<(Offset, Outcome)>,
    /// The error of the letters that failed.
    pub error: Option<LogError>,
}

/// Letters that were claimed and whose fresh records were appended, not known durable; and what became of the others.
#[derive(Debug)]
#[must_use = "the letters are held until it is committed"]
pub struct Written {
    /// `None` for each letter that is ours.
    outcomes: Vec<(Offset, Option<Outcome>)>,
    appended: Result<Option<Republished>, LogError>,
}

impl Written {
    /// Returns the letters that somebody else is resolving.
    pub fn busy(&self) -> impl Iterator<Item = Offset> + '_ {
        let all = self.outcomes.iter();
        let busy = all.filter(|(_, outcome)| *outcome == Some(Outcome::Busy));
        busy.map(|(letter, _)| *letter)
    }
}

/// Resolves letters of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Resolver<'a> {
    /// The partition's owner.
    pub owner: &'a Mutex<Partition>,
    /// Who resolves.
    pub who: Who<'a>,
    /// What the caller brings along.
    pub hooks: Hooks<'a>,
}

impl Resolver<'_> {
    /// Appends the letters of rejections and syncs them, with one sync for all of them. Returns the outcomes of the first letters,
    /// and what made the rest fail: those of a batch stand together, or none of them.
    ///
    /// Their records are made durable first: a letter that outlives its record would stand for whatever gets the offset next.
    pub fn reject(&self, letters: &[DeadLetter]) -> (Vec<RejectOutcome>, Option<LogError>) {
        let records = letters.iter().map(|letter| letter.source.offset.next());
        if let Err(error) = self.make_durable(LogKind::Main, records.max().unwrap_or_default()) {
            return (Vec::new(), Some(error));
        }
        let (outcomes, error) = self.append_letters(letters);
        let ends = outcomes.iter().map(|outcome| outcome.letter().next());
        match self.make_durable(LogKind::DeadLetter, ends.max().unwrap_or_default()) {
            Ok(()) => (outcomes, error),
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    fn append_letters(&self, letters: &[DeadLetter]) -> (Vec<RejectOutcome>, Option<LogError>) {
        let mut outcomes = Vec::with_capacity(letters.len());
        let mut rest = letters;
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_length(rest.iter()));
            let appended = self.with_room(LogKind::DeadLetter, |partition, now| {
                partition.reject(batch, now)
            });
            match appended {
                Ok(mut appended) => outcomes.append(&mut appended),
                Err(error) => return (outcomes, Some(error)),
            }
            rest = behind;
        }
        (outcomes, None)
    }

    /// Republishes letters up to the commit point. The caller answers, then calls [`Resolver::finish`] with what is returned.
    ///
    /// `letters` must be few enough for one batch of the main log: see [`Resolver::batches`].
    pub fn republish(&self, letters: &[PlacedLetter]) -> (Outcomes, Option<Republished>) {
        self.commit(self.write_fresh(letters))
    }

    /// Claims letters and appends their fresh records. Nothing is answered, and the letters are held, until the caller has
    /// called [`Resolver::commit`]; meanwhile it waits for nobody who may want one of them.
    ///
    /// `letters` must be few enough for one batch of the main log: see [`Resolver::batches`].
    pub fn write_fresh(&self, letters: &[PlacedLetter]) -> Written {
        let outcomes = self.claim_all(letters.iter().map(|(offset, _)| *offset));
        let is_mine = |(_, outcome): &(Offset, Option<Outcome>)| outcome.is_none();
        // As a rule all of them are ours; a letter is copied only where some are not.
        let mine = if outcomes.iter().all(is_mine) {
            Cow::Borrowed(letters)
        } else {
            let claimed = letters.iter().zip(&outcomes);
            let mine = claimed.filter(|(_, outcome)| is_mine(outcome));
            mine.map(|(letter, _)| letter.clone()).collect()
        };
        (self.hooks.after)(Step::Claimed);
        let appended = if mine.is_empty() {
            Ok(None)
        } else {
            self.append_fresh(&mine).map(Some)
        };
        Written { outcomes, appended }
    }

    /// Makes what was written durable: the commit point. It returns what is to be answered, and what [`Resolver::finish`] takes.
    pub fn commit(&self, written: Written) -> (Outcomes, Option<Republished>) {
        let mut outcomes = written.outcomes;
        let committed = written.appended.and_then(|appended| {
            let Some(republished) = appended else {
                return Ok(None);
            };
            // Should the sync fail, the letters stay claimed: only the recovered log tells whether they were republished.
            self.make_durable(LogKind::Main, republished.next_offset)?;
            self.owner.lock().commit(&republished);
            (self.hooks.after)(Step::Synced);
            Ok(Some(republished))
        });
        let (committed, error) = match committed {
            Ok(committed) => (committed, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(republished) = &committed {
            let settled = republished.targets().map(|(letter, target)| {
                let is_repeat = false;
                (letter, Outcome::Republished { target, is_repeat })
            });
            settle_outcomes(&mut outcomes, settled);
        }
        (finished(outcomes, error), committed)
    }

    /// Appends the markers of committed republishes, and syncs all of them once.
    ///
    /// # Errors
    /// The dead-letter log's error. The republishes stand all the same; the markers come later.
    pub fn finish(&self, republished: &[Republished]) -> Result<(), LogError> {
        if republished.is_empty() {
            return Ok(());
        }
        let mut end = Offset::ZERO;
        for one in republished {
            end = self.with_room(LogKind::DeadLetter, |partition, now| {
                partition.append_markers(one, self.who, now)
            })?;
        }
        (self.hooks.after)(Step::MarkersWritten);
        self.make_durable(LogKind::DeadLetter, end)?;
        self.owner.lock().settle();
        (self.hooks.after)(Step::MarkersSynced);
        Ok(())
    }

    /// Deletes letters. Those that are answered as deleted are so durably.
    pub fn delete(&self, letters: &[Offset]) -> Outcomes {
        let mut outcomes = self.claim_all(letters.iter().copied());
        let mine: Vec<_> = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(offset, _)| *offset)
            .collect();
        let mut error = None;
        let mut deleted_count = 0;
        for chunk in mine.chunks(MARKERS_PER_BATCH_MAX) {
            match self.delete_claimed(chunk) {
                Ok(()) => deleted_count += chunk.len(),
                Err(failed) => {
                    self.owner.lock().release(&mine);
                    error = Some(failed);
                    break;
                }
            }
        }
        let deleted = mine.iter().take(deleted_count);
        settle_outcomes(
            &mut outcomes,
            deleted.map(|letter| (*letter, Outcome::Deleted)),
        );
        finished(outcomes, error)
    }

    /// Cuts letters into runs that each fit one batch of `batch_bytes_max`.
    #[must_use]
    pub fn batches(letters: Vec<PlacedLetter>, batch_bytes_max: u32) -> Vec<Vec<PlacedLetter>> {
        // Headers that the broker adds, varints and the batch header come on top of what a record weighs.
        const OVERHEAD_BYTES: usize = 2048;
        let room = usize::try_from(batch_bytes_max).unwrap_or(usize::MAX);
        let mut batches: Vec<Vec<PlacedLetter>> = Vec::new();
        let mut used = usize::MAX;
        for letter in letters {
            let bytes = letter.1.record.weight().saturating_add(OVERHEAD_BYTES);
            if used.saturating_add(bytes) > room {
                batches.push(Vec::new());
                used = 0;
            }
            used = used.saturating_add(bytes);
            if let Some(last) = batches.last_mut() {
                last.push(letter);
            }
        }
        batches
    }

    /// Claims letters; the outcome is `None` of each that is ours.
    fn claim_all(&self, letters: impl Iterator<Item = Offset>) -> Vec<(Offset, Option<Outcome>)> {
        let (claims, view) = {
            let mut owner = self.owner.lock();
            let claims: Vec<_> = letters
                .map(|letter| (letter, owner.claim(letter)))
                .collect();
            (claims, owner.dead_letters().map(DeadLetterLog::view))
        };
        let outcome = |claim, letter| match claim {
            Claim::Yours => None,
            Claim::Busy => Some(Outcome::Busy),
            Claim::Republished { target } => Some(Outcome::Republished {
                target,
                is_repeat: true,
            }),
            Claim::NotLive => Some(resolved(view.as_ref(), letter)),
        };
        let claims = claims.into_iter();
        claims
            .map(|(letter, claim)| (letter, outcome(claim, letter)))
            .collect()
    }

    fn append_fresh(&self, mine: &[PlacedLetter]) -> Result<Republished, LogError> {
        let offsets: Vec<_> = mine.iter().map(|(offset, _)| *offset).collect();
        let main = self.owner.lock().main().reader();
        let appended = FreshBatch::build(&main, mine, self.who).and_then(|mut fresh| {
            self.with_room(LogKind::Main, |partition, now| {
                partition.append_republished(&mut fresh, now)
            })
        });
        let republished = appended.inspect_err(|_| self.owner.lock().release(&offsets))?;
        (self.hooks.after)(Step::Written);
        Ok(republished)
    }

    fn delete_claimed(&self, letters: &[Offset]) -> Result<(), LogError> {
        let end = self.with_room(LogKind::DeadLetter, |partition, now| {
            partition.append_deletions(letters, self.who, now)
        })?;
        self.make_durable(LogKind::DeadLetter, end)?;
        self.owner.lock().finish_delete(letters);
        Ok(())
    }

    fn steps(&self) -> Steps<'_> {
        Steps {
            owner: self.owner,
            now: self.hooks.now,
            wait: self.hooks.wait,
            rolled: &|_| {},
        }
    }

    fn with_room<T>(
        &self,
        kind: LogKind,
        act: impl FnMut(&mut Partition, TimestampMs) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.steps().with_room(kind, act)
    }

    fn make_durable(&self, kind: LogKind, end: Offset) -> Result<(), LogError> {
        self.steps().make_durable(kind, end)
    }
}

/// Returns what became of a letter that is not live.
fn resolved(view: Option<&DeadLetterView>, letter: Offset) -> Outcome {
    let marker = view.map_or(Ok(None), |view| view.resolution_of(letter));
    match marker.map(|marker| marker.map(|marker| marker.resolution)) {
        Ok(Some(Resolution::Republished { offset, .. })) => Outcome::Republished {
            target: offset,
            is_repeat: true,
        },
        Ok(Some(Resolution::Deleted) | None) => Outcome::NotFound,
        // What became of it stands in a marker that cannot be read now.
        Err(_) => Outcome::Failed,
    }
}

/// Fills in the outcomes of letters that were ours, which come in the order in which they were asked for: one pass, however
/// many they are.
fn settle_outcomes(
    outcomes: &mut [(Offset, Option<Outcome>)],
    settled: impl Iterator<Item = (Offset, Outcome)>,
) {
    let mut open = outcomes.iter_mut().filter(|(_, place)| place.is_none());
    for (letter, outcome) in settled {
        if let Some((_, place)) = open.find(|(offset, _)| *offset == letter) {
            *place = Some(outcome);
        }
    }
}

fn finished(outcomes: Vec<(Offset, Option<Outcome>)>, error: Option<LogError>) -> Outcomes {
    let letters = outcomes
        .into_iter()
        .map(|(offset, outcome)| (offset, outcome.unwrap_or(Outcome::Failed)))
        .collect();
    Outcomes { letters, error }
}

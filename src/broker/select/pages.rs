//! One page out of what all partitions find.
//!
//! Of which partitions the letters of a page are is not known before they are read. Each looks for its share of the page and a
//! little more, and goes on only where it turns out to have more of it: a page over many partitions reads not much more than it
//! has.
//!
//! Invariant: no partition holds more bytes of letters than its share. Of a letter beyond it only its place, its time of death and
//! its weight are kept, and it is read again if the page has it.

use std::sync::Arc;

use storage::address::Address;
use storage::buffers::Buffers;
use storage::dead_letter::select::{
    LetterFilter, Merge, MergedPage, Order, PartitionPage, PartitionRange, Pick,
};
use storage::dead_letter::{DeadLetter, DeadLetterView};
use storage::offset::Offset;

use super::{Selected, SelectedLetters, find_partition, unknown_letter};
use crate::broker::refusal;
use crate::engine::PartitionHandle;
use crate::protocol::error_code::Refusal;
use crate::topic::Topic;

/// Bytes that a letter takes in an answer besides its own: ids, lengths, numbers.
const LETTER_FIELDS_BYTES: usize = 512;

/// Share of a partition, in bytes, from which on its letters share what was read: a letter may keep alive what is read at once,
/// which is not much more than that.
const SHARED_BYTES_MIN: usize = 128 << 10;

/// What a page may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLimits<'a> {
    /// Letters.
    pub(super) letters: usize,
    /// Bytes of letters, as [`weight`] counts them; a page has one letter at least.
    pub(super) bytes: usize,
    /// Bytes of letters that each partition holds.
    pub(super) held_bytes: usize,
    /// Where letters are read into that may share what was read, up to twice their bytes.
    pub(super) shared: Option<&'a Arc<Buffers>>,
}

/// How much a partition looks for, in all: it stops at whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) letters: usize,
    pub(super) bytes: usize,
}

impl Goal {
    /// Returns what each of so many partitions looks for at first: its share of the page and a little more.
    pub(super) fn share(limits: PageLimits<'_>, partitions: usize) -> Self {
        if partitions <= 1 {
            return Self {
                letters: limits.letters,
                bytes: limits.bytes,
            };
        }
        // Where letters die anywhere, hardly any partition has more than three standard deviations above the mean.
        let letters = limits.letters.div_ceil(partitions);
        let bytes = limits.bytes.div_ceil(partitions);
        Self {
            letters: letters.saturating_add(3 * letters.isqrt()),
            bytes: bytes.saturating_add(bytes / 4),
        }
    }

    /// Returns what a partition looks for next that has more of the page than its share: as much again, so that one that has all
    /// of it gets there after a few looks.
    fn behind(self, found: &Found) -> Self {
        Self {
            letters: found
                .letters
                .len()
                .saturating_add(found.letters.len().max(self.letters)),
            bytes: found.bytes.saturating_add(found.bytes.max(self.bytes)),
        }
    }

    fn within(self, limits: PageLimits<'_>) -> Self {
        Self {
            letters: self.letters.min(limits.letters),
            bytes: self.bytes.min(limits.bytes),
        }
    }
}

/// A letter that one partition has found.
struct FoundLetter {
    offset: Offset,
    weight: usize,
    /// `None` beyond what may be held.
    letter: Option<Box<DeadLetter>>,
}

/// What one partition has found of a page.
struct Found {
    partition: Arc<PartitionHandle>,
    index: u32,
    view: DeadLetterView,
    letters: Vec<FoundLetter>,
    /// Bytes of these letters.
    bytes: usize,
}

/// What all partitions have found, and which of it is the page.
pub(super) struct Pages {
    found: Vec<Found>,
    merged: MergedPage,
}

impl Pages {
    /// Looks through the ranges of all partitions.
    pub(super) fn find(
        topic: &Topic,
        ranges: &[PartitionRange],
        (filter, order): (&LetterFilter, Order),
        limits: PageLimits<'_>,
    ) -> Result<Self, Refusal> {
        let goal = Goal::share(limits, ranges.len());
        let shared = limits.shared.filter(|_| goal.bytes >= SHARED_BYTES_MIN);
        let (mut found, mut pages) = begin(topic, ranges, shared);
        for (here, page) in found.iter_mut().zip(&mut pages) {
            here.look((filter, order), page, goal, limits)?;
        }
        let mut merge = Merge::new(order, pages.len());
        let (mut bytes, mut counted) = (0_usize, 0);
        loop {
            let short = merge.go_on(&pages, limits.letters).to_vec();
            let fresh = merge.picks().get(counted..).unwrap_or_default();
            bytes = weights(&found, fresh).fold(bytes, usize::saturating_add);
            counted = merge.picks().len();
            if short.is_empty() || bytes >= limits.bytes {
                break;
            }
            for at in short {
                if let (Some(here), Some(page)) = (found.get_mut(at), pages.get_mut(at)) {
                    let further = goal.behind(here);
                    here.look((filter, order), page, further, limits)?;
                }
            }
        }
        let mut merged = merge.finish(&pages);
        // Each partition has kept to the bytes by itself; together they may be too much.
        let fit = fitting(&found, &merged, limits.bytes);
        if fit < merged.picks.len() {
            merged = storage::dead_letter::select::merge(order, &pages, fit);
        }
        Ok(Self { found, merged })
    }

    /// Returns what is left of the ranges behind the page.
    pub(super) fn remaining(&self) -> &[PartitionRange] {
        &self.merged.remaining
    }

    /// Returns the letters of the page. One that is gone by now is refused.
    pub(super) fn letters(self) -> Result<SelectedLetters, Refusal> {
        let letters = self.picked().map(|(found, picked)| {
            let letter = match picked.letter {
                Some(letter) => Some(letter),
                None => found.view.get(picked.offset)?,
            };
            let id = id(&found.partition, picked.offset);
            let selected = letter.ok_or_else(|| unknown_letter(&id));
            let selected = selected.map(|letter| found.selected(picked.offset, letter));
            Ok((id, selected))
        });
        let letters: Result<_, storage::error::LogError> = letters.collect();
        letters.map_err(|error| refusal::of_log(&error))
    }

    /// Returns where the letters of the page stand.
    pub(super) fn places(self) -> SelectedLetters<()> {
        let places = self.picked().map(|(found, picked)| {
            let id = id(&found.partition, picked.offset);
            (id, Ok(found.selected(picked.offset, ())))
        });
        places.collect()
    }

    /// Takes the picked letters out of what the partitions found; what was not picked goes.
    fn picked(self) -> impl Iterator<Item = (Arc<Found>, FoundLetter)> {
        let take = |mut found: Found| {
            let letters = std::mem::take(&mut found.letters);
            (Arc::new(found), letters.into_iter())
        };
        let mut sources: Vec<_> = self.found.into_iter().map(take).collect();
        self.merged.picks.into_iter().filter_map(move |pick| {
            let (found, letters) = sources.get_mut(pick.page)?;
            Some((Arc::clone(found), letters.next()?))
        })
    }

    /// Returns how many letters were found.
    #[cfg(test)]
    pub(super) fn found_count(&self) -> usize {
        self.found.iter().map(|found| found.letters.len()).sum()
    }

    /// Returns the bytes of letters that are held.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let letters = self.found.iter().flat_map(|found| &found.letters);
        let held = letters.filter(|one| one.letter.is_some());
        held.map(|one| one.weight).sum()
    }
}

impl Found {
    /// Goes on looking until so much is found, or all that a page may have.
    fn look(
        &mut self,
        (filter, order): (&LetterFilter, Order),
        page: &mut PartitionPage,
        goal: Goal,
        limits: PageLimits<'_>,
    ) -> Result<(), Refusal> {
        let enough = goal.within(limits);
        let mut is_stopped = false;
        let Self {
            view,
            letters,
            bytes,
            ..
        } = self;
        let range = page.unseen;
        view.visit(
            filter,
            order,
            (range.from, range.to),
            &mut |offset, letter| {
                let weight = weight(&letter);
                *bytes = bytes.saturating_add(weight);
                page.letters.push((offset, letter.died_at));
                letters.push(FoundLetter {
                    offset,
                    weight,
                    letter: (*bytes <= limits.held_bytes).then_some(letter),
                });
                is_stopped = letters.len() >= enough.letters || *bytes >= enough.bytes;
                !is_stopped
            },
        )
        .map_err(|error| refusal::of_log(&error))?;
        let last = self.letters.last().map(|one| one.offset);
        page.unseen = match (last.filter(|_| is_stopped), order) {
            (None, _) => PartitionRange {
                to: range.from,
                ..range
            },
            (Some(last), Order::OldestFirst) => PartitionRange {
                from: last.next(),
                ..range
            },
            (Some(last), Order::NewestFirst) => PartitionRange { to: last, ..range },
        };
        Ok(())
    }

    fn selected<L>(&self, offset: Offset, letter: L) -> Selected<L> {
        Selected {
            partition: Arc::clone(&self.partition),
            index: self.index,
            offset,
            letter,
        }
    }
}

/// Begins with the partitions that are still there, each with all of its range to be looked at.
fn begin(
    topic: &Topic,
    ranges: &[PartitionRange],
    shared: Option<&Arc<Buffers>>,
) -> (Vec<Found>, Vec<PartitionPage>) {
    let begun = ranges.iter().filter_map(|range| {
        let (index, partition) = find_partition(topic, range.partition)?;
        let view = partition.dead_letters()?;
        let here = Found {
            partition,
            index,
            view: match shared {
                Some(buffers) => view.sharing(buffers),
                None => view,
            },
            letters: Vec::new(),
            bytes: 0,
        };
        let page = PartitionPage {
            asked: *range,
            unseen: *range,
            letters: Vec::new(),
        };
        Some((here, page))
    });
    begun.unzip()
}

/// Returns how many bytes a letter takes in an answer at most.
pub(super) fn weight(letter: &DeadLetter) -> usize {
    LETTER_FIELDS_BYTES.saturating_add(letter.weight())
}

/// Returns how many letters of a page fit `bytes_max`, at least one.
fn fitting(found: &[Found], merged: &MergedPage, bytes_max: usize) -> usize {
    let mut bytes = 0_usize;
    let fit = weights(found, &merged.picks).take_while(|weight| {
        bytes = bytes.saturating_add(*weight);
        bytes <= bytes_max
    });
    fit.count().max(1)
}

fn weights(found: &[Found], picks: &[Pick]) -> impl Iterator<Item = usize> {
    picks.iter().map(|pick| {
        let letters = found.get(pick.page).map(|found| &found.letters);
        let letter = letters.and_then(|letters| letters.get(pick.at));
        letter.map_or(0, |one| one.weight)
    })
}

fn id(partition: &PartitionHandle, offset: Offset) -> String {
    Address::letter(partition.number(), offset).to_string()
}

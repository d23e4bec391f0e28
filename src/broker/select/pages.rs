//! One page out of what all partitions find.
//!
//! Invariant: no partition holds more bytes of letters than its share. Of a letter beyond it only its place, its time of death and
//! its weight are kept, and it is read again if the page has it.

use std::sync::Arc;

use storage::address::Address;
use storage::buffers::Buffers;
use storage::dead_letter::select::{
    LetterFilter, MergedPage, Order, PartitionPage, PartitionRange, merge,
};
use storage::dead_letter::{DeadLetter, DeadLetterView};
use storage::offset::{Offset, TimestampMs};

use super::{Selected, SelectedLetters, find_partition, unknown_letter};
use crate::broker::refusal;
use crate::engine::PartitionHandle;
use crate::protocol::error_code::Refusal;
use crate::topic::Topic;

/// Bytes that a letter takes in an answer besides its own: ids, lengths, numbers.
const LETTER_FIELDS_BYTES: usize = 512;

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

/// A letter that one partition has found.
struct FoundLetter {
    offset: Offset,
    died_at: TimestampMs,
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
        let mut found = Vec::new();
        let mut pages = Vec::new();
        for range in ranges {
            let Some((index, partition)) = find_partition(topic, range.partition) else {
                continue;
            };
            let Some(view) = partition.dead_letters() else {
                continue;
            };
            let view = match limits.shared {
                Some(buffers) => view.sharing(buffers),
                None => view,
            };
            let mut here = Found {
                partition,
                index,
                view,
                letters: Vec::new(),
            };
            let unseen = here.look((filter, order), *range, limits)?;
            let letters = here.letters.iter();
            pages.push(PartitionPage {
                asked: *range,
                unseen,
                letters: letters.map(|one| (one.offset, one.died_at)).collect(),
            });
            found.push(here);
        }
        let mut merged = merge(order, &pages, limits.letters);
        // Each partition has kept to the bytes by itself; together they may be too much.
        let fit = fitting(&found, &merged, limits.bytes);
        if fit < merged.picks.len() {
            merged = merge(order, &pages, fit);
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

    /// Returns the bytes of letters that are held.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let letters = self.found.iter().flat_map(|found| &found.letters);
        let held = letters.filter(|one| one.letter.is_some());
        held.map(|one| one.weight).sum()
    }
}

impl Found {
    /// Looks through one partition's share, up to a number of letters found or bytes of them. Returns what was not looked at.
    fn look(
        &mut self,
        (filter, order): (&LetterFilter, Order),
        range: PartitionRange,
        limits: PageLimits<'_>,
    ) -> Result<PartitionRange, Refusal> {
        let mut bytes = 0_usize;
        let mut is_stopped = false;
        let Self { view, letters, .. } = self;
        view.visit(
            filter,
            order,
            (range.from, range.to),
            &mut |offset, letter| {
                let weight = weight(&letter);
                bytes = bytes.saturating_add(weight);
                letters.push(FoundLetter {
                    offset,
                    died_at: letter.died_at,
                    weight,
                    letter: (bytes <= limits.held_bytes).then_some(letter),
                });
                is_stopped = letters.len() >= limits.letters || bytes >= limits.bytes;
                !is_stopped
            },
        )
        .map_err(|error| refusal::of_log(&error))?;
        let last = self.letters.last().map(|one| one.offset);
        let nothing = PartitionRange {
            to: range.from,
            ..range
        };
        Ok(match (last.filter(|_| is_stopped), order) {
            (None, _) => nothing,
            (Some(last), Order::OldestFirst) => PartitionRange {
                from: last.next(),
                ..range
            },
            (Some(last), Order::NewestFirst) => PartitionRange { to: last, ..range },
        })
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

/// Returns how many bytes a letter takes in an answer at most.
pub(super) fn weight(letter: &DeadLetter) -> usize {
    LETTER_FIELDS_BYTES.saturating_add(letter.weight())
}

/// Returns how many letters of a page fit `bytes_max`, at least one.
fn fitting(found: &[Found], merged: &MergedPage, bytes_max: usize) -> usize {
    let mut letters: Vec<_> = found.iter().map(|found| found.letters.iter()).collect();
    let mut bytes = 0_usize;
    let fit = merged.picks.iter().take_while(|pick| {
        let letter = letters.get_mut(pick.page).and_then(Iterator::next);
        bytes = bytes.saturating_add(letter.map_or(0, |one| one.weight));
        bytes <= bytes_max
    });
    fit.count().max(1)
}

fn id(partition: &PartitionHandle, offset: Offset) -> String {
    Address::letter(partition.number(), offset).to_string()
}

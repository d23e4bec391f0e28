//! Selecting dead letters: by ids, by their fields, page by page.

mod by_id;
mod filter;
mod pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use storage::address::{Address, AddressKind};
use storage::buffers::Buffers;
use storage::dead_letter::DeadLetter;
use storage::dead_letter::select::{Cursor, LetterFilter, Order, PartitionRange};
use storage::log_id::PartitionNumber;
use storage::offset::Offset;

use by_id::select_ids;
pub(super) use filter::filter_of;
use pages::{PageLimits, Pages};

use super::Broker;
use crate::engine::PartitionHandle;
use crate::limits::{LETTER_IDS_PER_CALL_MAX, LETTERS_LISTED_MAX, LETTERS_PER_CALL_MAX};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::selection::{self as wire, Page, Selection};
use crate::topic::Topic;

/// Bytes of letters that a partition holds for a page however many partitions there are: letters beyond are read again if the page
/// has them, which is rare and slow where letters are few or small.
const HELD_BYTES_MIN: usize = 2 << 20;

/// Characters of a cursor that an error repeats.
const CURSOR_CHARS_SHOWN: usize = 64;

/// A letter that was selected: itself, or only where it stands.
pub(super) struct Selected<L = Box<DeadLetter>> {
    pub(super) partition: Arc<PartitionHandle>,
    pub(super) index: u32,
    pub(super) offset: Offset,
    pub(super) letter: L,
}

/// Letters with their ids.
pub(super) type SelectedLetters<L = Box<DeadLetter>> = Vec<(String, Result<Selected<L>, Refusal>)>;

/// One page of a selection. What was asked for by an id that leads nowhere stands in it as a refusal.
pub(super) struct SelectedPage<L = Box<DeadLetter>> {
    pub(super) letters: SelectedLetters<L>,
    pub(super) cursor: Option<String>,
}

impl SelectedPage {
    /// Returns the bytes of the letters of the page.
    pub(super) fn bytes(&self) -> usize {
        let letters = self.letters.iter();
        let selected = letters.filter_map(|(_, selected)| selected.as_ref().ok());
        let weights = selected.map(|selected| pages::weight(&selected.letter));
        weights.fold(0, usize::saturating_add)
    }
}

impl Broker {
    /// Returns the cursor in front of a selection's first page, which fixes its end as the first page does: with it a page can be
    /// asked for again. `None` for a selection by ids.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSelection`], [`ErrorCode::UnknownTopic`].
    pub fn first_cursor(
        &self,
        topic: &str,
        selection: &Selection,
        page: &Page,
    ) -> Result<Option<String>, Refusal> {
        if matches!(selection, Selection::Ids(_)) {
            return Ok(None);
        }
        let ranges = first_ranges(self.topic(topic)?.as_ref());
        cursor(order_of(page), &filter_of(selection)?, &ranges)
    }
}

/// As [`select`], of a page for people and scripts to read.
pub(super) fn select_listed(
    topic: &Topic,
    selection: &Selection,
    page: &Page,
    bytes_max: u32,
) -> Result<SelectedPage, Refusal> {
    check_limit(page, LETTERS_LISTED_MAX)?;
    select_as(Use::ToBeShown, topic, selection, page, bytes_max)
}

/// What a page is for.
#[derive(Debug, Clone, Copy)]
enum Use<'a> {
    /// Its letters stand in an answer for as long as a peer takes to read it.
    ToBeShown,
    /// They are gone when they are resolved, and are read into these.
    ToBeResolved(&'a Arc<Buffers>),
}

/// Returns one page of a selection that is to be resolved, in its order. In memory are the letters of the page, and of those that
/// were looked at besides about as many.
pub(super) fn select(
    topic: &Topic,
    selection: &Selection,
    page: &Page,
    (bytes_max, buffers): (u32, &Arc<Buffers>),
) -> Result<SelectedPage, Refusal> {
    check_limit(page, LETTERS_PER_CALL_MAX)?;
    select_as(
        Use::ToBeResolved(buffers),
        topic,
        selection,
        page,
        bytes_max,
    )
}

fn select_as(
    reason: Use<'_>,
    topic: &Topic,
    selection: &Selection,
    page: &Page,
    bytes_max: u32,
) -> Result<SelectedPage, Refusal> {
    if let Selection::Ids(ids) = selection {
        return select_ids(topic, ids, bytes_max, |letter| letter);
    }
    let held = |partitions| held_bytes_max(bytes_max, partitions);
    let (pages, cursor) = look(reason, topic, selection, page, (bytes_max, &held))?;
    Ok(SelectedPage {
        letters: pages.letters()?,
        cursor,
    })
}

/// As [`select`], of the letters only where they stand: none is held.
pub(super) fn select_places(
    topic: &Topic,
    selection: &Selection,
    page: &Page,
    (bytes_max, buffers): (u32, &Arc<Buffers>),
) -> Result<SelectedPage<()>, Refusal> {
    check_limit(page, LETTERS_PER_CALL_MAX)?;
    if let Selection::Ids(ids) = selection {
        return select_ids(topic, ids, bytes_max, drop);
    }
    // What is found of a letter that the page does not have was read for nothing, and of none the letter is held.
    let page = Page {
        limit: page.limit.min(LETTER_IDS_PER_CALL_MAX),
        ..page.clone()
    };
    let bounds: (u32, &dyn Fn(usize) -> usize) = (bytes_max, &|_| 0);
    let (pages, cursor) = look(Use::ToBeResolved(buffers), topic, selection, &page, bounds)?;
    Ok(SelectedPage {
        letters: pages.places(),
        cursor,
    })
}

/// Looks through all partitions of a selection that is not by ids. Each holds as many bytes of letters as `held` says of their
/// number.
fn look(
    reason: Use<'_>,
    topic: &Topic,
    selection: &Selection,
    page: &Page,
    (bytes_max, held): (u32, &dyn Fn(usize) -> usize),
) -> Result<(Pages, Option<String>), Refusal> {
    let filter = filter_of(selection)?;
    let order = order_of(page);
    let ranges = match &page.cursor {
        None => first_ranges(topic),
        Some(text) => cursor_ranges(text, order, &filter)?,
    };
    let limits = PageLimits {
        letters: usize::try_from(page.limit).unwrap_or(usize::MAX),
        bytes: usize::try_from(bytes_max).unwrap_or(usize::MAX),
        held_bytes: held(ranges.len()),
        shared: match reason {
            Use::ToBeShown => None,
            Use::ToBeResolved(buffers) => Some(buffers),
        },
    };
    let pages = Pages::find(topic, &ranges, (&filter, order), limits)?;
    let cursor = cursor(order, &filter, pages.remaining())?;
    Ok((pages, cursor))
}

fn check_limit(page: &Page, most: u32) -> Result<(), Refusal> {
    if page.limit == 0 || page.limit > most {
        let message = format!("the limit is {}, it must be 1 to {most}", page.limit);
        return Err(Refusal::new(ErrorCode::InvalidSelection, message));
    }
    Ok(())
}

/// Returns how many bytes of letters each partition may hold for a page.
fn held_bytes_max(bytes_max: u32, partitions: usize) -> usize {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let share = bytes_max.checked_div(partitions).unwrap_or(bytes_max);
    share.max(HELD_BYTES_MIN).min(bytes_max)
}

/// The first page fixes the end: letters that die later are not part of the selection.
fn first_ranges(topic: &Topic) -> Vec<PartitionRange> {
    let range = |partition: &Arc<PartitionHandle>| {
        let reader = partition.dead_letters()?.reader().clone();
        Some(PartitionRange {
            partition: partition.number(),
            from: reader.log_start(),
            to: reader.durable_end(),
        })
    };
    topic.partitions().iter().filter_map(range).collect()
}

fn cursor_ranges(
    text: &str,
    order: Order,
    filter: &LetterFilter,
) -> Result<Vec<PartitionRange>, Refusal> {
    let invalid = |error: storage::dead_letter::select::CursorError| {
        let shown: String = text.chars().take(CURSOR_CHARS_SHOWN).collect();
        let message = format!(
            "the cursor is {shown:?}: {error}; it must be the cursor of the page before, unchanged"
        );
        Refusal::new(ErrorCode::InvalidCursor, message)
    };
    let cursor: Cursor = text.parse().map_err(invalid)?;
    cursor
        .remaining(order, filter)
        .map(<[_]>::to_vec)
        .map_err(invalid)
}

/// Returns the cursor to what is left of a selection; `None` if nothing is.
fn cursor(
    order: Order,
    filter: &LetterFilter,
    remaining: &[PartitionRange],
) -> Result<Option<String>, Refusal> {
    if remaining.is_empty() {
        return Ok(None);
    }
    let cursor = Cursor::new(order, filter, remaining)
        .map_err(|error| Refusal::new(ErrorCode::InvalidSelection, error.to_string()))?;
    Ok(Some(cursor.to_string()))
}

fn order_of(page: &Page) -> Order {
    match page.order {
        wire::Order::OldestFirst => Order::OldestFirst,
        wire::Order::NewestFirst => Order::NewestFirst,
    }
}

pub(super) fn unknown_letter(id: &str) -> Refusal {
    Refusal::new(
        ErrorCode::UnknownLetter,
        format!("there is no live dead letter {id}"),
    )
}

pub(super) fn parse_id(id: &str) -> Result<Address, Refusal> {
    let invalid = |why: &str| {
        Refusal::new(
            ErrorCode::InvalidLetterId,
            format!("{id:?} is no dead letter id: {why}"),
        )
    };
    let address: Address = id
        .parse()
        .map_err(|error: storage::address::AddressError| invalid(&error.to_string()))?;
    match address.kind {
        AddressKind::Letter => Ok(address),
        AddressKind::Message => Err(invalid("it is a message id")),
    }
}

pub(super) fn find_partition(
    topic: &Topic,
    number: PartitionNumber,
) -> Option<(u32, Arc<PartitionHandle>)> {
    let partitions = topic.partitions();
    let mut all = (0u32..).zip(partitions.iter());
    all.find(|(_, partition)| partition.number() == number)
        .map(|(index, partition)| (index, Arc::clone(partition)))
}

//! Selecting dead letters: by ids, by their fields, page by page.

mod filter;

use std::sync::Arc;

use storage::address::{Address, AddressKind};
use storage::dead_letter::select::{
    Cursor, LetterFilter, MergedPage, Order, PartitionPage, PartitionRange, merge,
};
use storage::dead_letter::{DeadLetter, DeadLetterView, PlacedLetter};
use storage::log_id::PartitionNumber;
use storage::offset::Offset;

pub(super) use filter::filter_of;

use super::{Broker, refusal};
use crate::engine::PartitionHandle;
use crate::limits::LETTERS_PER_CALL_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::selection::{self as wire, Page, Selection};
use crate::topic::Topic;

/// Bytes that a letter takes in an answer besides its own: ids, lengths, numbers.
const LETTER_FIELDS_BYTES: usize = 512;

/// A letter that was selected.
pub(super) struct Selected {
    pub(super) partition: Arc<PartitionHandle>,
    pub(super) index: u32,
    pub(super) offset: Offset,
    pub(super) letter: Box<DeadLetter>,
}

/// One page of a selection. What was asked for by an id that leads nowhere stands in `refused`.
pub(super) struct SelectedPage {
    pub(super) letters: Vec<(String, Result<Selected, Refusal>)>,
    pub(super) cursor: Option<String>,
}

/// What one partition has found of a page.
struct Found {
    partition: Arc<PartitionHandle>,
    index: u32,
    letters: Vec<PlacedLetter>,
    /// What each of them weighs.
    weights: Vec<usize>,
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

/// Returns one page of a selection, in its order.
pub(super) fn select(
    topic: &Arc<Topic>,
    selection: &Selection,
    page: &Page,
    bytes_max: u32,
) -> Result<SelectedPage, Refusal> {
    if page.limit == 0 || page.limit > LETTERS_PER_CALL_MAX {
        let message = format!(
            "the limit is {}, it must be 1 to {LETTERS_PER_CALL_MAX}",
            page.limit
        );
        return Err(Refusal::new(ErrorCode::InvalidSelection, message));
    }
    if let Selection::Ids(ids) = selection {
        return select_ids(topic, ids, bytes_max);
    }
    let filter = filter_of(selection)?;
    let order = order_of(page);
    let ranges = match &page.cursor {
        None => first_ranges(topic),
        Some(text) => cursor_ranges(text, order, &filter)?,
    };
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut pages = Vec::new();
    for range in ranges {
        let Some((index, partition)) = find_partition(topic, range.partition) else {
            continue;
        };
        let Some(view) = partition.dead_letters() else {
            continue;
        };
        let mut found_here = Found {
            partition,
            index,
            letters: Vec::new(),
            weights: Vec::new(),
        };
        let most = (limit, bytes_max);
        let unseen = look(&view, &filter, order, range, most, &mut found_here)?;
        pages.push(PartitionPage {
            asked: range,
            unseen,
            letters: found_here
                .letters
                .iter()
                .map(|(offset, letter)| (*offset, letter.died_at))
                .collect(),
        });
        found.push(found_here);
    }
    let mut merged = merge(order, &pages, limit);
    // Each partition has kept to the bytes by itself; together they may be too much.
    let fit = fitting(&found, &merged, bytes_max);
    if fit < merged.picks.len() {
        merged = merge(order, &pages, fit);
    }
    let cursor = cursor(order, &filter, &merged.remaining)?;
    Ok(SelectedPage {
        letters: pick(found, &merged),
        cursor,
    })
}

/// Looks through one partition's share, up to a number of letters found or bytes of them.
fn look(
    view: &DeadLetterView,
    filter: &LetterFilter,
    order: Order,
    range: PartitionRange,
    (limit, bytes_max): (usize, u32),
    found: &mut Found,
) -> Result<PartitionRange, Refusal> {
    let mut bytes = 0_usize;
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut is_stopped = false;
    view.visit(
        filter,
        order,
        (range.from, range.to),
        &mut |offset, letter| {
            let weight = weight(&letter);
            bytes = bytes.saturating_add(weight);
            found.letters.push((offset, letter));
            found.weights.push(weight);
            is_stopped = found.letters.len() >= limit || bytes >= bytes_max;
            !is_stopped
        },
    )
    .map_err(|error| refusal::of_log(&error))?;
    let last = found.letters.last().map(|(offset, _)| *offset);
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

/// Returns how many bytes a letter takes in an answer at most.
fn weight(letter: &DeadLetter) -> usize {
    LETTER_FIELDS_BYTES.saturating_add(letter.weight())
}

/// Returns how many letters of a page fit `bytes_max`, at least one.
fn fitting(found: &[Found], merged: &MergedPage, bytes_max: u32) -> usize {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut weights: Vec<_> = found.iter().map(|found| found.weights.iter()).collect();
    let mut bytes = 0_usize;
    let fit = merged.picks.iter().take_while(|pick| {
        let weight = weights.get_mut(pick.page).and_then(Iterator::next);
        bytes = bytes.saturating_add(weight.copied().unwrap_or(0));
        bytes <= bytes_max
    });
    fit.count().max(1)
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
        Refusal::new(ErrorCode::InvalidCursor, error.to_string())
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

/// Takes the picked letters out of what the partitions found.
fn pick(found: Vec<Found>, merged: &MergedPage) -> Vec<(String, Result<Selected, Refusal>)> {
    let mut sources: Vec<_> = found
        .into_iter()
        .map(|found| (found.partition, found.index, found.letters.into_iter()))
        .collect();
    let picked = merged.picks.iter().filter_map(|pick| {
        let (partition, index, letters) = sources.get_mut(pick.page)?;
        let (offset, letter) = letters.next()?;
        let id = Address::letter(partition.number(), offset).to_string();
        let selected = Selected {
            partition: Arc::clone(partition),
            index: *index,
            offset,
            letter,
        };
        Some((id, Ok(selected)))
    });
    picked.collect()
}

/// Finds letters by their ids, live or not: what is asked for by name is answered by name.
fn select_ids(topic: &Arc<Topic>, ids: &[String], bytes_max: u32) -> Result<SelectedPage, Refusal> {
    if ids.len() > usize::try_from(LETTERS_PER_CALL_MAX).unwrap_or(usize::MAX) {
        let message = format!(
            "{} ids are given, at most {LETTERS_PER_CALL_MAX} are taken",
            ids.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidSelection, message));
    }
    let mut seen = std::collections::HashSet::new();
    let distinct = ids.iter().filter(|id| seen.insert(id.as_str()));
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut letters = Vec::new();
    let mut bytes = 0_usize;
    for id in distinct {
        let selected = select_id(topic, id);
        if let Ok(selected) = &selected {
            bytes = bytes.saturating_add(weight(&selected.letter));
        }
        letters.push((id.clone(), selected));
        if bytes > bytes_max && letters.len() > 1 {
            let message = format!(
                "the first {} letters take more than the {bytes_max} bytes of an answer, give fewer ids",
                letters.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidSelection, message));
        }
    }
    Ok(SelectedPage {
        letters,
        cursor: None,
    })
}

fn select_id(topic: &Topic, id: &str) -> Result<Selected, Refusal> {
    let address = parse_id(id)?;
    let (index, partition) = find_partition(topic, address.partition).ok_or_else(|| {
        let message = format!("{id} is no dead letter of topic {}", topic.name());
        Refusal::new(ErrorCode::UnknownLetter, message)
    })?;
    let view = partition.dead_letters().ok_or_else(|| unknown_letter(id))?;
    let letter = view
        .get(address.offset)
        .map_err(|error| refusal::of_log(&error))?
        .ok_or_else(|| unknown_letter(id))?;
    Ok(Selected {
        partition,
        index,
        offset: address.offset,
        letter,
    })
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

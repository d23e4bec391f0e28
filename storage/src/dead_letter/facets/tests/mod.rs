//! Tests of a segment's facets, while they are built and from their file.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod candidates;
mod counts;
mod hostile;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::letter::{DeadLetter, Receiver};
use crate::dead_letter::limits::DEATH_BLOCK_LETTERS;
use crate::dead_letter::samples::{Seeds, filters, letter, seeds};
use crate::dead_letter::sealed::seal;
use crate::disk::MappedBytes;

const BASE: Offset = Offset(1000);

/// What stands at an offset.
#[derive(Debug, Clone)]
enum Item {
    Letter(Box<DeadLetter>),
    Marker(Offset),
}

type Segment = BTreeMap<u32, Item>;

fn segment(items: Vec<(u32, Result<Seeds, u64>)>) -> Segment {
    let mut next = 0;
    let place = |(gap, item): (u32, Result<Seeds, u64>)| {
        next += gap;
        let item = match item {
            Ok(seeds) => Item::Letter(Box::new(letter(seeds))),
            Err(letter) => Item::Marker(Offset(letter)),
        };
        (next, item)
    };
    items.into_iter().map(place).collect()
}

fn segments() -> impl Strategy<Value = Segment> {
    let item = prop_oneof![3 => seeds().prop_map(Ok), 1 => (990..1020_u64).prop_map(Err)];
    vec((1..4_u32, item), 0..40).prop_map(segment)
}

fn builder(segment: &Segment) -> FacetsBuilder {
    let mut builder = FacetsBuilder::new(BASE);
    for (relative, item) in segment {
        match item {
            Item::Letter(letter) => builder.add_letter(*relative, letter),
            Item::Marker(letter) => builder.add_marker(*relative, *letter),
        }
    }
    builder
}

fn opened(bytes: Vec<u8>) -> Result<Facets, crate::error::Corruption> {
    Facets::open(MappedBytes::Owned(bytes))
}

fn both(segment: &Segment) -> [SegmentFacets; 2] {
    let builder = builder(segment);
    let facets = opened(builder.finish()).unwrap();
    assert_eq!((facets.base(), facets.end()), (BASE, builder.end()));
    [
        SegmentFacets::Building(builder),
        SegmentFacets::Sealed(facets),
    ]
}

fn letters(segment: &Segment) -> impl Iterator<Item = (u32, &DeadLetter)> {
    segment.iter().filter_map(|(relative, item)| match item {
        Item::Letter(letter) => Some((*relative, &**letter)),
        Item::Marker(_) => None,
    })
}

fn small() -> Segment {
    segment(vec![
        (0, Ok((0, 1, 2, 4, 6, 5))),
        (1, Ok((4, 2, 3, 5, 9, -7))),
        (1, Err(1001)),
        (3, Ok((1, 3, 0, 1, 12, 9))),
    ])
}

/// Letters of several death blocks, with markers between them and deaths that are not quite in order.
fn large() -> Segment {
    let letter_count = u32::try_from(3 * DEATH_BLOCK_LETTERS + 100).unwrap();
    let item = |n: u32| {
        let byte = (n.wrapping_mul(2_654_435_761) >> 24) as u8;
        let died_at = i64::from(n) * 10 + i64::from(byte);
        let seeds = (byte, byte / 2, byte / 3, byte / 5, byte / 7, died_at);
        (
            1 + n % 2,
            if n % 9 == 4 {
                Err(u64::from(n))
            } else {
                Ok(seeds)
            },
        )
    };
    segment((0..letter_count).map(item).collect())
}

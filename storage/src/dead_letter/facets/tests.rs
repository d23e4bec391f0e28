#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::letter::{DeadLetter, Destination, Disposition, Receiver};
use crate::dead_letter::limits::{DEATH_BLOCK_LETTERS, FACET_VALUE_COUNT_MAX};
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

fn matched(segment: &Segment, filter: &LetterFilter) -> RoaringBitmap {
    let matched = letters(segment).filter(|(_, letter)| filter.matches(letter));
    matched.map(|(relative, _)| relative).collect()
}

/// Checks that candidates and `matches` select what `matches` alone selects. Returns the candidates of both kinds.
fn assert_selects(segment: &Segment, facets: &[SegmentFacets; 2], filter: &LetterFilter) {
    let expected = matched(segment, filter);
    for facets in facets {
        let candidates = facets.candidates(filter);
        if candidates.is_exact {
            assert_eq!(candidates.bitmap, expected, "{filter:?}");
        }
        assert!(candidates.bitmap.is_subset(facets.letters()), "{filter:?}");
        let checked = letters(segment).filter(|(relative, letter)| {
            candidates.bitmap.contains(*relative) && filter.matches(letter)
        });
        let checked: RoaringBitmap = checked.map(|(relative, _)| relative).collect();
        assert_eq!(checked, expected, "{filter:?}");
    }
    let [building, sealed] = facets;
    assert_eq!(building.candidates(filter), sealed.candidates(filter));
}

fn counted(segment: &Segment, live: &RoaringBitmap, now: TimestampMs) -> FacetCounts {
    const HOUR: i64 = 3_600_000;
    let mut counts = FacetCounts::default();
    for (_, letter) in letters(segment).filter(|(relative, _)| live.contains(*relative)) {
        counts.letters += 1;
        *counts.dispositions.entry(letter.disposition).or_default() += 1;
        *counts
            .fingerprints
            .counts
            .entry(letter.fingerprint)
            .or_default() += 1;
        if let Receiver::Group(group) = &letter.receiver {
            *counts.groups.counts.entry(group.clone()).or_default() += 1;
        }
        let age = now.0 - letter.died_at.0;
        let ages = &mut counts.ages;
        let bucket = [
            (age < HOUR, &mut ages.below_hour),
            (age < 24 * HOUR, &mut ages.below_day),
            (age < 7 * 24 * HOUR, &mut ages.below_week),
            (age < 30 * 24 * HOUR, &mut ages.below_month),
            (true, &mut ages.older),
        ];
        *bucket.into_iter().find(|(fits, _)| *fits).unwrap().1 += 1;
    }
    counts
}

proptest! {
    #[test]
    fn candidates_checked_select_what_a_full_scan_selects(segment in segments(), asked in vec(filters(), 1..8)) {
        let facets = both(&segment);
        assert_selects(&segment, &facets, &LetterFilter::default());
        for filter in &asked {
            assert_selects(&segment, &facets, filter);
        }
    }

    #[test]
    fn letters_markers_and_sources_are_found(segment in segments()) {
        for facets in both(&segment) {
            let every: RoaringBitmap = letters(&segment).map(|(relative, _)| relative).collect();
            prop_assert_eq!(facets.letters(), &every);
            for asked in 985..1025 {
                let resolves = |item: &Item| matches!(item, Item::Marker(letter) if letter.0 == asked);
                let first = segment.iter().find(|(_, item)| resolves(item));
                prop_assert_eq!(facets.marker_of(Offset(asked)), first.map(|(relative, _)| *relative));
            }
            for (_, one) in letters(&segment) {
                let key = one.source_key();
                let same = letters(&segment).filter(|(_, letter)| letter.source_key() == key);
                let same: Vec<_> = same.map(|(relative, _)| relative).collect();
                prop_assert_eq!(facets.by_source(key).collect::<Vec<_>>(), same);
            }
            prop_assert_eq!(facets.by_source(7).count(), 0);
        }
    }

    #[test]
    fn live_letters_are_counted(segment in segments(), dead in vec(any::<bool>(), 160)) {
        let live = letters(&segment).map(|(relative, _)| relative).filter(|at| !dead[*at as usize]);
        let live: RoaringBitmap = live.collect();
        for facets in both(&segment) {
            for now in [0, 3_600_000, 24 * 3_600_000, 7 * 24 * 3_600_000, i64::MAX / 2] {
                let now = TimestampMs(now);
                prop_assert_eq!(facets.counts(&live, now), counted(&segment, &live, now));
            }
        }
    }

    #[test]
    fn any_bytes_behind_a_right_checksum_never_panic(
        changes in vec((4..10_000_usize, any::<u8>()), 1..6),
        filter in filters(),
    ) {
        let mut bytes = builder(&small()).finish();
        bytes.truncate(bytes.len() - 4);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        use_hostile(bytes, &filter);
    }
}

/// Opens a file under a right checksum and asks everything of it.
fn use_hostile(mut covered: Vec<u8>, filter: &LetterFilter) {
    seal(&mut covered);
    if let Ok(facets) = opened(covered) {
        let live = facets.letters().clone();
        for filter in [filter, &everything_asked()] {
            let candidates = facets.candidates(filter);
            assert!(candidates.bitmap.is_subset(&live));
        }
        assert_eq!(facets.counts(&live, TimestampMs(0)).letters, live.len());
        std::hint::black_box(facets.marker_of(Offset(1001)));
        assert!(facets.by_source(7).count() < 100);
    }
}

fn small() -> Segment {
    segment(vec![
        (0, Ok((0, 1, 2, 4, 6, 5))),
        (1, Ok((4, 2, 3, 5, 9, -7))),
        (1, Err(1001)),
        (3, Ok((1, 3, 0, 1, 12, 9))),
    ])
}

fn everything_asked() -> LetterFilter {
    let text = |value: &str| vec![value.to_owned()];
    LetterFilter {
        groups: text("group-0"),
        fingerprints: vec![Fingerprint {
            version: 1,
            hash: 1,
        }],
        dispositions: vec![Disposition(2)],
        statuses: vec![502],
        urls: text("https://host-4.example/hook"),
        labels: text("label-1"),
        message_ids: text("msg-6"),
        callers: text("caller-0"),
        url_groups: text("group-1"),
        endpoints: text("endpoint-1"),
        queues: text("queue-1"),
        schedules: text("schedule-1"),
        flow_control_keys: text("flow-1"),
        died_from: Some(TimestampMs(0)),
        died_to: Some(TimestampMs(9)),
    }
}

#[test]
fn truncated_at_every_byte_and_every_flipped_bit_is_refused() {
    let bytes = builder(&small()).finish();
    assert!(opened(bytes.clone()).is_ok());
    for end in 0..bytes.len() {
        assert!(opened(bytes[..end].to_vec()).is_err(), "cut at {end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(opened(flipped).is_err(), "bit {bit}");
    }
    assert!(opened([&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn another_version_and_a_used_reserve_are_refused() {
    for (at, byte) in [(5, 1), (5, 3), (7, 1)] {
        let mut bytes = builder(&small()).finish();
        bytes.truncate(bytes.len() - 4);
        bytes[at] = byte;
        seal(&mut bytes);
        assert!(
            matches!(opened(bytes), Err(crate::error::Corruption::Field { .. })),
            "byte {at}"
        );
    }
}

#[test]
fn hostile_numbers_in_every_place_never_panic_nor_allocate_what_they_say() {
    let bytes = builder(&small()).finish();
    let covered = &bytes[..bytes.len() - 4];
    for at in 4..covered.len() {
        for hostile in [[0; 4], [0xff; 4], [0x7f, 0xff, 0xff, 0xff]] {
            let mut changed = covered.to_vec();
            for (place, byte) in changed[at..].iter_mut().zip(hostile) {
                *place = byte;
            }
            use_hostile(changed, &LetterFilter::default());
        }
    }
}

/// Letters of which each third has the names that are asked for, each in its own field.
#[test]
fn each_part_of_a_destination_is_answered_for_itself() {
    let part = |n: u32, field: u32| n.is_multiple_of(3).then(|| format!("name-{field}"));
    let mut builder = FacetsBuilder::new(BASE);
    for n in 0..30 {
        let mut letter = letter((3, 0, 0, 0, 0, 0));
        letter.receiver = Receiver::Destination(Destination {
            url: "https://host.example".to_owned(),
            method: "POST".to_owned(),
            url_group: part(n, 1),
            endpoint: part(n + 1, 2),
            queue: part(n + 2, 3),
            schedule: part(n, 4),
            flow_control_key: part(n + 1, 5),
        });
        builder.add_letter(n, &letter);
    }
    let sealed = opened(builder.finish()).unwrap();
    let facets = [
        SegmentFacets::Building(builder),
        SegmentFacets::Sealed(sealed),
    ];
    for field in 1..=5_u32 {
        for asked in 1..=5_u32 {
            let names = vec![format!("name-{asked}"), "nobody".to_owned()];
            let mut filter = LetterFilter::default();
            match field {
                1 => filter.url_groups = names,
                2 => filter.endpoints = names,
                3 => filter.queues = names,
                4 => filter.schedules = names,
                _ => filter.flow_control_keys = names,
            }
            let expected: RoaringBitmap = (0..30)
                .filter(|n| asked == field && part(n + (field + 2) % 3, field).is_some())
                .collect();
            for facets in &facets {
                let found = facets.candidates(&filter);
                assert_eq!(found.bitmap, expected, "{filter:?}");
                // What somebody has set up is told without reading a letter.
                assert_eq!(found.is_exact, field != 5, "{filter:?}");
            }
        }
    }
}

#[test]
fn a_damaged_dictionary_asks_every_letter() {
    let small = small();
    let mut bytes = builder(&small).finish();
    bytes.truncate(bytes.len() - 4);
    let at = bytes
        .windows(7)
        .position(|window| window == b"group-0")
        .unwrap();
    // The first byte of the bitmap behind the name.
    bytes[at + 7] ^= 0xff;
    seal(&mut bytes);
    let facets = opened(bytes).unwrap();
    let filter = LetterFilter {
        groups: vec!["group-0".to_owned()],
        ..Default::default()
    };
    let candidates = facets.candidates(&filter);
    assert!(!candidates.is_exact);
    assert_eq!(&candidates.bitmap, facets.letters());
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

#[test]
fn deaths_over_many_blocks_are_selected_by_their_bounds() {
    let large = large();
    let facets = both(&large);
    let ends = [
        i64::MIN,
        0,
        77,
        5_000,
        10_230,
        10_240,
        10_500,
        20_001,
        31_000,
        i64::MAX,
    ];
    for from in ends
        .map(|ms| Some(TimestampMs(ms)))
        .into_iter()
        .chain([None])
    {
        for to in ends
            .map(|ms| Some(TimestampMs(ms)))
            .into_iter()
            .chain([None])
        {
            let filter = LetterFilter {
                died_from: from,
                died_to: to,
                ..Default::default()
            };
            assert_selects(&large, &facets, &filter);
            let group = LetterFilter {
                groups: vec!["group-1".to_owned()],
                ..filter
            };
            assert_selects(&large, &facets, &group);
        }
    }
}

#[test]
fn ages_over_many_blocks_are_counted() {
    let large = large();
    let live: RoaringBitmap = letters(&large)
        .map(|(at, _)| at)
        .filter(|at| at % 5 != 0)
        .collect();
    for facets in both(&large) {
        for now in [0, 3_605_000, 3_620_500, 86_400_000 + 9_999] {
            let now = TimestampMs(now);
            assert_eq!(facets.counts(&live, now), counted(&large, &live, now));
        }
    }
}

#[test]
fn the_rarest_values_are_summed_and_the_sum_is_right() {
    let mut builder = FacetsBuilder::new(BASE);
    let value_count = u64::try_from(FACET_VALUE_COUNT_MAX).unwrap() + 50;
    let mut relative = 0;
    for hash in 0..value_count {
        for _ in 0..=u32::from(hash % 10 == 0) {
            let mut letter = letter((0, 0, 0, 0, 0, 0));
            letter.fingerprint = Fingerprint { version: 1, hash };
            builder.add_letter(relative, &letter);
            relative += 1;
        }
    }
    let live = builder.letters().clone();
    let facets = opened(builder.finish()).unwrap();
    let counts = facets.counts(&live, TimestampMs(0));
    assert_eq!(counts, builder.counts(&live, TimestampMs(0)));
    let top = &counts.fingerprints;
    assert_eq!((top.counts.len(), top.rest), (FACET_VALUE_COUNT_MAX, 50));
    let frequent = usize::try_from(value_count.div_ceil(10)).unwrap();
    let first: Vec<_> = top.ranked().into_iter().take(frequent).collect();
    assert!(
        first
            .iter()
            .all(|(key, count)| (key.hash % 10, *count) == (0, 2)),
        "{first:?}"
    );
    let mut twice = counts.clone();
    twice.merge(counts.clone());
    let sum = twice.fingerprints.counts.values().sum::<u64>() + twice.fingerprints.rest;
    assert_eq!((twice.letters, sum), (2 * counts.letters, 2 * live.len()));
}

#[test]
#[should_panic(expected = "offset 3 was added when 6 was the next")]
fn offsets_must_rise() {
    let mut builder = builder(&small());
    builder.add_marker(3, Offset(0));
}

//! Which letters a filter may select.

use proptest::prelude::*;

use super::*;
use crate::dead_letter::letter::Destination;

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
#[should_panic(expected = "offset 3 was added when 6 was the next")]
fn offsets_must_rise() {
    let mut builder = builder(&small());
    builder.add_marker(3, Offset(0));
}

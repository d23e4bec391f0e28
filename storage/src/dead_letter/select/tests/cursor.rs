//! The text of a cursor: it comes back as it was, has one form, and passes for no other selection.

use proptest::prelude::*;

use super::*;
use crate::dead_letter::limits::{CURSOR_PARTITION_COUNT_MAX, CURSOR_TEXT_BYTES_MAX};

fn cursor() -> Cursor {
    let ranges = [
        range(7, 0, 300),
        range(2, 5, 5),
        range(1, 128, 129),
        range(900, 1 << 40, 1 << 41),
    ];
    Cursor::new(Order::NewestFirst, &LetterFilter::default(), &ranges).unwrap()
}

#[test]
fn a_cursor_carries_what_is_left_by_rising_partition() {
    let read: Cursor = cursor().to_string().parse().unwrap();
    assert_eq!(read, cursor());
    let expected = [
        range(1, 128, 129),
        range(7, 0, 300),
        range(900, 1 << 40, 1 << 41),
    ];
    let left = read.remaining(Order::NewestFirst, &LetterFilter::default());
    assert_eq!(left, Ok(&expected[..]));
    let twice = [range(1, 0, 1), range(1, 1, 2)];
    let refused = Cursor::new(Order::OldestFirst, &LetterFilter::default(), &twice);
    assert_eq!(refused, Err(CursorError::Malformed));
}

#[test]
fn a_cursor_of_another_selection_is_refused() {
    let other = LetterFilter {
        statuses: vec![500],
        ..Default::default()
    };
    let refused = cursor()
        .remaining(Order::NewestFirst, &other)
        .map(<[_]>::len);
    assert_eq!(refused, Err(CursorError::OtherFilter));
    let refused = cursor()
        .remaining(Order::OldestFirst, &LetterFilter::default())
        .map(<[_]>::len);
    assert_eq!(refused, Err(CursorError::OtherOrder));
}

#[test]
fn a_changed_cut_or_lengthened_cursor_is_refused() {
    assert_has_one_text(&cursor());
    // Every number of bytes in the last group of four characters.
    for ranges in [&[][..], &[range(1, 128, 129)], &[range(1, 128, 300)]] {
        let none = LetterFilter::default();
        assert_has_one_text(&Cursor::new(Order::OldestFirst, &none, ranges).unwrap());
    }
    let long = "A".repeat(CURSOR_TEXT_BYTES_MAX + 4);
    assert_eq!(long.parse::<Cursor>(), Err(CursorError::Malformed));
}

fn assert_has_one_text(cursor: &Cursor) {
    let text = cursor.to_string();
    assert_eq!(text.parse::<Cursor>().as_ref(), Ok(cursor));
    for at in 0..text.len() {
        assert!(text[..at].parse::<Cursor>().is_err(), "cut at {at}");
        for digit in (0..=127_u8)
            .map(char::from)
            .filter(|c| !text[at..].starts_with(*c))
        {
            let changed = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<Cursor>().is_err(), "{digit:?} at {at}");
        }
    }
    for more in ["A", "AA", "AAA", "=", "\u{e9}"] {
        assert!(format!("{text}{more}").parse::<Cursor>().is_err(), "{more}");
    }
}

#[test]
fn the_largest_cursor_fits_and_a_larger_one_is_refused() {
    let count = u32::try_from(CURSOR_PARTITION_COUNT_MAX).unwrap();
    let step = u32::MAX / count;
    let mut ranges: Vec<_> = (0..count)
        .map(|n| range(u32::MAX - n * step, u64::MAX / 2, u64::MAX))
        .collect();
    let none = LetterFilter::default();
    let text = Cursor::new(Order::OldestFirst, &none, &ranges)
        .unwrap()
        .to_string();
    assert!(text.len() <= CURSOR_TEXT_BYTES_MAX);
    let read: Cursor = text.parse().unwrap();
    assert_eq!(
        read.remaining(Order::OldestFirst, &none).unwrap().len(),
        ranges.len()
    );
    ranges.push(range(0, 0, 1));
    let refused = Cursor::new(Order::OldestFirst, &none, &ranges);
    assert_eq!(
        refused,
        Err(CursorError::TooManyPartitions {
            count: ranges.len()
        })
    );
}

proptest! {
    #[test]
    fn reading_a_cursor_never_panics_and_it_has_one_text(text in "[A-Za-z0-9_-]{0,80}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn any_bytes_round_trip_as_text_or_are_refused(hostile in vec(any::<u8>(), 0..60)) {
        let mut bytes = vec![CURSOR_VERSION, 0];
        bytes.extend(hostile);
        let read = Cursor::from_checked(&bytes);
        if let Ok(cursor) = read {
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }
    }

    #[test]
    fn any_cursor_round_trips(ranges in vec((any::<u32>(), any::<u64>(), any::<u64>()), 0..20), is_newest: bool) {
        let mut ranges: Vec<_> = ranges.into_iter().map(|(p, a, b)| range(p, a, b)).collect();
        ranges.sort_by_key(|range| range.partition);
        ranges.dedup_by_key(|range| range.partition);
        let order = if is_newest { Order::NewestFirst } else { Order::OldestFirst };
        let cursor = Cursor::new(order, &LetterFilter::default(), &ranges).unwrap();
        prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }
}

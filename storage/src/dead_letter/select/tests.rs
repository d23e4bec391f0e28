#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::letter::{DeadLetter, Destination, Disposition, Receiver};
use crate::dead_letter::limits::{CURSOR_PARTITION_COUNT_MAX, CURSOR_TEXT_BYTES_MAX};
use crate::dead_letter::samples::{filters, letter, seeds};
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn a_filter_takes_any_value_of_a_field_and_needs_every_field() {
    let letter = letter((1, 0, 2, 2, 0, 5));
    let group = |groups: &[&str]| LetterFilter {
        groups: texts(groups),
        ..Default::default()
    };
    assert!(LetterFilter::default().matches(&letter) && LetterFilter::default().is_empty());
    assert!(group(&["other", "group-1"]).matches(&letter) && !group(&["other"]).matches(&letter));
    let both = |status| LetterFilter {
        statuses: vec![status],
        ..group(&["group-1"])
    };
    assert!(both(502).matches(&letter) && !both(503).matches(&letter));
    let labels = LetterFilter {
        labels: texts(&["label-1"]),
        ..Default::default()
    };
    assert!(labels.matches(&letter), "one of several labels is enough");
    let urls = LetterFilter {
        urls: texts(&["group-1"]),
        ..Default::default()
    };
    assert!(!urls.matches(&letter), "a group is no url");
}

#[test]
fn each_part_of_a_destination_is_asked_for_by_its_own_field() {
    let mut letter = letter((3, 0, 2, 2, 0, 5));
    letter.receiver = Receiver::Destination(Destination {
        url: "1".to_owned(),
        method: "POST".to_owned(),
        url_group: Some("2".to_owned()),
        endpoint: Some("3".to_owned()),
        queue: Some("4".to_owned()),
        schedule: Some("5".to_owned()),
        flow_control_key: Some("6".to_owned()),
    });
    let mut other = letter.clone();
    other.receiver = Receiver::Destination(Destination {
        url: "1".to_owned(),
        ..Destination::default()
    });
    for (field, filter) in [
        part(|f| &mut f.urls),
        part(|f| &mut f.url_groups),
        part(|f| &mut f.endpoints),
        part(|f| &mut f.queues),
        part(|f| &mut f.schedules),
        part(|f| &mut f.flow_control_keys),
    ]
    .iter()
    .enumerate()
    {
        for asked in 1..=6 {
            let filter = filter(&asked.to_string());
            assert_eq!(filter.matches(&letter), asked == field + 1, "{filter:?}");
            assert_eq!(filter.matches(&other), asked == 1 && field == 0);
        }
    }
}

/// Makes filters that ask for one value of one field.
fn part(field: fn(&mut LetterFilter) -> &mut Vec<String>) -> impl Fn(&str) -> LetterFilter {
    move |value| {
        let mut filter = LetterFilter::default();
        field(&mut filter).push(value.to_owned());
        filter
    }
}

#[test]
fn deaths_are_taken_from_the_first_time_and_below_the_second() {
    let between = |from, to| LetterFilter {
        died_from: Some(TimestampMs(from)),
        died_to: Some(TimestampMs(to)),
        ..Default::default()
    };
    let letter = letter((0, 0, 0, 0, 0, 5));
    assert!(between(5, 6).matches(&letter));
    assert!(!between(4, 5).matches(&letter) && !between(6, 7).matches(&letter));
}

#[test]
fn the_hash_tells_fields_and_values_apart_but_not_their_order() {
    let groups = |values: &[&str]| LetterFilter {
        groups: texts(values),
        ..Default::default()
    };
    assert_eq!(groups(&["a", "b"]).hash(), groups(&["b", "a", "b"]).hash());
    let disposition = Disposition(1);
    let filters = [
        LetterFilter::default(),
        groups(&["a"]),
        groups(&["a", "b"]),
        groups(&["ab"]),
        LetterFilter {
            urls: texts(&["a"]),
            ..Default::default()
        },
        LetterFilter {
            labels: texts(&["a"]),
            ..Default::default()
        },
        LetterFilter {
            message_ids: texts(&["a"]),
            ..Default::default()
        },
        LetterFilter {
            callers: texts(&["a"]),
            ..Default::default()
        },
        part(|f| &mut f.url_groups)("a"),
        part(|f| &mut f.endpoints)("a"),
        part(|f| &mut f.queues)("a"),
        part(|f| &mut f.schedules)("a"),
        part(|f| &mut f.flow_control_keys)("a"),
        LetterFilter {
            statuses: vec![97],
            ..Default::default()
        },
        LetterFilter {
            dispositions: vec![disposition],
            ..Default::default()
        },
        LetterFilter {
            fingerprints: vec![Fingerprint {
                version: 1,
                hash: 1,
            }],
            ..Default::default()
        },
        LetterFilter {
            died_from: Some(TimestampMs(1)),
            ..Default::default()
        },
        LetterFilter {
            died_to: Some(TimestampMs(1)),
            ..Default::default()
        },
    ];
    for (at, one) in filters.iter().enumerate() {
        for other in &filters[..at] {
            assert_ne!(one.hash(), other.hash(), "{one:?} and {other:?}");
        }
    }
}

fn range(partition: u32, from: u64, to: u64) -> PartitionRange {
    PartitionRange {
        partition: PartitionNumber(partition),
        from: Offset(from),
        to: Offset(to),
    }
}

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

    #[test]
    fn a_filter_from_a_letter_matches_it(seeds in seeds(), filter in filters()) {
        let letter = letter(seeds);
        let copy = LetterFilter {
            dispositions: vec![letter.disposition],
            fingerprints: vec![letter.fingerprint],
            labels: letter.labels.clone(),
            message_ids: letter.message_id.clone().into_iter().collect(),
            callers: letter.caller.clone().into_iter().collect(),
            statuses: letter.history.filed_status().into_iter().collect(),
            died_from: Some(letter.died_at),
            ..Default::default()
        };
        prop_assert!(copy.matches(&letter));
        let both = LetterFilter { died_to: Some(letter.died_at), ..filter };
        prop_assert!(!both.matches(&letter), "a death at the end is behind it");
    }

    #[test]
    fn pages_of_any_size_give_what_one_page_gives(
        deaths in vec(vec((1..4_u64, 0..6_i64), 0..12), 0..5),
        sizes in vec((1..5_usize, 1..6_usize), 1..40),
        is_newest: bool,
    ) {
        let order = if is_newest { Order::NewestFirst } else { Order::OldestFirst };
        let logs = logs(&deaths);
        let (whole, left) = page(order, &logs, &everything(&logs), usize::MAX, usize::MAX);
        prop_assert!(left.is_empty());
        prop_assert_eq!(whole.len(), deaths.iter().map(Vec::len).sum::<usize>());
        let mut left = everything(&logs);
        let mut listed = Vec::new();
        for (size, seen) in sizes.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (picks, next) = page(order, &logs, &left, *size, *seen);
            prop_assert!(picks.len() <= *size);
            let offsets = |ranges: &[PartitionRange]| ranges.iter().map(|r| r.to.0 - r.from.0).sum::<u64>();
            prop_assert!(offsets(&next) < offsets(&left), "each page leaves less");
            listed.extend(picks);
            left = next;
        }
        prop_assert_eq!(listed, whole);
    }

    #[test]
    fn pages_of_a_filter_repeat_and_skip_nothing_while_letters_die_and_are_resolved(
        stood in vec(vec((1..4_u64, seeds()), 0..12), 1..5),
        died in vec((0..5_usize, seeds()), 0..40),
        resolved in vec((0..5_usize, 0..14_usize), 0..20),
        filter in filters(),
        sizes in vec((1..5_usize, 1..6_usize), 1..40),
        is_newest: bool,
    ) {
        let order = if is_newest { Order::NewestFirst } else { Order::OldestFirst };
        let mut model = Model::new(&stood);
        let first = model.ranges();
        let expected = model.in_order(order, &filter);
        let mut left = first;
        let mut listed = Vec::new();
        let mut gone = Vec::new();
        let mut died = died.into_iter();
        let mut resolved = resolved.into_iter();
        for (size, seen) in sizes.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (picks, next) = model.page(order, &filter, &left, *size, *seen);
            // What the caller gets is the text of a cursor.
            let cursor = Cursor::new(order, &filter, &next).unwrap().to_string();
            let cursor: Cursor = cursor.parse().unwrap();
            left = cursor.remaining(order, &filter).unwrap().to_vec();
            listed.extend(picks);
            for (partition, seeds) in died.by_ref().take(2) {
                model.die(partition, seeds);
            }
            for (partition, at) in resolved.by_ref().take(1) {
                gone.extend(model.resolve(partition, at));
            }
        }
        let before = listed.len();
        listed.sort_unstable();
        listed.dedup();
        prop_assert_eq!(listed.len(), before, "a letter came twice");
        let stands = |place: &&(PartitionNumber, Offset)| !gone.contains(*place);
        for place in expected.iter().filter(stands) {
            prop_assert!(listed.contains(place), "{place:?} was left out");
        }
        for place in &listed {
            prop_assert!(expected.contains(place), "{place:?} was not there at the first page");
        }
        // The order is the one that all of them had in the first place.
        if gone.is_empty() {
            let mut sorted = expected.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&listed, &sorted);
        }
    }

    #[test]
    fn pages_of_a_filter_follow_the_order_of_the_whole(
        stood in vec(vec((1..4_u64, seeds()), 0..12), 1..5),
        filter in filters(),
        sizes in vec((1..5_usize, 1..6_usize), 1..40),
    ) {
        let model = Model::new(&stood);
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut left = model.ranges();
            let mut listed = Vec::new();
            for (size, seen) in sizes.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (picks, next) = model.page(order, &filter, &left, *size, *seen);
                listed.extend(picks);
                left = next;
            }
            prop_assert_eq!(listed, model.in_order(order, &filter));
        }
    }
}

type Letters = Vec<(Offset, TimestampMs)>;

/// Partitions with letters, live or not, by offset.
struct Model {
    logs: Vec<std::collections::BTreeMap<u64, DeadLetter>>,
}

impl Model {
    fn new(stood: &[Vec<(u64, crate::dead_letter::samples::Seeds)>]) -> Self {
        let place = |letters: &Vec<(u64, _)>| {
            let mut offset = 0;
            let place = |(gap, seeds): &(u64, _)| {
                offset += gap;
                (offset, letter(*seeds))
            };
            letters.iter().map(place).collect()
        };
        Self {
            logs: stood.iter().map(place).collect(),
        }
    }

    fn end(log: &std::collections::BTreeMap<u64, DeadLetter>) -> u64 {
        log.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    fn ranges(&self) -> Vec<PartitionRange> {
        let range = |(partition, log)| range(partition, 0, Self::end(log));
        let ranges = (1..).zip(&self.logs).map(range);
        ranges.filter(|range| !range.is_empty()).collect()
    }

    fn die(&mut self, partition: usize, seeds: crate::dead_letter::samples::Seeds) {
        let count = self.logs.len();
        let log = &mut self.logs[partition % count];
        log.insert(Self::end(log), letter(seeds));
    }

    fn resolve(&mut self, partition: usize, at: usize) -> Option<(PartitionNumber, Offset)> {
        let partition = partition % self.logs.len();
        let log = &mut self.logs[partition];
        // The last one holds the end of the log.
        if at + 1 >= log.len() {
            return None;
        }
        let offset = *log.keys().nth(at)?;
        log.remove(&offset);
        Some((PartitionNumber(partition as u32 + 1), Offset(offset)))
    }

    /// Lists what matches by its definition: the smallest of the next letters of all partitions, again and again.
    fn in_order(&self, order: Order, filter: &LetterFilter) -> Vec<(PartitionNumber, Offset)> {
        let mut queues: Vec<Letters> = self
            .logs
            .iter()
            .map(|log| Self::matched(log, filter))
            .collect();
        for queue in &mut queues {
            // The next one stands at the end.
            if order == Order::OldestFirst {
                queue.reverse();
            }
        }
        let mut listed = Vec::new();
        loop {
            let next = (1..).zip(&queues).filter_map(|(partition, queue)| {
                let (_, died_at) = queue.last()?;
                Some((*died_at, partition))
            });
            let next = match order {
                Order::OldestFirst => next.min(),
                Order::NewestFirst => next.max(),
            };
            let Some((_, partition)) = next else {
                return listed;
            };
            let (offset, _) = queues[partition as usize - 1].pop().unwrap();
            listed.push((PartitionNumber(partition), offset));
        }
    }

    fn matched(
        log: &std::collections::BTreeMap<u64, DeadLetter>,
        filter: &LetterFilter,
    ) -> Letters {
        let matched = log.iter().filter(|(_, letter)| filter.matches(letter));
        matched
            .map(|(offset, letter)| (Offset(*offset), letter.died_at))
            .collect()
    }

    fn page(
        &self,
        order: Order,
        filter: &LetterFilter,
        left: &[PartitionRange],
        size: usize,
        seen: usize,
    ) -> (Vec<(PartitionNumber, Offset)>, Vec<PartitionRange>) {
        let logs: Vec<_> = self
            .logs
            .iter()
            .map(|log| Self::matched(log, filter))
            .collect();
        page(order, &logs, left, size, seen)
    }
}

/// Logs with gaps between their letters, where markers stand.
fn logs(deaths: &[Vec<(u64, i64)>]) -> Vec<Letters> {
    let place = |deaths: &Vec<(u64, i64)>| {
        let mut offset = 0;
        let letters = deaths.iter().map(|(gap, died_at)| {
            offset += gap;
            (Offset(offset), TimestampMs(*died_at))
        });
        letters.collect()
    };
    deaths.iter().map(place).collect()
}

fn everything(logs: &[Letters]) -> Vec<PartitionRange> {
    (1..)
        .zip(logs)
        .map(|(partition, _)| range(partition, 0, 100))
        .collect()
}

/// Lists a page of at most `size` letters, looking at `seen` letters of each partition at most.
fn page(
    order: Order,
    logs: &[Letters],
    left: &[PartitionRange],
    size: usize,
    seen: usize,
) -> (Vec<(PartitionNumber, Offset)>, Vec<PartitionRange>) {
    let pages: Vec<_> = left
        .iter()
        .map(|asked| partition_page(order, logs, *asked, seen))
        .collect();
    let merged = merge(order, &pages, size);
    let picks = merged
        .picks
        .iter()
        .map(|pick| (pages[pick.page].asked.partition, pick.offset));
    (picks.collect(), merged.remaining)
}

fn partition_page(
    order: Order,
    logs: &[Letters],
    asked: PartitionRange,
    seen: usize,
) -> PartitionPage {
    let log = &logs[asked.partition.0 as usize - 1];
    let inside = |(offset, _): &&(Offset, TimestampMs)| asked.from <= *offset && *offset < asked.to;
    let mut letters: Letters = log.iter().filter(inside).copied().collect();
    if order == Order::NewestFirst {
        letters.reverse();
    }
    let mut unseen = range(asked.partition.0, 0, 0);
    if letters.len() > seen {
        let (next, _) = letters[seen];
        unseen = match order {
            Order::OldestFirst => PartitionRange {
                from: next,
                ..asked
            },
            Order::NewestFirst => PartitionRange {
                to: next.next(),
                ..asked
            },
        };
        letters.truncate(seen);
    }
    PartitionPage {
        asked,
        unseen,
        letters,
    }
}

#[test]
fn over_partitions_the_earlier_death_comes_first_then_the_lower_partition() {
    let logs = logs(&[vec![(1, 5), (1, 9)], vec![(1, 5)], vec![(1, 1), (1, 7)]]);
    let at = |partition, offset| (PartitionNumber(partition), Offset(offset));
    let (oldest, _) = page(Order::OldestFirst, &logs, &everything(&logs), 9, 9);
    assert_eq!(oldest, [at(3, 1), at(1, 1), at(2, 1), at(3, 2), at(1, 2)]);
    let (newest, _) = page(Order::NewestFirst, &logs, &everything(&logs), 9, 9);
    assert_eq!(newest, oldest.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn letters_that_come_after_the_first_page_are_not_part_of_the_selection() {
    let first = logs(&[vec![(1, 1), (1, 2)]]);
    let fixed = [range(1, 0, 3)];
    let (_, left) = page(Order::OldestFirst, &first, &fixed, 1, 9);
    let grown = logs(&[vec![(1, 1), (1, 2), (1, 3)]]);
    let (rest, left) = page(Order::OldestFirst, &grown, &left, 9, 9);
    assert_eq!(
        (rest, left),
        (vec![(PartitionNumber(1), Offset(2))], Vec::new())
    );
}

#[test]
fn a_partition_that_was_looked_at_in_vain_holds_the_page_back_but_makes_progress() {
    let vain = PartitionPage {
        asked: range(1, 0, 100),
        unseen: range(1, 60, 100),
        letters: Vec::new(),
    };
    let found = PartitionPage {
        asked: range(2, 0, 10),
        unseen: range(2, 0, 0),
        letters: vec![(Offset(4), TimestampMs(1))],
    };
    let merged = merge(Order::OldestFirst, &[vain, found], 10);
    assert_eq!(merged.picks, []);
    assert_eq!(merged.remaining, [range(1, 60, 100), range(2, 4, 10)]);
}

//! Counts of live letters by their facets.

use proptest::prelude::*;

use super::*;
use crate::dead_letter::limits::FACET_VALUE_COUNT_MAX;

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

//! How many live letters have which value, for operators.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use roaring::RoaringBitmap;

use super::dictionary::Dictionary;
use super::view::{View, letter_range};
use super::{DictionaryField, split_death};
use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::letter::Disposition;
use crate::dead_letter::limits::FACET_VALUE_COUNT_MAX;
use crate::offset::TimestampMs;

const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Counts of live letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FacetCounts {
    /// All of them.
    pub letters: u64,
    /// By disposition.
    pub dispositions: BTreeMap<Disposition, u64>,
    /// By fingerprint.
    pub fingerprints: TopCounts<Fingerprint>,
    /// By consumer group; letters of destinations have none.
    pub groups: TopCounts<String>,
    /// By time since the death.
    pub ages: AgeCounts,
}

/// Counts of the most frequent values. Once values were left out, a count of a merged one may be too low by what is in the
/// rest; the sum is always right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopCounts<K> {
    /// Counts of at most [`FACET_VALUE_COUNT_MAX`] values.
    pub counts: BTreeMap<K, u64>,
    /// Letters with other values.
    pub rest: u64,
}

/// Counts by age: each without those of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgeCounts {
    /// Younger than an hour, or from the future.
    pub below_hour: u64,
    /// Younger than a day.
    pub below_day: u64,
    /// Younger than 7 days.
    pub below_week: u64,
    /// Younger than 30 days.
    pub below_month: u64,
    /// The rest.
    pub older: u64,
}

impl FacetCounts {
    /// Adds the counts of another segment or partition.
    pub fn merge(&mut self, other: Self) {
        self.letters += other.letters;
        for (disposition, count) in other.dispositions {
            *self.dispositions.entry(disposition).or_default() += count;
        }
        self.fingerprints.merge(other.fingerprints);
        self.groups.merge(other.groups);
        self.ages.below_hour += other.ages.below_hour;
        self.ages.below_day += other.ages.below_day;
        self.ages.below_week += other.ages.below_week;
        self.ages.below_month += other.ages.below_month;
        self.ages.older += other.ages.older;
    }
}

impl<K> Default for TopCounts<K> {
    fn default() -> Self {
        Self {
            counts: BTreeMap::new(),
            rest: 0,
        }
    }
}

impl<K: Ord + Clone> TopCounts<K> {
    /// Returns the values, the most frequent first, equal ones by value.
    #[must_use]
    pub fn ranked(&self) -> Vec<(&K, u64)> {
        let mut ranked: Vec<_> = self
            .counts
            .iter()
            .map(|(key, count)| (key, *count))
            .collect();
        ranked.sort_by_key(|(_, count)| Reverse(*count));
        ranked
    }

    /// Leaves out all but the `value_count_max` most frequent values.
    pub fn cut(&mut self, value_count_max: usize) {
        if self.counts.len() <= value_count_max {
            return;
        }
        let sum: u64 = self.counts.values().sum();
        let ranked = self.ranked().into_iter().take(value_count_max);
        let kept: BTreeMap<K, u64> = ranked.map(|(key, count)| (key.clone(), count)).collect();
        self.rest += sum - kept.values().sum::<u64>();
        self.counts = kept;
    }

    fn merge(&mut self, other: Self) {
        self.rest += other.rest;
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        self.cut(FACET_VALUE_COUNT_MAX);
    }
}

impl AgeCounts {
    fn bucket(&mut self, age_ms: i64) -> &mut u64 {
        match age_ms {
            ..HOUR_MS => &mut self.below_hour,
            HOUR_MS..DAY_MS => &mut self.below_day,
            _ if age_ms < 7 * DAY_MS => &mut self.below_week,
            _ if age_ms < 30 * DAY_MS => &mut self.below_month,
            _ => &mut self.older,
        }
    }
}

impl View<'_> {
    pub(super) fn counts(self, live: &RoaringBitmap, now: TimestampMs) -> FacetCounts {
        let mut counts = FacetCounts {
            letters: live.len(),
            ages: self.ages(live, now),
            ..FacetCounts::default()
        };
        let dispositions = self.top(DictionaryField::Disposition, live, None);
        for (value, count) in dispositions.counts {
            let disposition = Disposition(value.first().copied().unwrap_or_default());
            counts.dispositions.insert(disposition, count);
        }
        let fingerprints = self.top(DictionaryField::Fingerprint, live, Some(live.len()));
        counts.fingerprints = fingerprints.rename(|value| Fingerprint::from_bytes(&value));
        let groups = self.top(DictionaryField::Group, live, None);
        counts.groups = groups.rename(|value| String::from_utf8(value).ok());
        counts
    }

    /// Counts the values of a field. With the sum known, values that are too rare to be kept are not even looked at.
    fn top(
        self,
        field: DictionaryField,
        live: &RoaringBitmap,
        sum: Option<u64>,
    ) -> TopCounts<Vec<u8>> {
        let mut top = Top {
            heap: BinaryHeap::new(),
            sum: 0,
        };
        match self {
            Self::Building(builder) => {
                for (value, letters) in builder.values(field) {
                    top.add(value, live.intersection_len(letters));
                }
            }
            Self::Sealed(facets) => {
                let dictionary = facets.dictionary(field).into_iter();
                for entry in dictionary.flat_map(Dictionary::entries).flatten() {
                    if sum.is_some() && !top.takes(entry.letter_count) {
                        continue;
                    }
                    if let Ok(letters) = entry.bitmap() {
                        top.add(entry.value, live.intersection_len(&letters));
                    }
                }
            }
        }
        top.finish(sum)
    }

    fn ages(self, live: &RoaringBitmap, now: TimestampMs) -> AgeCounts {
        let mut ages = AgeCounts::default();
        for ((earliest, latest), deaths) in self.blocks() {
            let mut probe = AgeCounts::default();
            *probe.bucket(now.since(earliest)) += 1;
            let is_one_bucket = *probe.bucket(now.since(latest)) == 1;
            if is_one_bucket {
                // What is live is a letter, so the markers between the letters do not count.
                *ages.bucket(now.since(earliest)) += live.range_cardinality(letter_range(deaths));
                continue;
            }
            let deaths = deaths.iter().map(|death| split_death(*death));
            for (_, died_at) in deaths.filter(|(letter, _)| live.contains(*letter)) {
                *ages.bucket(now.since(died_at)) += 1;
            }
        }
        ages
    }
}

/// The most frequent values up to now.
struct Top {
    heap: BinaryHeap<Reverse<(u64, Reverse<Vec<u8>>)>>,
    sum: u64,
}

impl Top {
    fn takes(&self, count: u64) -> bool {
        let least = self.heap.peek().map_or(0, |Reverse((least, _))| *least);
        count > 0 && (self.heap.len() < FACET_VALUE_COUNT_MAX || count > least)
    }

    fn add(&mut self, value: &[u8], count: u64) {
        self.sum += count;
        if self.takes(count) {
            self.heap.push(Reverse((count, Reverse(value.to_vec()))));
        }
        if self.heap.len() > FACET_VALUE_COUNT_MAX {
            self.heap.pop();
        }
    }

    fn finish(self, sum: Option<u64>) -> TopCounts<Vec<u8>> {
        let kept = self
            .heap
            .into_iter()
            .map(|Reverse((count, Reverse(value)))| (value, count));
        let counts: BTreeMap<_, _> = kept.collect();
        let kept_sum: u64 = counts.values().sum();
        TopCounts {
            counts,
            rest: sum.unwrap_or(self.sum).saturating_sub(kept_sum),
        }
    }
}

impl TopCounts<Vec<u8>> {
    fn rename<K: Ord>(self, name: impl Fn(Vec<u8>) -> Option<K>) -> TopCounts<K> {
        let mut renamed = TopCounts {
            counts: BTreeMap::new(),
            rest: self.rest,
        };
        for (value, count) in self.counts {
            match name(value) {
                Some(key) => {
                    renamed.counts.insert(key, count);
                }
                None => renamed.rest += count,
            }
        }
        renamed
    }
}

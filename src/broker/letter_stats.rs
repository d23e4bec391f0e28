//! Counting dead letters: what a selection holds, by disposition, group, fingerprint and age.

use std::collections::BTreeMap;

use storage::dead_letter::facets::FacetCounts;
use storage::dead_letter::select::{LetterFilter, Order};
use storage::dead_letter::{DeadLetter, DeadLetterView, Fingerprint};
use storage::offset::{Offset, TimestampMs};

use super::select::filter_of;
use super::topics::letter_counts;
use super::{Broker, refusal};
use crate::protocol::cursor::Text;
use crate::protocol::error_code::Refusal;
use crate::protocol::metadata::LetterCounts;
use crate::protocol::read_letters::{FingerprintCount, LetterStatsAnswer, LetterStatsRequest};

/// Fingerprints that statistics name; the rarer ones are left out.
const FINGERPRINTS_SHOWN_MAX: usize = 100;
/// Upper ends of the age buckets, in milliseconds: an hour, a day, a week, 30 days, and everything older.
const AGE_BUCKETS_MS: [u64; 5] = [3_600_000, 86_400_000, 604_800_000, 2_592_000_000, u64::MAX];

impl Broker {
    /// Counts live letters. Blocks on the disk.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::InvalidSelection`], or the log's.
    pub fn letter_stats(&self, request: &LetterStatsRequest) -> Result<LetterStatsAnswer, Refusal> {
        let topic = self.topic(&request.topic)?;
        let filter = filter_of(&request.selection)?;
        let mut stats = Stats {
            now: self.clock.now(),
            ..Stats::default()
        };
        for partition in topic.partitions().iter() {
            stats.counts += letter_counts(partition);
            let Some(view) = partition.dead_letters() else {
                continue;
            };
            stats.add(&view, &filter)?;
        }
        Ok(stats.answer())
    }
}

/// Counts of letters, partition by partition.
#[derive(Default)]
struct Stats {
    now: TimestampMs,
    counts: LetterCounts,
    found: FacetCounts,
    /// The reason of one letter of each fingerprint.
    reasons: BTreeMap<Fingerprint, String>,
    oldest: Option<TimestampMs>,
    newest: Option<TimestampMs>,
}

impl Stats {
    fn add(&mut self, view: &DeadLetterView, filter: &LetterFilter) -> Result<(), Refusal> {
        let failed = |error: storage::error::LogError| refusal::of_log(&error);
        let found = view.count(filter, self.now).map_err(failed)?;
        for (fingerprint, _) in found
            .fingerprints
            .ranked()
            .into_iter()
            .take(FINGERPRINTS_SHOWN_MAX)
        {
            if !self.reasons.contains_key(fingerprint) {
                let one = LetterFilter {
                    fingerprints: vec![*fingerprint],
                    ..filter.clone()
                };
                let letter = first_letter(view, &one, Order::OldestFirst).map_err(failed)?;
                self.reasons
                    .extend(letter.map(|letter| (*fingerprint, letter.reason)));
            }
        }
        self.found.merge(found);
        // Letters stand in about the order of their deaths: the ends of the log are where to look.
        let oldest = first_letter(view, filter, Order::OldestFirst).map_err(failed)?;
        let newest = first_letter(view, filter, Order::NewestFirst).map_err(failed)?;
        let oldest = oldest.map(|letter| letter.died_at);
        self.oldest = [self.oldest, oldest].into_iter().flatten().min();
        self.newest = self.newest.max(newest.map(|letter| letter.died_at));
        Ok(())
    }

    fn answer(self) -> LetterStatsAnswer {
        let ages = &self.found.ages;
        let by_age = [
            ages.below_hour,
            ages.below_day,
            ages.below_week,
            ages.below_month,
            ages.older,
        ];
        let fingerprints = self.found.fingerprints.ranked();
        let by_fingerprint = fingerprints.into_iter().take(FINGERPRINTS_SHOWN_MAX);
        LetterStatsAnswer {
            counts: self.counts,
            selected: self.found.letters,
            by_disposition: self
                .found
                .dispositions
                .iter()
                .map(|(disposition, count)| (disposition.0, *count))
                .collect(),
            by_group: self
                .found
                .groups
                .ranked()
                .into_iter()
                .map(|(group, count)| (group.clone(), count))
                .collect(),
            by_fingerprint: by_fingerprint
                .map(|(fingerprint, count)| FingerprintCount {
                    fingerprint: fingerprint.to_string(),
                    reason: Text::from(self.reasons.get(fingerprint).cloned().unwrap_or_default()),
                    count,
                })
                .collect(),
            by_age: AGE_BUCKETS_MS.into_iter().zip(by_age).collect(),
            oldest_died_at: self.oldest,
            newest_died_at: self.newest,
        }
    }
}

/// Returns the first live letter that a filter matches.
pub(super) fn first_letter(
    view: &DeadLetterView,
    filter: &LetterFilter,
    order: Order,
) -> Result<Option<DeadLetter>, storage::error::LogError> {
    let mut first = None;
    view.visit(
        filter,
        order,
        (Offset::ZERO, Offset(u64::MAX)),
        &mut |_, letter| {
            first = Some(*letter);
            false
        },
    )?;
    Ok(first)
}

//! The gauges: what is poisoned, damaged, dead and behind, and how soon retention may take a dead letter.

use storage::dead_letter::select::{LetterFilter, Order};
use storage::offset::TimestampMs;

use super::Broker;
use super::letter_stats::first_letter;
use super::topics::letter_counts;
use crate::engine::PartitionHandle;
use crate::metrics::{LetterTotals, gauge_value};

impl Broker {
    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        // Held to the end: of two who measure at once the later one has the later counts.
        let gone = self.gone_letters.lock();
        let mut letters = *gone;
        let control = self.control.with(|log| log.poison());
        let mut poisoned = u64::from(control.is_some());
        let mut damaged = 0;
        let (mut oldest, mut first_expiry) = (None, None);
        let now = self.clock.now();
        for topic in self.all_topics() {
            for partition in topic.partitions().iter() {
                for (_, log) in partition.readers() {
                    poisoned += u64::from(log.poison().is_some());
                    damaged += log.damage().len();
                }
                letters += letter_counts(partition);
                let Some(died_at) = oldest_death(partition) else {
                    continue;
                };
                oldest = oldest.max(Some(now.since(died_at)));
                // A letter goes with its segment, whose last letter died no earlier: this is the soonest that it can be.
                let kept_ms = topic.settings().dead_letter_retention_ms;
                let expiry = kept_ms.map(|ms| died_at.saturating_add(ms).since(now));
                first_expiry = [first_expiry, expiry].into_iter().flatten().min();
            }
        }
        self.metrics.logs.poisoned_logs.set(gauge_value(poisoned));
        self.metrics
            .logs
            .damaged_ranges
            .set(i64::try_from(damaged).unwrap_or(i64::MAX));
        self.metrics.set_letters(LetterTotals {
            live: letters.live,
            republished: letters.republished,
            deleted: letters.deleted,
            expired: letters.expired,
        });
        drop(gone);
        let letters = &self.metrics.dead_letters;
        letters
            .oldest_age_seconds
            .set(oldest.unwrap_or(0).max(0) / 1000);
        let seconds = first_expiry.map_or(-1, |ms: i64| ms.max(0) / 1000);
        letters.first_expiry_seconds.set(seconds);
        self.measure_lag();
        self.measure_deliveries();
    }
}

/// Returns when the first live letter of a partition died. A letter that cannot be read counts as none: the damage is told.
fn oldest_death(partition: &PartitionHandle) -> Option<TimestampMs> {
    let view = partition.dead_letters()?;
    let first = first_letter(&view, &LetterFilter::default(), Order::OldestFirst).ok()?;
    first.map(|letter| letter.died_at)
}

//! The times of messages whose attempts may be made, in their order, and how many of these times have come.
//!
//! Invariant: `due_count` is the number of timers up to `counted_to`. Each timer is counted once, when its time has come: who
//! asks for the count does not look at all that is late.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::offset::{Offset, TimestampMs};

type Timer = (TimestampMs, Offset);

#[derive(Debug, Clone)]
pub(super) struct Timers {
    all: BTreeSet<Timer>,
    counted_to: TimestampMs,
    due_count: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            all: BTreeSet::new(),
            counted_to: TimestampMs(i64::MIN),
            due_count: 0,
        }
    }
}

impl Timers {
    pub(super) fn insert(&mut self, timer: Timer) {
        if self.all.insert(timer) {
            self.due_count = self.due_count.saturating_add(self.counts(timer));
        }
    }

    pub(super) fn remove(&mut self, timer: Timer) {
        if self.all.remove(&timer) {
            self.due_count = self.due_count.saturating_sub(self.counts(timer));
        }
    }

    pub(super) fn first(&self) -> Option<Timer> {
        self.all.first().copied()
    }

    /// Counts those whose time has come since the last call.
    pub(super) fn count_to(&mut self, now: TimestampMs) {
        self.due_count = self.due_count(now);
        self.counted_to = now;
    }

    /// Returns how many times have come. It looks only at those between now and where they were last counted to.
    pub(super) fn due_count(&self, now: TimestampMs) -> u64 {
        if now >= self.counted_to {
            self.due_count
                .saturating_add(self.between(self.counted_to, now))
        } else {
            // The clock was set back.
            self.due_count
                .saturating_sub(self.between(now, self.counted_to))
        }
    }

    fn counts(&self, (due, _): Timer) -> u64 {
        u64::from(due <= self.counted_to)
    }

    /// Counts the timers after `from` up to `to`.
    fn between(&self, from: TimestampMs, to: TimestampMs) -> u64 {
        let last = |time| (time, Offset(u64::MAX));
        let range = (Bound::Excluded(last(from)), Bound::Included(last(to)));
        let is_any = from < to;
        let count = is_any.then(|| self.all.range(range).count());
        u64::try_from(count.unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(i64, u64),
        Remove(i64, u64),
        CountTo(i64),
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (-3..12_i64, 0..3_u64).prop_map(|(due, message)| Op::Insert(due, message)),
            3 => (-3..12_i64, 0..3_u64).prop_map(|(due, message)| Op::Remove(due, message)),
            2 => (-4..13_i64).prop_map(Op::CountTo),
        ]
    }

    proptest! {
        #[test]
        fn as_many_are_due_as_a_look_at_all_of_them_finds(ops in prop::collection::vec(any_op(), 0..60)) {
            let mut timers = Timers::default();
            for op in ops {
                match op {
                    Op::Insert(due, message) => timers.insert((TimestampMs(due), Offset(message))),
                    Op::Remove(due, message) => timers.remove((TimestampMs(due), Offset(message))),
                    Op::CountTo(now) => timers.count_to(TimestampMs(now)),
                }
                for now in (-5..14).map(TimestampMs).chain([TimestampMs(i64::MIN), TimestampMs(i64::MAX)]) {
                    let found = timers.all.iter().filter(|(due, _)| *due <= now).count();
                    prop_assert_eq!(timers.due_count(now), found as u64);
                }
            }
        }
    }
}

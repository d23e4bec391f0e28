//! What the destinations see of flow-control keys: never more attempts open at a time than the parallelism, never more begun
//! in a period than the rate, and none while the key is paused, across crashes too.
//!
//! A period begins with the first attempt behind the end of the one before. A destination sees attempts a moment after they
//! were counted, and does not see those that were counted and never sent. So the model keeps every period that may be the
//! present one, by how many attempts have been seen in it, with the earliest time at which it may have begun: when no such
//! period is left that has room, the rate was exceeded.

use std::collections::BTreeMap;

use super::known::Known;
use crate::chance::Chance;
use crate::log_model::Broken;

/// Time between an attempt's place in its period and its arrival, at most, in ms.
const DELAY_MS: i64 = 1_000;

/// The limits of a key: all its messages say the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowKey {
    pub(crate) name: &'static str,
    pub(crate) parallelism: Option<u32>,
    /// Attempts, in so many ms.
    pub(crate) rate: Option<(u32, i64)>,
    /// What an operator pins: a parallelism, and attempts in the same time.
    pub(crate) pin: (Option<u32>, Option<u32>),
}

/// The keys.
pub(crate) const KEYS: [FlowKey; 3] = [
    FlowKey {
        name: "one",
        parallelism: Some(1),
        rate: None,
        pin: (Some(2), None),
    },
    FlowKey {
        name: "two-in-20s",
        parallelism: None,
        rate: Some((2, 20_000)),
        pin: (None, Some(1)),
    },
    FlowKey {
        name: "both",
        parallelism: Some(2),
        rate: Some((3, 5_000)),
        pin: (Some(1), None),
    },
];

impl FlowKey {
    /// What a publisher says of it.
    pub(crate) fn header(&self) -> String {
        let parallelism = self.parallelism.map(|count| format!("parallelism={count}"));
        let rate = self
            .rate
            .map(|(rate, ms)| format!("rate={rate}, period={}s", ms / 1_000));
        let both: Vec<_> = parallelism.into_iter().chain(rate).collect();
        both.join(", ")
    }

    /// What an operator says to pin its limits.
    pub(crate) fn pin_query(&self) -> String {
        let (parallelism, rate) = self.pin;
        let parallelism = parallelism.map(|count| format!("parallelism={count}"));
        let period_ms = self.rate.map_or(0, |(_, ms)| ms);
        let rate = rate.map(|rate| format!("rate={rate}&period={}s", period_ms / 1_000));
        let both: Vec<_> = parallelism.into_iter().chain(rate).collect();
        both.join("&")
    }

    /// What an operator says to pin them no longer.
    pub(crate) fn unpin_query(&self) -> String {
        let (parallelism, rate) = self.pin;
        let parallelism = parallelism.map(|_| "parallelism=true");
        let both: Vec<_> = parallelism
            .into_iter()
            .chain(rate.map(|_| "rate=true"))
            .collect();
        both.join("&")
    }
}

/// The key with a rate alone, and a long period.
pub(crate) const RATED: usize = 1;

/// A key for a message: those with a rate alone more often, as their attempts stay in their period over a crash.
pub(crate) fn any_key(chance: &mut Chance) -> usize {
    *chance.pick(&[0, RATED, RATED, 2])
}

/// When something happens: by the wall clock, and in simulated time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall_ms: i64,
    pub(crate) simulated_ms: u64,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Seen {
    open: u32,
    /// Earliest begin of a period that may be the present one, by the attempts seen in it; `None` when nothing is known.
    periods: Option<BTreeMap<u32, i64>>,
    /// Attempts may have been counted up to here that were never sent, by the wall clock.
    unseen_until_ms: i64,
    pub(super) paused: Known,
    /// Since when it is sure that it is paused, in simulated time.
    paused_ms: u64,
    pub(super) pinned: Known,
    /// Since when it is sure whether it is pinned, in simulated time.
    pinned_ms: u64,
    /// Something was pinned in this life: it counts on when it is pinned no more.
    was_pinned: bool,
    /// Requests that begin a new period when they are done, and may yet be done; by the wall clock, the first one's time.
    resets: Option<(u32, i64)>,
    /// Until when attempts of the period before the last reset may arrive, in simulated time.
    reset_until_ms: u64,
    arrived: u64,
}

/// What is known of all keys.
#[derive(Debug)]
pub(crate) struct FlowModel {
    keys: [Seen; KEYS.len()],
    pub(super) attempts: u64,
    /// Pins and resets that were answered.
    pub(super) turned: u64,
}

impl Default for FlowModel {
    fn default() -> Self {
        // Nothing was ever sent: whatever comes begins a period.
        let long_full = |key: &FlowKey| Seen {
            periods: key.rate.map(|(rate, _)| BTreeMap::from([(rate, 0)])),
            ..Seen::default()
        };
        Self {
            keys: KEYS.each_ref().map(long_full),
            attempts: 0,
            turned: 0,
        }
    }
}

impl FlowModel {
    /// An attempt of a message with a key reaches its destination.
    pub(crate) fn arrived(&mut self, at: usize, now: Now) -> Result<(), Broken> {
        self.attempts += 1;
        let (key, seen) = (&KEYS[at], &mut self.keys[at]);
        seen.open += 1;
        seen.arrived += 1;
        if seen
            .parallelism(key, now)
            .is_some_and(|max| seen.open > max)
        {
            return Err(format!(
                "{} attempts of {} are open: {key:?}",
                seen.open, key.name
            ));
        }
        let paused_ms = seen.paused_ms + u64::try_from(DELAY_MS).unwrap();
        if seen.paused == Known::Yes && paused_ms < now.simulated_ms {
            return Err(format!(
                "{} is paused since {} and sends at {}",
                key.name, seen.paused_ms, now.simulated_ms
            ));
        }
        match key.rate {
            Some((rate, ms)) => {
                let is_pinned = seen.is_pinned_since(now);
                let rate = key.pin.1.filter(|_| is_pinned).unwrap_or(rate);
                seen.count(key.name, (rate, ms), now)
            }
            None => Ok(()),
        }
    }

    /// An attempt of a message with a key has been answered.
    pub(crate) fn answered(&mut self, at: usize) {
        self.keys[at].open -= 1;
    }

    /// Until the broker ends, attempts of a key, or of all, may be counted that are never sent.
    pub(crate) fn may_be_unseen(&mut self, key: Option<usize>) {
        for (at, seen) in self.keys.iter_mut().enumerate() {
            if key.is_none_or(|key| key == at) {
                seen.unseen_until_ms = i64::MAX;
            }
        }
    }

    pub(crate) fn broker_has_ended(&mut self, wall_ms: i64) {
        for seen in &mut self.keys {
            seen.open = 0;
            seen.unseen_until_ms = wall_ms;
            seen.paused.broker_has_ended();
            seen.pinned.broker_has_ended();
            seen.was_pinned = seen.pinned != Known::No;
            seen.resets = None;
        }
    }

    pub(crate) fn clock_jumps(&mut self) {
        for seen in &mut self.keys {
            seen.periods = None;
            seen.resets = seen.resets.map(|(count, _)| (count, i64::MIN / 2));
        }
    }

    /// A key is to be pinned, or to be pinned no more: both begin a new period.
    pub(crate) fn pin_tried(&mut self, at: usize, now: Now) {
        self.keys[at].pinned.tried();
        self.keys[at].was_pinned = true;
        self.reset_tried(at, now);
    }

    pub(crate) fn pin_answered(&mut self, at: usize, is_pinned: bool, now: Now) {
        self.keys[at].pinned.answered(is_pinned);
        self.keys[at].pinned_ms = now.simulated_ms;
        self.reset_answered(at, now);
    }

    /// The first answer of a life about the pins of a key.
    pub(crate) fn found_pinned(
        &mut self,
        at: usize,
        is_pinned: bool,
        now: Now,
    ) -> Result<(), Broken> {
        let seen = &mut self.keys[at];
        let held = seen.pinned.found(is_pinned);
        seen.pinned_ms = now.simulated_ms;
        held.map_err(|error| format!("flow-control key {}, pinned: {error}", KEYS[at].name))
    }

    /// The period of a key is to end now.
    pub(crate) fn reset_tried(&mut self, at: usize, now: Now) {
        let seen = &mut self.keys[at];
        let first_ms = now.wall_ms - DELAY_MS;
        let (count, first_ms) = seen.resets.unwrap_or((0, first_ms));
        seen.resets = Some((count + 1, first_ms));
        seen.may_have_no_attempts();
    }

    pub(crate) fn reset_answered(&mut self, at: usize, now: Now) {
        self.turned += 1;
        let seen = &mut self.keys[at];
        seen.may_have_no_attempts();
        seen.resets = seen
            .resets
            .map(|(count, first_ms)| (count - 1, first_ms))
            .filter(|(count, _)| *count > 0);
        seen.reset_until_ms = now.simulated_ms + u64::try_from(DELAY_MS).unwrap();
    }

    /// How many attempts of a key have arrived, in all; `None` when some may have been counted that never will.
    pub(crate) fn arrived_count(&self, at: usize, now: Now) -> Option<u64> {
        let seen = &self.keys[at];
        (seen.unseen_until_ms < now.wall_ms).then_some(seen.arrived)
    }

    /// A key is to be paused, or to go on.
    pub(crate) fn pause_tried(&mut self, at: usize) {
        self.keys[at].paused.tried();
    }

    pub(crate) fn pause_answered(&mut self, at: usize, is_paused: bool, now: Now) {
        self.keys[at].paused.answered(is_paused);
        self.keys[at].paused_ms = now.simulated_ms;
    }

    /// The first answer of a life about a key.
    pub(crate) fn found(&mut self, at: usize, is_paused: bool, now: Now) -> Result<(), Broken> {
        let seen = &mut self.keys[at];
        let held = seen.paused.found(is_paused);
        seen.paused_ms = now.simulated_ms;
        held.map_err(|error| format!("flow-control key {}, paused: {error}", KEYS[at].name))
    }
}

impl Seen {
    /// Whether it is sure that the key was pinned some time ago.
    fn is_pinned_since(&self, now: Now) -> bool {
        let since_ms = self.pinned_ms + u64::try_from(DELAY_MS).unwrap();
        self.pinned == Known::Yes && since_ms < now.simulated_ms
    }

    /// Most attempts that may be open.
    fn parallelism(&self, key: &FlowKey, now: Now) -> Option<u32> {
        let said = key.parallelism?;
        match key.pin.0 {
            Some(pinned) if self.is_pinned_since(now) => Some(pinned),
            Some(pinned) if self.was_pinned => Some(said.max(pinned)),
            _ => Some(said),
        }
    }

    /// The present period may be one that a reset has begun, without an attempt.
    fn may_have_no_attempts(&mut self) {
        let first_ms = self.resets.map_or(i64::MIN / 2, |(_, first_ms)| first_ms);
        if let Some(periods) = &mut self.periods {
            let begin = periods.entry(0).or_insert(first_ms);
            *begin = first_ms.min(*begin);
        }
    }

    fn count(&mut self, name: &str, (rate, ms): (u32, i64), now: Now) -> Result<(), Broken> {
        let now_ms = now.wall_ms;
        let may_be_of_before = self.resets.is_some() || now.simulated_ms <= self.reset_until_ms;
        if self.resets.is_some() {
            self.may_have_no_attempts();
        }
        let Some(before) = &self.periods else {
            let earliest = now_ms - ms - 2 * DELAY_MS;
            let mut first = BTreeMap::from([(1, earliest)]);
            if may_be_of_before {
                // It was counted in the period that the reset has ended: the present one may have none.
                first.insert(0, earliest);
            }
            self.periods = Some(first);
            return Ok(());
        };
        // The earliest that the attempt's own period may have begun, when it is not the one before.
        let is_unseen = now_ms - ms - DELAY_MS <= self.unseen_until_ms;
        let first_ms = now_ms - DELAY_MS - if is_unseen { ms } else { 0 };
        let mut after = BTreeMap::new();
        let mut may_be = |count: u32, begin: i64| {
            let earliest = after.entry(count).or_insert(begin);
            *earliest = begin.min(*earliest);
        };
        for (count, begin) in before {
            if *count == 0 && may_be_of_before {
                // It was counted in the period that the reset has ended.
                may_be(0, *begin);
            }
            if *count < rate {
                may_be(count + 1, *begin);
            }
            if now_ms >= begin + ms {
                may_be(1, first_ms.max(begin + ms));
            }
        }
        if after.is_empty() {
            return Err(format!(
                "{name} has more than {rate} attempts in {ms} ms at {now_ms}: {self:?}"
            ));
        }
        self.periods = Some(after);
        Ok(())
    }
}

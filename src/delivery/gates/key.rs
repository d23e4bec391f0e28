//! The gate of one flow-control key: parallelism, attempts in a period, pins and pauses.
//!
//! A period begins with the first attempt after the one before has ended.

use storage::delivery::FlowLimits;
use storage::limits::FLOW_PERIOD_MS_MAX;
use storage::offset::TimestampMs;

use super::hosts::HostId;
use super::register::Register;
use super::room::Room;
use crate::delivery::api::FlowView;

/// Period of a rate that does not say.
const PERIOD_MS_DEFAULT: u64 = 1000;

/// What an operator has fixed for a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pin {
    /// Nothing is begun.
    pub is_paused: bool,
    /// Attempts under way at a time, whatever messages say.
    pub parallelism: Option<u32>,
    /// Attempts in a period, whatever messages say.
    pub rate: Option<u32>,
    /// Length of that period, in milliseconds.
    pub period_ms: Option<u64>,
}

/// Whether somebody may go through the gate of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Closed,
    /// It may, and somebody who waits behind the key came before it.
    OlderFirst,
    Next,
}

#[derive(Debug, Default)]
pub(super) struct Key {
    inside: Room,
    /// Queues whose first has come to the key while it was closed, with their destinations.
    pub(super) parked: Register<HostId>,
    /// Messages of the key that wait, wherever.
    pub(super) waiting_count: u64,
    /// Whose the next place is: its destination had room for it, and the key was closed.
    pub(super) promised: Option<u64>,
    /// From the newest message, or from the last pin.
    parallelism: Option<u32>,
    rate: Option<u32>,
    period_ms: Option<u64>,
    /// When the message was published that these are from.
    since: Option<TimestampMs>,
    /// It was asked what the logs know of them.
    is_learnt: bool,
    pin: Pin,
    period_start: Option<TimestampMs>,
    count: u32,
    /// What [`Key::opens_at`] said when it was last looked at.
    pub(super) noted_end: Option<TimestampMs>,
}

impl Key {
    pub(super) fn learn(&mut self, limits: Option<FlowLimits>) {
        self.is_learnt = true;
        if let Some(limits) = limits {
            self.take(&limits);
        }
    }

    pub(super) fn has_learnt(&self) -> bool {
        self.is_learnt || self.since.is_some()
    }

    /// Takes limits, unless newer ones are known; returns whether they have changed anything.
    pub(super) fn take(&mut self, limits: &FlowLimits) -> bool {
        if self.since.is_some_and(|known| known > limits.since) {
            return false;
        }
        self.since = Some(limits.since);
        let next = (limits.parallelism, limits.rate, limits.period_ms);
        let before = (self.parallelism, self.rate, self.period_ms);
        (self.parallelism, self.rate, self.period_ms) = next;
        next != before
    }

    /// A new pin begins a new period. What was pinned counts until a newer message says otherwise.
    pub(super) fn pin(&mut self, pin: Option<&Pin>, now: TimestampMs) {
        let next = pin.cloned().unwrap_or_default();
        let was = std::mem::replace(&mut self.pin, next);
        if was.parallelism.is_some() && self.pin.parallelism.is_none() {
            self.parallelism = was.parallelism;
        }
        if was.rate.is_some() && self.pin.rate.is_none() {
            (self.rate, self.period_ms) = (was.rate, was.period_ms);
        }
        let is_same_rate = (was.rate, was.period_ms, was.parallelism)
            == (self.pin.rate, self.pin.period_ms, self.pin.parallelism);
        if !is_same_rate {
            self.reset_rate(now);
        }
    }

    pub(super) fn reset_rate(&mut self, now: TimestampMs) {
        self.period_start = self.period_start.map(|_| now);
        self.count = 0;
    }

    pub(super) fn restore_pin(&mut self, pin: &Pin) {
        self.pin = pin.clone();
    }

    /// The newest period counts, but one that has not begun yet is from before the clock was set back.
    pub(super) fn restore(&mut self, start: TimestampMs, count: u32, now: TimestampMs) {
        let rank = |start: TimestampMs| (start <= now, start);
        match self.period_start {
            Some(known) if rank(known) > rank(start) => {}
            Some(known) if known == start => self.count = self.count.saturating_add(count),
            _ => (self.period_start, self.count) = (Some(start), count),
        }
    }

    /// Returns whether the key is open to who has this number. What is promised to somebody else is not there for it.
    pub(super) fn is_open_to(&self, seq: u64, now: TimestampMs) -> bool {
        let kept = self.kept_from(seq);
        let has_rate = self.rate_max().is_none_or(|max| {
            let count = if self.is_over(now) { 0 } else { self.count };
            count.saturating_add(kept) < max
        });
        !self.pin.is_paused && self.has_place(kept) && has_rate
    }

    /// Returns whether it is the turn of who has this number. A period may have ended that nobody has looked at yet.
    pub(super) fn order(&self, seq: u64, now: TimestampMs) -> Order {
        if !self.is_open_to(seq, now) {
            return Order::Closed;
        }
        match self.parked.first() {
            Some((first, _)) if first < seq && self.is_open_to(first, now) => Order::OlderFirst,
            _ => Order::Next,
        }
    }

    /// Returns which queue behind the key is the next to leave, if the key is open to it.
    pub(super) fn next_parked(&self, now: TimestampMs) -> Option<u64> {
        let (first, _) = self.parked.first()?;
        let promised = self.promised.filter(|seq| self.parked.has(*seq));
        let mut candidates = [Some(first), promised].into_iter().flatten();
        candidates.find(|seq| self.is_open_to(*seq, now))
    }

    /// Promises the next place to who has this number, unless it is promised to somebody who came before. Otherwise its
    /// destination would give its place away whenever the key is closed, and the key its own whenever the destination is
    /// full. Returns whether the key is open to it now.
    pub(super) fn promise(&mut self, seq: u64, now: TimestampMs) -> bool {
        let promised = self.promised.map_or(seq, |before| before.min(seq));
        self.promised = Some(promised);
        self.is_open_to(seq, now)
    }

    fn kept_from(&self, seq: u64) -> u32 {
        u32::from(self.promised.is_some_and(|promised| promised != seq))
    }

    fn has_place(&self, kept: u32) -> bool {
        let inside = u64::try_from(self.inside.inside()).unwrap_or(u64::MAX);
        self.parallelism_max()
            .is_none_or(|max| inside.saturating_add(kept.into()) < u64::from(max))
    }

    /// Returns the start of the period that the attempt counts in, when there is a rate.
    pub(super) fn enter(&mut self, seq: u64, now: TimestampMs) -> Option<TimestampMs> {
        self.inside.enter(1);
        self.promised = self.promised.filter(|promised| *promised != seq);
        self.rate_max()?;
        if self.is_over(now) {
            (self.period_start, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
        self.period_start
    }

    pub(super) fn leave(&mut self) {
        self.inside.leave(1);
    }

    /// Takes an attempt back that was not made and counts in the period that began then.
    pub(super) fn uncount(&mut self, period: TimestampMs) {
        if self.period_start == Some(period) {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Returns when the period ends that somebody waits for. Who waits for a place as well gets it from whoever leaves, and who
    /// waits for the one to whom all of a period is promised, from that one.
    pub(super) fn opens_at(&self) -> Option<TimestampMs> {
        if self.parked.is_empty() || self.pin.is_paused {
            return None;
        }
        let is_elsewhere = |seq: &u64| !self.parked.has(*seq);
        let kept = u32::from(self.promised.as_ref().is_some_and(is_elsewhere));
        let max = self.rate_max().filter(|max| kept < *max)?;
        let is_full = self.count.saturating_add(kept) >= max;
        (is_full && self.has_place(kept)).then(|| self.period_end())?
    }

    pub(super) fn is_idle(&self, now: TimestampMs) -> bool {
        let is_unused = self.inside.inside() == 0 && self.waiting_count == 0;
        is_unused && self.pin == Pin::default() && self.is_past(now)
    }

    /// Returns whether no attempt counts any more that was made before now.
    pub(super) fn is_past(&self, now: TimestampMs) -> bool {
        match (self.rate_max(), self.period_start) {
            // How long the period is that began before a restart, only a message can say.
            (None, Some(start)) => now.since(start).unsigned_abs() > FLOW_PERIOD_MS_MAX.into(),
            _ => self.is_over(now),
        }
    }

    pub(super) fn view(&self, name: &str, now: TimestampMs) -> FlowView {
        let is_over = self.is_over(now);
        let rate_max = self.rate_max();
        FlowView {
            key: name.to_owned(),
            waiting_count: self.waiting_count,
            parallelism_max: self.parallelism_max(),
            parallelism_count: u32::try_from(self.inside.inside()).unwrap_or(u32::MAX),
            rate_max,
            rate_count: if is_over { 0 } else { self.count },
            rate_period_ms: rate_max.map(|_| self.period_ms()),
            rate_period_start: self.period_start.filter(|_| !is_over),
            is_pinned_parallelism: self.pin.parallelism.is_some(),
            is_pinned_rate: self.pin.rate.is_some(),
            is_paused: self.pin.is_paused,
        }
    }

    fn parallelism_max(&self) -> Option<u32> {
        self.pin.parallelism.or(self.parallelism)
    }

    fn rate_max(&self) -> Option<u32> {
        self.pin.rate.or(self.rate)
    }

    fn period_ms(&self) -> u64 {
        let pinned = self.pin.rate.and(self.pin.period_ms);
        let own = self.period_ms.filter(|_| self.pin.rate.is_none());
        pinned.or(own).unwrap_or(PERIOD_MS_DEFAULT)
    }

    fn period_end(&self) -> Option<TimestampMs> {
        let ms = i64::try_from(self.period_ms()).unwrap_or(i64::MAX);
        self.period_start.map(|start| start.saturating_add(ms))
    }

    /// A period that begins more than its length from now is over too: the clock was set back. Less is the time between
    /// two looks at the clock.
    fn is_over(&self, now: TimestampMs) -> bool {
        let (Some(start), Some(end)) = (self.period_start, self.period_end()) else {
            return true;
        };
        end <= now || start.since(now) > end.since(start)
    }
}

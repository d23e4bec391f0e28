//! The gate of one flow-control key: parallelism, attempts in a period, pins and pauses.
//!
//! A period begins with the first attempt after the one before has ended.

use storage::delivery::FlowLimits;
use storage::limits::FLOW_PERIOD_MS_MAX;
use storage::offset::TimestampMs;

use super::line::Line;
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

#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) line: Line,
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

    pub(super) fn is_open(&self, now: TimestampMs) -> bool {
        let has_rate = self
            .rate_max()
            .is_none_or(|max| self.is_over(now) || self.count < max);
        !self.pin.is_paused && self.has_place() && has_rate
    }

    fn has_place(&self) -> bool {
        let inside = u64::try_from(self.line.inside()).unwrap_or(u64::MAX);
        self.parallelism_max()
            .is_none_or(|max| inside < u64::from(max))
    }

    /// Returns the start of the period that the attempt counts in, when there is a rate.
    pub(super) fn enter(&mut self, now: TimestampMs) -> Option<TimestampMs> {
        self.line.enter(1);
        self.rate_max()?;
        if self.is_over(now) {
            (self.period_start, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
        self.period_start
    }

    pub(super) fn leave(&mut self) {
        self.line.leave(1);
    }

    /// Returns when the period ends that somebody waits for. Who waits for a place as well gets it from whoever leaves.
    pub(super) fn opens_at(&self) -> Option<TimestampMs> {
        let is_full = self.rate_max().is_some_and(|max| self.count >= max);
        if self.line.waiting.is_empty() || self.pin.is_paused || !is_full || !self.has_place() {
            return None;
        }
        self.period_end()
    }

    pub(super) fn is_idle(&self, now: TimestampMs) -> bool {
        let is_over = match (self.rate_max(), self.period_start) {
            // How long the period is that began before a restart, only a message can say.
            (None, Some(start)) => now.since(start).unsigned_abs() > FLOW_PERIOD_MS_MAX.into(),
            _ => self.is_over(now),
        };
        self.line.is_empty() && self.pin == Pin::default() && is_over
    }

    pub(super) fn view(&self, name: &str, now: TimestampMs) -> FlowView {
        let is_over = self.is_over(now);
        let rate_max = self.rate_max();
        FlowView {
            key: name.to_owned(),
            waiting_count: u64::try_from(self.line.waiting.len()).unwrap_or(u64::MAX),
            parallelism_max: self.parallelism_max(),
            parallelism_count: u32::try_from(self.line.inside()).unwrap_or(u32::MAX),
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

//! Who wants to start, what an attempt needs, and the right to make one.

use std::sync::Arc;

use storage::offset::{Offset, TimestampMs};

/// A message that wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Index of its partition.
    pub partition: u32,
    /// Its offset in the partition's main log.
    pub message: Offset,
}

/// The right to make one attempt. It must be given back with [`Gates::leave`](super::Gates::leave), or
/// [`Gates::leave_unsent`](super::Gates::leave_unsent).
#[derive(Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whose it is.
    pub ticket: Ticket,
    /// Start of the period that the attempt counts in, when its key has a rate.
    pub period: Option<TimestampMs>,
    pub(super) key: Option<Arc<str>>,
    pub(super) claim: Claim,
}

/// What an attempt needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its destination: host and port.
    pub host: Arc<str>,
    /// Whether it may go in ahead of its turn.
    pub turn: Turn,
    /// Places that it takes of all; what claims more than there are waits until it is alone.
    pub places: usize,
}

/// How many may be inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// In all, in places.
    pub total_max: usize,
    /// To one destination: host and port.
    pub host_max: usize,
    /// How many times as many there may be with those who go in ahead of their turn; at least one.
    pub ahead_factor: usize,
}

/// Whether a message may go in ahead of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It may: whoever lets it in sees to it that it waits once more before it is sent.
    Ahead,
    /// It may not.
    InOrder,
}

impl Pass {
    /// Returns what the attempt takes.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Returns the same pass, for who takes it from a holder that has failed and drops its own.
    #[must_use]
    pub fn rescued(&self) -> Self {
        Self {
            ticket: self.ticket,
            period: self.period,
            key: self.key.clone(),
            claim: self.claim.clone(),
        }
    }

    /// Returns whether its holder may be sent at once: it did not go in ahead of its turn.
    #[must_use]
    pub fn is_in_turn(&self) -> bool {
        self.claim.turn == Turn::InOrder
    }
}

impl GateLimits {
    pub(super) fn of_host(self, turn: Turn) -> usize {
        self.host_max.saturating_mul(self.factor(turn))
    }

    pub(super) fn in_all(self, turn: Turn) -> usize {
        self.total_max.saturating_mul(self.factor(turn))
    }

    fn factor(self, turn: Turn) -> usize {
        match turn {
            Turn::Ahead => self.ahead_factor.max(1),
            Turn::InOrder => 1,
        }
    }
}

//! One gate: who is inside, and who waits before it.

use std::collections::VecDeque;

use super::{Turn, Waiting};

/// Who is inside and who waits, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    inside: usize,
    pub(super) waiting: VecDeque<Waiting>,
}

impl Line {
    pub(super) fn inside(&self) -> usize {
        self.inside
    }

    pub(super) fn enter(&mut self) {
        self.inside = self.inside.saturating_add(1);
    }

    pub(super) fn leave(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// Takes the first who waits, if there is room for it.
    pub(super) fn pop_within(&mut self, max: impl Fn(Turn) -> usize) -> Option<Waiting> {
        let first = self.waiting.front()?;
        if self.inside >= max(first.turn) {
            return None;
        }
        self.waiting.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inside == 0 && self.waiting.is_empty()
    }
}

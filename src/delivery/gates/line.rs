//! One gate: how much is inside, and who waits before it.

use std::collections::VecDeque;

use super::{Claim, Waiting};

/// How much is inside, and who waits in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    inside: usize,
    pub(super) waiting: VecDeque<Waiting>,
}

impl Line {
    pub(super) fn inside(&self) -> usize {
        self.inside
    }

    pub(super) fn has_room(&self, places: usize, max: usize) -> bool {
        self.inside.saturating_add(places) <= max
    }

    pub(super) fn enter(&mut self, places: usize) {
        self.inside = self.inside.saturating_add(places);
    }

    pub(super) fn leave(&mut self, places: usize) {
        self.inside = self.inside.saturating_sub(places);
    }

    /// Takes the first who waits, if there is room for it: `needs` says for how many places, and within how many.
    pub(super) fn pop_within(
        &mut self,
        needs: impl Fn(&Claim) -> (usize, usize),
    ) -> Option<Waiting> {
        let (places, max) = needs(&self.waiting.front()?.claim);
        if !self.has_room(places, max) {
            return None;
        }
        self.waiting.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inside == 0 && self.waiting.is_empty()
    }
}

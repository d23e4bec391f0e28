//! Republishes that are committed and whose markers are still due.

use std::collections::HashSet;

use super::append::Partition;
use super::republish::{ClaimState, Republished};
use crate::offset::Offset;

impl Partition {
    /// Returns the committed republishes whose markers are still to be appended, after the dead-letter log was healed.
    #[must_use]
    pub fn due_markers(&self) -> Vec<Republished> {
        let mut due: Vec<_> = self
            .claims
            .iter()
            .filter_map(|(letter, state)| match state {
                ClaimState::Committed { target } => Some((*target, *letter)),
                _ => None,
            })
            .collect();
        due.sort_unstable();
        let batch_of = |target: Offset| {
            self.unsettled
                .range(..=target)
                .next_back()
                .map(|(base, _)| *base)
        };
        let mut grouped: Vec<Republished> = Vec::new();
        for (target, letter) in due {
            match grouped.last_mut() {
                Some(last)
                    if last.next_offset == target
                        && batch_of(target) == batch_of(last.base_offset) =>
                {
                    last.letters.push(letter);
                    last.next_offset = target.next();
                }
                _ => grouped.push(Republished {
                    letters: vec![letter],
                    base_offset: target,
                    next_offset: target.next(),
                }),
            }
        }
        grouped
    }

    /// Returns whether a letter is live: not resolved, and not republished with only its marker still to be appended.
    #[must_use]
    pub fn is_live(&self, letter: Offset) -> bool {
        let is_committed = matches!(self.claims.get(&letter), Some(ClaimState::Committed { .. }));
        !is_committed
            && self
                .dead_letters
                .as_ref()
                .is_some_and(|log| log.is_live(letter))
    }

    /// Returns the letters whose republish is committed and whose marker is still to be appended: they are live no more.
    #[must_use]
    pub fn committed_letters(&self) -> HashSet<Offset> {
        let committed = self
            .claims
            .iter()
            .filter(|(_, state)| matches!(state, ClaimState::Committed { .. }));
        committed.map(|(letter, _)| *letter).collect()
    }
}

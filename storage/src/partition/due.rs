//! Republishes that are committed and whose markers are still due.

use std::sync::Arc;

use super::append::Partition;
use super::claims::ClaimState;
use super::republish::Republished;
use crate::dead_letter::DeadLetterView;
use crate::offset::Offset;

impl Partition {
    /// Returns the committed republishes whose markers are still to be appended, after the dead-letter log was healed.
    #[must_use]
    pub fn due_markers(&self) -> Vec<Republished> {
        let targets = self.claims.targets();
        let mut due: Vec<_> = targets.map(|(letter, target)| (target, letter)).collect();
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
        self.republished_to(letter).is_none()
            && self
                .dead_letters
                .as_ref()
                .is_some_and(|log| log.is_live(letter))
    }

    /// Returns where the fresh record of a letter stands whose republish is committed and whose marker is still to be appended.
    #[must_use]
    pub fn republished_to(&self, letter: Offset) -> Option<Offset> {
        match self.claims.get(letter) {
            Some(ClaimState::Committed { target }) => Some(target),
            _ => None,
        }
    }

    /// Returns the number of letters that the dead-letter log has as live, and whose republish is committed: their markers are still
    /// to be appended. A claim may outlive its letter.
    #[must_use]
    pub fn committed_count(&self) -> u64 {
        let Some(log) = self.dead_letters.as_ref() else {
            return 0;
        };
        let committed = self.claims.committed().iter().map(Offset);
        let count = committed.filter(|letter| log.is_live(*letter)).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Returns whether somebody is resolving a letter, so that what becomes of it is not known durable.
    #[must_use]
    pub fn is_being_resolved(&self, letter: Offset) -> bool {
        let claim = self.claims.get(letter);
        claim.is_some_and(|claim| !matches!(claim, ClaimState::Committed { .. }))
    }

    /// Returns a view of the letters as they are now; `None` before the first one. A letter is live in it until its republish is
    /// committed, whether or not its marker was appended.
    #[must_use]
    pub fn letter_view(&self) -> Option<DeadLetterView> {
        let view = self.dead_letters.as_ref()?.view();
        Some(view.without(Arc::clone(self.claims.committed())))
    }
}

//! Letters that somebody is resolving, or whose resolution has no synced marker yet. PURE.
//!
//! Invariant: the letters shown as committed are exactly those in [`ClaimState::Committed`].

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::log_id::LogKind;
use crate::offset::Offset;

/// How far the resolution of a letter has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// Somebody is at it, and nothing was appended yet.
    Claimed,
    /// Its fresh record, or its marker, was appended and is not known durable.
    Appended,
    /// The fresh record is durable; the marker is still to be appended.
    Committed {
        /// Offset of the fresh record in the main log.
        target: Offset,
    },
    /// An append failed in a way that leaves it open whether it will be found after recovery.
    Unknown {
        /// The log that it went to.
        log: LogKind,
    },
}

/// The claims of one partition.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By offset: those who resolve many letters go through them in their order.
    states: BTreeMap<Offset, ClaimState>,
    /// Shared with the views of the letters, each of which shows what was committed when it was made.
    committed: Arc<RoaringTreemap>,
}

impl Claims {
    pub(super) fn get(&self, letter: Offset) -> Option<ClaimState> {
        self.states.get(&letter).copied()
    }

    pub(super) fn set(&mut self, letter: Offset, state: ClaimState) {
        if matches!(state, ClaimState::Committed { .. }) {
            Arc::make_mut(&mut self.committed).insert(letter.0);
        } else {
            self.uncommit(letter);
        }
        self.states.insert(letter, state);
    }

    pub(super) fn remove(&mut self, letter: Offset) {
        self.uncommit(letter);
        self.states.remove(&letter);
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(Offset, ClaimState) -> bool) {
        let gone: Vec<_> = self
            .states
            .iter()
            .filter(|(letter, state)| !is_kept(**letter, **state))
            .map(|(letter, _)| *letter)
            .collect();
        for letter in gone {
            self.remove(letter);
        }
    }

    /// Returns the letters whose republish is committed and whose marker is still to be appended.
    pub(super) fn committed(&self) -> &Arc<RoaringTreemap> {
        &self.committed
    }

    /// Returns those letters with the offsets of their fresh records, in the order of the letters.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Offset, Offset)> + '_ {
        self.committed.iter().filter_map(|letter| {
            let letter = Offset(letter);
            match self.get(letter) {
                Some(ClaimState::Committed { target }) => Some((letter, target)),
                _ => None,
            }
        })
    }

    fn uncommit(&mut self, letter: Offset) {
        if self.committed.contains(letter.0) {
            Arc::make_mut(&mut self.committed).remove(letter.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_as_committed_follows_every_change_of_state() {
        let mut claims = Claims::default();
        let shown = |claims: &Claims| claims.committed().iter().collect::<Vec<_>>();
        let target = Offset(90);
        for letter in 0..4 {
            claims.set(Offset(letter), ClaimState::Claimed);
        }
        assert_eq!(shown(&claims), [0_u64; 0]);
        for letter in [1, 2, 3] {
            claims.set(Offset(letter), ClaimState::Committed { target });
        }
        let before = Arc::clone(claims.committed());
        claims.remove(Offset(1));
        claims.set(Offset(2), ClaimState::Claimed);
        assert_eq!(shown(&claims), [3]);
        assert_eq!(claims.targets().collect::<Vec<_>>(), [(Offset(3), target)]);
        claims.retain(|letter, _| letter < Offset(2));
        assert_eq!(shown(&claims), [0_u64; 0]);
        assert_eq!(claims.get(Offset(3)), None);
        assert_eq!(claims.get(Offset(0)), Some(ClaimState::Claimed));
        assert_eq!(before.len(), 3, "a view keeps what it has shown");
    }
}

//! Selected letters sorted by partition, with their places in the answer. PURE.

use std::sync::Arc;

use storage::dead_letter::DeadLetter;
use storage::offset::Offset;
use storage::partition::Republished;

use super::answers::unknown_outcome;
use crate::broker::select::SelectedLetters;
use crate::engine::PartitionHandle;
use crate::protocol::error_code::Refusal;

/// What a retry changes in a letter before it is sent back; a letter that it refuses stays.
pub(in crate::broker) type Change =
    Arc<dyn Fn(&mut DeadLetter) -> Result<(), Refusal> + Send + Sync>;

pub(super) type Answers<T> = Vec<(String, Result<T, Refusal>)>;

/// Letters of one partition that are resolved together, with their places in the answer.
pub(super) struct Share<L = Box<DeadLetter>> {
    pub(super) partition: Arc<PartitionHandle>,
    pub(super) index: u32,
    pub(super) letters: Vec<(usize, (Offset, L))>,
}

impl<L> Share<L> {
    /// Returns the partition, its index, the letters, and the places of their answers by offset: there may be thousands of
    /// them, and their outcomes come in any order.
    pub(super) fn into_parts(self) -> Parts<L> {
        let places = self.letters.iter().map(|(at, (offset, _))| (*offset, *at));
        let places = ByLetter::new(places.collect());
        let letters = self.letters.into_iter();
        let letters = letters.map(|(_, letter)| letter);
        (self.partition, self.index, letters.collect(), places)
    }
}

pub(super) type Parts<L> = (Arc<PartitionHandle>, u32, Vec<(Offset, L)>, ByLetter);

/// The places of letters in an answer, by rising offset.
pub(super) struct ByLetter(Vec<(Offset, usize)>);

impl ByLetter {
    fn new(mut places: Vec<(Offset, usize)>) -> Self {
        // They stand in order already, or in the reverse, unless they were named by their ids.
        places.sort_unstable();
        Self(places)
    }

    /// Returns the place of a letter.
    pub(super) fn get(&self, letter: Offset) -> Option<usize> {
        let at = self.0.binary_search_by_key(&letter, |(offset, _)| *offset);
        self.0.get(at.ok()?).map(|(_, place)| *place)
    }
}

/// Sorts selected letters by partition. Those that led nowhere are answered already.
pub(super) fn share_out<T, L>(letters: SelectedLetters<L>) -> (Answers<T>, Vec<Share<L>>) {
    let mut answers = Vec::new();
    let mut shares: Vec<Share<L>> = Vec::new();
    for (at, (id, selected)) in letters.into_iter().enumerate() {
        let selected = match selected {
            Ok(selected) => selected,
            Err(refusal) => {
                answers.push((id, Err(refusal)));
                continue;
            }
        };
        answers.push((id, Err(unknown_outcome())));
        let letter = (at, (selected.offset, selected.letter));
        match shares
            .iter_mut()
            .find(|share| share.partition.number() == selected.partition.number())
        {
            Some(share) => share.letters.push(letter),
            None => shares.push(Share {
                partition: selected.partition,
                index: selected.index,
                letters: vec![letter],
            }),
        }
    }
    (answers, shares)
}

/// Changes every letter; those that are refused are taken out and returned with their places.
pub(super) fn change_all(shares: &mut [Share], change: &Change) -> Vec<(usize, Refusal)> {
    let mut refused = Vec::new();
    for share in shares {
        share
            .letters
            .retain_mut(|(at, (_, letter))| match change(letter) {
                Ok(()) => true,
                Err(refusal) => {
                    refused.push((*at, refusal));
                    false
                }
            });
    }
    refused
}

/// Puts together what was republished in each partition, in its order: the markers share a sync.
pub(super) fn by_partition(
    committed: Vec<(Arc<PartitionHandle>, Republished)>,
) -> Vec<(Arc<PartitionHandle>, Vec<Republished>)> {
    let mut all: Vec<(Arc<PartitionHandle>, Vec<Republished>)> = Vec::new();
    for (partition, republished) in committed {
        let number = partition.number();
        match all.iter_mut().find(|(known, _)| known.number() == number) {
            Some((_, of_it)) => of_it.push(republished),
            None => all.push((partition, vec![republished])),
        }
    }
    all
}

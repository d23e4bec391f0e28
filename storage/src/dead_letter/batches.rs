//! Cutting letters into batches. PURE.

use super::letter::DeadLetter;
use super::limits::LETTERS_BATCH_BYTES_GOAL;

/// Returns how many letters from the first on make one batch: as many as [`LETTERS_BATCH_BYTES_GOAL`] holds, and at least one
/// if there is one.
pub(crate) fn batch_length<'a>(letters: impl Iterator<Item = &'a DeadLetter>) -> usize {
    let mut bytes = 0usize;
    let fitting = letters.enumerate().take_while(|(at, letter)| {
        bytes = bytes.saturating_add(letter.weight());
        *at == 0 || bytes <= LETTERS_BATCH_BYTES_GOAL
    });
    fitting.count()
}

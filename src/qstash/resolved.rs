//! What became of the letters of one call, and what is said of those that could not be resolved. PURE.

use crate::protocol::error_code::{ErrorCode, Refusal};

/// The letters of one call. Those that are not there, or not any more, are left out.
#[derive(Debug)]
pub(super) struct Letters<T> {
    /// What was made of the letters that were resolved.
    pub(super) done: Vec<T>,
    /// The ids of the others, and why.
    pub(super) failed: Vec<(String, Refusal)>,
}

impl<T> Letters<T> {
    /// Sorts what the broker answered.
    pub(super) fn sort(answers: Vec<(String, Result<T, Refusal>)>) -> Self {
        let mut letters = Self {
            done: Vec::new(),
            failed: Vec::new(),
        };
        for (id, answer) in answers {
            match answer {
                Ok(done) => letters.done.push(done),
                Err(refusal) if is_gone(refusal.code) => {}
                Err(refusal) => letters.failed.push((id, refusal)),
            }
        }
        letters
    }

    /// Returns whether some that failed may be resolved later.
    pub(super) fn is_again(&self) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|(_, refusal)| refusal.code.is_retryable())
    }

    /// Returns the letters that were resolved.
    ///
    /// # Errors
    /// The first failure, if no letter was resolved, or if they were named one by one.
    pub(super) fn answer(self, is_by_id: bool) -> Result<Vec<T>, Refusal> {
        let count = self.done.len();
        match self.failed.into_iter().next() {
            Some((_, refusal)) if count == 0 => Err(refusal),
            Some((id, refusal)) if is_by_id => {
                let message = format!(
                    "dead letter {id}: {}; {count} others of this call were resolved",
                    refusal.message
                );
                Err(Refusal::new(refusal.code, message))
            }
            _ => Ok(self.done),
        }
    }
}

fn is_gone(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownLetter | ErrorCode::InvalidLetterId | ErrorCode::LetterResolved
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn letters(answers: &[Result<u8, ErrorCode>]) -> Letters<u8> {
        let refusal = |code| Refusal::new(code, "why");
        let answers = answers.iter().enumerate();
        let named = answers.map(|(at, answer)| (at.to_string(), answer.map_err(refusal)));
        Letters::sort(named.collect())
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let gone = letters(&[
            Err(ErrorCode::UnknownLetter),
            Err(ErrorCode::LetterResolved),
        ]);
        assert!(!gone.is_again());
        assert!(gone.answer(true).unwrap().is_empty());
    }

    #[test]
    fn a_page_is_asked_for_again_while_a_letter_may_be_resolved_later() {
        for (code, is_again) in [
            (ErrorCode::TimedOut, true),
            (ErrorCode::StorageFull, true),
            (ErrorCode::LimitExceeded, false),
            (ErrorCode::DamagedRecords, false),
        ] {
            let found = letters(&[Ok(1), Err(code), Err(ErrorCode::UnknownLetter), Ok(4)]);
            assert_eq!(found.failed.len(), 1);
            assert_eq!(found.is_again(), is_again, "{code:?}");
            assert_eq!(found.answer(false).unwrap(), [1, 4]);
            // Whoever follows the cursors is not led in a circle.
            let refusal = letters(&[Err(code)]).answer(false).unwrap_err();
            assert_eq!(refusal.code, code);
        }
    }

    #[test]
    fn letters_that_are_named_are_all_resolved_or_one_is_named() {
        let some = letters(&[Ok(1), Err(ErrorCode::TimedOut), Ok(3)]);
        let refusal = some.answer(true).unwrap_err();
        assert_eq!(
            refusal.message,
            "dead letter 1: why; 2 others of this call were resolved"
        );
    }
}

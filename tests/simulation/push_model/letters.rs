//! Dead letters of pushed messages: who has died, and what was done about it.

use std::collections::BTreeSet;

use super::PushModel;
use crate::log_model::Broken;

/// What was asked and answered about a dead letter.
#[derive(Debug, Default)]
pub(crate) struct PushLetter {
    pub(super) message: String,
    pub(crate) is_retry_tried: bool,
    pub(crate) is_delete_tried: bool,
    republished: Option<String>,
    is_deleted: bool,
}

impl PushModel {
    /// A dead letter is shown.
    pub(crate) fn died(&mut self, letter: &str, id: &str) -> Result<(), Broken> {
        let known = self.letters.entry(letter.to_owned()).or_default();
        id.clone_into(&mut known.message);
        if known.is_deleted || known.republished.is_some() {
            return Err(format!("letter {letter} is shown again: {known:?}"));
        }
        let Some(message) = self.messages.get_mut(id) else {
            return Ok(());
        };
        if message.is_cancelled {
            return Err(format!("message {id} was cancelled and has died"));
        }
        match &message.letter {
            Some(before) if before != letter => {
                Err(format!("message {id} died twice: {before} and {letter}"))
            }
            _ => {
                message.letter = Some(letter.to_owned());
                Ok(())
            }
        }
    }

    /// A letter was published anew.
    pub(crate) fn republished(&mut self, letter: &str, id: &str) -> Result<(), Broken> {
        let token = self.token_of(letter);
        let Some(known) = self.letters.get_mut(letter) else {
            return Ok(());
        };
        if known.is_deleted {
            return Err(format!(
                "letter {letter} was deleted, then republished as {id}"
            ));
        }
        if let Some(before) = &known.republished
            && before != id
        {
            return Err(format!(
                "letter {letter} was republished as {before} and as {id}"
            ));
        }
        known.republished = Some(id.to_owned());
        match token {
            Some(token) => {
                self.message(id, token)?.is_accepted = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn token_of(&self, letter: &str) -> Option<u64> {
        let message = &self.letters.get(letter)?.message;
        Some(self.messages.get(message)?.token)
    }

    /// A letter was deleted.
    pub(crate) fn deleted(&mut self, letter: &str) -> Result<(), Broken> {
        let Some(known) = self.letters.get_mut(letter) else {
            return Ok(());
        };
        if let Some(id) = &known.republished {
            return Err(format!(
                "letter {letter} was republished as {id}, then deleted"
            ));
        }
        known.is_deleted = true;
        Ok(())
    }

    /// The broker says that there is no such letter.
    pub(crate) fn letter_is_gone(&self, letter: &str) -> Result<(), Broken> {
        let Some(known) = self.letters.get(letter) else {
            return Ok(());
        };
        if known.is_delete_tried || known.is_retry_tried {
            return Ok(());
        }
        Err(format!("letter {letter} is gone: {known:?}"))
    }

    /// Compares the letters that are live with what is known. Called when nothing is under way.
    pub(crate) fn check_live(&self, live: &BTreeSet<String>) -> Result<(), Broken> {
        for (id, letter) in &self.letters {
            if !live.contains(id) && !letter.is_retry_tried && !letter.is_delete_tried {
                return Err(format!("letter {id} is gone: {letter:?}"));
            }
        }
        Ok(())
    }
}

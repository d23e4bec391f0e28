//! Dead letters of consumers: what was rejected, sent back and deleted, and what stands in the logs of it.

use std::collections::BTreeSet;

use super::{Broken, LogModel, Place};

/// What was asked and answered about a dead letter.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) place: Place,
    pub(crate) group: String,
    pub(crate) source: u64,
    pub(crate) is_retry_tried: bool,
    pub(crate) is_delete_tried: bool,
    /// The answer of its republish.
    pub(crate) republished: Option<(u64, String)>,
    was_called_new: bool,
    is_deleted: bool,
    /// A reject was answered with it.
    is_told: bool,
}

impl Letter {
    fn new(group: &str, place: Place, source: u64) -> Self {
        Self {
            place,
            group: group.to_owned(),
            source,
            is_retry_tried: false,
            is_delete_tried: false,
            republished: None,
            was_called_new: false,
            is_deleted: false,
            is_told: false,
        }
    }
}

impl LogModel {
    /// A record was dead-lettered for a group.
    pub(crate) fn rejected(
        &mut self,
        (group, place, source): (&str, Place, u64),
        id: &str,
        is_new: bool,
    ) -> Result<(), Broken> {
        let same = |letter: &Letter| {
            letter.place == place && letter.group == group && letter.source == source
        };
        let is_live = |letter: &Letter| !letter.is_retry_tried && !letter.is_delete_tried;
        let live = self
            .letters
            .iter()
            .find(|(_, letter)| same(letter) && is_live(letter));
        match live {
            Some((known, _)) if known != id => {
                return Err(format!(
                    "letters {known} and {id} are both of {group} {place:?} {source}"
                ));
            }
            // One that was only listed may still be answered as new: its answer was on its way.
            Some((known, letter)) if is_new && letter.is_told => {
                return Err(format!("letter {known} was called new twice"));
            }
            _ => {}
        }
        let known = self.letters.entry(id.to_owned());
        let letter = known.or_insert_with(|| Letter::new(group, place, source));
        letter.is_told = true;
        if !same(letter) {
            return Err(format!("letter {id} is of another record: {letter:?}"));
        }
        self.counts.rejected += u64::from(is_new);
        Ok(())
    }

    /// A letter was found that no answer had named: its reject's answer was lost.
    pub(crate) fn found(&mut self, id: &str, group: &str, place: Place, source: u64) {
        let known = self.letters.entry(id.to_owned());
        known.or_insert_with(|| Letter::new(group, place, source));
    }

    pub(crate) fn retry_tried(&mut self, id: &str) {
        if let Some(letter) = self.letters.get_mut(id) {
            letter.is_retry_tried = true;
        }
    }

    pub(crate) fn delete_tried(&mut self, id: &str) {
        if let Some(letter) = self.letters.get_mut(id) {
            letter.is_delete_tried = true;
        }
    }

    /// A letter was sent back.
    pub(crate) fn republished(
        &mut self,
        id: &str,
        (partition, offset, message): (u32, u64, &str),
        is_new: bool,
    ) -> Result<(), Broken> {
        let Some(letter) = self.letters.get_mut(id) else {
            return Ok(());
        };
        if letter.is_deleted {
            return Err(format!("letter {id} was deleted, then republished"));
        }
        if partition != letter.place.partition {
            return Err(format!("letter {id} went to partition {partition}"));
        }
        let answer = (offset, message.to_owned());
        if let Some(before) = &letter.republished
            && *before != answer
        {
            return Err(format!(
                "letter {id} was republished as {before:?} and as {answer:?}"
            ));
        }
        if is_new && letter.was_called_new {
            return Err(format!("letter {id} was republished anew twice"));
        }
        if letter.republished.is_none() {
            self.counts.republished += 1;
        }
        letter.was_called_new |= is_new;
        letter.republished = Some(answer);
        let (place, source) = (letter.place, letter.source);
        let value = self
            .mains
            .get(&place)
            .and_then(|main| main.known.get(&source));
        if let Some(value) = value.copied() {
            self.known(place, offset, value)?;
        }
        // Its append is synced whatever the topic is, and everything before it.
        self.is_durable(place, offset + 1);
        Ok(())
    }

    /// A letter was deleted, or is said to be gone.
    pub(crate) fn deleted(&mut self, id: &str) -> Result<(), Broken> {
        let Some(letter) = self.letters.get_mut(id) else {
            return Ok(());
        };
        if let Some(answer) = &letter.republished {
            return Err(format!(
                "letter {id} was republished as {answer:?}, then deleted"
            ));
        }
        self.counts.deleted += u64::from(!letter.is_deleted);
        letter.is_deleted = true;
        Ok(())
    }

    /// The broker says that there is no such letter, or that it was resolved by the other way.
    pub(crate) fn refused(&self, id: &str, what: &str) -> Result<(), Broken> {
        let Some(letter) = self.letters.get(id) else {
            return Ok(());
        };
        let may = match what {
            "unknown" => letter.is_delete_tried && letter.republished.is_none(),
            _ => letter.is_retry_tried && !letter.is_deleted,
        };
        may.then_some(())
            .ok_or_else(|| format!("letter {id} is said to be {what}: {letter:?}"))
    }

    /// Compares the letters of a topic that are live with what was asked about them.
    pub(crate) fn check_live(&self, topic: usize, live: &BTreeSet<String>) -> Result<(), Broken> {
        for (id, letter) in &self.letters {
            let is_live = live.contains(id);
            if letter.place.topic != topic {
                continue;
            }
            let must = !letter.is_retry_tried && !letter.is_delete_tried;
            if must && !is_live {
                return Err(format!("letter {id} is gone: {letter:?}"));
            }
            if is_live && (letter.republished.is_some() || letter.is_deleted) {
                return Err(format!("letter {id} is live again: {letter:?}"));
            }
        }
        Ok(())
    }

    /// Compares the copies in the logs with the answers. Called when every log has been scanned.
    pub(crate) fn check_copies(&self, address: impl Fn(&str) -> (u32, u64)) -> Result<(), Broken> {
        for (id, letter) in &self.letters {
            let copy = self.copies.get(&address(id));
            let said = letter.republished.as_ref();
            match (copy, said) {
                (Some((place, offset)), _) if letter.is_deleted => {
                    return Err(format!(
                        "letter {id} was deleted and stands at {place:?} {offset}"
                    ));
                }
                (None, Some(said)) => {
                    return Err(format!(
                        "letter {id} was republished as {said:?} and stands nowhere"
                    ));
                }
                (Some((_, offset)), Some((said, _))) if offset != said => {
                    return Err(format!(
                        "letter {id} was republished at {said} and stands at {offset}"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

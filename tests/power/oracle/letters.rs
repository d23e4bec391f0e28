//! What must hold of the dead letters of one partition: each is live until it is resolved, and resolved once, ever.

use std::collections::{BTreeMap, BTreeSet};

/// A live letter as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) source: u64,
    pub(crate) value: String,
}

/// How many letters there are and were, as the broker counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) live: u64,
    pub(crate) republished: u64,
    pub(crate) deleted: u64,
    pub(crate) expired: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Live,
    /// Offset of the copy and its message id.
    Republished(u64, String),
    Deleted,
}

#[derive(Debug)]
struct Letter {
    group: String,
    source: u64,
    value: String,
    fate: Fate,
    /// Whether a request to retry or to delete it went out whose end is not known.
    is_retrying: bool,
    is_deleting: bool,
}

/// The letters of a partition.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    by_id: BTreeMap<String, Letter>,
    /// Rejections whose end is not known.
    rejecting: BTreeSet<(String, u64)>,
}

impl Letters {
    pub(crate) fn rejecting(&mut self, group: &str, source: u64) {
        self.rejecting.insert((group.to_owned(), source));
    }

    /// A record was rejected: this is its letter.
    pub(crate) fn rejected(&mut self, letter: &Listed, is_new: bool) -> Result<(), String> {
        let Listed {
            id, group, source, ..
        } = letter;
        if let Some(known) = self.by_id.get(id) {
            if is_new {
                return Err(format!("letter {id} was made twice"));
            }
            if (&known.group, known.source) != (group, *source) {
                return Err(format!("letter {id} is of another record than {source}"));
            }
            return Ok(());
        }
        let twin = self.by_id.iter().find(|(_, known)| {
            (&known.group, known.source) == (group, *source)
                && known.fate == Fate::Live
                && !known.is_retrying
                && !known.is_deleting
        });
        if let Some((twin, _)) = twin {
            return Err(format!("record {source} has two letters: {twin} and {id}"));
        }
        self.add(letter);
        Ok(())
    }

    fn add(&mut self, letter: &Listed) {
        let known = Letter {
            group: letter.group.clone(),
            source: letter.source,
            value: letter.value.clone(),
            fate: Fate::Live,
            is_retrying: false,
            is_deleting: false,
        };
        self.by_id.insert(letter.id.clone(), known);
    }

    pub(crate) fn retrying(&mut self, id: &str) {
        if let Some(letter) = self.by_id.get_mut(id) {
            letter.is_retrying = true;
        }
    }

    pub(crate) fn deleting(&mut self, id: &str) {
        if let Some(letter) = self.by_id.get_mut(id) {
            letter.is_deleting = true;
        }
    }

    /// A retry was answered with the copy.
    pub(crate) fn republished(
        &mut self,
        id: &str,
        offset: u64,
        message: &str,
    ) -> Result<(), String> {
        let other = self.by_id.iter().find(|(other, letter)| {
            other.as_str() != id
                && matches!(&letter.fate, Fate::Republished(at, _) if *at == offset)
        });
        if let Some((other, _)) = other {
            return Err(format!(
                "letters {other} and {id} have one copy, at {offset}"
            ));
        }
        let letter = self.known(id)?;
        match &letter.fate {
            Fate::Live => letter.fate = Fate::Republished(offset, message.to_owned()),
            Fate::Republished(at, first) if *at == offset && first == message => {}
            Fate::Republished(at, first) => {
                return Err(format!(
                    "letter {id} was republished as {first} at {at} and as {message} at {offset}"
                ));
            }
            Fate::Deleted => return Err(format!("letter {id} was deleted and republished")),
        }
        Ok(())
    }

    /// A retry was answered with "there is no such live letter".
    pub(crate) fn not_retried(&mut self, id: &str) -> Result<(), String> {
        let letter = self.known(id)?;
        match letter.fate {
            Fate::Live if letter.is_deleting => letter.fate = Fate::Deleted,
            Fate::Deleted => {}
            Fate::Live => return Err(format!("letter {id} is gone, and nobody resolved it")),
            Fate::Republished(..) => {
                return Err(format!("letter {id} has forgotten that it was republished"));
            }
        }
        Ok(())
    }

    pub(crate) fn deleted(&mut self, id: &str) -> Result<(), String> {
        let letter = self.known(id)?;
        if matches!(letter.fate, Fate::Republished(..)) {
            return Err(format!("letter {id} was republished and deleted"));
        }
        letter.fate = Fate::Deleted;
        Ok(())
    }

    /// A delete was refused because the letter was resolved in another way.
    pub(crate) fn not_deleted(&mut self, id: &str) -> Result<(), String> {
        let letter = self.known(id)?;
        if letter.fate == Fate::Live && !letter.is_retrying {
            return Err(format!("letter {id} is gone, and nobody republished it"));
        }
        Ok(())
    }

    fn known(&mut self, id: &str) -> Result<&mut Letter, String> {
        self.by_id
            .get_mut(id)
            .ok_or_else(|| format!("nobody made letter {id}"))
    }

    /// Judges the live letters of a broker that nobody asks for anything at this moment.
    pub(crate) fn listed(&mut self, letters: &[Listed]) -> Result<(), String> {
        let mut live = BTreeMap::new();
        let mut records = BTreeSet::new();
        for letter in letters {
            if live.insert(letter.id.as_str(), letter).is_some() {
                return Err(format!("letter {} is listed twice", letter.id));
            }
            if !records.insert((&letter.group, letter.source)) {
                return Err(format!("record {} has two live letters", letter.source));
            }
        }
        for (id, letter) in &mut self.by_id {
            match (live.remove(id.as_str()), &letter.fate) {
                (Some(_), Fate::Republished(..) | Fate::Deleted) => {
                    return Err(format!("letter {id} was resolved and lives again"));
                }
                (Some(listed), Fate::Live) => {
                    if listed.value != letter.value {
                        return Err(format!("letter {id} holds another record"));
                    }
                    (letter.is_retrying, letter.is_deleting) = (false, false);
                }
                (None, Fate::Live) if !letter.is_retrying && !letter.is_deleting => {
                    return Err(format!("letter {id} is lost"));
                }
                (None, _) => {}
            }
        }
        for letter in live.into_values() {
            let place = (letter.group.clone(), letter.source);
            if !self.rejecting.contains(&place) {
                return Err(format!("nobody made letter {}", letter.id));
            }
            self.add(letter);
        }
        self.rejecting.clear();
        Ok(())
    }

    /// Letters that were resolved by a request whose answer is not known. After [`Letters::listed`].
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let unsettled = self.by_id.iter().filter(|(_, letter)| {
            letter.fate == Fate::Live && (letter.is_retrying || letter.is_deleting)
        });
        unsettled.map(|(id, _)| id.clone()).collect()
    }

    /// Live letters that nothing is being done about.
    pub(crate) fn live(&self) -> Vec<String> {
        let live = self.by_id.iter().filter(|(_, letter)| {
            letter.fate == Fate::Live && !letter.is_retrying && !letter.is_deleting
        });
        live.map(|(id, _)| id.clone()).collect()
    }

    /// Letters that are republished.
    pub(crate) fn resolved(&self) -> Vec<String> {
        let resolved = self
            .by_id
            .iter()
            .filter(|(_, letter)| matches!(letter.fate, Fate::Republished(..)));
        resolved.map(|(id, _)| id.clone()).collect()
    }

    /// Judges the copies in the main log from its start on, once nothing is unsettled: one for each republished letter.
    pub(crate) fn copies(&self, start: u64, copies: &BTreeMap<u64, String>) -> Result<(), String> {
        let mut left = copies.clone();
        for (id, letter) in &self.by_id {
            let Fate::Republished(offset, _) = &letter.fate else {
                continue;
            };
            if *offset < start {
                continue;
            }
            match left.remove(offset) {
                Some(value) if value == letter.value => {}
                Some(_) => return Err(format!("the copy of letter {id} is another record")),
                None => return Err(format!("the copy of letter {id} at {offset} is lost")),
            }
        }
        match left.first_key_value() {
            None => Ok(()),
            Some((offset, _)) => Err(format!(
                "the copy at {offset} is of no letter: a second one"
            )),
        }
    }

    /// Judges what the broker counts, once nothing is unsettled.
    pub(crate) fn counted(&self, found: Counts) -> Result<(), String> {
        let mut expected = Counts::default();
        for letter in self.by_id.values() {
            match letter.fate {
                Fate::Live => expected.live += 1,
                Fate::Republished(..) => expected.republished += 1,
                Fate::Deleted => expected.deleted += 1,
            }
        }
        if expected == found {
            Ok(())
        } else {
            Err(format!(
                "letters are counted as {found:?}, they are {expected:?}"
            ))
        }
    }
}

//! What the broker has promised about topics, written from the design page and from answers alone, and what breaks it.
//!
//! Every record's value is a number that no other has. The model knows at which offset which number was acknowledged or
//! served, which of them a power cut may take, and what was asked about every dead letter.

use std::collections::{BTreeMap, BTreeSet};

use storage::cause::Cause;

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: usize,
    pub(crate) partition: u32,
}

/// What is known of a partition's main log.
#[derive(Debug, Default)]
struct Main {
    /// What was acknowledged or served, by offset.
    known: BTreeMap<u64, u64>,
    /// First offset that a power cut may take.
    durable_end: u64,
}

/// What is known of one value.
#[derive(Debug)]
struct Value {
    place: Place,
    /// Where its first copy stands, once it is known.
    at: Option<u64>,
    /// It may stand twice: its producer's memory was lost with what it had written.
    may_repeat: bool,
}

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

/// A promise that does not hold, in words.
pub(crate) type Broken = String;

/// The model of all topics.
#[derive(Debug, Default)]
pub(crate) struct LogModel {
    /// Whether a topic survives power cuts.
    is_synced: Vec<bool>,
    mains: BTreeMap<Place, Main>,
    values: BTreeMap<u64, Value>,
    next_value: u64,
    are_memories_short: bool,
    pub(crate) letters: BTreeMap<String, Letter>,
    /// By group and place: the offset that was committed last, and those that may have been since.
    commits: BTreeMap<(String, Place), (u64, BTreeSet<u64>)>,
    /// Copies by the dead letter that they were made of: place and offset of the copy.
    copies: BTreeMap<(u32, u64), (Place, u64)>,
    pub(crate) counts: Counts,
}

/// How much was done.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) served: u64,
    pub(crate) rejected: u64,
    pub(crate) republished: u64,
    pub(crate) deleted: u64,
}

impl LogModel {
    pub(crate) fn new(is_synced: Vec<bool>) -> Self {
        Self {
            is_synced,
            ..Self::default()
        }
    }

    /// Makes a value that no record has yet.
    pub(crate) fn new_value(&mut self, place: Place) -> u64 {
        self.next_value += 1;
        let value = Value {
            place,
            at: None,
            may_repeat: self.are_memories_short,
        };
        self.values.insert(self.next_value, value);
        self.next_value
    }

    /// A producer sends these again and no longer under the sequence of the first time.
    pub(crate) fn may_repeat(&mut self, values: impl Iterator<Item = u64>) {
        for value in values {
            if let Some(value) = self.values.get_mut(&value) {
                value.may_repeat = true;
            }
        }
    }

    /// The wall clock has passed the time for which producers are remembered: what they send again may be stored again.
    pub(crate) fn memories_may_end(&mut self) {
        self.are_memories_short = true;
        for value in self.values.values_mut() {
            value.may_repeat = true;
        }
    }

    /// The producer was told that its batch stands from `base` on. With `is_durable` it survives everything.
    pub(crate) fn acknowledged(
        &mut self,
        place: Place,
        base: u64,
        values: &[u64],
        is_durable: bool,
    ) -> Result<(), Broken> {
        for (offset, value) in (base..).zip(values) {
            self.stands(place, offset, *value)?;
            self.counts.acknowledged += 1;
        }
        if is_durable {
            self.is_durable(place, base + values.len() as u64);
        }
        Ok(())
    }

    fn is_durable(&mut self, place: Place, end: u64) {
        let main = self.mains.entry(place).or_default();
        main.durable_end = main.durable_end.max(end);
    }

    /// A consumer was served a record.
    pub(crate) fn served(
        &mut self,
        place: Place,
        offset: u64,
        value: u64,
        cause: Option<&Cause>,
    ) -> Result<(), Broken> {
        self.counts.served += 1;
        if let Some(cause) = cause {
            let letter = (cause.log.partition.0, cause.offset.0);
            let copy = (place, offset);
            let before = *self.copies.entry(letter).or_insert(copy);
            if before != copy {
                return Err(format!(
                    "letter {letter:?} was republished twice: at {before:?} and at {copy:?}"
                ));
            }
            self.known(place, offset, value)?;
        } else {
            self.stands(place, offset, value)?;
        }
        if self.is_synced[place.topic] {
            self.is_durable(place, offset + 1);
        }
        Ok(())
    }

    /// A value's own record stands at an offset.
    fn stands(&mut self, place: Place, offset: u64, value: u64) -> Result<(), Broken> {
        self.known(place, offset, value)?;
        let Some(known) = self.values.get_mut(&value) else {
            return Err(format!(
                "value {value} at {place:?} {offset} was never sent"
            ));
        };
        if known.place != place {
            return Err(format!(
                "value {value} was sent to {:?} and stands at {place:?} {offset}",
                known.place
            ));
        }
        match known.at {
            Some(at) if at != offset && !known.may_repeat => Err(format!(
                "value {value} stands twice at {place:?}: at {at} and at {offset}"
            )),
            _ => {
                known.at = Some(offset);
                Ok(())
            }
        }
    }

    fn known(&mut self, place: Place, offset: u64, value: u64) -> Result<(), Broken> {
        let main = self.mains.entry(place).or_default();
        let before = *main.known.entry(offset).or_insert(value);
        if before == value {
            return Ok(());
        }
        Err(format!(
            "offset {offset} of {place:?} was given to value {before} and to value {value}"
        ))
    }

    /// What a consumer reads from the log's start to its end, all of it: nothing that was promised may be missing.
    pub(crate) fn check_scan(
        &self,
        place: Place,
        scanned: &BTreeMap<u64, (u64, Option<Cause>)>,
    ) -> Result<(), Broken> {
        let Some(main) = self.mains.get(&place) else {
            return Ok(());
        };
        for (offset, value) in &main.known {
            match scanned.get(offset) {
                Some((found, _)) if found == value => {}
                found => {
                    return Err(format!(
                        "value {value} was promised at {place:?} {offset}; there is {found:?}, and {} records up to {:?}",
                        scanned.len(),
                        scanned.keys().next_back()
                    ));
                }
            }
        }
        let mut originals = BTreeMap::new();
        for (offset, (value, cause)) in scanned {
            if cause.is_none()
                && let Some(before) = originals.insert(value, offset)
                && !self.values.get(value).is_some_and(|known| known.may_repeat)
            {
                return Err(format!(
                    "value {value} stands twice at {place:?}: at {before} and at {offset}"
                ));
            }
        }
        Ok(())
    }

    /// Forgets what a power cut may have taken.
    pub(crate) fn power_was_cut(&mut self) {
        for (place, main) in &mut self.mains {
            if self.is_synced[place.topic] {
                continue;
            }
            let lost = main.known.split_off(&main.durable_end);
            for value in lost.values() {
                if let Some(known) = self.values.get_mut(value)
                    && known.at.is_some_and(|at| at >= main.durable_end)
                {
                    known.at = None;
                }
            }
            self.copies
                .retain(|_, (at, offset)| at != place || *offset < main.durable_end);
        }
    }

    pub(crate) fn commit_tried(&mut self, group: &str, place: Place, offset: u64) {
        let commit = self.commits.entry((group.to_owned(), place)).or_default();
        commit.1.insert(offset);
    }

    pub(crate) fn committed(&mut self, group: &str, place: Place, offset: u64) {
        self.commits
            .insert((group.to_owned(), place), (offset, BTreeSet::new()));
    }

    /// What the broker says was committed.
    pub(crate) fn check_commit(
        &mut self,
        group: &str,
        place: Place,
        found: Option<u64>,
    ) -> Result<(), Broken> {
        let Some((last, tried)) = self.commits.get_mut(&(group.to_owned(), place)) else {
            return match found {
                None => Ok(()),
                Some(found) => Err(format!("{group} never committed {found} of {place:?}")),
            };
        };
        let found = found.unwrap_or_default();
        if found == *last || tried.contains(&found) {
            *last = found;
            return Ok(());
        }
        Err(format!(
            "{group} committed {last} of {place:?} (or one of {tried:?}), and {found} is said"
        ))
    }

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
        let letter = self.letters.entry(id.to_owned()).or_insert(Letter {
            place,
            group: group.to_owned(),
            source,
            is_retry_tried: false,
            is_delete_tried: false,
            republished: None,
            was_called_new: false,
            is_deleted: false,
            is_told: true,
        });
        letter.is_told = true;
        if !same(letter) {
            return Err(format!("letter {id} is of another record: {letter:?}"));
        }
        self.counts.rejected += u64::from(is_new);
        Ok(())
    }

    /// A letter was found that no answer had named: its reject's answer was lost.
    pub(crate) fn found(&mut self, id: &str, group: &str, place: Place, source: u64) {
        self.letters.entry(id.to_owned()).or_insert(Letter {
            place,
            group: group.to_owned(),
            source,
            is_retry_tried: false,
            is_delete_tried: false,
            republished: None,
            was_called_new: false,
            is_deleted: false,
            is_told: false,
        });
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

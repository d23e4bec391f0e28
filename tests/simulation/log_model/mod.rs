//! What the broker has promised about topics, written from the design page and from answers alone, and what breaks it.
//!
//! Every record's value is a number that no other has. The model knows at which offset which number was acknowledged or
//! served, which of them a power cut may take, and what was asked about every dead letter.

mod letters;

use std::collections::{BTreeMap, BTreeSet};

use storage::cause::Cause;

use letters::Letter;

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
}

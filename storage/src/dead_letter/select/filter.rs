//! What a selection asks of a letter.

use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::hash::hash64;
use crate::dead_letter::letter::{DeadLetter, Destination, Disposition, Receiver};
use crate::offset::TimestampMs;

/// What a letter must have: one of the values of each field that names any. Without any it is every letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFilter {
    /// Consumer groups.
    pub groups: Vec<String>,
    /// Fingerprints.
    pub fingerprints: Vec<Fingerprint>,
    /// Dispositions.
    pub dispositions: Vec<Disposition>,
    /// HTTP statuses of the last attempt; 0 when it had no answer.
    pub statuses: Vec<u16>,
    /// Destination URLs, whole.
    pub urls: Vec<String>,
    /// Labels; a letter with several needs one of them.
    pub labels: Vec<String>,
    /// Message ids.
    pub message_ids: Vec<String>,
    /// Who published it.
    pub callers: Vec<String>,
    /// URL groups that it was published to.
    pub url_groups: Vec<String>,
    /// Names of endpoints in URL groups.
    pub endpoints: Vec<String>,
    /// Queues.
    pub queues: Vec<String>,
    /// Schedules that published it.
    pub schedules: Vec<String>,
    /// Flow-control keys.
    pub flow_control_keys: Vec<String>,
    /// Earliest time of death (inclusive).
    pub died_from: Option<TimestampMs>,
    /// End of the times of death (exclusive).
    pub died_to: Option<TimestampMs>,
}

/// In which direction letters are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// By rising offset and time of death.
    #[default]
    OldestFirst,
    /// By falling offset and time of death.
    NewestFirst,
}

impl LetterFilter {
    /// Returns whether the letter is asked for.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let (group, destination) = match &letter.receiver {
            Receiver::Group(group) => (Some(group), None),
            Receiver::Destination(destination) => (None, Some(destination)),
        };
        self.takes_death(letter.died_at)
            && one_of(&self.groups, group)
            && self.takes_destination(destination)
            && one_of(&self.fingerprints, Some(&letter.fingerprint))
            && one_of(&self.dispositions, Some(&letter.disposition))
            && one_of(&self.statuses, letter.history.filed_status().as_ref())
            && one_of(&self.labels, &letter.labels)
            && one_of(&self.message_ids, &letter.message_id)
            && one_of(&self.callers, &letter.caller)
    }

    fn takes_destination(&self, destination: Option<&Destination>) -> bool {
        let part = |asked: &[String], part: fn(&Destination) -> Option<&String>| {
            one_of(asked, destination.and_then(part))
        };
        part(&self.urls, |d| Some(&d.url))
            && part(&self.url_groups, |d| d.url_group.as_ref())
            && part(&self.endpoints, |d| d.endpoint.as_ref())
            && part(&self.queues, |d| d.queue.as_ref())
            && part(&self.schedules, |d| d.schedule.as_ref())
            && part(&self.flow_control_keys, |d| d.flow_control_key.as_ref())
    }

    /// Returns whether the time of death is asked for.
    #[must_use]
    pub fn takes_death(&self, died_at: TimestampMs) -> bool {
        self.died_from.is_none_or(|from| from <= died_at)
            && self.died_to.is_none_or(|to| died_at < to)
    }

    /// Returns whether every letter is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns a hash of what is asked for: the same for the same values in another order or repeated.
    #[must_use]
    pub fn hash(&self) -> u64 {
        // By field, in this order: cursors of earlier versions carry the hash of the first ten.
        let mut parts = Vec::new();
        put_texts(&mut parts, 1, &self.groups);
        let fingerprints: Vec<_> = self.fingerprints.iter().map(|f| f.bytes()).collect();
        put_values(&mut parts, 2, fingerprints.iter().map(<[u8; 9]>::as_slice));
        let dispositions: Vec<_> = self.dispositions.iter().map(|d| [d.0]).collect();
        put_values(&mut parts, 3, dispositions.iter().map(<[u8; 1]>::as_slice));
        let statuses: Vec<_> = self.statuses.iter().map(|s| s.to_be_bytes()).collect();
        put_values(&mut parts, 4, statuses.iter().map(<[u8; 2]>::as_slice));
        put_texts(&mut parts, 5, &self.urls);
        put_texts(&mut parts, 6, &self.labels);
        put_texts(&mut parts, 7, &self.message_ids);
        put_texts(&mut parts, 8, &self.callers);
        let died_from = self.died_from.map(|time| time.0.to_be_bytes());
        put_values(&mut parts, 9, died_from.iter().map(<[u8; 8]>::as_slice));
        let died_to = self.died_to.map(|time| time.0.to_be_bytes());
        put_values(&mut parts, 10, died_to.iter().map(<[u8; 8]>::as_slice));
        put_texts(&mut parts, 11, &self.url_groups);
        put_texts(&mut parts, 12, &self.endpoints);
        put_texts(&mut parts, 13, &self.queues);
        put_texts(&mut parts, 14, &self.schedules);
        put_texts(&mut parts, 15, &self.flow_control_keys);
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        hash64(&parts)
    }
}

fn one_of<'a, T: PartialEq + 'a>(asked: &[T], values: impl IntoIterator<Item = &'a T>) -> bool {
    asked.is_empty() || values.into_iter().any(|value| asked.contains(value))
}

fn put_texts(parts: &mut Vec<Vec<u8>>, field: u8, values: &[String]) {
    put_values(parts, field, values.iter().map(String::as_bytes));
}

/// Adds the values of one field, each behind its field's number, so that a value never passes for one of another field.
fn put_values<'a>(parts: &mut Vec<Vec<u8>>, field: u8, values: impl Iterator<Item = &'a [u8]>) {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    parts.extend(values.into_iter().map(|value| [&[field], value].concat()));
}

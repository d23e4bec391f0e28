//! What callers were told, and whether a broker that was opened again stands to it.

use std::collections::{BTreeMap, BTreeSet};

use redrive::broker::{Broker, PeekFrom};
use redrive::protocol::group_offsets::FetchOffsetsRequest;
use redrive::protocol::metadata::MetadataRequest;
use redrive::protocol::read_letters::{GetLetterRequest, ListLettersRequest};
use redrive::protocol::resolve_letters::RetryLettersRequest;
use redrive::protocol::selection::{Order, Page, Selection};
use storage::offset::Offset;

use crate::sink::Sink;

/// What is known of a letter: whose record it holds, and what was asked about it and answered.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) value: String,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Live,
    /// A retry was answered, with where the fresh record stands.
    Republished(u32, Offset),
    Deleted,
    /// A retry or a deletion was asked for, and its answer was an error.
    Asked,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Taken,
    Dies,
    /// Due in a month.
    Delayed,
    /// Due in a month, and its cancellation was answered.
    Cancelled,
}

/// Everything that callers know.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) topics: BTreeSet<String>,
    pub(crate) deleted_topics: BTreeSet<String>,
    /// Acknowledged values, by topic, partition and offset.
    pub(crate) values: BTreeMap<(String, u32), BTreeMap<u64, String>>,
    /// Every value that somebody tried to store.
    pub(crate) tried: BTreeSet<String>,
    /// What a group has committed last, and what it tried to since.
    pub(crate) committed: Option<u64>,
    pub(crate) commits_tried: BTreeSet<u64>,
    pub(crate) letters: BTreeMap<String, Letter>,
    /// Values of which a rejection was tried.
    pub(crate) rejects_tried: BTreeSet<String>,
    pub(crate) messages: BTreeMap<String, (String, Kind)>,
    /// How often a broker was opened.
    pub(crate) opens: u64,
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Told {
    /// Messages that are not to wait for a month.
    pub(crate) fn soon(&self) -> Vec<String> {
        let soon =
            |(_, (_, kind)): &(&String, &(String, Kind))| matches!(kind, Kind::Taken | Kind::Dies);
        let soon = self.messages.iter().filter(soon);
        soon.map(|(id, _)| id.clone()).collect()
    }

    /// Compares a healthy broker that was just opened, and whose deliveries have ended, with all that was told.
    pub(crate) fn check(&self, broker: &Broker, sink: &Sink) -> Result<(), String> {
        let health = broker.health();
        ensure(health.problems.is_empty(), || format!("{health:?}"))?;
        let request = MetadataRequest { topics: None };
        let metadata = broker.metadata(&request).map_err(|e| e.to_string())?;
        let names: BTreeSet<_> = metadata.topics.into_iter().map(|(name, _)| name).collect();
        for topic in &self.topics {
            let is_there = names.contains(topic);
            ensure(is_there, || format!("topic {topic} is gone"))?;
        }
        for topic in &self.deleted_topics {
            let is_there = names.contains(topic);
            ensure(!is_there, || format!("topic {topic} is back"))?;
        }
        let counts = self.records(broker)?;
        self.commits(broker)?;
        self.letters(broker, &counts)?;
        self.deliveries(broker, sink)
    }

    /// Every acknowledged value at its offset, nothing invented. Returns how often each value of `t` is there.
    fn records(&self, broker: &Broker) -> Result<BTreeMap<String, u64>, String> {
        let mut counts = BTreeMap::new();
        for ((topic, partition), values) in &self.values {
            if !self.topics.contains(topic) {
                continue;
            }
            let found = broker
                .peek(topic, *partition, PeekFrom::Earliest, 500)
                .map_err(|error| format!("{topic}/{partition} cannot be read: {error}"))?;
            let found: BTreeMap<u64, String> = found
                .into_iter()
                .map(|record| {
                    let value = record.record.value.unwrap_or_default();
                    (
                        record.offset.0,
                        String::from_utf8_lossy(&value).into_owned(),
                    )
                })
                .collect();
            let start = found.keys().next().copied().unwrap_or(0);
            let is_retained = topic == "r";
            for (offset, value) in values {
                let is_there = found.get(offset) == Some(value);
                ensure(is_there || (is_retained && *offset < start), || {
                    format!(
                        "lost: {topic}/{partition} {offset} {value}: {:?}",
                        found.get(offset)
                    )
                })?;
            }
            for (expected, (offset, value)) in (start..).zip(&found) {
                ensure(expected == *offset, || format!("no record at {expected}"))?;
                ensure(self.tried.contains(value), || format!("invented: {value}"))?;
                if topic == "t" {
                    *counts.entry(value.clone()).or_insert(0) += 1;
                }
            }
        }
        Ok(counts)
    }

    fn commits(&self, broker: &Broker) -> Result<(), String> {
        let request = FetchOffsetsRequest {
            group: "g".to_owned(),
            topics: None,
        };
        let answer = broker.fetch_offsets(&request).map_err(|e| e.to_string())?;
        let found = answer.offsets.first().map(|offset| offset.offset.0);
        let is_right = found == self.committed
            || found.is_some_and(|found| self.commits_tried.contains(&found));
        ensure(is_right, || {
            format!("committed is {found:?}, not {:?}", self.committed)
        })
    }

    /// Every letter is there, and republished at most once: a record stands twice if and only if its letter is settled.
    fn letters(&self, broker: &Broker, counts: &BTreeMap<String, u64>) -> Result<(), String> {
        if !self.topics.contains("t") {
            return Ok(());
        }
        let request = ListLettersRequest {
            topic: "t".to_owned(),
            selection: Selection::All,
            page: Page::first(Order::OldestFirst, 100),
            bytes_max: 1 << 20,
        };
        let live = broker.list_letters(&request).map_err(|e| e.to_string())?;
        let live: BTreeMap<_, _> = live
            .letters
            .into_iter()
            .map(|letter| {
                let value = letter.value.unwrap_or_default();
                (letter.id, String::from_utf8_lossy(&value).into_owned())
            })
            .collect();
        let of = |value: &str| live.values().filter(|found| *found == value).count();
        for (value, count) in counts {
            let expected = self.letters.values().find(|letter| letter.value == *value);
            let was_tried = self.rejects_tried.contains(value);
            ensure(*count <= 1 + u64::from(was_tried), || {
                format!("{value} is there {count} times")
            })?;
            ensure(of(value) <= usize::from(was_tried), || {
                format!("{value} has {} live letters", of(value))
            })?;
            if *count == 2 {
                ensure(of(value) == 0, || {
                    format!("{value} was republished and is live: {expected:?}")
                })?;
            }
        }
        for (id, letter) in &self.letters {
            let count = counts.get(&letter.value).copied().unwrap_or(0);
            let is_live = live.contains_key(id);
            let is_right = match letter.fate {
                Fate::Live => is_live && count == 1,
                Fate::Republished(..) => !is_live && count == 2,
                Fate::Deleted => !is_live && count == 1,
                Fate::Asked => is_live == (count == 1) || !is_live,
            };
            ensure(is_right, || {
                format!("letter {id} {letter:?}: live {is_live}, {count} records")
            })?;
            if is_live {
                let request = GetLetterRequest { id: id.clone() };
                let got = broker.get_letter(&request).map_err(|e| e.to_string())?;
                let value = got.value.unwrap_or_default();
                ensure(value == letter.value.as_bytes(), || {
                    format!("letter {id}: {value:?}")
                })?;
            }
        }
        Ok(())
    }

    fn deliveries(&self, broker: &Broker, sink: &Sink) -> Result<(), String> {
        let c = broker.delivery_counts();
        let sum = c.pending + c.in_flight + c.delivered + c.cancelled + c.dead_lettered;
        ensure(c.accepted == sum, || format!("not conserved: {c:?}"))?;
        let page = Page::first(Order::OldestFirst, 100);
        let dead = broker
            .dead_messages(&Selection::All, &page)
            .map_err(|error| error.to_string())?
            .0;
        let mut dead_of: BTreeMap<String, u64> = BTreeMap::new();
        for letter in &dead {
            let id = letter.letter.message_id.clone().unwrap_or_default();
            *dead_of.entry(id).or_default() += 1;
        }
        for (id, (url, kind)) in &self.messages {
            let attempts = sink.attempts(url);
            let letters = dead_of.get(id).copied().unwrap_or(0);
            let is_pending = broker
                .message(id)
                .map_err(|error| error.to_string())?
                .is_some();
            let is_right = match kind {
                Kind::Taken => (1..=self.opens).contains(&attempts) && letters == 0 && !is_pending,
                Kind::Dies => (1..=self.opens).contains(&attempts) && letters == 1 && !is_pending,
                Kind::Delayed => attempts == 0 && is_pending,
                Kind::Cancelled => attempts == 0 && letters == 0 && !is_pending,
            };
            ensure(is_right, || {
                let opens = self.opens;
                format!(
                    "{url} {kind:?}: {attempts} attempts in {opens} lives, {letters} letters, pending {is_pending}"
                )
            })?;
        }
        Ok(())
    }

    /// A retry that was answered is repeated: it gets the first answer.
    pub(crate) async fn check_repeats(
        &self,
        broker: &std::sync::Arc<Broker>,
    ) -> Result<(), String> {
        for (id, letter) in &self.letters {
            let Fate::Republished(partition, offset) = letter.fate else {
                continue;
            };
            let request = RetryLettersRequest {
                topic: "t".to_owned(),
                selection: Selection::Ids(vec![id.clone()]),
                page: Page::first(Order::OldestFirst, 1),
                request_id: None,
            };
            let answer = broker.retry_letters(request, "again".to_owned()).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let is_same = answer.letters.iter().all(|(_, result)| {
                let found = result.as_ref().map(|r| (r.partition, r.offset, r.is_new));
                found == Ok((partition, offset, false))
            });
            ensure(is_same && answer.letters.len() == 1, || {
                format!("letter {id} was at {partition}/{offset}: {answer:?}")
            })?;
        }
        Ok(())
    }
}

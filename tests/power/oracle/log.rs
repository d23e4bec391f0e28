//! What must hold of one main log: nothing acknowledged or served is lost, moved or changed, and nothing is invented.

use std::collections::BTreeMap;

/// What ends a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Crash {
    /// The process is gone.
    Kill,
    /// The machine is gone, and with it what was not synced.
    Power,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: u64,
    pub(crate) value: String,
    /// Whether the broker made it of a dead letter.
    pub(crate) is_copy: bool,
}

/// A whole log as it was read after a start.
#[derive(Debug, Clone, Default)]
pub(crate) struct WholeLog {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) records: Vec<Seen>,
    /// Bytes of the batches that hold them.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Fact {
    value: String,
    /// The worst crash that it must survive.
    survives: Crash,
}

#[derive(Debug, Default)]
struct Stream {
    /// The number after the last one that was sent.
    sent: u64,
    /// Whether its records stand without a gap, as an idempotent producer's do.
    is_whole: bool,
}

/// One log.
#[derive(Debug)]
pub(crate) struct Log {
    name: &'static str,
    /// The worst crash that an acknowledgement by the topic's own durability survives.
    durability: Crash,
    start: u64,
    /// The end that must survive every crash.
    end: u64,
    facts: BTreeMap<u64, Fact>,
    streams: BTreeMap<String, Stream>,
    worst_crash: Option<Crash>,
    /// Bytes that retention leaves in any case.
    bytes_kept: u64,
}

/// The record `number` of a stream; the filling makes its length.
pub(crate) fn value(stream: &str, number: u64, filling: usize) -> String {
    format!("{stream}.{number}.{}", "x".repeat(filling))
}

fn parsed(value: &str) -> Option<(&str, u64)> {
    let (stream, rest) = value.split_once('.')?;
    Some((stream, rest.split_once('.')?.0.parse().ok()?))
}

fn short(value: &str) -> &str {
    value.trim_end_matches('x')
}

impl Log {
    pub(crate) fn new(name: &'static str, durability: Crash, bytes_kept: u64) -> Self {
        Self {
            name,
            durability,
            start: 0,
            end: 0,
            facts: BTreeMap::new(),
            streams: BTreeMap::new(),
            worst_crash: None,
            bytes_kept,
        }
    }

    /// A record of a stream goes out now.
    pub(crate) fn sent(&mut self, stream: &str, number: u64, is_whole: bool) {
        let stream = self.streams.entry(stream.to_owned()).or_default();
        stream.sent = stream.sent.max(number + 1);
        stream.is_whole = is_whole;
    }

    /// The worst crash that an acknowledgement survives.
    pub(crate) fn durability(&self) -> Crash {
        self.durability
    }

    /// A record was acknowledged or served at an offset.
    pub(crate) fn told(&mut self, offset: u64, value: &str, survives: Crash) -> Result<(), String> {
        let name = self.name;
        if offset < self.start {
            return Err(format!("{name}: offset {offset} lies below the log start"));
        }
        let fact = self.facts.entry(offset).or_insert_with(|| Fact {
            value: value.to_owned(),
            survives,
        });
        fact.survives = fact.survives.max(survives);
        if survives == Crash::Power {
            self.end = self.end.max(offset + 1);
        }
        if fact.value == value {
            return Ok(());
        }
        let (before, now) = (short(&fact.value), short(value));
        Err(format!(
            "{name}: offset {offset} was given to {before} and to {now}"
        ))
    }

    /// A high watermark was shown.
    pub(crate) fn shown_end(&mut self, end: u64) {
        if self.durability == Crash::Power {
            self.end = self.end.max(end);
        }
    }

    /// The broker has gone.
    pub(crate) fn crashed(&mut self, crash: Crash) {
        self.worst_crash = self.worst_crash.max(Some(crash));
    }

    /// The value at an offset, as far as it is known.
    pub(crate) fn value_at(&self, offset: u64) -> Option<&str> {
        self.facts.get(&offset).map(|fact| fact.value.as_str())
    }

    /// The offsets that are known, as a range.
    pub(crate) fn known(&self) -> (u64, u64) {
        let end = self.facts.last_key_value().map(|(offset, _)| offset + 1);
        (self.start, end.unwrap_or(self.start))
    }

    /// Judges everything that a broker serves after its start.
    pub(crate) fn read(&mut self, whole: &WholeLog) -> Result<(), String> {
        let name = self.name;
        self.check_bounds(whole)?;
        let mut offsets = whole.start..;
        for record in &whole.records {
            let expected = offsets.next().unwrap_or_default();
            if record.offset != expected {
                let found = record.offset;
                return Err(format!(
                    "{name}: offset {expected} is missing, {found} follows"
                ));
            }
        }
        let behind = whole.start + whole.records.len() as u64;
        if behind != whole.end {
            let end = whole.end;
            return Err(format!(
                "{name}: read to {behind}, the high watermark is {end}"
            ));
        }
        self.check_streams(&whole.records)?;
        let crash = self.worst_crash.take().unwrap_or(Crash::Kill);
        for (offset, fact) in self.facts.range(whole.end..) {
            if fact.survives >= crash {
                let value = short(&fact.value);
                return Err(format!("{name}: {value} at offset {offset} is lost"));
            }
        }
        self.facts.split_off(&whole.end);
        self.facts = self.facts.split_off(&whole.start);
        self.start = whole.start;
        let survives = self.durability;
        for record in &whole.records {
            self.told(record.offset, &record.value, survives)?;
        }
        Ok(())
    }

    fn check_bounds(&self, whole: &WholeLog) -> Result<(), String> {
        let (name, before) = (self.name, self.start);
        let (start, end) = (whole.start, whole.end);
        if start < before {
            return Err(format!(
                "{name}: the log start fell from {before} to {start}"
            ));
        }
        if end < self.end {
            let before = self.end;
            return Err(format!("{name}: the end fell from {before} to {end}"));
        }
        if start > before && whole.bytes < self.bytes_kept {
            let (bytes, kept) = (whole.bytes, self.bytes_kept);
            return Err(format!(
                "{name}: retention left {bytes} bytes, {kept} were to stay"
            ));
        }
        Ok(())
    }

    /// Every record was sent, once, and the records of a stream stand in the order in which they were sent.
    fn check_streams(&self, records: &[Seen]) -> Result<(), String> {
        let name = self.name;
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for record in records.iter().filter(|record| !record.is_copy) {
            let text = short(&record.value);
            let at = record.offset;
            let Some((stream, number)) = parsed(&record.value) else {
                return Err(format!("{name}: nobody sent {text:?} at offset {at}"));
            };
            let sent = self.streams.get(stream);
            if sent.is_none_or(|sent| number >= sent.sent) {
                return Err(format!("{name}: nobody sent {text} at offset {at}"));
            }
            let before = last.insert(stream, number);
            if before.is_some_and(|before| before >= number) {
                return Err(format!(
                    "{name}: {text} at offset {at} is twice or out of order"
                ));
            }
            let is_whole = sent.is_some_and(|sent| sent.is_whole);
            if is_whole && before.is_some_and(|before| before + 1 != number) {
                return Err(format!(
                    "{name}: records before {text} at offset {at} are missing"
                ));
            }
        }
        Ok(())
    }
}

//! The oracle: what a broker must do, from what was asked of it and what it answered, served and delivered. It shares no code
//! with the broker and never looks at its files.
//!
//! Every event is told to it when it happens: a request *before* it is sent, its answer when it has come. What was asked for
//! and not answered may have happened or not; after a restart it is one of the two, for ever.

mod letters;
mod log;
mod push;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(crate) use letters::{Counts, Letters, Listed};
pub(crate) use log::{Crash, Log, Seen, WholeLog, value};
pub(crate) use push::{Balance, DeadMessage, Push};

/// The offsets that a group committed: what was asked for, and what must be found at least.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    sent: u64,
    acknowledged: Option<u64>,
}

impl Committed {
    pub(crate) fn committing(&mut self, offset: u64) {
        self.sent = self.sent.max(offset);
    }

    pub(crate) fn committed(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(Some(offset));
    }

    pub(crate) fn found(&mut self, offset: Option<u64>) -> Result<(), String> {
        if offset < self.acknowledged {
            let before = self.acknowledged;
            return Err(format!(
                "a committed offset fell from {before:?} to {offset:?}"
            ));
        }
        if offset > Some(self.sent) {
            return Err(format!("nobody committed {offset:?}"));
        }
        self.acknowledged = offset;
        Ok(())
    }

    pub(crate) fn next(&self) -> u64 {
        self.sent + 1
    }
}

/// Topics that are made and deleted: whether each is there, unless that is not known.
#[derive(Debug, Default)]
pub(crate) struct Topics(BTreeMap<String, Option<bool>>);

impl Topics {
    /// A request to make or delete it goes out.
    pub(crate) fn changing(&mut self, name: &str) {
        self.0.insert(name.to_owned(), None);
    }

    pub(crate) fn changed(&mut self, name: &str, is_there: bool) {
        self.0.insert(name.to_owned(), Some(is_there));
    }

    pub(crate) fn present(&self) -> Vec<String> {
        let present = self
            .0
            .iter()
            .filter(|(_, is_there)| **is_there == Some(true));
        present.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn found(&mut self, names: &[String]) -> Result<(), String> {
        for (name, is_there) in &mut self.0 {
            let found = names.contains(name);
            if is_there.is_some_and(|is_there| is_there != found) {
                return Err(format!("topic {name}: found {found}, was {is_there:?}"));
            }
            *is_there = Some(found);
        }
        match names.iter().find(|name| !self.0.contains_key(*name)) {
            Some(name) => Err(format!("nobody made topic {name}")),
            None => Ok(()),
        }
    }
}

/// Everything that is known of one data directory.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) logs: [Log; 3],
    pub(crate) letters: Letters,
    pub(crate) committed: Committed,
    pub(crate) topics: Topics,
    pub(crate) push: Push,
    /// Whether the topics of the logs were made: they are never made again.
    pub(crate) has_topics: bool,
    broken: Vec<String>,
    disk: Disk,
}

/// What the disk does while a broker runs.
#[derive(Debug, Default)]
struct Disk {
    /// It fails: a broker may refuse what needs it, and everything that it says counts.
    is_failing: bool,
    /// The power is going: nothing that is told from now on could have left a machine without power.
    is_dark: bool,
}

/// Bytes that retention leaves of a main log in any case: what is configured, less a segment and what a crash may take.
const BYTES_KEPT: u64 = 72 << 10;

impl Oracle {
    /// Knows an empty directory.
    pub(crate) fn new() -> Self {
        Self {
            logs: [
                Log::new("s-0", Crash::Power, BYTES_KEPT),
                Log::new("s-1", Crash::Power, BYTES_KEPT),
                Log::new("w-0", Crash::Kill, 0),
            ],
            letters: Letters::default(),
            committed: Committed::default(),
            topics: Topics::default(),
            push: Push::default(),
            has_topics: false,
            broken: Vec::new(),
            disk: Disk::default(),
        }
    }

    /// The disk begins to fail, until the broker is gone.
    pub(crate) fn disk_fails(&mut self) {
        self.disk.is_failing = true;
    }

    /// Whether a broker may refuse because of its disk.
    pub(crate) fn may_refuse(&self) -> bool {
        self.disk.is_dark || self.disk.is_failing
    }

    /// The power is about to be cut. What a client is told from now on proves nothing: the cut has ext4 answer syncs with
    /// success that were under way (`ground` shows it), so that a broker believes them.
    pub(crate) fn goes_dark(&mut self) {
        self.disk.is_dark = true;
    }

    pub(crate) fn is_dark(&self) -> bool {
        self.disk.is_dark
    }

    /// Takes a judgement in.
    pub(crate) fn judge(&mut self, judgement: Result<(), String>) {
        self.broken.extend(judgement.err());
    }

    /// The broker is gone.
    pub(crate) fn crashed(&mut self, crash: Crash) {
        // What is written and not synced is on no disk, and a sync that fails says so.
        let crash = if self.disk.is_failing {
            Crash::Power
        } else {
            crash
        };
        for log in &mut self.logs {
            log.crashed(crash);
        }
        self.push.crashed();
        self.disk = Disk::default();
    }

    /// What was broken, oldest first.
    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }
}

//! What happened, a line each: all of it in a hash, the last lines kept for whoever has to understand a failure.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

const KEPT: usize = 400;

/// The events of one seed.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    lines: VecDeque<String>,
    count: u64,
}

impl Trace {
    pub(crate) fn add(&mut self, line: String) {
        self.hasher.write(line.as_bytes());
        self.hasher.write_u8(b'\n');
        self.count += 1;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn text(&self) -> String {
        self.lines
            .iter()
            .map(|line| format!("  {line}\n"))
            .collect()
    }
}

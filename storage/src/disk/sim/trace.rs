//! The last operations of the simulated disk, as text when someone asks.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::disk::Site;

const LINE_COUNT_MAX: usize = 256;

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct TraceLine {
    pub(super) op: u64,
    pub(super) verb: &'static str,
    pub(super) path: Arc<Path>,
    pub(super) range: Option<(u64, u64)>,
    pub(super) site: Option<Site>,
    pub(super) note: &'static str,
}

/// The last operations; older ones are dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    lines: VecDeque<TraceLine>,
}

impl Trace {
    pub(super) fn push(&mut self, line: TraceLine) {
        if self.lines.len() == LINE_COUNT_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            write!(f, "{:>6} {} {}", line.op, line.verb, line.path.display())?;
            if let Some((position, bytes)) = line.range {
                write!(f, " {position}+{bytes}")?;
            }
            if let Some(site) = line.site {
                write!(f, " {site:?}")?;
            }
            writeln!(f, "{}", line.note)?;
        }
        Ok(())
    }
}

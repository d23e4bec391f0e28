//! What was promised, kept outside of the log: what must be there after a crash, what may, and what must not.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use storage::log::{Log, ReadBound, RecoveryReport, Visibility};
use storage::offset::Offset;

/// A broken promise: the name of the check, and what it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub check: &'static str,
    pub seen: String,
}

pub fn broken<T>(check: &'static str, seen: impl Into<String>) -> Result<T, Broken> {
    let seen = seen.into();
    Err(Broken { check, seen })
}

#[derive(Debug, Clone)]
pub struct Oracle {
    pub visibility: Visibility,
    /// Every batch that was written or may have been, whole and stamped, by its base offset.
    pub batches: BTreeMap<u64, Vec<u8>>,
    /// Everything below it was written without an error.
    pub written_end: u64,
    /// Everything below it was acknowledged as durable.
    pub durable_end: u64,
    /// Everything below it was shown to readers.
    pub served_end: u64,
    /// The log start that a checkpoint acknowledged.
    pub log_start: u64,
    /// The highest log start that was asked for.
    pub log_start_tried: u64,
    /// Whether the power was cut since the log was last open.
    pub was_power_cut: bool,
    /// Whether the checkpoint was taken away: then nobody can know the log start.
    pub is_checkpoint_lost: bool,
    /// Makes every batch another one.
    pub batch_count: u64,
}

impl Oracle {
    pub fn new(visibility: Visibility) -> Self {
        Self {
            visibility,
            batches: BTreeMap::new(),
            written_end: 0,
            durable_end: 0,
            served_end: 0,
            log_start: 0,
            log_start_tried: 0,
            was_power_cut: false,
            is_checkpoint_lost: false,
            batch_count: 0,
        }
    }

    /// Notes what the log shows now.
    pub fn observe(&mut self, log: &Log) {
        let reader = log.reader();
        self.durable_end = self.durable_end.max(reader.durable_end().0);
        self.served_end = self.served_end.max(reader.high_watermark().0);
    }

    /// The end of what the last crash may not have taken.
    fn kept_end(&self) -> u64 {
        match (self.was_power_cut, self.visibility) {
            (false, _) => self.written_end.max(self.served_end).max(self.durable_end),
            (true, Visibility::Synced) => self.durable_end.max(self.served_end),
            (true, Visibility::Written) => self.durable_end,
        }
    }

    /// Returns a hash of all promises.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let ends = [
            self.written_end,
            self.durable_end,
            self.served_end,
            self.log_start,
        ];
        let rest = (
            self.log_start_tried,
            self.was_power_cut,
            self.is_checkpoint_lost,
        );
        (ends, rest, self.batch_count, &self.batches).hash(&mut hasher);
        hasher.finish()
    }

    /// Compares an opened log with the promises.
    pub fn check(&self, log: &Log, report: &RecoveryReport) -> Result<(), Broken> {
        let reader = log.reader();
        let start_tried = self.log_start_tried;
        let excused = |to: u64| self.is_checkpoint_lost && to <= start_tried;
        if let Some(range) = report.damage.iter().find(|range| !excused(range.to.0)) {
            return broken("no false damage", format!("{range:?}"));
        }
        if let Some(poison) = log.poison() {
            return broken("takes appends", format!("{poison:?}"));
        }
        let start = reader.log_start().0;
        if start < self.log_start && !self.is_checkpoint_lost {
            return broken("log start", format!("{start} below {}", self.log_start));
        }
        if start > self.log_start_tried {
            return broken("log start", format!("{start} was never asked for"));
        }
        let end = reader.log_end().0;
        if end < self.kept_end() {
            let kept = self.kept_end();
            return broken(
                "acknowledged is there",
                format!("ends at {end}, not {kept}"),
            );
        }
        if reader.durable_end().0 != end || reader.high_watermark().0 != end {
            return broken("what opens is durable", format!("{reader:?}"));
        }
        self.check_contents(log, start.max(self.log_start))
    }

    /// Compares every batch from `start` on, byte for byte.
    pub fn check_contents(&self, log: &Log, start: u64) -> Result<(), Broken> {
        let reader = log.reader();
        let mut next = start;
        let mut wrong = None;
        let scanned = reader.scan(Offset(start), ReadBound::LogEnd, &mut |header, body| {
            let bytes = [header.encode().as_slice(), body].concat();
            let base = header.base_offset.0;
            if base != next {
                wrong = Some(format!("{base} where {next} was to come"));
            } else if self.batches.get(&base) != Some(&bytes) {
                wrong = Some(format!("other bytes at {base}"));
            }
            next = header.next_offset().0;
            if wrong.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if let Err(error) = scanned {
            return broken("readable", format!("{error:?}"));
        }
        if let Some(wrong) = wrong {
            return broken("byte for byte", wrong);
        }
        let end = reader.log_end().0;
        if next != end {
            return broken(
                "gap-free",
                format!("batches up to {next}, the end is {end}"),
            );
        }
        Ok(())
    }

    /// Takes over what recovery has decided: what it cut was never there, what it kept is durable.
    pub fn reopened(&mut self, log: &Log) {
        let end = log.reader().log_end().0;
        self.batches.retain(|base, _| *base < end);
        (self.written_end, self.durable_end) = (end, end);
        self.served_end = end;
        self.log_start_tried = self.log_start_tried.max(self.log_start);
        self.was_power_cut = false;
        self.observe(log);
    }
}

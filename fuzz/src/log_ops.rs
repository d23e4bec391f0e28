//! A log under any sequence of operations and crashes, against a list of what was appended.

use std::ops::ControlFlow;

use storage::batch::{BatchHeader, Records};
use storage::checkpoint::LogCheckpoint;
use storage::disk::sim::{SimDisk, Survival};
use storage::error::LogError;
use storage::log::{Log, LogConfig, LogReader, ReadBound};
use storage::offset::Offset;

use super::input::{Input, NOW, batch, new_disk, place};

const OP_COUNT_MAX: usize = 200;

/// One batch: offset of its first record, and the byte that fills its records.
type Appended = (u64, u8);

struct Machine {
    disk: SimDisk,
    log: Option<Log>,
    /// Everything appended, also what a crash may have taken.
    appended: Vec<Appended>,
    /// What was durable at the last look.
    durable_end: Offset,
    /// The checkpoint that a restart reads; it was durable when it was taken.
    hint: Option<LogCheckpoint>,
}

/// Carries out operations that the bytes name, and checks the log after each restart.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let disk = new_disk();
    let mut machine = Machine {
        disk,
        log: None,
        appended: Vec::new(),
        durable_end: Offset::ZERO,
        hint: None,
    };
    machine.open();
    for _ in 0..OP_COUNT_MAX {
        if input.is_empty() {
            break;
        }
        machine.step(&mut input);
    }
    machine.crash(Survival::Nothing);
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        ..LogConfig::default()
    }
}

impl Machine {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0 => self.append(input, true),
            1 => self.append(input, false),
            2 => self.sync(),
            3 => self.roll(),
            4 => self.delete_head(),
            5 => {
                // Another process on the same disk: unsynced writes are still there.
                self.log = None;
                self.open();
            }
            6 => self
                .disk
                .cut_power_at(self.disk.op_count() + 1 + u64::from(input.u8() % 16)),
            _ => self.crash(match input.u8() {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                seed => Survival::Random(u64::from(seed)),
            }),
        }
        self.look();
        if self.disk.is_power_cut() {
            self.crash(Survival::Random(u64::from(input.u8())));
        }
    }

    fn append(&mut self, input: &mut Input<'_>, is_synced: bool) {
        let fill = input.u8();
        let mut batch = batch(fill % 5, fill, u16::from(input.u8()) * 8);
        let Some(log) = &mut self.log else { return };
        self.appended.push((log.next_offset().0, fill));
        let result = if is_synced {
            log.append_synced(&mut batch, NOW).map(|_| ())
        } else {
            let header = BatchHeader::decode(&batch).unwrap();
            if log.needs_roll(u64::from(header.length), NOW) && log.roll().is_err() {
                assert!(self.disk.is_power_cut());
                return;
            }
            log.append(&header, &mut batch, NOW).map(|_| ())
        };
        assert!(result.is_ok() || self.disk.is_power_cut(), "{result:?}");
    }

    fn sync(&mut self) {
        if let Some(task) = self.log.as_mut().and_then(Log::begin_sync) {
            let result = task.run();
            assert!(result.is_ok() || self.disk.is_power_cut(), "{result:?}");
        }
        self.hint = self.checkpoint().or(self.hint.take());
    }

    fn roll(&mut self) {
        let Some(log) = &mut self.log else { return };
        let segments = log.reader().segments();
        let is_empty = segments
            .last()
            .is_none_or(|s| s.base_offset == s.end_offset);
        if !is_empty {
            let result = log.roll();
            assert!(result.is_ok() || self.disk.is_power_cut(), "{result:?}");
        }
    }

    /// Deletes the oldest segment, as retention does, with the start in the checkpoint first.
    fn delete_head(&mut self) {
        let Some(mut hint) = self.checkpoint() else {
            return;
        };
        let Some(log) = &mut self.log else { return };
        let oldest = log.reader().segments().first().copied();
        let Some(oldest) = oldest.filter(|s| s.is_sealed) else {
            return;
        };
        hint.log_start = oldest.end_offset;
        self.hint = Some(hint);
        let result = log.apply_log_start(oldest.end_offset).run();
        assert!(result.is_ok() || self.disk.is_power_cut(), "{result:?}");
    }

    fn checkpoint(&self) -> Option<LogCheckpoint> {
        let log = self.log.as_ref()?;
        let checkpoint = log.checkpoint();
        (log.reader().durable_end() >= checkpoint.durable_end).then_some(checkpoint)
    }

    fn look(&mut self) {
        if let Some(log) = &self.log {
            let reader = log.reader();
            assert!(
                reader.durable_end() >= self.durable_end,
                "the durable end fell"
            );
            assert!(reader.log_start() <= reader.high_watermark());
            assert!(reader.high_watermark() <= reader.log_end());
            self.durable_end = reader.durable_end();
        }
    }

    fn crash(&mut self, survival: Survival) {
        self.log = None;
        self.disk = self.disk.reboot(survival);
        self.open();
    }

    /// Opens the log, and compares it with the list: a prefix of it that holds at least what was durable.
    fn open(&mut self) {
        let opened = Log::open(place(&self.disk), config(), self.hint.as_ref(), NOW);
        let (log, report) = match opened {
            Ok(opened) => opened,
            Err(LogError::Io { .. }) if self.disk.is_power_cut() => return,
            Err(error) => panic!("the log does not open: {error:?}"),
        };
        assert_eq!(report.damage, [], "a crash is no damage");
        let reader = log.reader();
        let start = reader.log_start();
        let expected: Vec<_> = (self.appended.iter().copied())
            .filter(|(offset, _)| (start.0..reader.log_end().0).contains(offset))
            .collect();
        assert_eq!(contents(&reader), expected);
        assert!(
            reader.log_end() >= self.durable_end,
            "durable records are lost"
        );
        self.appended
            .retain(|(offset, _)| *offset < reader.log_end().0);
        self.log = Some(log);
        self.look();
    }
}

fn contents(reader: &LogReader) -> Vec<Appended> {
    let mut batches = Vec::new();
    let scanned = reader.scan(
        reader.log_start(),
        ReadBound::LogEnd,
        &mut |header, body| {
            let first = Records::new(header, body).next().unwrap().unwrap();
            batches.push((header.base_offset.0, first.key.unwrap()[0]));
            ControlFlow::Continue(())
        },
    );
    assert!(scanned.is_ok(), "{scanned:?}");
    batches
}

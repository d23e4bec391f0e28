//! Recovery: it ends for any bytes in a segment file, and a second one finds nothing more to do.

use std::ops::ControlFlow;
use std::path::Path;

use storage::disk::sim::SimDisk;
use storage::log::{Log, LogConfig, ReadBound};

use super::input::{FIRST_SEGMENT, Input, NOW, batch, new_disk, place};

/// Opens a log whose only segment holds the bytes as they are, or some batches with changed bytes, as the first byte says.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let disk = new_disk();
    let path = Path::new(FIRST_SEGMENT);
    if input.u8().is_multiple_of(2) {
        disk.write_file(path, input.0).unwrap();
    } else {
        write_batches(&disk, &mut input);
        let mut bytes = disk.read_file(path).unwrap();
        while !input.is_empty() {
            let at = usize::from(input.u16()) % bytes.len();
            bytes[at] ^= input.u8();
        }
        disk.write_file(path, &bytes).unwrap();
    }
    let first = recover(&disk);
    let second = recover(&disk);
    if let (Some(first), Some(second)) = (&first, &second) {
        assert!(!second.was_cut, "the second recovery cut again");
        assert_eq!(first.batches, second.batches);
        assert_eq!(first.end, second.end);
        assert_eq!(first.is_damaged, second.is_damaged);
    }
    assert_eq!(first.is_some(), second.is_some());
}

/// Small, so that a file's preallocated part does not take all the time.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 32 << 10,
        ..LogConfig::default()
    }
}

fn write_batches(disk: &SimDisk, input: &mut Input<'_>) {
    let (mut log, _) = Log::open(place(disk), config(), None, NOW).unwrap();
    for _ in 0..input.u8() % 8 {
        let mut batch = batch(input.u8() % 4, input.u8(), u16::from(input.u8()) * 4);
        log.append_synced(&mut batch, NOW).unwrap();
    }
}

struct Recovered {
    was_cut: bool,
    is_damaged: bool,
    end: u64,
    batches: Vec<(u64, Vec<u8>)>,
}

fn recover(disk: &SimDisk) -> Option<Recovered> {
    let (log, report) = Log::open(place(disk), config(), None, NOW).ok()?;
    let reader = log.reader();
    let mut batches = Vec::new();
    // Damage ends the scan; what was read before it must be the same each time.
    let scanned = reader.scan(
        reader.log_start(),
        ReadBound::LogEnd,
        &mut |header, body| {
            batches.push((header.base_offset.0, body.to_vec()));
            ControlFlow::Continue(())
        },
    );
    let is_damaged = !report.damage.is_empty();
    assert!(
        is_damaged || scanned.is_ok(),
        "{scanned:?} without a word in the report"
    );
    Some(Recovered {
        was_cut: report.cut.is_some(),
        is_damaged,
        end: reader.log_end().0,
        batches,
    })
}

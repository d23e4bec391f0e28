//! Damage: the broker's truth is refused when any of it is missing, and what nothing depends on is not missed.

use std::path::Path;
use std::sync::Arc;

use storage::control::{ControlConfig, ControlError, ControlLog};
use storage::disk::sim::SimDisk;
use storage::error::LogError;
use storage::offset::Offset;

use crate::machine::{Machine, NOW, SMALL, new_disk, segments, states, workload};

const NO_SNAPSHOTS: ControlConfig = ControlConfig {
    segment_bytes: 1500,
    snapshot_bytes: u64::MAX,
};

fn open(disk: &SimDisk) -> Result<ControlLog, ControlError> {
    let disk = Arc::new(disk.clone());
    ControlLog::open_with(disk, Path::new("/data"), SMALL, None, NOW).map(|(log, _)| log)
}

/// A log with its whole head, and a snapshot near its end.
fn with_snapshot() -> (SimDisk, Offset) {
    let disk = new_disk(5);
    let mut machine = Machine::start(Arc::new(disk.clone()), NO_SNAPSHOTS).unwrap();
    let changes = workload(40, 40);
    for change in &changes[..30] {
        machine.control.change_all(change, NOW).unwrap();
    }
    let start = machine.control.reader().log_end();
    machine.control.append_snapshot(NOW).unwrap();
    assert_eq!(machine.control.head_to_delete(), Some(start));
    for change in &changes[30..] {
        machine.control.change_all(change, NOW).unwrap();
    }
    (disk, start)
}

fn base_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn the_fold_from_a_snapshot_is_the_fold_from_the_beginning() {
    let changes = workload(40, 40);
    let expected = states(&changes).pop().unwrap();
    let (disk, start) = with_snapshot();
    assert_eq!(*open(&disk).unwrap().state(), expected);
    for path in segments(&disk) {
        if base_of(&path) < start.0 {
            disk.remove_file(&path).unwrap();
        }
    }
    assert_eq!(*open(&disk).unwrap().state(), expected);
}

#[test]
fn a_bit_flipped_anywhere_that_counts_refuses_the_log_and_nowhere_else() {
    let (disk, start) = with_snapshot();
    let expected = open(&disk).unwrap().state().clone();
    let paths = segments(&disk);
    let last = paths.len() - 1;
    let mut refused = 0;
    for (at, path) in paths.iter().enumerate() {
        let bytes = disk.read_file(path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        for byte in (0..used).step_by(41) {
            let damaged = disk.snapshot();
            damaged.flip_bit(path, byte * 8 + byte % 8).unwrap();
            match open(&damaged) {
                Ok(control) => {
                    let counts = base_of(path) >= start.0;
                    // The last batch was durable, but nothing in the log says so.
                    let is_tail = at == last && control.reader().log_end() < control_end(&disk);
                    assert!(!counts || is_tail, "{} at {byte}", path.display());
                    assert!(is_tail || *control.state() == expected);
                }
                Err(ControlError::Log(LogError::Corrupt { from, to, .. })) => {
                    refused += 1;
                    assert!(
                        base_of(path) >= start.0,
                        "{} at {byte}: {from} to {to}",
                        path.display()
                    );
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 10);
}

fn control_end(disk: &SimDisk) -> Offset {
    open(disk).unwrap().reader().log_end()
}

#[test]
fn a_log_without_its_head_and_without_a_snapshot_is_refused_with_the_range() {
    let disk = new_disk(5);
    let mut machine = Machine::start(Arc::new(disk.clone()), NO_SNAPSHOTS).unwrap();
    for change in &workload(30, 40) {
        machine.control.change_all(change, NOW).unwrap();
    }
    let paths = segments(&disk);
    disk.remove_file(&paths[0]).unwrap();
    let second = Offset(base_of(&paths[1]));
    match open(&disk) {
        Err(ControlError::Log(LogError::Corrupt { from, to, .. })) => {
            assert_eq!((from, to), (Offset::ZERO, second));
        }
        other => panic!("{other:?}"),
    }
}

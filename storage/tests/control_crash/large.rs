//! The largest changes there are, and snapshots of them.

use std::sync::Arc;

use storage::control::push::{PushEntry, Schedule};
use storage::control::{ControlConfig, Entry};
use storage::disk::sim::Survival;
use storage::limits::{CONTROL_SEGMENT_BYTES, RECORD_BYTES_CEILING, SCHEDULE_CONTENT_BYTES_MAX};

use crate::machine::{Machine, NOW, created, new_disk};

fn schedule(number: u64, body_bytes: u32) -> Entry {
    Entry::Push(PushEntry::ScheduleSet {
        id: format!("schedule-{number}"),
        schedule: Schedule {
            number,
            cron: "0 0 * * *".to_owned(),
            destination: "https://example.org".to_owned(),
            created: NOW,
            since: NOW,
            is_paused: false,
            queue: None,
            envelope: vec![1].into(),
            body: vec![7; body_bytes as usize].into(),
            caller_ip: None,
        },
    })
}

#[test]
fn schedules_that_fill_their_limits_survive_restarts_and_snapshots() {
    let disk = new_disk(3);
    let mut machine = Machine::start(Arc::new(disk.clone()), ControlConfig::default()).unwrap();
    machine.change(&[created("a", &[1])]).unwrap().unwrap();
    let largest = RECORD_BYTES_CEILING - 1;
    assert!(largest + 100 > CONTROL_SEGMENT_BYTES, "it fills a segment");
    let count = SCHEDULE_CONTENT_BYTES_MAX / u64::from(RECORD_BYTES_CEILING);
    for number in 0..count {
        machine
            .change(&[schedule(number, largest)])
            .unwrap()
            .unwrap();
        assert!(machine.control.snapshot_failure().is_none());
    }
    let state = machine.control.state().clone();
    assert_eq!(state.push().schedules().len() as u64, count);
    let disk = disk.reboot(Survival::Nothing);
    let mut machine = Machine::start(Arc::new(disk.clone()), ControlConfig::default()).unwrap();
    assert_eq!(*machine.control.state(), state);
    machine.control.append_snapshot(NOW).unwrap();
    machine.change(&[created("b", &[2])]).unwrap().unwrap();
    let state = machine.control.state().clone();
    let disk = disk.reboot(Survival::Nothing);
    let machine = Machine::start(Arc::new(disk), ControlConfig::default()).unwrap();
    assert_eq!(*machine.control.state(), state);
}

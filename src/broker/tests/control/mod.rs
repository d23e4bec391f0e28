//! What deliveries go by: changed, shown, and kept over power cuts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

mod flow_control;
mod queues;
mod schedules;
mod signing_keys;
mod url_groups;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use storage::control::push::FlowOverride;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::{SimDisk, Survival};
use storage::disk::{Disk, Site};
use storage::offset::TimestampMs;

use super::config_of;
use crate::broker::{Broker, OpenError};
use crate::clock::ManualClock;
use crate::metrics::Metrics;
use crate::names::{FlowKey, QueueName, ScheduleId, UrlGroupName};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::shutdown::Shutdown;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const PRODUCTION: Option<&str> = Some("a-token-of-my-own");
const DEVELOPMENT: Option<&str> = None;
/// No test waits longer: it is what makes a hang a failure.
const PATIENCE: Duration = Duration::from_secs(20);

fn try_open(
    disk: Arc<dyn Disk>,
    token: Option<&str>,
    clock: Arc<ManualClock>,
) -> Result<Arc<Broker>, OpenError> {
    let token = token.map(|token| ("token", token));
    open_with(disk, token.as_slice(), clock)
}

fn open_with(
    disk: Arc<dyn Disk>,
    more: &[(&str, &str)],
    clock: Arc<ManualClock>,
) -> Result<Arc<Broker>, OpenError> {
    let config = config_of(&[&[("storage.sync_threads", "1")], more].concat());
    let metrics = Arc::new(Metrics::new());
    Broker::open(&config, disk, clock, metrics, Shutdown::new())
}

/// A broker on a disk whose power can be cut, with a clock that stands.
struct Machine {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    token: Option<&'static str>,
    broker: Arc<Broker>,
}

impl Machine {
    fn new(token: Option<&'static str>) -> Self {
        let disk = SimDisk::new(7);
        disk.write_file(Path::new("/data/.made"), b"").unwrap();
        Self::on(disk, token, Arc::new(ManualClock::new(NOW)))
    }

    fn on(disk: SimDisk, token: Option<&'static str>, clock: Arc<ManualClock>) -> Self {
        let broker = try_open(Arc::new(disk.clone()), token, Arc::clone(&clock)).unwrap();
        Self {
            disk,
            clock,
            token,
            broker,
        }
    }

    /// Cuts the power and opens what a disk must have kept.
    fn restart(self) -> Self {
        let token = self.token;
        self.restart_as(token)
    }

    fn restart_as(self, token: Option<&'static str>) -> Self {
        let disk = self.disk.reboot(Survival::Nothing);
        drop(self.broker);
        Self::on(disk, token, self.clock)
    }

    /// Lets a second pass.
    fn tick(&self) -> TimestampMs {
        self.clock.advance(Duration::from_secs(1));
        self.broker.clock.now()
    }

    /// Checks that a call changes the disk or not.
    fn assert_writes<T>(&self, is_writing: bool, call: impl FnOnce(&Broker) -> T) -> T {
        let before = self.disk.op_count();
        let mut told = self.broker.subscribe_push_settings();
        let result = call(&self.broker);
        assert_eq!(self.disk.op_count() > before, is_writing, "disk");
        assert_eq!(told.has_changed().unwrap(), is_writing, "told");
        told.borrow_and_update();
        result
    }
}

fn queue_name(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn a_change_that_is_not_durable_is_shown_to_nobody() {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    let faulty = FaultDisk::new(Arc::new(disk));
    let clock = Arc::new(ManualClock::new(NOW));
    let broker = try_open(Arc::new(faulty.clone()), DEVELOPMENT, clock).unwrap();
    let told = broker.subscribe_push_settings();
    faulty.add(Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other)).at(Site::Append));
    let answer = broker.upsert_queue(&queue_name("mail"), None, None);
    assert_eq!(code(answer), ErrorCode::OutcomeUnknown);
    assert!(!told.has_changed().unwrap());
    assert!(broker.list_queues().is_empty());
}

#[test]
fn reading_does_not_wait_for_a_change_that_is_being_synced() {
    let machine = Machine::new(DEVELOPMENT);
    let mail = queue_name("mail");
    machine.broker.upsert_queue(&mail, None, None).unwrap();
    let (sender, done) = mpsc::channel();
    let broker = Arc::clone(&machine.broker);
    // The control log is busy until all is read.
    machine.broker.control.with(|_| {
        let reader = std::thread::spawn(move || {
            broker.queue(&queue_name("mail")).unwrap();
            broker
                .url_group(&UrlGroupName::parse("g").unwrap())
                .unwrap_err();
            broker
                .schedule(&ScheduleId::parse("s").unwrap())
                .unwrap_err();
            let flow = broker.flow_override(&FlowKey::parse("k").unwrap());
            assert_eq!(flow, FlowOverride::default());
            let counts = (
                broker.list_queues().len(),
                broker.list_url_groups().len(),
                broker.list_schedules().len(),
                broker.list_flow_overrides().len(),
            );
            drop(broker.signing_keys());
            sender.send(counts).unwrap();
        });
        assert_eq!(done.recv_timeout(PATIENCE), Ok((1, 0, 0, 0)));
        reader.join().unwrap();
    });
}

//! What deliveries go by: changed, shown, and kept over power cuts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use storage::control::push::{Endpoint, FlowOverride, Queue, SigningKeys};
use storage::delivery::Envelope;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::{SimDisk, Survival};
use storage::disk::{Disk, Site};
use storage::offset::TimestampMs;

use super::{Broker, EndpointMatch, FlowPin, FlowUnpin, NewSchedule, OpenError};
use crate::clock::ManualClock;
use crate::config::{FlagValue, ServeConfig, Settings, development};
use crate::delivery::api::{Publication, Target};
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
    let mut flags = vec![
        ("data_dir", "/data"),
        ("storage.min_free_bytes", "0"),
        ("storage.sync_threads", "1"),
    ];
    flags.extend(more);
    let flags: Vec<_> = flags
        .into_iter()
        .map(|(key, value)| FlagValue {
            flag: format!("--{key}"),
            key: key.to_owned(),
            value: value.to_owned(),
        })
        .collect();
    let settings = Settings::resolve(None, [], &flags).unwrap();
    let config = ServeConfig::from_settings(&settings).unwrap();
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
        disk.write_file(Path::new("/data/made"), b"").unwrap();
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

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> ErrorCode {
    result.unwrap_err().code
}

fn queue_name(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

#[test]
fn queues_are_changed_in_what_is_given_and_kept() {
    let machine = Machine::new(DEVELOPMENT);
    let mail = queue_name("mail");
    let made = machine.assert_writes(true, |b| b.upsert_queue(&mail, None, None).unwrap());
    let expected = Queue {
        parallelism: 1,
        is_paused: false,
        created: NOW,
        updated: NOW,
    };
    assert_eq!(made, expected);
    let later = machine.tick();
    let same = machine.assert_writes(false, |b| b.upsert_queue(&mail, Some(1), None).unwrap());
    assert_eq!(same, expected);
    machine.assert_writes(true, |b| b.pause_queue(&mail, true).unwrap());
    machine.assert_writes(false, |b| b.pause_queue(&mail, true).unwrap());
    let changed = machine.assert_writes(true, |b| b.upsert_queue(&mail, Some(5), None).unwrap());
    let expected = Queue {
        parallelism: 5,
        is_paused: true,
        created: NOW,
        updated: later,
    };
    assert_eq!(changed, expected);
    machine
        .broker
        .upsert_queue(&queue_name("bulk"), Some(2), Some(true))
        .unwrap();

    let machine = machine.restart();
    let broker = &machine.broker;
    assert_eq!(broker.queue(&mail), Ok(expected));
    let names: Vec<_> = broker.list_queues().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["bulk", "mail"]);
    assert!(!broker.pause_queue(&mail, false).unwrap().is_paused);
    broker.delete_queue(&mail).unwrap();
    let machine = machine.restart();
    assert_eq!(machine.broker.list_queues().len(), 1);
    assert_eq!(code(machine.broker.queue(&mail)), ErrorCode::NotFound);
}

#[test]
fn the_settings_of_pushed_messages_follow_the_configuration_but_for_the_partitions() {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/made"), b"").unwrap();
    let clock = || Arc::new(ManualClock::new(NOW));
    let first = [
        ("delivery.partitions", "3"),
        ("delivery.retention_ms", "2h"),
    ];
    drop(open_with(Arc::new(disk.clone()), &first, clock()).unwrap());
    let disk = disk.reboot(Survival::Nothing);
    let then = [
        ("delivery.partitions", "5"),
        ("delivery.retention_ms", "3h"),
    ];
    for more in [&then[..], &[]] {
        let broker = open_with(Arc::new(disk.clone()), more, clock()).unwrap();
        let topic = broker.topic("_push").unwrap();
        let kept = topic.settings().retention_ms;
        let expected = if more.is_empty() { 72 } else { 3 } * 3_600_000;
        assert_eq!((topic.partitions().len(), kept), (3, Some(expected)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_that_holds_messages_is_not_deleted() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let mail = queue_name("mail");
    broker.upsert_queue(&mail, None, Some(true)).unwrap();
    let publication = Publication {
        envelope: Envelope {
            url: "http://127.0.0.1:1/".to_owned(),
            method: "POST".to_owned(),
            queue: Some("mail".to_owned()),
            ..Envelope::default()
        },
        body: Bytes::from_static(b"body"),
        target: Target::Url,
        created_at: NOW,
    };
    broker
        .publish(vec![publication])
        .await
        .pop()
        .unwrap()
        .unwrap();
    let refused = broker.delete_queue(&mail).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidSettings);
    assert!(refused.message.contains("holds 1 messages"), "{refused:?}");
    broker.pause_queue(&mail, false).unwrap();
    broker.delete_queue(&mail).unwrap();
}

#[test]
fn queues_that_are_not_there_or_too_wide_are_refused() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let no = queue_name("no");
    assert_eq!(code(broker.queue(&no)), ErrorCode::NotFound);
    assert_eq!(code(broker.pause_queue(&no, true)), ErrorCode::NotFound);
    assert_eq!(code(broker.delete_queue(&no)), ErrorCode::NotFound);
    for parallelism in [0, 1_001] {
        let refused = broker.upsert_queue(&no, Some(parallelism), None);
        assert_eq!(code(refused), ErrorCode::InvalidSettings);
    }
    assert!(broker.list_queues().is_empty());
}

fn endpoint(name: &str, url: &str) -> Endpoint {
    Endpoint {
        name: (!name.is_empty()).then(|| name.to_owned()),
        url: url.to_owned(),
    }
}

fn matching(name: Option<&str>, url: Option<&str>) -> EndpointMatch {
    EndpointMatch {
        name: name.map(str::to_owned),
        url: url.map(str::to_owned),
    }
}

#[test]
fn url_groups_are_there_while_they_have_endpoints() {
    let machine = Machine::new(DEVELOPMENT);
    let shops = UrlGroupName::parse("shops").unwrap();
    let first = [endpoint("a", "u1"), endpoint("", "u2")];
    machine.assert_writes(true, |b| b.add_endpoints(&shops, &first).unwrap());
    machine.assert_writes(false, |b| b.add_endpoints(&shops, &first).unwrap());
    let later = machine.tick();
    let more = [endpoint("a", "u3"), endpoint("c", "u4")];
    machine.assert_writes(true, |b| b.add_endpoints(&shops, &more).unwrap());

    let machine = machine.restart();
    let group = machine.broker.url_group(&shops).unwrap();
    assert_eq!((group.created, group.updated), (NOW, later));
    let all = [endpoint("a", "u3"), endpoint("", "u2"), endpoint("c", "u4")];
    assert_eq!(group.endpoints, all);
    assert_eq!(machine.broker.list_url_groups().len(), 1);

    let removed = [
        matching(None, Some("u2")),
        matching(Some("c"), Some("u3")),
        matching(Some("nobody"), None),
    ];
    let left = machine.assert_writes(true, |b| b.remove_endpoints(&shops, &removed).unwrap());
    let left = left.unwrap();
    assert_eq!(left.endpoints, [all[0].clone(), all[2].clone()]);
    machine.assert_writes(false, |b| b.remove_endpoints(&shops, &removed).unwrap());
    let rest = [matching(Some("a"), None), matching(None, Some("u4"))];
    assert_eq!(machine.broker.remove_endpoints(&shops, &rest), Ok(None));
    assert_eq!(code(machine.broker.url_group(&shops)), ErrorCode::NotFound);

    machine.broker.add_endpoints(&shops, &first).unwrap();
    machine.broker.delete_url_group(&shops).unwrap();
    let machine = machine.restart();
    assert_eq!(machine.broker.list_url_groups().len(), 0);
}

#[test]
fn endpoints_that_a_group_cannot_have_are_refused() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let shops = UrlGroupName::parse("shops").unwrap();
    let no = [matching(Some("a"), None)];
    assert_eq!(
        code(broker.remove_endpoints(&shops, &no)),
        ErrorCode::NotFound
    );
    assert_eq!(code(broker.delete_url_group(&shops)), ErrorCode::NotFound);
    let urls: Vec<_> = (0..101).map(|at| endpoint("", &format!("u{at}"))).collect();
    for refused in [
        &urls[..],
        &[],
        &[endpoint("", "")],
        &[endpoint("", &"u".repeat(8193))],
    ] {
        let answer = broker.add_endpoints(&shops, refused);
        assert_eq!(code(answer), ErrorCode::InvalidSettings);
    }
    broker.add_endpoints(&shops, &urls[..100]).unwrap();
    let one_more = broker.add_endpoints(&shops, &urls[100..]);
    assert_eq!(code(one_more), ErrorCode::InvalidSettings);
    for refused in [&[][..], &[EndpointMatch::default()]] {
        let answer = broker.remove_endpoints(&shops, refused);
        assert_eq!(code(answer), ErrorCode::InvalidSettings);
    }
    assert_eq!(broker.url_group(&shops).unwrap().endpoints.len(), 100);
}

fn new_schedule(id: Option<&str>, body: &'static [u8]) -> NewSchedule {
    NewSchedule {
        id: id.map(|id| ScheduleId::parse(id).unwrap()),
        cron: "0 0 * * *".to_owned(),
        destination: "https://example.org".to_owned(),
        queue: Some(queue_name("mail")),
        envelope: Envelope {
            url: "https://not.kept".to_owned(),
            method: "PUT".to_owned(),
            retries: 3,
            ..Envelope::default()
        },
        body: Bytes::from_static(body),
        caller_ip: Some("127.0.0.1".to_owned()),
    }
}

#[test]
fn a_schedule_keeps_its_number_and_its_pause_when_it_is_overwritten() {
    let machine = Machine::new(DEVELOPMENT);
    let nightly = ScheduleId::parse("nightly").unwrap();
    let broker = &machine.broker;
    let (id, first) = broker
        .set_schedule(new_schedule(Some("nightly"), b"1"))
        .unwrap();
    assert_eq!((id.as_str(), first.number), ("nightly", 0));
    let envelope = Envelope::decode(&first.envelope).unwrap();
    assert_eq!(
        (envelope.url.as_str(), envelope.method.as_str()),
        ("", "PUT")
    );
    let (other, second) = broker.set_schedule(new_schedule(None, b"2")).unwrap();
    assert_eq!(second.number, 1);
    assert!(other.starts_with("scd_") && other.len() == 32, "{other}");
    machine.assert_writes(true, |b| b.pause_schedule(&nightly, true).unwrap());
    machine.assert_writes(false, |b| b.pause_schedule(&nightly, true).unwrap());
    let later = machine.tick();
    let overwriting = new_schedule(Some("nightly"), b"3");
    machine.broker.set_schedule(overwriting).unwrap();

    let machine = machine.restart();
    let broker = &machine.broker;
    let schedule = broker.schedule(&nightly).unwrap();
    assert_eq!((schedule.number, &schedule.body[..]), (0, &b"3"[..]));
    assert_eq!((schedule.created, schedule.since), (NOW, later));
    assert!(schedule.is_paused);
    assert_eq!(schedule.queue.as_deref(), Some("mail"));
    let resumed = machine.tick();
    broker.pause_schedule(&nightly, false).unwrap();
    assert_eq!(broker.schedule(&nightly).unwrap().since, resumed);
    assert_eq!(broker.list_schedules().len(), 2);

    broker.delete_schedule(&nightly).unwrap();
    let (_, again) = broker
        .set_schedule(new_schedule(Some("nightly"), b"4"))
        .unwrap();
    assert_eq!(again.number, 2, "a number is never used again");
    let machine = machine.restart();
    assert_eq!(*machine.broker.schedule(&nightly).unwrap(), *again);
}

#[test]
fn schedules_that_are_not_there_or_too_much_are_refused() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let no = ScheduleId::parse("no").unwrap();
    assert_eq!(code(broker.schedule(&no)), ErrorCode::NotFound);
    assert_eq!(code(broker.pause_schedule(&no, true)), ErrorCode::NotFound);
    assert_eq!(code(broker.delete_schedule(&no)), ErrorCode::NotFound);
    let with_body = |bytes: usize| NewSchedule {
        body: vec![7; bytes].into(),
        ..new_schedule(None, b"")
    };
    let answer = broker.set_schedule(with_body((16 << 20) + 1));
    assert_eq!(code(answer), ErrorCode::InvalidSettings);
    for _ in 0..4 {
        broker.set_schedule(with_body(15 << 20)).unwrap();
    }
    let answer = broker.set_schedule(with_body(15 << 20));
    assert_eq!(code(answer), ErrorCode::LimitExceeded);
    let long = NewSchedule {
        cron: "*".repeat(513),
        ..new_schedule(None, b"")
    };
    assert_eq!(code(broker.set_schedule(long)), ErrorCode::InvalidSettings);
    assert_eq!(broker.list_schedules().len(), 4);
}

fn pin(parallelism: Option<u32>, rate: Option<u32>, period_ms: Option<u64>) -> FlowPin {
    FlowPin {
        parallelism,
        rate,
        period_ms,
    }
}

#[test]
fn pins_that_fix_nothing_or_no_possible_limit_are_refused() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let other = FlowKey::parse("other").unwrap();
    for refused in [
        pin(None, None, None),
        pin(Some(0), None, None),
        pin(None, Some(0), None),
        pin(None, Some(1), Some(0)),
        pin(None, None, Some(1_000)),
    ] {
        let answer = broker.pin_flow_key(&other, refused);
        assert_eq!(code(answer), ErrorCode::InvalidSettings, "{refused:?}");
    }
    assert_eq!(broker.flow_override(&other), FlowOverride::default());
}

#[test]
fn flow_control_keys_are_kept_while_something_is_decided_about_them() {
    let machine = Machine::new(DEVELOPMENT);
    let tenant = FlowKey::parse("tenant 1/caf\u{e9}").unwrap();
    let pinned = |is_paused, parallelism, rate, period_ms| FlowOverride {
        is_paused,
        parallelism,
        rate,
        period_ms,
    };
    machine.assert_writes(true, |b| b.pause_flow_key(&tenant, true).unwrap());
    machine.assert_writes(false, |b| b.pause_flow_key(&tenant, true).unwrap());
    let broker = &machine.broker;
    for (given, after) in [
        (pin(Some(5), None, None), pinned(true, Some(5), None, None)),
        (
            pin(None, Some(10), Some(60_000)),
            pinned(true, Some(5), Some(10), Some(60_000)),
        ),
        (
            pin(Some(6), None, None),
            pinned(true, Some(6), Some(10), Some(60_000)),
        ),
        (
            pin(None, None, Some(2_000)),
            pinned(true, Some(6), Some(10), Some(2_000)),
        ),
        (
            pin(None, Some(3), None),
            pinned(true, Some(6), Some(3), None),
        ),
        (
            pin(None, Some(3), Some(500)),
            pinned(true, Some(6), Some(3), Some(500)),
        ),
    ] {
        assert_eq!(broker.pin_flow_key(&tenant, given), Ok(after), "{given:?}");
    }
    let machine = machine.restart();
    let kept = pinned(true, Some(6), Some(3), Some(500));
    assert_eq!(machine.broker.flow_override(&tenant), kept);
    let unpin = |parallelism, rate| FlowUnpin { parallelism, rate };
    machine.assert_writes(false, |b| {
        b.unpin_flow_key(&tenant, unpin(false, false)).unwrap()
    });
    let left = machine.broker.unpin_flow_key(&tenant, unpin(false, true));
    assert_eq!(left, Ok(pinned(true, Some(6), None, None)));
    let left = machine.broker.unpin_flow_key(&tenant, unpin(true, false));
    assert_eq!(left, Ok(pinned(true, None, None, None)));
    assert_eq!(machine.broker.list_flow_overrides().len(), 1);
    machine.broker.pause_flow_key(&tenant, false).unwrap();
    let machine = machine.restart();
    assert!(machine.broker.list_flow_overrides().is_empty());
}

fn texts(keys: &SigningKeys) -> (String, String) {
    let text = |key: &storage::control::push::SigningKey| key.expose().to_owned();
    (text(&keys.current), text(&keys.next))
}

#[test]
fn signing_keys_are_made_once_and_rotated_for_good() {
    let machine = Machine::new(PRODUCTION);
    let (current, next) = texts(&machine.broker.signing_keys());
    for key in [&current, &next] {
        let random = key.strip_prefix("sig_").unwrap();
        assert!(random.len() == 28 && random.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
    assert_ne!(current, next);
    let machine = machine.restart();
    assert_eq!(
        texts(&machine.broker.signing_keys()),
        (current, next.clone())
    );
    let rotated = machine.assert_writes(true, |b| b.rotate_signing_keys().unwrap());
    assert_eq!(rotated, machine.broker.signing_keys());
    let (current, fresh) = texts(&rotated);
    assert_eq!(current, next);
    assert_ne!(fresh, next);
    let machine = machine.restart();
    assert_eq!(machine.broker.signing_keys(), rotated);
    let elsewhere = Machine::new(PRODUCTION);
    assert_ne!(elsewhere.broker.signing_keys(), rotated);
}

#[test]
fn development_keys_are_the_known_ones_at_every_start_and_leave_the_stored_ones_alone() {
    let known = (
        development::CURRENT_SIGNING_KEY.to_owned(),
        development::NEXT_SIGNING_KEY.to_owned(),
    );
    let machine = Machine::new(PRODUCTION);
    let stored = machine.broker.signing_keys();
    let machine = machine.restart_as(DEVELOPMENT);
    assert_eq!(texts(&machine.broker.signing_keys()), known);

    let before = machine.disk.op_count();
    let told = machine.broker.subscribe_push_settings();
    let rotated = machine.broker.rotate_signing_keys().unwrap();
    assert!(told.has_changed().unwrap());
    assert_eq!(machine.disk.op_count(), before, "it is in memory only");
    assert_eq!(rotated.current.expose(), known.1);
    assert_ne!(rotated.next.expose(), known.0);
    // A change of something else leaves it in force.
    let mail = queue_name("mail");
    machine.broker.upsert_queue(&mail, None, None).unwrap();
    assert_eq!(machine.broker.signing_keys(), rotated);

    let machine = machine.restart();
    assert_eq!(texts(&machine.broker.signing_keys()), known);
    let machine = machine.restart_as(PRODUCTION);
    assert_eq!(machine.broker.signing_keys(), stored);
}

#[test]
fn a_first_start_that_cannot_store_its_signing_keys_is_no_start() {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/made"), b"").unwrap();
    let faulty = FaultDisk::new(Arc::new(disk.clone()));
    faulty.add(Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other)).at(Site::Append));
    let clock = Arc::new(ManualClock::new(NOW));
    let opened = try_open(Arc::new(faulty), PRODUCTION, Arc::clone(&clock));
    assert!(matches!(opened, Err(OpenError::Control(_))), "{opened:?}");
    try_open(Arc::new(disk), PRODUCTION, clock).unwrap();
}

#[test]
fn no_debug_output_has_a_signing_key() {
    let machine = Machine::new(PRODUCTION);
    let broker = &machine.broker;
    let (current, next) = texts(&broker.signing_keys());
    let told = broker.subscribe_push_settings();
    let text = format!(
        "{broker:?} {told:?} {:?} {:?}",
        broker.push_settings(),
        broker.rotate_signing_keys()
    );
    assert!(!text.contains(&current) && !text.contains(&next));
    assert!(text.contains("SigningKey(..)"));
}

#[test]
fn a_change_that_is_not_durable_is_shown_to_nobody() {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/made"), b"").unwrap();
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

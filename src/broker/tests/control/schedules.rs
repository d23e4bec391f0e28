//! Schedules.

use bytes::Bytes;
use storage::delivery::Envelope;

use super::{DEVELOPMENT, Machine, NOW, code, queue_name};
use crate::broker::NewSchedule;
use crate::names::ScheduleId;
use crate::protocol::error_code::ErrorCode;

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

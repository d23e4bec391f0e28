//! Queues, and the settings of pushed messages.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use storage::control::push::Queue;
use storage::delivery::Envelope;
use storage::disk::sim::{SimDisk, Survival};

use super::{DEVELOPMENT, Machine, NOW, code, open_with, queue_name};
use crate::clock::ManualClock;
use crate::delivery::api::{Publication, Target};
use crate::protocol::error_code::ErrorCode;

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
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
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

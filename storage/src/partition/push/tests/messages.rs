//! Messages that are appended, admitted when they are durable, and read back.

use super::*;
use crate::error::LogError;

#[test]
fn a_message_is_the_engines_when_it_is_durable_and_not_before() {
    let mut partition = open(&SimDisk::new(1));
    partition.append_messages(&[new_message(0)], NOW).unwrap();
    assert_eq!(partition.admit_durable(), 0);
    assert_eq!(partition.delivery().unwrap().counts().accepted, 0);
    assert_eq!(partition.take_due(TimestampMs(2_000), 9), []);
    let task = partition.main_mut().begin_sync();
    task.unwrap().run().unwrap();
    assert_eq!(partition.take_due(NOW, 9), [], "it is not due");
    assert_eq!(partition.take_due(TimestampMs(1_001), 9), [Offset(0)]);
    let nothing = partition.append_messages(&[], NOW);
    assert!(
        matches!(nothing, Err(LogError::BatchTooLarge { .. })),
        "{nothing:?}"
    );
}

#[test]
fn messages_come_in_the_order_in_which_they_were_asked_for() {
    let partition = with_messages(5);
    let reader = partition.push_reader();
    let places: Vec<_> = [3, 0, 7, 3, 4].map(|at| (Offset(at), None)).to_vec();
    let read = reader.look_at(&places, |message| {
        (message.body.clone(), message.envelope.url.clone())
    });
    let found: Vec<_> = read
        .into_iter()
        .map(|(at, message)| (at.0, message.ok()))
        .collect();
    let body = |at: u64| {
        let body = Bytes::from(format!("body {at}"));
        Some((body, format!("http://host/{at}")))
    };
    let expected = [
        (3, body(3)),
        (0, body(0)),
        (7, None),
        (3, body(3)),
        (4, body(4)),
    ];
    assert_eq!(found, expected);
    let missing = reader.message(Offset(7), Some(Offset(0)));
    assert!(
        matches!(missing, Err(LogError::OffsetOutOfRange { .. })),
        "{missing:?}"
    );
}

#[test]
fn a_record_without_an_envelope_is_no_message() {
    let mut partition = open(&SimDisk::new(1));
    let mut builder = crate::batch::BatchBuilder::new(crate::batch::Codec::None);
    let record = crate::batch::NewRecord {
        value: Some(b"plain"),
        ..crate::batch::NewRecord::default()
    };
    builder.push(&record).unwrap();
    let mut batch = builder
        .build(crate::batch::BuildOptions::default())
        .unwrap();
    let header = crate::batch::BatchHeader::decode(&batch).unwrap();
    partition.append(&header, &mut batch, NOW).unwrap();
    partition.append_messages(&[new_message(1)], NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    let state = partition.delivery().unwrap();
    assert_eq!(state.admitted_up_to(), Offset(2));
    assert_eq!(state.counts().accepted, 1);
    let read = partition.push_reader().message(Offset(0), None);
    assert!(matches!(read, Err(LogError::Corrupt { .. })), "{read:?}");
}

#[test]
fn a_topic_that_is_not_pushed_takes_no_messages() {
    let disk = SimDisk::new(1);
    disk.write_file(std::path::Path::new("/data/.made"), b"")
        .unwrap();
    let place = PartitionPlace {
        disk: Arc::new(disk),
        root: "/data".into(),
        number: NUMBER,
    };
    let (config, hints) = (PartitionConfig::default(), PartitionHints::default());
    let (mut partition, _) = Partition::open(&place, config, &hints, NOW).unwrap();
    assert!(partition.append_messages(&[new_message(0)], NOW).is_err());
    assert!(partition.append_entries(&[], NOW).is_err());
    assert!(partition.delivery().is_none() && partition.delivery_damage().is_none());
    assert_eq!(partition.push_reader().entries(Offset(0), 9).unwrap(), []);
}

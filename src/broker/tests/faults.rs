//! Failing disks: what is told, counted, and kept from being believed.

use super::*;
use crate::protocol::produce::Acks;

#[test]
fn a_failed_sync_of_any_log_is_told_and_counted() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    assert!(broker.health().problems.is_empty());
    append(&partition).unwrap();
    let fail = || disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    fail();
    sync_all(&partition, LogKind::Main).unwrap_err();
    fail();
    create(&broker, "u").unwrap_err();
    broker.measure();
    let text = broker.metrics.encode();
    for line in ["redrive_sync_failures_total 2", "redrive_poisoned_logs 2"] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("redrive_write_seconds_count 0"), "{text}");
    let problems = broker.health().problems;
    let cause = PoisonCause::SyncFailed;
    let expected = [
        format!("partition 0 of topic t (number 9) takes no appends: {cause} (cannot sync /"),
        format!("the control log takes no changes: {cause} (cannot sync /"),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (said, expected) in problems.iter().zip(&expected) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_dead_letter_log_whose_sync_failed_is_told_and_counted() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    append(&partition).unwrap();
    sync_all(&partition, LogKind::Main).unwrap();
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    bounded(broker.reject(rejection(0))).await.unwrap_err();
    broker.measure();
    assert!(broker.metrics.encode().contains("redrive_poisoned_logs 1"));
    let problems = broker.health().problems;
    let cause = PoisonCause::SyncFailed;
    let expected =
        format!("partition 0 of topic t (number 9) takes no dead letters: {cause} (cannot sync /");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with(&expected), "{problems:?}");
}

#[test]
fn what_comes_to_be_wrong_with_a_partition_is_told_once() {
    let (broker, disk) = open();
    let mut upkeep = Upkeep::new(Arc::clone(&broker));
    upkeep.round();
    assert_eq!(upkeep.told(), [""; 0]);
    let partition = partition(&broker);
    append(&partition).unwrap();
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    sync_all(&partition, LogKind::Main).unwrap_err();
    for _ in 0..2 {
        upkeep.round();
        assert_eq!(upkeep.told(), broker.health().problems);
        assert_eq!(upkeep.told().len(), 1);
    }
    // One that begins later has told nothing yet: a log that is read while a broker starts may be found damaged then.
    let mut later = Upkeep::new(broker);
    assert_eq!(later.told(), [""; 0]);
    later.round();
    assert_eq!(later.told().len(), 1);
}

#[tokio::test]
async fn a_sync_that_fails_in_upkeep_is_told_to_waiting_producers() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    let end = append(&partition).unwrap();
    let mut waiting = Box::pin(partition.wait_durable(end));
    waits(&mut waiting).await;
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    sync_all(&partition, LogKind::Main).unwrap_err();
    bounded(waiting).await.unwrap_err();
}

#[tokio::test]
async fn a_failed_write_does_not_disown_the_batch_before_it() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    let end = append(&partition).unwrap();
    disk.add(Rule::new(OpClass::Write, FAIL));
    assert_eq!(append(&partition), None);
    let mut waiting = Box::pin(partition.wait_durable(end));
    waits(&mut waiting).await;
    partition.schedule_sync(LogKind::Main);
    bounded(waiting).await.unwrap();
}

#[test]
fn a_control_log_whose_sync_failed_gets_no_checkpoint_of_what_is_not_durable() {
    let (broker, disk) = open();
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    assert_eq!(
        create(&broker, "t").unwrap_err().code,
        ErrorCode::OutcomeUnknown
    );
    broker.store_checkpoints().unwrap();
    let durable = broker.control.with(|log| log.reader().durable_end());
    let checkpoints = broker.checkpoints.lock();
    let stored = checkpoints.get(LogId::CONTROL);
    assert!(
        stored.is_none_or(|entry| entry.durable_end <= durable),
        "{stored:?} claims more than {durable:?}"
    );
}

#[tokio::test]
async fn a_disk_without_space_is_told_while_appends_are_refused() {
    let clock = Arc::new(ManualClock::new(NOW));
    let (broker, disk) = open_at(Arc::clone(&clock));
    create(&broker, "t").unwrap();
    let append = async || {
        let mut batch = batch_of(&[7; 200]);
        let appended = broker.append("t", 0, &mut batch, Acks::TopicDefault, true);
        bounded(appended).await.map(drop)
    };
    let full = Effect::Fail(ErrorKind::StorageFull);
    disk.add(Rule::new(OpClass::Allocate, full).forever());
    let refusal = append().await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::StorageFull);
    let problems = broker.health().problems;
    let expected = "appends are refused for want of space: cannot ";
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with(expected), "{problems:?}");
    // The disk says that there is room, and nobody has found it.
    broker.measure_space();
    assert_eq!(broker.health().problems, problems);
    disk.heal();
    append().await.unwrap();
    broker.measure_space();
    assert_eq!(broker.health().problems, [""; 0]);
    disk.add(Rule::new(OpClass::Allocate, full).forever());
    let mut batch = batch_of(&vec![7; 300 << 10]);
    let refused = broker.append("t", 0, &mut batch, Acks::TopicDefault, true);
    bounded(refused).await.unwrap_err();
    assert_eq!(broker.health().problems.len(), 1);
    // A producer that waits would have asked again by then.
    clock.advance(Duration::from_secs(30));
    assert_eq!(broker.health().problems, [""; 0]);
}

#[tokio::test]
async fn a_disk_that_has_space_again_is_not_told_to_be_full() {
    let sim = SimDisk::new(7);
    sim.write_file(Path::new("/data/.made"), b"").unwrap();
    let broker = Broker::open(
        &config_of(&[("storage.sync_threads", "2")]),
        Arc::new(sim.clone()),
        Arc::new(ManualClock::new(NOW)),
        Arc::new(Metrics::new()),
        Shutdown::new(),
    )
    .unwrap();
    create(&broker, "t").unwrap();
    let append = async |bytes| {
        let mut batch = batch_of(&vec![7; bytes]);
        let appended = broker.append("t", 0, &mut batch, Acks::TopicDefault, true);
        bounded(appended).await.map(drop)
    };
    let leave = |bytes| {
        sim.set_capacity_bytes(Some(u64::MAX));
        let used = u64::MAX - sim.free_bytes(Path::new("/data")).unwrap();
        sim.set_capacity_bytes(Some(used + bytes));
    };
    leave(100 << 10);
    append(200 << 10).await.unwrap_err();
    append(10 << 10).await.unwrap();
    broker.measure_space();
    let problems = broker.health().problems;
    assert_eq!(problems.len(), 1, "others found less: {problems:?}");
    leave(400 << 10);
    broker.measure_space();
    assert_eq!(broker.health().problems, [""; 0]);
}

//! Committed offsets: nothing below one is lost, and none outlives its topic.

use super::*;

fn written_partition(broker: &Broker) -> Arc<PartitionHandle> {
    let request = CreateTopicRequest {
        name: "t".to_owned(),
        partition_count: 1,
        durability: Durability::Written,
        change: SettingsChange::default(),
    };
    broker.create_topic(&request).unwrap();
    broker.topic("t").unwrap().partition(0).unwrap()
}

fn commit(group: &str, offset: u64) -> CommitOffsetsRequest {
    CommitOffsetsRequest {
        group: group.to_owned(),
        offsets: vec![CommittedOffset {
            topic: "t".to_owned(),
            partition: 0,
            offset: Offset(offset),
            metadata: String::new(),
        }],
    }
}

/// A power cut must not take what lies below a committed offset: its offsets would be given to records that the group passes over.
#[tokio::test]
async fn a_commit_on_a_written_topic_waits_for_what_lies_below_it() {
    let (broker, disk) = open();
    let partition = written_partition(&broker);
    append(&partition).unwrap();
    append(&partition).unwrap();
    assert_eq!(partition.reader().durable_end(), Offset(0));
    bounded(broker.commit_offsets(&commit("g", 1)))
        .await
        .unwrap();
    assert!(partition.reader().durable_end() >= Offset(1));
    append(&partition).unwrap();
    let fail = Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other));
    disk.add(fail.on(".log"));
    let refused = bounded(broker.commit_offsets(&commit("g", 3))).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::OutcomeUnknown);
    assert_eq!(
        partition.reader().poison(),
        Some(PoisonCause::SyncFailed),
        "it was the main log's sync"
    );
    let stored = broker.control.look(|state| {
        let group = state.group("g").unwrap();
        group.get(&partition.number()).unwrap().offset
    });
    assert_eq!(stored, Offset(1));
}

#[test]
fn a_commit_is_refused_when_its_topic_goes_while_it_waits() {
    refused_when_the_topic_goes(&|broker| drop(broker.topics.write().remove("t")));
}

#[test]
fn a_commit_is_refused_when_another_topic_gets_the_name_while_it_waits() {
    refused_when_the_topic_goes(&|broker| {
        create(broker, "u").unwrap();
        let other = broker.topic("u").unwrap();
        *broker.topics.write().get_mut("t").unwrap() = other;
    });
}

fn refused_when_the_topic_goes(go: &dyn Fn(&Broker)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (broker, _disk) = open();
    let partition = written_partition(&broker);
    append(&partition).unwrap();
    // The sync stops here until the test lets go.
    let owner = partition.owner().lock();
    let request = commit("g", 1);
    let mut call = Box::pin(broker.commit_offsets(&request));
    runtime.block_on(waits(&mut call));
    go(&broker);
    drop(owner);
    let refused = runtime.block_on(bounded(call));
    assert_eq!(refused.unwrap_err().code, ErrorCode::UnknownTopic);
    assert!(broker.control.look(|state| state.group("g").is_none()));
}

#[tokio::test]
async fn commits_hold_one_thread_of_the_pool_however_many_there_are() {
    let (broker, _disk) = open();
    partition(&broker);
    let mut calls: Vec<_> = (0..8)
        .map(|at| {
            let request = commit(&format!("g{at}"), 0);
            let broker = Arc::clone(&broker);
            Box::pin(async move { broker.commit_offsets(&request).await })
        })
        .collect();
    let (sender, done) = mpsc::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let (is_held, locked) = mpsc::channel();
    let holder = {
        let broker = Arc::clone(&broker);
        std::thread::spawn(move || {
            broker.control.with(|_| {
                is_held.send(()).unwrap();
                held.recv().unwrap();
            });
        })
    };
    locked.recv().unwrap();
    for call in &mut calls {
        waits(call).await;
    }
    broker.pool.submit(move || sender.send(()).unwrap());
    let ran = done.recv_timeout(PATIENCE);
    let_go.send(()).unwrap();
    holder.join().unwrap();
    assert_eq!(ran, Ok(()), "a sync waits behind the commits");
    for call in calls {
        bounded(call).await.unwrap();
    }
}

#[tokio::test]
async fn more_offsets_or_topics_than_a_request_may_name_are_refused() {
    let (broker, _disk) = open();
    partition(&broker);
    let mut request = commit("g", 0);
    let one = request.offsets.remove(0);
    for (count, is_taken) in [(1_024, true), (1_025, false)] {
        request.offsets = vec![one.clone(); count];
        let result = bounded(broker.commit_offsets(&request)).await;
        assert_eq!(result.is_ok(), is_taken, "{result:?}");
        if let Err(refusal) = result {
            assert_eq!(refusal.code, ErrorCode::LimitExceeded);
            assert!(refusal.message.contains("1025") && refusal.message.contains("1024"));
        }
    }
    // However often a topic is named, its offsets come once.
    for (count, is_taken) in [(10_000, true), (10_001, false)] {
        let mut topics = vec!["u".to_owned(); count - 2];
        topics.extend(["t".to_owned(), "t".to_owned()]);
        let group = "g".to_owned();
        let topics = Some(topics);
        let result = broker.fetch_offsets(&FetchOffsetsRequest { group, topics });
        match result {
            Ok(answer) => assert!(is_taken && answer.offsets == [one.clone()]),
            Err(refusal) => {
                assert!(!is_taken, "{refusal}");
                assert_eq!(refusal.code, ErrorCode::LimitExceeded);
            }
        }
    }
}

//! Topics that are created, changed and deleted while the disk fails.

use super::*;
use crate::protocol::delete_topic::DeleteTopicRequest;

const CONTROL_LOG: &str = "control/00000000000000000000.log";

#[test]
fn the_brokers_own_topic_is_not_altered_by_others() {
    let (broker, _disk) = open();
    let before = broker.topic("_push").unwrap().partitions().len();
    let request = AlterTopicRequest {
        name: "_push".to_owned(),
        partition_count: Some(20),
        change: SettingsChange::default(),
    };
    let refused = broker.alter_topic(&request).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReservedTopic);
    assert_eq!(broker.topic("_push").unwrap().partitions().len(), before);
}

#[test]
fn a_topic_whose_partitions_could_not_be_opened_can_be_created_again() {
    let (broker, disk) = open();
    disk.add(Rule::new(OpClass::CreateDir, FAIL));
    create(&broker, "t").unwrap_err();
    create(&broker, "t").unwrap();
    broker.topic("t").unwrap();
}

#[test]
fn partitions_that_could_not_be_opened_keep_their_index() {
    let (broker, disk) = open();
    create(&broker, "t").unwrap();
    let alter = |count| {
        broker.alter_topic(&AlterTopicRequest {
            name: "t".to_owned(),
            partition_count: Some(count),
            change: SettingsChange::default(),
        })
    };
    disk.add(Rule::new(OpClass::CreateDir, FAIL));
    alter(2).unwrap_err();
    alter(3).unwrap();
    let topic = broker.topic("t").unwrap();
    let served: Vec<_> = topic.partitions().iter().map(|one| one.number()).collect();
    let stored = broker
        .control
        .look(|state| state.topic("t").unwrap().partitions.clone());
    assert_eq!(served, stored);
}

/// The deletion of such a topic may fail too: it is stored then, and not served.
#[test]
fn a_topic_whose_creation_could_not_be_taken_back_is_created_or_deleted_all_the_same() {
    let leave_behind = || {
        let (broker, disk) = open();
        disk.add(Rule::new(OpClass::CreateDir, FAIL));
        disk.add(Rule::new(OpClass::Write, FAIL).on(CONTROL_LOG).nth(2));
        create(&broker, "t").unwrap_err();
        assert!(is_stored(&broker));
        broker
    };
    let broker = leave_behind();
    create(&broker, "t").unwrap();
    append(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap();
    let refusal = create(&broker, "t").unwrap_err();
    assert_eq!(refusal.code, ErrorCode::TopicExists);

    let broker = leave_behind();
    let request = DeleteTopicRequest {
        name: "t".to_owned(),
        force: false,
    };
    let refusal = broker.delete_topic(&request).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownTopic);
    assert!(!is_stored(&broker));
}

fn is_stored(broker: &Broker) -> bool {
    broker.control.look(|state| state.topic("t").is_some())
}

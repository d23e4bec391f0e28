//! Topics: creating, changing and deleting them.

use redrive::client::api::rejection;
use redrive::protocol::alter_topic::AlterTopicRequest;
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::group_offsets::CommittedOffset;
use redrive::protocol::settings::{Limit, SettingsChange};
use storage::offset::Offset;

use crate::harness::{Running, batch, bounded, create, read_all, refused, topic_request};
use crate::produce::produce_request;

fn partitions(name: &str, count: u32) -> AlterTopicRequest {
    AlterTopicRequest {
        name: name.to_owned(),
        partition_count: Some(count),
        change: SettingsChange::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_lives_through_restarts_with_its_settings_and_partitions() {
    let broker = Running::start().await;
    let client = broker.client().await;
    let mut request = topic_request("orders", 3);
    request.change.segment_bytes = Some(2 << 20);
    request.change.retention_bytes = Some(Limit::AtMost(77 << 20));
    let made = client.create_topic(&request).await.unwrap();
    assert_eq!(made.partitions.len(), 3);
    refused(client.create_topic(&request).await, ErrorCode::TopicExists);
    let broker = broker.restart().await;
    let client = broker.client().await;
    assert_eq!(client.topic("orders").await.unwrap(), made);
    let mut alter = partitions("orders", 5);
    alter.change.retention_bytes = Some(Limit::Unlimited);
    let altered = client.alter_topic(&alter).await.unwrap();
    assert_eq!(altered.partitions.len(), 5);
    assert_eq!(altered.settings.retention_bytes, None);
    let fewer = client.alter_topic(&partitions("orders", 4)).await;
    let refusal = refused(fewer, ErrorCode::InvalidSettings);
    assert!(refusal.message.contains('5') && refusal.message.contains('4'));
    client
        .produce(&produce_request("orders", 4, batch(&[b"in the new one"])))
        .await
        .unwrap();
    let broker = broker.restart().await;
    let client = broker.client().await;
    let seen = client.topic("orders").await.unwrap();
    assert_eq!(seen.settings, altered.settings);
    assert_eq!(seen.partitions[4].high_watermark, Offset(1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_breaks_the_rules_is_refused_with_the_name() {
    let broker = Running::start().await;
    let client = broker.client().await;
    let long = "x".repeat(1_000);
    for name in ["", ".", "..", "a/b", "a b", "_own", "\u{e4}", "a\0b", &long] {
        let made = client.create_topic(&topic_request(name, 1)).await;
        refused(made, ErrorCode::InvalidTopicName);
    }
    refused(client.topic("nowhere").await, ErrorCode::UnknownTopic);
    refused(
        client.delete_topic("nowhere", true).await,
        ErrorCode::UnknownTopic,
    );
    refused(
        client.alter_topic(&partitions("nowhere", 2)).await,
        ErrorCode::UnknownTopic,
    );
    let topics = client.metadata(None).await.unwrap();
    let own = topics.iter().filter(|(name, _)| name == "_push").count();
    assert_eq!((topics.len(), own), (1, 1), "the broker's own topic alone");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_counts_out_of_range_are_refused_and_change_nothing() {
    let broker = Running::start().await;
    let client = broker.client().await;
    for count in [0, 1 << 20, u32::MAX] {
        let made = bounded(client.create_topic(&topic_request("t", count))).await;
        refused(made, ErrorCode::InvalidSettings);
    }
    let mut request = topic_request("t", 1);
    request.change.segment_bytes = Some(1);
    refused(
        client.create_topic(&request).await,
        ErrorCode::InvalidSettings,
    );
    request.change.segment_bytes = Some(u64::MAX);
    refused(
        client.create_topic(&request).await,
        ErrorCode::InvalidSettings,
    );
    create(&client, "t", 1).await;
    for count in [1 << 20, u32::MAX] {
        let altered = bounded(client.alter_topic(&partitions("t", count))).await;
        refused(altered, ErrorCode::InvalidSettings);
    }
    assert_eq!(client.topic("t").await.unwrap().partitions.len(), 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_ask_for_the_same_number_of_partitions_get_it_once() {
    let broker = Running::start().await;
    let client = broker.client().await;
    for round in 0..10 {
        let name = format!("t{round}");
        create(&client, &name, 1).await;
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (client, name) = (client.sibling(), name.clone());
                tokio::spawn(async move { client.alter_topic(&partitions(&name, 4)).await })
            })
            .collect();
        for task in tasks {
            let altered = bounded(task).await.unwrap().unwrap();
            assert_eq!(altered.partitions.len(), 4);
        }
        assert_eq!(client.topic(&name).await.unwrap().partitions.len(), 4);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_in_use_is_deleted_only_by_force_and_its_name_begins_anew() {
    let broker = Running::start().await;
    let client = broker.client().await;
    let first = create(&client, "t", 1).await;
    client
        .produce(&produce_request("t", 0, batch(&[b"a", b"b"])))
        .await
        .unwrap();
    client
        .reject(&rejection("g", ("t", 0, Offset(1)), "no", None))
        .await
        .unwrap();
    let committed = CommittedOffset {
        topic: "t".to_owned(),
        partition: 0,
        offset: Offset(1),
        metadata: String::new(),
    };
    client
        .commit_offsets("one", vec![committed.clone()])
        .await
        .unwrap();
    client.commit_offsets("two", vec![committed]).await.unwrap();
    let refusal = refused(client.delete_topic("t", false).await, ErrorCode::TopicInUse);
    assert!(refusal.message.contains("1 live"), "{refusal}");
    assert!(refusal.message.contains("2 groups"), "{refusal}");
    client.delete_topic("t", true).await.unwrap();
    refused(client.topic("t").await, ErrorCode::UnknownTopic);
    let second = create(&client, "t", 1).await;
    assert!(second.partitions[0].number > first.partitions[0].number);
    assert_eq!(read_all(&client, "t").await, []);
    assert_eq!(client.committed_offsets("one", None).await.unwrap(), []);
    let broker = broker.restart().await;
    let client = broker.client().await;
    assert_eq!(client.topic("t").await.unwrap(), second);
    client.delete_topic("t", false).await.unwrap();
    broker.stop().await;
}

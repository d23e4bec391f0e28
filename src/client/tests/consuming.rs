//! What a consumer reads, and where it goes on.

use super::*;

#[tokio::test]
async fn keys_choose_the_partition_and_all_partitions_are_read() {
    let fake = Fake::start(4).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::Lz4))
        .await
        .unwrap();
    let values = values(400);
    for (n, value) in values.iter().enumerate() {
        let key = format!("key {}", n % 16);
        let mut record = record(value);
        record.key = Some(key.as_bytes());
        producer.send(&record).await.unwrap();
    }
    producer.close().await.unwrap();

    let options = ConsumerOptions {
        stops_at_end: true,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut by_key = std::collections::HashMap::<_, Vec<_>>::new();
    let mut read = Vec::new();
    while let Some(record) = consumer.next().await.unwrap() {
        assert_eq!(record.append_time, TimestampMs(77));
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let of_key = by_key.entry((record.partition, record.key.unwrap()));
        of_key.or_default().push(value.clone());
        read.push(value);
    }
    read.sort();
    assert_eq!(read, values);
    assert_eq!(by_key.len(), 16, "a key went to two partitions");
    assert!(by_key.values().all(|values| values.is_sorted()));
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed() {
    let (fake, stored) = produce_through(&[], Codec::None).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        stops_at_end: true,
        prefetch_bytes: 1,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options.clone())
        .await
        .unwrap();
    for _ in 0..123 {
        consumer.next().await.unwrap().unwrap();
    }
    consumer.commit().await.unwrap();
    drop(consumer);
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut rest = Vec::new();
    while let Some(record) = consumer.next().await.unwrap() {
        rest.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    }
    assert_eq!(rest, stored[123..]);
    consumer.commit().await.unwrap();
    assert_eq!(fake.state.lock().committed[0].offset, Offset(500));
}

#[tokio::test]
async fn a_gap_at_the_end_is_passed() {
    let (fake, stored) = produce_through(&[], Codec::None).await;
    // As `repair` leaves it: the offsets are given up, the next append goes behind them.
    fake.state.lock().partitions[0].end += 17;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        stops_at_end: true,
        wait: Duration::from_millis(1),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut read = 0;
    while consumer.next().await.unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, stored.len());
    consumer.commit().await.unwrap();
    assert_eq!(fake.state.lock().committed[0].offset, Offset(517));
}

#[tokio::test]
async fn a_consumer_at_the_end_waits_for_what_comes() {
    let (fake, _) = produce_through(&[], Codec::None).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ConsumerOptions {
        start: Start::Latest,
        wait: Duration::from_secs(20),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let producer = Producer::open(&client, TOPIC, ProducerOptions::default())
        .await
        .unwrap();
    producer.send(&record("new")).await.unwrap();
    producer.flush().await;
    let record = consumer.next().await.unwrap().unwrap();
    assert_eq!(
        (record.offset, record.value.unwrap()),
        (Offset(500), "new".into())
    );
}

#[tokio::test]
async fn an_offset_out_of_range_is_an_error_with_the_range() {
    let (fake, _) = produce_through(&[], Codec::None).await;
    fake.state.lock().partitions[0].start = 40;
    let client = Client::connect(options(&fake)).await.unwrap();
    for requested in [39, 501] {
        let options = ConsumerOptions {
            start: Start::At(Offset(requested)),
            ..ConsumerOptions::default()
        };
        let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
        let error = consumer.next().await.unwrap_err().to_string();
        assert!(error.contains(&requested.to_string()), "{error}");
        assert!(error.contains("40 to 500"), "{error}");
    }
}

#[tokio::test]
async fn records_for_another_group_are_passed_over() {
    let fake = Fake::start(1).await;
    let mut builder = BatchBuilder::new(Codec::None);
    for group in ["billing", "audit"] {
        let headers = [HeaderRef {
            name: GROUP_HEADER,
            value: Some(group.as_bytes()),
        }];
        let mut record = record(group);
        record.headers = &headers;
        builder.push(&record).unwrap();
    }
    builder.push(&record("everybody")).unwrap();
    let options_of = |group: Option<&str>, all_groups| ConsumerOptions {
        group: group.map(ToOwned::to_owned),
        all_groups,
        stops_at_end: true,
        ..ConsumerOptions::default()
    };
    let broker = BrokerMark::Broker;
    let batch = builder.build(BuildOptions {
        broker,
        ..BuildOptions::default()
    });
    fake.append(0, batch.unwrap());
    let client = Client::connect(options(&fake)).await.unwrap();
    for (group, all_groups, expected) in [
        (Some("billing"), false, vec!["billing", "everybody"]),
        (Some("other"), false, vec!["everybody"]),
        (None, false, vec!["everybody"]),
        (None, true, vec!["billing", "audit", "everybody"]),
    ] {
        let options = options_of(group, all_groups);
        let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
        let mut read = Vec::new();
        while let Some(record) = consumer.next().await.unwrap() {
            read.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
        assert_eq!(read, expected, "{group:?}, {all_groups}");
    }
}

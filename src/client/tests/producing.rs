//! What a producer stores, over connections that end and refusals.

use super::*;

#[tokio::test]
async fn records_are_stored_in_order_with_each_codec() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let (fake, stored) = produce_through(&[], codec).await;
        assert_eq!(stored, values(500), "{codec:?}");
        let batches = fake.state.lock().partitions[0].batches.len();
        assert!(batches > 20, "{batches} batches: they were not small");
    }
}

#[tokio::test]
async fn lost_connections_and_refusals_store_each_record_once_and_in_order() {
    let full = Fault::Refuse(ErrorCode::StorageFull);
    for faults in [
        vec![Some(Fault::DropBefore)],
        vec![Some(Fault::DropAfter)],
        vec![Some(full)],
        vec![
            None,
            None,
            Some(Fault::DropAfter),
            None,
            Some(Fault::DropBefore),
        ],
        vec![
            None,
            Some(full),
            None,
            None,
            Some(Fault::DropAfter),
            Some(full),
            Some(Fault::DropAfter),
        ],
        vec![Some(Fault::DropAfter); 7],
        vec![None, Some(Fault::Refuse(ErrorCode::OutcomeUnknown)), None],
    ] {
        let (fake, stored) = produce_through(&faults, Codec::None).await;
        assert_eq!(stored, values(500), "{faults:?}");
        assert!(
            fake.state.lock().faults.is_empty(),
            "{faults:?} did not happen"
        );
    }
}

#[tokio::test]
async fn a_batch_refused_for_good_fails_alone() {
    let fake = Fake::start(1).await;
    fake.fault(&[None, Some(Fault::Refuse(ErrorCode::RecordTooLarge))]);
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::None))
        .await
        .unwrap();
    let values = values(300);
    let mut deliveries = Vec::new();
    for value in &values {
        deliveries.push(producer.send(&record(value)).await.unwrap());
    }
    let counts = producer.flush().await;
    assert_eq!(counts.acknowledged + counts.failed, 300);
    let mut expected = Vec::new();
    let mut failed = 0;
    for (value, delivery) in values.into_iter().zip(&deliveries) {
        match delivery.wait().await {
            Ok(_) => expected.push(value),
            Err(error) => {
                assert_eq!(error.refusal().unwrap().code, ErrorCode::RecordTooLarge);
                failed += 1;
            }
        }
    }
    assert_eq!(failed, counts.failed);
    assert!((1..100).contains(&failed), "{failed} failed");
    assert_eq!(
        fake.values(0),
        expected,
        "what was acknowledged is not what is stored"
    );
    let error = producer.close().await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, ErrorCode::RecordTooLarge);
}

#[tokio::test]
async fn a_producer_without_an_id_never_repeats_what_may_have_been_stored() {
    let fake = Fake::start(1).await;
    fake.fault(&[Some(Fault::DropAfter)]);
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ProducerOptions {
        is_idempotent: false,
        ..small_batches(Codec::None)
    };
    let producer = Producer::open(&client, TOPIC, options).await.unwrap();
    let delivery = producer.send(&record("once")).await.unwrap();
    let error = delivery.wait().await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.values(0), ["once"]);
}

#[tokio::test]
async fn sending_waits_while_too_much_is_not_settled() {
    let fake = Fake::start(1).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ProducerOptions {
        backlog_bytes_max: 600,
        ..small_batches(Codec::None)
    };
    let producer = Producer::open(&client, TOPIC, options).await.unwrap();
    let values = values(1000);
    let mut refused = 0;
    for value in &values {
        while producer.try_send(&record(value)).unwrap().is_none() {
            refused += 1;
            producer.space().await;
        }
    }
    assert!(refused > 0, "there was always room");
    assert_eq!(producer.flush().await.acknowledged, 1000);
    assert_eq!(fake.values(0), values);
}

#[tokio::test]
async fn reserved_headers_are_refused_before_they_reach_a_batch() {
    let fake = Fake::start(1).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, ProducerOptions::default())
        .await
        .unwrap();
    let headers = [HeaderRef {
        name: "redrive.cause",
        value: None,
    }];
    let mut bad = record("bad");
    bad.headers = &headers;
    let Err(ClientError::Record { .. }) = producer.send(&bad).await else {
        panic!("the record was taken");
    };
    producer.send(&record("good")).await.unwrap();
    assert_eq!(producer.close().await.unwrap().acknowledged, 1);
}

#[tokio::test]
async fn what_is_refused_for_now_is_told_while_it_is() {
    let fake = Fake::start(1).await;
    let refused = Some(Fault::Refuse(ErrorCode::StorageFull));
    fake.fault(&[refused, refused]);
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::None))
        .await
        .unwrap();
    let mut trouble = producer.trouble();
    producer.send(&record("a")).await.unwrap();
    let why = trouble.wait_for(Option::is_some).await.unwrap().clone();
    let code = why.unwrap().refusal().map(|refusal| refusal.code);
    assert_eq!(code, Some(ErrorCode::StorageFull));
    trouble.wait_for(Option::is_none).await.unwrap();
    assert_eq!(producer.close().await.unwrap().acknowledged, 1);
}

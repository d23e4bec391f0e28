//! The client against a broker in memory: real sockets, real codecs, faults by order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod ahead;
mod consuming;
mod fake;
mod producing;

use std::time::Duration;

use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec, HeaderRef, NewRecord};
use storage::cause::GROUP_HEADER;
use storage::offset::{Offset, TimestampMs};

use self::fake::{Fake, Fault, TOKEN, TOPIC};
use super::backoff::Backoff;
use super::consumer::{Consumer, ConsumerOptions, Start};
use super::producer::{Producer, ProducerOptions};
use super::{Client, ClientError, ClientOptions};
use crate::protocol::error_code::ErrorCode;

fn options(fake: &Fake) -> ClientOptions {
    ClientOptions {
        token: Some(TOKEN.to_owned()),
        backoff: Backoff {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
        },
        ..ClientOptions::new(fake.addr.as_str())
    }
}

fn record(value: &str) -> NewRecord<'_> {
    NewRecord {
        timestamp: TimestampMs(1),
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

/// Batches of about ten of the records that [`produce`] makes.
fn small_batches(codec: Codec) -> ProducerOptions {
    ProducerOptions {
        batch_bytes_max: 560,
        linger: Duration::from_millis(1),
        codec,
        ..ProducerOptions::default()
    }
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("value {n:06}")).collect()
}

/// Produces to a fake with these faults, and returns the values that were stored.
async fn produce_through(faults: &[Option<Fault>], codec: Codec) -> (Fake, Vec<String>) {
    let fake = Fake::start(1).await;
    fake.fault(faults);
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(codec))
        .await
        .unwrap();
    let mut deliveries = Vec::new();
    for value in values(500) {
        deliveries.push(producer.send(&record(&value)).await.unwrap());
    }
    let counts = producer.flush().await;
    assert_eq!(
        (counts.accepted, counts.acknowledged),
        (500, 500),
        "{:?}",
        producer.first_error()
    );
    for (n, delivery) in (0..).zip(&deliveries) {
        assert_eq!(delivery.wait().await.unwrap().offset, Offset(n));
    }
    assert_eq!(producer.close().await.unwrap(), counts);
    let stored = fake.values(0);
    (fake, stored)
}

#[tokio::test]
async fn a_port_of_another_protocol_is_told_by_its_name() {
    for (said, protocol) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP"),
        (&[0x15, 3, 1, 0, 2, 2, 10], "TLS"),
    ] {
        let (stream, mut peer) = tokio::io::duplex(1 << 10);
        tokio::io::AsyncWriteExt::write_all(&mut peer, said)
            .await
            .unwrap();
        let options = ClientOptions::new("a:1");
        let error = super::Connection::over(stream, &options).await.unwrap_err();
        let expected = format!("a:1 speaks {protocol}, not the binary protocol of the broker");
        assert_eq!(error.to_string(), expected);
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_wrong_token_and_an_unknown_topic_are_refused_at_once() {
    let fake = Fake::start(1).await;
    let wrong = ClientOptions {
        token: None,
        ..options(&fake)
    };
    let error = Client::connect(wrong).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, ErrorCode::WrongToken);
    let client = Client::connect(options(&fake)).await.unwrap();
    let error = client.topic("none").await.unwrap_err();
    assert!(super::api::is_unknown_topic(&error), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_an_error_with_the_address() {
    let options = ClientOptions {
        retry_for: Duration::ZERO,
        ..ClientOptions::new("127.0.0.1:1")
    };
    let error = Client::connect(options).await.unwrap_err();
    let ClientError::GaveUp {
        attempts: 1,
        source,
    } = error
    else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("127.0.0.1:1"), "{source}");
}

#[tokio::test]
async fn a_silent_broker_ends_the_wait_of_all_who_asked() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let options = ClientOptions {
        connect_wait: Duration::from_millis(5),
        ..ClientOptions::new("duplex")
    };
    let error = super::Connection::over(ours, &options).await.unwrap_err();
    let ClientError::TimedOut {
        doing: "opening a connection",
        ..
    } = error
    else {
        panic!("{error}");
    };
    drop(theirs);
}

//! Batches that are damaged, lie about themselves, or take what is the broker's.

use redrive::protocol::error_code::ErrorCode;
use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec};
use storage::checksum::crc32;

use super::{resident_bytes, start};
use crate::harness::{batch, read_all, record};
use crate::produce::produce_request;

/// Computes both checksums of a batch anew.
fn checked(mut batch: Vec<u8>) -> Vec<u8> {
    let body = crc32(&batch[96..]).to_be_bytes();
    batch[52..56].copy_from_slice(&body);
    let header = crc32(&batch[..92]).to_be_bytes();
    batch[92..96].copy_from_slice(&header);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_bit_of_a_batch_is_refused_and_its_connection_goes_on() {
    let (broker, client, _address) = start().await;
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let text = b"a record that packs packs packs packs packs packs packs well".as_slice();
        let whole = crate::harness::batch_of(&[text, text, text], codec, None);
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1 << (at % 8);
            let answer = client.produce(&produce_request("t", 0, wrong)).await;
            let answer = answer.unwrap_or_else(|error| panic!("byte {at}: {error}"));
            assert!(answer.batches[0].is_err(), "byte {at} of {codec:?}");
        }
        for end in 0..whole.len() {
            let cut = whole[..end].to_vec();
            let answer = client.produce(&produce_request("t", 0, cut)).await.unwrap();
            assert!(answer.batches[0].is_err(), "cut at {end} of {codec:?}");
        }
    }
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_lies_with_right_checksums_is_refused_with_the_reason() {
    let (broker, client, _address) = start().await;
    let honest = batch(&[b"one", b"two", b"three"]);
    let refusal_of = async |wrong: Vec<u8>, what: &str| {
        let answer = client.produce(&produce_request("t", 0, wrong)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        let Err(refusal) = answer.batches.into_iter().next().unwrap() else {
            panic!("{what} was taken");
        };
        assert!(!refusal.code.is_retryable() || refusal.code == ErrorCode::CorruptBatch);
        refusal
    };
    let put_u32 = |at: usize, value: u32| {
        let mut wrong = honest.clone();
        wrong[at..at + 4].copy_from_slice(&value.to_be_bytes());
        checked(wrong)
    };
    for (what, at, value) in [
        ("a length that is too large", 8, 1 << 20),
        ("a length that is too small", 8, 96),
        ("no length", 8, 0),
        ("a partition number", 12, 1),
        ("a last offset delta that is too large", 24, 3),
        ("a last offset delta that is too small", 24, 1),
        ("a record count that is too large", 28, 4),
        ("a record count that is too small", 28, 2),
        ("no records", 28, 0),
        ("unpacked bytes that are too many", 32, 1_000),
        ("unpacked bytes that are too few", 32, 5),
        ("a sequence without a producer", 36, 5),
        ("a chain", 80, 7),
        ("a base offset", 20, 9),
        ("an append time", 76, 9),
        ("a durable end", 88, 9),
    ] {
        let refusal = refusal_of(put_u32(at, value), what).await;
        assert!(!refusal.message.is_empty(), "{what}");
    }
    // Count and last delta lie together: the records tell.
    for count in [1_u32, 2, 4, 1_000, u32::MAX] {
        let mut wrong = honest.clone();
        wrong[24..28].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
        wrong[28..32].copy_from_slice(&count.to_be_bytes());
        refusal_of(checked(wrong), &format!("{count} records instead of 3")).await;
    }
    for (what, at) in [
        ("a log kind", 5),
        ("an attribute of the broker", 6),
        ("an unknown attribute or codec", 7),
        ("a version", 4),
        ("a magic", 0),
        ("a reserved field", 50),
    ] {
        for bit in 0..8 {
            let mut wrong = honest.clone();
            wrong[at] ^= 1 << bit;
            let answer = refusal_of(checked(wrong), &format!("{what}, bit {bit}")).await;
            assert!(!answer.message.is_empty());
        }
    }
    // Every byte of the records section wrong, with the right checksums: refused, or another record of the same shape.
    let mut taken = 0;
    for at in 96..honest.len() {
        for flip in [0x01, 0x40, 0x80, 0xFF] {
            let mut wrong = honest.clone();
            wrong[at] ^= flip;
            let answer = client
                .produce(&produce_request("t", 0, checked(wrong)))
                .await
                .unwrap();
            taken += usize::from(answer.batches[0].is_ok());
        }
    }
    // What was taken decodes.
    assert_eq!(read_all(&client, "t").await.len(), taken * 3);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_headers_and_the_brokers_mark_are_refused() {
    let (broker, client, _address) = start().await;
    let refusal_of = async |batch: Vec<u8>| {
        let answer = client.produce(&produce_request("t", 0, batch)).await;
        answer
            .unwrap()
            .batches
            .into_iter()
            .next()
            .unwrap()
            .unwrap_err()
    };
    let of = |name: &str, mark: BrokerMark| {
        let headers = [storage::batch::HeaderRef { name, value: None }];
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&record(None, b"value", &headers)).unwrap();
        let options = BuildOptions {
            broker: mark,
            ..BuildOptions::default()
        };
        builder.build(options).unwrap()
    };
    for mark in [BrokerMark::Broker, BrokerMark::BrokerWithCauses] {
        refusal_of(of("redrive.group", mark)).await;
        refusal_of(of("mine", mark)).await;
    }
    for name in ["redrive.", "redrive.group", "redrive.cause", "redrive.x"] {
        // The name is as long while the batch is built, and reserved when it is sent.
        let innocent = format!("y{}", &name[1..]);
        let mut batch = of(&innocent, BrokerMark::Client);
        let at = batch
            .windows(innocent.len())
            .position(|window| window == innocent.as_bytes())
            .unwrap();
        batch[at] = b'r';
        let refusal = refusal_of(checked(batch)).await;
        assert_eq!(refusal.code, ErrorCode::ReservedHeader);
        assert!(refusal.message.contains("redrive."), "{refusal}");
    }
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_without_being_unpacked_whole() {
    let (broker, client, _address) = start().await;
    let zeros = vec![0; 1 << 20];
    for codec in [Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        for _ in 0..60 {
            if builder.push(&record(None, &zeros, &[])).is_err() {
                break;
            }
        }
        let bomb = builder.build(BuildOptions::default()).unwrap();
        let before = resident_bytes();
        for declared in [10, 1_000, 1 << 20, u32::MAX] {
            let mut lying = bomb.clone();
            lying[32..36].copy_from_slice(&declared.to_be_bytes());
            let answer = client
                .produce(&produce_request("t", 0, checked(lying)))
                .await
                .unwrap();
            assert!(answer.batches[0].is_err(), "{codec:?} says {declared}");
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes");
    }
    // An honest one is more than a small topic takes.
    let mut small = crate::harness::topic_request("small", 1);
    small.change.record_bytes_max = Some(64 << 10);
    small.change.batch_bytes_max = Some(256 << 10);
    client.create_topic(&small).await.unwrap();
    let mut builder = BatchBuilder::new(Codec::Zstd);
    for _ in 0..1_000 {
        builder
            .push(&record(None, &zeros[..60 << 10], &[]))
            .unwrap();
    }
    let honest = builder.build(BuildOptions::default()).unwrap();
    let answer = client.produce(&produce_request("small", 0, honest)).await;
    let refusal = answer.unwrap().batches.pop().unwrap().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::BatchTooLarge, "{refusal}");
    let large = batch(&[&zeros[..=(64 << 10)]]);
    let answer = client.produce(&produce_request("small", 0, large)).await;
    let refusal = answer.unwrap().batches.pop().unwrap().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::RecordTooLarge, "{refusal}");
    broker.stop().await;
}

//! Frames that are cut, split, too long, unknown or no frames at all.

use redrive::protocol::api_key::ApiKey;
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::handshake::HandshakeRequest;
use redrive::protocol::metadata::MetadataRequest;
use redrive::protocol::produce::ProduceRequest;

use super::{ends_with, others_go_on, requests, resident_bytes, start};
use crate::harness::{batch, bounded, read_all};
use crate::process::Random;
use crate::produce::produce_request;
use crate::wire::{Raw, frame, frame_of, handshake};

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_frame_cut_anywhere_appends_nothing() {
    let (broker, client, address) = start().await;
    let whole = frame(1, &produce_request("t", 0, batch(&[b"a", b"b"])));
    for end in 0..whole.len() {
        // The stream ends within the frame.
        let mut raw = Raw::shaken(address).await;
        raw.send(&whole[..end]).await;
        raw.finish().await;
        assert_eq!(raw.body().await, None, "cut at {end}");
        // The frame says that it is complete.
        if end >= 4 {
            let mut bytes = u32::try_from(end - 4).unwrap().to_be_bytes().to_vec();
            bytes.extend(&whole[4..end]);
            ends_with(address, &bytes, ErrorCode::MalformedRequest).await;
        }
    }
    others_go_on(&client).await;
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_may_come_in_two_parts_split_anywhere() {
    let (broker, client, address) = start().await;
    let mut raw = Raw::connect(address).await;
    let shake = frame(0, &handshake());
    for byte in &shake {
        raw.send(&[*byte]).await;
        others_go_on(&client).await;
    }
    raw.answer::<HandshakeRequest>().await.unwrap().1.unwrap();
    for (request, id) in requests().into_iter().zip(1_u32..) {
        for at in 1..request.len() {
            raw.send(&request[..at]).await;
            // A round trip on another connection: the first part has most likely been read by now.
            client.metadata(Some(Vec::new())).await.unwrap();
            raw.send(&request[at..]).await;
            let body = raw.body().await.expect("an answer");
            assert_eq!(body[..4], id.to_be_bytes(), "split at {at}");
            assert_eq!(body[4..6], [0, 0], "request {id} split at {at}");
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_frames_in_one_write_are_answered_in_order() {
    let (broker, _client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    let all: Vec<u8> = (0..40).flat_map(|_| requests().concat()).collect();
    raw.send(&all).await;
    raw.finish().await;
    for _ in 0..40 {
        for id in 1..=9_u32 {
            let body = raw.body().await.expect("an answer");
            assert_eq!(body[..6], [id.to_be_bytes().as_slice(), &[0, 0]].concat());
        }
    }
    assert_eq!(raw.body().await, None);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_ends_its_connection_alone() {
    let (broker, client, address) = start().await;
    let frame_bytes_max = client.terms().await.unwrap().frame_bytes_max;
    for bytes in [frame_bytes_max + 1, u32::MAX / 2, u32::MAX] {
        let refusal = ends_with(address, &bytes.to_be_bytes(), ErrorCode::FrameTooLarge).await;
        assert!(refusal.message.contains(&bytes.to_string()));
        assert!(refusal.message.contains(&frame_bytes_max.to_string()));
        others_go_on(&client).await;
    }
    // As large as may be is announced by many who send nothing more: no memory is taken for it.
    let before = resident_bytes();
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut raw = Raw::shaken(address).await;
        raw.send(&frame_bytes_max.to_be_bytes()).await;
        raw.send(&[0, 7]).await;
        held.push(raw);
        // Those who announce much and send little must not starve those who send.
        bounded(others_go_on(&client)).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 512 << 20, "{grown} bytes for 64 announcements");
    drop(held);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_requests_and_versions_are_refused_and_the_connection_goes_on() {
    let (broker, _client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    for key in [0, 20, 999, u16::MAX] {
        raw.send(&frame_of(key, 1, 5, b"whatever")).await;
        let (id, answer) = raw.answer::<MetadataRequest>().await.unwrap();
        let refusal = answer.unwrap_err();
        assert_eq!((id, refusal.code), (5, ErrorCode::UnknownApi));
        assert!(refusal.message.contains(&key.to_string()));
    }
    for key in 2..=19 {
        let newest = ApiKey::from_number(key).unwrap().version();
        for version in [0, newest + 1, u16::MAX] {
            raw.send(&frame_of(key, version, 6, b"")).await;
            let refusal = raw
                .answer::<MetadataRequest>()
                .await
                .unwrap()
                .1
                .unwrap_err();
            assert_eq!(refusal.code, ErrorCode::UnsupportedVersion, "key {key}");
            assert!(refusal.message.contains(&version.to_string()), "{refusal}");
        }
    }
    // Every request with a payload that is no request.
    for key in 2..=19 {
        let is_empty = matches!(key, 6 | 12);
        let bytes = frame_of(key, 1, 6, &[0xFF; 9]);
        let refusal = ends_with(address, &bytes, ErrorCode::MalformedRequest).await;
        assert!(is_empty || !refusal.message.is_empty(), "key {key}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_lie_about_what_follows_take_no_memory() {
    let (broker, client, address) = start().await;
    let before = resident_bytes();
    // A count of 2^32 - 1 where an array begins, in every request that begins with one.
    let huge = u32::MAX.to_be_bytes();
    for (key, prefix) in [(2, &[1][..]), (7, &[1][..]), (8, &[][..]), (9, &[][..])] {
        let payload = [prefix, huge.as_slice(), &[0; 64]].concat();
        let bytes = frame_of(key, 1, 6, &payload);
        ends_with(address, &bytes, ErrorCode::MalformedRequest).await;
    }
    assert!(resident_bytes().saturating_sub(before) < 256 << 20);
    others_go_on(&client).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_connection_alone() {
    let (broker, client, address) = start().await;
    let mut random = Random::new("garbage");
    for round in 0..200 {
        let mut raw = if round % 2 == 0 {
            Raw::connect(address).await
        } else {
            Raw::shaken(address).await
        };
        let bytes: Vec<u8> = (0..random.below(400))
            .map(|_| random.below(256) as u8)
            .collect();
        raw.send(&bytes).await;
        raw.finish().await;
        while raw.body().await.is_some() {}
    }
    let mut raw = Raw::connect(address).await;
    raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.answer::<HandshakeRequest>().await.expect("an answer").1;
    assert_eq!(answer.unwrap_err().code, ErrorCode::FrameTooLarge);
    others_go_on(&client).await;
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_half_a_frame_does_not_keep_a_topic_from_changing() {
    let (broker, client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    let whole = frame(1, &produce_request("t", 0, batch(&[b"late"])));
    raw.send(&whole[..whole.len() - 1]).await;
    client.delete_topic("t", false).await.unwrap();
    raw.send(&whole[whole.len() - 1..]).await;
    let (_, answer) = raw.answer::<ProduceRequest>().await.unwrap();
    let refusal = answer.unwrap().batches.pop().unwrap().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownTopic);
    let again = CreateTopicRequest {
        ..crate::harness::topic_request("t", 1)
    };
    client.create_topic(&again).await.unwrap();
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

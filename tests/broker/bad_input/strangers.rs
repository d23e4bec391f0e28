//! Peers that have not shaken hands yet.

use redrive::client::{Client, ClientOptions};
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::group_offsets::ListGroupsRequest;
use redrive::protocol::handshake::HandshakeRequest;

use super::{others_go_on, requests, start};
use crate::harness::{Running, refused};
use crate::wire::{Raw, frame, handshake};

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_is_told_and_left() {
    let broker = Running::with(&[("token", "the-secret")]).await;
    let address = broker.addresses.protocol;
    let ends = async |bytes: Vec<u8>, code| {
        let mut raw = Raw::connect(address).await;
        raw.send(&bytes).await;
        let answer = raw.answer::<HandshakeRequest>().await.expect("an answer").1;
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(raw.body().await, None);
        assert!(!refusal.message.contains("the-secret"));
        refusal
    };
    for request in requests() {
        ends(request, ErrorCode::HandshakeExpected).await;
    }
    let mut wrong = handshake();
    ends(frame(1, &wrong), ErrorCode::WrongToken).await;
    for token in ["", "the-secre", "the-secret ", "redrive"] {
        wrong.token = Some(token.to_owned());
        ends(frame(1, &wrong), ErrorCode::WrongToken).await;
    }
    wrong.token = Some("the-secret".to_owned());
    let right = frame(1, &wrong);
    wrong.version_min = 2;
    wrong.version_max = 9;
    let refusal = ends(frame(1, &wrong), ErrorCode::UnsupportedVersion).await;
    assert!(refusal.message.contains("2 to 9") && refusal.message.contains('1'));
    let mut magic = right.clone();
    magic[12] ^= 1;
    ends(magic, ErrorCode::MalformedRequest).await;
    let mut trailing = right.clone();
    trailing.push(0);
    trailing[3] += 1;
    ends(trailing, ErrorCode::MalformedRequest).await;
    for end in 0..right.len() {
        let mut raw = Raw::connect(address).await;
        raw.send(&right[..end]).await;
        raw.finish().await;
        assert_eq!(raw.body().await, None, "cut at {end}");
    }
    let client = |token: Option<&str>| {
        Client::connect(ClientOptions {
            token: token.map(str::to_owned),
            ..broker.options()
        })
    };
    refused(client(None).await, ErrorCode::WrongToken);
    client(Some("the-secret")).await.unwrap();
    // A second handshake is refused; the connection goes on.
    let mut raw = Raw::connect(address).await;
    raw.send(&right).await;
    raw.answer::<HandshakeRequest>().await.unwrap().1.unwrap();
    raw.send(&right).await;
    let answer = raw.answer::<HandshakeRequest>().await.unwrap().1;
    assert_eq!(answer.unwrap_err().code, ErrorCode::HandshakeExpected);
    raw.send(&frame(3, &ListGroupsRequest {})).await;
    raw.answer::<ListGroupsRequest>().await.unwrap().1.unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_may_send_64_kib_and_no_more() {
    let (broker, client, address) = start().await;
    for (bytes, is_taken) in [(64 << 10, true), ((64 << 10) + 1, false), (u32::MAX, false)] {
        let mut raw = Raw::connect(address).await;
        raw.send(&bytes.to_be_bytes()).await;
        if is_taken {
            // A handshake with a name that fills the frame: it decodes, and the name is what is wrong with it.
            let mut request = handshake();
            let empty = frame(1, &request).len() - 4 - request.client_name.len();
            request.client_name = "n".repeat(bytes as usize - empty);
            let whole = frame(1, &request);
            assert_eq!(whole.len(), bytes as usize + 4);
            raw.send(&whole[4..]).await;
        }
        let answer = raw.answer::<HandshakeRequest>().await.expect("an answer").1;
        let code = answer.unwrap_err().code;
        let expected = if is_taken {
            ErrorCode::LimitExceeded
        } else {
            ErrorCode::FrameTooLarge
        };
        assert_eq!(code, expected, "{bytes} bytes");
        assert_eq!(raw.body().await, None);
    }
    others_go_on(&client).await;
    broker.stop().await;
}

//! What holds for every message: it survives the wire, every truncation is an error, hostile numbers allocate nothing,
//! and its bytes are those of the golden file.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod catalogue;
mod every_message;
mod samples;

use std::fmt::Debug;

use bytes::Bytes;

use self::samples::{name, refusal};
use super::api_key::{API_VERSION_MAX, ApiKey};
use super::cursor::{DecodeError, EncodeError, Reader, Text, Wire, Writer};
use super::error_code::{ErrorCode, Refusal};
use super::frame::{self, Request, RequestHeader};
use super::handshake::HandshakeRequest;
use super::produce::{Acks, ProduceBatch, ProduceRequest};
use super::producer_id::ProducerIdAnswer;

/// Sees every message of the protocol once, with all its fields filled in.
trait Visitor {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T);

    fn api<R>(&mut self, request: &R, answer: &R::Answer)
    where
        R: Request + PartialEq + Debug,
        R::Answer: PartialEq + Debug,
    {
        self.visit(&format!("{}.request", R::KEY.name()), request);
        self.visit(&format!("{}.answer", R::KEY.name()), answer);
    }
}

fn bytes_of(message: &impl Wire) -> Vec<u8> {
    bytes_in(API_VERSION_MAX, message)
}

fn bytes_in(version: u16, message: &impl Wire) -> Vec<u8> {
    let mut writer = Writer::of_version(version);
    message.write(&mut writer);
    writer.finish().unwrap().concat()
}

#[test]
fn hostile_counts_and_lengths_are_refused_before_anything_is_allocated() {
    let hostile = [0xFF; 4];
    let mut reader = Reader::new(&hostile);
    assert_eq!(
        Vec::<u8>::read(&mut reader),
        Err(DecodeError::Truncated {
            field: "",
            position: 4,
            needed: 0xFFFF_FFFF,
            available: 0
        })
    );
    let result = Bytes::read(&mut Reader::new(&hostile));
    let Err(DecodeError::Truncated { needed, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(needed, 0xFFFF_FFFF);
    let result = Text::read(&mut Reader::new(&hostile));
    let Err(DecodeError::Truncated { .. }) = result else {
        panic!("{result:?}");
    };
}

#[test]
fn values_above_what_the_reader_takes_are_refused_before_they_are_read() {
    let names = |count| bytes_of(&vec![String::new(); count]);
    let two_arrays = [names(3), names(3)].concat();
    for (bytes, position) in [(names(6), 4), (two_arrays, 14)] {
        let mut reader = Reader::new(&bytes);
        reader.limit_values(5);
        let mut read = || -> Result<(), DecodeError> {
            while reader.remaining() > 0 {
                Vec::<String>::read(&mut reader)?;
            }
            Ok(())
        };
        let Err(DecodeError::TooMany {
            count_max: 5,
            position: at,
            ..
        }) = read()
        else {
            panic!("six values were taken");
        };
        assert_eq!(at, position);
    }
    let five = names(5);
    let mut reader = Reader::new(&five);
    reader.limit_values(5);
    assert_eq!(Vec::<String>::read(&mut reader).unwrap().len(), 5);
    assert_eq!(reader.values(), 5);
    // A batch takes 10 bytes at least.
    let batches = [&[1, 0, 0, 0, 6][..], &[0; 60]].concat();
    let mut reader = Reader::new(&batches);
    reader.limit_values(5);
    let result = ProduceRequest::decode_in_place(&mut reader);
    let Err(DecodeError::TooMany { field, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(field, "ProduceRequest.batches");
}

#[test]
fn a_string_that_does_not_fit_is_refused_when_it_is_encoded() {
    let mut writer = Writer::new();
    writer.string(&"x".repeat(65_536));
    assert_eq!(
        writer.finish().unwrap_err(),
        EncodeError {
            value: "string",
            bytes: 65_536,
            bytes_max: 65_535
        }
    );
}

#[test]
fn a_long_error_message_is_cut_between_characters() {
    let mut message = "x".repeat(65_534);
    message.push('\u{e9}');
    let answer: Result<u8, Refusal> = Err(Refusal::new(ErrorCode::Internal, message));
    let bytes = bytes_of(&answer);
    let decoded: Result<u8, Refusal> = frame::decode_payload(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(decoded.unwrap_err().message.len(), 65_534);
}

#[test]
fn strings_that_are_not_utf8_are_errors() {
    let result = String::read(&mut Reader::new(&[0, 1, 0xFF]));
    let Err(DecodeError::Utf8 { position: 2, .. }) = result else {
        panic!("{result:?}");
    };
}

#[test]
fn a_batch_is_neither_copied_to_be_encoded_nor_to_be_decoded() {
    let batch = Bytes::from(vec![7; 100_000]);
    let request = ProduceRequest {
        acks: Acks::TopicDefault,
        batches: vec![
            ProduceBatch {
                topic: name("a"),
                partition: 0,
                batch: batch.clone(),
            },
            ProduceBatch {
                topic: name("b"),
                partition: 1,
                batch: Bytes::from_static(b"small"),
            },
        ],
    };
    let header = RequestHeader {
        api_key: ApiKey::Produce.number(),
        api_version: ApiKey::Produce.version(),
        correlation_id: 5,
    };
    let parts = frame::encode_request(header, |writer| request.write(writer)).unwrap();
    assert_eq!(parts[1].as_ptr(), batch.as_ptr(), "the batch was copied");

    let mut frame = parts.concat();
    let length = frame::body_bytes(&frame, 1 << 20).unwrap().unwrap();
    assert_eq!(length as usize, frame.len() - frame::LENGTH_BYTES);
    let body = &mut frame[frame::LENGTH_BYTES..];
    let mut reader = Reader::new(body);
    assert_eq!(RequestHeader::read(&mut reader).unwrap(), header);
    let decoded = ProduceRequest::decode_in_place(&mut reader).unwrap();
    let ranges: Vec<_> = decoded.batches.iter().map(|b| b.batch.clone()).collect();
    assert_eq!(body[ranges[0].clone()], batch[..]);
    assert_eq!(&mut body[ranges[1].clone()], b"small");
}

#[test]
fn produce_decoded_in_place_is_an_error_when_cut_anywhere() {
    let request = ProduceRequest {
        acks: Acks::Synced,
        batches: vec![ProduceBatch {
            topic: name("flights"),
            partition: 1,
            batch: Bytes::from_static(b"batch"),
        }],
    };
    let bytes = bytes_of(&request);
    for end in 0..bytes.len() {
        let result = ProduceRequest::decode_in_place(&mut Reader::new(&bytes[..end]));
        let Err(DecodeError::Truncated { .. }) = result else {
            panic!("cut at {end} gives {result:?}");
        };
    }
}

#[test]
fn a_frame_above_the_maximum_is_refused_by_its_length_alone() {
    assert_eq!(frame::body_bytes(&[0, 0, 1], 10), Ok(None));
    assert_eq!(frame::body_bytes(&[0, 0, 0, 10], 10), Ok(Some(10)));
    let refused = frame::body_bytes(&[0, 0, 0, 11], 10).unwrap_err();
    assert_eq!((refused.bytes, refused.bytes_max), (11, 10));
}

#[test]
fn answers_carry_their_correlation_id_and_their_refusal() {
    let answer: Result<ProducerIdAnswer, Refusal> = Err(refusal());
    let frame = frame::encode_answer(77, &answer).unwrap().concat();
    let body = Bytes::from(frame).split_off(frame::LENGTH_BYTES);
    assert_eq!(frame::answer_correlation_id(&body), Ok(77));
    assert_eq!(frame::decode_answer(&body), Ok((77, answer)));
}

#[test]
fn numbers_of_keys_and_codes_lead_back_to_them() {
    for key in ApiKey::ALL {
        assert_eq!(ApiKey::from_number(key.number()), Some(*key));
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        assert_ne!(code.number(), 0, "0 says that nothing was refused");
    }
    assert_eq!(ApiKey::from_number(0), None);
    assert_eq!(ErrorCode::from_number(0), None);
}

#[test]
fn a_handshake_never_shows_its_token() {
    let request = HandshakeRequest {
        version_min: 1,
        version_max: 1,
        client_name: name("c"),
        token: Some(name("hunter2")),
    };
    let shown = format!("{request:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_handshake_agrees_only_on_versions_that_both_speak() {
    let request = |version_min, version_max| HandshakeRequest {
        version_min,
        version_max,
        client_name: String::new(),
        token: None,
    };
    assert_eq!(request(0, 5).chosen_version(), Some(1));
    assert_eq!(request(2, 5).chosen_version(), None);
    assert_eq!(request(0, 0).chosen_version(), None);
}

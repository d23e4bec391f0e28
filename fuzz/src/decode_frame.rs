//! The wire protocol: any bytes are decoded or refused, as requests and as answers, and what decodes comes back as it was.

use std::fmt::Debug;

use bytes::Bytes;
use redrive::protocol::api_key::ApiKey;
use redrive::protocol::cursor::{Reader, Wire};
use redrive::protocol::frame::{
    LENGTH_BYTES, Request, RequestHeader, body_bytes, decode_answer, decode_payload, encode_answer,
    encode_request,
};
use redrive::protocol::{
    alter_topic::AlterTopicRequest, create_topic::CreateTopicRequest,
    delete_topic::DeleteTopicRequest, fetch::FetchRequest, group_offsets::CommitOffsetsRequest,
    group_offsets::DeleteGroupRequest, group_offsets::FetchOffsetsRequest,
    group_offsets::ListGroupsRequest, handshake::HandshakeRequest,
    list_offsets::ListOffsetsRequest, metadata::MetadataRequest, produce::ProduceRequest,
    producer_id::ProducerIdRequest, read_letters::GetLetterRequest,
    read_letters::LetterStatsRequest, read_letters::ListLettersRequest, reject::RejectRequest,
    resolve_letters::DeleteLettersRequest, resolve_letters::RetryLettersRequest,
};

const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Takes the bytes for a frame: its body for a request, and for an answer to the request that its first two bytes name.
pub fn run(data: &[u8]) {
    let announced = body_bytes(data, FRAME_BYTES_MAX);
    assert!(data.len() >= LENGTH_BYTES || matches!(announced, Ok(None)));
    let Some(body) = data.get(LENGTH_BYTES..) else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let mut reader = Reader::shared(&body);
    let Ok(header) = RequestHeader::read(&mut reader) else {
        return;
    };
    let Some(key) = header.key() else { return };
    let rest = body.slice(reader.position()..);
    match key {
        ApiKey::Handshake => both::<HandshakeRequest>(header, &rest),
        ApiKey::Metadata => both::<MetadataRequest>(header, &rest),
        ApiKey::CreateTopic => both::<CreateTopicRequest>(header, &rest),
        ApiKey::AlterTopic => both::<AlterTopicRequest>(header, &rest),
        ApiKey::DeleteTopic => both::<DeleteTopicRequest>(header, &rest),
        ApiKey::ProducerId => both::<ProducerIdRequest>(header, &rest),
        ApiKey::Produce => {
            both::<ProduceRequest>(header, &rest);
            produce_in_place(&rest);
        }
        ApiKey::Fetch => both::<FetchRequest>(header, &rest),
        ApiKey::ListOffsets => both::<ListOffsetsRequest>(header, &rest),
        ApiKey::CommitOffsets => both::<CommitOffsetsRequest>(header, &rest),
        ApiKey::FetchOffsets => both::<FetchOffsetsRequest>(header, &rest),
        ApiKey::ListGroups => both::<ListGroupsRequest>(header, &rest),
        ApiKey::DeleteGroup => both::<DeleteGroupRequest>(header, &rest),
        ApiKey::Reject => both::<RejectRequest>(header, &rest),
        ApiKey::ListLetters => both::<ListLettersRequest>(header, &rest),
        ApiKey::GetLetter => both::<GetLetterRequest>(header, &rest),
        ApiKey::RetryLetters => both::<RetryLettersRequest>(header, &rest),
        ApiKey::DeleteLetters => both::<DeleteLettersRequest>(header, &rest),
        ApiKey::LetterStats => both::<LetterStatsRequest>(header, &rest),
    }
}

/// Decodes a payload as the request, and as the body of an answer to it.
fn both<R>(header: RequestHeader, payload: &Bytes)
where
    R: Request + PartialEq + Debug,
    R::Answer: PartialEq + Debug,
{
    let mut reader = Reader::shared(payload);
    reader.set_version(header.api_version);
    if let Ok(request) = decode_payload::<R>(&mut reader) {
        let parts =
            encode_request(header, |writer| request.write(writer)).expect("it came encoded");
        let body = Bytes::from(parts.concat()).slice(LENGTH_BYTES..);
        let mut reader = Reader::shared(&body);
        assert_eq!(RequestHeader::read(&mut reader).ok(), Some(header));
        reader.set_version(header.api_version);
        assert_eq!(decode_payload::<R>(&mut reader).ok(), Some(request));
    }
    if let Ok((correlation_id, answer)) = decode_answer::<R::Answer>(payload) {
        let parts = encode_answer(correlation_id, &answer).expect("it came encoded");
        let body = Bytes::from(parts.concat()).slice(LENGTH_BYTES..);
        let again = decode_answer::<R::Answer>(&body).ok();
        assert_eq!(again, Some((correlation_id, answer)));
    }
}

/// Holds the two ways to decode a produce request against each other.
fn produce_in_place(payload: &Bytes) {
    let copied = decode_payload::<ProduceRequest>(&mut Reader::shared(payload));
    let ranges = ProduceRequest::decode_in_place(&mut Reader::shared(payload));
    assert_eq!(copied.is_ok(), ranges.is_ok());
    if let (Ok(copied), Ok(ranges)) = (copied, ranges) {
        assert_eq!(copied.acks, ranges.acks);
        assert_eq!(copied.batches.len(), ranges.batches.len());
        for (copy, range) in copied.batches.iter().zip(ranges.batches) {
            assert_eq!(copy.batch, payload.slice(range.batch));
        }
    }
}

//! From requests to the broker and back: decoding, calling, encoding. Nothing is decided here but who is answered at all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::listener::Shared;
use crate::broker::{Broker, ProducePending, ReadAhead};
use crate::limits::{CLIENT_NAME_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX, VALUES_PER_REQUEST_MAX};
use crate::protocol::api_key::{API_VERSION_MIN, ApiKey};
use crate::protocol::cursor::{DecodeError, Reader, Wire};
use crate::protocol::delete_topic::DeleteTopicAnswer;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::frame::{Request, RequestHeader, decode_payload, encode_answer_in};
use crate::protocol::group_offsets::{
    CommitOffsetsAnswer, CommitOffsetsRequest, DeleteGroupAnswer, DeleteGroupRequest,
    FetchOffsetsRequest, ListGroupsRequest,
};
use crate::protocol::handshake::{HandshakeRequest, PROTOCOL_VERSION};
use crate::protocol::produce::ProduceRequest;
use crate::protocol::read_letters::{GetLetterRequest, LetterStatsRequest, ListLettersRequest};
use crate::protocol::resolve_letters::{DeleteLettersRequest, RetryLettersRequest};
use crate::protocol::{
    alter_topic::AlterTopicRequest, create_topic::CreateTopicRequest,
    delete_topic::DeleteTopicRequest, fetch::FetchRequest, list_offsets::ListOffsetsRequest,
    metadata::MetadataRequest, producer_id::ProducerIdRequest, reject::RejectRequest,
};

/// A request that is carried out when it is awaited, and comes to the parts of its answer.
pub(super) type Work = Pin<Box<dyn Future<Output = Vec<Bytes>> + Send>>;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Name for markers and logs: what the client called itself, and a number.
    pub(super) name: String,
    /// What is read for its next fetch.
    ahead: Arc<ReadAhead>,
}

/// Reads a request's header.
pub(super) fn header(reader: &mut Reader<'_>) -> Result<RequestHeader, Refusal> {
    RequestHeader::read(reader).map_err(|error| malformed(&error))
}

/// Checks a handshake.
pub(super) fn handshake(
    shared: &Shared,
    header: RequestHeader,
    reader: &mut Reader<'_>,
) -> Result<Peer, Refusal> {
    if header.key() != Some(ApiKey::Handshake) {
        let message = format!(
            "the first request has API key {}, a handshake was to come",
            header.api_key
        );
        return Err(Refusal::new(ErrorCode::HandshakeExpected, message));
    }
    let request: HandshakeRequest = decode_payload(reader).map_err(|error| malformed(&error))?;
    if request.chosen_version().is_none() {
        let message = format!(
            "the client speaks protocol versions {} to {}, the broker speaks {PROTOCOL_VERSION}",
            request.version_min, request.version_max
        );
        return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
    }
    let name_bytes = request.client_name.len();
    if name_bytes > usize::try_from(CLIENT_NAME_BYTES_MAX).unwrap_or(usize::MAX) {
        let message = format!(
            "the client's name has {name_bytes} bytes, at most {CLIENT_NAME_BYTES_MAX} are taken"
        );
        return Err(Refusal::new(ErrorCode::LimitExceeded, message));
    }
    let token = request.token.unwrap_or_default();
    // The public development token protects nothing on loopback: a client may leave it out.
    let is_free = shared.access.is_development && token.is_empty();
    if !is_free && !shared.access.token.matches(token.as_bytes()) {
        return Err(Refusal::new(
            ErrorCode::WrongToken,
            "the token is not the broker's",
        ));
    }
    let number = shared.broker.next_peer();
    Ok(Peer {
        name: format!("{}#{number}", request.client_name),
        ahead: Arc::default(),
    })
}

/// Returns whether a request appends batches: it is carried out while it is read.
pub(super) fn is_produce(header: RequestHeader) -> bool {
    header.key() == Some(ApiKey::Produce) && ApiKey::Produce.understands(header.api_version)
}

/// Appends the batches of a produce request where they stand in `body`. An error means that the request does not decode,
/// or has more batches than are taken; the connection ends then.
pub(super) async fn produce(
    shared: &Shared,
    start: usize,
    body: &mut [u8],
    is_drained: bool,
) -> Result<ProducePending, Refusal> {
    shared.broker.metrics().traffic.produce_requests.inc();
    let mut reader = Reader::new(body);
    reader.take(start).map_err(|error| malformed(&error))?;
    // Not a refusal for each of too many batches: there may be millions of them.
    reader.limit_values(PARTITIONS_PER_REQUEST_MAX);
    let request =
        ProduceRequest::decode_in_place(&mut reader).map_err(|error| malformed(&error))?;
    let is_alone = is_drained && request.batches.len() == 1;
    let mut pending = ProducePending::default();
    for wanted in request.batches {
        let appended = match body.get_mut(wanted.batch) {
            Some(batch) => {
                shared
                    .broker
                    .append(
                        &wanted.topic,
                        wanted.partition,
                        batch,
                        request.acks,
                        is_alone,
                    )
                    .await
            }
            None => Err(Refusal::new(
                ErrorCode::Internal,
                "a decoded range lies outside of its frame",
            )),
        };
        if appended.is_err() {
            shared.broker.metrics().traffic.produce_refusals.inc();
        }
        pending.batches.push(appended);
    }
    Ok(pending)
}

/// Decodes a request, to be carried out when its turn has come. What `reader` has counted then is held in memory until then.
pub(super) fn work(
    shared: &Arc<Shared>,
    peer: &Peer,
    header: RequestHeader,
    reader: &mut Reader<'_>,
) -> Result<Work, Refusal> {
    let Some(key) = header.key() else {
        let message = format!("there is no request with API key {}", header.api_key);
        return Err(Refusal::new(ErrorCode::UnknownApi, message));
    };
    if !key.understands(header.api_version) {
        let message = format!(
            "{} has versions {API_VERSION_MIN} to {}, {} was sent",
            key.name(),
            key.version(),
            header.api_version
        );
        return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
    }
    reader.set_version(header.api_version);
    reader.limit_values(VALUES_PER_REQUEST_MAX);
    let call = Call {
        broker: Arc::clone(&shared.broker),
        id: header.correlation_id,
        version: header.api_version,
    };
    let who = peer.name.clone();
    let ahead = Arc::clone(&peer.ahead);
    match key {
        ApiKey::Handshake | ApiKey::Produce => Err(Refusal::new(
            ErrorCode::HandshakeExpected,
            "the connection has shaken hands already",
        )),
        ApiKey::Metadata => call.blocking(reader, |b, r: MetadataRequest| b.metadata(&r)),
        ApiKey::CreateTopic => call.blocking(reader, |b, r: CreateTopicRequest| b.create_topic(&r)),
        ApiKey::AlterTopic => call.blocking(reader, |b, r: AlterTopicRequest| b.alter_topic(&r)),
        ApiKey::DeleteTopic => call.blocking(reader, |b, r: DeleteTopicRequest| {
            b.delete_topic(&r).map(|()| DeleteTopicAnswer {})
        }),
        ApiKey::ProducerId => call.blocking(reader, |b, _: ProducerIdRequest| b.producer_id()),
        ApiKey::Fetch => call.run(reader, |b, r: FetchRequest| async move {
            b.fetch(&r, &ahead).await
        }),
        ApiKey::ListOffsets => call.blocking(reader, |b, r: ListOffsetsRequest| b.list_offsets(&r)),
        ApiKey::CommitOffsets => call.run(reader, |b, r: CommitOffsetsRequest| async move {
            b.commit_offsets(&r).await.map(|()| CommitOffsetsAnswer {})
        }),
        ApiKey::FetchOffsets => {
            call.blocking(reader, |b, r: FetchOffsetsRequest| b.fetch_offsets(&r))
        }
        ApiKey::ListGroups => call.blocking(reader, |b, _: ListGroupsRequest| Ok(b.list_groups())),
        ApiKey::DeleteGroup => call.blocking(reader, |b, r: DeleteGroupRequest| {
            b.delete_group(&r).map(|()| DeleteGroupAnswer {})
        }),
        ApiKey::Reject => call.run(
            reader,
            |b, r: RejectRequest| async move { b.reject(r).await },
        ),
        ApiKey::ListLetters => call.run(reader, |b, r: ListLettersRequest| async move {
            b.list_letters_in_turn(r).await
        }),
        ApiKey::GetLetter => call.blocking(reader, |b, r: GetLetterRequest| b.get_letter(&r)),
        ApiKey::LetterStats => call.blocking(reader, |b, r: LetterStatsRequest| b.letter_stats(&r)),
        ApiKey::RetryLetters => call.run(reader, |b, r: RetryLettersRequest| async move {
            b.retry_letters(r, who).await
        }),
        ApiKey::DeleteLetters => call.run(reader, |b, r: DeleteLettersRequest| async move {
            b.delete_letters(r, who).await
        }),
    }
}

/// A request that is being decoded.
struct Call {
    broker: Arc<Broker>,
    id: u32,
    version: u16,
}

impl Call {
    /// Carries a request out on the connection's runtime.
    fn run<T, F>(
        self,
        reader: &mut Reader<'_>,
        act: impl FnOnce(Arc<Broker>, T) -> F + Send + 'static,
    ) -> Result<Work, Refusal>
    where
        T: Request + Send + 'static,
        T::Answer: Send,
        F: Future<Output = Result<T::Answer, Refusal>> + Send + 'static,
    {
        let request: T = decode_payload(reader).map_err(|error| malformed(&error))?;
        Ok(Box::pin(async move {
            let answer = act(self.broker, request).await;
            encode_in(self.version, self.id, &answer)
        }))
    }

    /// Carries a request out on a thread that may block on the disk.
    fn blocking<T>(
        self,
        reader: &mut Reader<'_>,
        act: impl FnOnce(&Arc<Broker>, T) -> Result<T::Answer, Refusal> + Send + 'static,
    ) -> Result<Work, Refusal>
    where
        T: Request + Send + 'static,
        T::Answer: Send + 'static,
    {
        let request: T = decode_payload(reader).map_err(|error| malformed(&error))?;
        Ok(Box::pin(async move {
            let Self {
                broker,
                id,
                version,
            } = self;
            let pool = Arc::clone(&broker);
            let done = pool.run(move || act(&broker, request)).await;
            let answer = done.unwrap_or_else(|_| {
                Err(Refusal::new(
                    ErrorCode::Internal,
                    "the request failed inside the broker",
                ))
            });
            encode_in(version, id, &answer)
        }))
    }
}

/// Encodes an answer whose layout is the same in all versions.
pub(super) fn encode<T: Wire>(id: u32, answer: &Result<T, Refusal>) -> Vec<Bytes> {
    encode_in(API_VERSION_MIN, id, answer)
}

/// Encodes an answer in a version's layout; one that does not fit its fields is answered with why.
fn encode_in<T: Wire>(version: u16, id: u32, answer: &Result<T, Refusal>) -> Vec<Bytes> {
    encode_answer_in(version, id, answer).unwrap_or_else(|error| {
        let refusal = Refusal::new(
            ErrorCode::Internal,
            format!("the answer cannot be sent: {error}"),
        );
        encode_answer_in::<T>(version, id, &Err(refusal)).unwrap_or_default()
    })
}

fn malformed(error: &DecodeError) -> Refusal {
    let code = match error {
        DecodeError::TooMany { .. } => ErrorCode::LimitExceeded,
        DecodeError::Truncated { .. }
        | DecodeError::Value { .. }
        | DecodeError::Utf8 { .. }
        | DecodeError::Trailing { .. } => ErrorCode::MalformedRequest,
    };
    Refusal::new(code, error.to_string())
}

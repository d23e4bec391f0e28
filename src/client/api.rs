//! The client: a connection that is made anew when it ends, the requests as methods, and what is known of topics.
//!
//! A request whose repetition changes nothing is repeated when it fails for a reason that may pass, for as long as the
//! options say. One that would (creating and deleting topics) is repeated only when the broker refused it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use storage::offset::Offset;

use super::connection::Connection;
use super::error::ClientError;
use super::options::ClientOptions;
use super::retry::Retry;
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::cursor::Text;
use crate::protocol::delete_topic::DeleteTopicRequest;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::fetch::{FetchAnswer, FetchRequest};
use crate::protocol::frame::Request;
use crate::protocol::group_offsets::{
    CommitOffsetsRequest, CommittedOffset, DeleteGroupRequest, FetchOffsetsRequest, GroupView,
    ListGroupsRequest,
};
use crate::protocol::handshake::HandshakeAnswer;
use crate::protocol::letter::LetterView;
use crate::protocol::list_offsets::{FoundOffset, ListOffsetsRequest, Place, PlaceInPartition};
use crate::protocol::metadata::{MetadataRequest, TopicView};
use crate::protocol::produce::{ProduceAnswer, ProduceRequest};
use crate::protocol::producer_id::{ProducerIdAnswer, ProducerIdRequest};
use crate::protocol::read_letters::{
    GetLetterRequest, LetterStatsAnswer, LetterStatsRequest, ListLettersAnswer, ListLettersRequest,
};
use crate::protocol::reject::{RejectAnswer, RejectRequest};
use crate::protocol::resolve_letters::{
    DeleteLettersAnswer, DeleteLettersRequest, RetryLettersAnswer, RetryLettersRequest,
};
use crate::protocol::selection::Selection;

/// Topics and their partition counts that a client remembers at most.
const TOPICS_KNOWN_MAX: usize = 10_000;

/// A broker, seen from a client. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    connection: tokio::sync::Mutex<Option<Connection>>,
    /// Partition counts by topic. They only grow, and a wrong one is answered with a refusal.
    known: Mutex<HashMap<String, NonZeroU32>>,
}

impl Client {
    /// Takes the options; nothing is sent before the first request.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                connection: tokio::sync::Mutex::new(None),
                known: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// Takes the options and connects, so that a wrong address or token shows at once. Tried for as long as the options say.
    ///
    /// # Errors
    /// As [`Connection::open`]; [`ClientError::GaveUp`].
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self::new(options);
        let mut retry = client.retry();
        while let Err(error) = client.connection().await {
            retry.pause(error).await?;
        }
        Ok(client)
    }

    /// Returns a client of the same broker with a connection of its own: a long poll holds up what comes behind it.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::new(self.inner.options.clone())
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Returns the connection, made anew if it has ended. Tries once.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn connection(&self) -> Result<Connection, ClientError> {
        let mut current = self.inner.connection.lock().await;
        if let Some(connection) = current.as_ref()
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&self.inner.options).await?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    /// Returns what the broker said in its handshake.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn terms(&self) -> Result<HandshakeAnswer, ClientError> {
        Ok(self.connection().await?.terms().clone())
    }

    /// Describes topics: all, or those named.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn metadata(
        &self,
        topics: Option<Vec<String>>,
    ) -> Result<Vec<(String, Result<TopicView, Refusal>)>, ClientError> {
        let answer = self.call(&MetadataRequest { topics }).await?;
        for (name, topic) in &answer.topics {
            match topic {
                Ok(topic) => self.remember(topic),
                Err(_) => {
                    self.inner.known.lock().remove(name);
                }
            }
        }
        Ok(answer.topics)
    }

    /// Describes one topic.
    ///
    /// # Errors
    /// As [`Client::call`], [`ClientError::Refused`] with [`ErrorCode::UnknownTopic`] among them.
    pub async fn topic(&self, name: &str) -> Result<TopicView, ClientError> {
        let api = MetadataRequest::KEY.name();
        let topics = self.metadata(Some(vec![name.to_owned()])).await?;
        match topics.into_iter().next() {
            Some((_, Ok(topic))) => Ok(topic),
            Some((_, Err(refusal))) => Err(ClientError::Refused { api, refusal }),
            None => Err(self.unexpected("it describes no topic")),
        }
    }

    /// Returns a topic's partition count, from memory if it is known.
    ///
    /// # Errors
    /// As [`Client::topic`].
    pub async fn partition_count(&self, topic: &str) -> Result<NonZeroU32, ClientError> {
        if let Some(count) = self.inner.known.lock().get(topic) {
            return Ok(*count);
        }
        let view = self.topic(topic).await?;
        partition_count(&view).ok_or_else(|| self.unexpected("the topic has no partitions"))
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// As [`Client::call_once`], [`ErrorCode::TopicExists`] among them.
    pub async fn create_topic(
        &self,
        request: &CreateTopicRequest,
    ) -> Result<TopicView, ClientError> {
        let topic = self.call_once(request).await?;
        self.remember(&topic);
        Ok(topic)
    }

    /// Changes a topic's settings, adds partitions.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn alter_topic(&self, request: &AlterTopicRequest) -> Result<TopicView, ClientError> {
        let topic = self.call(request).await?;
        self.remember(&topic);
        Ok(topic)
    }

    /// Deletes a topic; with `force` also one that is in use.
    ///
    /// # Errors
    /// As [`Client::call_once`], [`ErrorCode::TopicInUse`] among them.
    pub async fn delete_topic(&self, name: &str, force: bool) -> Result<(), ClientError> {
        let name = name.to_owned();
        self.inner.known.lock().remove(&name);
        self.call_once(&DeleteTopicRequest { name, force }).await?;
        Ok(())
    }

    /// Asks for an id for an idempotent producer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn producer_id(&self) -> Result<ProducerIdAnswer, ClientError> {
        self.call(&ProducerIdRequest {}).await
    }

    /// Appends batches, once: what to repeat is the producer's business.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn produce(&self, request: &ProduceRequest) -> Result<ProduceAnswer, ClientError> {
        self.connection().await?.call(request).await
    }

    /// Reads batches, once. Holds up the other requests of this client for as long as it waits.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn fetch(&self, request: &FetchRequest) -> Result<FetchAnswer, ClientError> {
        let wait = Duration::from_millis(u64::from(request.wait_ms_max));
        let connection = self.connection().await?;
        connection.submit(request, wait).await?.answer().await
    }

    /// Finds the offset of a place in a partition.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::PartitionRefused`].
    pub async fn find_offset(
        &self,
        topic: &str,
        partition: u32,
        place: Place,
    ) -> Result<FoundOffset, ClientError> {
        let mut found = self.find_offsets(topic, &[partition], place).await?;
        found
            .pop()
            .ok_or_else(|| self.unexpected("it has no offset"))
    }

    /// Finds the offset of the same place in several partitions, in their order.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::PartitionRefused`].
    pub async fn find_offsets(
        &self,
        topic: &str,
        partitions: &[u32],
        place: Place,
    ) -> Result<Vec<FoundOffset>, ClientError> {
        let places = partitions.iter().map(|partition| PlaceInPartition {
            topic: topic.to_owned(),
            partition: *partition,
            place,
        });
        let request = ListOffsetsRequest {
            partitions: places.collect(),
        };
        let answer = self.call(&request).await?;
        if answer.partitions.len() != partitions.len() {
            return Err(self.unexpected("it has another number of partitions"));
        }
        let found = partitions.iter().zip(answer.partitions);
        found
            .map(|(partition, found)| {
                found.map_err(|refusal| ClientError::PartitionRefused {
                    api: ListOffsetsRequest::KEY.name(),
                    topic: topic.into(),
                    partition: *partition,
                    refusal,
                })
            })
            .collect()
    }

    /// Stores the offsets that a group has got to.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<CommittedOffset>,
    ) -> Result<(), ClientError> {
        let group = group.to_owned();
        self.call(&CommitOffsetsRequest { group, offsets }).await?;
        Ok(())
    }

    /// Returns the offsets that a group has got to: in all topics, or in those named.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn committed_offsets(
        &self,
        group: &str,
        topics: Option<Vec<String>>,
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let group = group.to_owned();
        let answer = self.call(&FetchOffsetsRequest { group, topics }).await?;
        Ok(answer.offsets)
    }

    /// Lists the groups with their lag.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn groups(&self) -> Result<Vec<GroupView>, ClientError> {
        Ok(self.call(&ListGroupsRequest {}).await?.groups)
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// As [`Client::call_once`].
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let group = group.to_owned();
        self.call_once(&DeleteGroupRequest { group }).await?;
        Ok(())
    }

    /// Dead-letters a record on behalf of a group.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn reject(&self, request: &RejectRequest) -> Result<RejectAnswer, ClientError> {
        self.call(request).await
    }

    /// Lists a page of live dead letters.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn letters(
        &self,
        request: &ListLettersRequest,
    ) -> Result<ListLettersAnswer, ClientError> {
        self.call(request).await
    }

    /// Returns one live dead letter.
    ///
    /// # Errors
    /// As [`Client::call`], [`ErrorCode::UnknownLetter`] among them.
    pub async fn letter(&self, id: &str) -> Result<LetterView, ClientError> {
        self.call(&GetLetterRequest { id: id.to_owned() }).await
    }

    /// Republishes a page of dead letters. A letter is republished once, however often this is repeated.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn retry_letters(
        &self,
        request: &RetryLettersRequest,
    ) -> Result<RetryLettersAnswer, ClientError> {
        self.call(request).await
    }

    /// Resolves a page of dead letters by deleting them.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_letters(
        &self,
        request: &DeleteLettersRequest,
    ) -> Result<DeleteLettersAnswer, ClientError> {
        self.call(request).await
    }

    /// Counts dead letters.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn letter_stats(
        &self,
        topic: &str,
        selection: Selection,
    ) -> Result<LetterStatsAnswer, ClientError> {
        let topic = topic.to_owned();
        self.call(&LetterStatsRequest { topic, selection }).await
    }

    /// Sends a request whose repetition changes nothing, and repeats it while it fails for a reason that may pass.
    ///
    /// # Errors
    /// [`ClientError::GaveUp`]; what [`ClientError::is_retryable`] says is no use to repeat.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        let mut retry = self.retry();
        loop {
            match self.attempt(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// Sends a request, and repeats it only when it was certainly not carried out.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::Disconnected`] and [`ClientError::TimedOut`] when the outcome is unknown.
    pub async fn call_once<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        let mut retry = self.retry();
        loop {
            match self.attempt(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_outcome_unknown() => return Err(error),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn attempt<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        self.connection().await?.call(request).await
    }

    pub(super) fn retry(&self) -> Retry {
        Retry::new(self.inner.options.backoff, self.inner.options.retry_for)
    }

    fn remember(&self, topic: &TopicView) {
        let mut known = self.inner.known.lock();
        if known.len() >= TOPICS_KNOWN_MAX {
            known.clear();
        }
        if let Some(count) = partition_count(topic) {
            known.insert(topic.name.clone(), count);
        }
    }

    fn unexpected(&self, found: &'static str) -> ClientError {
        ClientError::Unexpected {
            addr: self.inner.options.addr.clone(),
            found,
        }
    }
}

fn partition_count(topic: &TopicView) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(topic.partitions.len()).ok()?)
}

/// Makes a request to reject a record.
#[must_use]
pub fn rejection(
    group: &str,
    place: (&str, u32, Offset),
    reason: &str,
    details: Option<&str>,
) -> RejectRequest {
    let (topic, partition, offset) = place;
    RejectRequest {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        offset,
        reason: Text(reason.to_owned()),
        details: details.map(|details| Text(details.to_owned())),
    }
}

/// Returns whether the error says that there is no such topic.
#[must_use]
pub fn is_unknown_topic(error: &ClientError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| refusal.code == ErrorCode::UnknownTopic)
}

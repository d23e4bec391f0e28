//! Topics: describing, creating, changing and deleting them, and what the client remembers of them.

use std::num::NonZeroU32;

use super::Client;
use crate::client::error::ClientError;
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::delete_topic::DeleteTopicRequest;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::frame::Request;
use crate::protocol::metadata::{MetadataRequest, TopicView};

/// Topics and their partition counts that a client remembers at most.
const TOPICS_KNOWN_MAX: usize = 10_000;

impl Client {
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
        let doing = MetadataRequest::KEY.doing();
        let topics = self.metadata(Some(vec![name.to_owned()])).await?;
        match topics.into_iter().next() {
            Some((_, Ok(topic))) => Ok(topic),
            Some((_, Err(refusal))) => Err(ClientError::Refused { doing, refusal }),
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

    fn remember(&self, topic: &TopicView) {
        let mut known = self.inner.known.lock();
        if known.len() >= TOPICS_KNOWN_MAX {
            known.clear();
        }
        if let Some(count) = partition_count(topic) {
            known.insert(topic.name.clone(), count);
        }
    }
}

fn partition_count(topic: &TopicView) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(topic.partitions.len()).ok()?)
}

/// Returns whether the error says that there is no such topic.
#[must_use]
pub fn is_unknown_topic(error: &ClientError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| refusal.code == ErrorCode::UnknownTopic)
}

//! Records: producer ids, appending and reading batches, finding offsets.

use std::time::Duration;

use super::Client;
use crate::client::error::ClientError;
use crate::protocol::fetch::{FetchAnswer, FetchRequest};
use crate::protocol::frame::Request;
use crate::protocol::list_offsets::{FoundOffset, ListOffsetsRequest, Place, PlaceInPartition};
use crate::protocol::produce::{ProduceAnswer, ProduceRequest};
use crate::protocol::producer_id::{ProducerIdAnswer, ProducerIdRequest};

impl Client {
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
    /// As [`Connection::call`](crate::client::Connection::call).
    pub async fn produce(&self, request: &ProduceRequest) -> Result<ProduceAnswer, ClientError> {
        self.connection().await?.call(request).await
    }

    /// Reads batches, once. Holds up the other requests of this client for as long as it waits.
    ///
    /// # Errors
    /// As [`Connection::call`](crate::client::Connection::call).
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
                    doing: ListOffsetsRequest::KEY.doing(),
                    topic: topic.into(),
                    partition: *partition,
                    refusal,
                })
            })
            .collect()
    }
}

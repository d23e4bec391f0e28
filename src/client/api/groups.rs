//! Consumer groups and the offsets that they have got to.

use super::Client;
use crate::client::error::ClientError;
use crate::protocol::group_offsets::{
    CommitOffsetsRequest, CommittedOffset, DeleteGroupRequest, FetchOffsetsRequest, GroupView,
    ListGroupsRequest,
};

impl Client {
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
}

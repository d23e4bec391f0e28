//! `/admin/v1/groups`: consumer groups, what they committed, and how far they are behind.

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use crate::http::response;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::group_offsets::{DeleteGroupRequest, GroupPartitionView, GroupView};

/// The groups.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupList {
    /// By name.
    groups: Vec<Group>,
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Group {
    /// Name.
    name: String,
    /// Records behind, over all partitions.
    lag: u64,
    /// What it committed.
    partitions: Vec<GroupPartition>,
}

/// How far a group has got in one partition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupPartition {
    /// Topic.
    topic: String,
    /// Index of the partition within the topic.
    partition: u32,
    /// The next offset to read.
    offset: u64,
    /// End of what can be read (exclusive).
    high_watermark: u64,
    /// Records between the two.
    lag: u64,
    /// The client's own words.
    metadata: String,
}

impl From<GroupView> for Group {
    fn from(view: GroupView) -> Self {
        let lag = view
            .partitions
            .iter()
            .fold(0_u64, |sum, one| sum.saturating_add(one.lag));
        Self {
            name: view.name,
            lag,
            partitions: view
                .partitions
                .into_iter()
                .map(GroupPartition::from)
                .collect(),
        }
    }
}

impl From<GroupPartitionView> for GroupPartition {
    fn from(view: GroupPartitionView) -> Self {
        Self {
            topic: view.committed.topic,
            partition: view.committed.partition,
            offset: view.committed.offset.0,
            high_watermark: view.high_watermark.0,
            lag: view.lag,
            metadata: view.committed.metadata,
        }
    }
}

/// Lists the groups with their lag.
#[utoipa::path(get, path = "/admin/v1/groups", tag = "groups", operation_id = "list_groups", responses(
    (status = 200, description = "All groups with their committed offsets.", body = GroupList),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn list(call: Call) -> Answer {
    let answer = call.blocking(|broker| Ok(broker.list_groups())).await?;
    ok(&GroupList {
        groups: answer.groups.into_iter().map(Group::from).collect(),
    })
}

/// Describes a group.
#[utoipa::path(get, path = "/admin/v1/groups/{group}", tag = "groups", operation_id = "describe_group",
    params(("group" = String, Path, description = "The group's name")), responses(
    (status = 200, description = "The group with its committed offsets and its lag.", body = Group),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn describe(call: Call) -> Answer {
    let name = call.param("group");
    let found = call.blocking(move |broker| {
        let mut groups = broker.list_groups().groups.into_iter();
        groups.find(|group| group.name == name).ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownGroup,
                format!("there is no group {name:?}"),
            )
        })
    });
    ok(&Group::from(found.await?))
}

/// Forgets a group's committed offsets. Answered when that is synced.
#[utoipa::path(delete, path = "/admin/v1/groups/{group}", tag = "groups", operation_id = "delete_group",
    params(("group" = String, Path, description = "The group's name")), responses(
    (status = 204, description = "The committed offsets of the group are deleted."),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn delete(call: Call) -> Answer {
    let request = DeleteGroupRequest {
        group: call.param("group"),
    };
    call.blocking(move |broker| broker.delete_group(&request))
        .await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

//! `CommitOffsets`, `FetchOffsets`, `ListGroups`, `DeleteGroup`: how far groups have got. A group is a name for committed offsets;
//! it begins with its first commit.
//!
//! | `CommitOffsets` | type | meaning |
//! |---|---|---|
//! | group | string | |
//! | offsets | array of committed | all or nothing; at most [`PARTITIONS_PER_REQUEST_MAX`](crate::limits::PARTITIONS_PER_REQUEST_MAX) |
//!
//! | committed | type | meaning |
//! |---|---|---|
//! | topic, partition index | string, `u32` | |
//! | offset | offset | the next one to be read |
//! | metadata | string | the client's own, given back as it came |
//!
//! The answer is empty; it comes when the offsets are synced.
//!
//! | `FetchOffsets` | type | meaning |
//! |---|---|---|
//! | group | string | |
//! | topics | optional array of string | none: all; at most [`TOPICS_PER_REQUEST_MAX`](crate::limits::TOPICS_PER_REQUEST_MAX) |
//! | answer: offsets | array of committed | only where something is committed |
//!
//! | `ListGroups` | type | meaning |
//! |---|---|---|
//! | request | | empty |
//! | answer: groups | array of (name string, partitions array of (committed, high watermark offset, lag `u64`)) | by name |
//!
//! `DeleteGroup`: the group, a string; the answer is empty.

use storage::offset::Offset;

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::frame::Request;

/// An offset that a group has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Topic.
    pub topic: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// The next offset to read.
    pub offset: Offset,
    /// The client's own.
    pub metadata: String,
}
wire_struct!(CommittedOffset {
    topic,
    partition,
    offset,
    metadata
});

/// Stores offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsetsRequest {
    /// Group.
    pub group: String,
    /// The offsets.
    pub offsets: Vec<CommittedOffset>,
}
wire_struct!(CommitOffsetsRequest { group, offsets });

/// The offsets are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitOffsetsAnswer {}
wire_struct!(CommitOffsetsAnswer {});

impl Request for CommitOffsetsRequest {
    const KEY: ApiKey = ApiKey::CommitOffsets;
    type Answer = CommitOffsetsAnswer;
}

/// Asks for offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsetsRequest {
    /// Group.
    pub group: String,
    /// Topics; `None` for all.
    pub topics: Option<Vec<String>>,
}
wire_struct!(FetchOffsetsRequest { group, topics });

/// The offsets that are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchOffsetsAnswer {
    /// The offsets.
    pub offsets: Vec<CommittedOffset>,
}
wire_struct!(FetchOffsetsAnswer { offsets });

impl Request for FetchOffsetsRequest {
    const KEY: ApiKey = ApiKey::FetchOffsets;
    type Answer = FetchOffsetsAnswer;
}

/// Asks for the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListGroupsRequest {}
wire_struct!(ListGroupsRequest {});

/// The groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListGroupsAnswer {
    /// The groups, by name.
    pub groups: Vec<GroupView>,
}
wire_struct!(ListGroupsAnswer { groups });

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Name.
    pub name: String,
    /// Its partitions.
    pub partitions: Vec<GroupPartitionView>,
}
wire_struct!(GroupView { name, partitions });

/// How far a group has got in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartitionView {
    /// What it committed.
    pub committed: CommittedOffset,
    /// End of what it could read (exclusive).
    pub high_watermark: Offset,
    /// Records between the two.
    pub lag: u64,
}
wire_struct!(GroupPartitionView {
    committed,
    high_watermark,
    lag
});

impl Request for ListGroupsRequest {
    const KEY: ApiKey = ApiKey::ListGroups;
    type Answer = ListGroupsAnswer;
}

/// Deletes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroupRequest {
    /// Group.
    pub group: String,
}
wire_struct!(DeleteGroupRequest { group });

/// The group is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteGroupAnswer {}
wire_struct!(DeleteGroupAnswer {});

impl Request for DeleteGroupRequest {
    const KEY: ApiKey = ApiKey::DeleteGroup;
    type Answer = DeleteGroupAnswer;
}

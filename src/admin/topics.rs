//! `/admin/v1/topics`: listing, creating, describing, changing and deleting topics.

use hyper::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use crate::http::refusal::refused;
use crate::http::response;
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::delete_topic::DeleteTopicRequest;
use crate::protocol::metadata::{LetterCounts, MetadataRequest, PartitionView, TopicView};
use crate::protocol::settings::{self as wire, Limit, SettingsChange};

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Durability {
    /// When it is synced.
    Synced,
    /// When it is written; it is synced in the background.
    Written,
}

/// The topics.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicList {
    /// By name.
    topics: Vec<Topic>,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Topic {
    /// Name.
    name: String,
    /// When an append is acknowledged.
    durability: Durability,
    /// Settings.
    settings: Settings,
    /// Partitions, in the order of their index.
    partitions: Vec<Partition>,
}

/// A topic's settings. Null: no limit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Settings {
    /// Size at which a segment is sealed, in bytes.
    segment_bytes: u64,
    /// Age at which a segment is sealed, in milliseconds.
    segment_ms: u64,
    /// Age beyond which records are deleted, in milliseconds.
    retention_ms: Option<u64>,
    /// Size of a partition beyond which its oldest records are deleted, in bytes.
    retention_bytes: Option<u64>,
    /// Age beyond which dead letters are deleted, in milliseconds.
    dead_letter_retention_ms: Option<u64>,
    /// Size of a partition's dead-letter log beyond which its oldest letters are deleted, in bytes.
    dead_letter_retention_bytes: Option<u64>,
    /// Largest record, in bytes.
    record_bytes_max: u64,
    /// Largest batch, in bytes.
    batch_bytes_max: u64,
}

/// A partition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Partition {
    /// Index within the topic.
    index: u32,
    /// Number within the broker, never used again.
    number: u32,
    /// First offset that can be read.
    log_start_offset: u64,
    /// End of what can be read (exclusive).
    high_watermark: u64,
    /// Next offset to assign.
    log_end_offset: u64,
    /// How many dead letters there are and were.
    dead_letters: LetterCountsView,
}

/// How many dead letters there are and were. Their sum is how many ever were.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LetterCounts)]
pub(super) struct LetterCountsView {
    /// Neither resolved nor expired.
    live: u64,
    /// Resolved by a republish.
    republished: u64,
    /// Resolved by a delete.
    deleted: u64,
    /// Gone with their segment before they were resolved.
    expired: u64,
}

/// A topic to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTopic {
    /// Name: 1 to 249 of `a-z A-Z 0-9 . _ -`, not beginning with `_`.
    name: String,
    /// How many partitions it gets; 1 if not given.
    partition_count: Option<u32>,
    /// When an append is acknowledged; the broker's default if not given. Stays for the topic's life.
    durability: Option<Durability>,
    /// What departs from the broker's defaults.
    #[serde(default)]
    settings: Change,
}

/// A change of a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicChange {
    /// How many partitions there shall be, not fewer than there are.
    partition_count: Option<u32>,
    /// What changes of its settings.
    #[serde(default)]
    settings: Change,
}

/// A change of settings. What is not given stays as it is, at creation the broker's default; null takes a limit away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// Size at which a segment is sealed, in bytes.
    segment_bytes: Option<u64>,
    /// Age at which a segment is sealed, in milliseconds.
    segment_ms: Option<u64>,
    /// Age beyond which records are deleted, in milliseconds; null: none.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<u64>)]
    retention_ms: Option<Limit>,
    /// Size of a partition beyond which its oldest records are deleted, in bytes; null: none.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<u64>)]
    retention_bytes: Option<Limit>,
    /// Age beyond which dead letters are deleted, in milliseconds; null: none.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<u64>)]
    dead_letter_retention_ms: Option<Limit>,
    /// Size of a partition's dead-letter log beyond which its oldest letters are deleted, in bytes; null: none.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<u64>)]
    dead_letter_retention_bytes: Option<Limit>,
    /// Largest record, in bytes.
    record_bytes_max: Option<u64>,
    /// Largest batch, in bytes.
    batch_bytes_max: Option<u64>,
}

/// A field that is there: null takes the limit away.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Limit>, D::Error> {
    let value = Option::<u64>::deserialize(deserializer)?;
    Ok(Some(value.map_or(Limit::Unlimited, Limit::AtMost)))
}

impl From<Change> for SettingsChange {
    fn from(change: Change) -> Self {
        Self {
            segment_bytes: change.segment_bytes,
            segment_ms: change.segment_ms,
            retention_ms: change.retention_ms,
            retention_bytes: change.retention_bytes,
            dead_letter_retention_ms: change.dead_letter_retention_ms,
            dead_letter_retention_bytes: change.dead_letter_retention_bytes,
            record_bytes_max: change.record_bytes_max,
            batch_bytes_max: change.batch_bytes_max,
        }
    }
}

impl From<TopicView> for Topic {
    fn from(view: TopicView) -> Self {
        let settings = view.settings;
        Self {
            name: view.name,
            durability: match view.durability {
                wire::Durability::Synced => Durability::Synced,
                wire::Durability::Written => Durability::Written,
            },
            settings: Settings {
                segment_bytes: settings.segment_bytes,
                segment_ms: settings.segment_ms,
                retention_ms: settings.retention_ms,
                retention_bytes: settings.retention_bytes,
                dead_letter_retention_ms: settings.dead_letter_retention_ms,
                dead_letter_retention_bytes: settings.dead_letter_retention_bytes,
                record_bytes_max: settings.record_bytes_max,
                batch_bytes_max: settings.batch_bytes_max,
            },
            partitions: view.partitions.into_iter().map(Partition::from).collect(),
        }
    }
}

impl From<PartitionView> for Partition {
    fn from(view: PartitionView) -> Self {
        Self {
            index: view.index,
            number: view.number,
            log_start_offset: view.log_start_offset.0,
            high_watermark: view.high_watermark.0,
            log_end_offset: view.log_end_offset.0,
            dead_letters: view.letters.into(),
        }
    }
}

impl From<LetterCounts> for LetterCountsView {
    fn from(counts: LetterCounts) -> Self {
        Self {
            live: counts.live,
            republished: counts.republished,
            deleted: counts.deleted,
            expired: counts.expired,
        }
    }
}

/// Lists the topics.
#[utoipa::path(get, path = "/admin/v1/topics", tag = "topics", operation_id = "list_topics", responses(
    (status = 200, description = "All topics.", body = TopicList),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn list(call: Call) -> Answer {
    let answer = call
        .blocking(|broker| broker.metadata(&MetadataRequest { topics: None }))
        .await?;
    let topics = answer
        .topics
        .into_iter()
        .filter_map(|(_, topic)| topic.ok());
    ok(&TopicList {
        topics: topics.map(Topic::from).collect(),
    })
}

/// Creates a topic. Answered when the creation is synced.
#[utoipa::path(post, path = "/admin/v1/topics", tag = "topics", operation_id = "create_topic", request_body = NewTopic, responses(
    (status = 201, description = "The topic as it was created.", body = Topic),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn create(call: Call) -> Answer {
    let new: NewTopic = call.json()?;
    let created = call.blocking(move |broker| {
        let durability = match new.durability {
            None => broker.default_durability(),
            Some(Durability::Synced) => wire::Durability::Synced,
            Some(Durability::Written) => wire::Durability::Written,
        };
        broker.create_topic(&CreateTopicRequest {
            name: new.name,
            partition_count: new.partition_count.unwrap_or(1),
            durability,
            change: new.settings.into(),
        })
    });
    Ok(response::json(
        StatusCode::CREATED,
        &Topic::from(created.await?),
    ))
}

/// Describes a topic.
#[utoipa::path(get, path = "/admin/v1/topics/{topic}", tag = "topics", operation_id = "describe_topic",
    params(("topic" = String, Path, description = "The topic's name")), responses(
    (status = 200, description = "The topic with its settings and partitions.", body = Topic),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn describe(call: Call) -> Answer {
    let names = vec![call.param("topic")];
    let answer = call
        .blocking(|broker| {
            broker.metadata(&MetadataRequest {
                topics: Some(names),
            })
        })
        .await?;
    match answer.topics.into_iter().next() {
        Some((_, Ok(topic))) => ok(&Topic::from(topic)),
        Some((_, Err(refusal))) => Err(refused(&refusal)),
        None => Err(crate::http::ApiError::not_found("no topic was found")),
    }
}

/// Changes a topic's settings and adds partitions. Answered when the change is synced.
#[utoipa::path(patch, path = "/admin/v1/topics/{topic}", tag = "topics", operation_id = "alter_topic",
    params(("topic" = String, Path, description = "The topic's name")), request_body = TopicChange, responses(
    (status = 200, description = "The topic as it is now.", body = Topic),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn alter(call: Call) -> Answer {
    let change: TopicChange = call.json()?;
    let request = AlterTopicRequest {
        name: call.param("topic"),
        partition_count: change.partition_count,
        change: change.settings.into(),
    };
    let altered = call
        .blocking(move |broker| broker.alter_topic(&request))
        .await?;
    ok(&Topic::from(altered))
}

/// Deletes a topic with its records and dead letters. Answered when the deletion is synced.
#[utoipa::path(delete, path = "/admin/v1/topics/{topic}", tag = "topics", operation_id = "delete_topic",
    params(("topic" = String, Path, description = "The topic's name"),
        ("force" = Option<bool>, Query, description = "Also with live dead letters or committed offsets")), responses(
    (status = 204, description = "The topic and its data are deleted."),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn delete(call: Call) -> Answer {
    let request = DeleteTopicRequest {
        name: call.param("topic"),
        force: call.query.switch("force")?,
    };
    call.blocking(move |broker| broker.delete_topic(&request))
        .await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

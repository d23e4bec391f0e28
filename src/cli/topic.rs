//! `redrive topic`: create, list, describe, alter, delete.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse::{self, Limit};
use super::remote::{self, Patience};
use super::{http, view};
use crate::client::Client;
use crate::config::{format_bytes, format_duration_ms};
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::metadata::{PartitionView, TopicView};
use crate::protocol::settings::{self, Durability, SettingsChange};

/// When a batch is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// After it was synced: survives any crash
    Synced,
    /// After it was written: survives a crash of the process, not of the machine
    Written,
}

/// `redrive topic ...`
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    #[command(
        after_help = "Example:\n  redrive topic create flights --partitions 8 --retention-ms 30d"
    )]
    Create {
        /// Name: 1 to 249 of a-z A-Z 0-9 . _ - and not beginning with _
        #[arg(value_parser = parse::topic_name)]
        name: String,
        /// Number of partitions; more can be added later, none removed
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        /// When a batch is acknowledged; fixed for the topic's life
        #[arg(long, value_enum)]
        durability: Option<DurabilityArg>,
        /// What else is set.
        #[command(flatten)]
        settings: TopicSettingsArgs,
    },
    /// List topics
    List,
    /// Show a topic's settings, partitions and offsets
    Describe {
        /// Name
        name: String,
        /// Show each segment as well
        #[arg(long)]
        segments: bool,
    },
    /// Change a topic's settings, or add partitions
    Alter {
        /// Name
        name: String,
        /// New number of partitions, not below the present one; keys may then map to other partitions
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: Option<u32>,
        /// What is to change.
        #[command(flatten)]
        settings: TopicSettingsArgs,
    },
    /// Delete a topic and all its data
    Delete {
        /// Name
        name: String,
        /// Delete it although it has live dead letters, pending messages or committed groups
        #[arg(long)]
        force: bool,
    },
}

/// Settings that can be given at creation and changed later.
#[derive(Debug, Clone, Args)]
pub struct TopicSettingsArgs {
    /// Size at which a segment is sealed, as 128MiB
    #[arg(long, value_name = "SIZE", value_parser = parse::bytes_u32)]
    pub segment_bytes: Option<u32>,
    /// Age at which a segment is sealed, as 1d
    #[arg(long, value_name = "DURATION", value_parser = parse::duration_ms)]
    pub segment_ms: Option<i64>,
    /// Age from which sealed segments are deleted, as 7d, or none
    #[arg(long, value_name = "DURATION", value_parser = parse::limit_ms)]
    pub retention_ms: Option<Limit<i64>>,
    /// Size above which a partition's oldest segments are deleted, as 10GiB, or none
    #[arg(long, value_name = "SIZE", value_parser = parse::limit_bytes)]
    pub retention_bytes: Option<Limit<u64>>,
    /// Age from which dead letters are deleted, as 30d, or none
    #[arg(long, value_name = "DURATION", value_parser = parse::limit_ms)]
    pub dead_letter_retention_ms: Option<Limit<i64>>,
    /// Size above which a partition's oldest dead letters are deleted, as 1GiB, or none
    #[arg(long, value_name = "SIZE", value_parser = parse::limit_bytes)]
    pub dead_letter_retention_bytes: Option<Limit<u64>>,
    /// Largest record, as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = parse::bytes_u32)]
    pub record_bytes_max: Option<u32>,
    /// Largest batch, as 8MiB
    #[arg(long, value_name = "SIZE", value_parser = parse::bytes_u32)]
    pub batch_bytes_max: Option<u32>,
}

/// Runs `redrive topic ...`.
pub(super) fn run(
    command: &TopicCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let client = || remote::client(connection, Patience::None);
    remote::block_on(async {
        match command {
            TopicCommand::Create {
                name,
                partitions,
                durability,
                settings,
            } => {
                let request = CreateTopicRequest {
                    name: name.clone(),
                    partition_count: *partitions,
                    durability: durability.map_or(Durability::Synced, Durability::from),
                    change: settings.change()?,
                };
                let topic = client().create_topic(&request).await?;
                say(&topic, "created", output)
            }
            TopicCommand::List => list(&client(), output).await,
            TopicCommand::Describe { name, segments } => {
                if *segments {
                    connection.check_pair()?;
                }
                let topic = client().topic(name).await?;
                let details = if *segments {
                    Some(details(connection, &topic).await?)
                } else {
                    None
                };
                describe(&topic, details, output)
            }
            TopicCommand::Alter {
                name,
                partitions,
                settings,
            } => {
                let change = settings.change()?;
                if partitions.is_none() && change == SettingsChange::default() {
                    let message = "say what to change, as --retention-ms 30d or --partitions 8";
                    return Err(CliError::usage(message));
                }
                let request = AlterTopicRequest {
                    name: name.clone(),
                    partition_count: *partitions,
                    change,
                };
                let client = client();
                let before = client.topic(name).await?;
                let topic = client.alter_topic(&request).await?;
                say(&topic, altered(&before, &topic), output)
            }
            TopicCommand::Delete { name, force } => {
                client().delete_topic(name, *force).await?;
                if output.is_json() {
                    return output.json(&serde_json::json!({ "deleted": name }));
                }
                output.line(&format!("deleted topic {name}"))
            }
        }
    })
}

impl From<DurabilityArg> for Durability {
    fn from(durability: DurabilityArg) -> Self {
        match durability {
            DurabilityArg::Synced => Self::Synced,
            DurabilityArg::Written => Self::Written,
        }
    }
}

impl TopicSettingsArgs {
    fn change(&self) -> Result<SettingsChange, CliError> {
        Ok(SettingsChange {
            segment_bytes: self.segment_bytes.map(u64::from),
            segment_ms: self.segment_ms.map(ms).transpose()?,
            retention_ms: self.retention_ms.map(limit_ms).transpose()?,
            retention_bytes: self.retention_bytes.map(limit_bytes),
            dead_letter_retention_ms: self.dead_letter_retention_ms.map(limit_ms).transpose()?,
            dead_letter_retention_bytes: self.dead_letter_retention_bytes.map(limit_bytes),
            record_bytes_max: self.record_bytes_max.map(u64::from),
            batch_bytes_max: self.batch_bytes_max.map(u64::from),
        })
    }
}

fn ms(ms: i64) -> Result<u64, CliError> {
    u64::try_from(ms).map_err(|_error| CliError::usage(format!("{ms} ms is before it began")))
}

fn limit_ms(limit: Limit<i64>) -> Result<settings::Limit, CliError> {
    Ok(match limit.0 {
        None => settings::Limit::Unlimited,
        Some(at_most) => settings::Limit::AtMost(ms(at_most)?),
    })
}

fn limit_bytes(limit: Limit<u64>) -> settings::Limit {
    limit
        .0
        .map_or(settings::Limit::Unlimited, settings::Limit::AtMost)
}

/// Says what an order to alter a topic has come to.
fn altered(before: &TopicView, after: &TopicView) -> &'static str {
    let is_same =
        before.settings == after.settings && before.partitions.len() == after.partitions.len();
    if is_same {
        "nothing changed of"
    } else {
        "altered"
    }
}

fn say(topic: &TopicView, done: &str, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.json(&view::topic(topic));
    }
    let partitions = u64::try_from(topic.partitions.len()).unwrap_or(u64::MAX);
    output.line(&format!(
        "{done} topic {}: {}, {}",
        topic.name,
        view::counted(partitions, "partition"),
        view::durability(topic.durability),
    ))
}

async fn list(client: &Client, output: &mut Output) -> Result<(), CliError> {
    let mut topics = Vec::new();
    for (name, topic) in client.metadata(None).await? {
        match topic {
            Ok(topic) => topics.push(topic),
            Err(refusal) => remote::note(&format!("{name}: {refusal}")),
        }
    }
    if output.is_json() {
        let topics: Vec<_> = topics.iter().map(view::topic).collect();
        return output.json(&topics);
    }
    let rows = topics.iter().map(|topic| {
        let sum = |of: fn(&PartitionView) -> u64| -> String {
            let all = topic.partitions.iter().map(of);
            all.fold(0_u64, u64::saturating_add).to_string()
        };
        vec![
            topic.name.clone(),
            topic.partitions.len().to_string(),
            view::durability(topic.durability).to_owned(),
            sum(records),
            sum(|partition| partition.letters.live),
        ]
    });
    let head = [
        "TOPIC",
        "PARTITIONS",
        "DURABILITY",
        "OFFSETS",
        "DEAD LETTERS",
    ];
    output.table(&head, rows)
}

fn records(partition: &PartitionView) -> u64 {
    let (start, end) = (partition.log_start_offset, partition.high_watermark);
    end.0.saturating_sub(start.0)
}

fn describe(
    topic: &TopicView,
    details: Option<Vec<Value>>,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut json = view::topic(topic);
    if output.is_json() {
        let partitions = json.get_mut("partitions").and_then(Value::as_array_mut);
        let details = details.into_iter().flatten();
        for (partition, mut detail) in partitions.into_iter().flatten().zip(details) {
            if let (Some(partition), Some(segments)) =
                (partition.as_object_mut(), detail.get_mut("segments"))
            {
                partition.insert("segments".to_owned(), segments.take());
            }
        }
        return output.json(&json);
    }
    output.line(&format!(
        "topic {}, acknowledged when {}",
        topic.name,
        view::durability(topic.durability)
    ))?;
    for (name, value) in json
        .get("settings")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        output.line(&format!("  {name} = {}", setting(name, value)))?;
    }
    output.line("")?;
    let rows = topic.partitions.iter().map(|partition| {
        let numbers = [
            u64::from(partition.index),
            u64::from(partition.number),
            partition.log_start_offset.0,
            partition.high_watermark.0,
            partition.log_end_offset.0,
            partition.letters.live,
        ];
        numbers.iter().map(u64::to_string).collect()
    });
    let head = [
        "PARTITION",
        "NUMBER",
        "LOG START",
        "HIGH WATERMARK",
        "LOG END",
        "DEAD LETTERS",
    ];
    output.table(&head, rows)?;
    details.map_or(Ok(()), |details| segments(&details, output))
}

/// Returns a setting in the units that `topic create` and `topic alter` take.
fn setting(name: &str, value: &Value) -> String {
    if value.is_null() {
        return "none".to_owned();
    }
    let duration = name.contains("_ms").then(|| value.as_i64()).flatten();
    let size = name.contains("_bytes").then(|| value.as_u64()).flatten();
    match (duration, size) {
        (Some(ms), _) => format_duration_ms(ms),
        (None, Some(bytes)) => format_bytes(bytes),
        (None, None) => value.to_string(),
    }
}

fn segments(details: &[Value], output: &mut Output) -> Result<(), CliError> {
    output.line("")?;
    let cell = |object: &Value, name: &str| match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let rows = details.iter().flat_map(|detail| {
        let segments = detail.get("segments").and_then(Value::as_array);
        segments.into_iter().flatten().map(move |segment| {
            vec![
                cell(detail, "index"),
                cell(segment, "log"),
                cell(segment, "base_offset"),
                cell(segment, "end_offset"),
                cell(segment, "bytes"),
                cell(segment, "is_sealed"),
            ]
        })
    });
    let head = [
        "PARTITION",
        "LOG",
        "BASE OFFSET",
        "END OFFSET",
        "BYTES",
        "SEALED",
    ];
    output.table(&head, rows)
}

async fn details(connection: &Connection, topic: &TopicView) -> Result<Vec<Value>, CliError> {
    let mut details = Vec::new();
    for partition in &topic.partitions {
        let index = partition.index.to_string();
        let path = http::path(&["topics", &topic.name, "partitions", &index]);
        details.push(http::get(connection, &path).await?);
    }
    Ok(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_in_the_units_that_the_flags_take() {
        let shown = |name, value: u64| setting(name, &Value::from(value));
        assert_eq!(shown("retention_ms", 604_800_000), "7d");
        assert_eq!(shown("segment_bytes", 134_217_728), "128MiB");
        assert_eq!(shown("record_bytes_max", 1_048_577), "1048577");
        assert_eq!(setting("retention_bytes", &Value::Null), "none");
    }
}

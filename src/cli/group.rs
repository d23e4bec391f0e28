//! `redrive group`: committed offsets and lag.

use clap::Subcommand;
use serde_json::{Value, json};

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::remote::{self, Patience};
use crate::protocol::group_offsets::GroupView;

/// `redrive group ...`
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups
    List,
    /// Show a group's committed offset and lag for each partition
    Describe {
        /// Name
        group: String,
    },
    /// Delete a group's committed offsets
    Delete {
        /// Name
        group: String,
    },
}

/// Runs `redrive group ...`.
pub(super) fn run(
    command: &GroupCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let client = remote::client(connection, Patience::None);
    remote::block_on(async {
        match command {
            GroupCommand::List => list(&client.groups().await?, output),
            GroupCommand::Describe { group } => {
                let groups = client.groups().await?;
                let Some(found) = groups.iter().find(|found| found.name == *group) else {
                    return Err(CliError::failed(
                        format!("no group {group} has committed an offset"),
                        Some("`redrive group list` shows the groups"),
                    ));
                };
                describe(found, output)
            }
            GroupCommand::Delete { group } => {
                client.delete_group(group).await?;
                if output.is_json() {
                    return output.json(&json!({ "deleted": group }));
                }
                output.line(&format!("deleted group {group}"))
            }
        }
    })
}

fn list(groups: &[GroupView], output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        let groups: Vec<Value> = groups.iter().map(group_json).collect();
        return output.json(&groups);
    }
    let rows = groups.iter().map(|group| {
        vec![
            group.name.clone(),
            group.partitions.len().to_string(),
            lag(group).to_string(),
        ]
    });
    output.table(&["GROUP", "PARTITIONS", "LAG"], rows)
}

fn describe(group: &GroupView, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.json(&group_json(group));
    }
    let rows = group.partitions.iter().map(|partition| {
        vec![
            partition.committed.topic.clone(),
            partition.committed.partition.to_string(),
            partition.committed.offset.to_string(),
            partition.high_watermark.to_string(),
            partition.lag.to_string(),
        ]
    });
    let head = ["TOPIC", "PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG"];
    output.table(&head, rows)
}

fn lag(group: &GroupView) -> u64 {
    let lags = group.partitions.iter().map(|partition| partition.lag);
    lags.fold(0, u64::saturating_add)
}

fn group_json(group: &GroupView) -> Value {
    let partitions: Vec<Value> = group
        .partitions
        .iter()
        .map(|partition| {
            json!({
                "topic": partition.committed.topic,
                "partition": partition.committed.partition,
                "committed_offset": partition.committed.offset.0,
                "metadata": partition.committed.metadata,
                "high_watermark": partition.high_watermark.0,
                "lag": partition.lag,
            })
        })
        .collect();
    json!({ "name": group.name, "lag": lag(group), "partitions": partitions })
}

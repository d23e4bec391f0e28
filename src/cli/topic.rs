//! `redrive topic`: create, list, describe, alter, delete.

use clap::{Args, Subcommand, ValueEnum};

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse::{self, Limit};

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
        /// New number of partitions, above the present one; keys may then map to other partitions
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
    _command: &TopicCommand,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "topic" })
}

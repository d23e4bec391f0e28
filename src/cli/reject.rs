//! `redrive reject`: dead-letters one record for a group.

use clap::Args;
use storage::offset::Offset;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse;
use super::remote::{self, Patience};
use crate::client::api::rejection;

/// Arguments of `redrive reject`.
#[derive(Debug, Args)]
#[command(after_help = "\
A group has at most one live dead letter for each record: rejecting again answers with its id. Rejecting commits nothing.

Example:
  redrive reject flights 0 17 --group billing --reason 'unknown airline' --details \"$(cat stack.txt)\"")]
pub struct RejectArgs {
    /// Topic
    pub topic: String,
    /// Partition
    #[arg(value_parser = parse::count::<u32>)]
    pub partition: u32,
    /// Offset of the record
    #[arg(value_parser = parse::count::<u64>)]
    pub offset: u64,
    /// Why, in one line of at most 1024 bytes
    #[arg(long, value_name = "TEXT", value_parser = parse::one_line)]
    pub reason: String,
    /// What helps to find the cause, in at most 65536 bytes, of which the first 16384 are kept
    #[arg(long, value_name = "TEXT")]
    pub details: Option<String>,
    /// The group that rejects
    #[arg(long, default_value = "default")]
    pub group: String,
}

/// Runs `redrive reject`.
pub(super) fn run(
    command: &RejectArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let client = remote::client(connection, Patience::None);
    let place = (
        command.topic.as_str(),
        command.partition,
        Offset(command.offset),
    );
    let details = command.details.as_deref();
    let request = rejection(&command.group, place, &command.reason, details);
    let answer = remote::block_on(async { Ok(client.reject(&request).await?) })?;
    if output.is_json() {
        return output.json(&serde_json::json!({
            "letter_id": answer.letter_id,
            "is_new": answer.is_new,
        }));
    }
    if !answer.is_new {
        remote::note("this record is dead for this group already");
    }
    output.line(&answer.letter_id)
}

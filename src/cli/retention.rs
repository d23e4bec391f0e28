//! `redrive retention`.

use clap::Subcommand;
use serde_json::Value;

use super::args::Connection;
use super::error::CliError;
use super::http;
use super::output::Output;
use super::remote::{self, Patience};

/// `redrive retention ...`
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Delete now what age and size no longer keep, instead of at the next turn
    Run {
        /// Topic; without it, all
        topic: Option<String>,
    },
    /// Say that the broker's wall clock is right, so that retention by age goes on after it was set
    ConfirmClock,
}

/// Runs `redrive retention ...`.
pub(super) fn run(
    command: &RetentionCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    match command {
        RetentionCommand::Run { topic } => run_now(topic.as_ref(), connection, output),
        RetentionCommand::ConfirmClock => confirm_clock(connection, output),
    }
}

fn confirm_clock(connection: &Connection, output: &mut Output) -> Result<(), CliError> {
    connection.check_url()?;
    let path = http::path(&["clock", "confirm"]);
    let confirmed = remote::block_on(http::post(connection, &path))?;
    if output.is_json() {
        return output.json(&confirmed);
    }
    let departure_ms = confirmed.get("departure_ms").and_then(Value::as_i64);
    output.line(&match departure_ms {
        None | Some(0) => "the wall clock was right already".to_owned(),
        Some(ms) => {
            let side = if ms > 0 { "ahead of" } else { "behind" };
            let seconds = ms.unsigned_abs() / 1000;
            format!("the wall clock is taken for right; it was {seconds} s {side} where it should have been")
        }
    })
}

fn run_now(
    topic: Option<&String>,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    match topic {
        Some(_) => connection.check_url()?,
        None => connection.check_pair()?,
    }
    let results = remote::block_on(async {
        let names = match topic {
            Some(topic) => vec![topic.clone()],
            None => topics(connection).await?,
        };
        let mut results = Vec::new();
        for name in names {
            let path = http::path(&["topics", &name, "retention"]);
            results.push(http::post(connection, &path).await?);
        }
        Ok(results)
    })?;
    if output.is_json() {
        return output.json(&results);
    }
    let cell = |result: &Value, name: &str| match result.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let rows = results.iter().map(|result| {
        vec![
            cell(result, "topic"),
            cell(result, "segment_count"),
            cell(result, "log_count"),
        ]
    });
    let head = ["TOPIC", "SEGMENTS DELETED", "LOGS THAT START LATER"];
    output.table(&head, rows)
}

async fn topics(connection: &Connection) -> Result<Vec<String>, CliError> {
    let client = remote::client(connection, Patience::None);
    let topics = client.metadata(None).await?;
    Ok(topics.into_iter().map(|(name, _)| name).collect())
}

//! `redrive retention`.

use clap::Subcommand;

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
}

/// Runs `redrive retention ...`.
pub(super) fn run(
    command: &RetentionCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let RetentionCommand::Run { topic } = command;
    let results = remote::block_on(async {
        let names = match topic {
            Some(topic) => vec![topic.clone()],
            None => topics(connection).await?,
        };
        let mut results = Vec::new();
        for name in names {
            let path = format!("/admin/v1/topics/{name}/retention");
            results.push((name, http::post(connection, &path).await?));
        }
        Ok(results)
    })?;
    if output.is_json() {
        let results: Vec<_> = results
            .into_iter()
            .map(|(topic, result)| serde_json::json!({ "topic": topic, "result": result }))
            .collect();
        return output.json(&results);
    }
    for (topic, result) in results {
        output.line(&format!("{topic}: {result}"))?;
    }
    Ok(())
}

async fn topics(connection: &Connection) -> Result<Vec<String>, CliError> {
    let client = remote::client(connection, Patience::None);
    let topics = client.metadata(None).await?;
    Ok(topics.into_iter().map(|(name, _)| name).collect())
}

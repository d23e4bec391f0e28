//! `redrive config`: print, check, reference.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::error::CliError;
use super::output::Output;
use super::serve::{ServeArgs, read_file};
use crate::config::{FileText, KEYS, ServeConfig, Settings, Value, effective, reference_markdown};
use crate::delivery::client::HttpClient;
use crate::run::RunError;

const PRINT_EXAMPLES: &str = "\
Takes the flags of `serve`, and prints a file that `--config` takes. `redrive config reference` says what each key does.

Examples:
  redrive config print --config /etc/redrive.toml
  REDRIVE_TOPIC_RETENTION_MS=30d redrive config print > redrive.toml";

/// `redrive config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration, each value with where it came from
    #[command(after_help = PRINT_EXAMPLES)]
    Print(ServeArgs),
    /// Check a configuration file alone, without environment and flags
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print every key with its default, as a Markdown table
    Reference,
}

#[derive(Serialize)]
struct EffectiveValue<'a> {
    key: &'a str,
    value: Option<String>,
    source: String,
}

#[derive(Serialize)]
struct ReferenceEntry {
    key: &'static str,
    flag: Option<&'static str>,
    variable: String,
    default: &'static str,
    takes: String,
    help: &'static str,
}

/// Runs `redrive config ...`.
pub(super) fn run(command: &ConfigCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        ConfigCommand::Print(arguments) => print(arguments, output),
        ConfigCommand::Check { file } => check(file, output),
        ConfigCommand::Reference => reference(output),
    }
}

fn print(arguments: &ServeArgs, output: &mut Output) -> Result<(), CliError> {
    let settings = arguments.settings()?;
    // What cannot be served is not printed as if it could.
    ServeConfig::from_settings(&settings)?;
    if !output.is_json() {
        return output.bytes(effective(&settings).as_bytes());
    }
    let values: Vec<EffectiveValue<'_>> = settings
        .iter()
        .map(|(key, value, source)| EffectiveValue {
            key: key.name,
            value: match value {
                Value::Unset => None,
                shown => Some(shown.to_string()),
            },
            source: source.to_string(),
        })
        .collect();
    output.json(&values)
}

fn check(file: &PathBuf, output: &mut Output) -> Result<(), CliError> {
    let text = read_file(file)?;
    let settings = Settings::resolve(
        Some(FileText {
            path: file,
            text: &text,
        }),
        [],
        &[],
    )?;
    let config = ServeConfig::from_settings(&settings)?;
    // What is named there is read only by who dials: networks, and the file of authorities.
    HttpClient::new(&config.destinations)
        .map_err(|error| CliError::from(RunError::from(error)).placed(&settings))?;
    if output.is_json() {
        return output.json(&serde_json::json!({ "ok": true }));
    }
    output.line(&format!("{} is a valid configuration", file.display()))
}

fn reference(output: &mut Output) -> Result<(), CliError> {
    if !output.is_json() {
        return output.bytes(reference_markdown().as_bytes());
    }
    let entries: Vec<ReferenceEntry> = KEYS
        .iter()
        .map(|key| ReferenceEntry {
            key: key.name,
            flag: key.flag,
            variable: key.variable(),
            default: key.default,
            takes: key.kind.expected(),
            help: key.help,
        })
        .collect();
    output.json(&entries)
}

//! `redrive bench table`: every figure that has a goal, beside its yardstick, in rounds.
//!
//! A row's command and its yardstick take turns, the one that begins changing with each round, so that both see the same
//! minutes of the machine. Each turn has a broker of its own in a directory of its own; behind it all file systems are synced,
//! and the machine rests.

mod goal;
mod rows;
mod show;
mod turn;

use std::path::PathBuf;

use clap::Args;

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::output::{Output, Progress};
use rows::{ROWS, Row, Times};
use show::Measured;
use turn::Turns;

/// What `redrive bench table --help` says at its end.
pub(super) const AFTER_HELP: &str = "\
Lines are written as they are found, as a Markdown table or as one JSON object each: medians of all rounds, with the smallest and \
the largest. All of it takes half an hour, and up to 60 GB of disk for the row `pages`; nothing else should run.

Examples:
  redrive bench table --data-dir /var/tmp
  redrive bench table --only synced,push --rounds 3
  redrive bench table --scale 100 --rounds 1";

/// Which rows, and how often.
#[derive(Debug, Clone, Args)]
pub struct TableArgs {
    /// Rounds of each row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Divide all loads by this: for a try, not for figures, and the lines still speak of the whole
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub scale: u64,
    /// Only these rows, as in synced,push
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    pub only: Vec<String>,
    /// Directory below which brokers and yardsticks write, and delete again
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Runs `redrive bench table`.
pub(super) fn run(
    arguments: &TableArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let rows = chosen(&arguments.only)?;
    let turns = Turns::new(&arguments.data_dir, connection)?;
    let progress = Progress::start(Some(u64::try_from(rows.len()).unwrap_or(u64::MAX)), "rows");
    show::head(output)?;
    let mut failed = Vec::new();
    for row in rows {
        match measure(row, arguments, &turns) {
            Ok(measured) => show::row(row, arguments, &measured, output)?,
            // The other rows are worth having without this one.
            Err(error) => failed.push(format!(
                "{}: {}",
                row.name,
                super::super::remote::with_causes(&error)
            )),
        }
        progress.add(1);
    }
    if failed.is_empty() {
        return Ok(());
    }
    let text = format!("rows without figures: {}", failed.join("; "));
    Err(CliError::failed(text, None))
}

/// Returns the rows with these names, all of them without names.
fn chosen(names: &[String]) -> Result<Vec<&'static Row>, CliError> {
    let is_row = |name: &&String| ROWS.iter().any(|row| row.name == **name);
    if let Some(unknown) = names.iter().find(|name| !is_row(name)) {
        let all: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(CliError::usage(format!(
            "{unknown:?} is no row of the table: --only takes {}",
            all.join(", ")
        )));
    }
    let is_chosen = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(ROWS.iter().filter(is_chosen).collect())
}

/// Runs a row's command, and its yardstick, in all rounds.
fn measure(row: &Row, arguments: &TableArgs, turns: &Turns<'_>) -> Result<Measured, CliError> {
    let words = |command| rows::words(command, arguments.rounds, arguments.scale);
    let mut measured = Measured::default();
    let rounds = match row.times {
        Times::EachRound => arguments.rounds,
        Times::Once => 1,
    };
    for round in 0..rounds {
        let is_yardstick_first = round % 2 == 0;
        for is_yardstick in [is_yardstick_first, !is_yardstick_first] {
            match row.yardstick {
                Some(command) if is_yardstick => {
                    measured.beside.push(turns.run(&words(command))?);
                }
                None if is_yardstick => {}
                _ => measured.found.push(turns.run(&words(row.command))?),
            }
        }
    }
    Ok(measured)
}

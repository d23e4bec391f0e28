//! `redrive bench letters`: making dead letters, pages of a filter among them, and resolving all of them.

mod pages;
pub(super) mod rejected;
mod undelivered;

use clap::Args;

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::parse;
use super::super::remote::{self, Patience};
use crate::limits::LETTERS_PER_CALL_MAX;

/// Reasons, each a fingerprint of its own.
const REASONS: u64 = 50;

/// The load of `bench letters`.
#[derive(Debug, Clone, Args)]
pub struct LettersArgs {
    /// Number of letters
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub letters: u64,
    /// Size of a record's value
    #[arg(long, default_value = "1KiB", value_name = "BYTES", value_parser = parse::bytes_u32)]
    pub size: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// Letters that one request resolves
    #[arg(long, default_value_t = LETTERS_PER_CALL_MAX, value_parser = clap::value_parser!(u32).range(1..))]
    pub page: u32,
    /// Times that pages of each filter are measured
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub looks: u32,
    /// Publish messages instead, to a destination that refuses them at so many URLs
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "partitions")]
    pub urls: Option<u64>,
}

impl LettersArgs {
    fn of<'a>(&self, topic: &'a str) -> pages::Of<'a> {
        pages::Of {
            topic,
            letters: self.letters,
            looks: self.looks,
        }
    }
}

/// Runs `redrive bench letters`.
pub(super) fn run(
    arguments: &LettersArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let (effective, figures) = remote::block_on(async {
        let client = remote::client(connection, Patience::None);
        match arguments.urls {
            Some(urls) => undelivered::run(&client, arguments, urls, connection).await,
            None => rejected::run(&client, arguments).await,
        }
    })?;
    figures.write("letters", &effective, output)
}

/// Words, not numbers: letters whose reasons differ in a number have the same fingerprint.
fn reason(number: u64) -> String {
    const WORDS: [&str; 10] = [
        "airline", "airport", "booking", "currency", "customer", "flight", "gate", "hotel",
        "invoice", "seat",
    ];
    let word = |at: u64| {
        let at = usize::try_from(at).unwrap_or_default();
        WORDS.get(at).copied().unwrap_or_default()
    };
    format!("unknown {} of the {}", word(number % 10), word(number / 10))
}

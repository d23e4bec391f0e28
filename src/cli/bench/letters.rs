//! `redrive bench letters`: making dead letters, pages of a filter among them, and republishing all of them.

use std::time::Instant;

use clap::Args;
use serde_json::json;
use storage::offset::Offset;

use super::super::args::Connection as Address;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::parse;
use super::super::remote::{self, Patience};
use super::super::topic::DurabilityArg;
use super::LoadArgs;
use super::figures::Figures;
use super::produce::{BenchTopic, measure};
use super::report::{Latencies, float};
use crate::client::api::rejection;
use crate::client::{Client, ClientError, Connection};
use crate::limits::LETTERS_PER_CALL_MAX;
use crate::protocol::api_key::ApiKey;
use crate::protocol::read_letters::ListLettersRequest;
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};

/// Groups that reject, in turn.
const GROUPS: u64 = 10;
/// Reasons, each a fingerprint of its own.
const REASONS: u64 = 50;
/// Bytes of a letter's failure, without its reason.
const DETAILS_BYTES: usize = 224;
/// Records of a batch.
const BATCH_RECORDS: u32 = 1000;
/// Connections that reject.
const CONNECTIONS: u64 = 64;
/// Letters of a page.
const PAGE_LETTERS: u32 = 100;
/// Pages that are asked for.
const PAGES: u64 = 500;

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
    /// Letters that one request republishes
    #[arg(long, default_value_t = LETTERS_PER_CALL_MAX, value_parser = clap::value_parser!(u32).range(1..))]
    pub page: u32,
}

/// Runs `redrive bench letters`.
pub(super) fn run(
    arguments: &LettersArgs,
    address: &Address,
    output: &mut Output,
) -> Result<(), CliError> {
    let (effective, figures) = remote::block_on(async {
        let client = remote::client(address, Patience::None);
        let mut figures = Figures::default();
        let begun = Instant::now();
        let made = make(
            &client,
            arguments.letters,
            arguments.size,
            arguments.partitions,
        )
        .await;
        let (load, bench) = made?;
        let rate = float(arguments.letters) / begun.elapsed().as_secs_f64();
        figures.add("rejected", "letters/s", rate);
        let topic = bench.topic.name.as_str();
        let measured = async {
            pages(&client, topic, &mut figures).await?;
            republish(&client, topic, arguments, &mut figures).await
        };
        let measured = measured.await;
        bench.delete(&client).await?;
        measured?;
        Ok((bench.effective(&load), figures))
    })?;
    let effective = json!({
        "topic": effective,
        "letters": arguments.letters,
        "record_bytes": arguments.size,
        "groups": GROUPS,
        "reasons": REASONS,
        "failure_bytes": DETAILS_BYTES,
    });
    figures.write("letters", &effective, output)
}

/// Makes a synced topic with so many records, and rejects each of them.
pub(super) async fn make(
    client: &Client,
    letters: u64,
    size: u32,
    partitions: u32,
) -> Result<(LoadArgs, BenchTopic), CliError> {
    // Batches go to the partitions in turn, so that each has as many records as its share of the letters needs.
    let turn = u64::from(BATCH_RECORDS).saturating_mul(u64::from(partitions));
    let load = LoadArgs {
        records: letters.next_multiple_of(turn),
        size,
        batch: BATCH_RECORDS,
        connections: 1,
        partitions,
        acks: DurabilityArg::Synced,
        window: None,
        segment_bytes: None,
    };
    let bench = BenchTopic::create(client, &load).await?;
    measure(client, &load, &bench.topic).await?;
    let mut rejecting = tokio::task::JoinSet::new();
    for index in 0..CONNECTIONS {
        let share = Share {
            connection: Connection::open(client.options()).await?,
            topic: bench.topic.name.clone(),
            numbers: index..letters,
            partitions,
        };
        rejecting.spawn(share.reject());
    }
    while let Some(done) = rejecting.join_next().await {
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    }
    Ok((load, bench))
}

/// The letters that one connection makes, each when the one before is answered: what shares a sync are the connections.
struct Share {
    connection: Connection,
    topic: String,
    numbers: std::ops::Range<u64>,
    partitions: u32,
}

impl Share {
    async fn reject(self) -> Result<(), CliError> {
        let details = "d".repeat(DETAILS_BYTES);
        let partitions = u64::from(self.partitions);
        for number in self
            .numbers
            .step_by(usize::try_from(CONNECTIONS).unwrap_or(1))
        {
            let partition = u32::try_from(number % partitions).unwrap_or_default();
            let offset = Offset(number.div_euclid(partitions));
            let place = (self.topic.as_str(), partition, offset);
            let group = format!("group-{}", number % GROUPS);
            let request = rejection(&group, place, &reason(number % REASONS), Some(&details));
            self.connection.call(&request).await?;
        }
        Ok(())
    }
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

/// Pages of a filter over two fields, each from where the one before ended; from the start again at the end.
async fn pages(client: &Client, topic: &str, figures: &mut Figures) -> Result<(), CliError> {
    let mut latencies = Latencies::new()?;
    let mut found = 0_u64;
    for number in 0..PAGES {
        let group = number % GROUPS;
        let newest = ListLettersRequest {
            topic: topic.to_owned(),
            selection: Selection::Filter(LetterFilter {
                groups: vec![format!("group-{group}")],
                ..LetterFilter::default()
            }),
            page: Page::first(Order::NewestFirst, 1),
            bytes_max: 0,
        };
        let fingerprint = client
            .letters(&newest)
            .await?
            .letters
            .into_iter()
            .map(|letter| letter.fingerprint);
        let request = ListLettersRequest {
            topic: topic.to_owned(),
            selection: Selection::Filter(LetterFilter {
                groups: vec![format!("group-{group}")],
                fingerprints: fingerprint.collect(),
                ..LetterFilter::default()
            }),
            page: Page::first(Order::NewestFirst, PAGE_LETTERS),
            bytes_max: 0,
        };
        let asked_at = Instant::now();
        let page = client.letters(&request).await?;
        latencies.record(asked_at.elapsed());
        found += u64::try_from(page.letters.len()).unwrap_or(u64::MAX);
    }
    let names = ["page_p50", "page_p99", "page_p999", "page_max"];
    figures.add_latencies(names, &latencies);
    figures.add("letters_on_a_page", "letters", float(found) / float(PAGES));
    Ok(())
}

async fn republish(
    client: &Client,
    topic: &str,
    arguments: &LettersArgs,
    figures: &mut Figures,
) -> Result<(), CliError> {
    let mut cursor = None;
    let mut done = 0_u64;
    let begun = Instant::now();
    loop {
        let request = RetryLettersRequest {
            topic: topic.to_owned(),
            selection: Selection::All,
            page: Page {
                order: Order::OldestFirst,
                limit: arguments.page,
                cursor,
            },
            request_id: None,
        };
        let answer = client.retry_letters(&request).await?;
        for (_, republished) in answer.letters {
            republished.map_err(|refusal| ClientError::Refused {
                doing: ApiKey::RetryLetters.doing(),
                refusal,
            })?;
            done += 1;
        }
        cursor = answer.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    if done != arguments.letters {
        let text = format!(
            "{} letters were made and {done} republished",
            arguments.letters
        );
        return Err(CliError::failed(text, None));
    }
    figures.add("republished", "letters/s", float(done) / elapsed);
    let bytes = done.saturating_mul(u64::from(arguments.size));
    figures.add("republished_bytes", "MB/s", float(bytes) / 1e6 / elapsed);
    Ok(())
}

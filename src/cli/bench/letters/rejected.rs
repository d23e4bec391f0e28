//! Letters of rejected records: making them, and republishing all of them.

use std::time::Instant;

use serde_json::{Value, json};
use storage::offset::Offset;

use super::super::super::error::CliError;
use super::super::super::topic::DurabilityArg;
use super::super::LoadArgs;
use super::super::figures::Figures;
use super::super::produce::{BenchTopic, measure};
use super::super::report::float;
use super::{LettersArgs, REASONS, pages, reason};
use crate::client::api::rejection;
use crate::client::{Client, ClientError, Connection};
use crate::protocol::api_key::ApiKey;
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};

/// Groups that reject, in turn.
const GROUPS: u64 = 10;
/// Bytes of a letter's failure, without its reason.
const DETAILS_BYTES: usize = 224;
/// Records of a batch.
const BATCH_RECORDS: u32 = 1000;
/// Connections that reject.
const CONNECTIONS: u64 = 64;

/// Makes letters, looks at pages of them, and republishes all. Returns what was in force as well.
pub(super) async fn run(
    client: &Client,
    arguments: &LettersArgs,
) -> Result<(Value, Figures), CliError> {
    let mut figures = Figures::default();
    let begun = Instant::now();
    let made = make(
        client,
        arguments.letters,
        arguments.size,
        arguments.partitions,
    );
    let (load, bench) = made.await?;
    let rate = float(arguments.letters) / begun.elapsed().as_secs_f64();
    figures.add("rejected", "letters/s", rate);
    let topic = bench.topic.name.as_str();
    let measured = async {
        let of = arguments.of(topic);
        pages::measure(client, of, of_group, pages::NAMES, &mut figures).await?;
        republish(client, topic, arguments, &mut figures).await
    };
    let measured = measured.await;
    bench.delete(client).await?;
    measured?;
    let effective = json!({
        "topic": bench.effective(&load),
        "letters": arguments.letters,
        "record_bytes": arguments.size,
        "groups": GROUPS,
        "reasons": REASONS,
        "failure_bytes": DETAILS_BYTES,
    });
    Ok((effective, figures))
}

/// The letters of one group; those of one fingerprint among them are asked for.
fn of_group(number: u64) -> LetterFilter {
    LetterFilter {
        groups: vec![group(number)],
        ..LetterFilter::default()
    }
}

fn group(number: u64) -> String {
    format!("group-{}", number % GROUPS)
}

/// Makes a synced topic with so many records, and rejects each of them.
pub(in super::super) async fn make(
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

            let request = rejection(
                &group(number),
                place,
                &reason(number % REASONS),
                Some(&details),
            );
            self.connection.call(&request).await?;
        }
        Ok(())
    }
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

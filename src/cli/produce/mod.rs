//! `redrive produce`: a record a line.

mod key;
mod lines;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use storage::batch::{Codec, NewRecord};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::args::Connection;
use super::error::CliError;
use super::output::{Output, Progress};
use super::parse;
use super::remote::{self, StopSignal};
use super::view::counted;
use crate::client::api::is_unknown_topic;
use crate::client::producer::DeliveryCounts;
use crate::client::{Client, ClientError, Producer, ProducerOptions};
use crate::clock::{Clock, SystemClock};
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::metadata::TopicView;
use crate::protocol::settings::{Durability, SettingsChange};

/// How batches are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionArg {
    /// Not at all
    None,
    /// Fast
    Lz4,
    /// Small
    Zstd,
}

/// Arguments of `redrive produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
A missing topic is created with one partition, and stderr says so. Records are sent again across a restart of the broker, \
and stored once.

Examples:
  redrive produce flights flights.ndjson --key-field flight
  tail -f app.log | redrive produce logs --linger-ms 100")]
pub struct ProduceArgs {
    /// Topic
    pub topic: String,
    /// File to read; without it, stdin
    pub file: Option<PathBuf>,
    /// Field of each JSON line whose value is the record's key
    #[arg(long, value_name = "FIELD")]
    pub key_field: Option<String>,
    /// Send to this partition instead of choosing by key
    #[arg(long, conflicts_with = "key_field")]
    pub partition: Option<u32>,
    /// Largest number of records in a batch
    #[arg(long, default_value_t = 1000, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch: u32,
    /// Largest size of a batch
    #[arg(long, default_value = "1MiB", value_name = "SIZE", value_parser = parse::bytes_u32)]
    pub batch_bytes: u32,
    /// Longest wait for a batch to fill, in milliseconds
    #[arg(long, default_value_t = 5, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub linger_ms: u64,
    /// How batches are packed
    #[arg(long, value_enum, default_value_t = CompressionArg::None)]
    pub compression: CompressionArg,
}

/// Runs `redrive produce`.
pub(super) fn run(
    command: &ProduceArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    // A file that cannot be read must not leave a topic behind.
    let input: Box<dyn Read + Send> = match &command.file {
        None => Box::new(std::io::stdin()),
        Some(path) => Box::new(File::open(path).map_err(|source| CliError::Io {
            action: format!("open {}", path.display()),
            source,
        })?),
    };
    let result = remote::block_on(produce(command, connection, input))?;
    if let Some(field) = command.key_field.as_deref().filter(|_| result.keyless > 0) {
        let records = counted(result.keyless, "record");
        remote::note(&format!(
            "{records} without field {field}: sent without a key"
        ));
    }
    let mut written = Ok(());
    if output.is_json() {
        let counts = json!({
            "acknowledged": result.counts.acknowledged,
            "failed": result.counts.failed,
        });
        written = output.json(&counts).and_then(|()| output.finish());
    }
    let text = format!(
        "{} acknowledged",
        counted(result.counts.acknowledged, "record")
    );
    match result.failure {
        None if output.is_json() => written,
        None => {
            remote::note(&text);
            Ok(())
        }
        // It is told also to who has stopped reading.
        Some(failure) => {
            remote::note(&text);
            Err(failure)
        }
    }
}

/// What became of the records, and why not all of the input is among the acknowledged.
struct Produced {
    counts: DeliveryCounts,
    /// Records that were to have a key and have none.
    keyless: u64,
    failure: Option<CliError>,
}

async fn produce(
    command: &ProduceArgs,
    connection: &Connection,
    input: Box<dyn Read + Send>,
) -> Result<Produced, CliError> {
    let client = remote::waiting_client(connection).await?;
    let topic = ensure_topic(&client, &command.topic).await?;
    let producer = Producer::open(&client, &command.topic, options(command)).await?;
    if let Some(partition) = command.partition
        && partition >= producer.partition_count()
    {
        return Err(CliError::failed(
            format!(
                "{} has no partition {partition}: it has {} of them, counted from 0",
                command.topic,
                producer.partition_count()
            ),
            None,
        ));
    }
    // Until here a signal ends the program: nothing has been read that could be lost.
    let mut stop_signal = StopSignal::new()?;
    tokio::spawn(tell_trouble(producer.trouble()));
    let mut blocks = lines::read_blocks(input, command.file.as_deref());
    let mut keyless = 0;
    let record_bytes_max = topic.settings.record_bytes_max;
    let feeding = feed(
        command,
        (&producer, record_bytes_max),
        &mut blocks,
        &mut keyless,
    );
    let fed = tokio::select! {
        biased;
        // The first batch that was given up tells what would become of the others. The input may have nothing for long.
        () = producer.failure() => Ok(()),
        fed = feeding => fed,
        () = stop_signal.wait() => {
            remote::note("stopping; what was read is still sent");
            Err(CliError::failed("the input was not read to its end", None))
        }
    };
    let counts = tokio::select! {
        counts = producer.flush() => counts,
        () = stop_signal.wait() => producer.counts(),
    };
    let unsettled = counts.accepted.saturating_sub(counts.acknowledged);
    // What was being sent again when a signal ended the waiting is why it was not acknowledged.
    let trouble = producer.trouble().borrow().clone();
    let why = producer.first_error().or(trouble.filter(|_| unsettled > 0));
    let failure = match (fed, why) {
        (_, Some(error)) => Some(CliError::failed(
            format!(
                "{} not acknowledged: {}",
                counted(unsettled, "record"),
                remote::with_causes(&error)
            ),
            None,
        )),
        (Err(error), None) if unsettled == 0 => Some(resumable(error, counts.accepted)),
        (Err(error), None) => Some(error),
        (Ok(()), None) => (unsettled > 0).then(|| {
            CliError::failed(
                format!("{} not acknowledged", counted(unsettled, "record")),
                None,
            )
        }),
    };
    Ok(Produced {
        counts,
        keyless,
        failure,
    })
}

/// Adds where to go on when what stopped it is mended: each line is a record, and those that were read are acknowledged.
fn resumable(error: CliError, lines: u64) -> CliError {
    match error {
        CliError::Failed {
            message,
            hint: None,
        } if lines > 0 => CliError::Failed {
            message,
            hint: Some(format!(
                "the topic has {} of the input: send the rest from line {} on",
                counted(lines, "line"),
                lines.saturating_add(1)
            )),
        },
        other => other,
    }
}

/// Says on stderr why batches are sent again, once each time that this begins.
async fn tell_trouble(mut trouble: watch::Receiver<Option<ClientError>>) {
    let mut is_told = false;
    loop {
        let why = trouble.borrow_and_update().clone();
        if let Some(error) = why.as_ref().filter(|_| !is_told) {
            let tried_for = ProducerOptions::default().deliver_within.as_secs();
            let why = remote::with_causes(error);
            remote::note(&format!("{why}; trying again for {tried_for} s"));
        }
        is_told = why.is_some();
        if trouble.changed().await.is_err() {
            return;
        }
    }
}

fn options(command: &ProduceArgs) -> ProducerOptions {
    ProducerOptions {
        codec: match command.compression {
            CompressionArg::None => Codec::None,
            CompressionArg::Lz4 => Codec::Lz4,
            CompressionArg::Zstd => Codec::Zstd,
        },
        linger: Duration::from_millis(command.linger_ms),
        batch_bytes_max: command.batch_bytes,
        batch_records_max: command.batch,
        ..ProducerOptions::default()
    }
}

/// Creates the topic when it is missing.
async fn ensure_topic(client: &Client, topic: &str) -> Result<TopicView, CliError> {
    match client.topic(topic).await {
        Ok(topic) => return Ok(topic),
        Err(error) if is_unknown_topic(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let request = CreateTopicRequest {
        name: topic.to_owned(),
        partition_count: 1,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    match client.create_topic(&request).await {
        Ok(created) => {
            remote::note(&format!("created topic {topic} with 1 partition"));
            return Ok(created);
        }
        // Somebody else was faster.
        Err(error)
            if error
                .refusal()
                .is_some_and(|refusal| refusal.code == ErrorCode::TopicExists) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(client.topic(topic).await?)
}

/// Hands every line to the producer, and counts those without a key that were to have one.
async fn feed(
    command: &ProduceArgs,
    (producer, record_bytes_max): (&Producer, u64),
    blocks: &mut Receiver<Result<Vec<u8>, CliError>>,
    keyless: &mut u64,
) -> Result<(), CliError> {
    let clock = SystemClock::new();
    let progress = Progress::start(None, "records");
    let mut line_number = 0_u64;
    while let Some(block) = blocks.recv().await {
        let block = block?;
        let timestamp = clock.now();
        let lines_before = line_number;
        for line in lines::of(&block) {
            line_number = line_number.saturating_add(1);
            let key = match &command.key_field {
                None => None,
                Some(field) => key::of(line, field)
                    .map_err(|why| CliError::failed(format!("line {line_number}: {why}"), None))?,
            };
            if command.key_field.is_some() && key.is_none() {
                *keyless = keyless.saturating_add(1);
            }
            // The broker would refuse it with its batch, and could not say which line it was.
            let bytes = line
                .len()
                .saturating_add(key.as_deref().map_or(0, <[u8]>::len));
            if u64::try_from(bytes).unwrap_or(u64::MAX) > record_bytes_max {
                let message = format!(
                    "line {line_number}: the record has {bytes} bytes, topic {} takes at most {record_bytes_max}",
                    command.topic
                );
                return Err(CliError::failed(message, None));
            }
            let record = NewRecord {
                timestamp,
                key: key.as_deref(),
                value: Some(line),
                headers: &[],
            };
            let sent = match command.partition {
                None => producer.send(&record).await,
                Some(partition) => producer.send_to(partition, &record).await,
            };
            sent.map_err(|error| {
                let why = remote::with_causes(&error);
                CliError::failed(format!("line {line_number}: {why}"), None)
            })?;
        }
        progress.add(line_number.saturating_sub(lines_before));
    }
    Ok(())
}

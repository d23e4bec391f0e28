//! `redrive consume`: a value a line.

use std::time::Duration;

use clap::Args;
use serde_json::Map;
use storage::offset::Offset;
use tokio::time::{Instant, sleep_until};

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse::From;
use super::remote::{self, Patience, StopSignal};
use super::view;
use crate::broker::redacted::{is_shown_header, shown_parts};
use crate::client::consumer::Record;
use crate::client::{ClientError, Consumer, ConsumerOptions, Start};
use crate::names::TopicName;
use crate::protocol::metadata::{PartitionView, TopicView};

/// How often a group that follows commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Records between two looks at the signals and at the clock.
const RECORDS_PER_BREATH: u64 = 256;

/// Arguments of `redrive consume`.
#[derive(Debug, Args)]
#[command(after_help = "\
A group is a name for committed offsets, nothing more: partitions are not shared out among its consumers, each names its \
own. Without --partition all partitions are read, in no order between them. Without --follow reading ends at what is \
there now.

Examples:
  redrive consume flights --from earliest --count 200000 > flights.copy
  redrive consume flights --partition 3 --from @2026-01-31T12:00:00Z
  redrive consume flights --group billing --follow --json")]
pub struct ConsumeArgs {
    /// Topic
    pub topic: String,
    /// Where to begin: earliest, latest, OFFSET, or @TIME (RFC 3339 or milliseconds since 1970). With --group: where to
    /// begin when the group has no committed offset, or one that is no longer there [default: the committed offset, else
    /// earliest]
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub from: Option<From>,
    /// Read this partition alone
    #[arg(long)]
    pub partition: Option<u32>,
    /// Begin at the group's committed offset, and commit what was written
    #[arg(long)]
    pub group: Option<String>,
    /// End after this many records
    #[arg(long)]
    pub count: Option<u64>,
    /// Wait for further records instead of ending
    #[arg(long)]
    pub follow: bool,
    /// Show records that were republished for other groups as well
    #[arg(long)]
    pub all_groups: bool,
}

/// Runs `redrive consume`.
pub(super) fn run(
    command: &ConsumeArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    remote::block_on(consume(command, connection, output))
}

async fn consume(
    command: &ConsumeArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    // The first word comes at once; later, a restart of the broker is waited for.
    let topic = remote::client(connection, Patience::None)
        .topic(&command.topic)
        .await?;
    if let Some(From::Offset(offset)) = command.from {
        check_range(&topic, command.partition, offset)?;
    }
    let client = remote::client(connection, Patience::Restart);
    let mut consumer = Consumer::open(&client, &command.topic, options(command)).await?;
    let mut committer = Committer::new(command.group.is_some());
    // Until here a signal ends the program: nothing has been read that could be committed.
    let mut stop_signal = StopSignal::new()?;
    remote::end_at_second_signal()?;
    let copied = tokio::select! {
        copied = copy(command, &mut consumer, &mut committer, output) => copied,
        () = stop_signal.wait() => Ok(()),
    };
    // What was written before an error was written all the same.
    output.finish()?;
    committer.commit(&mut consumer).await?;
    copied
}

fn options(command: &ConsumeArgs) -> ConsumerOptions {
    ConsumerOptions {
        partitions: command.partition.map(|partition| vec![partition]),
        start: match command.from {
            None | Some(From::Earliest) => Start::Earliest,
            Some(From::Latest) => Start::Latest,
            Some(From::Offset(offset)) => Start::At(offset),
            Some(From::Time(time)) => Start::AppendedAt(time),
        },
        group: command.group.clone(),
        starts_where_lost: command.from.is_some(),
        all_groups: command.all_groups,
        stops_at_end: !command.follow,
        ..ConsumerOptions::default()
    }
}

/// Refuses an offset that a partition does not hold, also where nothing would be fetched.
fn check_range(topic: &TopicView, partition: Option<u32>, offset: Offset) -> Result<(), CliError> {
    let is_read = |view: &&PartitionView| partition.is_none_or(|index| index == view.index);
    let is_out =
        |view: &&PartitionView| offset < view.log_start_offset || offset > view.high_watermark;
    let Some(view) = topic.partitions.iter().filter(is_read).find(is_out) else {
        return Ok(());
    };
    Err(CliError::Client(ClientError::OffsetOutOfRange {
        topic: topic.name.as_str().into(),
        partition: view.index,
        requested: offset,
        log_start: view.log_start_offset,
        high_watermark: view.high_watermark,
    }))
}

/// Writes records until the count, the end, or an error.
async fn copy(
    command: &ConsumeArgs,
    consumer: &mut Consumer,
    committer: &mut Committer,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut left = command.count.unwrap_or(u64::MAX);
    // A record of the broker's own topics may say what of it is not for eyes; any other is written as it is.
    let is_internal =
        TopicName::parse_internal(&command.topic).is_ok_and(|topic| topic.is_internal());
    while left > 0 {
        let mut record = if let Some(record) = consumer.next_ready()? {
            record
        } else {
            // Before waiting, the reader gets what there is.
            output.finish()?;
            let Some(record) = committer.next(consumer).await? else {
                return Ok(());
            };
            record
        };
        if is_internal {
            shown_parts(&mut record.value, &mut record.headers);
        }
        write(&record, output)?;
        committer.is_behind = true;
        left -= 1;
        if left.is_multiple_of(RECORDS_PER_BREATH) {
            committer.breathe(consumer, output).await?;
        }
    }
    Ok(())
}

fn write(record: &Record, output: &mut Output) -> Result<(), CliError> {
    if !output.is_json() {
        output.bytes(record.value.as_deref().unwrap_or_default())?;
        return output.bytes(b"\n");
    }
    let mut object = Map::new();
    object.insert("partition".to_owned(), record.partition.into());
    object.insert("offset".to_owned(), record.offset.0.into());
    object.insert("timestamp_ms".to_owned(), record.timestamp.0.into());
    object.insert("append_time_ms".to_owned(), record.append_time.0.into());
    view::put_bytes(&mut object, "key", record.key.as_ref());
    view::put_bytes(&mut object, "value", record.value.as_ref());
    // What the broker keeps there for itself is bytes of its own making.
    let headers = record.headers.iter();
    let headers = headers.filter(|(name, _)| is_shown_header(name)).cloned();
    let headers: Vec<_> = headers.collect();
    object.insert("headers".to_owned(), view::headers(&headers));
    output.json(&object)
}

/// Commits now and then, only what was written and flushed.
struct Committer {
    is_on: bool,
    /// Whether something was written since the last commit.
    is_behind: bool,
    last: Instant,
}

impl Committer {
    fn new(is_on: bool) -> Self {
        Self {
            is_on,
            is_behind: false,
            last: Instant::now(),
        }
    }

    /// Lets a signal be heard, and commits when it is time: with records at hand all the time nothing is waited for.
    async fn breathe(
        &mut self,
        consumer: &mut Consumer,
        output: &mut Output,
    ) -> Result<(), CliError> {
        tokio::task::yield_now().await;
        if self.is_on && self.last.elapsed() >= COMMIT_INTERVAL {
            output.finish()?;
            self.commit(consumer).await?;
        }
        Ok(())
    }

    /// Waits for the next record, and commits when it is time. All that was handed out must have been flushed.
    async fn next(&mut self, consumer: &mut Consumer) -> Result<Option<Record>, CliError> {
        while self.is_on && self.is_behind {
            tokio::select! {
                biased;
                () = sleep_until(self.last + COMMIT_INTERVAL) => self.commit(consumer).await?,
                next = consumer.next() => return Ok(next?),
            }
        }
        Ok(consumer.next().await?)
    }

    async fn commit(&mut self, consumer: &mut Consumer) -> Result<(), CliError> {
        if self.is_on && self.is_behind {
            consumer.commit().await?;
            self.is_behind = false;
        }
        self.last = Instant::now();
        Ok(())
    }
}

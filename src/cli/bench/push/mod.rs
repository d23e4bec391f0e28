//! `redrive bench push`: from a publish to its delivery, beside a bare client that sends the same bodies to the same
//! destinations. Each message must arrive exactly once, or the measurement fails.

mod board;
mod isolation;
mod sender;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{parse, remote};
use super::figures::{Figures, per_second};
use super::report::float;
use crate::client::backoff::random;
use crate::clock::{Clock, SystemClock};
use board::{Board, HEAD_BYTES};
use sender::{Sender, Start, To};
use sink::Sink;

/// Messages that show how late what is due is delivered, and how many of them in a second: light load.
const DUE_COUNT: u64 = 2_000;
const DUE_RATE: f64 = 200.0;
const DUE_DELAY: Duration = Duration::from_secs(1);
/// Time between the end of publishing and the moment at which all of it is due.
const DRAIN_MARGIN: Duration = Duration::from_secs(3);

/// The load of `bench push`.
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    /// Number of messages in each run
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1 << 31))]
    pub messages: u64,
    /// Size of a body
    #[arg(long, default_value = "1KiB", value_name = "BYTES", value_parser = parse::bytes_u32)]
    pub size: u32,
    /// Messages in a publish request
    #[arg(long, default_value_t = 100, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub batch: u64,
    /// Connections of the bare client, and of the publisher
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Runs of each measurement; the middle ones count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,
    /// Measure what one hanging destination of a hundred does to the others
    #[arg(long)]
    pub isolation: bool,
    /// Only publish, messages that are due so many seconds later; they stay in the broker
    #[arg(long, value_name = "SECONDS", conflicts_with = "isolation")]
    pub delayed: Option<u64>,
}

/// Runs `redrive bench push`.
pub(super) fn run(
    arguments: &PushArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    if usize::try_from(arguments.size).is_ok_and(|size| size < HEAD_BYTES) {
        return Err(CliError::usage(format!(
            "a body has at least {HEAD_BYTES} bytes: its message's number"
        )));
    }
    let figures = remote::block_on(async {
        let mut bench = Bench::start(arguments, connection)?;
        match arguments.delayed {
            Some(seconds) => bench.publish_delayed(Duration::from_secs(seconds)).await,
            None if arguments.isolation => isolation::measure(&mut bench, arguments.runs).await,
            None => bench.measure(arguments.runs).await,
        }
    })?;
    let load = json!({
        "messages": arguments.messages,
        "body_bytes": arguments.size,
        "batch_messages": arguments.batch,
        "connections": arguments.connections,
    });
    figures.write("push", &load, output)
}

/// Publishes so many messages that are due later, as `bench push --delayed` does.
pub(super) async fn publish_delayed(
    messages: u64,
    delay: Duration,
    connection: &Connection,
) -> Result<(), CliError> {
    let arguments = PushArgs {
        messages,
        size: 1024,
        batch: 100,
        connections: 64,
        runs: 1,
        isolation: false,
        delayed: None,
    };
    let mut bench = Bench::start(&arguments, connection)?;
    bench.publish_delayed(delay).await.map(|_figures| ())
}

/// Destinations, and who sends to them.
#[derive(Debug)]
struct Bench {
    sink: Sink,
    sender: Arc<Sender>,
    url: String,
    token: String,
    count: u64,
    batch: u64,
    /// Number of the newest run.
    runs: u32,
}

/// What one run has sent.
#[derive(Debug)]
struct Run {
    board: Arc<Board>,
    /// Time until the last publish was answered.
    sending: Duration,
}

impl Bench {
    fn start(arguments: &PushArgs, connection: &Connection) -> Result<Self, CliError> {
        connection.check_url()?;
        let sink = Sink::start(if arguments.isolation { 100 } else { 1 })?;
        let sender = Sender::new(arguments.connections, arguments.size, sink.urls());
        Ok(Self {
            sink,
            sender,
            url: connection.url().to_owned(),
            token: connection.token().to_owned(),
            count: arguments.messages,
            batch: arguments.batch,
            // Not the number of a run before: what that one left in the broker is not to count here.
            runs: u32::try_from(random() >> 32).unwrap_or_default(),
        })
    }

    fn board(&mut self, count: u64) -> Arc<Board> {
        self.runs = self.runs.wrapping_add(1);
        let destinations = u64::try_from(self.sender.destinations.len()).unwrap_or(1);
        let board = Arc::new(Board::new(self.runs, count, destinations));
        self.sink.use_board(&board);
        board
    }

    /// Publishes the messages of a run.
    async fn send(
        &mut self,
        count: u64,
        batch: u64,
        start: Start,
        rate: Option<f64>,
    ) -> Result<Run, CliError> {
        let to = To::Broker {
            url: self.url.clone(),
            token: self.token.clone(),
            batch,
            start,
        };
        let board = self.board(count);
        let sending = self.sender.send(&board, &to, rate).await?;
        Ok(Run { board, sending })
    }

    /// Publishes the messages of a run, and waits until each of them has arrived once.
    async fn run(
        &mut self,
        count: u64,
        batch: u64,
        start: Start,
        rate: Option<f64>,
    ) -> Result<Run, CliError> {
        let run = self.send(count, batch, start, rate).await?;
        run.board.wait_all().await?;
        Ok(run)
    }

    async fn publish_delayed(&mut self, delay: Duration) -> Result<Figures, CliError> {
        let run = self
            .send(self.count, self.batch, Start::After(delay), None)
            .await?;
        let mut figures = Figures::default();
        figures.add(
            "published_per_second",
            "msg/s",
            per_second(self.count, run.sending),
        );
        Ok(figures)
    }

    /// Measures all there is about one destination, in turn with the bare client.
    async fn measure(&mut self, runs: u32) -> Result<Figures, CliError> {
        let mut figures = Figures::default();
        for _ in 0..runs {
            let bare = self.bare(&mut figures).await?;
            self.batches(bare, &mut figures).await?;
            self.drain(bare, &mut figures).await?;
            self.singles(bare, &mut figures).await?;
        }
        let late = self
            .run(DUE_COUNT, 1, Start::After(DUE_DELAY), Some(DUE_RATE))
            .await?;
        let late = late.board.latencies(DUE_DELAY)?;
        figures.add_latencies(["due_late_p50", "due_late_p99", "due_late_p999"], &late);
        Ok(figures)
    }

    async fn bare(&mut self, figures: &mut Figures) -> Result<f64, CliError> {
        let board = self.board(self.count);
        self.sender.send(&board, &To::Destinations, None).await?;
        board.wait_all().await?;
        let bare = per_second(self.count, board.elapsed());
        figures.add("bare_client", "msg/s", bare);
        Ok(bare)
    }

    /// From the first publish to the last delivery.
    async fn batches(&mut self, bare: f64, figures: &mut Figures) -> Result<(), CliError> {
        let run = self
            .run(self.count, self.batch, Start::AtOnce, None)
            .await?;
        let speed = per_second(self.count, run.board.elapsed());
        figures.add(
            "publish_in_batches",
            "msg/s",
            per_second(self.count, run.sending),
        );
        figures.add("publish_in_batches_to_delivery", "msg/s", speed);
        figures.add(
            "publish_in_batches_to_delivery_to_bare",
            "ratio",
            speed / bare,
        );
        Ok(())
    }

    /// Deliveries alone: everything is due at one time, behind the publishing.
    async fn drain(&mut self, bare: f64, figures: &mut Figures) -> Result<(), CliError> {
        let publishing = float(self.count) / figures.median("publish_in_batches").max(1.0);
        let wait = Duration::from_secs_f64(publishing * 1.5) + DRAIN_MARGIN;
        let wait = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
        let due = SystemClock::new()
            .now()
            .0
            .div_euclid(1000)
            .saturating_add(wait);
        let run = self
            .run(self.count, self.batch, Start::At(due), None)
            .await?;
        let speed = per_second(self.count, run.board.spread());
        figures.add("deliveries_alone", "msg/s", speed);
        figures.add("deliveries_alone_to_bare", "ratio", speed / bare);
        Ok(())
    }

    /// One message in a request, at full and at half load.
    async fn singles(&mut self, bare: f64, figures: &mut Figures) -> Result<(), CliError> {
        let count = self.count.div_ceil(2);
        let run = self.run(count, 1, Start::AtOnce, None).await?;
        let speed = per_second(count, run.board.elapsed());
        figures.add("publish_singly_to_delivery", "msg/s", speed);
        figures.add("publish_singly_to_delivery_to_bare", "ratio", speed / bare);
        let run = self.run(count, 1, Start::AtOnce, Some(speed / 2.0)).await?;
        let latencies = run.board.latencies(Duration::ZERO)?;
        let names = ["half_load_p50", "half_load_p99", "half_load_p999"];
        figures.add_latencies(names, &latencies);
        Ok(())
    }
}

//! Letters of messages that a destination has refused: making them, and deleting them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::super::args::Connection;
use super::super::super::error::CliError;
use super::super::destination::{self, Answers};
use super::super::figures::Figures;
use super::super::post::Poster;
use super::super::report::float;
use super::{LettersArgs, REASONS, pages, reason};
use crate::client::backoff::random;
use crate::client::{Client, ClientError};
use crate::protocol::api_key::ApiKey;
use crate::protocol::resolve_letters::DeleteLettersRequest;
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};
use crate::topic::PUSH_TOPIC;

/// Labels, in turn.
const LABELS: u64 = 10;
/// Messages that are published at a time: with as many before them that may not be dead yet, far fewer than a broker lets wait.
const WINDOW_MESSAGES: u64 = 100_000;
/// Messages in a publish request.
const BATCH_MESSAGES: u64 = 500;
/// Connections that publish.
const CONNECTIONS: u32 = 8;
/// Bytes at the head of a body: its message's number.
const HEAD_BYTES: usize = 20;
/// Pause between two looks at how many letters there are.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longest time without a further letter.
const SILENCE_MAX: Duration = Duration::from_mins(1);

const OF_LABEL: pages::Names = [
    "label_page_p50",
    "label_page_p99",
    "label_page_p999",
    "label_page_max",
    "letters_on_a_label_page",
];
const OF_URL: pages::Names = [
    "url_page_p50",
    "url_page_p99",
    "url_page_p999",
    "url_page_max",
    "letters_on_a_url_page",
];

/// Makes letters, looks at pages of them, and deletes them.
pub(super) async fn run(
    client: &Client,
    arguments: &LettersArgs,
    urls: u64,
    connection: &Connection,
) -> Result<(Value, Figures), CliError> {
    connection.check_url()?;
    let mut figures = Figures::default();
    let load = Arc::new(Load::start(arguments, urls, connection)?);
    let begun = Instant::now();
    load.make(client, arguments.letters).await?;
    let rate = float(arguments.letters) / begun.elapsed().as_secs_f64();
    figures.add("published_and_dead", "letters/s", rate);
    look(client, &load, arguments.of(PUSH_TOPIC), &mut figures).await?;
    let begun = Instant::now();
    let deleted = delete_all(client, &load, arguments.page).await?;
    let rate = float(deleted) / begun.elapsed().as_secs_f64();
    if deleted != arguments.letters {
        let made = arguments.letters;
        let text = format!("{made} letters were made and {deleted} deleted");
        return Err(CliError::failed(text, None));
    }
    figures.add("deleted", "letters/s", rate);
    let effective = json!({
        "topic": PUSH_TOPIC,
        "letters": arguments.letters,
        "record_bytes": arguments.size,
        "urls": urls,
        "labels": LABELS,
        "reasons": REASONS,
    });
    Ok((effective, figures))
}

/// Measures pages of filters over three fields: the fingerprint is added to two of them.
async fn look(
    client: &Client,
    load: &Load,
    of: pages::Of<'_>,
    figures: &mut Figures,
) -> Result<(), CliError> {
    let of_label = |number: u64| LetterFilter {
        labels: vec![load.label(number)],
        ..refused()
    };
    let of_url = |number: u64| LetterFilter {
        // Not only those that were published last.
        urls: vec![load.url(number.wrapping_mul(997))],
        ..refused()
    };
    pages::measure(client, of, of_label, OF_LABEL, figures).await?;
    pages::measure(client, of, of_url, OF_URL, figures).await
}

fn refused() -> LetterFilter {
    LetterFilter {
        statuses: vec![REFUSAL.as_u16()],
        ..LetterFilter::default()
    }
}

/// What the destination answers.
const REFUSAL: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// A destination that refuses everything, for a reason that the message's number decides: each label has all reasons.
#[derive(Debug)]
struct Refusing;

impl Answers for Refusing {
    async fn answer(&self, _destination: usize, body: Bytes) -> Response<Full<Bytes>> {
        let head = body.get(..HEAD_BYTES).unwrap_or_default();
        let number = std::str::from_utf8(head)
            .ok()
            .and_then(|head| head.parse().ok());
        let number: u64 = number.unwrap_or_default();
        let mut answer = Response::new(Full::from(reason(number / LABELS % REASONS)));
        *answer.status_mut() = REFUSAL;
        answer
    }
}

/// What is published, and where.
#[derive(Debug)]
struct Load {
    poster: Poster,
    broker: String,
    token: String,
    destination: String,
    urls: u64,
    size: usize,
    /// Names this run in its labels: letters of others are none of its business.
    run: u64,
}

impl Load {
    fn start(
        arguments: &LettersArgs,
        urls: u64,
        connection: &Connection,
    ) -> Result<Self, CliError> {
        let started = destination::start(1, &Arc::new(Refusing))?;
        Ok(Self {
            poster: Poster::new(),
            broker: format!("{}/v2/batch", connection.url()),
            token: connection.token().to_owned(),
            destination: started.into_iter().next().unwrap_or_default(),
            urls,
            size: usize::try_from(arguments.size).unwrap_or(usize::MAX),
            run: random(),
        })
    }

    fn url(&self, number: u64) -> String {
        format!("{}orders/{}", self.destination, number % self.urls)
    }

    fn label(&self, number: u64) -> String {
        format!("bench-{:016x}-{}", self.run, number % LABELS)
    }

    /// Publishes so many messages, and waits until all of them are letters.
    async fn make(self: &Arc<Self>, client: &Client, count: u64) -> Result<(), CliError> {
        let before = live(client).await?;
        let mut published = 0;
        while published < count {
            let end = count.min(published.saturating_add(WINDOW_MESSAGES));
            self.publish(published..end).await?;
            // The next ones are published while these die.
            wait_for(client, before.saturating_add(published)).await?;
            published = end;
        }
        wait_for(client, before.saturating_add(published)).await
    }

    async fn publish(self: &Arc<Self>, numbers: Range<u64>) -> Result<(), CliError> {
        let next = Arc::new(AtomicU64::new(numbers.start));
        let mut lanes = JoinSet::new();
        for _ in 0..CONNECTIONS {
            lanes.spawn(Arc::clone(self).lane(Arc::clone(&next), numbers.end));
        }
        while let Some(ended) = lanes.join_next().await {
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        }
        Ok(())
    }

    /// Publishes batches from the next message on, up to `end`.
    async fn lane(self: Arc<Self>, next: Arc<AtomicU64>, end: u64) -> Result<(), CliError> {
        loop {
            let from = next.fetch_add(BATCH_MESSAGES, Ordering::Relaxed);
            let to = from.saturating_add(BATCH_MESSAGES).min(end);
            if from >= to {
                return Ok(());
            }
            let messages: Vec<_> = (from..to).map(|number| self.message(number)).collect();
            let headers = [("Authorization", format!("Bearer {}", self.token))];
            let body = Value::from(messages).to_string();
            self.poster.post(&self.broker, &headers, body).await?;
        }
    }

    fn message(&self, number: u64) -> Value {
        let fill = self.size.saturating_sub(HEAD_BYTES);
        json!({
            "destination": self.url(number),
            "body": format!("{number:0HEAD_BYTES$}{}", "m".repeat(fill)),
            "headers": {"Upstash-Retries": "0", "Upstash-Label": self.label(number)},
        })
    }
}

async fn live(client: &Client) -> Result<u64, CliError> {
    let topic = client.topic(PUSH_TOPIC).await?;
    let partitions = topic.partitions.iter();
    Ok(partitions.map(|partition| partition.letters.live).sum())
}

/// Waits until there are so many letters.
async fn wait_for(client: &Client, count: u64) -> Result<(), CliError> {
    let (mut seen, mut seen_at) = (live(client).await?, Instant::now());
    while seen < count {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = live(client).await?;
        if now != seen {
            (seen, seen_at) = (now, Instant::now());
        } else if seen_at.elapsed() > SILENCE_MAX {
            let text = format!("{count} letters were to come, and {seen} are there");
            return Err(CliError::failed(text, None));
        }
    }
    Ok(())
}

/// Deletes all letters of the run. Returns how many this has deleted.
async fn delete_all(client: &Client, load: &Load, limit: u32) -> Result<u64, CliError> {
    let ours = LetterFilter {
        labels: (0..LABELS).map(|number| load.label(number)).collect(),
        ..LetterFilter::default()
    };
    let mut cursor = None;
    let mut deleted = 0_u64;
    loop {
        let request = DeleteLettersRequest {
            topic: PUSH_TOPIC.to_owned(),
            selection: Selection::Filter(ours.clone()),
            page: Page {
                order: Order::OldestFirst,
                limit,
                cursor,
            },
            request_id: None,
        };
        let answer = client.delete_letters(&request).await?;
        for (_, deletion) in answer.letters {
            let is_ours = deletion.map_err(|refusal| ClientError::Refused {
                doing: ApiKey::DeleteLetters.doing(),
                refusal,
            })?;
            deleted += u64::from(is_ours);
        }
        cursor = answer.cursor;
        if cursor.is_none() {
            return Ok(deleted);
        }
    }
}

//! Those who send: the bare client straight to the destinations, and the publisher to the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::super::error::CliError;
use super::super::post::Poster;
use super::board::Board;

/// Sends the messages of boards over keep-alive connections.
#[derive(Debug)]
pub(super) struct Sender {
    poster: Poster,
    pub(super) connections: u32,
    pub(super) size: usize,
    pub(super) destinations: Vec<String>,
}

/// Whom a sender sends to.
#[derive(Debug, Clone)]
pub(super) enum To {
    /// The destinations themselves.
    Destinations,
    /// The broker, so many messages in a request.
    Broker {
        url: String,
        token: String,
        batch: u64,
        start: Start,
    },
}

/// When a message is delivered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    AtOnce,
    After(Duration),
    /// Seconds since 1970.
    At(i64),
}

impl Sender {
    /// Makes a sender; its connections are opened when they are needed.
    pub(super) fn new(connections: u32, size: u32, destinations: &[String]) -> Arc<Self> {
        Arc::new(Self {
            poster: Poster::new(),
            connections,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            destinations: destinations.to_vec(),
        })
    }

    /// Sends all messages of a board, as fast as they are answered or at a rate in messages per second. Returns how long it took
    /// until the last answer.
    pub(super) async fn send(
        self: &Arc<Self>,
        board: &Arc<Board>,
        to: &To,
        rate: Option<f64>,
    ) -> Result<Duration, CliError> {
        let begin = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..self.connections {
            let lane = Lane {
                sender: Arc::clone(self),
                board: Arc::clone(board),
                to: to.clone(),
                next: Arc::clone(&next),
                pace: rate.map(|rate| (begin, rate)),
            };
            running.spawn(lane.run());
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        }
        Ok(begin.elapsed())
    }

    fn destination(&self, at: u64) -> &str {
        let count = u64::try_from(self.destinations.len())
            .unwrap_or(u64::MAX)
            .max(1);
        let index = usize::try_from(at % count).unwrap_or(usize::MAX);
        self.destinations.get(index).map_or("", String::as_str)
    }
}

/// One connection's worth of sending.
struct Lane {
    sender: Arc<Sender>,
    board: Arc<Board>,
    to: To,
    next: Arc<AtomicU64>,
    pace: Option<(Instant, f64)>,
}

impl Lane {
    async fn run(self) -> Result<(), CliError> {
        let step = match &self.to {
            To::Destinations => 1,
            To::Broker { batch, .. } => *batch,
        };
        loop {
            let from = self.next.fetch_add(step, Ordering::Relaxed);
            let to = from.saturating_add(step).min(self.board.count());
            if from >= to {
                return Ok(());
            }
            let when = self.wait_for_turn(from).await;
            for at in from..to {
                self.board.sent(at, when);
            }
            self.request(from, to).await?;
        }
    }

    /// Waits for a message's turn. Returns when it is sent; when its turn has been missed, when it should have been: what
    /// waits for a slow broker to take something has begun to wait then.
    async fn wait_for_turn(&self, at: u64) -> Instant {
        let now = Instant::now();
        let Some((begin, rate)) = self.pace else {
            return now;
        };
        let after = super::super::report::float(at) / rate.max(1e-9);
        let turn = begin + Duration::from_secs_f64(after);
        if turn <= now {
            return turn;
        }
        tokio::time::sleep_until(turn.into()).await;
        Instant::now()
    }

    async fn request(&self, from: u64, to: u64) -> Result<(), CliError> {
        let (uri, body) = self.content(from, to);
        let mut headers = Vec::new();
        if let To::Broker { token, start, .. } = &self.to {
            headers.push(("Authorization", format!("Bearer {token}")));
            headers.extend(start.header().filter(|_| to == from + 1));
        }
        self.sender.poster.post(&uri, &headers, body).await
    }

    fn content(&self, from: u64, to: u64) -> (String, String) {
        let sender = &self.sender;
        let body = |at| self.board.body(at, sender.size);
        match &self.to {
            To::Destinations => (sender.destination(from).to_owned(), body(from)),
            To::Broker { url, batch: 1, .. } => {
                let uri = format!("{url}/v2/publish/{}", sender.destination(from));
                (uri, body(from))
            }
            To::Broker { url, start, .. } => {
                let headers = start
                    .header()
                    .into_iter()
                    .collect::<std::collections::BTreeMap<_, _>>();
                let item = |at| {
                    let (destination, body) = (sender.destination(at), body(at));
                    json!({"destination": destination, "body": body, "headers": headers})
                };
                let items: Vec<_> = (from..to).map(item).collect();
                (
                    format!("{url}/v2/batch"),
                    serde_json::Value::from(items).to_string(),
                )
            }
        }
    }
}

impl Start {
    fn header(self) -> Option<(&'static str, String)> {
        match self {
            Self::AtOnce => None,
            Self::After(delay) => Some(("Upstash-Delay", format!("{}s", delay.as_secs()))),
            Self::At(seconds) => Some(("Upstash-Not-Before", seconds.to_string())),
        }
    }
}

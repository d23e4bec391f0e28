//! Attempts over HTTP/1.1 through the guard: kept-alive connections, no redirects, no decompression, one deadline for all.
//!
//! What a destination can make the broker hold is bounded: the head of an answer by the parser, the body by what is kept of
//! it. A connection whose answer is longer than that is closed and not drained.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use storage::dead_letter::limits::ATTEMPT_BODY_BYTES_MAX;
use storage::dead_letter::{AttemptResult, ErrorClass};
use tokio::time::{Instant, timeout};

use super::failure::Failure;
use super::request;
use super::{Answer, AttemptClient, AttemptFuture, AttemptRequest};
use crate::config::DestinationConfig;
use crate::delivery::guard::{
    AddressRules, Guard, GuardedConnector, RulesError, TrustError, client_config,
};

/// How long an unused connection is kept: less than the 5 s after which Node and Apache close theirs, so that a request
/// seldom meets a connection that is about to close.
const IDLE_WAIT_MAX: Duration = Duration::from_secs(4);

/// Unused connections kept to one host: as many as attempts are under way to one destination by default. With fewer, those
/// of a busy destination are closed and opened again all the time.
const IDLE_COUNT_MAX: usize = 128;

/// Largest head of an answer, and largest piece of a body in memory, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Headers of an answer.
const HEADER_COUNT_MAX: usize = 100;

/// A client that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The outbound rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The certificate authorities.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Makes attempts over HTTP.
#[derive(Debug)]
pub struct HttpClient {
    client: Client<GuardedConnector, Full<Bytes>>,
}

impl HttpClient {
    /// Makes a client by the configuration, and reads the file of certificate authorities.
    ///
    /// # Errors
    /// [`SetupError`] for an entry or a file that cannot be used.
    pub fn new(config: &DestinationConfig) -> Result<Self, SetupError> {
        let tls = client_config(config.ca_file.as_deref())?;
        let rules = AddressRules::new(config)?;
        Ok(Self::with_guard(Guard::new(rules, tls)))
    }

    /// Makes a client that goes out through `guard`.
    pub fn with_guard(guard: Guard) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_WAIT_MAX)
            .pool_max_idle_per_host(IDLE_COUNT_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADER_COUNT_MAX)
            .build(GuardedConnector::new(guard));
        Self { client }
    }

    async fn send(&self, request: AttemptRequest) -> Result<Whole, Failure> {
        if request.method == Method::CONNECT {
            let text = "CONNECT opens a tunnel: nothing can be delivered with it";
            return Err(Failure::new(ErrorClass::PROTOCOL, text));
        }
        let sent = self.client.request(request::build(request)).await;
        read(sent.map_err(|error| Failure::of(&error))?).await
    }
}

impl AttemptClient for HttpClient {
    fn attempt(&self, request: AttemptRequest) -> AttemptFuture<'_> {
        Box::pin(async move {
            let start = Instant::now();
            let time = request.timeout;
            let outcome = timeout(time, self.send(request)).await;
            let outcome = outcome.unwrap_or_else(|_elapsed| {
                let text = format!("no whole answer within {} ms", time.as_millis());
                Err(Failure::new(ErrorClass::TIMEOUT, text))
            });
            answer(outcome, start.elapsed())
        })
    }
}

/// An answer that was read as far as it is kept.
struct Whole {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    is_body_cut: bool,
}

/// Reads the body to its end or to what is kept of it. Dropping a body before its end closes the connection.
async fn read(response: Response<Incoming>) -> Result<Whole, Failure> {
    let (head, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    let mut is_body_cut = false;
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| Failure::of(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = ATTEMPT_BODY_BYTES_MAX.saturating_sub(body.len());
        let kept = data.get(..room).unwrap_or(data);
        body.extend_from_slice(kept);
        if kept.len() < data.len() {
            is_body_cut = true;
            break;
        }
    }
    Ok(Whole {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.freeze(),
        is_body_cut,
    })
}

fn answer(outcome: Result<Whole, Failure>, duration: Duration) -> Answer {
    match outcome {
        Ok(whole) => Answer {
            result: AttemptResult::Status(whole.status),
            headers: texts(&whole.headers),
            body: whole.body,
            is_body_cut: whole.is_body_cut,
            duration,
        },
        Err(failure) => Answer {
            result: AttemptResult::Error(failure.class),
            headers: Vec::new(),
            body: Bytes::from(failure.text),
            is_body_cut: false,
            duration,
        },
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect()
}

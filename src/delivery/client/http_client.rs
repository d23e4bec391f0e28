//! Attempts over HTTP/1.1 through the guard: kept-alive connections, no redirects, no decompression, one deadline for all.
//!
//! What a destination can make the broker hold is bounded: the head of an answer by the parser, the body by what is kept of
//! it. A connection whose answer is longer than that is closed and not drained.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use storage::dead_letter::{AttemptResult, ErrorClass};
use tokio::time::{Instant, timeout};

use super::answer_body::{AnswerBody, AnswerRoom};
use super::failure::Failure;
use super::link::Link;
use super::pool::Pool;
use super::request;
use super::{Answer, AttemptClient, AttemptFuture, AttemptRequest};
use crate::config::DestinationConfig;
use crate::delivery::destination::Destination;
use crate::delivery::guard::{AddressRules, Guard, RulesError, TrustError, client_config};

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

impl SetupError {
    /// Returns the key of the configuration whose value cannot be used; `None` where nothing configured is to blame.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Rules(_) => Some("destinations.allowed"),
            Self::Trust(TrustError::Setup(_)) => None,
            Self::Trust(_) => Some("destinations.ca_file"),
        }
    }
}

/// Makes attempts over HTTP.
#[derive(Debug)]
pub struct HttpClient {
    guard: Guard,
    pool: Arc<Pool>,
    room: AnswerRoom,
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
        Self {
            guard,
            pool: Arc::default(),
            room: AnswerRoom::new(),
        }
    }

    async fn send(&self, request: AttemptRequest) -> Result<Whole, Failure> {
        if request.method == Method::CONNECT {
            let text = "CONNECT opens a tunnel: nothing can be delivered with it";
            return Err(Failure::new(ErrorClass::PROTOCOL, text));
        }
        let destination = request.url.clone();
        let body = AnswerBody::new(&self.room, request.answer_bytes_max);
        let (mut link, response) = self.begin(&destination, request::build(request)).await?;
        let host = destination.uri().host().unwrap_or_default();
        let whole = read(&mut link, response, host, body).await?;
        if !whole.is_body_cut {
            self.pool.put(&destination, link).await;
        }
        Ok(whole)
    }

    /// Sends the request over a connection that was kept, or over a new one; returns the head of the answer. What was sent in
    /// part is not sent again.
    async fn begin(
        &self,
        destination: &Destination,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Link, Response<Incoming>), Failure> {
        let uri = destination.uri();
        let host = uri.host().unwrap_or_default();
        while let Some(mut link) = self.pool.take(destination).await {
            match link.send(request).await {
                Ok(response) => return Ok((link, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::of(host, error.error())),
                },
            }
        }
        // Boxed: it is rare, and large. Every attempt would be moved about with the room for it.
        let stream = Box::pin(self.guard.connect(uri)).await;
        let stream = stream.map_err(|error| Failure::of(host, &error))?;
        let link = Link::new(stream).await;
        let mut link = link.map_err(|error| Failure::of(host, &error))?;
        match link.send(request).await {
            Ok(response) => Ok((link, response)),
            Err(error) => Err(Failure::of(host, error.error())),
        }
    }
}

impl AttemptClient for HttpClient {
    fn attempt(&self, request: AttemptRequest) -> AttemptFuture<'_> {
        Box::pin(async move {
            let start = Instant::now();
            let time = request.timeout;
            // Pinned first: it is large, and would be moved into the timeout.
            let sent = pin!(self.send(request));
            let outcome = timeout(time, sent).await;
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

/// Reads the body to its end or to what is kept of it. A connection whose body was not read to its end is of no more use.
async fn read(
    link: &mut Link,
    response: Response<Incoming>,
    host: &str,
    mut body: AnswerBody,
) -> Result<Whole, Failure> {
    let (head, mut incoming) = response.into_parts();
    let mut is_body_cut = false;
    while !incoming.is_end_stream()
        && let Some(frame) = link.frame(&mut incoming).await
    {
        let frame = frame.map_err(|error| Failure::of(host, &error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        is_body_cut = !body.take(data);
        if is_body_cut {
            break;
        }
    }
    Ok(Whole {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.into_bytes(),
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

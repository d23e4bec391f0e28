//! One attempt of one delivery: a request goes out once, and whatever comes of it is an answer.

mod answer_body;
mod failure;
mod http_client;
mod link;
mod pool;
mod request;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use storage::dead_letter::AttemptResult;
use storage::hidden::{Hidden, HiddenHeaders};

use crate::delivery::destination::Destination;

pub use http_client::{HttpClient, SetupError};

/// What is sent.
#[derive(Clone)]
pub struct AttemptRequest {
    /// Where to.
    pub url: Destination,
    /// The HTTP method.
    pub method: Method,
    /// The headers. Those that belong to the connection are the client's own and left out.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Time for the whole attempt, from the lookup of the name to the end of the answer.
    pub timeout: Duration,
    /// Bytes that are kept of the answer's body.
    pub answer_bytes_max: usize,
}

impl fmt::Debug for AttemptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptRequest")
            .field("url", &self.url)
            .field("method", &self.method)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body", &Hidden(&self.body))
            .field("timeout", &self.timeout)
            .field("answer_bytes_max", &self.answer_bytes_max)
            .finish()
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, or the class of the error.
    pub result: AttemptResult,
    /// Headers of the answer as text: at most 100, and 16 KiB on the wire. Empty after an error.
    pub headers: Vec<(String, String)>,
    /// First bytes of the answer's body, or the text of the error for people. What is longer than a history keeps holds its part of
    /// the room for answers.
    pub body: Bytes,
    /// Whether the body was longer.
    pub is_body_cut: bool,
    /// How long it took.
    pub duration: Duration,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("result", &self.result)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("body", &Hidden(&self.body))
            .field("is_body_cut", &self.is_body_cut)
            .field("duration", &self.duration)
            .finish()
    }
}

/// An attempt under way.
pub type AttemptFuture<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Makes attempts.
pub trait AttemptClient: fmt::Debug + Send + Sync {
    /// Makes one attempt. It ends within the request's timeout; what is dropped before is given up.
    fn attempt(&self, request: AttemptRequest) -> AttemptFuture<'_>;
}

#[cfg(test)]
mod tests;

//! One request, taken apart: path, query, headers, body; and how a handler calls the broker.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::headers::PublishHeaders;
use crate::broker::Broker;
use crate::delivery::settings::PublishSettings;
use crate::http::parameters::Query;
use crate::http::refusal::refused;
use crate::http::{ApiError, Response, response};
use crate::protocol::error_code::{ErrorCode, Refusal};

/// What a handler comes to.
pub(super) type Answer = Result<Response, ApiError>;

/// Headers of 429 that the clients read, for the limit on what waits.
const LIMIT: HeaderName = HeaderName::from_static("burst-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("burst-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("burst-ratelimit-reset");

/// Seconds after which a publisher may ask again.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A request that has passed the gates.
pub(super) struct Call {
    pub(super) broker: Arc<Broker>,
    /// The decoded parameter of the path, such as an id.
    pub(super) name: String,
    /// The raw rest of the path, for routes that end with a destination.
    pub(super) rest: String,
    /// The raw query, for the same.
    pub(super) raw_query: Option<String>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Address of who asks.
    pub(super) caller_ip: Option<String>,
    /// Messages that may wait at a time.
    pub(super) pending_max: u64,
}

impl Call {
    /// Reads the headers of a publish.
    pub(super) fn publish_headers(&self) -> Result<PublishHeaders, ApiError> {
        Ok(PublishHeaders::parse(
            self.header_pairs(),
            self.broker.now(),
        )?)
    }

    /// Reads the headers of a schedule.
    pub(super) fn schedule_headers(&self) -> Result<PublishHeaders, ApiError> {
        Ok(PublishHeaders::of_schedule(
            self.header_pairs(),
            self.broker.now(),
        )?)
    }

    /// Reads what the headers of a retry override.
    pub(super) fn overrides(&self) -> Result<PublishSettings, ApiError> {
        Ok(PublishHeaders::overrides(
            self.header_pairs(),
            self.broker.now(),
        )?)
    }

    fn header_pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Returns who asks, for markers.
    pub(super) fn who(&self) -> String {
        let ip = self.caller_ip.as_deref();
        ip.map_or_else(|| "qstash".to_owned(), |ip| format!("qstash {ip}"))
    }

    /// Calls the broker on a thread that may block on the disk.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Arc<Broker>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, ApiError> {
        let broker = Arc::clone(&self.broker);
        let done = self.broker.run(move || act(&broker)).await;
        let result = done.unwrap_or_else(|error| {
            tracing::error!(%error, "a request failed inside the broker");
            Err(Refusal::new(
                ErrorCode::Internal,
                "the request failed inside the broker",
            ))
        });
        result.map_err(|refusal| self.refused(&refusal))
    }

    /// Returns a refusal as an answer. What is too much is 429, with the headers that the clients read.
    pub(super) fn refused(&self, refusal: &Refusal) -> ApiError {
        if refusal.code != ErrorCode::Overloaded {
            return refused(refusal);
        }
        let now = self.broker.now().0.div_euclid(1000);
        let reset = now.saturating_add(i64::from(RETRY_AFTER_SECONDS));
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, refusal.message.clone())
            .with_header(LIMIT, HeaderValue::from(self.pending_max))
            .with_header(REMAINING, HeaderValue::from(0_u32))
            .with_header(RESET, HeaderValue::from(reset))
            .with_header(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
    }

    /// Returns a refusal about the one thing that the path names: a malformed id names nothing, and a dead letter that was
    /// dealt with is none any more.
    pub(super) fn refused_name(&self, refusal: &Refusal) -> ApiError {
        match refusal.code {
            ErrorCode::InvalidLetterId
            | ErrorCode::InvalidSelection
            | ErrorCode::LetterResolved => ApiError::not_found(refusal.message.clone()),
            _ => self.refused(refusal),
        }
    }
}

/// Answers 200 with a JSON body.
#[expect(clippy::unnecessary_wraps, reason = "the end of every handler")]
pub(super) fn ok<T: Serialize>(value: &T) -> Answer {
    Ok(response::json(StatusCode::OK, value))
}

/// Answers 200 without a body.
#[expect(clippy::unnecessary_wraps, reason = "the end of every handler")]
pub(super) fn done() -> Answer {
    Ok(response::empty(StatusCode::OK))
}

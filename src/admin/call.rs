//! One request, taken apart: path parameters, query, body; and how a handler calls the broker.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::Broker;
use crate::http::parameters::{Query, json, number};
use crate::http::refusal::refused;
use crate::http::{ApiError, Response, response};
use crate::protocol::error_code::{ErrorCode, Refusal};

/// What a handler comes to.
pub(super) type Answer = Result<Response, ApiError>;

/// A request that has passed the gates.
pub(super) struct Call {
    pub(super) broker: Arc<Broker>,
    pub(super) path: Vec<(&'static str, String)>,
    pub(super) query: Query,
    pub(super) body: Bytes,
    /// Who asks, for markers.
    pub(super) who: String,
    /// Whether the token was shown, or need not be.
    pub(super) has_token: bool,
    /// The document that describes what is served.
    pub(super) openapi: Bytes,
}

impl Call {
    /// Returns a parameter of the path.
    pub(super) fn param(&self, name: &str) -> String {
        let found = self.path.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Returns the partition's index, a parameter of the path.
    pub(super) fn partition_index(&self) -> Result<u32, ApiError> {
        number("the partition index", &self.param("index"))
    }

    /// Decodes the body. Nothing at all stands for an empty object.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        json(&self.body)
    }

    /// Calls the broker on a thread that may block on the disk.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Arc<Broker>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, ApiError> {
        let broker = Arc::clone(&self.broker);
        let done = self.broker.run(move || act(&broker)).await;
        let result = done.unwrap_or_else(|error| {
            tracing::error!(%error, "an admin request failed inside the broker");
            Err(Refusal::new(
                ErrorCode::Internal,
                "the request failed inside the broker",
            ))
        });
        result.map_err(|refusal| refused(&refusal))
    }
}

/// Answers 200 with a JSON body.
#[expect(clippy::unnecessary_wraps, reason = "the end of every handler")]
pub(super) fn ok<T: Serialize>(value: &T) -> Answer {
    Ok(response::json(StatusCode::OK, value))
}

//! One request, taken apart: path parameters, query, body; and how a handler calls the broker.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::refused;
use crate::broker::Broker;
use crate::http::{ApiError, Response, query, response};
use crate::protocol::error_code::{ErrorCode, Refusal};

/// What a handler comes to.
pub(super) type Answer = Result<Response, ApiError>;

/// A query parameter that every path takes: the token.
const TOKEN_PARAMETER: &str = "qstash_token";

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
        let done = tokio::task::spawn_blocking(move || act(&broker)).await;
        let result = done.unwrap_or_else(|panic| {
            tracing::error!(%panic, "an admin request failed inside the broker");
            Err(Refusal::new(
                ErrorCode::Internal,
                "the request failed inside the broker",
            ))
        });
        result.map_err(|refusal| refused(&refusal))
    }
}

/// The query parameters of a request, all of them known to its path.
#[derive(Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Splits a query and refuses names that the path does not know.
    pub(super) fn parse(text: &str, known: &[String]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for (name, value) in query::pairs(text) {
            if name == TOKEN_PARAMETER {
                continue;
            }
            if !known.iter().any(|known| *known == name) {
                return Err(unknown_parameter(&name, known));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// Returns all values of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self.pairs.iter().filter(|(known, _)| known == name);
        pairs.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of a parameter that stands at most once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.all(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            [first, second, ..] => Err(ApiError::bad_request(format!(
                "the query parameter {name} is given more than once, as {first:?} and {second:?}"
            ))),
        }
    }

    /// Returns a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, ApiError> {
        let what = format!("the query parameter {name}");
        self.one(name)?.map(|text| number(&what, text)).transpose()
    }

    /// Returns a switch: `true` or `false`, and false when it is not given.
    pub(super) fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "the query parameter {name} is {other:?}, it must be true or false"
            ))),
        }
    }
}

/// Decodes a body. Nothing at all stands for an empty object.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    let mut decoder = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
        let path = error.path().to_string();
        let message = match path.as_str() {
            "." => format!("the body: {}", error.inner()),
            path => format!("the body, {path}: {}", error.inner()),
        };
        ApiError::bad_request(message)
    })?;
    decoder
        .end()
        .map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    Ok(value)
}

fn unknown_parameter(name: &str, known: &[String]) -> ApiError {
    let message = if known.is_empty() {
        format!("unknown query parameter {name:?}: this path takes none")
    } else {
        format!(
            "unknown query parameter {name:?}: this path takes {}",
            known.join(", ")
        )
    };
    ApiError::bad_request(message)
}

fn number(what: &str, text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_not_a_number| {
        ApiError::bad_request(format!(
            "{what} is {text:?}, it must be a number from 0 to {}",
            u32::MAX
        ))
    })
}

/// Answers 200 with a JSON body.
#[expect(clippy::unnecessary_wraps, reason = "the end of every handler")]
pub(super) fn ok<T: Serialize>(value: &T) -> Answer {
    Ok(response::json(StatusCode::OK, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_named_with_the_known_ones() {
        let known = ["from".to_owned(), "count".to_owned()];
        let query = Query::parse("from=a%20b&qstash_token=t", &known).unwrap();
        assert_eq!(query.one("from").unwrap(), Some("a b"));
        assert_eq!(query.number("count").unwrap(), None);
        let error = Query::parse("form=1", &known).unwrap_err();
        assert_eq!(
            error.message,
            "unknown query parameter \"form\": this path takes from, count"
        );
        let error = Query::parse("x", &[]).unwrap_err();
        assert!(error.message.ends_with("this path takes none"), "{error}");
        let twice = Query::parse("from=1&from=2", &known).unwrap();
        assert_eq!(twice.all("from"), ["1", "2"]);
        assert_eq!(twice.one("from").unwrap_err().status, 400);
        let wrong = Query::parse("count=-1&from=yes", &known).unwrap();
        assert!(
            wrong
                .number("count")
                .unwrap_err()
                .message
                .contains("\"-1\"")
        );
        assert!(
            wrong
                .switch("from")
                .unwrap_err()
                .message
                .contains("true or false")
        );
    }
}

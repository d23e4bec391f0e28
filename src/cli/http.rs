//! Requests to the admin surface, for what the binary protocol does not have.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::args::Connection;
use super::error::CliError;
use super::remote::with_causes;

/// Largest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Reads several paths, one after the other.
pub(super) async fn get(connection: &Connection, paths: &[String]) -> Result<Vec<Value>, CliError> {
    let mut answers = Vec::new();
    for path in paths {
        answers.push(call(connection, Method::GET, path).await?);
    }
    Ok(answers)
}

/// Posts to a path, without a body.
pub(super) async fn post(connection: &Connection, path: &str) -> Result<Value, CliError> {
    call(connection, Method::POST, path).await
}

async fn call(connection: &Connection, method: Method, path: &str) -> Result<Value, CliError> {
    let url = format!("{}{path}", connection.url.trim_end_matches('/'));
    let request = Request::builder()
        .method(method)
        .uri(&url)
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", connection.token()),
        )
        .body(Empty::<Bytes>::new())
        .map_err(|error| CliError::usage(format!("{url} is no URL: {error}")))?;
    let failed = |error: &dyn std::error::Error| {
        CliError::failed(
            format!("cannot reach {url}: {}", with_causes(error)),
            Some("is the broker running? --url or REDRIVE_URL says where its HTTP surface is"),
        )
    };
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let answer = client
        .request(request)
        .await
        .map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| failed(error.as_ref()))?
        .to_bytes();
    if !status.is_success() {
        let said = String::from_utf8_lossy(&body);
        return Err(CliError::failed(
            format!("{url} answered {status}: {}", said.trim()),
            None,
        ));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body)
        .map_err(|error| CliError::failed(format!("{url} did not answer with JSON: {error}"), None))
}

//! Requests to the admin surface, for what the binary protocol does not have.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::args::Connection;
use super::error::CliError;
use super::remote::with_causes;

/// Largest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Returns a path of the admin surface, with what is no plain text in its parts escaped.
pub(super) fn path(parts: &[&str]) -> String {
    let mut path = "/admin/v1".to_owned();
    for part in parts {
        path.push('/');
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                path.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ok = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

/// Reads a path.
pub(super) async fn get(connection: &Connection, path: &str) -> Result<Value, CliError> {
    call(connection, Method::GET, path).await
}

/// Posts to a path, without a body.
pub(super) async fn post(connection: &Connection, path: &str) -> Result<Value, CliError> {
    call(connection, Method::POST, path).await
}

async fn call(connection: &Connection, method: Method, path: &str) -> Result<Value, CliError> {
    let url = format!("{}{path}", connection.url());
    if !connection.url().starts_with("http://") {
        return Err(CliError::usage(format!(
            "{:?} is no URL of a broker: --url or REDRIVE_URL takes http://HOST:PORT, as in http://127.0.0.1:8080",
            connection.url()
        )));
    }
    let request = Request::builder()
        .method(method)
        .uri(&url)
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", connection.token()),
        )
        .body(Empty::<Bytes>::new())
        .map_err(|error| CliError::usage(format!("{url} is no URL: {error}")))?;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        if speaks_no_http(error) {
            return CliError::failed(
                format!("what answers at {url} does not speak HTTP"),
                Some(
                    "--url or REDRIVE_URL says where the broker's HTTP surface is, --addr its binary protocol",
                ),
            );
        }
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
        return Err(refused(&url, status, &body));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body)
        .map_err(|error| CliError::failed(format!("{url} did not answer with JSON: {error}"), None))
}

/// Returns whether something has answered, and not with HTTP.
fn speaks_no_http(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
    })
}

fn refused(url: &str, status: StatusCode, body: &[u8]) -> CliError {
    let hint = (status == StatusCode::UNAUTHORIZED)
        .then_some("give the broker's token with --token or REDRIVE_TOKEN");
    let said = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|answer| Some(answer.get("error")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    CliError::failed(format!("{url} answered {status}: {said}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_cannot_leave_it() {
        assert_eq!(path(&["topics", "a.b-c_1"]), "/admin/v1/topics/a.b-c_1");
        assert_eq!(
            path(&["topics", "a/b?c d", "retention"]),
            "/admin/v1/topics/a%2Fb%3Fc%20d/retention"
        );
    }
}

//! Posting over keep-alive connections, as an ordinary HTTP client does it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::super::error::CliError;
use super::super::remote::with_causes;

/// Posts; its connections are opened when they are needed, as many as there are posts at a time.
#[derive(Debug)]
pub(super) struct Poster(Client<HttpConnector, Full<Bytes>>);

impl Poster {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Posts a body, and waits for the whole answer. What is not answered with a success is an error.
    pub(super) async fn post(
        &self,
        uri: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<(), CliError> {
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| CliError::usage(format!("{uri} is no URL: {error}")))?;
        let failed = |error: &dyn std::error::Error| {
            CliError::failed(format!("cannot reach {uri}: {}", with_causes(error)), None)
        };
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&body);
        Err(CliError::failed(
            format!("{uri} answered {status}: {said}"),
            None,
        ))
    }
}

//! Answers: JSON, text, nothing. The whole body is in memory; every handler bounds what it answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::Serialize;

/// An answer of a surface.
pub type Response = hyper::Response<Full<Bytes>>;

/// Answers with a JSON body. A value that does not serialise is our own mistake and answered 500.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => with_body(status, "application/json", body.into()),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            let body =
                Bytes::from_static(br#"{"error":"the answer could not be written as JSON"}"#);
            with_body(StatusCode::INTERNAL_SERVER_ERROR, "application/json", body)
        }
    }
}

/// Answers with plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_body(status, "text/plain; charset=utf-8", body.into())
}

/// Answers without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Answers with `body`. Nothing is cached or guessed at by a browser: records are other people's bytes.
pub fn with_body(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

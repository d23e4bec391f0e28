//! Errors as answers: always `{"error": "..."}`, with the status and the headers that belong to it.

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::auth::Denied;
use super::body::BodyError;
use super::response::{self, Response};
use super::route::RouteError;

/// Seconds after which a request that had no room may come again: it has waited for long already.
const ROOM_RETRY_AFTER_SECONDS: u32 = 1;

/// An error that a surface answers with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Status of the answer.
    pub status: StatusCode,
    /// What was wrong, with which value, and what would be right.
    pub message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl ApiError {
    /// Builds an error.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503 with `Retry-After`: nothing was done, and the same request may succeed later.
    pub fn unavailable(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .with_header(RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the answer.
    pub fn to_response(&self) -> Response {
        let mut response = response::json(
            self.status,
            &ErrorBody {
                error: &self.message,
            },
        );
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::NotFound => Self::not_found(message),
            RouteError::MethodNotAllowed { allow } => {
                let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, message);
                match HeaderValue::try_from(allow) {
                    Ok(allow) => error.with_header(ALLOW, allow),
                    Err(_) => error,
                }
            }
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::NoToken | Denied::NoBearer | Denied::WrongToken => {
                Self::new(StatusCode::UNAUTHORIZED, message)
                    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Denied::Host { .. } | Denied::Origin { .. } | Denied::CrossSite => {
                Self::new(StatusCode::FORBIDDEN, message)
            }
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        let refused = match error {
            BodyError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, message),
            BodyError::TooSlow { .. } => Self::new(StatusCode::REQUEST_TIMEOUT, message),
            BodyError::NoRoom => Self::unavailable(message, ROOM_RETRY_AFTER_SECONDS),
            BodyError::Broken => Self::bad_request(message),
        };
        // The rest of the body is not read, so that the connection cannot go on.
        refused.with_header(CONNECTION, HeaderValue::from_static("close"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_error_is_a_json_object_with_its_headers() {
        let error = ApiError::from(RouteError::MethodNotAllowed {
            allow: "GET, HEAD".to_owned(),
        });
        let response = error.to_response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"error":"this path takes GET, HEAD"}"#);
        assert_eq!(
            ApiError::from(Denied::NoToken).to_response().headers()["www-authenticate"],
            "Bearer"
        );
        assert_eq!(
            ApiError::unavailable("full", 5).to_response().headers()["retry-after"],
            "5"
        );
        let response = ApiError::from(BodyError::NoRoom).to_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["connection"], "close");
    }
}

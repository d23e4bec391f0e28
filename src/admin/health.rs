//! `/healthz`, `/readyz` and `/metrics`: what probes and scrapers ask for.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use crate::http::response;
use crate::metrics::OPENMETRICS_CONTENT_TYPE;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Liveness {
    /// Always `live`.
    status: &'static str,
}

/// Whether the broker is ready for everything.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// How many problems there are.
    problem_count: usize,
    /// What is wrong, a line each. Left out for those who show no token: it names topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<String>>,
}

/// Says that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "liveness", security(()),
    responses((status = 200, description = "The process answers.", body = Liveness)))]
#[expect(clippy::unused_async, reason = "a handler like the others")]
pub(super) async fn live(_call: Call) -> Answer {
    ok(&Liveness { status: "live" })
}

/// Says whether the broker is ready for everything.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readiness", security(()),
    responses(
    (status = 200, description = "Ready for everything.", body = Readiness),
    (status = 503, description = "Not ready: the problems are counted, and named for those who show the token.", body = Readiness)))]
pub(super) async fn ready(call: Call) -> Answer {
    let health = call.blocking(|broker| Ok(broker.health())).await?;
    let (code, status) = if health.problems.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let readiness = Readiness {
        status,
        problem_count: health.problems.len(),
        problems: call.has_token.then_some(health.problems),
    };
    Ok(response::json(code, &readiness))
}

/// Returns the metrics as `OpenMetrics` text.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics", responses(
    (status = 200, description = "All metrics, as OpenMetrics text.", body = String, content_type = "application/openmetrics-text"),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn metrics(call: Call) -> Answer {
    let measured = call.blocking(|broker| {
        broker.measure();
        Ok(broker.metrics().encode())
    });
    let text = Bytes::from(measured.await?);
    Ok(response::with_body(
        StatusCode::OK,
        OPENMETRICS_CONTENT_TYPE,
        text,
    ))
}

/// Returns this document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", operation_id = "openapi", security(()),
    responses((status = 200, description = "This document.", body = Object)))]
#[expect(clippy::unused_async, reason = "a handler like the others")]
pub(super) async fn openapi(call: Call) -> Answer {
    Ok(response::with_body(
        StatusCode::OK,
        "application/json",
        call.openapi,
    ))
}

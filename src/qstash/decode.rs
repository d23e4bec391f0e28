//! What a request says before a broker is asked: its route, and what it publishes or selects. PURE.
//!
//! The surface decides with the same functions; here they stand alone, for tests that try any request.

use std::fmt;

use hyper::Method;

use super::filters::{CancelQuery, LetterQuery, LogQuery, cancel, letters, logs};
use super::openapi::document;
use super::routes;
use crate::http::ApiError;
use crate::http::parameters::Query;

/// The routes of the surface, with the query parameters that each takes.
pub struct Routes {
    table: routes::Routes,
}

/// Where a request leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A route with a name or none.
    Named(String),
    /// A route that ends with a destination: the name before it, and the raw destination.
    Destination(String, String),
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            table: routes::Routes::new(&document()),
        }
    }
}

impl Routes {
    /// Checks a request's method, path and query.
    ///
    /// # Errors
    /// What the surface answers: 404, 405, or 400 for a query parameter that the path does not take.
    pub fn check(&self, method: &Method, path: &str, query: &str) -> Result<Place, ApiError> {
        let found = self.table.find(method, path)?;
        let name = routes::name_in(&found);
        if found.route.has_destination {
            let destination = found.raw_param("destination").to_owned();
            return Ok(Place::Destination(name, destination));
        }
        self.table.query(method, found.route, query)?;
        Ok(Place::Named(name))
    }

    /// Decodes which dead letters a request to delete some means.
    ///
    /// # Errors
    /// [`ApiError`] with status 400.
    pub fn letters(&self, query: &str, body: &[u8]) -> Result<LetterQuery, ApiError> {
        letters(&self.query(&Method::DELETE, "/v2/dlq", query)?, body)
    }

    /// Decodes which messages a request to cancel some means.
    ///
    /// # Errors
    /// [`ApiError`] with status 400.
    pub fn messages(&self, query: &str, body: &[u8]) -> Result<CancelQuery, ApiError> {
        cancel(&self.query(&Method::DELETE, "/v2/messages", query)?, body)
    }

    /// Decodes which log events a request means.
    ///
    /// # Errors
    /// [`ApiError`] with status 400.
    pub fn logs(&self, query: &str) -> Result<LogQuery, ApiError> {
        logs(&self.query(&Method::GET, "/v2/logs", query)?)
    }

    fn query(&self, method: &Method, path: &str, query: &str) -> Result<Query, ApiError> {
        let found = self.table.find(method, path)?;
        self.table.query(method, found.route, query)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn what_a_read_cannot_select_by_is_refused_and_what_nobody_knows_is_passed_over() {
        let routes = Routes::default();
        for (path, name) in [
            ("/v2/logs", "responseStatus"),
            ("/v2/logs", "order"),
            ("/v2/events", "groupBy"),
            ("/v2/events", "dlqIds"),
            ("/v2/dlq", "host"),
            ("/v2/dlq", "path"),
            ("/v2/dlq", "state"),
            ("/v2/dlq", "messageIds"),
            ("/v2/queues", "queueName"),
        ] {
            let query = format!("{name}=1");
            let error = routes.check(&Method::GET, path, &query).unwrap_err();
            assert_eq!(error.status, 400);
            let said = format!("the query parameter {name} is not taken here: this path takes ");
            assert!(error.message.starts_with(&said), "{error}");
        }
        // What clients still send and the real service ignores, and what a newer one may send.
        for query in ["api=llm", "newer=1", "qstash_token=t", ""] {
            for path in ["/v2/logs", "/v2/events", "/v2/dlq", "/v2/queues"] {
                routes.check(&Method::GET, path, query).unwrap();
            }
        }
        routes
            .check(
                &Method::GET,
                "/v2/dlq",
                "order=latestFirst&responseStatus=500",
            )
            .unwrap();
    }
}

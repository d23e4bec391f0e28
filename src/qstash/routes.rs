//! What is served: methods, paths and their handlers.
//!
//! Some paths end with a destination, which is the raw rest of the path with all its slashes. They stand in a table of their
//! own, which is asked after the other one: `/v2/schedules/{scheduleId}/pause` is no destination.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::Method;
use serde_json::Value;

use super::openapi::query_parameters;
use super::table::{BodyKind, Handler, Route, named, with_destination};
use crate::http::parameters::Query;
use crate::http::{ApiError, Found, RouteError, RouteTable};

/// What a route stands for.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) handler: Handler,
    pub(super) body: BodyKind,
    /// Whether the path ends with a destination, which the query belongs to.
    pub(super) has_destination: bool,
    /// Whether it only says why it is not served, whatever the query.
    pub(super) is_refusal: bool,
    /// Names of the query parameters that it takes.
    pub(super) parameters: Arc<[String]>,
}

/// The routes, in two tables.
pub(super) struct Routes {
    named: RouteTable<Served>,
    with_destination: RouteTable<Served>,
    /// Query parameters that select something on some path, here or in the real service.
    selecting: Vec<String>,
}

/// What the real service takes when it is asked for logs, and nothing here can do.
const NOT_SERVED: [&str; 1] = ["groupBy"];

/// Parameters of paths: at most one of them stands in a path.
const NAMES: [&str; 7] = [
    "queueName",
    "messageId",
    "dlqId",
    "scheduleId",
    "urlGroupName",
    "flowControlKey",
    "runId",
];

/// Returns what is served: every method with its path, parameters in braces, a destination at the end as `{*destination}`.
pub fn served() -> Vec<(Method, &'static str)> {
    named()
        .into_iter()
        .chain(with_destination())
        .map(|(method, path, ..)| (method, path))
        .collect()
}

/// Returns whether a path is of this surface.
#[must_use]
pub fn is_served(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/") || path.starts_with("/llm/")
}

/// Returns whether what stands at a path is not described, but refused with a reason.
fn is_refusal(path: &str) -> bool {
    path.starts_with("/llm/") || path.starts_with("/v2/workflows/")
}

impl Routes {
    pub(super) fn new(document: &Value) -> Self {
        let build = |routes: Vec<Route>, has_destination: bool| {
            let served = routes.into_iter().map(|(method, path, body, handler)| {
                let parameters = query_parameters(document, method.as_str(), path);
                let served = Served {
                    handler,
                    body,
                    has_destination,
                    is_refusal: is_refusal(path),
                    parameters: parameters.into(),
                };
                (method, path, served)
            });
            RouteTable::new(&served.collect::<Vec<_>>())
        };
        let named = named();
        let mut selecting: Vec<_> = NOT_SERVED.map(str::to_owned).to_vec();
        for (method, path, ..) in &named {
            selecting.extend(query_parameters(document, method.as_str(), path));
        }
        Self {
            named: build(named, false),
            with_destination: build(with_destination().into(), true),
            selecting,
        }
    }

    /// Reads the query of a request to a route. What only reads passes over names that nobody knows, as the real service
    /// does; what changes something refuses them.
    ///
    /// # Errors
    /// 400 for a name that the route does not take.
    pub(super) fn query(
        &self,
        method: &Method,
        route: &Served,
        text: &str,
    ) -> Result<Query, ApiError> {
        if route.has_destination || route.is_refusal {
            Ok(Query::default())
        } else if matches!(*method, Method::GET | Method::HEAD) {
            Query::parse_known(text, &route.parameters, &self.selecting)
        } else {
            Query::parse(text, &route.parameters)
        }
    }

    /// Finds the route of a request.
    ///
    /// # Errors
    /// 404, or 405 with the methods that the path takes.
    pub(super) fn find<'t, 'p>(
        &'t self,
        method: &Method,
        path: &'p str,
    ) -> Result<Found<'t, 'p, Served>, RouteError> {
        let by_name = match self.named.find(method, path) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        self.with_destination
            .find(method, path)
            .map_err(|error| match (by_name, error) {
                (RouteError::NotFound, error) | (error, RouteError::NotFound) => error,
                (
                    RouteError::MethodNotAllowed { allow: one },
                    RouteError::MethodNotAllowed { allow: other },
                ) => RouteError::MethodNotAllowed {
                    allow: format!("{one}, {other}"),
                },
            })
    }
}

/// Returns the name that a path holds, decoded; empty if it holds none.
pub(super) fn name_in(found: &Found<'_, '_, Served>) -> String {
    let names = NAMES.iter().map(|name| found.param(name));
    let mut given = names.filter(|name| !name.is_empty());
    given.next().map(Cow::into_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> Result<(bool, String, String), RouteError> {
        let routes = Routes::new(&super::super::openapi::document());
        let found = routes.find(method, path)?;
        let rest = found.raw_param("destination").to_owned();
        Ok((found.route.has_destination, name_in(&found), rest))
    }

    #[test]
    fn a_destination_is_the_raw_rest_and_names_are_decoded() {
        let yes = |name: &str, rest: &str| Ok((true, name.to_owned(), rest.to_owned()));
        let no = |name: &str| Ok((false, name.to_owned(), String::new()));
        let not_allowed = |allow: &str| {
            Err(RouteError::MethodNotAllowed {
                allow: allow.to_owned(),
            })
        };
        for (method, path, expected) in [
            (
                Method::POST,
                "/v2/publish/https://h//a%2Fb/",
                yes("", "https://h//a%2Fb/"),
            ),
            (Method::POST, "/v2/publish/group", yes("", "group")),
            (
                Method::POST,
                "/v2/enqueue/a%20b/https://h",
                yes("a b", "https://h"),
            ),
            (Method::POST, "/v2/enqueue/q/g", yes("q", "g")),
            (Method::POST, "/v2/schedules/group", yes("", "group")),
            (
                Method::POST,
                "/v2/schedules/https://h/pause",
                yes("", "https://h/pause"),
            ),
            (
                Method::POST,
                "/v2/schedules/https://h/v2/schedules/a/pause",
                yes("", "https://h/v2/schedules/a/pause"),
            ),
            (Method::POST, "/v2/schedules/s/pause", no("s")),
            (Method::PATCH, "/v2/schedules/s/resume", no("s")),
            (Method::GET, "/v2/schedules/s", no("s")),
            (Method::DELETE, "/v2/schedules/s", no("s")),
            (Method::POST, "/v2/dlq/retry/d", no("d")),
            (Method::POST, "/v2/dlq/retry", no("")),
            (Method::GET, "/v2/dlq/retry1", no("retry1")),
            (Method::POST, "/v2/flowControl/a%2Fb/pin", no("a/b")),
            (Method::DELETE, "/v2/dlq/", Err(RouteError::NotFound)),
            (Method::DELETE, "/v2/messages/", Err(RouteError::NotFound)),
            (Method::POST, "/v2/publish/", Err(RouteError::NotFound)),
            (Method::POST, "/v2/publish", Err(RouteError::NotFound)),
            (Method::POST, "/v2/enqueue/q", Err(RouteError::NotFound)),
            (Method::POST, "/v2/enqueue/q/", Err(RouteError::NotFound)),
            (Method::POST, "/v2/schedules/", Err(RouteError::NotFound)),
            (Method::GET, "/v2/nothing", Err(RouteError::NotFound)),
            (Method::GET, "/v2/publish/g", not_allowed("POST")),
            (
                Method::PUT,
                "/v2/schedules/s",
                not_allowed("DELETE, GET, HEAD, POST"),
            ),
            (Method::DELETE, "/v2/dlq/retry", not_allowed("POST")),
        ] {
            assert_eq!(found(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn every_route_is_described() {
        let document = super::super::openapi::document();
        for (method, path) in served() {
            let path = path.replace("{*", "{");
            if is_refusal(&path) {
                continue;
            }
            let method = method.as_str().to_ascii_lowercase();
            let operation = document["paths"]
                .get(&path)
                .and_then(|item| item.get(&method));
            assert!(operation.is_some(), "{method} {path}");
            assert!(is_served(&path), "{path}");
        }
    }
}

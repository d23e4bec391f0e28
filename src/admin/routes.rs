//! What is served: methods, paths and their handlers. The names of query parameters come from the document that describes
//! the handlers, so that what is taken and what is described cannot differ.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use super::call::{Answer, Call};
use super::{clock, groups, health, letters, partitions, records, resolve, retention, topics};
use crate::http::RouteTable;

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a route stands for.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) handler: Handler,
    /// Whether it is served without a token.
    pub(super) is_open: bool,
    /// Names of the query parameters that it takes.
    pub(super) parameters: Arc<[String]>,
}

const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

const TOPICS: &str = "/admin/v1/topics";
const TOPIC: &str = "/admin/v1/topics/{topic}";
const GROUP: &str = "/admin/v1/groups/{group}";
const LETTER: &str = "/admin/v1/dead-letters/{id}";

fn routes() -> [(Method, &'static str, Handler); 23] {
    [
        (Method::GET, TOPICS, |call| Box::pin(topics::list(call))),
        (Method::POST, TOPICS, |call| Box::pin(topics::create(call))),
        (Method::GET, TOPIC, |call| Box::pin(topics::describe(call))),
        (Method::PATCH, TOPIC, |call| Box::pin(topics::alter(call))),
        (Method::DELETE, TOPIC, |call| Box::pin(topics::delete(call))),
        (
            Method::GET,
            "/admin/v1/topics/{topic}/partitions/{index}",
            |call| Box::pin(partitions::describe(call)),
        ),
        (
            Method::GET,
            "/admin/v1/topics/{topic}/partitions/{index}/records",
            |call| Box::pin(records::peek(call)),
        ),
        (Method::POST, "/admin/v1/topics/{topic}/retention", |call| {
            Box::pin(retention::run(call))
        }),
        (
            Method::GET,
            "/admin/v1/topics/{topic}/dead-letters",
            |call| Box::pin(letters::list(call)),
        ),
        (
            Method::GET,
            "/admin/v1/topics/{topic}/dead-letters/stats",
            |call| Box::pin(letters::stats(call)),
        ),
        (
            Method::POST,
            "/admin/v1/topics/{topic}/dead-letters/retry",
            |call| Box::pin(resolve::retry(call)),
        ),
        (
            Method::POST,
            "/admin/v1/topics/{topic}/dead-letters/delete",
            |call| Box::pin(resolve::delete(call)),
        ),
        (Method::GET, LETTER, |call| Box::pin(letters::get(call))),
        (Method::DELETE, LETTER, |call| {
            Box::pin(resolve::delete_one(call))
        }),
        (Method::POST, "/admin/v1/dead-letters/{id}/retry", |call| {
            Box::pin(resolve::retry_one(call))
        }),
        (Method::POST, "/admin/v1/clock/confirm", |call| {
            Box::pin(clock::confirm(call))
        }),
        (Method::GET, "/admin/v1/groups", |call| {
            Box::pin(groups::list(call))
        }),
        (Method::GET, GROUP, |call| Box::pin(groups::describe(call))),
        (Method::DELETE, GROUP, |call| Box::pin(groups::delete(call))),
        (Method::GET, "/healthz", |call| Box::pin(health::live(call))),
        (Method::GET, "/readyz", |call| Box::pin(health::ready(call))),
        (Method::GET, "/metrics", |call| {
            Box::pin(health::metrics(call))
        }),
        (Method::GET, "/openapi.json", |call| {
            Box::pin(health::openapi(call))
        }),
    ]
}

/// Returns what is served: every method with its path, parameters in braces.
pub fn served() -> Vec<(Method, &'static str)> {
    routes()
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect()
}

/// Builds the table.
pub(super) fn table(document: &OpenApi) -> RouteTable<Served> {
    let routes = routes().map(|(method, path, handler)| {
        let served = Served {
            handler,
            is_open: OPEN.contains(&path),
            parameters: query_parameters(document, &method, path),
        };
        (method, path, served)
    });
    RouteTable::new(&routes)
}

/// Returns the names of the query parameters that the document gives a route.
fn query_parameters(document: &OpenApi, method: &Method, path: &str) -> Arc<[String]> {
    let operation = document
        .paths
        .paths
        .get(path)
        .and_then(|item| operation(item, method));
    let parameters = operation
        .and_then(|operation| operation.parameters.as_deref())
        .unwrap_or_default();
    let names = parameters.iter().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
            Some(parameter.name.clone())
        }
        _ => None,
    });
    names.collect()
}

fn operation<'d>(item: &'d PathItem, method: &Method) -> Option<&'d Operation> {
    match *method {
        Method::GET => item.get.as_ref(),
        Method::POST => item.post.as_ref(),
        Method::PATCH => item.patch.as_ref(),
        Method::DELETE => item.delete.as_ref(),
        _ => None,
    }
}

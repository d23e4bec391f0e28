//! The admin surface over HTTP.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::broker::Broker;
use crate::config::ServeConfig;
use crate::http::{Response, response};

/// Returns the surface that serves the admin API of a broker.
pub fn surface(
    broker: Arc<Broker>,
    _config: &ServeConfig,
) -> impl Fn(Request<Incoming>) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let _: Option<Infallible> = None;
    move |_request| {
        let broker = Arc::clone(&broker);
        Box::pin(async move {
            let health = broker.health();
            response::text(StatusCode::OK, format!("{}\n", health.problems.len()))
        })
    }
}

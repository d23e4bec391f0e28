//! The admin surface over HTTP: JSON under `/admin/v1`, and what probes and scrapers ask for.
//!
//! A request passes four gates in this order: where it comes from ([`Access::check_origin`], every request), the token,
//! the route, and the names of its query parameters. Behind them a handler in the file of its resource decodes, calls the
//! broker, and encodes; it decides nothing. What is not answered as asked is `{"error": "..."}`.
//!
//! No token is needed for `/healthz` and `/readyz`, because probes have none, and for `/openapi.json`, which tells what
//! this program serves and nothing about this broker. `/readyz` names the problems only to those who show the token.
//! While the development credentials are in force the token may be left out: it is public and protects nothing on
//! loopback. A wrong one is refused all the same.

mod arguments;
mod error;
mod call;
mod clock;
mod topics;
mod partitions;
mod records;
mod retention;
mod groups;
pub(crate) mod letter_views;
#[expect(
    unused_qualifications,
    reason = "what utoipa writes for parameter structs"
)]
pub(crate) mod letters;
mod selection;
mod resolve;
mod health;
mod openapi;
mod routes;
pub mod decode;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request};

use crate::broker::Broker;
use crate::config::ServeConfig;
use crate::http::parameters::Query;
use crate::http::{
    Access, ApiError, Denied, Found, PeerAddress, Response, RouteTable, Visitor, body,
};
use crate::limits::HTTP_BODY_BYTES_MAX;
use crate::request_room::{HeldRoom, RequestRoom};

use call::{Answer, Call};
use routes::Served;

pub use routes::served;

/// What all requests share.
struct Surface {
    broker: Arc<Broker>,
    access: Access,
    is_development: bool,
    body_bytes_max: u64,
    body_time_max: Duration,
    room: RequestRoom,
    routes: RouteTable<Served>,
    openapi: Bytes,
}

/// Returns the surface that serves the admin API of a broker. `described` is what other surfaces serve, as the JSON of an
/// OpenAPI document with paths and components: it is described beside what this one serves.
pub fn surface(
    broker: Arc<Broker>,
    config: &ServeConfig,
    described: &str,
    room: RequestRoom,
) -> impl Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let document = openapi::document();
    let surface = Arc::new(Surface {
        broker,
        access: Access::new(&config.access),
        is_development: config.access.is_development,
        body_bytes_max: config
            .http
            .body_bytes_max
            .min(u64::from(HTTP_BODY_BYTES_MAX)),
        body_time_max: Duration::from_millis(config.http.body_ms_max),
        room,
        routes: routes::table(&document),
        openapi: openapi::encode(&document, described),
    });
    move |request| {
        let surface = Arc::clone(&surface);
        Box::pin(async move {
            match surface.answer(request).await {
                Ok(response) => response,
                Err(error) => error.to_response(),
            }
        })
    }
}

impl Surface {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        self.access.check_origin(&head.uri, &head.headers)?;
        let found = self.routes.find(&head.method, head.uri.path());
        let token = self.check_token(&head);
        if !found.as_ref().is_ok_and(|found| found.route.is_open) {
            // Before the route's own error: a stranger learns nothing about what is served.
            token.clone()?;
        }
        let found = found?;
        let query = Query::parse(
            head.uri.query().unwrap_or_default(),
            &found.route.parameters,
        )?;
        let peer = head.extensions.get::<PeerAddress>();
        // It is given back when the request has been answered.
        let mut room = self.room.request();
        let call = Call {
            broker: Arc::clone(&self.broker),
            path: path_parameters(&found),
            query,
            body: self.body(&head, body, &mut room).await?,
            who: peer.map_or_else(|| "http".to_owned(), |peer| format!("http {}", peer.0.ip())),
            has_token: token.is_ok(),
            openapi: self.openapi.clone(),
        };
        (found.route.handler)(call).await
    }

    fn check_token(&self, head: &Parts) -> Result<(), Denied> {
        match self.access.check_token(&head.uri, &head.headers) {
            Err(Denied::NoToken) if self.is_development => Ok(()),
            checked => {
                let visitor = head.extensions.get::<Visitor>();
                if let (Ok(()), Some(visitor)) = (&checked, visitor) {
                    visitor.is_known_now();
                }
                checked
            }
        }
    }

    /// Reads the body of the methods that have one.
    async fn body(
        &self,
        head: &Parts,
        body: Incoming,
        room: &mut HeldRoom,
    ) -> Result<Bytes, ApiError> {
        if head.method != Method::POST && head.method != Method::PATCH {
            return Ok(Bytes::new());
        }
        let terms = body::Terms::new(&head.headers, self.body_bytes_max, self.body_time_max);
        Ok(body::read(body, terms, room).await?)
    }
}

fn path_parameters(found: &Found<'_, '_, Served>) -> Vec<(&'static str, String)> {
    let names = ["topic", "index", "id", "group"];
    names
        .into_iter()
        .map(|name| (name, found.param(name).into_owned()))
        .collect()
}

//! The QStash API over HTTP, under `/v2`: what an application publishes with, and looks after its messages with.
//!
//! A request passes the gates in this order: where it comes from ([`Access::check_origin`]), the token, the route, the names
//! of its query parameters (a filter that another path takes must not be ignored, and on every call that changes something a
//! mistyped one must not select everything), the size of its body. Behind them a handler in the file of its resource decodes, calls the broker, and encodes. What is not answered
//! as asked is `{"error": "..."}`.
//!
//! The clients decide what stands in an answer: [`views`] says which fields, [`headers`] and [`filters`] what they send.

pub mod limits;
pub mod headers;
pub mod target;
pub mod batch;
pub mod filters;
pub mod views;
pub mod publication;
mod call;
mod messages;
mod queues;
mod url_groups;
mod schedules;
mod resolved;
mod dlq;
mod flow_control;
mod keys;
mod logs;
mod unserved;
pub mod openapi;
mod table;
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
use crate::http::{Access, ApiError, PeerAddress, Response, Visitor, body};
use crate::limits::HTTP_BODY_BYTES_MAX;
use crate::request_room::{HeldRoom, RequestRoom};

use call::{Answer, Call};
use routes::{Routes, name_in};
use table::BodyKind;

pub use routes::{is_served, served};

/// What all requests share.
struct Surface {
    broker: Arc<Broker>,
    access: Access,
    message_bytes_max: u64,
    batch_bytes_max: u64,
    body_time_max: Duration,
    pending_max: u64,
    room: RequestRoom,
    routes: Routes,
}

/// Returns the surface that serves the QStash API of a broker. Whoever calls it asks [`is_served`] first.
pub fn surface(
    broker: Arc<Broker>,
    config: &ServeConfig,
    room: RequestRoom,
) -> impl Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let surface = Arc::new(Surface {
        broker,
        access: Access::new(&config.access),
        message_bytes_max: config.delivery.message_bytes_max.into(),
        batch_bytes_max: config.http.body_bytes_max,
        body_time_max: Duration::from_millis(config.http.body_ms_max),
        pending_max: u64::try_from(config.delivery.pending_max).unwrap_or(u64::MAX),
        room,
        routes: Routes::new(&openapi::document()),
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
        // Before the route: a stranger learns nothing about what is served.
        self.access.check_token(&head.uri, &head.headers)?;
        if let Some(visitor) = head.extensions.get::<Visitor>() {
            visitor.is_known_now();
        }
        let found = self.routes.find(&head.method, head.uri.path())?;
        let route = found.route;
        let query = head.uri.query().unwrap_or_default();
        let query = self.routes.query(&head.method, route, query)?;
        // It is given back when the request has been answered.
        let mut room = self.room.request();
        let call = Call {
            broker: Arc::clone(&self.broker),
            name: name_in(&found),
            rest: found.raw_param("destination").to_owned(),
            raw_query: head.uri.query().map(str::to_owned),
            query,
            body: self.body(&head, (route.body, body), &mut room).await?,
            caller_ip: caller_ip(&head),
            pending_max: self.pending_max,
            headers: head.headers,
        };
        (route.handler)(call).await
    }

    /// Reads the body of the methods that have one.
    async fn body(
        &self,
        head: &Parts,
        (kind, body): (BodyKind, Incoming),
        room: &mut HeldRoom,
    ) -> Result<Bytes, ApiError> {
        if matches!(head.method, Method::GET | Method::HEAD) {
            return Ok(Bytes::new());
        }
        let bytes_max = match kind {
            BodyKind::Message => self.message_bytes_max,
            BodyKind::Batch => self.batch_bytes_max,
            BodyKind::Json => HTTP_BODY_BYTES_MAX.into(),
        };
        let terms = body::Terms::new(&head.headers, bytes_max, self.body_time_max);
        Ok(body::read(body, terms, room).await?)
    }
}

fn caller_ip(head: &Parts) -> Option<String> {
    let peer = head.extensions.get::<PeerAddress>()?;
    Some(peer.0.ip().to_canonical().to_string())
}

//! The request as it goes out. PURE.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Uri};

use super::AttemptRequest;

/// Headers that are the connection's, not the message's: whoever may name them could cut one request into two, wait for what
/// never comes, or reach another host than the checked one. And nothing here unpacks what `accept-encoding` asks for.
const OWN_HEADERS: [HeaderName; 11] = [
    HOST,
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    EXPECT,
    ACCEPT_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Builds the request, as it goes to the server itself (RFC 9112, 3.2.1): its target is the path, and the host a header.
pub(super) fn build(request: AttemptRequest) -> Request<Full<Bytes>> {
    let mut headers = request.headers;
    for name in OWN_HEADERS {
        headers.remove(name);
    }
    let uri = request.url.uri();
    let host = uri
        .authority()
        .map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = host {
        headers.insert(HOST, host);
    }
    // An empty body has no length otherwise, and some servers insist on one (RFC 9110, 8.6).
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&request.method);
    if has_body && request.body.is_empty() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut built = Request::new(Full::new(request.body));
    *built.method_mut() = request.method;
    *built.uri_mut() = uri
        .path_and_query()
        .cloned()
        .map(Uri::from)
        .unwrap_or_default();
    *built.headers_mut() = headers;
    built
}

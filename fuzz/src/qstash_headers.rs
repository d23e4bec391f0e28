//! What a publish says: any head of a request is routed, and its headers are read or refused; what is read fits an envelope
//! and ends no line of the requests that are sent.

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::{Method, Uri};
use redrive::qstash::decode::{Place, Routes};
use redrive::qstash::headers::PublishHeaders;
use redrive::qstash::publication::PublishRequest;
use redrive::qstash::target::PublishTarget;
use redrive::qstash::{batch, is_served, served};
use storage::delivery::Envelope;

use super::input::NOW;

/// Stands for the values of headers that may be secrets.
const SECRET: &str = "hunter2";

static ROUTES: LazyLock<Routes> = LazyLock::new(Routes::default);

/// Takes the bytes for a request: a line with method and target, then a line for each header. All of it stands for a batch
/// as well.
pub fn run(data: &[u8]) {
    items(data);
    let mut lines = data.split(|byte| *byte == b'\n');
    let (method, target) = split(lines.next().unwrap_or_default(), b' ');
    let pairs: Vec<_> = lines.map(|line| split(line, b':')).collect();
    let named = pairs
        .iter()
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, *value)));
    let headers = match PublishHeaders::parse(named, NOW) {
        Ok(headers) => headers,
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2000, "{text}");
            let name = text.trim_start_matches("header ");
            let name = name.split([' ', ':']).next().unwrap_or_default();
            let is_forwarded = name.to_lowercase().contains("-forward-");
            // What stands in a name is no secret.
            let is_named = |name: &&[u8]| String::from_utf8_lossy(name).contains(SECRET);
            let is_secret = !pairs.iter().any(|(name, _)| is_named(name));
            assert!(
                !is_forwarded || !is_secret || !text.contains(SECRET),
                "{text}"
            );
            PublishHeaders::default()
        }
    };
    check(&headers);
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let Ok(method) = Method::from_bytes(method) else {
        return;
    };
    if let Some(destination) = route(&method, &uri) {
        publish(&destination, uri.query(), headers);
    }
    selection(uri.query().unwrap_or_default(), data);
}

fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == at) {
        Some(place) => (&bytes[..place], &bytes[place + 1..]),
        None => (bytes, &[]),
    }
}

/// What was read is within its bounds and can be sent.
fn check(headers: &PublishHeaders) {
    let settings = &headers.settings;
    assert!(settings.retries.is_none_or(|retries| retries <= 10_000));
    let callbacks = [&settings.callback, &settings.failure_callback];
    let all = callbacks
        .into_iter()
        .flat_map(|callback| &callback.headers)
        .chain(&settings.headers);
    for (name, value) in all {
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)), "{name}");
        assert!(!["host", "content-length", "transfer-encoding"].contains(&name.as_str()));
    }
    for url in callbacks
        .into_iter()
        .filter_map(|callback| callback.url.as_ref())
    {
        assert!(is_url(url), "{url}");
    }
    let envelope = settings.envelope(NOW);
    assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
}

/// Holds the routes against a plain reading of what is served. Returns the destination, if the path has one.
fn route(method: &Method, uri: &Uri) -> Option<String> {
    let path = uri.path();
    let place = ROUTES
        .check(method, path, "")
        .map_err(|error| error.status.as_u16());
    let all = served();
    let methods: Vec<_> = all
        .iter()
        .filter(|(_, pattern)| is_at(pattern, path))
        .collect();
    let wanted = |method: &Method| methods.iter().any(|(known, _)| known == method);
    let is_taken = wanted(method) || (*method == Method::HEAD && wanted(&Method::GET));
    match (&place, methods.is_empty()) {
        (Ok(_), _) => assert!(is_taken && is_served(path), "{method} {path}"),
        (Err(404), is_empty) => assert!(is_empty, "{method} {path}"),
        (Err(405), is_empty) => assert!(!is_empty && !is_taken, "{method} {path}"),
        (Err(other), _) => panic!("{method} {path}: {other}"),
    }
    match place {
        Ok(Place::Destination(_, destination)) => {
            assert!(
                !destination.is_empty() && path.ends_with(&destination),
                "{path}"
            );
            Some(destination)
        }
        _ => None,
    }
}

fn is_at(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut paths) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), paths.next()) {
            (None, None) => return true,
            (Some(part), Some(found)) if part.starts_with("{*") => {
                return !found.is_empty() || paths.next().is_some();
            }
            (Some(part), Some(found)) if part.starts_with('{') && !found.is_empty() => {}
            (Some(part), Some(found)) if part == found => {}
            _ => return false,
        }
    }
}

/// A destination is a URL, byte for byte and without the token, or a name.
fn publish(destination: &str, query: Option<&str>, headers: PublishHeaders) {
    let Ok(target) = PublishTarget::from_path(destination, query) else {
        return;
    };
    match &target {
        PublishTarget::Url(url) => {
            assert!(is_url(url), "{url}");
            let start = destination.split('#').next().unwrap_or_default();
            assert!(url.starts_with(start), "{destination} {url}");
            let query = url.split_once('?').map(|(_, query)| query);
            let mut pairs = query.unwrap_or_default().split('&');
            // The part of the destination that was in the path is the publisher's own.
            let is_own = destination.contains('?');
            assert!(
                is_own || !pairs.any(|pair| pair.starts_with("qstash_token=")),
                "{url}"
            );
        }
        PublishTarget::UrlGroup(name) => assert_eq!(name.as_str(), destination),
    }
    let request = PublishRequest {
        target,
        headers,
        body: Bytes::from_static(b"body"),
        queue: None,
        caller_ip: None,
    };
    let _may_be_refused = request.clone().schedule();
    if let Ok(publication) = request.publication(NOW) {
        let encoded = publication.envelope.encode();
        assert!(encoded.len() <= storage::delivery::limits::ENVELOPE_BYTES_MAX);
        assert_eq!(Envelope::decode(&encoded), Ok(publication.envelope));
    }
}

fn is_url(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    (lower.starts_with("http://") || lower.starts_with("https://"))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What touches everything was asked for by nothing, not by something that was not understood.
fn selection(query: &str, body: &[u8]) {
    use redrive::protocol::selection::Selection;
    if let Ok(read) = ROUTES.letters(query, b"")
        && read.selection == Some(Selection::All)
    {
        let names = redrive::http::query::pairs(query).map(|(name, _)| name);
        let of_page = ["cursor", "count", "order", "qstash_token"];
        for name in names {
            assert!(of_page.contains(&name.as_ref()), "{query}");
        }
    }
    let _may_be_refused = ROUTES.letters(query, body);
    let _may_be_refused = ROUTES.messages(query, body);
    let _may_be_refused = ROUTES.logs(query);
}

fn items(body: &[u8]) {
    let Ok(items) = batch::parse(body) else {
        return;
    };
    for item in items {
        let headers = item.headers();
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        if let Ok(headers) = PublishHeaders::parse(pairs, NOW) {
            check(&headers);
            publish(&item.destination, None, headers);
        }
    }
}

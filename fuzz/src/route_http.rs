//! The HTTP surface before a broker is asked: any request head is routed and let in, or refused, and never by mistake.

use std::sync::LazyLock;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use redrive::admin::decode::Routes;
use redrive::config::{AccessConfig, Secret};
use redrive::http::Access;
use redrive::http::query::{pairs, percent_decode};

/// Seeds show it.
const TOKEN: &str = "s3cret";

static ROUTES: LazyLock<Routes> = LazyLock::new(Routes::default);

/// Takes the bytes for the head of a request: a line with method and target, then a line for each header.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let (method, target) = split(first, b' ');
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = split(line, b':');
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    query(&uri);
    if let Ok(method) = Method::from_bytes(method) {
        route(&method, &uri);
    }
    token(&uri, &headers);
    origin(&uri, &headers);
}

fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == at) {
        Some(place) => (&bytes[..place], &bytes[place + 1..]),
        None => (bytes, &[]),
    }
}

fn query(uri: &Uri) {
    let text = uri.query().unwrap_or_default();
    let read: Vec<_> = pairs(text).collect();
    assert!(read.len() <= text.split('&').count());
    let encoded: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(percent_decode(&encoded.concat()), text);
    assert!(percent_decode(uri.path()).len() <= 3 * uri.path().len());
}

/// Holds the route table against a plain reading of what is served.
fn route(method: &Method, uri: &Uri) {
    let path = uri.path();
    let served = redrive::admin::served();
    let methods: Vec<_> = served
        .iter()
        .filter(|(_, pattern)| is_at(pattern, path))
        .map(|(method, _)| method)
        .collect();
    let has = |wanted: &Method| methods.contains(&wanted);
    let is_taken = has(method) || (*method == Method::HEAD && has(&Method::GET));
    let status = |query: &str| {
        ROUTES
            .check(method, path, query)
            .map_err(|e| e.status.as_u16())
    };
    let plain = status("");
    match (methods.is_empty(), is_taken) {
        (true, _) => assert_eq!(plain, Err(404)),
        (false, false) => assert_eq!(plain, Err(405)),
        (false, true) => assert!(plain.is_ok(), "{method} {path}"),
    }
    let open = ["/healthz", "/readyz", "/openapi.json"];
    assert!(plain != Ok(true) || open.contains(&path), "{path} is open");
    match status(uri.query().unwrap_or_default()) {
        Ok(is_open) => assert_eq!(plain, Ok(is_open)),
        Err(400) => assert!(plain.is_ok()),
        Err(other) => assert_eq!(plain, Err(other)),
    }
}

fn is_at(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern
            .zip(path)
            .all(|(part, found)| part == found || (part.starts_with('{') && !found.is_empty()))
}

/// A request that is let in has shown the token.
fn token(uri: &Uri, headers: &HeaderMap) {
    let is_let_in = access(false).check_token(uri, headers).is_ok();
    assert_eq!(is_let_in, access(true).check_token(uri, headers).is_ok());
    let shown = match headers.get(AUTHORIZATION) {
        Some(value) => value.as_bytes().ends_with(TOKEN.as_bytes()),
        None => pairs(uri.query().unwrap_or_default()).any(|(_, value)| value == TOKEN),
    };
    assert!(!is_let_in || shown, "{uri} {headers:?}");
}

/// While the development credentials are in force, a request that is let in names this machine and nothing else.
fn origin(uri: &Uri, headers: &HeaderMap) {
    assert_eq!(access(false).check_origin(uri, headers), Ok(()));
    if access(true).check_origin(uri, headers).is_err() {
        return;
    }
    let hosts = headers.get_all(HOST).iter();
    let mut names: Vec<_> = hosts
        .map(|host| String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase())
        .collect();
    names.extend(uri.authority().map(|a| a.as_str().to_ascii_lowercase()));
    assert!(!names.is_empty(), "{uri} {headers:?}");
    for name in names {
        let is_named = name.starts_with("127.") || name.contains("localhost");
        assert!(is_named || name.starts_with('['), "{name}");
        assert!(!name.contains(['/', '@']), "{name}");
    }
}

fn access(is_development: bool) -> Access {
    Access::new(&AccessConfig {
        token: Secret::new(TOKEN),
        is_development,
    })
}

//! What reaches the destination.

use super::*;

#[test]
fn what_belongs_to_a_connection_is_not_forwarded() {
    let parsed = ok(&[
        ("Upstash-Forward-Host", "evil"),
        ("Upstash-Forward-Content-Length", "5"),
        ("Upstash-Forward-Transfer-Encoding", "chunked"),
        ("Upstash-Forward-Connection", "close"),
        ("Upstash-Forward-Authorization", "Bearer t"),
    ]);
    assert_eq!(
        parsed.settings.headers,
        [header("authorization", "Bearer t")]
    );
}

#[test]
fn a_forwarded_content_type_stands_in_place_of_the_request_s() {
    for headers in [
        [
            ("content-type", "a/b"),
            ("upstash-forward-content-type", "c/d"),
        ],
        [
            ("upstash-forward-content-type", "c/d"),
            ("content-type", "a/b"),
        ],
    ] {
        assert_eq!(
            ok(&headers).settings.headers,
            [header("content-type", "c/d")]
        );
    }
}

#[test]
fn the_number_of_forwarded_headers_is_bounded() {
    let names: Vec<String> = (0..101).map(|n| format!("upstash-forward-x-{n}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(ok(&headers[..100]).settings.headers.len(), 100);
    let error = parse(&headers);
    assert!(error.is_err_and(|error| error.contains("one too many")));
}

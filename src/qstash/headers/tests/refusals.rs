//! What is refused, with its name and its value.

use super::*;

#[test]
fn what_is_malformed_is_named_with_its_value() {
    let long = "x".repeat(10_000);
    for (name, value, expected) in [
        (
            "Upstash-Method",
            "HEAD",
            "one of GET, POST, PUT, PATCH, DELETE",
        ),
        ("Upstash-Retries", "-1", "from 0 to 10000"),
        ("Upstash-Retries", "10001", "from 0 to 10000"),
        ("Upstash-Retries", "3.5", "from 0 to 10000"),
        ("Upstash-Timeout", "0s", "above 0"),
        ("Upstash-Timeout", "soon", "10s"),
        ("Upstash-Delay", "367d", "at most a year"),
        ("Upstash-Delay", "1w", "unit"),
        ("Upstash-Delay", "99999999999999999999999999d", "long"),
        ("Upstash-Not-Before", "1700000000500", "in seconds"),
        ("Upstash-Not-Before", "tomorrow", "now is 1700000000"),
        (
            "Upstash-Not-Before",
            "9223372036854775807",
            "at most a year",
        ),
        ("Upstash-Retry-Delay", "retried *", ""),
        ("Upstash-Retry-Delay", "sleep(1)", ""),
        ("Upstash-Callback", "nowhere", "http://"),
        ("Upstash-Failure-Callback", "https://", ""),
        ("Upstash-Callback-Retries", "many", "from 0 to 10000"),
        (
            "Upstash-Content-Based-Deduplication",
            "yes",
            "true or false",
        ),
        ("Upstash-Redact-Fields", "body, url", "header[Name]"),
        ("Upstash-Flow-Control-Key", &long, "bytes"),
        ("Upstash-Flow-Control-Value", "parallelism=0", "from 1"),
        ("Upstash-Flow-Control-Value", "rate=1, rate=2", "twice"),
        ("Upstash-Flow-Control-Value", "rate=x", "rate is no number"),
        (
            "Upstash-Flow-Control-Value",
            "rate=1, period=x",
            "period is no duration",
        ),
        ("Upstash-Flow-Control-Value", "period=500ms", "from 1s"),
        ("Upstash-Flow-Control-Value", "burst=5", "unknown"),
        ("Upstash-Flow-Control-Value", "5", "no ="),
        (
            "Upstash-Flow-Control-Value",
            "rate=5",
            "Upstash-Flow-Control-Key",
        ),
        ("Upstash-Label", &long, "256 bytes"),
    ] {
        let Err(error) = parse(&[(name, value)]) else {
            panic!("{name} {value} is taken");
        };
        assert!(error.starts_with(&format!("header {name} is ")), "{error}");
        let shown: String = value.chars().take(60).collect();
        assert!(error.contains(&shown), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(error.len() < 600, "{error}");
    }
}

#[test]
fn a_setting_is_given_once() {
    for name in ["Upstash-Retries", "Upstash-Callback-Retries"] {
        let lower = name.to_ascii_lowercase();
        let error = parse(&[(name, "1"), (&lower, "1")]);
        assert_eq!(error, Err(format!("header {name}: it must be given once")));
    }
}

#[test]
fn lines_cannot_be_injected_and_secrets_are_not_repeated() {
    for name in [
        "Upstash-Forward-X",
        "Upstash-Callback-Forward-X",
        "Upstash-Failure-Callback-X",
        "Content-Type",
    ] {
        for value in ["hunter2\r\nEvil: 1", "hunter2\n", "\0hunter2"] {
            let Err(error) = parse(&[(name, value)]) else {
                // A blank at the end is no part of a value.
                assert_eq!(value, "hunter2\n");
                continue;
            };
            assert!(error.starts_with(&format!("header {name}: ")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
    for name in [
        "Upstash-Forward-",
        "Upstash-Forward-a b",
        "Upstash-Callback-",
    ] {
        assert!(parse(&[(name, "v")]).is_err(), "{name}");
    }
    assert!(parse(&[("Upstash-Deduplication-Id", "a\r\nb")]).is_err());
    let not_utf8 = PublishHeaders::parse([("upstash-retries", &b"\xff"[..])], NOW);
    assert!(not_utf8.is_err());
}

//! Settings in headers.

mod forwarded;
mod refusals;

use bytes::Bytes;
use proptest::prelude::*;
use storage::delivery::FlowControl;

use super::*;

const NOW: TimestampMs = TimestampMs(1_700_000_000_500);

fn parse(headers: &[(&str, &str)]) -> Result<PublishHeaders, String> {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    PublishHeaders::parse(headers, NOW).map_err(|error| error.to_string())
}

fn ok(headers: &[(&str, &str)]) -> PublishHeaders {
    match parse(headers) {
        Ok(parsed) => parsed,
        Err(error) => panic!("{headers:?}: {error}"),
    }
}

fn header(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))
}

#[test]
fn nothing_is_said_by_nothing() {
    assert!(ok(&[]).is_empty());
    let others = ok(&[
        ("Authorization", "Bearer secret"),
        ("accept", "*/*"),
        ("x-a", "1"),
        ("Upstash-Telemetry-Sdk", "upstash-qstash-js@2.12.0"),
        ("Upstash-Telemetry-Platform", ""),
        ("Upstash-Workflow-Init", "true"),
        ("Upstash-Retries", "  "),
        ("Upstash-Label", " , "),
        ("Upstash-Deduplication-Id", ""),
    ]);
    assert!(
        others
            .settings
            .labels
            .is_some_and(|labels| labels.is_empty())
    );
    assert_eq!(others.dedup, Dedup::None);
    assert_eq!(others.settings.headers, []);
    assert_eq!(others.settings.retries, None);
}

#[test]
fn every_setting_is_read_in_any_case() {
    let parsed = ok(&[
        ("UPSTASH-METHOD", "put"),
        ("upstash-retries", "0"),
        ("Upstash-Timeout", "1.5s"),
        ("Upstash-Retry-Delay", "pow(2, retried) * 1000"),
        ("Upstash-Delay", "1d10h30m"),
        ("Upstash-Label", "one, two,,one"),
        ("upstash-label", "three"),
        ("Upstash-Callback", "https://c/x?y=1"),
        ("Upstash-Failure-Callback", "http://f"),
        ("Upstash-Flow-Control-Key", "key 1"),
        (
            "Upstash-Flow-Control-Value",
            "parallelism=5, rate=10, period=1m",
        ),
        ("Upstash-Redact-Fields", "body,header[Authorization]"),
        ("Upstash-Queue-Name", "q"),
        ("Upstash-Cron", "CRON_TZ=Europe/Berlin * * * * *"),
        ("Upstash-Schedule-Id", "s"),
        ("Upstash-Deduplication-Id", "d"),
        ("Upstash-Content-Based-Deduplication", "True"),
        ("Content-Type", "application/json"),
        ("Upstash-Forward-X-A", "1"),
        ("upstash-forward-x-a", "2"),
    ]);
    let settings = &parsed.settings;
    assert_eq!(settings.method.as_deref(), Some("PUT"));
    assert_eq!(
        (settings.retries, settings.timeout_ms),
        (Some(0), Some(1500))
    );
    assert_eq!(
        settings.retry_delay.as_deref(),
        Some("pow(2, retried) * 1000")
    );
    assert_eq!(settings.start, Some(Start::After(124_200_000)));
    let labels = settings.labels.as_deref();
    assert_eq!(
        labels,
        Some(&["one", "two", "three"].map(str::to_owned)[..])
    );
    assert_eq!(settings.callback.url.as_deref(), Some("https://c/x?y=1"));
    assert_eq!(settings.failure_callback.url.as_deref(), Some("http://f"));
    let flow = FlowControl {
        key: "key 1".to_owned(),
        parallelism: Some(5),
        rate: Some(10),
        period_ms: Some(60_000),
    };
    assert_eq!(settings.flow, Some(flow));
    let redaction = settings.redaction.as_ref();
    assert!(redaction.is_some_and(|r| r.body && r.header_names == ["authorization"]));
    assert_eq!(
        settings.headers,
        [
            header("x-a", "1"),
            header("x-a", "2"),
            header("content-type", "application/json")
        ]
    );
    assert_eq!(parsed.queue.as_deref(), Some("q"));
    assert_eq!(parsed.schedule_id.as_deref(), Some("s"));
    assert!(parsed.cron.is_some_and(|cron| cron.starts_with("CRON_TZ=")));
    assert_eq!(parsed.dedup, Dedup::Id("d".to_owned()));
}

#[test]
fn not_before_wins_over_delay() {
    let both = [
        ("Upstash-Not-Before", "1700000100"),
        ("Upstash-Delay", "1h"),
    ];
    let start = ok(&both).settings.start;
    assert_eq!(start, Some(Start::At(TimestampMs(1_700_000_100_000))));
    assert_eq!(ok(&both[1..]).settings.start, Some(Start::After(3_600_000)));
}

#[test]
fn content_based_deduplication_takes_booleans_in_any_case() {
    let name = "Upstash-Content-Based-Deduplication";
    for (value, expected) in [
        ("true", Dedup::Content),
        ("True", Dedup::Content),
        ("TRUE", Dedup::Content),
        ("false", Dedup::None),
        ("False", Dedup::None),
    ] {
        assert_eq!(ok(&[(name, value)]).dedup, expected);
    }
}

#[test]
fn flow_control_takes_any_subset() {
    let key = ("Upstash-Flow-Control-Key", "k");
    for (value, parallelism, rate, period_ms) in [
        ("", None, None, None),
        ("parallelism=1", Some(1), None, None),
        ("rate=2,period=3s", None, Some(2), Some(3000)),
        ("PERIOD = 1d , Rate=1", None, Some(1), Some(86_400_000)),
        ("rate=1, period=60", None, Some(1), Some(60_000)),
    ] {
        let flow = ok(&[key, ("Upstash-Flow-Control-Value", value)])
            .settings
            .flow;
        let expected = FlowControl {
            key: "k".to_owned(),
            parallelism,
            rate,
            period_ms,
        };
        assert_eq!(flow, Some(expected), "{value}");
    }
}

#[test]
fn callbacks_have_settings_and_headers_of_their_own() {
    let parsed = ok(&[
        ("Upstash-Callback-Forward-X-A", "1"),
        ("Upstash-Callback-X-B", "2"),
        ("Upstash-Callback-Method", "GET"),
        ("Upstash-Callback-Retries", "1"),
        ("Upstash-Callback-Timeout", "2s"),
        ("Upstash-Callback-Delay", "3s"),
        ("Upstash-Callback-Retry-Delay", "4000"),
        ("Upstash-Callback-Flow-Control-Key", "none of it"),
        ("Upstash-Callback-Workflow-Id", "none of it"),
        ("Upstash-Failure-Callback-Forward-X-C", "5"),
        ("Upstash-Failure-Callback-X-D", "6"),
        ("Upstash-Failure-Callback-Retries", "7"),
    ]);
    let callback = parsed.settings.callback;
    assert_eq!(callback.headers, [header("x-a", "1"), header("x-b", "2")]);
    assert_eq!(callback.method.as_deref(), Some("GET"));
    assert_eq!(
        (callback.retries, callback.timeout_ms),
        (Some(1), Some(2000))
    );
    assert_eq!(callback.delay_ms, Some(3000));
    assert_eq!(callback.retry_delay.as_deref(), Some("4000"));
    assert_eq!(callback.url, None);
    let failure = parsed.settings.failure_callback;
    assert_eq!(failure.headers, [header("x-c", "5"), header("x-d", "6")]);
    assert_eq!(failure.retries, Some(7));
}

#[test]
fn a_retry_overrides_settings_and_not_where_the_message_stands() {
    let overrides = |headers: &[(&str, &str)]| {
        let pairs = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        PublishHeaders::overrides(pairs, NOW).map_err(|error| error.to_string())
    };
    let own = ("Content-Type", "application/json");
    let settings = overrides(&[own, ("Upstash-Retries", "7")]).unwrap();
    assert_eq!((settings.retries, settings.headers), (Some(7), vec![]));
    let settings = overrides(&[own, ("Upstash-Forward-Content-Type", "a/b")]).unwrap();
    assert_eq!(settings.headers, [header("content-type", "a/b")]);
    let switched_off = ("Upstash-Content-Based-Deduplication", "false");
    overrides(&[switched_off]).unwrap();
    for (name, value, expected) in [
        ("Upstash-Queue-Name", "q", "where it was"),
        ("Upstash-Deduplication-Id", "x", "no deduplication"),
        (
            "Upstash-Content-Based-Deduplication",
            "true",
            "no deduplication",
        ),
        ("Upstash-Cron", "* * * * *", "belongs to a schedule"),
        ("Upstash-Schedule-Id", "s", "belongs to a schedule"),
    ] {
        let error = overrides(&[(name, value)]).unwrap_err();
        let named = format!("header {name} is {value:?}: ");
        assert!(error.starts_with(&named), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_schedule_takes_a_delay_and_no_time() {
    let of_schedule = |headers: &[(&str, &str)]| {
        let pairs = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        PublishHeaders::of_schedule(pairs, NOW).map_err(|error| error.to_string())
    };
    for value in ["tomorrow", "1700000000", "1700000000000000"] {
        let error = of_schedule(&[("Upstash-Not-Before", value)]).unwrap_err();
        let expected =
            format!("header Upstash-Not-Before is {value:?}: a schedule takes Upstash-Delay");
        assert!(error.starts_with(&expected), "{error}");
    }
    let parsed = of_schedule(&[("Upstash-Not-Before", " "), ("Upstash-Delay", "1m")]);
    assert_eq!(parsed.unwrap().settings.start, Some(Start::After(60_000)));
}

proptest! {
    #[test]
    fn any_headers_are_read_or_refused(
        headers in proptest::collection::vec(
            ("(upstash-(callback-|failure-callback-|forward-)?)?[a-z-]{0,20}", "\\PC{0,40}"),
            0..8,
        ),
    ) {
        let pairs: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if let Ok(parsed) = parse(&pairs) {
            let settings = parsed.settings;
            prop_assert!(settings.headers.iter().all(|(name, _)| !name.starts_with("upstash-")));
            prop_assert!(settings.retries.is_none_or(|retries| retries <= 10_000));
            let envelope = settings.envelope(NOW);
            let decoded = storage::delivery::Envelope::decode(&envelope.encode());
            prop_assert_eq!(decoded, Ok(envelope));
        }
    }
}

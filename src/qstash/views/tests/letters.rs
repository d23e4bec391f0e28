//! Dead letters.

use super::*;

#[test]
fn a_dead_letter_has_its_message_and_the_last_answer() {
    let mut history = History::default();
    history.push(attempt(AttemptResult::Status(500), b"first"));
    history.push(attempt(AttemptResult::Status(503), b"\xff"));
    let more = json!({
        "notBefore": 5, "createdAt": NOW.0, "body": "text",
        "callbackHeader": {"X-C": ["1"]}, "failureCallbackHeader": {"X-C": ["1"]},
        "dlqId": "d", "responseStatus": 503, "responseBodyBase64": "/w==",
        "responseHeader": {"Retry-After": ["5"]}, "responseHeaders": {"Retry-After": ["5"]},
    });
    assert_is(&dead(&full(), history), full_json(), more);
}

#[test]
fn without_an_answer_the_status_is_0_and_the_reason_stands_in_the_body() {
    let mut history = History::default();
    history.push(attempt(
        AttemptResult::Error(ErrorClass::TIMEOUT),
        b"timed out",
    ));
    let shown = dead(&least(), history);
    assert_eq!(shown["responseStatus"], 0);
    assert_eq!(shown["responseBody"], "timed out");
    let shown = dead(&least(), History::default());
    assert_eq!(shown["responseStatus"], 0);
    assert_eq!(shown["responseBody"], "the destination is forbidden");
}

#[test]
fn a_letter_with_a_damaged_envelope_is_shown_by_what_it_knows_itself() {
    let damaged = (
        ENVELOPE_HEADER.to_owned(),
        Some(Bytes::from_static(b"\xff")),
    );
    for headers in [
        vec![damaged],
        vec![(ENVELOPE_HEADER.to_owned(), None)],
        Vec::new(),
    ] {
        let is_pushed = !headers.is_empty();
        let shown = value(&DeadLetterJson::from(letter(headers, History::default())));
        // Nobody knows what may be shown.
        let body = shown["body"].as_str().unwrap_or_default();
        assert_eq!(body.starts_with("REDACTED:"), is_pushed, "{body}");
        assert_eq!(shown["url"], "https://a/b");
        assert_eq!(shown["method"], "PUT");
        assert_eq!(shown["label"], "one");
        assert_eq!(shown["maxRetries"], 0);
    }
}

//! `redrive dlq` on the broker's own topic: dead letters of pushed messages by their fields, in both orders, and whole.

use serde_json::{Value, json};

use crate::broker::{self, Broker, run, stderr, stdout};
use crate::pushed;

/// SHA-256 of `secret`.
const REDACTED: &str = "REDACTED:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn start() -> (Broker, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let ids = pushed::make(&directory.path().join("data"));
    (Broker::start_in(directory), ids)
}

fn ids(answer: &Value) -> Vec<&str> {
    let letters = answer["letters"].as_array().unwrap();
    letters
        .iter()
        .map(|letter| letter["id"].as_str().unwrap())
        .collect()
}

#[test]
fn letters_are_listed_and_counted_by_every_field_in_both_orders() {
    let (broker, all) = start();
    for (arguments, expected) in [
        (&[][..], &[0, 1, 2, 3, 4, 5][..]),
        (&["--queue", "even"], &[0, 2, 4]),
        (&["--url-group", "group-1"], &[1, 4]),
        (&["--endpoint", "endpoint-1", "--queue", "even"], &[4]),
        (
            &["--schedule", "schedule-1", "--schedule", "schedule-2"],
            &[1, 2, 4, 5],
        ),
        (&["--flow-control-key", "key-0"], &[0, 3]),
        (
            &["--destination", "https://host-1.example/hook"],
            &[1, 3, 5],
        ),
        (&["--status", "500"], &[0, 1]),
    ] {
        let expected: Vec<_> = expected.iter().map(|n| all[*n].as_str()).collect();
        let list = |order| {
            let own = ["dlq", "list", "_push", "--json", "--order", order];
            broker::json(&run(broker.command(&[&own, arguments].concat())))
        };
        assert_eq!(ids(&list("oldest")), expected, "{arguments:?}");
        let stats = ["dlq", "stats", "_push", "--json"];
        let stats = broker::json(&run(broker.command(&[&stats, arguments].concat())));
        assert_eq!(stats["selected_count"], expected.len(), "{arguments:?}");
        let reverse: Vec<_> = expected.into_iter().rev().collect();
        assert_eq!(ids(&list("newest")), reverse, "{arguments:?}");
    }
    let table = stdout(&run(broker.command(&["dlq", "list", "_push"])));
    assert!(table.contains("PUT https://host-0.example/hook"), "{table}");
}

#[test]
fn json_of_letters_and_counts_is_that_of_the_admin_surface() {
    let (broker, all) = start();
    let asked = |target: &str| -> Value {
        serde_json::from_str(&broker.ask(&format!("GET /admin/v1/{target}"))).unwrap()
    };
    let own = |arguments: &[&str]| broker::json(&run(broker.command(arguments)));
    for id in &all {
        let letter = own(&["dlq", "get", "_push", id, "--json"]);
        assert_eq!(letter, asked(&format!("dead-letters/{id}")));
    }
    let letters = own(&["dlq", "list", "_push", "--json"]);
    assert_eq!(letters, asked("topics/_push/dead-letters"));
    let stats = own(&["dlq", "stats", "_push", "--json"]);
    assert_eq!(stats, asked("topics/_push/dead-letters/stats"));
    let by_name = ["dlq", "list", "_push", "--json", "--disposition"];
    for (name, count) in [("retries_exhausted", all.len()), ("not_retryable", 0)] {
        let found = own(&[&by_name[..], &[name]].concat());
        assert_eq!(ids(&found).len(), count, "{name}");
    }
}

#[test]
fn a_letter_is_shown_whole_but_for_what_it_redacts() {
    let (broker, all) = start();
    let get = |n: usize, more: &[&str]| {
        let own = ["dlq", "get", "_push", all[n].as_str()];
        run(broker.command(&[&own, more].concat()))
    };
    let letter = broker::json(&get(2, &["--json"]));
    assert_eq!(
        letter["destination"],
        json!({
            "method": "PUT",
            "url": "https://host-0.example/hook",
            "url_group": "group-2",
            "endpoint": "endpoint-2",
            "queue": "even",
            "schedule": "schedule-2",
            "flow_control_key": "key-2",
        })
    );
    assert_eq!(letter["disposition"], "retries_exhausted");
    assert_eq!(letter["died_at_ms"], 3000);
    assert_eq!(letter["history"][0]["error_class"], "connect");
    assert_eq!(letter["history"][1]["number"], 2);
    assert_eq!(letter["value"], "secret");
    let letter = broker::json(&get(3, &["--json"]));
    assert_eq!(letter["value"], REDACTED);
    assert_eq!(
        letter["headers"],
        json!([
            {"name": "Authorization", "value": REDACTED},
            {"name": "X-Open", "value": "open"},
        ])
    );
    let text = stdout(&get(3, &[]));
    for told in [
        "PUT https://host-1.example/hook",
        "url group    group-0",
        "endpoint     endpoint-0",
        "schedule     schedule-0",
        "flow control key-0",
        "labels       label-3",
        "caller       10.0.0.1",
        "message      message-3",
        "first one    first",
        "attempt 1 ",
        "no connection",
        "attempt 2 ",
        "status 503",
        "retry-after: 1",
        "busy \u{fffd}[31m",
        "header       X-Open: open",
        REDACTED,
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(
        !text.contains("secret") && !text.contains("redrive."),
        "{text}"
    );
}

#[test]
fn letters_of_the_brokers_own_topic_are_resolved_by_filter_and_order() {
    let (broker, all) = start();
    let arguments = [
        "dlq", "delete", "_push", "--queue", "even", "--limit", "1", "--order", "newest",
    ];
    let deleted = run(broker.command(&arguments));
    assert_eq!(
        stdout(&deleted),
        "1 dead letter deleted\n",
        "{}",
        stderr(&deleted)
    );
    let retried = run(broker.command(&["dlq", "retry", "_push", "--flow-control-key", "key-0"]));
    assert_eq!(
        stdout(&retried),
        "2 dead letters republished\n",
        "{}",
        stderr(&retried)
    );
    // One of the two redacts its body.
    let consumed = stdout(&run(broker.command(&["consume", "_push"])));
    let mut consumed: Vec<_> = consumed.lines().collect();
    consumed.sort_unstable();
    assert_eq!(consumed, [REDACTED, "secret"]);
    let consumed = stdout(&run(broker.command(&["consume", "_push", "--json"])));
    assert!(!consumed.contains("redrive.envelope"), "{consumed}");
    let left = broker::json(&run(broker.command(&["dlq", "list", "_push", "--json"])));
    assert_eq!(ids(&left), [&all[1], &all[2], &all[5]]);
    let input = broker.directory.path().join("input");
    std::fs::write(&input, "a\n").unwrap();
    let produced = run(broker.command(&["produce", "_push", input.to_str().unwrap()]));
    assert_eq!(produced.status.code(), Some(1));
    let told = stderr(&produced);
    assert!(told.contains("belongs to the broker"), "{told}");
}

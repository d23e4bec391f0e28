//! Dead letters of pushed messages, in the broker's own topic: found by each of their fields, in both orders, shown whole but
//! for what they redact, and resolved.

use redrive::client::api::rejection;
use serde_json::{Value, json};
use storage::offset::Offset;

use crate::harness::Broker;
use crate::pushed;

const LETTERS: &str = "/admin/v1/topics/_push/dead-letters";
/// SHA-256 of `secret`.
const REDACTED: &str = "REDACTED:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

async fn start() -> (Broker, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let ids = pushed::make(&dir.path().join("data"));
    (Broker::start_in(dir, &[]).await, ids)
}

fn ids(answer: &Value) -> Vec<&str> {
    let letters = answer["letters"].as_array().unwrap();
    letters
        .iter()
        .map(|letter| letter["id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_found_by_every_field_of_a_message() {
    let (broker, all) = start().await;
    for (query, expected) in [
        ("", &[0, 1, 2, 3, 4, 5][..]),
        ("queue=even", &[0, 2, 4]),
        ("queue=odd", &[]),
        ("url_group=group-1", &[1, 4]),
        ("url_group=group-1&url_group=group-2", &[1, 2, 4, 5]),
        ("url_group=group-1&queue=even", &[4]),
        ("url_group=endpoint-1", &[]),
        ("endpoint=endpoint-2", &[2, 5]),
        ("schedule=schedule-0", &[0, 3]),
        ("flow_control_key=key-0", &[0, 3]),
        (
            "flow_control_key=key-0&flow_control_key=key-1&queue=even",
            &[0, 4],
        ),
        ("url=https://host-1.example/hook", &[1, 3, 5]),
        ("status=500", &[0, 1]),
        ("label=label-3", &[3]),
        ("message_id=message-4", &[4]),
        ("caller=10.0.0.1&status=503&queue=even", &[2, 4]),
        ("died_from=3000&died_to=5000", &[2, 3]),
        ("disposition=retries_exhausted&endpoint=endpoint-0", &[0, 3]),
        ("group=even", &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|n| all[*n].as_str()).collect();
        let found = broker.get(&format!("{LETTERS}?{query}")).await.expect(200);
        assert_eq!(ids(&found), expected, "{query}");
        let target = format!("{LETTERS}/stats?{query}");
        let stats = broker.get(&target).await.expect(200);
        assert_eq!(stats["selected_count"], expected.len(), "{query}");
        let reverse: Vec<_> = expected.into_iter().rev().collect();
        let target = format!("{LETTERS}?order=newest_first&{query}");
        let found = broker.get(&target).await.expect(200);
        assert_eq!(ids(&found), reverse, "{query}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_shown_whole_but_for_what_it_redacts() {
    let (broker, all) = start().await;
    let get = |n: usize| format!("/admin/v1/dead-letters/{}", all[n]);
    let open = broker.get(&get(2)).await.expect(200);
    assert_eq!(
        open["destination"],
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
    assert_eq!(open["labels"], json!(["label-2"]));
    assert_eq!(open["caller"], "10.0.0.1");
    assert_eq!(open["message_id"], "message-2");
    assert_eq!(open["first_message_id"], "first");
    assert_eq!(open["republished_count"], 1);
    assert_eq!(open["value"], "secret");
    assert_eq!(
        open["headers"],
        json!([
            {"name": "Authorization", "value": "secret"},
            {"name": "X-Open", "value": "open"},
        ])
    );
    let attempts = &open["history"];
    assert_eq!(attempts[0]["number"], 1);
    assert_eq!(attempts[0]["error_class"], "connect");
    assert_eq!(attempts[0]["error"], "no connection");
    assert_eq!(attempts[1]["number"], 2);
    assert_eq!(attempts[1]["status"], 503);
    assert_eq!(attempts[1].get("error_class"), None);
    assert_eq!(
        attempts[1]["headers"],
        json!([{"name": "retry-after", "value": "1"}])
    );
    assert_eq!(attempts[1]["body"], "busy \u{1b}[31m");

    let secret = broker.get(&get(3)).await.expect(200);
    assert_eq!(secret["value"], REDACTED);
    assert_eq!(
        secret["headers"],
        json!([
            {"name": "Authorization", "value": REDACTED},
            {"name": "X-Open", "value": "open"},
        ])
    );
    let page = broker.get(&format!("{LETTERS}?label=label-3")).await;
    assert_eq!(page.expect(200)["letters"], json!([secret]));
    assert!(!page.text.contains("secret"), "{}", page.text);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_the_brokers_own_topic_are_resolved_and_nobody_produces_to_it() {
    let (broker, all) = start().await;
    let delete = format!("{LETTERS}/delete");
    let body = r#"{"flow_control_keys": ["key-0"], "order": "newest_first", "limit": 1}"#;
    let deleted = broker.post(&delete, body).await.expect(200);
    assert_eq!(ids(&deleted), [&all[3]]);
    let body = r#"{"queues": ["even"], "schedules": ["schedule-2"], "url_groups": ["group-2"], "endpoints": ["endpoint-2"]}"#;
    let deleted = broker.post(&delete, body).await.expect(200);
    assert_eq!(ids(&deleted), [&all[2]]);
    assert_eq!(deleted["cursor"], Value::Null);
    let one = format!("/admin/v1/dead-letters/{}", all[0]);
    assert_eq!(broker.delete(&one).await.expect(200)["is_new"], true);
    let left = broker.get(LETTERS).await.expect(200);
    assert_eq!(ids(&left), [&all[1], &all[4], &all[5]]);
    let retried = broker
        .post(&format!("{LETTERS}/retry"), r#"{"queues": ["even"]}"#)
        .await
        .expect(200);
    assert_eq!(retried["republished_count"], 1);
    assert_eq!(ids(&retried), [&all[4]]);
    // What was republished is shown as letters are.
    let records = broker
        .get("/admin/v1/topics/_push/partitions/0/records")
        .await
        .expect(200);
    assert_eq!(records["records"][0]["value"], "secret");
    let names: Vec<_> = records["records"][0]["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| header["name"].as_str().unwrap())
        .collect();
    assert!(
        names.iter().all(|name| !name.starts_with("redrive.")),
        "{names:?}"
    );
    let request = rejection("g", ("_push", 0, Offset(0)), "no", None);
    let refused = broker.client.reject(&request).await.unwrap_err();
    assert!(
        refused.to_string().contains("belongs to the broker"),
        "{refused}"
    );
    broker.stop().await;
}

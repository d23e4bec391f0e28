//! Dead letters: finding, retrying with other settings, deleting.

use hyper::Method;
use serde_json::json;

use crate::world::{NOWHERE, World, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_found_retried_once_and_gone() {
    let world = World::start().await;
    let letter = world
        .dead(&[("upstash-label", "x"), ("upstash-forward-a", "1")])
        .await;
    assert_eq!(
        (&letter["url"], &letter["body"]),
        (&json!(NOWHERE), &json!("body"))
    );
    assert_eq!(
        (&letter["responseStatus"], &letter["maxRetries"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(letter["header"]["A"], json!(["1"]));
    let id = text(&letter, "dlqId");
    let one = world.get(&format!("/v2/dlq/{id}")).await.expect(200);
    assert_eq!(one["messageId"], letter["messageId"]);
    for query in ["label=y", "queueName=q", "toDate=5", "responseStatus=500"] {
        let page = world.get(&format!("/v2/dlq?{query}")).await.expect(200);
        assert_eq!(page, json!({"messages": []}), "{query}");
    }

    let overrides = [
        ("upstash-delay", "1h"),
        ("upstash-retries", "7"),
        ("upstash-forward-a", "2"),
    ];
    let target = format!("/v2/dlq/retry/{id}");
    let retried = world
        .send(Method::POST, &target, &overrides, "")
        .await
        .expect(201);
    let message_id = text(&retried, "messageId");
    assert_ne!(json!(message_id), letter["messageId"]);
    let message = world
        .get(&format!("/v2/messages/{message_id}"))
        .await
        .expect(200);
    assert_eq!(
        (&message["maxRetries"], &message["body"]),
        (&json!(7), &json!("body"))
    );
    assert_eq!(message["header"]["A"], json!(["2"]));
    assert_eq!(message["label"], "x");
    let again = world.post(&target, "").await.expect(201);
    assert_eq!(again["messageId"], message_id);
    world.get(&format!("/v2/dlq/{id}")).await.error(404);
    world.delete(&format!("/v2/dlq/{id}")).await.error(404);
    for id in ["nothing", "a%2Fb"] {
        world.get(&format!("/v2/dlq/{id}")).await.error(404);
        world.delete(&format!("/v2/dlq/{id}")).await.error(404);
        world
            .post(&format!("/v2/dlq/retry/{id}"), "")
            .await
            .error(404);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_keeps_the_content_type_and_refuses_what_it_cannot_override() {
    let world = World::start().await;
    let other = ("upstash-forward-content-type", "text/plain");
    for (asked, expected) in [(None, "text/csv"), (Some(other), "text/plain")] {
        let letter = world.dead(&[("content-type", "text/csv")]).await;
        let id = text(&letter, "dlqId");
        for (name, value) in [
            ("upstash-queue-name", "other"),
            ("upstash-deduplication-id", "x"),
        ] {
            let target = format!("/v2/dlq/retry/{id}");
            let headers = [(name, value)];
            let refused = world.send(Method::POST, &target, &headers, "");
            let error = refused.await.error(400);
            assert!(error.contains(value), "{error}");
        }
        let mut headers = vec![
            ("content-type", "application/json"),
            ("upstash-delay", "1h"),
        ];
        headers.extend(asked);
        let body = json!({"dlqIds": [id]}).to_string();
        let retried = world.send(Method::POST, "/v2/dlq/retry", &headers, &body);
        let retried = retried.await.expect(201);
        let id = text(&retried["responses"][0], "messageId");
        let message = world.get(&format!("/v2/messages/{id}")).await.expect(200);
        assert_eq!(message["header"]["Content-Type"], json!([expected]));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_cannot_be_retried_is_named_or_counted() {
    let world = World::start().await;
    let long = "x".repeat(30_000);
    let large = [("upstash-forward-a", long.as_str())];
    let (large, small) = (world.dead(&large).await, world.dead(&[]).await);
    // It is too much for the one and not for the other.
    let much = "y".repeat(40_000);
    let headers = [
        ("upstash-forward-b", much.as_str()),
        ("upstash-delay", "1h"),
    ];
    let page = world
        .send(Method::POST, "/v2/dlq/retry", &headers, "")
        .await;
    let page = page.expect(201);
    assert_eq!(page["responses"].as_array().unwrap().len(), 1);
    // The letter stays as it is however often it is asked for: the cursor does not lead back to it.
    assert_eq!(page.get("cursor"), None);
    let metrics = world.get("/metrics").await.text;
    let counted = "redrive_dead_letters_left_out_total 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    let other = world.dead(&[]).await;
    let ids = [&large, &small, &other].map(|letter| text(letter, "dlqId"));
    let target = format!("/v2/dlq/retry?dlqIds={}", ids.join(","));
    let refused = world.send(Method::POST, &target, &headers, "").await;
    let error = refused.error(400);
    assert!(
        error.contains(&ids[0]) && error.contains("2 others"),
        "{error}"
    );
    world.get(&format!("/v2/dlq/{}", ids[0])).await.expect(200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_calls_take_ids_filters_or_all_page_by_page() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for label in ["a", "a", "b", "b", "c", "c", "c"] {
        let letter = world.dead(&[("upstash-label", label)]).await;
        ids.push(text(&letter, "dlqId"));
    }
    let nothing = world
        .send(Method::DELETE, "/v2/dlq", &[], r#"{"dlqIds": []}"#)
        .await;
    assert_eq!(nothing.expect(200), json!({"deleted": 0}));
    let body = json!({"dlqIds": [ids[0]]}).to_string();
    let by_body = world.send(Method::DELETE, "/v2/dlq", &[], &body).await;
    assert_eq!(by_body.expect(200), json!({"deleted": 1}));
    let by_query = world
        .delete(&format!("/v2/dlq?dlqIds={}&dlqIds=nothing", ids[1]))
        .await;
    assert_eq!(by_query.expect(200), json!({"deleted": 1}));
    let later = [("upstash-delay", "1h")];
    let retried = world
        .send(Method::POST, "/v2/dlq/retry?label=b", &later, "")
        .await;
    let retried = retried.expect(201);
    assert_eq!(retried["responses"].as_array().unwrap().len(), 2);
    world
        .post("/v2/dlq/retry?dlqIds=nothing", "")
        .await
        .error(404);
    world
        .post(&format!("/v2/dlq/retry?dlqIds={}", ids[0]), "")
        .await
        .error(404);

    let error = world.get("/v2/dlq?cursor=nonsense!").await.error(400);
    assert!(
        error.starts_with("the cursor is \"nonsense!\": "),
        "{error}"
    );
    let latest = world
        .get("/v2/dlq?order=latestFirst&count=1")
        .await
        .expect(200);
    assert_eq!(latest["messages"][0]["dlqId"], json!(ids[6]));
    let first = world.delete("/v2/dlq?count=2").await.expect(200);
    assert_eq!(first["deleted"], 2);
    let cursor = text(&first, "cursor");
    let second = world
        .delete(&format!("/v2/dlq?count=2&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(second, json!({"deleted": 1}));
    assert_eq!(
        world.get("/v2/dlq").await.expect(200),
        json!({"messages": []})
    );
    world.stop().await;
}

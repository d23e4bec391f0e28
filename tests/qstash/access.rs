//! Tokens, paths that lead nowhere, limits and overload.

use hyper::Method;

use crate::world::{NOWHERE, TOKEN, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_without_the_token() {
    let world = World::start().await;
    let broker = &world.broker;
    for target in [
        "/v2/queues",
        "/v2/nothing",
        "/v2/publish/https://example.com",
        "/v2",
    ] {
        let error = broker
            .send(Method::POST, target, &[], "{}")
            .await
            .error(401);
        assert!(error.contains("Authorization"), "{error}");
        let wrong = [("authorization", "Bearer wrong")];
        broker
            .send(Method::POST, target, &wrong, "{}")
            .await
            .error(401);
    }
    broker
        .get(&format!("/v2/queues?qstash_token={TOKEN}"))
        .await
        .expect(200);
    broker.get("/v2/queues?qstash_token=wrong").await.error(401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_credentials_are_asked_for_as_well() {
    let broker = crate::harness::Broker::start().await;
    broker.get("/v2/keys").await.error(401);
    let token = "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=";
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let keys = broker
        .send(Method::GET, "/v2/keys", &headers, "")
        .await
        .expect(200);
    assert_eq!(keys["current"], "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r");
    assert_eq!(keys["next"], "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs");
    let foreign = [headers[0], ("origin", "https://evil.example")];
    broker
        .send(Method::GET, "/v2/keys", &foreign, "")
        .await
        .error(403);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_without_its_id_is_not_found() {
    let world = World::start().await;
    for target in [
        "/v2/dlq/",
        "/v2/messages/",
        "/v2/queues/",
        "/v2/topics/",
        "/v2/schedules/",
    ] {
        world.delete(target).await.error(404);
    }
    world.post("/v2/publish/", "x").await.error(404);
    world.get("/v2/nothing").await.error(404);
    let answer = world.send(Method::PUT, "/v2/queues", &[], "{}").await;
    answer.error(405);
    assert_eq!(answer.headers["allow"], "GET, HEAD, POST");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_filter_selects_nothing() {
    let world = World::start().await;
    let id = world.publish_later(&[("upstash-label", "kept")]).await;
    for target in [
        "/v2/dlq?labl=x",
        "/v2/messages?labl=x",
        "/v2/messages?label=",
        "/v2/messages?count=0",
    ] {
        world.delete(target).await.error(400);
    }
    world.post("/v2/dlq/retry?labl=x", "").await.error(400);
    world.get("/v2/dlq?labl=x").await.expect(200);
    world.get(&format!("/v2/messages/{id}")).await.expect(200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_provided_says_so() {
    let world = World::start().await;
    for target in [
        "/v2/publish/api/llm",
        "/v2/enqueue/q/api/llm",
        "/llm/v1/chat/completions",
    ] {
        let error = world.post(target, "{}").await.error(400);
        assert!(error.contains("base URL"), "{error}");
    }
    let error = world
        .delete("/v2/workflows/runs/wfr_1?cancel=true")
        .await
        .error(404);
    assert!(error.contains("wfr_1"), "{error}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_be_as_large_as_configured() {
    let world = World::start_with(&[("delivery.message_bytes_max", "1KiB")]).await;
    let target = format!("/v2/publish/{NOWHERE}");
    let later = [("upstash-delay", "1h")];
    let body = "x".repeat(1024);
    world
        .send(Method::POST, &target, &later, &body)
        .await
        .expect(200);
    let error = world
        .send(Method::POST, &target, &later, &format!("{body}x"))
        .await
        .error(413);
    assert!(error.contains("1024"), "{error}");
    let batch = format!(r#"[{{"destination": "{NOWHERE}", "body": "{body}x"}}]"#);
    let error = world.post("/v2/batch", &batch).await.error(413);
    assert!(error.contains("1024"), "{error}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_is_answered_with_the_headers_that_clients_read() {
    let world = World::start_with(&[("delivery.pending_max", "1")]).await;
    world.publish_later(&[]).await;
    let target = format!("/v2/publish/{NOWHERE}");
    let answer = world.post(&target, "x").await;
    let error = answer.error(429);
    assert!(error.contains("delivery.pending_max"), "{error}");
    assert_eq!(answer.headers["burst-ratelimit-limit"], "1");
    assert_eq!(answer.headers["burst-ratelimit-remaining"], "0");
    let reset: i64 = answer.headers["burst-ratelimit-reset"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(reset > 1_700_000_000, "{reset}");
    assert!(!answer.headers.contains_key("ratelimit-limit"));
    let batch = format!(r#"[{{"destination": "{NOWHERE}"}}]"#);
    world.post("/v2/batch", &batch).await.error(429);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_deduplication_ids_than_may_be_remembered_are_refused_and_the_known_ones_are_not() {
    let world = World::start_with(&[("delivery.deduplication_ids_max", "1")]).await;
    let target = format!("/v2/publish/{NOWHERE}");
    let publish = async |id: &str| {
        let headers = [("upstash-deduplication-id", id), ("upstash-delay", "1h")];
        world.send(Method::POST, &target, &headers, "x").await
    };
    let first = publish("a").await.expect(200);
    let error = publish("b").await.error(429);
    assert!(error.contains("delivery.deduplication_ids_max"), "{error}");
    let again = publish("a").await.expect(202);
    assert_eq!(again["messageId"], first["messageId"]);
    assert_eq!(again["deduplicated"], true);
    world.post(&target, "without one").await.expect(200);
    world.stop().await;
}

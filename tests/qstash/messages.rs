//! Publishing, looking at messages, cancelling them, and their log.

use hyper::Method;
use serde_json::json;

use crate::world::{NOWHERE, World, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_shown_until_it_is_cancelled() {
    let world = World::start().await;
    let id = world
        .publish_later(&[
            ("content-type", "text/plain"),
            ("upstash-forward-x-a", "1"),
            ("upstash-label", "one,two"),
            ("upstash-retries", "5"),
            ("upstash-callback", "http://127.0.0.1:1/callback"),
            ("upstash-flow-control-key", "k"),
            ("upstash-flow-control-value", "parallelism=2"),
            ("upstash-redact-fields", "header[x-a]"),
        ])
        .await;
    let message = world.get(&format!("/v2/messages/{id}")).await.expect(200);
    assert_eq!(message["messageId"], id);
    assert_eq!(message["url"], NOWHERE);
    assert_eq!(message["header"]["Content-Type"], json!(["text/plain"]));
    let hidden = message["header"]["X-A"][0].as_str().unwrap();
    assert!(hidden.starts_with("REDACTED:"), "{hidden}");
    assert_eq!(message["body"], "body");
    assert_eq!(
        (&message["maxRetries"], &message["parallelism"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(message["labels"], json!(["one", "two"]));
    assert_eq!(message["callerIP"], "127.0.0.1");
    let wait = message["notBefore"].as_i64().unwrap() - message["createdAt"].as_i64().unwrap();
    assert_eq!(wait, 3_600_000);

    let cancelled = world
        .delete(&format!("/v2/messages/{id}"))
        .await
        .expect(200);
    assert_eq!(cancelled, json!({"cancelled": 1}));
    world.delete(&format!("/v2/messages/{id}")).await.error(404);
    world.get(&format!("/v2/messages/{id}")).await.error(404);
    for id in ["nothing", "a%2Fb"] {
        world.get(&format!("/v2/messages/{id}")).await.error(404);
        world.delete(&format!("/v2/messages/{id}")).await.error(404);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_refused_with_its_name_and_value() {
    let world = World::start().await;
    let target = format!("/v2/publish/{NOWHERE}");
    for (name, value, shown) in [
        (
            "upstash-retries",
            "many",
            "header Upstash-Retries is \"many\"",
        ),
        ("upstash-delay", "soon", "header Upstash-Delay is \"soon\""),
        ("upstash-cron", "* * * * *", "/v2/schedules"),
    ] {
        let error = world
            .send(Method::POST, &target, &[(name, value)], "")
            .await
            .error(400);
        assert!(error.contains(shown), "{error}");
    }
    let error = world
        .post("/v2/publish/ftp://example.com", "")
        .await
        .error(400);
    assert!(error.contains("ftp://example.com"), "{error}");
    let error = world.post("/v2/publish/no-such-group", "").await.error(404);
    assert!(error.contains("no-such-group"), "{error}");
    world
        .post("/v2/enqueue/a%2Fb/https://example.com", "")
        .await
        .error(400);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_answered_with_the_first_id() {
    let world = World::start().await;
    let dedup = [("upstash-deduplication-id", "x"), ("upstash-delay", "1h")];
    let target = format!("/v2/publish/{NOWHERE}");
    let first = world
        .send(Method::POST, &target, &dedup, "1")
        .await
        .expect(200);
    assert_eq!(first.get("deduplicated"), None);
    let second = world
        .send(Method::POST, &target, &dedup, "2")
        .await
        .expect(202);
    assert_eq!(second["messageId"], first["messageId"]);
    assert_eq!(second["deduplicated"], true);
    let content = [
        ("upstash-content-based-deduplication", "True"),
        ("upstash-delay", "1h"),
    ];
    let one = world
        .send(Method::POST, &target, &content, "1")
        .await
        .expect(200);
    let other = world
        .send(Method::POST, &target, &content, "2")
        .await
        .expect(200);
    assert_ne!(one["messageId"], other["messageId"]);
    let again = world
        .send(Method::POST, &target, &content, "1")
        .await
        .expect(202);
    assert_eq!(again["messageId"], one["messageId"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_in_order_with_a_list_for_a_group() {
    let world = World::start().await;
    let endpoints = r#"{"endpoints": [{"url": "http://127.0.0.1:1/1", "name": "one"}, {"url": "http://127.0.0.1:1/2"}]}"#;
    world.post("/v2/topics/group/endpoints", endpoints).await;
    let later = json!({"Upstash-Delay": "1h"});
    let batch = json!([
        {"destination": NOWHERE, "headers": later, "body": null, "queue": null},
        {"destination": "group", "headers": later, "body": "x"},
        {"destination": NOWHERE, "headers": later, "body": "y", "queue": "q"},
    ]);
    let answer = world
        .post("/v2/batch", &batch.to_string())
        .await
        .expect(200);
    let answers = answer.as_array().unwrap();
    assert_eq!(answers.len(), 3);
    let first = world
        .get(&format!("/v2/messages/{}", text(&answers[0], "messageId")))
        .await;
    assert_eq!(first.expect(200)["body"], "");
    let group = answers[1].as_array().unwrap();
    assert_eq!(group[0]["url"], "http://127.0.0.1:1/1");
    assert_eq!(group[1]["url"], "http://127.0.0.1:1/2");
    let of_group = world
        .get(&format!("/v2/messages/{}", text(&group[0], "messageId")))
        .await;
    let of_group = of_group.expect(200);
    assert_eq!(
        (&of_group["topicName"], &of_group["endpointName"]),
        (&json!("group"), &json!("one"))
    );
    let queue = world.get("/v2/queues/q").await.expect(200);
    assert_eq!(queue["lag"], 1);

    // One that is malformed is named, and nothing is published.
    let batch = json!([
        {"destination": NOWHERE, "headers": {"Upstash-Label": "never"}},
        {"destination": NOWHERE, "headers": {"Upstash-Retries": "x"}},
    ]);
    let error = world.post("/v2/batch", &batch.to_string()).await.error(400);
    assert!(error.starts_with("[1]: header Upstash-Retries"), "{error}");
    let log = world.get("/v2/logs?label=never").await.expect(200);
    assert_eq!(log["logs"], json!([]));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_takes_ids_in_query_or_body_or_a_filter() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for label in ["a", "a", "b", "c", "c", "c"] {
        ids.push(world.publish_later(&[("upstash-label", label)]).await);
    }
    let count = |answer: crate::harness::Answered| answer.expect(200)["cancelled"].clone();
    let send = |target: String, body: String| {
        let world = &world;
        async move { world.send(Method::DELETE, &target, &[], &body).await }
    };
    let all = "/v2/messages".to_owned();
    assert_eq!(
        count(send(all.clone(), r#"{"messageIds": []}"#.to_owned()).await),
        0
    );
    let in_body = json!({"messageIds": [ids[0], "nothing"]}).to_string();
    assert_eq!(count(send(all.clone(), in_body).await), 1);
    let in_query = format!("/v2/messages?messageIds={}&label=b", ids[1]);
    assert_eq!(count(send(in_query, String::new()).await), 1);
    let filter = "/v2/messages?label=b,x&host=127.0.0.1&path=/a//b".to_owned();
    assert_eq!(count(send(filter, String::new()).await), 1);
    assert_eq!(
        count(send("/v2/messages?count=2".to_owned(), String::new()).await),
        2
    );
    assert_eq!(count(send(all, String::new()).await), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_paged_newest_first_by_digits() {
    let world = World::start().await;
    for _ in 0..5 {
        let id = world.publish_later(&[("upstash-label", "paged")]).await;
        world
            .delete(&format!("/v2/messages/{id}"))
            .await
            .expect(200);
    }
    let mut cursor = "253402300799999".to_owned();
    let mut times = Vec::new();
    let mut states = Vec::new();
    loop {
        let target = format!("/v2/events?label=paged&count=3&cursor={cursor}");
        let page = world.get(&target).await.expect(200);
        for event in page["events"].as_array().unwrap() {
            times.push(event["time"].as_i64().unwrap());
            states.push(text(event, "state"));
        }
        match page.get("cursor") {
            None => break,
            Some(next) => next.as_str().unwrap().clone_into(&mut cursor),
        }
        assert!(cursor.bytes().all(|byte| byte.is_ascii_digit()), "{cursor}");
    }
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let count = |state: &str| states.iter().filter(|one| *one == state).count();
    assert_eq!((count("CREATED"), count("CANCELED")), (5, 5), "{states:?}");
    let logs = world
        .get("/v2/logs?label=paged&state=CANCELLED&count=1")
        .await
        .expect(200);
    assert_eq!(logs["logs"].as_array().unwrap().len(), 1);
    world.stop().await;
}

//! Callbacks: one at the end of every attempt, a failure callback once, both with what has happened.

use serde_json::{Value, json};

use crate::client::{KEYS, Sdk};
use crate::messages::id;
use crate::world::World;

for_each_sdk!(
    a_callback_tells_of_the_delivery,
    a_failure_is_called_back_once_with_its_dead_letter,
    every_attempt_is_called_back,
    callback_headers_are_forwarded,
    a_callback_that_fails_is_retried_and_dies_by_itself,
);

async fn a_callback_tells_of_the_delivery(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/fail/201"),
        "body": "the body",
        "headers": {"X-Source": "s"},
        "callback": world.url("/ok/callback"),
        "failure_callback": world.url("/ok/failure"),
    });
    let source = id(&world.client.publish(message).await);
    let callback = world.sink.delivery("/ok/callback").await;
    assert_eq!(callback.method, "POST");
    assert_eq!(callback.header("content-type"), "application/json");
    world
        .client
        .verify(KEYS, &callback.signed(&world.url("/ok/callback")))
        .await
        .unwrap();
    let told = callback.json();
    for (name, value) in [
        ("status", json!(201)),
        ("body", json!("YW5zd2VyZWQgMjAx")),
        ("sourceMessageId", json!(source)),
        ("url", json!(world.url("/fail/201"))),
        ("method", json!("POST")),
        ("sourceBody", json!("dGhlIGJvZHk=")),
        ("retried", json!(0)),
        ("maxRetries", json!(3)),
        ("callerIP", json!("127.0.0.1")),
    ] {
        assert_eq!(told[name], value, "{name} of {told:#}");
    }
    assert!(
        told["createdAt"].as_i64().is_some() && told["notBefore"].as_i64().is_some(),
        "{told:#}"
    );
    assert!(
        told["sourceHeader"].to_string().contains("X-Source"),
        "{told:#}"
    );
    assert!(told["header"].is_object(), "{told:#}");
    assert!(told.get("dlqId").is_none(), "{told:#}");
    // It is a message of its own.
    assert_ne!(callback.id(), source);
    world.barrier("behind").await;
    assert_eq!(
        (
            world.sink.count("/ok/callback"),
            world.sink.count("/ok/failure")
        ),
        (1, 0)
    );
}

async fn a_failure_is_called_back_once_with_its_dead_letter(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/fail/500"),
        "body": "b",
        "retries": 2,
        "retry_delay": "10",
        "failure_callback": world.url("/ok/failure"),
    });
    let source = id(&world.client.publish(message).await);
    let told = world.sink.delivery("/ok/failure").await.json();
    let letter = world.dead(1).await.swap_remove(0);
    assert_eq!(told["dlqId"], letter["dlqId"]);
    assert_eq!(
        (&told["sourceMessageId"], &told["status"], &told["retried"]),
        (&json!(source), &json!(500), &json!(2))
    );
    world.barrier("behind").await;
    assert_eq!(world.sink.count("/ok/failure"), 1);
}

async fn every_attempt_is_called_back(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/fail-n/2"),
        "body": "b",
        "retries": 3,
        "retry_delay": "10",
        "callback": world.url("/ok/callback"),
    });
    world.client.publish(message).await;
    let callbacks = world.sink.deliveries("/ok/callback", 3).await;
    let mut told: Vec<Value> = callbacks
        .iter()
        .map(|callback| callback.json()["status"].clone())
        .collect();
    told.sort_by_key(Value::as_u64);
    assert_eq!(told, [200, 500, 500]);
}

async fn callback_headers_are_forwarded(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/fail/500"),
        "body": "b",
        "retries": 0,
        "callback": world.url("/ok/callback"),
        "callback_headers": {"Forward-X-One": "1", "Method": "PUT"},
        "failure_callback": world.url("/ok/failure"),
        "failure_callback_headers": {"Forward-X-Two": "2", "X-Three": "3"},
    });
    world.client.publish(message).await;
    let callback = world.sink.delivery("/ok/callback").await;
    assert_eq!(
        (
            callback.method.as_str(),
            callback.header("x-one"),
            callback.header("x-two")
        ),
        ("PUT", "1", "")
    );
    let failure = world.sink.delivery("/ok/failure").await;
    assert_eq!(
        (
            failure.method.as_str(),
            failure.header("x-one"),
            failure.header("x-two")
        ),
        ("POST", "", "2")
    );
    // The Python client documents its argument as headers to forward and sends them without the word.
    assert_eq!(failure.header("x-three"), "3");
}

async fn a_callback_that_fails_is_retried_and_dies_by_itself(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/ok"),
        "body": "b",
        "retries": 1,
        "retry_delay": "10",
        "callback": world.url("/fail/503/callback"),
    });
    world.client.publish(message).await;
    let callbacks = world.sink.deliveries("/fail/503/callback", 2).await;
    let letter = world.dead(1).await.swap_remove(0);
    assert_eq!(letter["messageId"], callbacks[0].id());
    assert_eq!(
        (&letter["url"], &letter["responseStatus"]),
        (&json!(world.url("/fail/503/callback")), &json!(503))
    );
    assert_eq!(world.sink.count("/ok"), 1);
}

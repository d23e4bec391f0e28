//! Queues as an order: first in, first out, retries and callbacks included.

use std::collections::BTreeSet;

use serde_json::json;

use crate::client::{Sdk, js_queue, py};
use crate::messages::id;
use crate::world::World;

for_each_sdk!(
    a_queue_delivers_in_order,
    a_failing_message_holds_the_ones_behind_it,
    a_callback_comes_before_the_next_message,
    a_message_joins_a_queue_that_nobody_made,
    a_duplicate_is_not_queued_again,
);

async fn a_queue_delivers_in_order(sdk: Sdk) {
    let world = World::start(sdk).await;
    let upsert = json!({"parallelism": 1, "paused": true});
    let upsert_py = json!({"queue": "orders", "parallelism": 1, "paused": true});
    world
        .client
        .call(
            py("queue.upsert", upsert_py),
            js_queue("queue.upsert", "orders", json!([upsert])),
        )
        .await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let message = json!({"url": world.url("/ok"), "body": number.to_string()});
        ids.push(id(&world.client.enqueue("orders", message).await));
    }
    world.barrier("paused").await;
    assert_eq!(
        world.sink.count("/ok"),
        0,
        "a paused queue delivers nothing"
    );
    let resume = (
        py("queue.resume", json!({"queue": "orders"})),
        js_queue("queue.resume", "orders", json!([])),
    );
    world.client.call(resume.0, resume.1).await;
    let came = world.sink.deliveries("/ok", 10).await;
    // One after the other, they share a connection that is kept alive.
    let connections: BTreeSet<u64> = came.iter().map(|delivery| delivery.connection).collect();
    assert!(connections.len() < ids.len(), "a connection for each");
    let came: Vec<String> = came
        .iter()
        .map(|delivery| delivery.id().to_owned())
        .collect();
    assert_eq!(came, ids);
}

async fn a_failing_message_holds_the_ones_behind_it(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = |target: &str| json!({"url": world.url(target), "body": {}, "retries": 2, "retry_delay": "50"});
    for target in ["/fail-n/2", "/fail/500", "/ok/last"] {
        world.client.enqueue_json("orders", message(target)).await;
    }
    world.sink.delivery("/ok/last").await;
    let order: Vec<String> = world
        .sink
        .all()
        .into_iter()
        .map(|delivery| delivery.target)
        .collect();
    let expected = [
        "/fail-n/2",
        "/fail-n/2",
        "/fail-n/2",
        "/fail/500",
        "/fail/500",
        "/fail/500",
        "/ok/last",
    ];
    assert_eq!(order, expected);
}

async fn a_callback_comes_before_the_next_message(sdk: Sdk) {
    let world = World::start(sdk).await;
    for number in 0..3 {
        let message = json!({
            "url": world.url(&format!("/ok/{number}")),
            "body": "b",
            "callback": world.url(&format!("/fail-n/1/callback/{number}")),
            "retries": 2,
            "retry_delay": "50",
        });
        world.client.enqueue("orders", message).await;
    }
    world.sink.deliveries("/fail-n/1/callback/2", 2).await;
    let order: Vec<String> = world
        .sink
        .all()
        .into_iter()
        .map(|delivery| delivery.target)
        .collect();
    let expected: Vec<String> = (0..3)
        .flat_map(|number| {
            let callback = format!("/fail-n/1/callback/{number}");
            [format!("/ok/{number}"), callback.clone(), callback]
        })
        .collect();
    assert_eq!(order, expected);
}

async fn a_message_joins_a_queue_that_nobody_made(sdk: Sdk) {
    let world = World::start(sdk).await;
    let body = json!({"a": 1});
    let answer = world
        .client
        .enqueue_json(
            "made.by-itself_1",
            json!({"url": world.url("/ok"), "body": body}),
        )
        .await;
    let delivery = world.sink.delivery("/ok").await;
    assert_eq!(
        (delivery.json(), delivery.id()),
        (body, id(&answer).as_str())
    );
    let get = (
        py("queue.get", json!({"queue": "made.by-itself_1"})),
        js_queue("queue.get", "made.by-itself_1", json!([])),
    );
    let queue = world.client.call(get.0, get.1).await;
    assert_eq!(
        (&queue["parallelism"], &queue["paused"]),
        (&json!(1), &json!(false)),
        "{queue}"
    );
}

async fn a_duplicate_is_not_queued_again(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = || json!({"url": world.url("/ok"), "body": "b", "deduplication_id": "one"});
    let first = world.client.enqueue("orders", message()).await;
    let second = world.client.enqueue("orders", message()).await;
    assert_eq!(id(&second), id(&first));
    assert_eq!(second["deduplicated"], true);
    world
        .client
        .enqueue("orders", json!({"url": world.url("/ok/last"), "body": "b"}))
        .await;
    world.sink.delivery("/ok/last").await;
    assert_eq!(world.sink.count("/ok"), 1);
}

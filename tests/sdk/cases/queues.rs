//! Queues as things: made, changed, paused, listed, deleted.

use serde_json::{Value, json};

use crate::client::{Sdk, js_queue, py};
use crate::world::World;

for_each_sdk!(
    a_queue_is_made_changed_and_deleted,
    a_paused_queue_holds_its_messages_and_counts_them,
    a_wide_queue_delivers_side_by_side,
);

async fn a_queue_is_made_changed_and_deleted(sdk: Sdk) {
    let world = World::start(sdk).await;
    upsert(&world, "a", json!({"parallelism": 3, "paused": true})).await;
    upsert(&world, "b", json!({})).await;
    let queue = get(&world, "a").await;
    assert_eq!(
        (
            &queue["name"],
            &queue["parallelism"],
            &queue["paused"],
            &queue["lag"]
        ),
        (&json!("a"), &json!(3), &json!(true), &json!(0))
    );
    assert!(queue["createdAt"].as_i64().unwrap() > 1_600_000_000_000);
    upsert(&world, "a", json!({"parallelism": 5})).await;
    let changed = get(&world, "a").await;
    assert_eq!(
        (&changed["parallelism"], &changed["paused"]),
        (&json!(5), &json!(false))
    );
    assert_eq!(changed["createdAt"], queue["createdAt"]);
    assert!(changed["updatedAt"].as_i64() >= queue["updatedAt"].as_i64());
    assert_eq!(names(&world).await, ["a", "b"]);
    world
        .client
        .call(
            py("queue.delete", json!({"queue": "a"})),
            js_queue("queue.delete", "a", json!([])),
        )
        .await;
    assert_eq!(names(&world).await, ["b"]);
    world
        .client
        .refusal(
            py("queue.get", json!({"queue": "a"})),
            js_queue("queue.get", "a", json!([])),
            404,
        )
        .await;
}

async fn a_paused_queue_holds_its_messages_and_counts_them(sdk: Sdk) {
    let world = World::start(sdk).await;
    upsert(&world, "q", json!({})).await;
    world
        .client
        .call(
            py("queue.pause", json!({"queue": "q"})),
            js_queue("queue.pause", "q", json!([])),
        )
        .await;
    assert_eq!(get(&world, "q").await["paused"], true);
    for number in 1..=4 {
        world
            .client
            .enqueue("q", json!({"url": world.url("/ok"), "body": "b"}))
            .await;
        assert_eq!(get(&world, "q").await["lag"], number);
    }
    world.barrier("paused").await;
    assert_eq!(world.sink.count("/ok"), 0);
    world
        .client
        .call(
            py("queue.resume", json!({"queue": "q"})),
            js_queue("queue.resume", "q", json!([])),
        )
        .await;
    world.sink.deliveries("/ok", 4).await;
    world
        .eventually("an empty queue", async || {
            (get(&world, "q").await["lag"] == 0).then_some(())
        })
        .await;
}

async fn a_wide_queue_delivers_side_by_side(sdk: Sdk) {
    let world = World::start(sdk).await;
    upsert(&world, "q", json!({"parallelism": 2})).await;
    for number in 0..3 {
        world
            .client
            .enqueue(
                "q",
                json!({"url": world.url(&format!("/gate/g/{number}")), "body": "b"}),
            )
            .await;
    }
    // Two are in flight together; the third waits for one of them.
    world.sink.delivery("/gate/g/0").await;
    world.sink.delivery("/gate/g/1").await;
    world.barrier("meanwhile").await;
    assert_eq!(world.sink.count("/gate/g/2"), 0);
    world.sink.open("g");
    world.sink.delivery("/gate/g/2").await;
}

async fn upsert(world: &World, queue: &str, settings: Value) {
    let mut with_name = settings.clone();
    with_name["queue"] = queue.into();
    world
        .client
        .call(
            py("queue.upsert", with_name),
            js_queue("queue.upsert", queue, json!([settings])),
        )
        .await;
}

async fn get(world: &World, queue: &str) -> Value {
    world
        .client
        .call(
            py("queue.get", json!({"queue": queue})),
            js_queue("queue.get", queue, json!([])),
        )
        .await
}

async fn names(world: &World) -> Vec<String> {
    let queues = world
        .client
        .call(
            py("queue.list", json!({})),
            js_queue("queue.list", "any", json!([])),
        )
        .await;
    let mut names: Vec<String> = queues
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

//! URL groups: one message for each endpoint, each with its own fate.

use serde_json::{Value, json};

use crate::client::{Sdk, js, py};
use crate::messages::id;
use crate::world::World;

for_each_sdk!(
    a_group_gets_one_message_for_each_endpoint,
    endpoints_are_added_changed_and_removed,
    endpoints_fail_alone
);

async fn a_group_gets_one_message_for_each_endpoint(sdk: Sdk) {
    let world = World::start(sdk).await;
    let endpoints = json!([{"url": world.url("/ok/a"), "name": "first"}, {"url": world.url("/ok/b?c=d"), "name": "second"}]);
    add_endpoints(&world, "group", endpoints).await;
    let answers = world
        .client
        .publish_json(json!({"url_group": "group", "body": {"a": 1}, "headers": {"X-A": "1"}}))
        .await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_ne!(id(&answers[0]), id(&answers[1]));
    for target in ["/ok/a", "/ok/b?c=d"] {
        let delivery = world.sink.delivery(target).await;
        let answer = answers
            .iter()
            .find(|answer| answer["url"] == world.url(target))
            .unwrap();
        assert_eq!(delivery.id(), id(answer));
        assert_eq!(delivery.json(), json!({"a": 1}));
        assert_eq!(
            (
                delivery.header("x-a"),
                delivery.header("upstash-topic-name")
            ),
            ("1", "group")
        );
    }
    let enqueued = world
        .client
        .enqueue("q", json!({"url_group": "group", "body": "b"}))
        .await;
    assert_eq!(enqueued.as_array().unwrap().len(), 2);
    world.sink.deliveries("/ok/a", 2).await;
    world.sink.deliveries("/ok/b?c=d", 2).await;
}

async fn endpoints_are_added_changed_and_removed(sdk: Sdk) {
    let world = World::start(sdk).await;
    add_endpoints(
        &world,
        "g",
        json!([{"url": world.url("/ok/a"), "name": "a"}, {"url": world.url("/ok/b"), "name": "b"}]),
    )
    .await;
    // A known name gets a new address.
    add_endpoints(
        &world,
        "g",
        json!([{"url": world.url("/ok/c"), "name": "a"}, {"url": world.url("/ok/d")}]),
    )
    .await;
    assert_eq!(
        endpoints(&world, "g").await,
        [world.url("/ok/b"), world.url("/ok/c"), world.url("/ok/d")]
    );
    remove_endpoints(
        &world,
        "g",
        json!([{"name": "b"}, {"url": world.url("/ok/d")}]),
    )
    .await;
    assert_eq!(endpoints(&world, "g").await, [world.url("/ok/c")]);
    let listed = world
        .client
        .call(
            py("url_group.list", json!({})),
            js("urlGroups.list", json!([])),
        )
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        listed[0]["endpoints"],
        json!([{"url": world.url("/ok/c"), "name": "a"}])
    );
    assert!(listed[0]["createdAt"].as_i64() <= listed[0]["updatedAt"].as_i64());
    // Without endpoints there is no group.
    remove_endpoints(&world, "g", json!([{"name": "a"}])).await;
    gone(&world, "g").await;
    add_endpoints(&world, "h", json!([{"url": world.url("/ok/a")}])).await;
    world
        .client
        .call(
            py("url_group.delete", json!({"url_group": "h"})),
            js("urlGroups.delete", json!(["h"])),
        )
        .await;
    gone(&world, "h").await;
}

async fn endpoints_fail_alone(sdk: Sdk) {
    let world = World::start(sdk).await;
    add_endpoints(&world, "g", json!([{"url": world.url("/fail/500"), "name": "bad"}, {"url": world.url("/ok"), "name": "good"}])).await;
    let answers = world
        .client
        .publish(json!({"url_group": "g", "body": "b", "retries": 0}))
        .await;
    let letter = world.dead(1).await.swap_remove(0);
    world.sink.delivery("/ok").await;
    let failed = answers
        .as_array()
        .unwrap()
        .iter()
        .find(|answer| answer["url"] == world.url("/fail/500"))
        .unwrap();
    assert_eq!(letter["messageId"], id(failed));
    assert_eq!(
        (&letter["topicName"], &letter["endpointName"]),
        (&json!("g"), &json!("bad"))
    );
}

pub(super) async fn add_endpoints(world: &World, group: &str, endpoints: Value) {
    let request = json!([{"name": group, "endpoints": endpoints}]);
    let python = json!({"url_group": group, "endpoints": endpoints});
    world
        .client
        .call(
            py("url_group.upsert_endpoints", python),
            js("urlGroups.addEndpoints", request),
        )
        .await;
}

async fn remove_endpoints(world: &World, group: &str, endpoints: Value) {
    let request = json!([{"name": group, "endpoints": endpoints}]);
    let python = json!({"url_group": group, "endpoints": endpoints});
    world
        .client
        .call(
            py("url_group.remove_endpoints", python),
            js("urlGroups.removeEndpoints", request),
        )
        .await;
}

/// The addresses of a group, sorted.
async fn endpoints(world: &World, group: &str) -> Vec<String> {
    let get = (
        py("url_group.get", json!({"url_group": group})),
        js("urlGroups.get", json!([group])),
    );
    let read = world.client.call(get.0, get.1).await;
    assert_eq!(read["name"], group);
    let mut urls: Vec<String> = read["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| endpoint["url"].as_str().unwrap().to_owned())
        .collect();
    urls.sort();
    urls
}

async fn gone(world: &World, group: &str) {
    let get = (
        py("url_group.get", json!({"url_group": group})),
        js("urlGroups.get", json!([group])),
    );
    world.client.refusal(get.0, get.1, 404).await;
}

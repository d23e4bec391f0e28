//! Batches: several messages of different kinds in one request, each answered in its place.

use serde_json::json;

use crate::client::Sdk;
use crate::messages::id;
use crate::world::World;

use super::url_groups::add_endpoints;

for_each_sdk!(a_batch_holds_messages_of_every_kind, a_batch_of_json);

async fn a_batch_holds_messages_of_every_kind(sdk: Sdk) {
    let world = World::start(sdk).await;
    add_endpoints(
        &world,
        "group",
        json!([{"url": world.url("/ok/x"), "name": "x"}, {"url": world.url("/ok/y")}]),
    )
    .await;
    let messages = json!([
        {"url": world.url("/ok/1?a=b"), "body": "one", "method": "PATCH", "content_type": "text/x", "headers": {"X-A": "1"}},
        {"url_group": "group", "body": "two"},
        {"url": world.url("/ok/3"), "body": "three", "queue": "orders"},
        {"url": world.url("/fail-n/1/4"), "body": "four", "retries": 1, "retry_delay": "10"},
        {"url": world.url("/ok/5"), "body": "five", "queue": "orders", "deduplication_id": "five"},
        {"url": world.url("/ok/5"), "body": "five", "queue": "orders", "deduplication_id": "five"},
        {"url": world.url("/ok/7"), "content_based_deduplication": false},
    ]);
    let answers = world.client.batch(messages).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 7, "{answers:?}");
    let first = world.sink.delivery("/ok/1?a=b").await;
    assert_eq!(
        (first.method.as_str(), first.text(), first.id()),
        ("PATCH", "one", id(&answers[0]).as_str())
    );
    assert_eq!(
        (first.header("x-a"), first.header("content-type")),
        ("1", "text/x")
    );
    for (endpoint, answer) in ["/ok/x", "/ok/y"]
        .iter()
        .zip(answers[1].as_array().unwrap())
    {
        let delivery = world.sink.delivery(endpoint).await;
        assert_eq!(
            (delivery.text(), delivery.id()),
            ("two", id(answer).as_str())
        );
        assert_eq!(answer["url"], world.url(endpoint));
        assert_eq!(delivery.header("upstash-topic-name"), "group");
    }
    assert_eq!(world.sink.delivery("/ok/3").await.id(), id(&answers[2]));
    assert_eq!(
        world.sink.deliveries("/fail-n/1/4", 2).await[1].text(),
        "four"
    );
    assert_eq!(id(&answers[5]), id(&answers[4]));
    assert_eq!(answers[5]["deduplicated"], true);
    assert_eq!(world.sink.delivery("/ok/7").await.body.len(), 0);
    world.barrier("behind").await;
    assert_eq!(world.sink.count("/ok/5"), 1);
}

async fn a_batch_of_json(sdk: Sdk) {
    let world = World::start(sdk).await;
    let bodies: Vec<_> = (0..40)
        .map(|number| json!({"number": number, "text": "\u{e4}"}))
        .collect();
    let messages: Vec<_> = (0..40)
        .map(|number: usize| json!({"url": world.url(&format!("/ok/{number}")), "body": bodies[number]}))
        .collect();
    let answers = world.client.batch_json(json!(messages)).await;
    for (number, body) in bodies.iter().enumerate() {
        let delivery = world.sink.delivery(&format!("/ok/{number}")).await;
        assert_eq!(&delivery.json(), body);
        assert_eq!(delivery.header("content-type"), "application/json");
        assert_eq!(delivery.id(), id(&answers[number]));
    }
}

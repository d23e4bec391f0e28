//! Messages that are not delivered yet: reading them, and cancelling them in every way that the clients offer.

use serde_json::{Value, json};

use crate::client::{Sdk, js, py};
use crate::messages::id;
use crate::world::{World, count};

for_each_sdk!(
    a_message_is_read_with_all_its_fields,
    a_delivered_message_is_gone,
    a_cancelled_message_never_arrives,
    several_messages_are_cancelled_by_id,
    all_messages_are_cancelled,
    no_ids_cancel_nothing,
);

async fn a_message_is_read_with_all_its_fields(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/ok"),
        "body": "text",
        "method": "PUT",
        "headers": {"X-Test": "value"},
        "callback_headers": {"Forward-X-Callback": "c"},
        "failure_callback_headers": {"Forward-X-Failure": "f"},
        "delay": "1h",
        "retries": 7,
        "retry_delay": "1000 * (1 + retried)",
        "callback": world.url("/ok/callback"),
        "failure_callback": world.url("/ok/failure"),
        "flow_control": {"key": "key", "parallelism": 2, "rate": 3, "period": "1m"},
        "label": "label",
    });
    let answer = world.client.publish(message).await;
    let read = get(&world, &id(&answer)).await.unwrap();
    for (name, value) in [
        ("messageId", json!(id(&answer))),
        ("url", json!(world.url("/ok"))),
        ("method", json!("PUT")),
        ("body", json!("text")),
        ("maxRetries", json!(7)),
        ("retryDelayExpression", json!("1000 * (1 + retried)")),
        ("callback", json!(world.url("/ok/callback"))),
        ("failureCallback", json!(world.url("/ok/failure"))),
        ("flowControlKey", json!("key")),
        ("parallelism", json!(2)),
        ("rate", json!(3)),
        ("period", json!(60)),
        ("label", json!("label")),
        ("callerIP", json!("127.0.0.1")),
    ] {
        assert_eq!(read[name], value, "{name} of {read:#}");
    }
    assert_eq!(header(&read, "header", "x-test"), ["value"]);
    let delay = read["notBefore"].as_i64().unwrap() - read["createdAt"].as_i64().unwrap();
    assert!((3_600_000..3_660_000).contains(&delay), "{delay}");
    for absent in ["queueName", "topicName", "scheduleId", "bodyBase64"] {
        assert!(
            read.get(absent).is_none_or(Value::is_null),
            "{absent} of {read:#}"
        );
    }
    // What is not text comes as base64, and what has no flow control says so by leaving it out.
    let answer = world
        .client
        .publish(json!({"url": world.url("/ok"), "body": {"$base64": "/wA="}, "delay": "1h"}))
        .await;
    let read = get(&world, &id(&answer)).await.unwrap();
    assert_eq!(read["bodyBase64"], "/wA=");
    assert!(read.get("flowControlKey").is_none(), "{read:#}");
    let answer = world
        .client
        .enqueue("orders", json!({"url": world.url("/gate/g"), "body": "b"}))
        .await;
    assert_eq!(
        get(&world, &id(&answer)).await.unwrap()["queueName"],
        "orders"
    );
}

async fn a_delivered_message_is_gone(sdk: Sdk) {
    let world = World::start(sdk).await;
    let answer = world
        .client
        .publish(json!({"url": world.url("/ok"), "body": "b"}))
        .await;
    world.sink.delivery("/ok").await;
    world
        .eventually("the end of the message", async || {
            get(&world, &id(&answer)).await.is_none().then_some(())
        })
        .await;
    let unknown = json!("msg_unknown");
    let refused = world.client.refusal(
        py("message.get", json!({"message_id": unknown})),
        js("messages.get", json!([unknown])),
        404,
    );
    assert!(refused.await.contains("msg_unknown"));
}

async fn a_cancelled_message_never_arrives(sdk: Sdk) {
    let world = World::start(sdk).await;
    let first = later(&world, "/ok/cancelled").await;
    let second = later(&world, "/ok/deleted").await;
    let cancelled = world
        .client
        .call(
            py("message.cancel", json!({"message_id": first})),
            js("messages.cancel", json!([first])),
        )
        .await;
    assert!(
        sdk.is_python() || cancelled["cancelled"] == 1,
        "{cancelled}"
    );
    world
        .client
        .call(
            py("message.cancel", json!({"message_id": second})),
            js("messages.delete", json!([second])),
        )
        .await;
    for gone in [&first, &second] {
        assert!(get(&world, gone).await.is_none());
        let again = (
            py("message.cancel", json!({"message_id": gone})),
            js("messages.cancel", json!([gone])),
        );
        world.client.refusal(again.0, again.1, 404).await;
    }
    nothing_but_the_last_arrives(&world).await;
}

async fn several_messages_are_cancelled_by_id(sdk: Sdk) {
    let world = World::start(sdk).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(later(&world, &format!("/ok/{number}")).await);
    }
    let (by_array, by_object) = ids.split_at(3);
    let cancelled = world
        .client
        .call(
            py("message.cancel_many", json!({"message_ids": by_array})),
            js("messages.cancel", json!([by_array])),
        )
        .await;
    assert_eq!(count(&cancelled, "cancelled"), 3);
    // One that is gone already is not counted.
    let with_gone = json!([by_object, &by_array[..1]].concat());
    let cancelled = world
        .client
        .call(
            py("message.cancel_many", json!({"message_ids": with_gone})),
            js("messages.deleteMany", json!([with_gone])),
        )
        .await;
    assert_eq!(count(&cancelled, "cancelled"), 3);
    nothing_but_the_last_arrives(&world).await;
}

async fn all_messages_are_cancelled(sdk: Sdk) {
    let world = World::start(sdk).await;
    for number in 0..5 {
        later(&world, &format!("/ok/{number}")).await;
    }
    let all = json!({"all": true});
    let cancelled = world
        .client
        .call(
            py("message.cancel_all", json!({})),
            js("messages.cancel", json!([all])),
        )
        .await;
    assert_eq!(count(&cancelled, "cancelled"), 5);
    for number in 5..8 {
        later(&world, &format!("/ok/{number}")).await;
    }
    let cancelled = world
        .client
        .call(
            py("message.cancel_all", json!({})),
            js("messages.deleteAll", json!([])),
        )
        .await;
    assert_eq!(count(&cancelled, "cancelled"), 3);
    nothing_but_the_last_arrives(&world).await;
}

async fn no_ids_cancel_nothing(sdk: Sdk) {
    let world = World::start(sdk).await;
    let kept = later(&world, "/ok/kept").await;
    let cancelled = world
        .client
        .call(
            py("message.cancel_many", json!({"message_ids": []})),
            js("messages.cancel", json!([[]])),
        )
        .await;
    assert_eq!(count(&cancelled, "cancelled"), 0);
    assert!(get(&world, &kept).await.is_some());
}

/// Only one client cancels by filter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_cancelled_by_filter() {
    let world = World::start(Sdk::JavaScript).await;
    let publish = async |target: &str, changes: Value| {
        let mut message = json!({"url": world.url(target), "body": "b", "delay": 2});
        message
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        world.client.publish(message).await;
    };
    publish("/ok/label/1", json!({"label": ["red", "round"]})).await;
    publish("/ok/label/2", json!({"label": "blue"})).await;
    publish(
        "/ok/key",
        json!({"flow_control": {"key": "k", "parallelism": 1}}),
    )
    .await;
    publish("/ok/path", json!({})).await;
    publish("/ok/url?a=1,2", json!({})).await;
    publish("/ok/last", json!({"label": "kept"})).await;
    let host = format!("{}", world.sink.address);
    for (filter, expected) in [
        (
            json!({"label": ["round", "none"], "flowControlKey": "k"}),
            0,
        ),
        (json!({"label": ["round", "blue"]}), 2),
        (json!({"flowControlKey": "k", "callerIp": "127.0.0.1"}), 1),
        (json!({"path": "/ok/path", "host": "other.example"}), 0),
        (json!({"path": "/ok/path"}), 1),
        (
            json!({"url": [world.url("/ok/url?a=1,2"), "http://other.example"], "host": host.split(':').next()}),
            1,
        ),
        (json!({"toDate": {"$date": 1}}), 0),
    ] {
        let request = json!([{"filter": filter}]);
        let cancelled = world
            .client
            .call(
                py("message.cancel_all", json!({})),
                js("messages.cancel", request),
            )
            .await;
        assert_eq!(count(&cancelled, "cancelled"), expected, "{filter}");
    }
    world.sink.delivery("/ok/last").await;
    assert_eq!(world.sink.all().len(), 1);
}

/// Publishes what would come in two seconds.
async fn later(world: &World, target: &str) -> String {
    id(&world
        .client
        .publish(json!({"url": world.url(target), "body": "b", "delay": 2}))
        .await)
}

/// Waits for a message that is due behind all the others.
async fn nothing_but_the_last_arrives(world: &World) {
    later(world, "/ok/last").await;
    world.sink.delivery("/ok/last").await;
    assert_eq!(world.sink.all().len(), 1);
}

async fn get(world: &World, id: &str) -> Option<Value> {
    let read = world.client.attempt(
        py("message.get", json!({"message_id": id})),
        js("messages.get", json!([id])),
    );
    match read.await {
        Ok(message) => Some(message),
        Err(error) => {
            assert_eq!(error.status, Some(404), "{error:?}");
            None
        }
    }
}

/// The values of a header in a view, whatever the case of its name.
pub(super) fn header(view: &Value, field: &str, name: &str) -> Vec<String> {
    let headers = view[field]
        .as_object()
        .unwrap_or_else(|| panic!("no {field} in {view:#}"));
    let mut values = Vec::new();
    for (_, found) in headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
    {
        values.extend(
            found
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value.as_str().unwrap().to_owned()),
        );
    }
    values
}

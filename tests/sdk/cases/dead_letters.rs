//! Dead letters: all their fields, deleting them, retrying them.

use serde_json::{Value, json};

use crate::client::{Sdk, js, py};
use crate::messages::id;
use crate::world::{World, count};

use super::messages::header;

for_each_sdk!(
    a_dead_letter_has_all_its_fields,
    bytes_come_as_base64,
    a_letter_is_deleted_by_id,
    several_letters_are_deleted_by_id,
    no_ids_delete_nothing,
    letters_survive_a_restart,
);

async fn a_dead_letter_has_all_its_fields(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "queue": "orders",
        "url": world.url("/fail/502/a?b=c"),
        "body": "the body",
        "method": "PUT",
        "headers": {"X-Test": "value"},
        "callback_headers": {"Forward-X-Callback": "c"},
        "failure_callback_headers": {"Forward-X-Failure": "f"},
        "retries": 1,
        "retry_delay": "10 + retried",
        "callback": world.url("/ok/callback"),
        "failure_callback": world.url("/ok/failure"),
        "flow_control": {"key": "key", "parallelism": 2, "rate": 300, "period": "1m"},
        "label": "label",
    });
    let answers = world.client.batch(json!([message])).await;
    let listed = world.dead(1).await.swap_remove(0);
    let dlq_id = listed["dlqId"].as_str().unwrap();
    let got = world
        .client
        .call(
            py("dlq.get", json!({"dlq_id": dlq_id})),
            js("dlq.listMessages", json!([{"dlqIds": [dlq_id]}])),
        )
        .await;
    let got = if sdk.is_python() {
        got
    } else {
        got["messages"][0].clone()
    };
    for letter in [listed, got] {
        for (name, value) in [
            ("messageId", json!(id(&answers[0]))),
            ("url", json!(world.url("/fail/502/a?b=c"))),
            ("method", json!("PUT")),
            ("body", json!("the body")),
            ("maxRetries", json!(1)),
            ("retryDelayExpression", json!("10 + retried")),
            ("callback", json!(world.url("/ok/callback"))),
            ("failureCallback", json!(world.url("/ok/failure"))),
            ("queueName", json!("orders")),
            ("flowControlKey", json!("key")),
            ("parallelism", json!(2)),
            ("rate", json!(300)),
            ("period", json!(60)),
            ("label", json!("label")),
            ("callerIP", json!("127.0.0.1")),
            ("responseStatus", json!(502)),
            ("responseBody", json!("answered 502")),
        ] {
            assert_eq!(letter[name], value, "{name} of {letter:#}");
        }
        assert_eq!(header(&letter, "header", "x-test"), ["value"]);
        assert!(!header(&letter, "responseHeader", "date").is_empty());
        assert!(letter["createdAt"].as_i64().unwrap() > 1_600_000_000_000);
        assert!(letter["notBefore"].is_i64());
    }
}

async fn bytes_come_as_base64(sdk: Sdk) {
    let world = World::start(sdk).await;
    world
        .fail("/binary", json!({"body": {"$base64": "/wA="}}))
        .await;
    let letter = world.dead(1).await.swap_remove(0);
    assert_eq!(
        (&letter["bodyBase64"], &letter["responseBodyBase64"]),
        (&json!("/wA="), &json!("//4A"))
    );
    assert_eq!(header(&letter, "responseHeader", "x-cause"), ["none"]);
    let absent = |name: &str| {
        letter
            .get(name)
            .is_none_or(|value| value.is_null() || value == "")
    };
    assert!(absent("body") && absent("responseBody"), "{letter:#}");
}

async fn a_letter_is_deleted_by_id(sdk: Sdk) {
    let world = World::start(sdk).await;
    world.fail("/fail/500/gone", json!({})).await;
    world.fail("/fail/500/kept", json!({})).await;
    let letters = world.dead(2).await;
    let gone = letters
        .iter()
        .find(|letter| letter["body"] == "/fail/500/gone")
        .unwrap()["dlqId"]
        .clone();
    world
        .client
        .call(
            py("dlq.delete", json!({"dlq_id": gone})),
            js("dlq.delete", json!([gone])),
        )
        .await;
    let left = world.dead(1).await;
    assert_eq!(left[0]["body"], "/fail/500/kept");
    let again = (
        py("dlq.delete", json!({"dlq_id": gone})),
        js("dlq.delete", json!([gone])),
    );
    world.client.refusal(again.0, again.1, 404).await;
    if sdk.is_python() {
        world
            .client
            .refusal(
                py("dlq.get", json!({"dlq_id": gone})),
                js("none", json!([])),
                404,
            )
            .await;
    }
}

async fn several_letters_are_deleted_by_id(sdk: Sdk) {
    let world = World::start(sdk).await;
    for number in 0..5 {
        world.fail(&format!("/fail/500/{number}"), json!({})).await;
    }
    let ids: Vec<Value> = world
        .dead(5)
        .await
        .iter()
        .map(|letter| letter["dlqId"].clone())
        .collect();
    let two = (
        py("dlq.delete_many", json!({"dlq_ids": ids[..2]})),
        js("dlq.delete", json!([ids[..2]])),
    );
    assert_eq!(count(&world.client.call(two.0, two.1).await, "deleted"), 2);
    // One of these is gone.
    let two = (
        py("dlq.delete_many", json!({"dlq_ids": ids[1..3]})),
        js("dlq.deleteMany", json!([{"dlqIds": ids[1..3]}])),
    );
    assert_eq!(count(&world.client.call(two.0, two.1).await, "deleted"), 1);
    let left = world.dead(2).await;
    assert!(
        left.iter()
            .all(|letter| ids[3..].contains(&letter["dlqId"])),
        "{left:#?}"
    );
}

async fn no_ids_delete_nothing(sdk: Sdk) {
    let world = World::start(sdk).await;
    world.fail("/fail/500", json!({})).await;
    world.dead(1).await;
    let none = (
        py("dlq.delete_many", json!({"dlq_ids": []})),
        js("dlq.delete", json!([[]])),
    );
    assert_eq!(
        count(&world.client.call(none.0, none.1).await, "deleted"),
        0
    );
    world.dead(1).await;
}

async fn letters_survive_a_restart(sdk: Sdk) {
    let mut world = World::start(sdk).await;
    for number in 0..3 {
        world
            .fail(&format!("/fail/500/{number}"), json!({"label": "l"}))
            .await;
    }
    let before = world.dead(3).await;
    world.broker.kill();
    world.broker.restart().await;
    assert_eq!(world.all_dead_letters().await, before);
}

/// Only one client retries; the other's users ask over HTTP.
mod retry {
    use super::{Sdk, Value, World, id, js, json, py};

    async fn fallen(targets: &[&str]) -> (World, Vec<Value>) {
        let world = World::start(Sdk::JavaScript).await;
        for target in targets {
            world
                .fail(
                    target,
                    json!({"headers": {"X-Test": "value"}, "method": "PUT"}),
                )
                .await;
        }
        let letters = world.dead(targets.len()).await;
        (world, letters)
    }

    async fn retry(world: &World, request: Value) -> Value {
        world
            .client
            .call(py("none", json!({})), js("dlq.retry", json!([request])))
            .await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_retried_letter_is_delivered_and_gone() {
        let (world, letters) = fallen(&["/fail/500"]).await;
        world.sink.heal();
        let retried = retry(&world, letters[0]["dlqId"].clone()).await;
        let responses = retried["responses"].as_array().unwrap();
        assert_eq!(responses.len(), 1, "{retried}");
        let delivery = world.sink.deliveries("/fail/500", 2).await.swap_remove(1);
        assert_eq!(delivery.id(), id(&responses[0]));
        assert_ne!(delivery.id(), letters[0]["messageId"].as_str().unwrap());
        assert_eq!(
            (delivery.method.as_str(), delivery.text()),
            ("PUT", "/fail/500")
        );
        assert_eq!(
            (delivery.header("x-test"), delivery.retried()),
            ("value", 0)
        );
        world.dead(0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_repeated_retry_has_the_same_answer() {
        let (world, letters) = fallen(&["/fail/500"]).await;
        world.sink.heal();
        let path = format!("/v2/dlq/retry/{}", letters[0]["dlqId"].as_str().unwrap());
        let (status, first) = world.broker.request("POST", &path, &[]).await;
        assert_eq!(status, 201, "{first}");
        let (status, second) = world.broker.request("POST", &path, &[]).await;
        assert_eq!((status, &second["messageId"]), (201, &first["messageId"]));
        world.sink.deliveries("/fail/500", 2).await;
        world.barrier("behind").await;
        assert_eq!(world.sink.count("/fail/500"), 2);
        let (status, _) = world
            .broker
            .request("POST", "/v2/dlq/retry/unknown", &[])
            .await;
        assert_eq!(status, 404);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn headers_of_a_retry_override_the_message() {
        let (world, letters) = fallen(&["/fail/500"]).await;
        let path = format!("/v2/dlq/retry/{}", letters[0]["dlqId"].as_str().unwrap());
        let headers = [
            ("Upstash-Forward-X-Test", "other"),
            ("Upstash-Retries", "1"),
            ("Upstash-Retry-Delay", "10"),
        ];
        let (status, answer) = world.broker.request("POST", &path, &headers).await;
        assert_eq!(status, 201, "{answer}");
        let attempts = world.sink.deliveries("/fail/500", 3).await;
        assert_eq!(
            (attempts[1].header("x-test"), attempts[2].retried()),
            ("other", 1)
        );
        let letter = world.dead(1).await.swap_remove(0);
        assert_eq!(
            (&letter["messageId"], &letter["maxRetries"]),
            (&answer["messageId"], &json!(1))
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_retry_that_fails_again_is_a_dead_letter_again() {
        let (world, letters) = fallen(&["/fail/500"]).await;
        let retried = retry(&world, json!([letters[0]["dlqId"]])).await;
        world.sink.deliveries("/fail/500", 2).await;
        let letter = world
            .eventually("the second death", async || {
                let mut letters = world.all_dead_letters().await;
                (letters.len() == 1).then(|| letters.swap_remove(0))
            })
            .await;
        assert_eq!(letter["messageId"], id(&retried["responses"][0]));
        assert_ne!(letter["dlqId"], letters[0]["dlqId"]);
    }
}

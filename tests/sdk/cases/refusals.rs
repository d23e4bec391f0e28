//! What is refused, with which status, and in words that help.

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::client::{Client, Sdk, js, js_queue, py};
use crate::world::{World, count, now_ms};

for_each_sdk!(
    a_wrong_token_is_refused,
    a_malformed_message_is_refused_by_name,
    what_does_not_exist_is_named,
    a_message_that_is_too_large_is_refused,
    a_full_broker_says_when_to_come_again
);

async fn a_wrong_token_is_refused(sdk: Sdk) {
    let world = World::start(sdk).await;
    let client = Client {
        token: "wrong".to_owned(),
        ..world.client.clone()
    };
    let message = json!({"url": world.url("/ok"), "body": "b"});
    client
        .refusal(
            py("message.publish", message.clone()),
            js("publish", json!([message])),
            401,
        )
        .await;
    client
        .refusal(
            py("dlq.list", json!({})),
            js("dlq.listMessages", json!([])),
            401,
        )
        .await;
    world.barrier("behind").await;
    assert_eq!(world.sink.count("/ok"), 0);
}

async fn a_malformed_message_is_refused_by_name(sdk: Sdk) {
    let world = World::start(sdk).await;
    for (python, javascript, value, named) in [
        (
            "retry_delay",
            "retryDelay",
            json!("1000 * (1 + tried)"),
            "Upstash-Retry-Delay",
        ),
        (
            "retry_delay",
            "retryDelay",
            json!("pow(2"),
            "Upstash-Retry-Delay",
        ),
        ("delay", "delay", json!("soon"), "Upstash-Delay"),
        ("timeout", "timeout", json!("1x"), "Upstash-Timeout"),
        ("callback", "callback", json!("nowhere"), "Upstash-Callback"),
        (
            "failure_callback",
            "failureCallback",
            json!("ftp://h/"),
            "Upstash-Failure-Callback",
        ),
        ("method", "method", json!("BREW"), "Upstash-Method"),
        (
            "flow_control",
            "flowControl",
            json!({"key": "k", "rate": 1, "period": "often"}),
            "Upstash-Flow-Control-Value",
        ),
    ] {
        let url = world.url("/ok");
        let message = |name: &str| {
            let mut message = json!({"url": url, "body": "b"});
            message[name] = value.clone();
            message
        };
        let calls = (
            py("message.publish", message(python)),
            js("publish", json!([message(javascript)])),
        );
        let text = world.client.refusal(calls.0, calls.1, 400).await;
        assert!(
            text.to_lowercase().contains(&named.to_lowercase()),
            "{python}: {text}"
        );
    }
    world.barrier("behind").await;
    assert_eq!(world.sink.count("/ok"), 0);
}

async fn what_does_not_exist_is_named(sdk: Sdk) {
    let world = World::start(sdk).await;
    let schedule = (
        py("schedule.get", json!({"schedule_id": "nothing"})),
        js("schedules.get", json!(["nothing"])),
    );
    let key = (
        py("flow_control.get", json!({"flow_control_key": "nothing"})),
        js("flowControl.get", json!(["nothing"])),
    );
    let queue = (
        py("queue.get", json!({"queue": "nothing"})),
        js_queue("queue.get", "nothing", json!([])),
    );
    for (python, javascript) in [schedule, key, queue] {
        let text = world.client.refusal(python, javascript, 404).await;
        assert!(text.contains("nothing"), "{text}");
    }
    let group = json!({"url_group": "nothing", "body": "b"});
    let calls = (
        py("message.publish", group),
        js("publish", json!([{"urlGroup": "nothing", "body": "b"}])),
    );
    match world.client.attempt(calls.0, calls.1).await {
        Err(error) => assert!([Some(400), Some(404)].contains(&error.status), "{error:?}"),
        Ok(answer) => panic!("there is no such group: {answer}"),
    }
}

async fn a_message_that_is_too_large_is_refused(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({"url": world.url("/ok"), "body": "x".repeat((1 << 20) + 1)});
    world
        .client
        .refusal(
            py("message.publish", message.clone()),
            js("publish", json!([message])),
            413,
        )
        .await;
    // What is just small enough arrives.
    let body = "x".repeat(1_000_000);
    world
        .client
        .publish(json!({"url": world.url("/ok"), "body": body}))
        .await;
    assert_eq!(world.sink.delivery("/ok").await.body.len(), 1_000_000);
}

/// The provider behind which the service's own models stand exists nowhere else.
mod language_models {
    use super::{Sdk, Value, World, js, js_queue, json, py};

    async fn refused(call: crate::client::Call) {
        let world = World::start(Sdk::JavaScript).await;
        let text = world.client.refusal(py("none", json!({})), call, 400).await;
        assert!(text.to_lowercase().contains("llm"), "{text}");
    }

    fn request() -> Value {
        json!({"api": {"name": "llm"}, "body": {"model": "m"}, "callback": "http://127.0.0.1:1/"})
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn publishing_to_one_is_refused() {
        refused(js("publishJSON", json!([request()]))).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn enqueueing_to_one_is_refused() {
        refused(js_queue("queue.enqueueJSON", "q", json!([request()]))).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_batch_with_one_is_refused() {
        refused(js("batchJSON", json!([[request()]]))).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn chatting_is_refused() {
        let provider = json!({"owner": "upstash"});
        let chat = json!([{"provider": provider, "model": "m", "messages": []}]);
        refused(js("chat.create", chat)).await;
        let prompt = json!([{"provider": provider, "model": "m", "system": "s", "user": "u"}]);
        refused(js("chat.prompt", prompt)).await;
    }
}

/// There are no workflow runs yet, so that none can be cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_run_does_not_exist() {
    let world = World::start(Sdk::JavaScript).await;
    let text = world
        .client
        .refusal(
            py("none", json!({})),
            js("workflow.cancel", json!(["wfr_1"])),
            404,
        )
        .await;
    assert!(text.contains("wfr_1"), "{text}");
}

async fn a_full_broker_says_when_to_come_again(sdk: Sdk) {
    let broker = Broker::start(&["delivery.pending_max=2"]).await;
    let client = Client::new(sdk, &broker.url());
    let later = json!({"url": "http://127.0.0.1:9/later", "body": "b", "delay": "1h"});
    for _ in 0..2 {
        client.publish(later.clone()).await;
    }
    let calls = (
        py("message.publish", later.clone()),
        js("publish", json!([later])),
    );
    let before = now_ms() / 1_000;
    // The clients ask again themselves, and give up in the end.
    let error = client.attempt(calls.0, calls.1).await.unwrap_err();
    let kinds = ["RateLimitExceededError", "QstashRatelimitError"];
    assert!(kinds.contains(&error.kind.as_str()), "{error:?}");
    let [limit, remaining, reset] = error.limits;
    assert_eq!((limit, remaining), (Some(2), Some(0)), "{error:?}");
    let reset = reset.unwrap();
    assert!(
        (before..=now_ms() / 1_000 + 1).contains(&reset),
        "{reset} after {before}"
    );
    // There is room again when one has come to its end.
    let all = client
        .call(
            py("message.cancel_all", json!({})),
            js("messages.cancel", json!([{"all": true}])),
        )
        .await;
    assert_eq!(count(&all, "cancelled"), 2);
    client
        .publish(json!({"url": "http://127.0.0.1:9/later", "body": "b", "delay": "1h"}))
        .await;
}

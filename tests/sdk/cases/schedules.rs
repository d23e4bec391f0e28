//! Schedules: made, read, paused, overwritten, deleted, and firing at the next minute.

use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::client::{Client, Sdk, js, py};
use crate::sink::Sink;
use crate::world::{World, now_ms};

use super::messages::header;
use super::url_groups::add_endpoints;

for_each_sdk!(
    a_schedule_is_read_as_it_was_made,
    a_schedule_is_overwritten_by_its_id,
    a_schedule_is_paused_and_resumed,
    a_deleted_schedule_is_gone
);

async fn a_schedule_is_read_as_it_was_made(sdk: Sdk) {
    let world = World::start(sdk).await;
    let made = create(
        &world.client,
        json!({
            "destination": world.url("/ok/a?b=c"),
            "cron": "CRON_TZ=Europe/Berlin 0 8 * * 1",
            "body": "text",
            "method": "PUT",
            "headers": {"X-Test": "value"},
            "retries": 2,
            "retry_delay": "10",
            "callback": world.url("/ok/callback"),
            "failure_callback": world.url("/ok/failure"),
            "delay": 60,
            "timeout": 30,
            "queue": "orders",
            "flow_control": {"key": "key", "parallelism": 2, "rate": 3, "period": 60},
            "label": "label",
        }),
    )
    .await;
    let read = get(&world.client, &made).await;
    for (name, value) in [
        ("scheduleId", json!(made)),
        ("destination", json!(world.url("/ok/a?b=c"))),
        ("cron", json!("CRON_TZ=Europe/Berlin 0 8 * * 1")),
        ("method", json!("PUT")),
        ("body", json!("text")),
        ("retries", json!(2)),
        ("retryDelayExpression", json!("10")),
        ("callback", json!(world.url("/ok/callback"))),
        ("failureCallback", json!(world.url("/ok/failure"))),
        ("delay", json!(60)),
        ("queueName", json!("orders")),
        ("flowControlKey", json!("key")),
        ("parallelism", json!(2)),
        ("rate", json!(3)),
        ("period", json!(60)),
        ("label", json!("label")),
        ("callerIP", json!("127.0.0.1")),
        ("isPaused", json!(false)),
    ] {
        assert_eq!(read[name], value, "{name} of {read:#}");
    }
    assert_eq!(header(&read, "header", "x-test"), ["value"]);
    let next = read["nextScheduleTime"].as_u64().unwrap();
    assert!(next > now_ms() && next % 60_000 == 0, "{next}");
    let listed = world
        .client
        .call(
            py("schedule.list", json!({})),
            js("schedules.list", json!([])),
        )
        .await;
    assert_eq!(listed, json!([read]));
}

async fn a_schedule_is_overwritten_by_its_id(sdk: Sdk) {
    let world = World::start(sdk).await;
    for (cron, body) in [("0 0 1 1 *", "old"), ("30 1 * * *", "new")] {
        let made = create(&world.client, json!({"destination": world.url("/ok"), "cron": cron, "body": body, "schedule_id": "mine"})).await;
        assert_eq!(made, "mine");
    }
    let read = get(&world.client, "mine").await;
    assert_eq!(
        (&read["cron"], &read["body"]),
        (&json!("30 1 * * *"), &json!("new"))
    );
    let listed = world
        .client
        .call(
            py("schedule.list", json!({})),
            js("schedules.list", json!([])),
        )
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let wrong = json!({"destination": world.url("/ok"), "cron": "61 * * * *"});
    let calls = (
        py("schedule.create", wrong.clone()),
        js("schedules.create", json!([wrong])),
    );
    let text = world.client.refusal(calls.0, calls.1, 400).await;
    assert!(text.contains("61"), "{text}");
}

async fn a_schedule_is_paused_and_resumed(sdk: Sdk) {
    let world = World::start(sdk).await;
    let made = create(
        &world.client,
        json!({"destination": world.url("/ok"), "cron": "* * * * *"}),
    )
    .await;
    pause(&world.client, &made).await;
    assert_eq!(get(&world.client, &made).await["isPaused"], true);
    resume(&world.client, &made).await;
    assert_eq!(get(&world.client, &made).await["isPaused"], false);
}

async fn a_deleted_schedule_is_gone(sdk: Sdk) {
    let world = World::start(sdk).await;
    let made = create(
        &world.client,
        json!({"destination": world.url("/ok"), "cron": "* * * * *"}),
    )
    .await;
    world
        .client
        .call(
            py("schedule.delete", json!({"schedule_id": made})),
            js("schedules.delete", json!([made])),
        )
        .await;
    let read = (
        py("schedule.get", json!({"schedule_id": made})),
        js("schedules.get", json!([made])),
    );
    world.client.refusal(read.0, read.1, 404).await;
}

/// Minutes are the smallest step of a schedule, so that all clients share the wait for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_fire_at_the_minute() {
    let (broker, sink) = (Broker::start(&[]).await, Sink::start().await);
    // What is paused or deleted must be so before its minute comes.
    let left = 60_000 - now_ms() % 60_000;
    if left < 15_000 {
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
    let mut expected = Vec::new();
    for (number, sdk) in Sdk::ALL.into_iter().enumerate() {
        let client = Client::new(sdk, &broker.url());
        for (kind, firing) in [
            ("plain", true),
            ("paused", false),
            ("resumed", true),
            ("deleted", false),
        ] {
            let target = format!("/ok/{kind}/{number}");
            let schedule = json!({"destination": sink.url(&target), "cron": "* * * * *", "body": {"a": kind}, "headers": {"X-A": "1"}});
            let made = create_json(&client, schedule).await;
            if kind != "plain" && kind != "deleted" {
                pause(&client, &made).await;
            }
            if kind == "resumed" {
                resume(&client, &made).await;
            }
            if kind == "deleted" {
                client
                    .call(
                        py("schedule.delete", json!({"schedule_id": made})),
                        js("schedules.delete", json!([made])),
                    )
                    .await;
            }
            if firing {
                expected.push((client.clone(), target, made, kind));
            }
        }
    }
    let world = World {
        client: Client::new(Sdk::Python, &broker.url()),
        broker,
        sink,
    };
    add_endpoints(
        &world,
        "group",
        json!([{"url": world.url("/ok/group/1")}, {"url": world.url("/ok/group/2")}]),
    )
    .await;
    let to_group = create(
        &world.client,
        json!({"destination": "group", "cron": "* * * * *", "body": "g"}),
    )
    .await;
    for (client, target, made, kind) in expected {
        let delivery = world.sink.delivery(&target).await;
        assert_eq!(
            (
                delivery.header("upstash-schedule-id"),
                delivery.header("x-a")
            ),
            (made.as_str(), "1")
        );
        assert_eq!(delivery.json(), json!({"a": kind}));
        let read = get(&client, &made).await;
        assert!(
            read["lastScheduleTime"].as_u64().unwrap() % 60_000 == 0,
            "{read:#}"
        );
        assert!(
            read["nextScheduleTime"].as_u64() > read["lastScheduleTime"].as_u64(),
            "{read:#}"
        );
    }
    for target in ["/ok/group/1", "/ok/group/2"] {
        let delivery = world.sink.delivery(target).await;
        assert_eq!(
            (delivery.header("upstash-schedule-id"), delivery.text()),
            (to_group.as_str(), "g")
        );
    }
    let all = world.sink.all();
    let silent = |target: &str| !target.contains("paused") && !target.contains("deleted");
    assert!(
        all.iter().all(|delivery| silent(&delivery.target)),
        "{all:#?}"
    );
}

async fn create(client: &Client, schedule: Value) -> String {
    let call = (
        py("schedule.create", schedule.clone()),
        js("schedules.create", json!([request(&schedule)])),
    );
    schedule_id(&client.call(call.0, call.1).await)
}

/// The other client has one method, and says by itself that it is JSON.
async fn create_json(client: &Client, schedule: Value) -> String {
    let mut text = schedule.clone();
    text["body"] = schedule["body"].to_string().into();
    let call = (
        py("schedule.create_json", schedule),
        js("schedules.create", json!([request(&text)])),
    );
    schedule_id(&client.call(call.0, call.1).await)
}

/// The Python client returns the id alone.
fn schedule_id(answer: &Value) -> String {
    let id = answer.as_str().or_else(|| answer["scheduleId"].as_str());
    id.unwrap_or_else(|| panic!("no schedule id in {answer}"))
        .to_owned()
}

fn request(schedule: &Value) -> Value {
    let mut request = serde_json::Map::new();
    for (name, value) in schedule.as_object().unwrap() {
        let name = if name == "queue" {
            "queueName".to_owned()
        } else {
            crate::messages::camel(name)
        };
        request.insert(name, value.clone());
    }
    request.into()
}

async fn get(client: &Client, schedule: &str) -> Value {
    client
        .call(
            py("schedule.get", json!({"schedule_id": schedule})),
            js("schedules.get", json!([schedule])),
        )
        .await
}

async fn pause(client: &Client, schedule: &str) {
    let request = json!([{"schedule": schedule}]);
    client
        .call(
            py("schedule.pause", json!({"schedule_id": schedule})),
            js("schedules.pause", request),
        )
        .await;
}

async fn resume(client: &Client, schedule: &str) {
    let request = json!([{"schedule": schedule}]);
    client
        .call(
            py("schedule.resume", json!({"schedule_id": schedule})),
            js("schedules.resume", request),
        )
        .await;
}

//! Logs: the life of a message as a list of states, newest first, with filters and the documented cursor loop.

use serde_json::{Value, json};

use crate::client::{Sdk, js, py};
use crate::messages::id;
use crate::world::{World, now_ms};

for_each_sdk!(
    a_delivery_has_its_states_newest_first,
    a_failure_tells_why,
    a_cancelled_message_is_canceled,
    logs_are_filtered,
    the_cursor_loop_ends_with_every_entry_seen,
);

async fn a_delivery_has_its_states_newest_first(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({"url": world.url("/fail-n/1"), "body": "text", "retries": 1, "retry_delay": "10", "label": "l", "headers": {"X-A": "1"}});
    let message = id(&world.client.publish(message).await);
    let logs = ended(&world, &message, "DELIVERED").await;
    let states: Vec<&str> = logs
        .iter()
        .rev()
        .map(|entry| entry["state"].as_str().unwrap())
        .collect();
    assert_eq!(states.first(), Some(&"CREATED"), "{states:?}");
    assert_eq!(states.last(), Some(&"DELIVERED"), "{states:?}");
    assert!(
        states
            .iter()
            .any(|state| ["ERROR", "RETRY"].contains(state)),
        "{states:?}"
    );
    let times: Vec<i64> = logs
        .iter()
        .map(|entry| entry["time"].as_i64().unwrap())
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "{times:?}"
    );
    for entry in &logs {
        assert_eq!(
            (&entry["url"], &entry["label"]),
            (&json!(world.url("/fail-n/1")), &json!("l")),
            "{entry:#}"
        );
        assert_eq!(entry["body"], "dGV4dA==", "{entry:#}");
    }
}

async fn a_failure_tells_why(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = world.fail("/fail/502", json!({})).await;
    let logs = ended(&world, &message, "FAILED").await;
    let error = logs.iter().find(|entry| entry["responseStatus"] == 502);
    let error = error.unwrap_or_else(|| panic!("no entry has the status: {logs:#?}"));
    assert_eq!(error["responseBody"], "YW5zd2VyZWQgNTAy", "{error:#}");
    assert!(error["responseHeader"].is_object(), "{error:#}");
}

async fn a_cancelled_message_is_canceled(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = id(&world
        .client
        .publish(json!({"url": world.url("/ok"), "body": "b", "delay": "1d"}))
        .await);
    world
        .client
        .call(
            py("message.cancel", json!({"message_id": message})),
            js("messages.cancel", json!([message])),
        )
        .await;
    ended(&world, &message, "CANCELED").await;
}

async fn logs_are_filtered(sdk: Sdk) {
    let world = World::start(sdk).await;
    let first = id(&world
        .client
        .publish(json!({"url": world.url("/ok/a"), "body": "b", "label": "red"}))
        .await);
    let second = id(&world
        .client
        .enqueue("orders", json!({"url": world.url("/ok/b"), "body": "b"}))
        .await);
    ended(&world, &first, "DELIVERED").await;
    ended(&world, &second, "DELIVERED").await;
    let select = async |python: Value, javascript: Value| {
        let request = (
            py("log.list", json!({"filter": python})),
            js("logs", json!([{"filter": javascript}])),
        );
        let answer = world.client.call(request.0, request.1).await;
        let mut ids: Vec<String> = answer["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["messageId"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    };
    let both = {
        let mut both = vec![first.clone(), second.clone()];
        both.sort();
        both
    };
    let (url, future) = (world.url("/ok/a"), 4_000_000_000_000_i64);
    for (python, javascript, expected) in [
        (
            json!({"message_id": first}),
            json!({"messageId": first}),
            vec![first.clone()],
        ),
        (
            json!({"url": url}),
            json!({"url": url}),
            vec![first.clone()],
        ),
        (
            json!({"queue": "orders"}),
            json!({"queueName": "orders"}),
            vec![second.clone()],
        ),
        (
            json!({"label": "red"}),
            json!({"label": ["red", "none"]}),
            vec![first.clone()],
        ),
        (
            json!({"state": {"$state": "DELIVERED"}}),
            json!({"state": "DELIVERED"}),
            both.clone(),
        ),
        (
            json!({"state": {"$state": "FAILED"}}),
            json!({"state": "FAILED"}),
            vec![],
        ),
        (
            json!({"url_group": "none"}),
            json!({"urlGroup": "none"}),
            vec![],
        ),
        (
            json!({"schedule_id": "none"}),
            json!({"scheduleId": "none"}),
            vec![],
        ),
        (
            json!({"from_time": future}),
            json!({"fromDate": future}),
            vec![],
        ),
        (
            json!({"from_time": 1, "to_time": future}),
            json!({"fromDate": {"$date": 1}, "toDate": future}),
            both.clone(),
        ),
        (
            json!({"message_ids": [first, second]}),
            json!({"host": "127.0.0.1"}),
            both.clone(),
        ),
        (
            json!({"message_ids": [second]}),
            json!({"path": "/ok/b"}),
            vec![second.clone()],
        ),
    ] {
        let text = format!("{python} {javascript}");
        assert_eq!(select(python, javascript).await, expected, "{text}");
    }
    // The other spelling of the same call.
    let ids = json!([first]);
    let request = (
        py("log.list", json!({"filter": {"message_ids": ids}})),
        js("events", json!([{"messageIds": ids}])),
    );
    let answer = world.client.call(request.0, request.1).await;
    let logs = answer["logs"].as_array().unwrap();
    assert!(
        !logs.is_empty() && logs.iter().all(|entry| entry["messageId"] == first),
        "{logs:#?}"
    );
}

async fn the_cursor_loop_ends_with_every_entry_seen(sdk: Sdk) {
    let world = World::start(sdk).await;
    let messages: Vec<Value> = (0..10)
        .map(|number: usize| json!({"url": world.url(&format!("/ok/{number}")), "body": "b"}))
        .collect();
    let answers = world.client.batch(json!(messages)).await;
    for answer in answers.as_array().unwrap() {
        ended(&world, &id(answer), "DELIVERED").await;
    }
    // `let cursor = Date.now(); while (cursor > 0) { ...; cursor = res.cursor ?? 0 }`
    let now = now_ms() + 1_000;
    let mut cursor = Some(now.to_string());
    let mut seen = Vec::new();
    while let Some(at) = cursor {
        let request = (
            py("log.list", json!({"cursor": at, "count": 7})),
            js("logs", json!([{"cursor": at, "count": 7}])),
        );
        let answer = world.client.call(request.0, request.1).await;
        let page = answer["logs"].as_array().unwrap();
        assert!(page.len() <= 7);
        seen.extend(
            page.iter()
                .map(|entry| (entry["messageId"].to_string(), entry["state"].to_string())),
        );
        cursor = match &answer["cursor"] {
            Value::Null => None,
            Value::String(text) => {
                assert!(
                    text.bytes().all(|digit| digit.is_ascii_digit()),
                    "{text} is no number"
                );
                (text.parse::<u128>().unwrap() > 0).then(|| text.clone())
            }
            other => panic!("a cursor is a string of digits: {other}"),
        };
    }
    for answer in answers.as_array().unwrap() {
        for state in ["CREATED", "DELIVERED"] {
            let entry = (answer["messageId"].to_string(), json!(state).to_string());
            assert_eq!(
                seen.iter().filter(|seen| **seen == entry).count(),
                1,
                "{entry:?}"
            );
        }
    }
}

/// Waits until the message has come to that state and returns its entries.
async fn ended(world: &World, message: &str, state: &str) -> Vec<Value> {
    world
        .eventually(&format!("{state} of {message}"), async || {
            let request = (
                py("log.list", json!({"filter": {"message_id": message}})),
                js("logs", json!([{"messageIds": [message]}])),
            );
            let answer = world.client.call(request.0, request.1).await;
            let logs = answer["logs"].as_array().unwrap().clone();
            assert!(
                logs.iter().all(|entry| entry["messageId"] == message),
                "{logs:#?}"
            );
            logs.iter()
                .any(|entry| entry["state"] == state)
                .then_some(logs)
        })
        .await
}

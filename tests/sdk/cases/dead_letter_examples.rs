//! The documented ways to go through dead letters: the cursor loop, filters, ids, all of them.

use serde_json::{Value, json};

use crate::client::{Sdk, js, py};
use crate::world::World;

use super::url_groups::add_endpoints;

for_each_sdk!(
    the_cursor_loop_lists_all_once,
    filters_select,
    a_letter_that_comes_meanwhile_does_not_disturb_the_loop
);

/// Goes through all pages as the documentation does, and returns the bodies in order.
async fn cursor_loop(world: &World, count: u32, mut between: impl AsyncFnMut()) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut python = json!({"count": count});
        let mut javascript = json!({"count": count});
        if !cursor.is_null() {
            python["cursor"] = cursor.clone();
            javascript["cursor"] = cursor;
        }
        let page = world
            .client
            .call(
                py("dlq.list", python),
                js("dlq.listMessages", json!([javascript])),
            )
            .await;
        let messages = page["messages"].as_array().unwrap();
        assert!(
            messages.len() <= count as usize,
            "{} in a page of {count}",
            messages.len()
        );
        bodies.extend(
            messages
                .iter()
                .map(|letter| letter["body"].as_str().unwrap().to_owned()),
        );
        match page.get("cursor") {
            None | Some(Value::Null) => return bodies,
            Some(next) => cursor = next.clone(),
        }
        between().await;
    }
}

async fn the_cursor_loop_lists_all_once(sdk: Sdk) {
    let world = World::start(sdk).await;
    let messages: Vec<Value> = (0..23)
        .map(|number| json!({"url": world.url("/fail/500"), "body": number.to_string(), "retries": 0}))
        .collect();
    world.client.batch(json!(messages)).await;
    world.dead(23).await;
    for count in [1, 5, 23, 100] {
        let mut bodies = cursor_loop(&world, count, async || {}).await;
        bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
        let expected: Vec<String> = (0..23).map(|number| number.to_string()).collect();
        assert_eq!(bodies, expected, "pages of {count}");
    }
}

async fn a_letter_that_comes_meanwhile_does_not_disturb_the_loop(sdk: Sdk) {
    let world = World::start(sdk).await;
    for number in 0..6 {
        world
            .fail("/fail/500", json!({"body": number.to_string()}))
            .await;
    }
    world.dead(6).await;
    let mut came = 6;
    let bodies = cursor_loop(&world, 2, async || {
        world
            .fail("/fail/500", json!({"body": came.to_string()}))
            .await;
        came += 1;
        world.dead(came).await;
    })
    .await;
    for number in 0..6 {
        let number = number.to_string();
        assert_eq!(
            bodies.iter().filter(|body| **body == number).count(),
            1,
            "{number} of {bodies:?}"
        );
    }
}

async fn filters_select(sdk: Sdk) {
    let world = World::start(sdk).await;
    let labelled = world.fail("/fail/500/a", json!({"label": "red"})).await;
    world
        .fail("/fail/502/b?c=d,e", json!({"label": "blue"}))
        .await;
    add_endpoints(
        &world,
        "group",
        json!([{"url": world.url("/fail/503/c"), "name": "c"}]),
    )
    .await;
    world
        .client
        .publish(json!({"url_group": "group", "body": "/fail/503/c", "retries": 0}))
        .await;
    world
        .client
        .enqueue(
            "orders",
            json!({"url": world.url("/fail/500/d"), "body": "/fail/500/d", "retries": 0}),
        )
        .await;
    world.dead(4).await;
    let select = async |python: Value, javascript: Value| {
        let letters = world
            .dead_letters(json!({"filter": python}), json!([{"filter": javascript}]))
            .await;
        let mut bodies: Vec<String> = letters
            .iter()
            .map(|letter| letter["body"].as_str().unwrap().to_owned())
            .collect();
        bodies.sort();
        bodies
    };
    let now = 4_000_000_000_000_i64;
    let url = world.url("/fail/502/b?c=d,e");
    for (python, javascript, expected) in [
        (
            json!({"message_id": labelled}),
            json!({"messageId": labelled}),
            vec!["/fail/500/a"],
        ),
        (
            json!({"url": url}),
            json!({"url": url}),
            vec!["/fail/502/b?c=d,e"],
        ),
        (
            json!({"url_group": "group"}),
            json!({"urlGroup": "group"}),
            vec!["/fail/503/c"],
        ),
        (
            json!({"queue": "orders"}),
            json!({"queueName": "orders"}),
            vec!["/fail/500/d"],
        ),
        (
            json!({"schedule_id": "none"}),
            json!({"scheduleId": "none"}),
            vec![],
        ),
        (
            json!({"label": "red"}),
            json!({"label": "red"}),
            vec!["/fail/500/a"],
        ),
        (
            json!({"response_status": 500}),
            json!({"responseStatus": 500}),
            vec!["/fail/500/a", "/fail/500/d"],
        ),
        (
            json!({"response_status": 500, "label": "red"}),
            json!({"responseStatus": 500, "label": "red"}),
            vec!["/fail/500/a"],
        ),
        (
            json!({"caller_ip": "127.0.0.1", "label": "blue"}),
            json!({"callerIp": "127.0.0.1", "label": "blue"}),
            vec!["/fail/502/b?c=d,e"],
        ),
        (
            json!({"caller_ip": "10.0.0.1"}),
            json!({"callerIp": "10.0.0.1"}),
            vec![],
        ),
        (json!({"from_time": now}), json!({"fromDate": now}), vec![]),
        (
            json!({"to_time": 1}),
            json!({"toDate": {"$date": 1}}),
            vec![],
        ),
        (
            json!({"from_time": 1, "to_time": now, "label": "red"}),
            json!({"fromDate": {"$date": 1}, "toDate": now, "label": "red"}),
            vec!["/fail/500/a"],
        ),
    ] {
        let text = python.to_string();
        assert_eq!(select(python, javascript).await, expected, "{text}");
    }
}

/// What only the TypeScript client documents.
mod javascript_only {
    use super::{Sdk, Value, World, js, json, py};

    async fn fallen(count: usize) -> World {
        let world = World::start(Sdk::JavaScript).await;
        let messages: Vec<Value> = (0..count)
            .map(|number| {
                let label = if number % 3 == 0 { "third" } else { "other" };
                json!({"url": world.url("/fail/500"), "body": number.to_string(), "retries": 0, "label": label})
            })
            .collect();
        world.client.batch(json!(messages)).await;
        world.dead(count).await;
        world
    }

    async fn call(world: &World, method: &'static str, request: Value) -> Value {
        world
            .client
            .call(py("none", json!({})), js(method, json!([request])))
            .await
    }

    /// Calls again until there is no cursor, as documented; returns the answers.
    async fn until_no_cursor(
        world: &World,
        method: &'static str,
        mut request: Value,
    ) -> Vec<Value> {
        let mut answers = Vec::new();
        loop {
            let answer = call(world, method, request.clone()).await;
            let cursor = answer.get("cursor").cloned().unwrap_or_default();
            answers.push(answer);
            // `while (cursor)`: an empty one ends the loop as well.
            if cursor.is_null() || cursor == "" {
                return answers;
            }
            request["cursor"] = cursor;
        }
    }

    fn deleted(answers: &[Value]) -> u64 {
        answers
            .iter()
            .map(|answer| answer["deleted"].as_u64().unwrap())
            .sum()
    }

    fn retried(answers: &[Value]) -> usize {
        answers
            .iter()
            .map(|answer| answer["responses"].as_array().unwrap().len())
            .sum()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_are_deleted_page_by_page() {
        let world = fallen(12).await;
        let answers = until_no_cursor(&world, "dlq.delete", json!({"all": true, "count": 5})).await;
        assert_eq!(deleted(&answers), 12);
        assert!(answers.len() >= 3, "{answers:?}");
        world.dead(0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_are_deleted_at_once() {
        let world = fallen(3).await;
        assert_eq!(
            deleted(&until_no_cursor(&world, "dlq.delete", json!({"all": true})).await),
            3
        );
        world.dead(0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn some_are_deleted_by_filter_and_by_ids() {
        let world = fallen(9).await;
        let filter = json!({"filter": {"label": ["third", "none"], "responseStatus": [500, 502]}, "count": 2});
        assert_eq!(
            deleted(&until_no_cursor(&world, "dlq.delete", filter).await),
            3
        );
        let left = world.dead(6).await;
        assert!(
            left.iter()
                .all(|letter| letter["labels"] == json!(["other"])),
            "{left:#?}"
        );
        let ids: Vec<&Value> = left[..4].iter().map(|letter| &letter["dlqId"]).collect();
        assert_eq!(
            deleted(&[call(&world, "dlq.delete", json!({"dlqIds": ids})).await]),
            4
        );
        world.dead(2).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_are_retried_page_by_page() {
        let world = fallen(12).await;
        world.sink.heal();
        let answers = until_no_cursor(&world, "dlq.retry", json!({"all": true, "count": 5})).await;
        assert_eq!(retried(&answers), 12);
        let came = world.sink.deliveries("/fail/500", 24).await;
        let mut bodies: Vec<u32> = came[12..]
            .iter()
            .map(|delivery| delivery.text().parse().unwrap())
            .collect();
        bodies.sort_unstable();
        assert_eq!(bodies, (0..12).collect::<Vec<_>>());
        world.dead(0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn some_are_retried_by_filter_and_by_ids() {
        let world = fallen(9).await;
        world.sink.heal();
        let filter = json!({"filter": {"label": "third"}});
        assert_eq!(
            retried(&until_no_cursor(&world, "dlq.retry", filter).await),
            3
        );
        let ids: Vec<Value> = world.dead(6).await[..2]
            .iter()
            .map(|letter| letter["dlqId"].clone())
            .collect();
        assert_eq!(
            retried(&[call(&world, "dlq.retry", json!({"dlqIds": ids})).await]),
            2
        );
        world.sink.deliveries("/fail/500", 9 + 5).await;
        world.dead(4).await;
        // Of these ids, none is left and one never was.
        let none = json!({"dlqIds": ["never"]});
        let refused =
            world
                .client
                .refusal(py("none", json!({})), js("dlq.retry", json!([none])), 404);
        refused.await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn letters_are_listed_by_ids_and_by_several_values() {
        let world = fallen(6).await;
        let letters = world.dead(6).await;
        let ids: Vec<&Value> = letters[1..4]
            .iter()
            .map(|letter| &letter["dlqId"])
            .collect();
        let listed = call(&world, "dlq.listMessages", json!({"dlqIds": ids})).await;
        assert_eq!(listed["messages"].as_array().unwrap().len(), 3);
        let filter = json!({"filter": {"label": ["third", "other"], "url": [world.url("/fail/500"), "http://none.example"]}});
        assert_eq!(
            call(&world, "dlq.listMessages", filter).await["messages"]
                .as_array()
                .unwrap()
                .len(),
            6
        );
        let filter = json!({"filter": {"label": "third"}, "count": 1});
        let listed = call(&world, "dlq.listMessages", filter).await;
        assert_eq!(listed["messages"].as_array().unwrap().len(), 1);
        assert!(listed["cursor"].is_string(), "{listed}");
    }
}

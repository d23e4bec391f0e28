//! Queues, URL groups, schedules, flow-control keys and signing keys.

use hyper::Method;
use serde_json::json;

use crate::world::{NOWHERE, World, assert_has, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues() {
    let world = World::start().await;
    assert_eq!(world.get("/v2/queues").await.expect(200), json!([]));
    let upsert = r#"{"queueName": "q", "parallelism": 3, "paused": true}"#;
    assert_eq!(world.post("/v2/queues", upsert).await.status, 200);
    let queue = world.get("/v2/queues/q").await.expect(200);
    assert_eq!(
        (&queue["parallelism"], &queue["paused"], &queue["lag"]),
        (&json!(3), &json!(true), &json!(0))
    );
    assert!(queue["createdAt"].is_i64() && queue["updatedAt"].is_i64());
    assert_eq!(world.post("/v2/queues/q/resume", "").await.status, 200);
    assert_eq!(
        world.get("/v2/queues").await.expect(200)[0]["paused"],
        false
    );
    assert_eq!(world.post("/v2/queues/q/pause", "").await.status, 200);
    let target = format!("/v2/enqueue/made/{NOWHERE}");
    let later = [("upstash-delay", "1h")];
    world
        .send(Method::POST, &target, &later, "")
        .await
        .expect(200);
    let made = world.get("/v2/queues/made").await.expect(200);
    assert_eq!((&made["parallelism"], &made["lag"]), (&json!(1), &json!(1)));
    assert_eq!(world.delete("/v2/queues/q").await.status, 200);
    world.get("/v2/queues/q").await.error(404);
    let range = "it must be a whole number from 1 to 1000";
    for (body, expected) in [
        (r#"{"queueName": "a/b"}"#, "queue name"),
        (r#"{"queueName": "q", "parallelism": 0}"#, range),
        (r#"{"queueName": "q", "parallelism": -3}"#, range),
        (r#"{"queueName": "q", "parallelism": 1001}"#, range),
        (
            r#"{"queueName": "q", "parallelism": 1.5}"#,
            "the body, parallelism: ",
        ),
        (r#"{"queue": "q"}"#, "queue"),
        ("x", "line 1"),
    ] {
        let error = world.post("/v2/queues", body).await.error(400);
        assert!(error.contains(expected), "{body}: {error}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn url_groups() {
    let world = World::start().await;
    let add = r#"{"endpoints": [{"url": "https://a", "name": "one"}, {"url": "https://b"}]}"#;
    assert_eq!(world.post("/v2/topics/g/endpoints", add).await.status, 200);
    let group = world.get("/v2/topics/g").await.expect(200);
    assert_eq!(
        group["endpoints"],
        json!([{"name": "one", "url": "https://a"}, {"url": "https://b"}])
    );
    assert_eq!(world.get("/v2/topics").await.expect(200), json!([group]));
    let remove = r#"{"endpoints": [{"name": "one"}]}"#;
    let removed = world
        .send(Method::DELETE, "/v2/topics/g/endpoints", &[], remove)
        .await;
    assert_eq!(removed.status, 200);
    assert_eq!(
        world.get("/v2/topics/g").await.expect(200)["endpoints"],
        json!([{"url": "https://b"}])
    );
    for body in [
        r#"{"endpoints": [{"name": "x"}]}"#,
        r#"{"endpoints": [{"url": "nowhere"}]}"#,
        r#"{"endpoints": []}"#,
        "{}",
    ] {
        world.post("/v2/topics/g/endpoints", body).await.error(400);
    }
    assert_eq!(world.delete("/v2/topics/g").await.status, 200);
    world.get("/v2/topics/g").await.error(404);
    world.stop().await;
}

const SCHEDULE: [(&str, &str); 6] = [
    ("upstash-cron", "CRON_TZ=Europe/Berlin 0 3 1 1 *"),
    ("upstash-schedule-id", "s"),
    ("upstash-delay", "90s"),
    ("upstash-queue-name", "q"),
    ("upstash-label", "l"),
    ("upstash-timeout", "5s"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_shown_paused_and_resumed() {
    let world = World::start().await;
    let target = format!("/v2/schedules/{NOWHERE}");
    let set = world.send(Method::POST, &target, &SCHEDULE, "body").await;
    assert_eq!(set.expect(200), json!({"scheduleId": "s"}));
    let schedule = world.get("/v2/schedules/s").await.expect(200);
    let expected = json!({
        "destination": NOWHERE, "cron": SCHEDULE[0].1, "delay": 90, "timeout": 5, "retries": 3, "queueName": "q",
        "label": "l", "body": "body", "callerIP": "127.0.0.1", "isPaused": false,
    });
    assert_has(&schedule, &expected);
    assert!(schedule["nextScheduleTime"].is_i64(), "{schedule}");
    assert_eq!(schedule.get("lastScheduleStates"), None);
    for method in [Method::PATCH, Method::POST] {
        for (action, is_paused) in [("pause", true), ("resume", false)] {
            let target = format!("/v2/schedules/s/{action}");
            world.order(method.clone(), &target).await;
            let schedule = world.get("/v2/schedules/s").await.expect(200);
            assert_eq!(schedule["isPaused"], is_paused);
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_whose_url_group_is_gone_says_so() {
    let world = World::start().await;
    let body = json!({"endpoints": [{"url": NOWHERE}]}).to_string();
    let target = "/v2/topics/group/endpoints";
    let added = world.send(Method::POST, target, &[], &body).await;
    assert_eq!(added.status, 200);
    let headers = [("upstash-cron", "0 4 * * *"), ("upstash-schedule-id", "s")];
    let set = world.send(Method::POST, "/v2/schedules/group", &headers, "");
    set.await.expect(200);
    let schedule = world.get("/v2/schedules/s").await.expect(200);
    assert_eq!(schedule.get("lastScheduleError"), None);
    world.order(Method::DELETE, "/v2/topics/group").await;
    for target in ["/v2/schedules/s", "/v2/schedules"] {
        let found = world.get(target).await.expect(200);
        let schedule = found.get(0).unwrap_or(&found);
        let error = text(schedule, "lastScheduleError");
        assert!(error.contains("group"), "{error}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_overwritten_by_its_id_and_deleted() {
    let world = World::start().await;
    let target = format!("/v2/schedules/{NOWHERE}");
    let set = |headers: &'static [(&'static str, &'static str)]| {
        let (world, target) = (&world, &target);
        async move { world.send(Method::POST, target, headers, "").await }
    };
    set(&SCHEDULE).await.expect(200);
    set(&[("upstash-cron", "0 4 * * *"), ("upstash-schedule-id", "s")])
        .await
        .expect(200);
    let given = set(&SCHEDULE[..1]).await.expect(200);
    let list = world.get("/v2/schedules").await.expect(200);
    let list = list.as_array().unwrap().iter();
    let ids: Vec<_> = list.map(|one| text(one, "scheduleId")).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&text(&given, "scheduleId")));
    let schedule = world.get("/v2/schedules/s").await.expect(200);
    assert_eq!(schedule["cron"], "0 4 * * *");
    world.order(Method::DELETE, "/v2/schedules/s").await;
    world.get("/v2/schedules/s").await.error(404);
    set(&[("upstash-cron", "x")]).await.error(400);
    set(&[]).await.error(400);
    let no_group = world.send(Method::POST, "/v2/schedules/no-group", &SCHEDULE, "");
    no_group.await.error(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_control_key_is_pinned_and_paused() {
    let world = World::start().await;
    world.get("/v2/flowControl/k").await.error(404);
    let value = "parallelism=2, rate=3, period=1m";
    world
        .publish_later(&[
            ("upstash-flow-control-key", "k"),
            ("upstash-flow-control-value", value),
        ])
        .await;
    let key = world.get("/v2/flowControl/k").await.expect(200);
    assert_has(
        &key,
        &json!({"parallelismMax": 2, "rateMax": 3, "ratePeriod": 60}),
    );
    let order = |action: &'static str| {
        let world = &world;
        async move {
            let target = format!("/v2/flowControl/k/{action}");
            world.order(Method::POST, &target).await;
        }
    };
    order("pin?parallelism=9&rate=8&period=7").await;
    order("pause").await;
    let key = world.get("/v2/flowControl/k").await.expect(200);
    let expected = json!({
        "parallelismMax": 9, "rateMax": 8, "ratePeriod": 7,
        "isPaused": true, "isPinnedParallelism": true, "isPinnedRate": true,
    });
    assert_has(&key, &expected);
    order("unpin?parallelism=true&rate=false").await;
    order("resume").await;
    order("resetRate").await;
    let keys = world.get("/v2/flowControl").await.expect(200);
    let expected = json!({"isPaused": false, "isPinnedParallelism": false, "isPinnedRate": true});
    assert_has(&keys[0], &expected);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_control_key_that_nothing_has_used_can_be_pinned() {
    let world = World::start().await;
    world
        .order(Method::POST, "/v2/flowControl/new%2Fkey/pin?parallelism=4")
        .await;
    let key = world.get("/v2/flowControl/new%2Fkey").await.expect(200);
    let expected = json!({"flowControlKey": "new/key", "parallelismMax": 4});
    assert_has(&key, &expected);
    let (number, period) = ("a whole number from 1 to 1000000", "a time from 1s to 7d");
    for (action, expected) in [
        ("pin?parallelism=x", number),
        ("pin?parallelism=0", number),
        ("pin?rate=1000001", number),
        ("pin?period=soon", period),
        ("pin?rate=1&period=999999999", period),
        ("pin?rate=1&period=500ms", period),
        ("pin?paralelism=1", "paralelism"),
        ("unpin?rate=yes", "true or false"),
    ] {
        let target = format!("/v2/flowControl/k/{action}");
        let error = world.post(&target, "").await.error(400);
        assert!(error.contains(expected), "{action}: {error}");
    }
    let global = world.get("/v2/globalParallelism").await.expect(200);
    assert!(global["parallelismMax"].as_u64().unwrap() > 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys() {
    let world = World::start().await;
    let before = world.get("/v2/keys").await.expect(200);
    let after = world.post("/v2/keys/rotate", "").await.expect(200);
    assert_eq!(after["current"], before["next"]);
    assert_ne!(after["next"], before["next"]);
    assert_eq!(world.get("/v2/keys").await.expect(200), after);
    world.stop().await;
}

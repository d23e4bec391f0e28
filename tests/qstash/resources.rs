//! Queues, URL groups, schedules, flow-control keys and signing keys.

use hyper::Method;
use serde_json::json;

use crate::world::{NOWHERE, World, text};

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
    for body in [
        r#"{"queueName": "a/b"}"#,
        r#"{"queueName": "q", "parallelism": 0}"#,
        r#"{"queue": "q"}"#,
        "x",
    ] {
        world.post("/v2/queues", body).await.error(400);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules() {
    let world = World::start().await;
    let headers = [
        ("upstash-cron", "CRON_TZ=Europe/Berlin 0 3 1 1 *"),
        ("upstash-schedule-id", "s"),
        ("upstash-delay", "90s"),
        ("upstash-queue-name", "q"),
        ("upstash-label", "l"),
        ("upstash-timeout", "5s"),
    ];
    let target = format!("/v2/schedules/{NOWHERE}");
    let set = world
        .send(Method::POST, &target, &headers, "body")
        .await
        .expect(200);
    assert_eq!(set, json!({"scheduleId": "s"}));
    let schedule = world.get("/v2/schedules/s").await.expect(200);
    assert_eq!(
        (&schedule["destination"], &schedule["cron"]),
        (&json!(NOWHERE), &json!(headers[0].1))
    );
    assert_eq!(
        (
            &schedule["delay"],
            &schedule["timeout"],
            &schedule["retries"]
        ),
        (&json!(90), &json!(5), &json!(3))
    );
    assert_eq!(
        (
            &schedule["queueName"],
            &schedule["label"],
            &schedule["body"]
        ),
        (&json!("q"), &json!("l"), &json!("body"))
    );
    assert_eq!(
        (&schedule["callerIP"], &schedule["isPaused"]),
        (&json!("127.0.0.1"), &json!(false))
    );
    assert!(schedule["nextScheduleTime"].is_i64(), "{schedule}");
    assert_eq!(schedule.get("lastScheduleStates"), None);
    for method in [Method::PATCH, Method::POST] {
        for (action, is_paused) in [("pause", true), ("resume", false)] {
            let target = format!("/v2/schedules/s/{action}");
            assert_eq!(
                world.send(method.clone(), &target, &[], "").await.status,
                200
            );
            assert_eq!(
                world.get("/v2/schedules/s").await.expect(200)["isPaused"],
                is_paused
            );
        }
    }
    let overwrite = [("upstash-cron", "0 4 * * *"), ("upstash-schedule-id", "s")];
    world
        .send(Method::POST, &target, &overwrite, "")
        .await
        .expect(200);
    let given = world
        .send(Method::POST, &target, &overwrite[..1], "")
        .await
        .expect(200);
    let ids: Vec<_> = world
        .get("/v2/schedules")
        .await
        .expect(200)
        .as_array()
        .unwrap()
        .iter()
        .map(|one| text(one, "scheduleId"))
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&text(&given, "scheduleId")));
    assert_eq!(
        world.get("/v2/schedules/s").await.expect(200)["cron"],
        "0 4 * * *"
    );
    assert_eq!(world.delete("/v2/schedules/s").await.status, 200);
    world.get("/v2/schedules/s").await.error(404);
    world
        .send(Method::POST, &target, &[("upstash-cron", "x")], "")
        .await
        .error(400);
    world.post(&target, "").await.error(400);
    world
        .send(Method::POST, "/v2/schedules/no-group", &overwrite, "")
        .await
        .error(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flow_control() {
    let world = World::start().await;
    world.get("/v2/flowControl/k").await.error(404);
    world
        .publish_later(&[
            ("upstash-flow-control-key", "k"),
            (
                "upstash-flow-control-value",
                "parallelism=2, rate=3, period=1m",
            ),
        ])
        .await;
    let key = world.get("/v2/flowControl/k").await.expect(200);
    assert_eq!(
        (&key["parallelismMax"], &key["rateMax"], &key["ratePeriod"]),
        (&json!(2), &json!(3), &json!(60))
    );
    assert_eq!(
        world
            .post("/v2/flowControl/k/pin?parallelism=9&rate=8&period=7", "")
            .await
            .status,
        200
    );
    assert_eq!(world.post("/v2/flowControl/k/pause", "").await.status, 200);
    let key = world.get("/v2/flowControl/k").await.expect(200);
    assert_eq!(
        (&key["parallelismMax"], &key["rateMax"], &key["ratePeriod"]),
        (&json!(9), &json!(8), &json!(7))
    );
    for name in ["isPaused", "isPinnedParallelism", "isPinnedRate"] {
        assert_eq!(key[name], true, "{name}");
    }
    assert_eq!(
        world
            .post("/v2/flowControl/k/unpin?parallelism=true&rate=false", "")
            .await
            .status,
        200
    );
    assert_eq!(world.post("/v2/flowControl/k/resume", "").await.status, 200);
    assert_eq!(
        world.post("/v2/flowControl/k/resetRate", "").await.status,
        200
    );
    let key = &world.get("/v2/flowControl").await.expect(200)[0];
    assert_eq!(
        (
            &key["isPaused"],
            &key["isPinnedParallelism"],
            &key["isPinnedRate"]
        ),
        (&json!(false), &json!(false), &json!(true))
    );
    for query in [
        "parallelism=x",
        "parallelism=0",
        "period=soon",
        "paralelism=1",
    ] {
        world
            .post(&format!("/v2/flowControl/k/pin?{query}"), "")
            .await
            .error(400);
    }
    world
        .post("/v2/flowControl/k/unpin?rate=yes", "")
        .await
        .error(400);
    // A key that nothing has used can be pinned and is shown.
    assert_eq!(
        world
            .post("/v2/flowControl/new%2Fkey/pin?parallelism=4", "")
            .await
            .status,
        200
    );
    let key = world.get("/v2/flowControl/new%2Fkey").await.expect(200);
    assert_eq!(
        (&key["flowControlKey"], &key["parallelismMax"]),
        (&json!("new/key"), &json!(4))
    );
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

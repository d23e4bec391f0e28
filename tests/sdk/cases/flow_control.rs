//! Flow control: how many with one key at a time and in a period, and the levers on it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Sdk, js, py};
use crate::world::World;

for_each_sdk!(
    parallelism_holds_back_what_is_too_much,
    a_rate_spreads_messages_over_its_periods,
    a_paused_key_holds_its_messages,
    a_pinned_configuration_wins_over_the_messages,
    a_reset_rate_lets_the_next_message_go,
    everything_in_flight_is_counted,
);

async fn parallelism_holds_back_what_is_too_much(sdk: Sdk) {
    let world = World::start(sdk).await;
    for number in 0..3 {
        publish(
            &world,
            &format!("/gate/g/{number}"),
            json!({"key": "k", "parallelism": 1}),
        )
        .await;
    }
    world
        .sink
        .until("the first", |all| (!all.is_empty()).then_some(()))
        .await;
    let info = world
        .eventually("two that wait", async || {
            let info = get(&world, "k").await;
            (info["waitListSize"] == 2).then_some(info)
        })
        .await;
    assert_eq!(
        (&info["parallelismMax"], &info["parallelismCount"]),
        (&json!(1), &json!(1)),
        "{info}"
    );
    assert_eq!(info["flowControlKey"], "k");
    // Another key goes on.
    publish(
        &world,
        "/ok/other",
        json!({"key": "other", "parallelism": 1}),
    )
    .await;
    world.sink.delivery("/ok/other").await;
    assert_eq!(world.sink.all().len(), 2);
    world.sink.open("g");
    world
        .sink
        .until("all", |all| (all.len() == 4).then_some(()))
        .await;
}

async fn a_rate_spreads_messages_over_its_periods(sdk: Sdk) {
    let world = World::start(sdk).await;
    for _ in 0..5 {
        publish(&world, "/ok", json!({"key": "k", "rate": 2, "period": 1})).await;
    }
    let came = world.sink.deliveries("/ok", 5).await;
    // Two in each second: the fifth comes two periods behind the first, and at most a period's begin earlier.
    assert!(
        came[4].at.duration_since(came[0].at) >= Duration::from_secs(1),
        "five came in one period"
    );
    let info = get(&world, "k").await;
    assert_eq!(
        (&info["rateMax"], &info["ratePeriod"]),
        (&json!(2), &json!(1)),
        "{info}"
    );
}

async fn a_paused_key_holds_its_messages(sdk: Sdk) {
    let world = World::start(sdk).await;
    lever(&world, "pause", "k").await;
    assert_eq!(get(&world, "k").await["isPaused"], true);
    publish(&world, "/ok", json!({"key": "k", "parallelism": 10})).await;
    world.barrier("paused").await;
    assert_eq!(world.sink.count("/ok"), 0);
    world
        .eventually("one that waits", async || {
            (get(&world, "k").await["waitListSize"] == 1).then_some(())
        })
        .await;
    lever(&world, "resume", "k").await;
    world.sink.delivery("/ok").await;
    assert_eq!(get(&world, "k").await["isPaused"], false);
}

async fn a_pinned_configuration_wins_over_the_messages(sdk: Sdk) {
    let world = World::start(sdk).await;
    let pin = json!({"parallelism": 1, "rate": 100, "period": 60});
    let python = json!({"flow_control_key": "k", "options": pin});
    world
        .client
        .call(
            py("flow_control.pin", python),
            js("flowControl.pin", json!(["k", pin])),
        )
        .await;
    let info = get(&world, "k").await;
    for (name, value) in [
        ("parallelismMax", json!(1)),
        ("rateMax", json!(100)),
        ("ratePeriod", json!(60)),
        ("isPinnedParallelism", json!(true)),
        ("isPinnedRate", json!(true)),
    ] {
        assert_eq!(info[name], value, "{name} of {info:#}");
    }
    for number in 0..2 {
        publish(
            &world,
            &format!("/gate/g/{number}"),
            json!({"key": "k", "parallelism": 5}),
        )
        .await;
    }
    world
        .sink
        .until("the first", |all| (!all.is_empty()).then_some(()))
        .await;
    world.barrier("pinned").await;
    assert_eq!(world.sink.all().len(), 2, "one and the barrier");
    let unpin = json!({"parallelism": true});
    let python = json!({"flow_control_key": "k", "options": unpin});
    world
        .client
        .call(
            py("flow_control.unpin", python),
            js("flowControl.unpin", json!(["k", unpin])),
        )
        .await;
    let info = get(&world, "k").await;
    assert_eq!(
        (&info["isPinnedParallelism"], &info["isPinnedRate"]),
        (&json!(false), &json!(true)),
        "{info}"
    );
    // A message's own configuration is heard again.
    publish(&world, "/gate/g/2", json!({"key": "k", "parallelism": 5})).await;
    world
        .sink
        .until("all", |all| (all.len() == 4).then_some(()))
        .await;
}

async fn a_reset_rate_lets_the_next_message_go(sdk: Sdk) {
    let world = World::start(sdk).await;
    for target in ["/ok/1", "/ok/2"] {
        publish(
            &world,
            target,
            json!({"key": "k", "rate": 1, "period": "1d"}),
        )
        .await;
    }
    world
        .sink
        .until("the first", |all| (!all.is_empty()).then_some(()))
        .await;
    world.barrier("behind").await;
    assert_eq!(world.sink.all().len(), 2, "one and the barrier");
    assert_eq!(get(&world, "k").await["rateCount"], 1);
    lever(&world, "resetRate", "k").await;
    world
        .sink
        .until("the second", |all| (all.len() == 3).then_some(()))
        .await;
}

async fn everything_in_flight_is_counted(sdk: Sdk) {
    let world = World::start(sdk).await;
    let in_flight = async || {
        let call = (
            py("flow_control.get_global_parallelism", json!({})),
            js("flowControl.getGlobalParallelism", json!([])),
        );
        world.client.call(call.0, call.1).await
    };
    let before = in_flight().await;
    assert_eq!(before["parallelismCount"], 0);
    assert!(before["parallelismMax"].as_u64() > Some(0), "{before}");
    world
        .client
        .publish(json!({"url": world.url("/gate/g"), "body": "b"}))
        .await;
    world.sink.delivery("/gate/g").await;
    assert_eq!(in_flight().await["parallelismCount"], 1);
    world.sink.open("g");
    world
        .eventually("the end", async || {
            (in_flight().await["parallelismCount"] == 0).then_some(())
        })
        .await;
}

async fn publish(world: &World, target: &str, flow_control: Value) {
    world
        .client
        .publish(json!({"url": world.url(target), "body": "b", "flow_control": flow_control}))
        .await;
}

async fn get(world: &World, key: &str) -> Value {
    let call = (
        py("flow_control.get", json!({"flow_control_key": key})),
        js("flowControl.get", json!([key])),
    );
    world.client.call(call.0, call.1).await
}

async fn lever(world: &World, what: &str, key: &str) {
    let python = json!({"flow_control_key": key});
    let javascript = json!([key]);
    let call = match what {
        "pause" => (
            py("flow_control.pause", python),
            js("flowControl.pause", javascript),
        ),
        "resume" => (
            py("flow_control.resume", python),
            js("flowControl.resume", javascript),
        ),
        _ => (
            py("flow_control.reset_rate", python),
            js("flowControl.resetRate", javascript),
        ),
    };
    world.client.call(call.0, call.1).await;
}

//! Retries: how often a message is tried, when, and what its destination may say about that.

use std::time::Duration;

use serde_json::json;

use crate::client::Sdk;
use crate::messages::id;
use crate::world::World;

for_each_sdk!(
    a_failed_attempt_is_repeated_until_it_succeeds,
    a_message_out_of_retries_is_dead,
    the_retry_delay_is_an_expression,
    the_destination_says_when_to_come_again,
    an_attempt_ends_at_its_timeout,
    an_answer_without_end_ends_at_the_timeout,
    a_final_error_is_not_retried,
    a_redirect_is_not_followed,
);

async fn a_failed_attempt_is_repeated_until_it_succeeds(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message =
        json!({"url": world.url("/fail-n/2"), "body": "b", "retries": 5, "retry_delay": "10"});
    let answer = world.client.publish(message).await;
    let attempts = world.sink.deliveries("/fail-n/2", 3).await;
    world.barrier("behind").await;
    assert_eq!(world.sink.count("/fail-n/2"), 3);
    for (retried, attempt) in (0..).zip(&attempts) {
        assert_eq!(attempt.retried(), retried);
        assert_eq!(attempt.id(), id(&answer));
        assert_eq!(attempt.text(), "b");
    }
}

async fn a_message_out_of_retries_is_dead(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message =
        json!({"url": world.url("/fail/503"), "body": "b", "retries": 2, "retry_delay": "10"});
    let answer = world.client.publish(message).await;
    let letter = world.dead(1).await.swap_remove(0);
    assert_eq!(letter["messageId"], id(&answer));
    assert_eq!(letter["responseStatus"], 503);
    assert_eq!(letter["responseBody"], "answered 503");
    assert_eq!(world.sink.count("/fail/503"), 3);
}

async fn the_retry_delay_is_an_expression(sdk: Sdk) {
    let world = World::start(sdk).await;
    let delay = "max(100, 300 * retried)";
    let message =
        json!({"url": world.url("/fail-n/3"), "body": "b", "retries": 3, "retry_delay": delay});
    world.client.publish(message).await;
    let attempts = world.sink.deliveries("/fail-n/3", 4).await;
    for (pair, least) in attempts.windows(2).zip([100, 300, 600]) {
        let waited = pair[1].at.duration_since(pair[0].at);
        assert!(
            waited >= Duration::from_millis(least),
            "{waited:?} is less than {least} ms"
        );
    }
}

async fn the_destination_says_when_to_come_again(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message =
        json!({"url": world.url("/retry-after/1"), "body": "b", "retries": 1, "retry_delay": "10"});
    world.client.publish(message).await;
    let attempts = world.sink.deliveries("/retry-after/1", 2).await;
    assert!(attempts[1].at.duration_since(attempts[0].at) >= Duration::from_secs(1));
}

async fn an_attempt_ends_at_its_timeout(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({"url": world.url("/hang-n/1"), "body": "b", "timeout": 1, "retries": 1, "retry_delay": "10"});
    world.client.publish(message).await;
    let attempts = world.sink.deliveries("/hang-n/1", 2).await;
    assert!(attempts[1].at.duration_since(attempts[0].at) >= Duration::from_secs(1));
    assert_eq!(attempts[1].retried(), 1);
}

async fn an_answer_without_end_ends_at_the_timeout(sdk: Sdk) {
    let world = World::start(sdk).await;
    for target in ["/drip", "/endless"] {
        world.fail(target, json!({"timeout": "1s"})).await;
    }
    // Meanwhile others get their messages.
    world.barrier("meanwhile").await;
    world.sink.delivery("/drip").await;
    world.sink.delivery("/endless").await;
    // Neither goes on for ever: each comes to an end, and its message with it.
    world
        .eventually("the end of both", async || {
            let (_, global) = world
                .broker
                .request("GET", "/v2/globalParallelism", &[])
                .await;
            (global["parallelismCount"] == 0).then_some(())
        })
        .await;
}

async fn a_final_error_is_not_retried(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message =
        json!({"url": world.url("/nonretryable"), "body": "b", "retries": 5, "retry_delay": "10"});
    world.client.publish(message).await;
    let letter = world.dead(1).await.swap_remove(0);
    assert_eq!(letter["responseStatus"], 489);
    assert_eq!(world.sink.count("/nonretryable"), 1);
    // 489 alone is a failure as any other.
    world
        .client
        .publish(
            json!({"url": world.url("/fail/489"), "body": "b", "retries": 1, "retry_delay": "10"}),
        )
        .await;
    world.dead(2).await;
    assert_eq!(world.sink.count("/fail/489"), 2);
}

async fn a_redirect_is_not_followed(sdk: Sdk) {
    let world = World::start(sdk).await;
    world.fail("/redirect", json!({})).await;
    let letter = world.dead(1).await.swap_remove(0);
    assert_eq!(letter["responseStatus"], 302);
    assert_eq!(world.sink.count("/ok/redirected"), 0);
}

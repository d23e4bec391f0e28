//! Publishing: what reaches the destination, when, and how often.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::client::{KEYS, Sdk};
use crate::messages::id;
use crate::world::{World, now_ms};

for_each_sdk!(
    a_message_arrives_with_its_method_headers_and_bytes,
    json_arrives_as_json,
    a_message_without_a_body_arrives_empty,
    a_delayed_message_does_not_come_early,
    not_before_wins_over_delay,
    a_duplicate_is_not_delivered_again,
    equal_content_is_not_delivered_again,
    a_redacted_message_is_delivered_whole,
    deliveries_are_signed_for_their_destination,
    an_llm_provider_with_an_address_is_plain_http,
);

async fn a_message_arrives_with_its_method_headers_and_bytes(sdk: Sdk) {
    let world = World::start(sdk).await;
    // The destination keeps its slashes, its escapes and its query.
    let target = "/ok//a%2Fb/?x=y&z=%20&q=a+b";
    let message = json!({
        "url": world.url(target),
        "body": {"$base64": "/wAB/g=="},
        "method": "PUT",
        "headers": {"X-Test": "one, two", "Authorization": "Bearer of the destination"},
        "content_type": "application/octet-stream",
        "label": "label",
        "retries": 0,
    });
    let answer = world.client.publish(message).await;
    let delivery = world.sink.delivery(target).await;
    assert_eq!(delivery.method, "PUT");
    assert_eq!(&delivery.body[..], [0xFF, 0, 1, 0xFE]);
    assert_eq!(delivery.header("x-test"), "one, two");
    assert_eq!(
        delivery.header("authorization"),
        "Bearer of the destination"
    );
    assert_eq!(delivery.header("content-type"), "application/octet-stream");
    assert_eq!(delivery.header("user-agent"), "Upstash-QStash");
    assert_eq!(delivery.id(), id(&answer));
    assert_eq!(delivery.header("upstash-retried"), "0");
    assert_eq!(delivery.header("upstash-caller-ip"), "127.0.0.1");
    assert!(!delivery.header("upstash-signature").is_empty());
    // What was meant for the broker, and what the client's HTTP library adds, stays behind.
    for name in delivery
        .headers
        .keys()
        .map(hyper::header::HeaderName::as_str)
    {
        let is_left_over = name.starts_with("upstash-forward-")
            || name.starts_with("upstash-telemetry-")
            || name.starts_with("sec-")
            || [
                "upstash-method",
                "upstash-label",
                "upstash-retries",
                "accept-language",
            ]
            .contains(&name);
        assert!(!is_left_over, "{name} reached the destination");
    }
}

async fn json_arrives_as_json(sdk: Sdk) {
    let world = World::start(sdk).await;
    let body = json!({"text": "\u{e4}\u{1f980}", "list": [1, null, true]});
    let answer = world
        .client
        .publish_json(json!({"url": world.url("/ok"), "body": body}))
        .await;
    let delivery = world.sink.delivery("/ok").await;
    assert_eq!(delivery.method, "POST");
    assert_eq!(delivery.header("content-type"), "application/json");
    assert_eq!(delivery.json(), body);
    assert_eq!(delivery.id(), id(&answer));
}

async fn a_message_without_a_body_arrives_empty(sdk: Sdk) {
    let world = World::start(sdk).await;
    world
        .client
        .publish(json!({"url": world.url("/ok"), "method": "GET"}))
        .await;
    let delivery = world.sink.delivery("/ok").await;
    assert_eq!((delivery.method.as_str(), delivery.body.len()), ("GET", 0));
}

async fn a_delayed_message_does_not_come_early(sdk: Sdk) {
    let world = World::start(sdk).await;
    let before = Instant::now();
    world
        .client
        .publish(json!({"url": world.url("/ok/later"), "body": "1", "delay": 1}))
        .await;
    world
        .client
        .publish(json!({"url": world.url("/ok/now"), "body": "2"}))
        .await;
    let later = world.sink.delivery("/ok/later").await;
    assert!(later.at.duration_since(before) >= Duration::from_secs(1));
    assert!(world.sink.delivery("/ok/now").await.at < later.at);
}

async fn not_before_wins_over_delay(sdk: Sdk) {
    let world = World::start(sdk).await;
    let due = now_ms() / 1_000 + 2;
    let message = json!({"url": world.url("/ok"), "body": "", "not_before": due, "delay": "1d"});
    let answer = world.client.publish(message).await;
    world.sink.delivery("/ok").await;
    assert!(now_ms() >= due * 1_000, "{} came too early", id(&answer));
}

async fn a_duplicate_is_not_delivered_again(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message =
        |body: &str| json!({"url": world.url("/ok"), "body": body, "deduplication_id": "the one"});
    let first = world.client.publish(message("first")).await;
    let second = world.client.publish(message("second")).await;
    assert_ne!(first["deduplicated"], true);
    assert_eq!(second["deduplicated"], true);
    assert_eq!(id(&second), id(&first));
    world.barrier("behind").await;
    assert_eq!(world.sink.delivery("/ok").await.text(), "first");
    assert_eq!(world.sink.count("/ok"), 1);
}

async fn equal_content_is_not_delivered_again(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = |body: &str, header: &str| json!({"url": world.url("/ok"), "body": body, "headers": {"X-Kind": header}, "content_based_deduplication": true});
    let first = world.client.publish(message("same", "a")).await;
    assert_eq!(
        id(&world.client.publish(message("same", "a")).await),
        id(&first)
    );
    // Another body or another header is another message.
    assert_ne!(
        id(&world.client.publish(message("other", "a")).await),
        id(&first)
    );
    assert_ne!(
        id(&world.client.publish(message("same", "b")).await),
        id(&first)
    );
    world.sink.deliveries("/ok", 3).await;
    world.barrier("behind").await;
    assert_eq!(world.sink.count("/ok"), 3);
}

async fn a_redacted_message_is_delivered_whole(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "url": world.url("/fail/500"),
        "body": "secret body",
        "headers": {"X-Secret": "secret header", "X-Open": "open header"},
        "redact": {"body": true, "header": ["X-Secret"]},
        "retries": 0,
    });
    world.client.publish(message).await;
    let delivery = world.sink.delivery("/fail/500").await;
    assert_eq!(delivery.text(), "secret body");
    assert_eq!(delivery.header("x-secret"), "secret header");
    let letter = world.dead(1).await.swap_remove(0);
    let digest = Sha256::digest("secret body");
    let mut redacted = "REDACTED:".to_owned();
    for byte in digest {
        write!(redacted, "{byte:02x}").unwrap();
    }
    assert_eq!(letter["body"], redacted);
    let text = letter.to_string();
    assert!(
        !text.contains("secret body") && !text.contains("secret header"),
        "{text}"
    );
    assert!(text.contains("open header"), "{text}");
}

async fn deliveries_are_signed_for_their_destination(sdk: Sdk) {
    let world = World::start(sdk).await;
    let target = "/ok/a?b=c";
    world
        .client
        .publish_json(json!({"url": world.url(target), "body": {"a": "\u{e4}"}}))
        .await;
    let delivery = world.sink.delivery(target).await;
    let signed = delivery.signed(&world.url(target));
    world.client.verify(KEYS, &signed).await.unwrap();
    // The receiver does look: another body, another address, another key are refused.
    let changes = [("body", json!("{}")), ("url", json!(world.url("/ok")))];
    for (name, value) in changes {
        let mut wrong = signed.clone();
        wrong[name] = value;
        let error = world.client.verify(KEYS, &wrong).await.unwrap_err();
        assert_eq!(error.kind, "SignatureError", "{error:?}");
    }
    assert!(
        world
            .client
            .verify(["sig_a", "sig_b"], &signed)
            .await
            .is_err()
    );
}

async fn an_llm_provider_with_an_address_is_plain_http(sdk: Sdk) {
    let world = World::start(sdk).await;
    let message = json!({
        "api": {"$llm": [world.url("/ok"), "token of the provider"]},
        "body": {"model": "m", "messages": []},
        "callback": world.url("/ok/callback"),
    });
    world.client.publish_json(message).await;
    let delivery = world.sink.delivery("/ok/v1/chat/completions").await;
    assert_eq!(
        delivery.header("authorization"),
        "Bearer token of the provider"
    );
    assert_eq!(delivery.json()["model"], "m");
    world.sink.delivery("/ok/callback").await;
}

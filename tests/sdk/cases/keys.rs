//! Signing keys: reading them, rotating them, and receivers that hold old or new ones.

use serde_json::{Value, json};

use crate::client::{KEYS, Sdk, js, py};
use crate::world::World;

for_each_sdk!(a_rotated_key_signs_and_old_receivers_still_verify);

async fn a_rotated_key_signs_and_old_receivers_still_verify(sdk: Sdk) {
    let world = World::start(sdk).await;
    if sdk.is_python() {
        let keys = world
            .client
            .call(py("signing_key.get", json!({})), js("none", json!([])))
            .await;
        assert_eq!(
            (&keys["current"], &keys["next"]),
            (&json!(KEYS[0]), &json!(KEYS[1]))
        );
    }
    let rotated = rotate(&world).await;
    assert_eq!(
        rotated["current"], KEYS[1],
        "the next key becomes the current one"
    );
    assert_ne!(rotated["next"], KEYS[0]);
    assert_ne!(rotated["next"], KEYS[1]);
    world
        .client
        .publish(json!({"url": world.url("/ok"), "body": "b"}))
        .await;
    let signed = world.sink.delivery("/ok").await.signed(&world.url("/ok"));
    // A receiver with the keys from before knows the key as its next one.
    world.client.verify(KEYS, &signed).await.unwrap();
    let now = [
        rotated["current"].as_str().unwrap(),
        rotated["next"].as_str().unwrap(),
    ];
    world.client.verify(now, &signed).await.unwrap();
    let again = rotate(&world).await;
    assert_eq!(again["current"], rotated["next"]);
    world
        .client
        .publish(json!({"url": world.url("/ok/2"), "body": "b"}))
        .await;
    let signed = world
        .sink
        .delivery("/ok/2")
        .await
        .signed(&world.url("/ok/2"));
    let error = world.client.verify(KEYS, &signed).await.unwrap_err();
    assert_eq!(error.kind, "SignatureError");
    world.client.verify(now, &signed).await.unwrap();
}

/// Only one client rotates; the other's users do so over HTTP.
async fn rotate(world: &World) -> Value {
    if world.client.sdk.is_python() {
        return world
            .client
            .call(py("signing_key.rotate", json!({})), js("none", json!([])))
            .await;
    }
    let (status, keys) = world.broker.request("POST", "/v2/keys/rotate", &[]).await;
    assert_eq!(status, 200, "{keys}");
    keys
}

//! Development mode of the TypeScript client: it finds a running broker by itself, with the public credentials, and uses it.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::interpreter::Interpreter;
use crate::sink::Sink;

/// Where the client looks when nobody has said otherwise, and where the broker serves by default.
const DEFAULT: &str = "127.0.0.1:8080";

async fn call(interpreter: &Interpreter, call: &str, args: Value) -> Value {
    let mut answer = interpreter.call(json!({"call": call, "args": args})).await;
    assert!(answer.get("error").is_none(), "{call}: {answer}");
    answer["ok"].take()
}

/// The client finds the broker at `port`, publishes through it, and verifies what comes.
async fn finds_and_uses(broker: &Broker, port: Option<u16>) {
    // Which server was found is remembered for as long as the program runs: each test has its own.
    let interpreter = Interpreter::javascript();
    let sink = Sink::start().await;
    let message = json!({"url": sink.url("/ok"), "body": "found"});
    let answer = call(
        &interpreter,
        "development.publish",
        json!({"port": port, "message": message}),
    )
    .await;
    let delivery = sink.delivery("/ok").await;
    assert_eq!(delivery.id(), answer["messageId"].as_str().unwrap());
    assert_eq!(
        call(
            &interpreter,
            "development.verify",
            delivery.signed(&sink.url("/ok"))
        )
        .await,
        true
    );
    let (status, keys) = broker.request("GET", "/v2/keys", &[]).await;
    assert_eq!(status, 200, "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_mode_finds_a_running_broker() {
    let broker = Broker::start(&[]).await;
    let port = broker.http.rsplit(':').next().unwrap().parse().unwrap();
    finds_and_uses(&broker, Some(port)).await;
}

/// Nothing is configured on either side. Where the port is taken, by a broker that somebody uses, it is at least the one that both sides mean.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_mode_and_the_broker_have_the_same_default() {
    let interpreter = Interpreter::javascript();
    let url = call(&interpreter, "development.url", json!({})).await;
    assert_eq!(url, format!("http://{DEFAULT}"));
    let keys = redrive::config::KEYS;
    let key = keys.iter().find(|key| key.name == "http").unwrap();
    assert_eq!(key.default, DEFAULT);
    if TcpListener::bind(DEFAULT).is_ok() {
        let broker = Broker::start_at(DEFAULT, &[]).await;
        finds_and_uses(&broker, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_mode_does_not_take_a_broker_with_a_token_of_its_own() {
    let broker = Broker::start(&["token=my-own-token"]).await;
    let port: u16 = broker.http.rsplit(':').next().unwrap().parse().unwrap();
    let interpreter = Interpreter::javascript();
    let args = json!({"port": port, "message": {"url": "http://127.0.0.1:1/", "body": ""}});
    let answer = interpreter
        .call(json!({"call": "development.publish", "args": args}))
        .await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("has not found the broker"), "{answer}");
}

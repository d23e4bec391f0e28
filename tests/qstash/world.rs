//! A broker and requests with its token.

use hyper::Method;
use serde_json::Value;

use crate::harness::{Answered, Broker};

pub(crate) const TOKEN: &str = "s3cret";

/// A URL that nothing is behind: an attempt ends at once.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1/a//b?c=d";

/// A broker that takes one token.
pub(crate) struct World {
    pub(crate) broker: Broker,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(keys: &[(&str, &str)]) -> Self {
        let mut all = vec![("token", TOKEN)];
        all.extend(keys);
        Self {
            broker: Broker::start_with(&all).await,
        }
    }

    pub(crate) async fn stop(self) {
        self.broker.stop().await;
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let bearer = format!("Bearer {TOKEN}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        self.broker.send(method, target, &all, body).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answered {
        self.send(Method::GET, target, &[], "").await
    }

    pub(crate) async fn post(&self, target: &str, body: &str) -> Answered {
        self.send(Method::POST, target, &[], body).await
    }

    /// Sends a request without a body that is answered by one without a body.
    pub(crate) async fn order(&self, method: Method, target: &str) {
        let answer = self.send(method, target, &[], "").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{target}");
    }

    pub(crate) async fn delete(&self, target: &str) -> Answered {
        self.send(Method::DELETE, target, &[], "").await
    }

    /// Publishes a message that is not delivered for an hour, and returns its id.
    pub(crate) async fn publish_later(&self, headers: &[(&str, &str)]) -> String {
        let mut all = vec![("upstash-delay", "1h")];
        all.extend(headers);
        let target = format!("/v2/publish/{NOWHERE}");
        let answer = self.send(Method::POST, &target, &all, "body").await;
        text(&answer.expect(200), "messageId")
    }

    /// Publishes a message that dies at its first attempt, waits for its dead letter, and returns it.
    pub(crate) async fn dead(&self, headers: &[(&str, &str)]) -> Value {
        let mut all = vec![("upstash-retries", "0")];
        all.extend(headers);
        let target = format!("/v2/publish/{NOWHERE}");
        let answer = self.send(Method::POST, &target, &all, "body").await;
        let id = text(&answer.expect(200), "messageId");
        loop {
            let page = self
                .get(&format!("/v2/dlq?messageId={id}"))
                .await
                .expect(200);
            if let Some(letter) = page["messages"].as_array().unwrap().first() {
                return letter.clone();
            }
            // The attempt ends by itself; the test's own time limit is the only one.
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
        .to_owned()
}

/// Checks that a value has these members.
#[track_caller]
pub(crate) fn assert_has(value: &Value, members: &Value) {
    for (name, expected) in members.as_object().unwrap() {
        assert_eq!(value.get(name), Some(expected), "{name} of {value}");
    }
}

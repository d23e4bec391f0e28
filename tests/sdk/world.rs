//! What most tests begin with: a broker, a destination, a client.

use std::time::Duration;

use redrive::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::client::{Client, Sdk, js, py};
use crate::sink::Sink;

/// No test waits longer than this for anything: it is what makes a hang a failure. A schedule's next minute lies within it.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits, but not for ever.
pub(crate) async fn bounded<F: Future>(what: &str, future: F) -> F::Output {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("{what}: nothing after {PATIENCE:?}"))
}

/// A broker of its own, a destination, and the client under test.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) broker: Broker,
    pub(crate) sink: Sink,
}

impl World {
    pub(crate) async fn start(sdk: Sdk) -> Self {
        Self::with(sdk, Sink::start().await).await
    }

    pub(crate) async fn with(sdk: Sdk, sink: Sink) -> Self {
        let broker = Broker::start(&[]).await;
        let client = Client::new(sdk, &broker.url());
        Self {
            client,
            broker,
            sink,
        }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        self.sink.url(target)
    }

    /// Publishes a message that comes behind all that is due now, and waits for it: what has not come by then does not come.
    pub(crate) async fn barrier(&self, name: &str) {
        let target = format!("/ok/barrier/{name}");
        self.client
            .publish(json!({"url": self.url(&target), "body": name}))
            .await;
        self.sink.delivery(&target).await;
    }

    /// Publishes one message that dies at its first attempt.
    pub(crate) async fn fail(&self, target: &str, changes: Value) -> String {
        let mut message = json!({"url": self.url(target), "body": target, "retries": 0});
        message
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        crate::messages::id(&self.client.publish(message).await)
    }

    /// Lists dead letters in the clients' words: the filter is said in both.
    pub(crate) async fn dead_letters(&self, python: Value, javascript: Value) -> Vec<Value> {
        let list = self
            .client
            .call(py("dlq.list", python), js("dlq.listMessages", javascript))
            .await;
        list["messages"].as_array().unwrap().clone()
    }

    pub(crate) async fn all_dead_letters(&self) -> Vec<Value> {
        self.dead_letters(json!({}), json!([])).await
    }

    /// Waits until exactly as many dead letters stand there.
    pub(crate) async fn dead(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} dead letters");
        let letters = self
            .eventually(&what, async || {
                let letters = self.all_dead_letters().await;
                (letters.len() >= count).then_some(letters)
            })
            .await;
        assert_eq!(letters.len(), count, "{letters:#?}");
        letters
    }

    /// Asks again until the answer is as it must become: no client offers to wait for it.
    pub(crate) async fn eventually<T>(
        &self,
        what: &str,
        mut ask: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let asking = async {
            loop {
                if let Some(found) = ask().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        bounded(what, asking).await
    }
}

/// The number in an answer: the Python client returns it bare, the other in an object.
#[track_caller]
pub(crate) fn count(answer: &Value, name: &str) -> u64 {
    let number = answer.as_u64().or_else(|| answer[name].as_u64());
    number.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemClock::new().now().0).unwrap()
}

//! Publishing in the words of both clients: a message is said once, as the Python client's keyword arguments, and turned into a request of the other.

use serde_json::{Map, Value, json};

use crate::client::{Client, js, js_queue, py};

impl Client {
    pub(crate) async fn publish(&self, message: Value) -> Value {
        let request = json!([request(&message)]);
        self.call(py("message.publish", message), js("publish", request))
            .await
    }

    pub(crate) async fn publish_json(&self, message: Value) -> Value {
        let request = json!([request(&message)]);
        self.call(
            py("message.publish_json", message),
            js("publishJSON", request),
        )
        .await
    }

    pub(crate) async fn enqueue(&self, queue: &str, mut message: Value) -> Value {
        let request = js_queue("queue.enqueue", queue, json!([request(&message)]));
        message["queue"] = queue.into();
        self.call(py("message.enqueue", message), request).await
    }

    pub(crate) async fn enqueue_json(&self, queue: &str, mut message: Value) -> Value {
        let request = js_queue("queue.enqueueJSON", queue, json!([request(&message)]));
        message["queue"] = queue.into();
        self.call(py("message.enqueue_json", message), request)
            .await
    }

    pub(crate) async fn batch(&self, messages: Value) -> Value {
        let requests = requests(&messages);
        let messages = json!({"messages": messages});
        self.call(py("message.batch", messages), js("batch", requests))
            .await
    }

    pub(crate) async fn batch_json(&self, messages: Value) -> Value {
        let requests = requests(&messages);
        let messages = json!({"messages": messages});
        self.call(
            py("message.batch_json", messages),
            js("batchJSON", requests),
        )
        .await
    }

    /// Publishes with a deduplication id and says what became of it: the message may or may not have been taken when that fails.
    pub(crate) async fn try_publish(
        &self,
        message: Value,
    ) -> Result<Value, crate::client::SdkError> {
        let request = json!([request(&message)]);
        self.attempt(py("message.publish", message), js("publish", request))
            .await
    }
}

fn requests(messages: &Value) -> Value {
    let messages = messages.as_array().unwrap();
    json!([messages.iter().map(request).collect::<Vec<_>>()])
}

/// Turns keyword arguments of the Python client into a request of the TypeScript client.
fn request(message: &Value) -> Value {
    let mut request = Map::new();
    let mut headers = Map::new();
    for (name, value) in message.as_object().unwrap() {
        match name.as_str() {
            "headers" => headers.extend(value.as_object().unwrap().clone()),
            "content_type" => {
                headers.insert("Content-Type".to_owned(), value.clone());
            }
            // This client has no argument for them: they are headers of the message.
            "callback_headers" => headers.extend(prefixed("Upstash-Callback-", value)),
            "failure_callback_headers" => {
                headers.extend(prefixed("Upstash-Failure-Callback-", value));
            }
            "queue" => {
                request.insert("queueName".to_owned(), value.clone());
            }
            name => {
                request.insert(camel(name), value.clone());
            }
        }
    }
    if !headers.is_empty() {
        request.insert("headers".to_owned(), headers.into());
    }
    request.into()
}

fn prefixed(prefix: &str, headers: &Value) -> Map<String, Value> {
    let headers = headers.as_object().unwrap();
    headers
        .iter()
        .map(|(name, value)| (format!("{prefix}{name}"), value.clone()))
        .collect()
}

/// `failure_callback` is `failureCallback`.
pub(crate) fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(1);
        text.push_str(&first.to_ascii_uppercase());
        text.push_str(rest);
    }
    text
}

/// The id in an answer to a publish.
#[track_caller]
pub(crate) fn id(answer: &Value) -> String {
    let id = answer["messageId"].as_str();
    id.unwrap_or_else(|| panic!("no message id in {answer}"))
        .to_owned()
}

#[test]
fn a_message_is_said_in_both_languages() {
    let message = json!({
        "url": "http://h", "content_type": "text/plain", "headers": {"A": "1"}, "retry_delay": "1", "queue": "q",
        "failure_callback": "http://f", "callback_headers": {"Forward-X": "2"},
    });
    let expected = json!({
        "url": "http://h", "retryDelay": "1", "queueName": "q", "failureCallback": "http://f",
        "headers": {"A": "1", "Content-Type": "text/plain", "Upstash-Callback-Forward-X": "2"},
    });
    assert_eq!(request(&message), expected);
}

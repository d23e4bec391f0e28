//! A broker with something of everything, and the values by which requests find it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::sink;
use crate::values::Values;

/// Messages that wait, and dead letters of each surface, at the start of a round.
const COUNT: usize = 12;

/// Longest that letters may take to die.
const DEATH_TIME_MAX: Duration = Duration::from_mins(1);

/// A broker and a destination.
pub(crate) struct World {
    pub(crate) broker: Broker,
    sink: String,
}

impl World {
    pub(crate) fn start() -> Self {
        Self {
            broker: Broker::start(),
            sink: sink::start(),
        }
    }

    /// URLs of the destination: one that takes everything, one that fails, one with slashes and a query.
    pub(crate) fn urls(&self) -> [String; 3] {
        ["ok", "fail", "ok//a?b=c&d"].map(|path| format!("http://{}/{path}", self.sink))
    }

    /// Makes what is missing, and returns how it is called.
    pub(crate) fn fill(&self) -> Values {
        self.fill_settings();
        let [good, bad, _] = self.urls();
        let later = [
            ("upstash-delay", "30d"),
            ("upstash-label", "label-1"),
            ("upstash-flow-control-key", "key-1"),
            (
                "upstash-flow-control-value",
                "parallelism=2, rate=10, period=1m",
            ),
            ("upstash-callback", &good),
        ];
        let message_ids = self.publish(&format!("/v2/enqueue/queue-1/{good}"), &later);
        let canceled = self.publish(&format!("/v2/publish/{good}"), &later[..1]);
        let id = canceled[0].as_str().unwrap();
        self.broker
            .ok("DELETE", &format!("/v2/messages/{id}"), &[], "");
        let dying = [
            ("upstash-retries", "0"),
            ("upstash-label", "label-1"),
            ("upstash-failure-callback", &good),
        ];
        self.publish(&format!("/v2/publish/{bad}"), &dying);
        let letter_ids = self.pushed_letters();
        let rejected_ids = self.rejected_letters();
        let mut values = Values::new(&self.urls());
        for (name, ids) in [
            ("messageId", &message_ids),
            ("messageIds", &message_ids),
            ("message_id", &message_ids),
            ("dlqId", &letter_ids),
            ("dlqIds", &letter_ids),
            ("id", &rejected_ids),
            ("ids", &rejected_ids),
        ] {
            values.set(name, ids.clone());
        }
        values
    }

    fn fill_settings(&self) {
        let post = |target: &str, headers: &[(&str, &str)], body: &Value| {
            self.broker.ok("POST", target, headers, &body.to_string());
        };
        let [good, bad, _] = self.urls();
        for n in [1, 2] {
            post(
                "/v2/queues",
                &[],
                &json!({"queueName": format!("queue-{n}"), "parallelism": n}),
            );
            post(
                &format!("/v2/topics/group-{n}/endpoints"),
                &[],
                &json!({"endpoints": [{"name": "good", "url": good}, {"url": bad}]}),
            );
            let id = format!("schedule-{n}");
            let headers = [("upstash-cron", "0 0 1 1 *"), ("upstash-schedule-id", &id)];
            post(&format!("/v2/schedules/{good}"), &headers, &json!({}));
        }
        post("/v2/flowControl/key-1/pin?parallelism=2", &[], &json!({}));
    }

    /// Publishes some messages and returns their ids.
    fn publish(&self, target: &str, headers: &[(&str, &str)]) -> Vec<Value> {
        let one = |n: usize| {
            let answer = self
                .broker
                .ok("POST", target, headers, &format!("body {n}"));
            answer["messageId"].clone()
        };
        (0..COUNT).map(one).collect()
    }

    /// Waits for dead letters of pushed messages, and returns their ids.
    fn pushed_letters(&self) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let page = self.broker.get("/v2/dlq?label=label-1");
            let letters = page["messages"].as_array().unwrap();
            if letters.len() >= COUNT {
                return letters.iter().map(|one| one["dlqId"].clone()).collect();
            }
            assert!(start.elapsed() < DEATH_TIME_MAX, "{page}");
            #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Rejects records of a topic, and returns the ids of all its dead letters.
    fn rejected_letters(&self) -> Vec<Value> {
        let lines = "{\"k\":1}\n".repeat(COUNT);
        self.broker.command(&["produce", "orders"], &lines);
        let partition = self.broker.get("/admin/v1/topics/orders/partitions/0");
        let end = partition["high_watermark"].as_u64().unwrap();
        for offset in end - COUNT as u64..end {
            let offset = offset.to_string();
            let reject = ["reject", "orders", "0", &offset];
            let why = ["--reason", "no", "--group", "billing"];
            self.broker.command(&[&reject[..], &why].concat(), "");
        }
        self.broker.command(
            &["consume", "orders", "--group", "billing", "--count", "1"],
            "",
        );
        let page = self.broker.get("/admin/v1/topics/orders/dead-letters");
        let letters = page["letters"].as_array().unwrap();
        letters.iter().map(|one| one["id"].clone()).collect()
    }
}

//! Values that mean something to the broker, by the names of parameters and of members of bodies.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The values of each name.
#[derive(Debug)]
pub(crate) struct Values {
    by_name: BTreeMap<String, Vec<Value>>,
}

impl Values {
    /// Those that are always the same.
    #[expect(clippy::too_many_lines, reason = "a table is read best in one piece")]
    pub(crate) fn new(urls: &[String]) -> Self {
        let mut values = Self {
            by_name: BTreeMap::new(),
        };
        let delays = [json!("1h"), json!("0s"), json!("1d10h30m")];
        let urls: Vec<Value> = urls.iter().map(|url| json!(url)).collect();
        let names = |name: &str| vec![json!(format!("{name}-1")), json!(format!("{name}-2"))];
        for prefix in ["Upstash", "Upstash-Callback", "Upstash-Failure-Callback"] {
            values.set(&format!("{prefix}-Delay"), delays.to_vec());
            values.set(&format!("{prefix}-Timeout"), vec![json!("1s"), json!("2m")]);
            let methods = ["POST", "PUT", "GET"].map(Value::from);
            values.set(&format!("{prefix}-Method"), methods.to_vec());
            values.set(&format!("{prefix}-Retries"), vec![json!(0), json!(3)]);
            let expression = json!("1000 * (1 + retried)");
            values.set(&format!("{prefix}-Retry-Delay"), vec![expression]);
        }
        for name in [
            "Upstash-Callback",
            "Upstash-Failure-Callback",
            "url",
            "urls",
        ] {
            values.set(name, urls.clone());
        }
        for (name, of) in [
            ("destination", "group"),
            ("urlGroupName", "group"),
            ("topicName", "group"),
            ("url_group", "group"),
            ("queueName", "queue"),
            ("Upstash-Queue-Name", "queue"),
            ("queue", "queue"),
            ("scheduleId", "schedule"),
            ("Upstash-Schedule-Id", "schedule"),
            ("schedule", "schedule"),
            ("flowControlKey", "key"),
            ("flow_control_key", "key"),
            ("Upstash-Flow-Control-Key", "key"),
            ("label", "label"),
            ("Upstash-Label", "label"),
            ("Upstash-Deduplication-Id", "dedup"),
            ("name", "name"),
        ] {
            values.set(name, names(of));
        }
        for (name, known) in [
            ("Content-Type", json!(["application/json", "text/plain"])),
            (
                "Upstash-Cron",
                json!(["0 0 1 1 *", "CRON_TZ=Europe/Berlin 0 8 * * 1"]),
            ),
            (
                "Upstash-Flow-Control-Value",
                json!(["parallelism=2, rate=10, period=1m", "rate=5"]),
            ),
            ("Upstash-Not-Before", json!([0, 4_000_000_000_u64])),
            (
                "Upstash-Redact-Fields",
                json!(["body", "header[X-A]", "body, header"]),
            ),
            ("topic", json!(["orders", "_push"])),
            ("group", json!(["billing"])),
            ("groups", json!(["billing"])),
            ("index", json!([0])),
            ("from", json!(["earliest", "latest", "0", "5"])),
            ("callerIP", json!(["127.0.0.1"])),
            ("callerIp", json!(["127.0.0.1"])),
            ("caller", json!(["127.0.0.1"])),
            ("host", json!(["127.0.0.1"])),
            ("path", json!(["/ok", "/fail"])),
            ("responseStatus", json!([500, 200])),
            ("disposition", json!(["rejected", "retries_exhausted"])),
            ("fromDate", json!([0, 1_700_000_000_000_u64])),
            ("toDate", json!([4_000_000_000_000_u64])),
            ("died_from", json!(["0", "2020-01-01T00:00:00Z"])),
            ("died_to", json!(["2100-01-01T00:00:00Z"])),
            ("period", json!(["60", "10"])),
        ] {
            values.set(name, known.as_array().unwrap().clone());
        }
        values
    }

    pub(crate) fn set(&mut self, name: &str, values: Vec<Value>) {
        self.by_name.insert(name.to_owned(), values);
    }

    /// Makes the schema of what has a known name take the known values only; of a list, its items.
    pub(crate) fn narrow(&self, name: &str, schema: &mut Value) {
        let Some(values) = self.by_name.get(name) else {
            return;
        };
        let narrowed = json!({ "enum": values });
        if schema["type"] == "array" {
            schema["items"] = narrowed;
        } else if schema["type"] != "object" && schema["type"] != "boolean" {
            *schema = narrowed;
        }
    }
}

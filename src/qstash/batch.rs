//! A batch: a JSON array of messages. PURE.
//!
//! Clients send `"queue": null` and `"body": null` for what is not there. Header values are texts; numbers and booleans
//! stand for the text that they are written as.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use storage::hidden::{Hidden, HiddenQuery};

use crate::http::ApiError;
use crate::http::parameters::json;
use crate::qstash::limits::BATCH_COUNT_MAX;

/// One message of a batch.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// A URL, or the name of a URL group.
    pub destination: String,
    /// Headers as for a publish, by names in any case.
    #[serde(default)]
    headers: Option<BTreeMap<String, Option<HeaderText>>>,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// The queue.
    #[serde(default)]
    pub queue: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a number, true, false or null"
)]
enum HeaderText {
    Text(String),
    Number(serde_json::Number),
    Switch(bool),
}

impl fmt::Debug for BatchItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.iter().flat_map(BTreeMap::keys);
        f.debug_struct("BatchItem")
            .field("destination", &HiddenQuery(&self.destination))
            .field("headers", &names.collect::<Vec<_>>())
            .field(
                "body",
                &self.body.as_ref().map(|body| Hidden(body.as_bytes())),
            )
            .field("queue", &self.queue)
            .finish()
    }
}

impl BatchItem {
    /// Returns the headers with their values as text.
    pub fn headers(&self) -> Vec<(String, String)> {
        let given = self.headers.iter().flatten();
        let text = |value: &HeaderText| match value {
            HeaderText::Text(text) => text.clone(),
            HeaderText::Number(number) => number.to_string(),
            HeaderText::Switch(switch) => switch.to_string(),
        };
        given
            .filter_map(|(name, value)| Some((name.clone(), text(value.as_ref()?))))
            .collect()
    }
}

/// Parses a batch.
///
/// # Errors
/// 400.
pub fn parse(body: &[u8]) -> Result<Vec<BatchItem>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request(
            "there is no body, it must be a JSON array of messages",
        ));
    }
    let items: Vec<BatchItem> = json(body)?;
    if items.len() > BATCH_COUNT_MAX {
        return Err(ApiError::bad_request(format!(
            "the batch has {} messages, it may have {BATCH_COUNT_MAX}",
            items.len()
        )));
    }
    Ok(items)
}

/// Says of which message an error is, by its place in the array as errors of the JSON do.
#[must_use]
pub fn of_item(index: usize, mut error: ApiError) -> ApiError {
    error.message = format!("[{index}]: {}", error.message);
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn null_is_absent_and_values_are_texts() {
        let items = parse(
            br#"[{"destination": "https://a", "queue": null, "body": null, "headers": null},
                 {"destination": "g", "body": "\u00e9", "queue": "q",
                  "headers": {"Upstash-Retries": 3, "a": "1", "b": true, "c": null}}]"#,
        )
        .unwrap();
        assert_eq!(items[0].destination, "https://a");
        assert_eq!((&items[0].queue, &items[0].body), (&None, &None));
        assert_eq!(items[0].headers(), []);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            items[1].headers(),
            [
                header("Upstash-Retries", "3"),
                header("a", "1"),
                header("b", "true")
            ]
        );
        assert_eq!(parse(b"[]").unwrap(), []);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let many = format!("[{}]", vec![r#"{"destination":"g"}"#; 1001].join(","));
        for (body, expected) in [
            ("", "no body"),
            ("{}", "the body"),
            ("[", "the body"),
            ("[1]", "[0]"),
            (r#"[{"destination": "a"}, {}]"#, "[1]"),
            (r#"[{"destination": "a", "body": {}}]"#, "[0].body"),
            (r#"[{"destination": "a", "headres": {}}]"#, "headres"),
            (
                r#"[{"destination": "a", "headers": {"x": []}}]"#,
                "[0].headers",
            ),
            (
                r#"[{"destination": "a", "headers": {"x": []}}]"#,
                "expected a string, a number, true, false or null",
            ),
            ("[] []", "trailing"),
            (&many, "1001 messages"),
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.message.contains(expected), "{body}: {error}");
        }
        // Deep nesting ends in an error, not in a full stack.
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn an_error_names_its_message() {
        let error = of_item(3, ApiError::not_found("no such group"));
        assert_eq!(error.status, 404);
        assert_eq!(error.message, "[3]: no such group");
    }
}

//! Where the broker answers otherwise than the published description, each with its reason.

use serde::Deserialize;
use serde_json::{Value, json};

const TEXT: &str = include_str!("exceptions.json");

/// Schemas that answers do not have, and statuses that the description leaves out. Bodies of refusals are checked all the same: they are errors as it
/// describes them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// Methods and paths that get the statuses; none stands for all.
    #[serde(default)]
    pub(crate) operations: Vec<String>,
    #[serde(default)]
    statuses: Vec<u16>,
    /// Places of what is replaced by `schema`.
    #[serde(default)]
    places: Vec<String>,
    #[serde(default)]
    schema: Value,
    reason: String,
}

impl Exception {
    pub(crate) fn is_for(&self, operation: &str) -> bool {
        self.operations.is_empty() || self.operations.iter().any(|one| one == operation)
    }

    /// Puts the schema in its places.
    pub(crate) fn replace_in(&self, document: &mut Value) {
        for place in &self.places {
            let schema = document.pointer_mut(place);
            let schema = schema.unwrap_or_else(|| panic!("nothing at {place}"));
            assert_ne!(*schema, self.schema, "{place}");
            *schema = self.schema.clone();
        }
    }

    /// Adds the statuses to an operation: a refusal with an error, what succeeded with the body of 200.
    pub(crate) fn add_to(&self, name: &str, operation: &mut Value) {
        for status in &self.statuses {
            let described = operation["responses"].as_object_mut().unwrap();
            let status_text = status.to_string();
            if described.contains_key(&status_text) {
                assert!(self.operations.is_empty(), "{name} describes {status}");
                continue;
            }
            let response = if *status < 300 {
                described["200"].clone()
            } else {
                let error = json!({"$ref": "#/components/schemas/Error"});
                json!({
                    "description": self.reason,
                    "content": {"application/json": {"schema": error}},
                })
            };
            described.insert(status_text, response);
        }
    }
}

/// Reads all.
pub(crate) fn read() -> Vec<Exception> {
    let exceptions: Vec<Exception> = serde_json::from_str(TEXT).unwrap();
    for exception in &exceptions {
        assert!(exception.reason.len() > 20, "{exception:?}");
    }
    exceptions
}

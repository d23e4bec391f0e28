//! The description of what is served here, as it is joined to `/openapi.json`. PURE.
//!
//! The names of query parameters come from it, so that what is taken and what is described cannot differ.

use serde_json::Value;

/// The description's paths and components.
pub const TEXT: &str = include_str!("openapi.json");

/// Returns the description. It is a constant; a test parses it.
pub(super) fn document() -> Value {
    serde_json::from_str(TEXT).unwrap_or_default()
}

/// Returns the names of the query parameters that a route takes.
pub(super) fn query_parameters(document: &Value, method: &str, path: &str) -> Vec<String> {
    let method = method.to_ascii_lowercase();
    let path = &path.replace("{*", "{");
    let operation = document
        .get("paths")
        .and_then(|paths| paths.get(path)?.get(&method));
    let parameters = operation.and_then(|operation| operation.get("parameters")?.as_array());
    let named = |parameter: &Value| {
        let parameter = resolve(document, parameter);
        let is_query = parameter.get("in").and_then(Value::as_str) == Some("query");
        let name = parameter.get("name").and_then(Value::as_str);
        name.filter(|_| is_query).map(str::to_owned)
    };
    parameters.into_iter().flatten().filter_map(named).collect()
}

fn resolve<'d>(document: &'d Value, parameter: &'d Value) -> &'d Value {
    let reference = parameter.get("$ref").and_then(Value::as_str);
    let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
    pointer
        .and_then(|pointer| document.pointer(pointer))
        .unwrap_or(parameter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(TEXT).unwrap();
        let mut open = vec![&document];
        let mut found = 0;
        while let Some(value) = open.pop() {
            if let Some(Value::String(reference)) = value.get("$ref") {
                found += 1;
                // The admin surface's own part has the error.
                let is_there = document
                    .pointer(reference.strip_prefix('#').unwrap())
                    .is_some();
                assert!(
                    is_there || reference == "#/components/schemas/Error",
                    "{reference}"
                );
            }
            match value {
                Value::Object(members) => open.extend(members.values()),
                Value::Array(members) => open.extend(members),
                _ => {}
            }
        }
        assert!(found > 100, "{found} references");
    }

    #[test]
    fn parameters_are_found_behind_references() {
        let document = document();
        let names = query_parameters(&document, "DELETE", "/v2/messages");
        assert!(names.iter().any(|name| name == "host"), "{names:?}");
        assert!(
            !names.iter().any(|name| name.contains("Upstash")),
            "{names:?}"
        );
        assert!(query_parameters(&document, "GET", "/v2/nothing").is_empty());
    }
}

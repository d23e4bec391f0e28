//! The document that describes what is served, made from the handlers and their types.

use bytes::Bytes;
use serde_json::map::Entry;
use serde_json::{Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, SecurityRequirement};
use utoipa::{Modify, OpenApi};

use super::{clock, groups, health, letters, partitions, records, resolve, retention, topics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Redrive",
        description = "Every path takes the token, as a bearer token or a query parameter, unless it says otherwise; a broker \
            with development credentials answers without. Errors are {\"error\": \"...\"}; 503 with Retry-After means that \
            the same request may succeed later."
    ),
    paths(
        topics::list, topics::create, topics::describe, topics::alter, topics::delete,
        partitions::describe, records::peek, retention::run, clock::confirm,
        letters::list, letters::stats, letters::get,
        resolve::retry, resolve::delete, resolve::retry_one, resolve::delete_one,
        groups::list, groups::describe, groups::delete,
        health::live, health::ready, health::metrics, health::openapi,
    ),
    modifiers(&Token)
)]
struct Document;

/// Says how the token is shown.
struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Components::new);
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        let parameter = ApiKey::Query(ApiKeyValue::new("qstash_token"));
        components.add_security_scheme("parameter", SecurityScheme::ApiKey(parameter));
        let none: [&str; 0] = [];
        openapi.security = Some(vec![
            SecurityRequirement::new("bearer", none),
            SecurityRequirement::new("parameter", none),
        ]);
    }
}

/// Returns the document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Returns the document as JSON, with the paths and components of `described` in it.
pub(super) fn encode(document: &utoipa::openapi::OpenApi, described: &str) -> Bytes {
    let joined = serde_json::to_value(document).and_then(|mut own| {
        describe_unavailable(&mut own);
        join(&mut own, serde_json::from_str(described)?);
        serde_json::to_vec_pretty(&own)
    });
    match joined {
        Ok(text) => Bytes::from(text),
        Err(error) => {
            tracing::error!(%error, "the OpenAPI document could not be written");
            Bytes::from_static(b"{}")
        }
    }
}

/// Adds to every operation of this surface what all of them may answer: not now.
fn describe_unavailable(own: &mut Value) {
    let Some(Value::Object(paths)) = own.get_mut("paths") else {
        return;
    };
    let admin = paths
        .iter_mut()
        .filter(|(path, _)| path.starts_with("/admin/"));
    let operations = admin.filter_map(|(_, item)| item.as_object_mut());
    for operation in operations.flat_map(|item| item.values_mut()) {
        if let Some(Value::Object(responses)) = operation.get_mut("responses") {
            let unavailable = json!({
                "description": "Not now: the same request may succeed later, after the seconds in Retry-After.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            });
            responses.entry("503").or_insert(unavailable);
        }
    }
}

/// Adds the members of objects to each other, at every depth. What stands already stays.
fn join(own: &mut Value, other: Value) {
    let (Value::Object(own), Value::Object(other)) = (own, other) else {
        return;
    };
    for (name, value) in other {
        match own.entry(name) {
            Entry::Vacant(place) => {
                place.insert(value);
            }
            Entry::Occupied(mut known) => join(known.get_mut(), value),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn every_response_has_a_description() {
        let text = encode(&document(), crate::qstash::openapi::TEXT);
        let whole: Value = serde_json::from_slice(&text).unwrap();
        let paths = whole["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (path, method, operation))
        });
        let mut count = 0;
        for (path, method, operation) in operations {
            let responses = operation["responses"].as_object();
            for (status, response) in responses.into_iter().flatten() {
                let description = response["description"].as_str().unwrap_or_default();
                // One that stands elsewhere is described there.
                let is_described = !description.trim().is_empty() || response["$ref"].is_string();
                assert!(is_described, "{method} {path} {status}");
                count += 1;
            }
        }
        assert!(count > 80, "{count} responses");
    }
}

//! A description of operations, prepared for a round: with exceptions, and with values that mean something.

use std::fs;

use serde_json::{Map, Value, json};

use crate::exceptions::Exception;
use crate::values::Values;

const PUBLISHED: &str = include_str!("published.json");

/// An `OpenAPI` document.
#[derive(Debug, Clone)]
pub(crate) struct Description(pub(crate) Value);

impl Description {
    pub(crate) fn parse(document: &Value) -> Self {
        assert!(document["paths"].is_object(), "no description");
        Self(document.clone())
    }

    /// Reads the published description of the QStash API.
    pub(crate) fn published() -> Self {
        let text = std::env::var_os("REDRIVE_CONFORMANCE_DESCRIPTION").map_or_else(
            || PUBLISHED.to_owned(),
            |path| fs::read_to_string(path).unwrap(),
        );
        Self::parse(&serde_json::from_str(&text).unwrap())
    }

    /// Calls `change` with each operation, its method and its path.
    fn each_operation(&mut self, mut change: impl FnMut(&str, &mut Value)) {
        for (path, item) in self.0["paths"].as_object_mut().unwrap() {
            for (method, operation) in item.as_object_mut().unwrap() {
                if operation["responses"].is_object() {
                    change(&format!("{} {path}", method.to_uppercase()), operation);
                }
            }
        }
    }

    /// Adds what is answered otherwise. An error is described everywhere by the same schema.
    pub(crate) fn with_exceptions(mut self, exceptions: &[Exception]) -> Self {
        for exception in exceptions {
            exception.replace_in(&mut self.0);
            let mut found = 0;
            self.each_operation(|name, operation| {
                if exception.is_for(name) {
                    found += 1;
                    exception.add_to(name, operation);
                }
            });
            let named = exception.operations.len();
            assert!(found >= named, "not all are described: {exception:?}");
        }
        self
    }

    /// Narrows parameters and members of bodies to values that are known. Where a destination ends a path, each URL is a path of its own besides:
    /// a client of a description would encode its slashes.
    pub(crate) fn with_values(&self, values: &Values, urls: &[String]) -> Self {
        let root = self.0.clone();
        let mut narrowed = self.clone();
        narrowed.each_operation(|_, operation| {
            for part in ["parameters", "requestBody"] {
                if let Some(part) = operation.get_mut(part) {
                    *part = inline(&root, part);
                }
            }
            let parameters = operation
                .get_mut("parameters")
                .and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap().to_owned();
                values.narrow(&name, &mut parameter["schema"]);
            }
            if let Some(body) = operation.get_mut("requestBody") {
                narrow_members(values, body);
            }
        });
        let paths = narrowed.0["paths"].as_object_mut().unwrap();
        let with_urls: Vec<_> = paths.iter().flat_map(|one| at_urls(one, urls)).collect();
        paths.extend(with_urls);
        narrowed
    }
}

/// Puts URLs in the place of a path's last parameter, if that is a destination.
fn at_urls((path, item): (&String, &Value), urls: &[String]) -> Vec<(String, Value)> {
    let Some(start) = path.strip_suffix("{destination}") else {
        return Vec::new();
    };
    let mut item = item.clone();
    for operation in item.as_object_mut().unwrap().values_mut() {
        let parameters = operation["parameters"].as_array_mut().unwrap();
        parameters.retain(|parameter| parameter["name"] != "destination");
        operation.as_object_mut().unwrap().remove("operationId");
    }
    let at = |url: &String| (format!("{start}{url}"), item.clone());
    // A query in a path is cut off.
    urls.iter()
        .filter(|url| !url.contains('?'))
        .map(at)
        .collect()
}

/// Puts what references lead to in their place.
fn inline(root: &Value, value: &Value) -> Value {
    match value {
        Value::Object(members) => match members.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = root.pointer(reference.trim_start_matches('#')).unwrap();
                inline(root, target)
            }
            None => Value::Object(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), inline(root, value)))
                    .collect::<Map<_, _>>(),
            ),
        },
        Value::Array(items) => items.iter().map(|item| inline(root, item)).collect(),
        other => other.clone(),
    }
}

/// Narrows the members of schemas, at every depth.
fn narrow_members(values: &Values, schema: &mut Value) {
    if let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, member) in members {
            values.narrow(name, member);
        }
    }
    match schema {
        Value::Object(members) => members
            .values_mut()
            .for_each(|one| narrow_members(values, one)),
        Value::Array(items) => items.iter_mut().for_each(|one| narrow_members(values, one)),
        _ => {}
    }
}

#[test]
fn values_replace_references_and_urls_become_paths() {
    let description = Description(json!({
        "components": {"schemas": {"One": {"properties": {"url": {"type": "string"}}}}},
        "paths": {"/p/{destination}": {"post": {
            "parameters": [{"name": "destination", "schema": {"type": "string"}}],
            "requestBody": {"schema": {"$ref": "#/components/schemas/One"}},
            "responses": {},
        }}},
    }));
    let urls = ["http://h/ok".to_owned(), "http://h/?a".to_owned()];
    let narrowed = description.with_values(&Values::new(&urls), &urls).0;
    let named = &narrowed["paths"]["/p/{destination}"]["post"];
    assert_eq!(named["parameters"][0]["schema"]["enum"][0], "group-1");
    let member = &named["requestBody"]["schema"]["properties"]["url"];
    assert_eq!(member["enum"][0], "http://h/ok");
    let at_url = &narrowed["paths"]["/p/http://h/ok"]["post"];
    assert_eq!(at_url["parameters"], json!([]));
    assert_eq!(narrowed["paths"].as_object().unwrap().len(), 2);
}

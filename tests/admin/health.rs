//! Probes, metrics, and the document that describes what is served.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::Broker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_producers_is_live_and_not_ready() {
    let broker = Broker::start().await;
    assert_eq!(
        broker.get("/healthz").await.expect(200),
        json!({"status": "live"})
    );
    assert_eq!(
        broker.get("/readyz").await.expect(200),
        json!({"status": "ready", "problem_count": 0, "problems": []})
    );
    broker.stop().await;

    let full = Broker::start_with(&[
        ("storage.min_free_bytes", "1024TiB"),
        ("token", "right-token-of-ours"),
    ])
    .await;
    assert_eq!(
        full.get("/healthz").await.expect(200),
        json!({"status": "live"})
    );
    // A probe without a token learns whether, not why.
    assert_eq!(
        full.get("/readyz").await.expect(503),
        json!({"status": "not_ready", "problem_count": 1})
    );
    let told = full
        .get("/readyz?qstash_token=right-token-of-ours")
        .await
        .expect(503);
    assert!(
        told["problems"][0]
            .as_str()
            .unwrap()
            .contains("free on the disk"),
        "{told}"
    );
    full.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_lists_what_is_served_and_nothing_else() {
    let broker = Broker::start().await;
    let document = broker.get("/openapi.json").await.expect(200);
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            check_operation(path, operation);
        }
    }
    let qstash = redrive::qstash::served().into_iter();
    // These two say only why they are not served.
    let qstash = qstash.filter(|(_, path)| !path.starts_with("/llm") && !path.contains("runs"));
    let served: BTreeSet<_> = redrive::admin::served()
        .into_iter()
        .chain(qstash)
        .map(|(method, path)| (method.to_string(), path.replace("{*", "{")))
        .collect();
    assert_eq!(described, served);

    // What is described is answered, by something else than the table's 404 and 405.
    for (method, path) in &described {
        let target = path
            .replace("{index}", "0")
            .replace("{topic}", "t")
            .replace("{group}", "g")
            .replace("{id}", "i");
        let answer = broker
            .send(method.parse().unwrap(), &target, &[], "{}")
            .await;
        assert_ne!(answer.status, 405, "{method} {path}");
        assert!(
            !answer.text.contains("no such resource"),
            "{method} {path}: {answer:?}"
        );
    }
    check_references(&document, &document);
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    broker.stop().await;
}

/// Every parameter of the path is described, and every operation has an answer and an id.
fn check_operation(path: &str, operation: &Value) {
    assert!(operation["operationId"].is_string(), "{path}");
    assert!(
        !operation["responses"].as_object().unwrap().is_empty(),
        "{path}"
    );
    let empty = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap_or(&empty);
    let in_path: BTreeSet<_> = parameters
        .iter()
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    let named: BTreeSet<_> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect();
    assert_eq!(in_path, named, "{path}");
}

/// Every reference leads to a schema.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let ("$ref", Some(target)) = (name.as_str(), field.as_str()) {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(
                        document.pointer(pointer).is_some(),
                        "{target} leads nowhere"
                    );
                }
                check_references(document, field);
            }
        }
        Value::Array(members) => members
            .iter()
            .for_each(|member| check_references(document, member)),
        _ => {}
    }
}

/// Answers have exactly the fields that the document gives them; those that may be left out are not required.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_the_document_says() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    broker.produce("a", &[b"0", b"1"]).await;
    let letter = broker.reject("a", "g", 0, "no").await;
    let document = broker.get("/openapi.json").await.expect(200);
    for (method, path, body) in [
        ("get", "/admin/v1/topics", ""),
        ("get", "/admin/v1/topics/{topic}", ""),
        ("patch", "/admin/v1/topics/{topic}", "{}"),
        ("get", "/admin/v1/topics/{topic}/partitions/{index}", ""),
        (
            "get",
            "/admin/v1/topics/{topic}/partitions/{index}/records",
            "",
        ),
        ("post", "/admin/v1/topics/{topic}/retention", ""),
        ("post", "/admin/v1/clock/confirm", ""),
        ("get", "/admin/v1/topics/{topic}/dead-letters", ""),
        ("get", "/admin/v1/topics/{topic}/dead-letters/stats", ""),
        ("get", "/admin/v1/dead-letters/{id}", ""),
        (
            "post",
            "/admin/v1/topics/{topic}/dead-letters/retry",
            r#"{"all": true}"#,
        ),
        (
            "post",
            "/admin/v1/topics/{topic}/dead-letters/delete",
            r#"{"all": true}"#,
        ),
        ("post", "/admin/v1/dead-letters/{id}/retry", ""),
        ("get", "/admin/v1/groups", ""),
        ("get", "/healthz", ""),
        ("get", "/readyz", ""),
    ] {
        let target = path
            .replace("{topic}", "a")
            .replace("{index}", "0")
            .replace("{id}", &letter);
        let method_name: Method = method.to_uppercase().parse().unwrap();
        let answer = broker
            .send(method_name, &target, &[], body)
            .await
            .expect(200);
        let schema = &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        assert!(schema.is_object(), "{method} {path}");
        check_value(&document, schema, &answer, path);
    }
    broker.stop().await;
}

fn check_value(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(target) = schema["$ref"].as_str() {
        let schema = document.pointer(target.strip_prefix('#').unwrap()).unwrap();
        return check_value(document, schema, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let chosen = choices
            .iter()
            .find(|choice| (choice["type"] == "null") == value.is_null());
        return check_value(document, chosen.unwrap(), value, place);
    }
    match value {
        Value::Object(fields) => {
            let (known, required) = fields_of(document, schema);
            let found: BTreeSet<_> = fields.keys().cloned().collect();
            assert!(
                found.is_subset(&known.keys().cloned().collect()),
                "{place}: {found:?} {known:?}"
            );
            assert!(
                required.is_subset(&found),
                "{place}: {required:?} {found:?}"
            );
            for (name, field) in fields {
                check_value(document, &known[name], field, &format!("{place} {name}"));
            }
        }
        Value::Array(members) => {
            assert!(is_of(schema, "array"), "{place}");
            for member in members {
                check_value(document, &schema["items"], member, place);
            }
        }
        other => {
            let name = match other {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                _ => "string",
            };
            assert!(is_of(schema, name), "{place}: {other} is no {schema}");
        }
    }
}

/// Returns whether a schema allows values of this type.
fn is_of(schema: &Value, name: &str) -> bool {
    let types = &schema["type"];
    types == name
        || types
            .as_array()
            .is_some_and(|types| types.contains(&json!(name)))
}

/// Returns the fields of an object's schema, those of what it is composed of among them.
fn fields_of(
    document: &Value,
    schema: &Value,
) -> (serde_json::Map<String, Value>, BTreeSet<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        return fields_of(
            document,
            document.pointer(target.strip_prefix('#').unwrap()).unwrap(),
        );
    }
    let mut fields = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let names = schema["required"].as_array().cloned().unwrap_or_default();
    let mut required: BTreeSet<_> = names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    for part in schema["allOf"].as_array().cloned().unwrap_or_default() {
        let (more, more_required) = fields_of(document, &part);
        fields.extend(more);
        required.extend(more_required);
    }
    (fields, required)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_openmetrics_and_letters_add_up() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    broker.produce("a", &[b"0", b"1", b"2", b"3", b"4"]).await;
    let mut ids = Vec::new();
    for offset in 0..5 {
        ids.push(broker.reject("a", "g", offset, "no").await);
    }
    broker
        .post(&format!("/admin/v1/dead-letters/{}/retry", ids[0]), "")
        .await
        .expect(200);
    broker
        .post(&format!("/admin/v1/dead-letters/{}/retry", ids[1]), "")
        .await
        .expect(200);
    broker
        .delete(&format!("/admin/v1/dead-letters/{}", ids[2]))
        .await
        .expect(200);

    let answer = broker.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    letters_are(&answer.text, [2, 2, 1, 0]);
    let line = "redrive_produce_records_total 5";
    assert!(answer.text.lines().any(|found| found == line), "{line}");
    // What the logs know does not begin anew.
    let broker = broker.restart(&[]).await;
    letters_are(&broker.get("/metrics").await.text, [2, 2, 1, 0]);
    let deleted = broker.delete("/admin/v1/topics/a?force=true").await;
    assert_eq!(deleted.status, 204);
    letters_are(&broker.get("/metrics").await.text, [0, 2, 3, 0]);
    broker.stop().await;
}

/// Letters ever are those that are live, republished, deleted and expired, so many of each, and each is told once.
#[track_caller]
fn letters_are(text: &str, expected: [u64; 4]) {
    let samples = parse(text);
    let value = |name: &str| -> u64 {
        let name = format!("redrive_dead_letters{name}");
        let found: Vec<_> = samples.iter().filter(|(known, _)| *known == name).collect();
        let [(_, value)] = found[..] else {
            panic!("{name} is there {} times in\n{text}", found.len())
        };
        format!("{value:.0}").parse().unwrap()
    };
    let terms = [
        "_live",
        "_republished_total",
        "_deleted_total",
        "_expired_total",
    ];
    assert_eq!(terms.map(value), expected);
    assert_eq!(value("_total"), expected.iter().sum::<u64>());
}

/// Parses the text strictly enough to find what a scraper refuses: names, labels, numbers, one type a family, `# EOF` last.
fn parse(text: &str) -> Vec<(String, f64)> {
    let body = text.strip_suffix("# EOF\n").expect("the end is missing");
    let mut families = BTreeSet::new();
    let mut samples = Vec::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (keyword, rest) = rest.split_once(' ').unwrap();
            let (name, told) = rest.split_once(' ').unwrap();
            assert!(["HELP", "TYPE", "UNIT"].contains(&keyword), "{line}");
            assert!(!told.is_empty(), "{line}");
            assert!(
                keyword != "TYPE" || families.insert(name.to_owned()),
                "two families {name}"
            );
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = match name.split_once('{') {
            Some((name, labels)) => {
                let labels = labels.strip_suffix('}').unwrap();
                assert!(
                    labels.split("\",").all(|label| label.contains("=\"")),
                    "{line}"
                );
                name
            }
            None => name,
        };
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "{line}"
        );
        assert!(
            families
                .iter()
                .any(|family| name.starts_with(family.as_str())),
            "{line}"
        );
        samples.push((name.to_owned(), value.parse().unwrap()));
    }
    samples
}

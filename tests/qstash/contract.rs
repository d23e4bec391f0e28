//! Every operation of the published description, and every request that the clients make, leads to a route that takes its
//! query parameters and is described. The description is a list of its operations; the requests were recorded.

use std::collections::BTreeSet;

use hyper::Method;
use redrive::qstash::decode::Routes;
use serde_json::Value;

const OPERATIONS: &str = include_str!("fixtures/operations.json");
const REQUESTS: &str = include_str!("../fixtures/sdk_requests.txt");

/// What is asked for: a method, a path with names in braces, and names of query parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    method: Method,
    path: String,
    query: Vec<String>,
}

fn operations() -> Vec<Asked> {
    let list: Vec<Value> = serde_json::from_str(OPERATIONS).unwrap();
    let names = |value: &Value| {
        let names = value["query"].as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    list.iter()
        .map(|value| Asked {
            method: value["method"].as_str().unwrap().parse().unwrap(),
            path: value["path"].as_str().unwrap().to_owned(),
            query: names(value),
        })
        .collect()
}

fn requests() -> Vec<Asked> {
    let asked = |line: &str| {
        let mut words = line.split_whitespace();
        let method = words.next().unwrap().parse().unwrap();
        let path = words.next().unwrap().to_owned();
        let query = words.next().unwrap_or_default().trim_start_matches('?');
        let query = query.split('&').filter(|name| !name.is_empty());
        Asked {
            method,
            path,
            query: query.map(str::to_owned).collect(),
        }
    };
    let lines = REQUESTS.lines().filter(|line| !line.is_empty());
    lines.map(asked).collect()
}

/// Returns what is asked for and leads nowhere, or has a parameter that is not taken or not described.
fn missing(all: &[Asked]) -> Vec<String> {
    let routes = Routes::default();
    let mut missing = Vec::new();
    for asked in all {
        let path = asked.path.replace("{destination}", "https://example.com/a");
        let path = path.replace(['{', '}'], "");
        for name in asked.query.iter().map(String::as_str).chain([""]) {
            let query = if name.is_empty() {
                String::new()
            } else {
                format!("{name}=1")
            };
            if let Err(error) = routes.check(&asked.method, &path, &query) {
                missing.push(format!("{} {path}?{query}: {error}", asked.method));
            }
        }
    }
    missing
}

#[test]
fn every_operation_of_the_description_is_served_and_described() {
    let operations = operations();
    assert_eq!(operations.len(), 40);
    assert_eq!(missing(&operations), Vec::<String>::new());
    let document: Value = serde_json::from_str(redrive::qstash::openapi::TEXT).unwrap();
    for asked in &operations {
        let method = asked.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][&asked.path][&method];
        assert!(operation.is_object(), "{asked:?} is not described");
        let parameters = operation["parameters"].as_array().unwrap().iter();
        let described: BTreeSet<_> = parameters
            .map(|parameter| match parameter["$ref"].as_str() {
                Some(reference) => {
                    let pointer = reference.strip_prefix('#').unwrap();
                    document.pointer(pointer).unwrap()
                }
                None => parameter,
            })
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        for name in &asked.query {
            assert!(described.contains(name.as_str()), "{asked:?}: {name}");
        }
    }
}

#[test]
fn every_request_of_the_clients_is_served() {
    let requests = requests();
    assert!(requests.len() >= 43, "{}", requests.len());
    assert_eq!(missing(&requests), Vec::<String>::new());
}

#[test]
fn what_is_not_served_is_noticed() {
    let asked = |method: Method, path: &str, query: &[&str]| Asked {
        method,
        path: path.to_owned(),
        query: query.iter().map(|name| (*name).to_owned()).collect(),
    };
    for one in [
        asked(Method::GET, "/v2/newThing", &[]),
        asked(Method::PUT, "/v2/queues/{queueName}", &[]),
        asked(Method::DELETE, "/v2/dlq", &["newFilter"]),
    ] {
        assert!(!missing(std::slice::from_ref(&one)).is_empty(), "{one:?}");
    }
}

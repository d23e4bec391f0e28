//! Every method of the installed clients stands in a test, and every method that a test names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::client::{Client, Sdk};

/// Names that the TypeScript package exports. A new one may be a new way to talk to the broker.
const JAVASCRIPT_EXPORTS: [&str; 24] = [
    "Chat",
    "Client",
    "FlowControlApi",
    "Messages",
    "QStashWorkflowAbort",
    "QStashWorkflowError",
    "QstashChatRatelimitError",
    "QstashDailyRatelimitError",
    "QstashEmptyArrayError",
    "QstashError",
    "QstashRatelimitError",
    "Receiver",
    "Schedules",
    "SignatureError",
    "UrlGroups",
    "anthropic",
    "custom",
    "decodeBase64",
    "formatWorkflowError",
    "openai",
    "resend",
    "setupAnalytics",
    "startDevServer",
    "upstash",
];

const PYTHON_EXPORTS: [&str; 3] = ["AsyncQStash", "QStash", "Receiver"];

/// `topics` is the old name of `urlGroups`: the same object.
const ALIAS: (&str, &str) = ("topics.", "urlGroups.");

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Lists the methods that the installed package offers.
pub(super) async fn offered(sdk: Sdk) -> BTreeSet<String> {
    let offered = Client::new(sdk, "http://127.0.0.1:1").methods().await;
    let list = match sdk {
        Sdk::Python => &offered["sync"],
        Sdk::PythonAsync => &offered["async"],
        Sdk::JavaScript => &offered["methods"],
    };
    names(list)
        .iter()
        .map(|name| name.replace(ALIAS.0, ALIAS.1))
        .collect()
}

/// The string literals that come directly behind one of the openings, in the sources of the cases.
fn named(openings: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let mut named = BTreeSet::new();
    for directory in [root.clone(), root.join("cases")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                collect(&fs::read_to_string(path).unwrap(), openings, &mut named);
            }
        }
    }
    // What the language under test never gets to see.
    named.remove("none");
    named.remove("methods");
    named
}

fn collect(text: &str, openings: &[&str], named: &mut BTreeSet<String>) {
    for opening in openings {
        for rest in text.split(opening).skip(1) {
            let literal = rest
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next());
            named.extend(literal.map(str::to_owned));
        }
    }
}

#[track_caller]
fn assert_tested(offered: &BTreeSet<String>, named: &BTreeSet<String>) {
    let untested: Vec<_> = offered.difference(named).collect();
    assert!(untested.is_empty(), "methods without a test: {untested:?}");
    let unknown: Vec<_> = named.difference(offered).collect();
    assert!(
        unknown.is_empty(),
        "tests of methods that do not exist: {unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_python_method_has_a_test() {
    let named = named(&[" py(", "(py("]);
    let synchronous = offered(Sdk::Python).await;
    assert!(synchronous.len() > 40, "{synchronous:?}");
    assert_tested(&synchronous, &named);
    // The cases run for both clients, so that both must offer the same.
    assert_eq!(offered(Sdk::PythonAsync).await, synchronous);
    let exports = Client::new(Sdk::Python, "http://127.0.0.1:1")
        .methods()
        .await;
    assert_eq!(
        names(&exports["exports"]),
        PYTHON_EXPORTS.map(str::to_owned).into()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_javascript_method_has_a_test() {
    let offered = offered(Sdk::JavaScript).await;
    assert!(offered.len() > 40, "{offered:?}");
    assert_tested(
        &offered,
        &named(&[" js(", "(js(", " js_queue(", "(js_queue("]),
    );
    let exports = Client::new(Sdk::JavaScript, "http://127.0.0.1:1")
        .methods()
        .await;
    assert_eq!(
        names(&exports["exports"]),
        JAVASCRIPT_EXPORTS.map(str::to_owned).into()
    );
}

#[test]
fn literals_behind_calls_are_found() {
    let mut found = BTreeSet::new();
    collect(
        "a = (py(\"x.y\", 1), py(\n    \"z\", 2)); happy(\"no\"); py(name)",
        &[" py(", "(py("],
        &mut found,
    );
    assert_eq!(found, ["x.y", "z"].map(str::to_owned).into());
}

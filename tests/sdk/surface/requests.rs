//! What the clients ask for: every call of theirs, recorded by a destination that stands in for the broker, must be what `tests/fixtures/sdk_requests.txt`
//! says, and everything in it must be served.
//!
//! The fixture has a line for each method and path: `DELETE /v2/dlq ?count&cursor&...` with all query parameters that any call has sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::calls::{URL, javascript, python};
use super::methods::offered;
use crate::behaviour::Reply;
use crate::broker::Broker;
use crate::client::{Client, Sdk};
use crate::install;
use crate::sink::{Delivery, Sink};

/// What stands in the paths of recorded calls, and what it is a place for.
const PLACES: [(&str, &str); 8] = [
    ("http:", "{destination}"),
    ("ID-group", "{urlGroupName}"),
    ("ID-queue", "{queueName}"),
    ("ID-message", "{messageId}"),
    ("ID-schedule", "{scheduleId}"),
    ("ID-dlq", "{dlqId}"),
    ("ID-key", "{flowControlKey}"),
    ("ID-run", "{workflowRunId}"),
];

type Requests = BTreeMap<(String, String), BTreeSet<String>>;

/// Answers as a broker whose every object has all the fields that the clients read.
fn stand_in(delivery: &Delivery) -> Reply {
    let path = delivery.target.split('?').next().unwrap_or_default();
    let is_list =
        delivery.method == "GET" && ["/v2/queues", "/v2/topics", "/v2/schedules"].contains(&path);
    let answer = json!({
        "messageId": "m", "scheduleId": "s", "dlqId": "d", "url": URL, "destination": URL, "cron": "* * * * *", "method": "POST",
        "maxRetries": 0, "retries": 0, "notBefore": 0, "createdAt": 0, "updatedAt": 0, "name": "n", "parallelism": 1, "lag": 0,
        "paused": false, "endpoints": [], "messages": [], "events": [], "responses": [], "deleted": 0, "cancelled": 0,
        "responseStatus": 500, "flowControlKey": "k", "current": "a", "next": "b",
    });
    let answer = if is_list || path == "/v2/batch" {
        json!([])
    } else {
        answer
    };
    Reply::answer(
        200,
        &[("Content-Type", "application/json")],
        answer.to_string(),
    )
}

/// The method, the path with its places, and the names of the query parameters.
fn request(delivery: &Delivery) -> ((String, String), BTreeSet<String>) {
    let (path, query) = delivery
        .target
        .split_once('?')
        .unwrap_or((&delivery.target, ""));
    let mut template = String::new();
    for part in path.split('/').skip(1) {
        template.push('/');
        let place = PLACES
            .iter()
            .find(|(id, _)| *id == part)
            .map(|(_, place)| *place);
        template.push_str(place.unwrap_or(part));
        if place == Some("{destination}") {
            // The rest, query included, is the destination's.
            return ((delivery.method.clone(), template), BTreeSet::new());
        }
    }
    let parameters = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .filter(|name| !name.is_empty());
    (
        (delivery.method.clone(), template),
        parameters.map(str::to_owned).collect(),
    )
}

async fn record() -> Requests {
    let sink = Sink::deciding(|delivery, _| stand_in(delivery)).await;
    let url = sink.url("");
    for sdk in Sdk::ALL {
        let client = Client::new(sdk, &url);
        let calls = if sdk.is_python() {
            python()
        } else {
            javascript()
        };
        let called: BTreeSet<String> = calls.iter().map(|call| call.method.to_owned()).collect();
        let missing: Vec<_> = offered(sdk).await.difference(&called).cloned().collect();
        assert_eq!(
            missing,
            ["receiver.verify"],
            "{sdk:?}: every method that talks to the server must be recorded"
        );
        for call in calls {
            let before = sink.all().len();
            let method = call.method;
            client.call(call.clone(), call).await;
            assert_eq!(
                sink.all().len(),
                before + 1,
                "{sdk:?} {method} made one request"
            );
        }
    }
    let mut requests = Requests::new();
    for delivery in sink.all() {
        let (request, parameters) = request(&delivery);
        requests.entry(request).or_default().extend(parameters);
    }
    requests
}

fn to_text(requests: &Requests) -> String {
    let mut text = String::new();
    for ((method, template), parameters) in requests {
        let names: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let query = if names.is_empty() {
            String::new()
        } else {
            format!(" ?{}", names.join("&"))
        };
        writeln!(text, "{method} {template}{query}").unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_ask_for_what_the_fixture_says() {
    let recorded = to_text(&record().await);
    let copy = install::root().join("requests.txt");
    fs::write(&copy, &recorded).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sdk_requests.txt");
    let expected = fs::read_to_string(&fixture).unwrap_or_default();
    assert!(
        recorded == expected,
        "{} and {} differ:\n{recorded}",
        copy.display(),
        fixture.display()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_the_clients_ask_for_is_served() {
    let broker = Broker::start(&[]).await;
    let (_, unknown) = broker.request_text("GET", "/v2/no-such-thing", &[]).await;
    let fixture = include_str!("../../fixtures/sdk_requests.txt");
    assert!(fixture.lines().count() > 40, "the fixture is not complete");
    let mut unserved = Vec::new();
    for line in fixture.lines() {
        let mut words = line.split(' ');
        let (method, template) = (words.next().unwrap(), words.next().unwrap());
        let mut path = template.replace("{destination}", "http://127.0.0.1:1/");
        for (id, place) in PLACES {
            path = path.replace(place, id);
        }
        let (status, answer) = broker
            .request_text(method, &path, &[("upstash-cron", "0 0 1 1 *")])
            .await;
        if status == 405 || (status == 404 && answer == unknown) || status >= 500 {
            unserved.push(format!("{method} {template}: {status} {answer}"));
        }
    }
    assert!(
        unserved.is_empty(),
        "not served:\n  {}",
        unserved.join("\n  ")
    );
}

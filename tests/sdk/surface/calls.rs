//! One call, or a few, of every method of the clients, with every argument that changes what is sent.

use serde_json::{Value, json};

use crate::client::{Call, js, js_queue, py};

/// A destination that nobody serves.
pub(super) const URL: &str = "http://127.0.0.1:1/path?query=1";

/// Calls of the Python clients, synchronous and asynchronous alike.
pub(super) fn python() -> Vec<Call> {
    let message = json!({
        "url": URL, "body": "b", "method": "PUT", "headers": {"A": "1"}, "content_type": "text/plain", "label": "l",
        "callback": URL, "callback_headers": {"B": "1"}, "failure_callback": URL, "failure_callback_headers": {"C": "1"},
        "retries": 1, "retry_delay": "1", "timeout": 1, "deduplication_id": "d", "content_based_deduplication": false,
        "redact": {"body": true},
    });
    let with = |extra: Value| {
        let mut all = message.clone();
        all.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        all
    };
    let delayed =
        json!({"delay": 1, "not_before": 1, "flow_control": {"key": "k", "rate": 1, "period": 1}});
    let json_message = |extra: Value| {
        let mut all = with(extra);
        all.as_object_mut().unwrap().remove("content_type");
        all
    };
    let schedule = json!({"destination": URL, "cron": "* * * * *", "schedule_id": "ID-schedule", "queue": "ID-queue"});
    let id = |name: &str, value: &str| json!({name: value});
    let mut calls = vec![
        py("message.publish", with(delayed.clone())),
        py("message.publish", id("url_group", "ID-group")),
        py("message.publish_json", json_message(delayed)),
        py("message.enqueue", with(id("queue", "ID-queue"))),
        py(
            "message.enqueue_json",
            json_message(id("queue", "ID-queue")),
        ),
        py("message.batch", json!({"messages": [message]})),
        py(
            "message.batch_json",
            json!({"messages": [json_message(json!({}))]}),
        ),
        py("message.get", id("message_id", "ID-message")),
        py("message.cancel", id("message_id", "ID-message")),
        py(
            "message.cancel_many",
            json!({"message_ids": ["ID-message"]}),
        ),
        py("message.cancel_all", json!({})),
        py("schedule.create", schedule.clone()),
        py("schedule.create_json", schedule),
        py("schedule.list", json!({})),
        py(
            "url_group.upsert_endpoints",
            json!({"url_group": "ID-group", "endpoints": [{"url": URL}]}),
        ),
        py(
            "url_group.remove_endpoints",
            json!({"url_group": "ID-group", "endpoints": [{"url": URL}]}),
        ),
        py("url_group.get", id("url_group", "ID-group")),
        py("url_group.list", json!({})),
        py("url_group.delete", id("url_group", "ID-group")),
        py("dlq.get", id("dlq_id", "ID-dlq")),
        py(
            "dlq.list",
            json!({"cursor": "c", "count": 1, "filter": {
                "message_id": "m", "url": URL, "url_group": "g", "queue": "q", "schedule_id": "s", "from_time": 1, "to_time": 2,
                "response_status": 500, "caller_ip": "127.0.0.1", "label": "l",
            }}),
        ),
        py("dlq.delete", id("dlq_id", "ID-dlq")),
        py("dlq.delete_many", json!({"dlq_ids": ["ID-dlq"]})),
        py(
            "log.list",
            json!({"cursor": "1", "count": 1, "filter": {
                "message_id": "m", "message_ids": ["m", "n"], "state": {"$state": "ACTIVE"}, "url": URL, "url_group": "g", "queue": "q",
                "schedule_id": "s", "from_time": 1, "to_time": 2, "label": "l",
            }}),
        ),
        py(
            "flow_control.pin",
            json!({"flow_control_key": "ID-key", "options": {"parallelism": 1, "rate": 1, "period": 1}}),
        ),
        py(
            "flow_control.unpin",
            json!({"flow_control_key": "ID-key", "options": {"parallelism": true, "rate": true}}),
        ),
        py("flow_control.get_global_parallelism", json!({})),
        py("signing_key.get", json!({})),
        py("signing_key.rotate", json!({})),
        py("queue.list", json!({})),
    ];
    for method in [
        "queue.upsert",
        "queue.get",
        "queue.delete",
        "queue.pause",
        "queue.resume",
    ] {
        calls.push(py(method, id("queue", "ID-queue")));
    }
    for method in [
        "schedule.get",
        "schedule.delete",
        "schedule.pause",
        "schedule.resume",
    ] {
        calls.push(py(method, id("schedule_id", "ID-schedule")));
    }
    for method in [
        "flow_control.get",
        "flow_control.pause",
        "flow_control.resume",
        "flow_control.reset_rate",
    ] {
        calls.push(py(method, id("flow_control_key", "ID-key")));
    }
    calls
}

/// Filters that the TypeScript client takes for dead letters, for logs and for cancelling.
fn filter(changes: Value) -> Value {
    let mut filter = json!({
        "fromDate": {"$date": 1}, "toDate": 2, "callerIp": "127.0.0.1", "label": ["l", "m"], "flowControlKey": ["k"], "url": URL,
        "urlGroup": "g", "scheduleId": "s", "queueName": "q",
    });
    filter
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    filter
}

/// Calls of the TypeScript client.
pub(super) fn javascript() -> Vec<Call> {
    let message = json!({
        "url": URL, "body": "b", "method": "PUT", "headers": {"A": "1"}, "label": ["l", "m"], "callback": URL, "failureCallback": URL,
        "retries": 1, "retryDelay": "1", "timeout": 1, "deduplicationId": "d", "contentBasedDeduplication": true, "delay": 1,
        "notBefore": 1, "flowControl": {"key": "k", "rate": 1, "period": 1}, "redact": {"header": true},
    });
    let schedule = json!({"destination": URL, "cron": "* * * * *", "scheduleId": "ID-schedule", "queueName": "ID-queue"});
    let endpoints = json!([{"name": "ID-group", "endpoints": [{"url": URL}]}]);
    let letters = filter(json!({"messageId": "m", "responseStatus": [500, 502]}));
    let places = json!({"host": "h", "path": "/p"});
    let pending = filter(places.clone());
    let mut logged = filter(places);
    logged.as_object_mut().unwrap().extend([
        ("state".to_owned(), json!("ACTIVE")),
        ("messageId".to_owned(), json!("m")),
    ]);
    let llm = json!({"api": {"name": "llm"}, "body": {}, "callback": URL});
    let chat = json!([{"provider": {"owner": "upstash"}, "model": "m", "messages": [], "system": "s", "user": "u"}]);
    let all = json!({"all": true, "count": 1, "cursor": "c"});
    let ids = json!({"dlqIds": ["ID-dlq"]});
    let mut calls = vec![
        js("publish", json!([message])),
        js("publish", json!([{"urlGroup": "ID-group"}])),
        js("publishJSON", json!([message])),
        js("publishJSON", json!([llm])),
        js("batch", json!([[message]])),
        js("batchJSON", json!([[message]])),
        js(
            "logs",
            json!([{"cursor": "1", "count": 1, "filter": logged}]),
        ),
        js("events", json!([{"messageIds": ["m", "n"]}])),
        js("messages.get", json!(["ID-message"])),
        js("messages.cancel", json!(["ID-message"])),
        js("messages.cancel", json!([["ID-message"]])),
        js("messages.cancel", json!([{"all": true}])),
        js("messages.cancel", json!([{"filter": pending, "count": 1}])),
        js("messages.delete", json!(["ID-message"])),
        js("messages.deleteMany", json!([["ID-message"]])),
        js("messages.deleteAll", json!([])),
        js("schedules.create", json!([schedule])),
        js("schedules.list", json!([])),
        js("schedules.get", json!(["ID-schedule"])),
        js("schedules.delete", json!(["ID-schedule"])),
        js("schedules.pause", json!([{"schedule": "ID-schedule"}])),
        js("schedules.resume", json!([{"schedule": "ID-schedule"}])),
        js("urlGroups.addEndpoints", endpoints.clone()),
        js("urlGroups.removeEndpoints", endpoints),
        js("urlGroups.get", json!(["ID-group"])),
        js("urlGroups.list", json!([])),
        js("urlGroups.delete", json!(["ID-group"])),
        js(
            "dlq.listMessages",
            json!([{"filter": letters, "count": 1, "cursor": "c"}]),
        ),
        js("dlq.listMessages", json!([ids])),
        js("dlq.delete", json!(["ID-dlq"])),
        js("dlq.delete", json!([all])),
        js("dlq.delete", json!([{"filter": letters}])),
        js("dlq.deleteMany", json!([ids])),
        js("dlq.retry", json!(["ID-dlq"])),
        js("dlq.retry", json!([all])),
        js("dlq.retry", json!([{"filter": letters}])),
        js(
            "flowControl.pin",
            json!(["ID-key", {"parallelism": 1, "rate": 1, "period": 1}]),
        ),
        js(
            "flowControl.unpin",
            json!(["ID-key", {"parallelism": true, "rate": true}]),
        ),
        js("flowControl.getGlobalParallelism", json!([])),
        js("workflow.cancel", json!(["ID-run"])),
        js("chat.create", chat.clone()),
        js("chat.prompt", chat),
        js_queue("queue.upsert", "ID-queue", json!([{}])),
        js_queue("queue.enqueue", "ID-queue", json!([message])),
        js_queue("queue.enqueueJSON", "ID-queue", json!([llm])),
    ];
    for method in [
        "queue.get",
        "queue.list",
        "queue.delete",
        "queue.pause",
        "queue.resume",
    ] {
        calls.push(js_queue(method, "ID-queue", json!([])));
    }
    for method in [
        "flowControl.get",
        "flowControl.pause",
        "flowControl.resume",
        "flowControl.resetRate",
    ] {
        calls.push(js(method, json!(["ID-key"])));
    }
    calls
}

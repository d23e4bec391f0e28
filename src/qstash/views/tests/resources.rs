//! What a publish is answered, schedules and flow-control keys.

use super::*;

#[test]
fn a_url_is_answered_by_an_object_and_a_group_by_a_list() {
    let published = |count: u32, is_duplicate: bool, is_group: bool| {
        let messages = (0..count).map(|n| PublishedMessage {
            id: format!("m{n}"),
            url: format!("https://{n}"),
        });
        value(&PublishedJson::from(Published {
            messages: messages.collect(),
            is_duplicate,
            is_group,
        }))
    };
    assert_eq!(published(1, false, false), json!({"messageId": "m0"}));
    let duplicate = json!({"messageId": "m0", "deduplicated": true});
    assert_eq!(published(1, true, false), duplicate);
    let one = json!([{"messageId": "m0", "url": "https://0"}]);
    assert_eq!(published(1, false, true), one);
    let two = json!([
        {"messageId": "m0", "url": "https://0", "deduplicated": true},
        {"messageId": "m1", "url": "https://1", "deduplicated": true},
    ]);
    assert_eq!(published(2, true, true), two);
}

#[test]
fn a_schedule_has_all_its_fields() {
    let mut envelope = full();
    envelope.not_before = Some(TimestampMs(90_000));
    let facts = ScheduleFacts {
        id: "s".to_owned(),
        cron: "* * * * *".to_owned(),
        destination: "https://a/b".to_owned(),
        envelope,
        body: Bytes::from_static(b"text"),
        created_at: NOW,
        is_paused: true,
        last: Some(TimestampMs(1)),
        next: Some(TimestampMs(2)),
        states: vec![
            ("m1".to_owned(), MessageState::Delivered),
            ("m2".to_owned(), MessageState::Failed),
            ("m3".to_owned(), MessageState::Retry),
        ],
        problem: Some("there is none".to_owned()),
    };
    let least = ScheduleFacts {
        envelope: least(),
        is_paused: false,
        last: None,
        next: None,
        states: Vec::new(),
        problem: None,
        ..facts.clone()
    };
    let expected = json!({
        "scheduleId": "s", "cron": "* * * * *", "destination": "https://a/b", "createdAt": NOW.0,
        "method": "PUT", "header": {"Content-Type": ["a/b"], "X-A": ["1", "2"]}, "retries": 2,
        "isPaused": true, "label": "one", "labels": ["one", "two"], "flowControlKey": "k",
        "parallelism": 3, "rate": 4, "period": 2, "callerIP": "127.0.0.1", "callerIp": "127.0.0.1",
        "body": "text", "queueName": "q", "delay": 90, "timeout": 2, "callback": "https://c",
        "callbackHeader": {"X-C": ["1"]}, "failureCallback": "https://f",
        "failureCallbackHeader": {"X-C": ["1"]}, "retryDelayExpression": "1000",
        "lastScheduleTime": 1, "nextScheduleTime": 2,
        "lastScheduleStates": {"m1": "SUCCESS", "m2": "FAIL", "m3": "IN_PROGRESS"},
        "lastScheduleError": "there is none",
        "error": "there is none",
    });
    assert_eq!(value(&ScheduleJson::from(facts)), expected);
    let expected = json!({
        "scheduleId": "s", "cron": "* * * * *", "destination": "https://a/b", "createdAt": NOW.0,
        "method": "POST", "header": {}, "retries": 0, "isPaused": false, "body": "text",
    });
    assert_eq!(value(&ScheduleJson::from(least)), expected);
}

#[test]
fn a_flow_control_key_has_numbers_only() {
    let none = value(&FlowKeyJson::from(FlowView {
        key: "k".to_owned(),
        ..FlowView::default()
    }));
    let expected = json!({
        "flowControlKey": "k", "waitListSize": 0, "parallelismMax": 0, "parallelismCount": 0,
        "rateMax": 0, "rateCount": 0, "ratePeriod": 0, "ratePeriodStart": 0, "isPaused": false,
        "isPinnedParallelism": false, "isPinnedRate": false,
    });
    assert_eq!(none, expected);
    let all = value(&FlowKeyJson::from(FlowView {
        key: "k".to_owned(),
        waiting_count: 1,
        parallelism_max: Some(2),
        parallelism_count: 3,
        rate_max: Some(4),
        rate_count: 5,
        rate_period_ms: Some(60_000),
        rate_period_start: Some(NOW),
        is_paused: true,
        is_pinned_parallelism: true,
        is_pinned_rate: true,
    }));
    assert_eq!(
        (&all["ratePeriod"], &all["ratePeriodStart"]),
        (&json!(60), &json!(1_700_000_000))
    );
    assert_eq!(
        (&all["parallelismMax"], &all["rateMax"]),
        (&json!(2), &json!(4))
    );
    let global = value(&GlobalParallelismJson::from(ParallelismView {
        max: 9,
        count: 1,
    }));
    assert_eq!(global, json!({"parallelismMax": 9, "parallelismCount": 1}));
}

use proptest::prelude::*;

use super::*;

const DLQ: [&str; 16] = [
    "dlqIds",
    "cursor",
    "count",
    "order",
    "messageId",
    "url",
    "topicName",
    "scheduleId",
    "queueName",
    "fromDate",
    "toDate",
    "responseStatus",
    "callerIp",
    "callerIP",
    "label",
    "flowControlKey",
];

const MESSAGES: [&str; 16] = [
    "messageIds",
    "messageId",
    "cursor",
    "count",
    "state",
    "url",
    "host",
    "path",
    "topicName",
    "scheduleId",
    "queueName",
    "fromDate",
    "toDate",
    "callerIp",
    "label",
    "flowControlKey",
];

fn query(text: &str, known: &[&str]) -> Query {
    let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
    Query::parse(text, &known).unwrap()
}

fn dlq(text: &str) -> Result<LetterQuery, String> {
    letters(&query(text, &DLQ), b"").map_err(|error| error.message)
}

fn filter(text: &str) -> LetterFilter {
    match dlq(text).unwrap().selection {
        Some(Selection::Filter(filter)) => filter,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn values_are_repeated_or_separated_by_commas() {
    for text in [
        "label=a&label=b",
        "label=a,b",
        "label=a,+b,&label=a",
        "label=a%2Cb",
    ] {
        assert_eq!(filter(text).labels, ["a", "b"], "{text}");
    }
    let all = filter(
        "url=http://u&topicName=t&queueName=q&scheduleId=s&messageId=m&flowControlKey=k&callerIp=1&callerIP=2\
         &responseStatus=500,0&fromDate=5&toDate=6",
    );
    assert_eq!(
        (all.urls, all.url_groups),
        (vec!["http://u".to_owned()], vec!["t".to_owned()])
    );
    assert_eq!(
        (all.queues, all.schedules),
        (vec!["q".to_owned()], vec!["s".to_owned()])
    );
    assert_eq!(
        (all.message_ids, all.flow_control_keys),
        (vec!["m".to_owned()], vec!["k".to_owned()])
    );
    assert_eq!(all.callers, ["1", "2"]);
    assert_eq!(all.statuses, [500, 0]);
    assert_eq!(all.died_from, Some(TimestampMs(5)));
    assert_eq!(all.died_to, Some(TimestampMs(7)));
}

#[test]
fn urls_are_split_only_before_the_next_url() {
    for (text, expected) in [
        ("url=https://a/x,y", vec!["https://a/x,y"]),
        (
            "url=https://a/x,y,http://b",
            vec!["https://a/x,y", "http://b"],
        ),
        ("url=https://a,+https://b", vec!["https://a", "https://b"]),
        (
            "url=https://a/?q=1,http&url=https://b,",
            vec!["https://a/?q=1,http", "https://b,"],
        ),
    ] {
        assert_eq!(filter(text).urls, expected, "{text}");
    }
}

#[test]
fn ids_win_and_no_ids_select_nothing() {
    let all = dlq("").unwrap();
    assert_eq!(all.selection, Some(Selection::All));
    assert_eq!(all.page, Page::first(Order::OldestFirst, 100));
    let by_id = dlq("dlqIds=a&dlqIds=b,c&label=x&cursor=z").unwrap();
    let ids = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(by_id.selection, Some(Selection::Ids(ids.clone())));
    assert_eq!(by_id.page.cursor, None);
    assert_eq!(dlq("dlqIds=").unwrap().selection, None);
    assert_eq!(dlq("dlqIds=,&label=x").unwrap().selection, None);
    let in_body = |body: &str| letters(&query("", &DLQ), body.as_bytes());
    assert_eq!(
        in_body(r#"{"dlqIds": ["a", "b", "c"]}"#).unwrap().selection,
        Some(Selection::Ids(ids))
    );
    assert_eq!(in_body(r#"{"dlqIds": []}"#).unwrap().selection, None);
    assert_eq!(in_body(r#"{"dlqIds": null}"#).unwrap().selection, None);
    assert_eq!(in_body("{}").unwrap().selection, Some(Selection::All));
    for body in [r#"{"dlqId": ["a"]}"#, r#"{"messageIds": []}"#, "[]", "x"] {
        assert_eq!(in_body(body).unwrap_err().status, 400, "{body}");
    }
}

#[test]
fn pages_have_bounds_and_an_empty_cursor_is_none() {
    let page = dlq("count=7&cursor=abc&order=latestFirst").unwrap().page;
    assert_eq!((page.limit, page.order), (7, Order::NewestFirst));
    assert_eq!(page.cursor.as_deref(), Some("abc"));
    assert_eq!(dlq("cursor=").unwrap().page.cursor, None);
    assert_eq!(
        dlq("order=earliestFirst").unwrap().page.order,
        Order::OldestFirst
    );
    for text in [
        "count=0",
        "count=101",
        "count=x",
        "order=newest_first",
        "count=1&count=2",
    ] {
        assert!(dlq(text).is_err(), "{text}");
    }
}

#[test]
fn a_field_without_a_value_does_not_select_everything() {
    for text in [
        "label=",
        "url=",
        "topicName=,",
        "callerIp=+",
        "responseStatus=",
        "fromDate=",
    ] {
        let error = dlq(text).unwrap_err();
        assert!(
            error.contains(text.split('=').next().unwrap()),
            "{text}: {error}"
        );
    }
    for text in [
        "responseStatus=5xx",
        "responseStatus=1000",
        "fromDate=yesterday",
        "toDate=1.5",
    ] {
        let error = dlq(text).unwrap_err();
        assert!(error.contains("it must be"), "{text}: {error}");
    }
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    assert!(
        dlq(&format!("label={}", many.join(",")))
            .unwrap_err()
            .contains("100 values")
    );
    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    assert!(
        dlq(&format!("dlqIds={}", many.join(",")))
            .unwrap_err()
            .contains("10001 ids")
    );
}

#[test]
fn cancelling_takes_ids_or_a_filter_with_a_count() {
    let read = |text: &str, body: &str| {
        cancel(&query(text, &MESSAGES), body.as_bytes()).map_err(|error| error.message)
    };
    let all = CancelQuery::Filter(Box::default(), None);
    assert_eq!(read("", "").unwrap(), all);
    assert_eq!(read("", "{}").unwrap(), all);
    assert_eq!(
        read("count=100", "").unwrap(),
        CancelQuery::Filter(Box::default(), Some(100))
    );
    assert_eq!(
        read("", r#"{"messageIds": []}"#).unwrap(),
        CancelQuery::Ids(Vec::new())
    );
    assert_eq!(
        read("messageIds=", "").unwrap(),
        CancelQuery::Ids(Vec::new())
    );
    let ids = CancelQuery::Ids(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(read("messageIds=a,b&label=x", "").unwrap(), ids);
    assert_eq!(read("", r#"{"messageIds": ["a", "b"]}"#).unwrap(), ids);
    let CancelQuery::Filter(filter, _) =
        read("host=h&path=/p&fromDate=1&toDate=2&queueName=q", "").unwrap()
    else {
        panic!("no filter");
    };
    assert_eq!(
        (filter.hosts, filter.paths),
        (vec!["h".to_owned()], vec!["/p".to_owned()])
    );
    assert_eq!(filter.created_from, Some(TimestampMs(1)));
    assert_eq!(filter.created_to, Some(TimestampMs(2)));
    for text in ["count=0", "count=501", "host=", "label="] {
        assert!(read(text, "").is_err(), "{text}");
    }
    assert!(read("", r#"{"dlqIds": []}"#).is_err());
}

#[test]
fn logs_are_asked_for_by_state_and_time() {
    let read = |text: &str| logs(&query(text, &MESSAGES)).map_err(|error| error.message);
    let plain = read("").unwrap();
    assert_eq!(plain.filter, Some(LogFilter::default()));
    assert_eq!((plain.count, plain.cursor), (100, None));
    let asked =
        read("state=IN_PROGRESS&fromDate=1&toDate=2&messageId=m&cursor=1700000000000&count=1000");
    let asked = asked.unwrap();
    let filter = asked.filter.unwrap();
    assert_eq!(filter.states, MessageState::IN_PROGRESS);
    assert_eq!(
        (filter.from, filter.to),
        (Some(TimestampMs(1)), Some(TimestampMs(2)))
    );
    assert_eq!(filter.messages.message_ids, ["m"]);
    assert_eq!(
        asked.cursor,
        Some(LogCursor::from_time(TimestampMs(1_700_000_000_000)))
    );
    for (name, state) in [
        ("CREATED", MessageState::Created),
        ("CANCELED", MessageState::Canceled),
        ("CANCELLED", MessageState::Canceled),
        ("FAILED", MessageState::Failed),
    ] {
        let filter = read(&format!("state={name}")).unwrap().filter.unwrap();
        assert_eq!(filter.states, [state]);
    }
    assert_eq!(read("messageIds=").unwrap().filter, None);
    let by_id = read("messageIds=a&messageIds=b&label=x")
        .unwrap()
        .filter
        .unwrap();
    assert_eq!(by_id.messages.message_ids, ["a", "b"]);
    assert_eq!(by_id.messages.labels, [""; 0]);
    for text in ["state=delivered", "cursor=abc", "count=1001", "fromDate=x"] {
        assert!(read(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_query_is_read_or_refused(text in "((url|label|dlqIds|count|cursor|fromDate)=[a-z0-9:/,%+]{0,12}&?){0,5}") {
        let query = query(&text, &DLQ);
        if let Ok(read) = letters(&query, b"") {
            prop_assert!(read.page.limit > 0);
            if let Some(Selection::Filter(filter)) = read.selection {
                prop_assert!(filter != LetterFilter::default());
            }
        }
    }
}

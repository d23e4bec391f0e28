//! Topics, partitions, records, retention, groups: what each route does, seen by another.

use hyper::Method;
use redrive::protocol::group_offsets::{CommitOffsetsRequest, CommittedOffset};
use serde_json::{Value, json};
use storage::offset::Offset;

use crate::harness::{Broker, created_topics};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_created_described_altered_and_deleted() {
    let broker = Broker::start().await;
    let listed = broker.get("/admin/v1/topics").await.expect(200);
    assert_eq!(created_topics(&listed), Vec::<Value>::new());
    let body = r#"{"name": "a", "partition_count": 2, "durability": "written",
        "settings": {"retention_ms": null, "retention_bytes": 5000000, "segment_bytes": 33554432}}"#;
    let created = broker.post("/admin/v1/topics", body).await.expect(201);
    let described = broker.get("/admin/v1/topics/a").await.expect(200);
    assert_eq!(created, described);
    assert_eq!(described["durability"], "written");
    assert_eq!(described["settings"]["retention_ms"], Value::Null);
    assert_eq!(described["settings"]["retention_bytes"], 5_000_000);
    assert_eq!(described["settings"]["segment_bytes"], 33_554_432);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 2);
    let listed = broker.get("/admin/v1/topics").await.expect(200);
    assert_eq!(created_topics(&listed), std::slice::from_ref(&described));

    // What is not named stays; null takes a limit away.
    let change =
        r#"{"partition_count": 3, "settings": {"retention_bytes": null, "retention_ms": 60000}}"#;
    let altered = broker
        .send(Method::PATCH, "/admin/v1/topics/a", &[], change)
        .await
        .expect(200);
    assert_eq!(altered["settings"]["retention_bytes"], Value::Null);
    assert_eq!(altered["settings"]["retention_ms"], 60_000);
    assert_eq!(altered["settings"]["segment_bytes"], 33_554_432);
    assert_eq!(altered["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(broker.get("/admin/v1/topics/a").await.expect(200), altered);
    assert_eq!(broker.client.topic("a").await.unwrap().partitions.len(), 3);

    let deleted = broker.delete("/admin/v1/topics/a").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    let error = broker.get("/admin/v1/topics/a").await.error(404);
    assert_eq!(error, "there is no topic \"a\"");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_in_use_is_deleted_by_force_only() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    broker.produce("a", &[b"1"]).await;
    broker.reject("a", "g", 0, "no").await;
    let error = broker.delete("/admin/v1/topics/a").await.error(409);
    assert!(error.contains("1 live dead letter;"), "{error}");
    broker
        .delete("/admin/v1/topics/a?force=false")
        .await
        .error(409);
    broker
        .delete("/admin/v1/topics/a?force=yes")
        .await
        .error(400);
    broker.get("/admin/v1/topics/a").await.expect(200);
    assert_eq!(
        broker.delete("/admin/v1/topics/a?force=true").await.status,
        204
    );
    broker.get("/admin/v1/topics/a").await.error(404);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bodies_say_what_would_be_right() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    let create = "/admin/v1/topics";
    for (body, status, told) in [
        (r#"{"name": "a"}"#, 409, "there is a topic a already"),
        (r#"{"name": "a/b"}"#, 400, "'/' at place 2"),
        (r#"{"name": "_a"}"#, 400, "the broker's own"),
        (
            r#"{"name": "b", "partition_count": 0}"#,
            400,
            "at least 1 partition",
        ),
        (
            r#"{"name": "b", "partitions": 3}"#,
            400,
            "unknown field `partitions`, expected one of `name`, `partition_count`",
        ),
        (
            r#"{"name": "b", "settings": {"segment_byte": 1}}"#,
            400,
            "settings.segment_byte: unknown field `segment_byte`, expected one of `segment_bytes`",
        ),
        (
            r#"{"name": "b", "settings": {"segment_bytes": 1}}"#,
            400,
            "segment_bytes",
        ),
        (
            r#"{"name": "b", "durability": "never"}"#,
            400,
            "durability: unknown variant `never`, expected `synced` or `written`",
        ),
        (r#"{"name": "b"} x"#, 400, "trailing characters"),
        (r#"{"name": "b", "name": "c"}"#, 400, "duplicate field"),
        ("", 400, "missing field `name`"),
        ("[", 400, "the body"),
    ] {
        let error = broker.post(create, body).await.error(status);
        assert!(error.contains(told), "{body}: {error}");
    }
    let fewer = broker
        .send(
            Method::PATCH,
            "/admin/v1/topics/a",
            &[],
            r#"{"partition_count": 0}"#,
        )
        .await;
    assert!(fewer.error(400).contains("never removed"));
    let refused = broker.announce(create, 1 << 21).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    assert!(refused.contains("larger than 1048576 bytes"), "{refused}");
    let topics = broker.get(create).await.expect(200);
    assert_eq!(created_topics(&topics).len(), 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_targets_say_what_would_be_right() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    for (target, status, told) in [
        (
            "/admin/v1/topics?limit=1",
            400,
            "unknown query parameter \"limit\": this path takes none",
        ),
        ("/admin/v1/topics/nope", 404, "there is no topic \"nope\""),
        (
            "/admin/v1/topics/a/partitions/1",
            404,
            "has no partition 1, it has 1",
        ),
        (
            "/admin/v1/topics/a/partitions/x",
            400,
            "the partition index is \"x\"",
        ),
        (
            "/admin/v1/topics/a/partitions/0/records?form=1",
            400,
            "this path takes from, count",
        ),
        (
            "/admin/v1/topics/a/partitions/0/records?from=latest",
            400,
            "must be earliest, an offset",
        ),
        (
            "/admin/v1/topics/a/partitions/0/records?from=@soon",
            400,
            "\"soon\"",
        ),
        (
            "/admin/v1/topics/a/partitions/0/records?count=0",
            400,
            "must be 1 to 1000",
        ),
        (
            "/admin/v1/topics/a/partitions/0/records?count=1001",
            400,
            "at most 1000",
        ),
        (
            "/admin/v1/topics/a/partitions/0/records?count=1&count=2",
            400,
            "more than once",
        ),
        ("/admin/v1/topics/a/partitions/0/records?from=7", 416, "7"),
        ("/admin/v1/groups/nope", 404, "there is no group \"nope\""),
        ("/admin/v1/nope", 404, "no such resource"),
        ("/v2/publish/x", 401, "no token"),
    ] {
        let error = broker.get(target).await.error(status);
        assert!(error.contains(told), "{target}: {error}");
    }
    let put = broker
        .send(Method::PUT, "/admin/v1/topics/a", &[], "{}")
        .await;
    assert_eq!(put.error(405), "this path takes DELETE, GET, HEAD, PATCH");
    assert_eq!(put.headers["allow"], "DELETE, GET, HEAD, PATCH");
    let head = broker.send(Method::HEAD, "/admin/v1/topics/a", &[], "");
    let head = head.await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peek_shows_records_from_an_offset_or_a_time() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    broker.produce("a", &[b"zero", b"\xff\x00", b"two"]).await;
    let records = "/admin/v1/topics/a/partitions/0/records";
    let all = broker.get(records).await.expect(200);
    let all = all["records"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    let append_time = all[1]["append_time_ms"].as_i64().unwrap();
    assert_eq!(
        all[1],
        json!({"offset": 1, "timestamp_ms": 1_700_000_000_000_i64, "append_time_ms": append_time, "key": "k",
            "value_base64": "/wA=", "headers": [{"name": "h", "value_base64": "/w=="}]})
    );
    assert_eq!(all[0]["value"], "zero");
    let offsets = |answer: Value| -> Vec<u64> {
        let records = answer["records"].as_array().unwrap();
        records
            .iter()
            .map(|record| record["offset"].as_u64().unwrap())
            .collect()
    };
    for (query, expected) in [
        ("?from=earliest&count=2", vec![0, 1]),
        ("?from=2", vec![2]),
        ("?from=3", vec![]),
        ("?from=@0&count=1", vec![0]),
        ("?from=@1970-01-01T00:00:00Z", vec![0, 1, 2]),
        ("?from=@9999-01-01T00:00:00Z", vec![]),
    ] {
        let answer = broker.get(&format!("{records}{query}")).await.expect(200);
        assert_eq!(offsets(answer), expected, "{query}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_runs_when_it_is_asked_to() {
    let broker = Broker::start().await;
    let settings = r#"{"segment_bytes": 1048576, "batch_bytes_max": 1048576, "record_bytes_max": 262144, "retention_bytes": 1048576}"#;
    broker.create("a", 1, settings).await;
    let value = vec![b'x'; 200_000];
    broker.produce("a", &[value.as_slice(); 20]).await;
    let partition = "/admin/v1/topics/a/partitions/0";
    let before = broker.get(partition).await.expect(200);
    let segments = before["segments"].as_array().unwrap();
    assert_eq!(before["log_start_offset"], 0);
    assert_eq!(before["high_watermark"], 20);
    assert_eq!(before["damage"], json!([]));
    assert_eq!(before["refusal"], Value::Null);
    let main: Vec<_> = segments
        .iter()
        .filter(|segment| segment["log"] == "main")
        .collect();
    assert!(main.len() > 2, "{before}");
    let bytes: u64 = main
        .iter()
        .map(|segment| segment["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(before["main_bytes"], bytes);
    assert!(bytes > 4_000_000, "{before}");
    assert_eq!(
        main.iter()
            .filter(|segment| segment["is_sealed"] == false)
            .count(),
        1
    );

    let fields: Vec<_> = segments[0].as_object().unwrap().keys().collect();
    let expected = "base_offset bytes end_offset first_append_ms is_sealed last_append_ms log";
    assert!(fields.into_iter().eq(expected.split(' ')), "{before}");

    let error = broker
        .post("/admin/v1/topics/a/retention", r#"{"force": true}"#)
        .await
        .error(400);
    assert!(error.contains("unknown field `force`"), "{error}");
    let run = broker
        .post("/admin/v1/topics/a/retention", "")
        .await
        .expect(200);
    let after = broker.get(partition).await.expect(200);
    let left = after["segments"].as_array().unwrap().len();
    let deleted = u64::try_from(segments.len() - left).unwrap();
    assert!(deleted > 0, "{after}");
    assert_eq!(
        run,
        json!({"topic": "a", "segment_count": deleted, "log_count": 1})
    );
    assert!(after["main_bytes"].as_u64().unwrap() < bytes);
    let start = after["log_start_offset"].as_u64().unwrap();
    assert!(start > 0);
    assert_eq!(after["segments"][0]["base_offset"], start);
    let error = broker
        .get(&format!("{partition}/records?from=0"))
        .await
        .error(416);
    assert!(error.contains(&start.to_string()), "{error}");
    let again = broker
        .post("/admin/v1/topics/a/retention", "{}")
        .await
        .expect(200);
    assert_eq!(again["segment_count"], 0);
    broker
        .post("/admin/v1/topics/b/retention", "")
        .await
        .error(404);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_shown_with_their_lag_and_forgotten() {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    broker.produce("a", &[b"0", b"1", b"2"]).await;
    let offset = CommittedOffset {
        topic: "a".to_owned(),
        partition: 0,
        offset: Offset(1),
        metadata: "m".to_owned(),
    };
    let request = CommitOffsetsRequest {
        group: "g".to_owned(),
        offsets: vec![offset],
    };
    broker.client.call(&request).await.unwrap();
    let expected = json!({"name": "g", "lag": 2, "partitions": [
        {"topic": "a", "partition": 0, "offset": 1, "high_watermark": 3, "lag": 2, "metadata": "m"}]});
    assert_eq!(broker.get("/admin/v1/groups/g").await.expect(200), expected);
    assert_eq!(
        broker.get("/admin/v1/groups").await.expect(200),
        json!({"groups": [expected]})
    );
    assert_eq!(broker.delete("/admin/v1/groups/g").await.status, 204);
    assert_eq!(
        broker.get("/admin/v1/groups").await.expect(200),
        json!({"groups": []})
    );
    broker.delete("/admin/v1/groups/g").await.error(404);
    broker.delete("/admin/v1/groups/g%20g").await.error(400);
    broker.stop().await;
}

//! Dead letters: listing, counting, getting, retrying, deleting.

use serde_json::{Value, json};

use crate::harness::Broker;

const LETTERS: &str = "/admin/v1/topics/a/dead-letters";

/// Starts a broker with a topic of `count` records, each rejected: even offsets by group `even`, odd ones by group `odd`.
async fn rejected(count: u64) -> (Broker, Vec<String>) {
    let broker = Broker::start().await;
    broker.create("a", 1, "{}").await;
    let values: Vec<_> = (0..count)
        .map(|at| format!("value {at}").into_bytes())
        .collect();
    let values: Vec<_> = values.iter().map(Vec::as_slice).collect();
    broker.produce("a", &values).await;
    let mut ids = Vec::new();
    for at in 0..count {
        let (group, reason) = if at % 2 == 0 {
            ("even", "too even")
        } else {
            ("odd", "too odd")
        };
        ids.push(broker.reject("a", group, at, reason).await);
    }
    (broker, ids)
}

fn ids(answer: &Value) -> Vec<String> {
    let letters = answer["letters"].as_array().unwrap();
    letters
        .iter()
        .map(|letter| letter["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn live(broker: &Broker) -> Vec<String> {
    ids(&broker.get(LETTERS).await.expect(200))
}

async fn log_end(broker: &Broker) -> u64 {
    let partition = broker
        .get("/admin/v1/topics/a/partitions/0")
        .await
        .expect(200);
    partition["log_end_offset"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_listed_by_fields_and_pages() {
    let (broker, all) = rejected(5).await;
    assert_eq!(live(&broker).await, all);
    let fingerprint = {
        let letter = broker
            .get(&format!("/admin/v1/dead-letters/{}", all[1]))
            .await
            .expect(200);
        assert_eq!(letter["id"], all[1]);
        assert_eq!(letter["group"], "odd");
        assert_eq!(letter["reason"], "too odd");
        assert_eq!(letter["disposition"], "rejected");
        assert_eq!(letter["source_offset"], 1);
        assert_eq!(letter["value"], "value 1");
        assert_eq!(letter["key"], "k");
        assert_eq!(
            letter["headers"],
            json!([{"name": "h", "value_base64": "/w=="}])
        );
        assert_eq!(letter.get("destination"), None);
        letter["fingerprint"].as_str().unwrap().to_owned()
    };
    let [odd, even] = [vec![&all[1], &all[3]], vec![&all[0], &all[2], &all[4]]];
    let every: Vec<_> = all.iter().collect();
    for (query, expected) in [
        ("group=odd".to_owned(), &odd),
        ("group=odd&group=even".to_owned(), &every),
        ("group=odd&group=nobody".to_owned(), &odd),
        (format!("fingerprint={fingerprint}"), &odd),
        ("disposition=rejected&group=even".to_owned(), &even),
        ("disposition=3&group=even".to_owned(), &even),
        ("disposition=not_retryable".to_owned(), &vec![]),
        ("status=503".to_owned(), &vec![]),
        ("url=http://x".to_owned(), &vec![]),
        ("label=x".to_owned(), &vec![]),
        ("caller=x".to_owned(), &vec![]),
        (
            "died_from=0&died_to=9999-01-01T00:00:00Z".to_owned(),
            &every,
        ),
        ("died_to=5".to_owned(), &vec![]),
        ("died_from=9999-01-01T00:00:00Z".to_owned(), &vec![]),
    ] {
        let found = broker.get(&format!("{LETTERS}?{query}")).await.expect(200);
        assert_eq!(
            ids(&found),
            expected.iter().map(|id| (*id).clone()).collect::<Vec<_>>(),
            "{query}"
        );
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    // A cursor that leads nowhere new must not go on for ever.
    for at in 0.. {
        assert!(at < 4, "{seen:?}");
        let page = broker
            .get(&format!("{LETTERS}?order=newest_first&limit=2{cursor}"))
            .await
            .expect(200);
        seen.extend(ids(&page));
        let Some(next) = page["cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    seen.reverse();
    assert_eq!(seen, all);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_by_disposition_group_fingerprint_and_age() {
    let (broker, _) = rejected(5).await;
    let stats = broker.get(&format!("{LETTERS}/stats")).await.expect(200);
    assert_eq!(
        stats["counts"],
        json!({"live": 5, "republished": 0, "deleted": 0, "expired": 0})
    );
    assert_eq!(stats["selected_count"], 5);
    assert_eq!(
        stats["by_disposition"],
        json!([{"disposition": "rejected", "count": 5}])
    );
    let mut groups = stats["by_group"].as_array().unwrap().clone();
    groups.sort_by_key(|group| group["group"].to_string());
    assert_eq!(
        groups,
        [
            json!({"group": "even", "count": 3}),
            json!({"group": "odd", "count": 2})
        ]
    );
    assert_eq!(stats["by_fingerprint"][0]["reason"], "too even");
    assert_eq!(stats["by_fingerprint"][0]["count"], 3);
    assert_eq!(
        stats["by_age"][0],
        json!({"age_ms_max": 3_600_000, "count": 5})
    );
    assert_eq!(
        stats["by_age"].as_array().unwrap().last().unwrap()["age_ms_max"],
        Value::Null
    );
    let odd = broker
        .get(&format!("{LETTERS}/stats?group=odd"))
        .await
        .expect(200);
    assert_eq!(odd["selected_count"], 2);
    assert_eq!(odd["counts"]["live"], 5);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn touching_everything_takes_all_true() {
    let (broker, all) = rejected(3).await;
    for action in ["retry", "delete"] {
        let target = format!("{LETTERS}/{action}");
        for body in [
            "",
            "{}",
            r#"{"all": false}"#,
            r#"{"ids": []}"#,
            r#"{"groups": []}"#,
            r#"{"limit": 3}"#,
        ] {
            let error = broker.post(&target, body).await.error(400);
            assert!(error.contains("\"all\": true"), "{body}: {error}");
        }
        for (body, told) in [
            (
                r#"{"all": true, "groups": ["odd"]}"#,
                "takes no ids and no fields",
            ),
            (r#"{"ids": ["x"], "groups": ["odd"]}"#, "not both"),
            (r#"{"all": true, "limit": 20001}"#, "it must be 1 to 20000"),
            (r#"{"all": true, "limit": 0}"#, "it must be 1 to 20000"),
            (r#"{"all": true, "cursor": "x"}"#, "cursor"),
            (
                r#"{"all": true, "order": "random"}"#,
                "oldest_first or newest_first",
            ),
            (
                r#"{"group": ["odd"]}"#,
                "unknown field `group`, expected one of `ids`, `all`, `groups`",
            ),
            (r#"{"fingerprints": ["zz"]}"#, "zz"),
            (
                r#"{"dispositions": ["dead"]}"#,
                "retries_exhausted, not_retryable",
            ),
        ] {
            let error = broker.post(&target, body).await.error(400);
            assert!(error.contains(told), "{body}: {error}");
        }
    }
    assert_eq!(live(&broker).await, all);
    assert_eq!(log_end(&broker).await, 3);

    let retried = broker
        .post(&format!("{LETTERS}/retry"), r#"{"all": true}"#)
        .await
        .expect(200);
    assert_eq!(ids(&retried), all);
    assert_eq!(retried["republished_count"], 3);
    assert_eq!(retried["failed_count"], 0);
    assert_eq!(retried["cursor"], Value::Null);
    assert!(live(&broker).await.is_empty());
    assert_eq!(log_end(&broker).await, 6);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retried_letter_stands_in_the_log_once_more() {
    let (broker, all) = rejected(4).await;
    let body = format!(r#"{{"ids": ["{}"], "request_id": "r"}}"#, all[2]);
    let target = format!("{LETTERS}/retry");
    let first = broker.post(&target, &body).await.expect(200);
    let message_id = first["letters"][0]["message_id"].clone();
    assert_eq!(
        first["letters"],
        json!([{"id": all[2], "is_new": true, "message_id": message_id, "partition": 0, "offset": 4}])
    );
    let again = broker.post(&target, &body).await.expect(200);
    assert_eq!(again["letters"][0]["is_new"], false);
    assert_eq!(again["letters"][0]["message_id"], message_id);
    assert_eq!(
        (&again["republished_count"], &again["repeated_count"]),
        (&json!(0), &json!(1))
    );
    let one = broker
        .post(&format!("/admin/v1/dead-letters/{}/retry", all[2]), "")
        .await
        .expect(200);
    assert_eq!(one["message_id"], message_id);
    assert_eq!(one["is_new"], false);
    assert_eq!(log_end(&broker).await, 5);
    let records = broker
        .get("/admin/v1/topics/a/partitions/0/records?from=4")
        .await
        .expect(200);
    assert_eq!(records["records"][0]["value"], "value 2");
    broker
        .get(&format!("/admin/v1/dead-letters/{}", all[2]))
        .await
        .error(404);
    // A letter that was resolved in one way is not resolved in another.
    let republished = format!("/admin/v1/dead-letters/{}", all[2]);
    let error = broker.delete(&republished).await.error(409);
    assert!(error.contains("was republished"), "{error}");

    let odd = broker
        .post(
            &target,
            r#"{"groups": ["odd"], "limit": 1, "order": "newest_first"}"#,
        )
        .await
        .expect(200);
    assert_eq!(ids(&odd), [all[3].clone()]);
    let cursor = odd["cursor"].as_str().unwrap();
    let body = format!(r#"{{"groups": ["odd"], "order": "newest_first", "cursor": "{cursor}"}}"#);
    assert_eq!(
        ids(&broker.post(&target, &body).await.expect(200)),
        [all[1].clone()]
    );
    assert_eq!(live(&broker).await, [all[0].clone()]);

    let one = format!("/admin/v1/dead-letters/{}/retry", all[0]);
    assert_eq!(
        broker
            .post(&one, r#"{"request_id": "x"}"#)
            .await
            .expect(200)["is_new"],
        true
    );
    assert!(live(&broker).await.is_empty());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_letters_are_gone_and_append_nothing() {
    let (broker, all) = rejected(4).await;
    let one = format!("/admin/v1/dead-letters/{}", all[0]);
    assert_eq!(
        broker.delete(&one).await.expect(200),
        json!({"id": all[0], "is_new": true})
    );
    broker.delete(&one).await.error(404);
    broker.get(&one).await.error(404);
    broker.post(&format!("{one}/retry"), "").await.error(404);
    let body = format!(r#"{{"ids": ["{}", "{}", "nonsense"]}}"#, all[1], all[0]);
    let deleted = broker
        .post(&format!("{LETTERS}/delete"), &body)
        .await
        .expect(200);
    assert_eq!(deleted["deleted_count"], 1);
    assert_eq!(deleted["repeated_count"], 0);
    assert_eq!(deleted["failed_count"], 2);
    assert_eq!(deleted["letters"][0], json!({"id": all[1], "is_new": true}));
    assert!(
        deleted["letters"][2]["error"]
            .as_str()
            .unwrap()
            .contains("nonsense")
    );
    assert_eq!(live(&broker).await, all[2..]);
    let rest = broker
        .post(
            &format!("{LETTERS}/delete"),
            r#"{"dispositions": ["rejected"]}"#,
        )
        .await
        .expect(200);
    assert_eq!(rest["deleted_count"], 2);
    assert!(live(&broker).await.is_empty());
    assert_eq!(log_end(&broker).await, 4);
    for (id, status) in [("nonsense".to_owned(), 400), (flipped(&all[0]), 400)] {
        broker
            .get(&format!("/admin/v1/dead-letters/{id}"))
            .await
            .error(status);
        broker
            .delete(&format!("/admin/v1/dead-letters/{id}"))
            .await
            .error(status);
    }
    broker
        .get("/admin/v1/topics/nope/dead-letters")
        .await
        .error(404);
    broker.stop().await;
}

/// Returns an id with its last character mistyped.
fn flipped(id: &str) -> String {
    let (rest, last) = id.split_at(id.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

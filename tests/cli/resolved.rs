//! What `redrive dlq` says of letters that are live no more.

use crate::broker::{Broker, json, run, stderr};

/// A broker whose topic has this many letters of a few KiB. Returns their ids, the oldest first.
fn with_letters(flags: &[&str], count: usize) -> (Broker, Vec<String>) {
    let broker = Broker::start();
    let mut create = broker.command(&["topic", "create", "t"]);
    create.args(flags);
    let created = run(create);
    assert_eq!(created.status.code(), Some(0), "{}", stderr(&created));
    broker.pipe(&["produce", "t"], "a\n".repeat(count).as_bytes());
    let details = "x".repeat(4096);
    for offset in 0..count {
        let offset = offset.to_string();
        let reject = [
            "reject", "t", "0", &offset, "--reason", "no", "--group", "g",
        ];
        let mut reject = broker.command(&reject);
        reject.args(["--details", &details]);
        let rejected = run(reject);
        assert_eq!(rejected.status.code(), Some(0), "{}", stderr(&rejected));
    }
    let listed = json(&run(broker.command(&["dlq", "list", "t", "--json"])));
    let letters = listed["letters"].as_array().unwrap().iter();
    let ids = letters.map(|letter| letter["id"].as_str().unwrap().to_owned());
    let ids: Vec<_> = ids.collect();
    assert_eq!(ids.len(), count);
    (broker, ids)
}

/// What is said of a letter that cannot be shown.
fn told(broker: &Broker, id: &str) -> String {
    let output = run(broker.command(&["dlq", "get", "t", id]));
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    told
}

#[test]
fn a_letter_that_was_resolved_is_not_called_unknown() {
    let (broker, ids) = with_letters(&[], 2);
    let retry = ["dlq", "retry", "t", &ids[0], "--json"];
    let fresh = &json(&run(broker.command(&retry)))["letters"][0]["result"];
    let message = fresh["message_id"].as_str().unwrap();
    let id = &ids[0];
    let republished = format!(
        "dead letter {id} was republished: it is message {message} now, offset 2 of partition 0"
    );
    let said = told(&broker, id);
    assert!(said.contains(&republished), "{said}");
    assert!(!said.contains("unknown"), "{said}");

    let id = &ids[1];
    let delete = ["dlq", "delete", "t", id];
    assert_eq!(run(broker.command(&delete)).status.code(), Some(0));
    let said = told(&broker, id);
    assert!(
        said.contains(&format!("dead letter {id} was deleted")),
        "{said}"
    );
    assert!(!said.contains("unknown"), "{said}");
    // Who deletes it again hears the same.
    let again = run(broker.command(&delete));
    let said = stderr(&again);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("dead letter {id} was deleted")),
        "{said}"
    );
}

#[test]
fn a_letter_that_retention_has_deleted_is_told_from_one_that_never_was() {
    let flags = [
        "--segment-bytes",
        "16KiB",
        "--dead-letter-retention-bytes",
        "1KiB",
    ];
    let (broker, ids) = with_letters(&flags, 12);
    let swept = run(broker.command(&["retention", "run", "t"]));
    assert_eq!(swept.status.code(), Some(0), "{}", stderr(&swept));
    let said = told(&broker, &ids[0]);
    assert!(said.contains("was resolved or has expired"), "{said}");
    // The last one has its id from the same partition, and is live in the active segment.
    let last = run(broker.command(&["dlq", "get", "t", &ids[11]]));
    assert_eq!(last.status.code(), Some(0), "{}", stderr(&last));
}

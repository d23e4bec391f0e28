//! A flipped bit in the header of a segment: what a broker does with it, what `verify` says, and what `repair` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::broker::{self, Broker, run, stderr, stdout};

fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// A stopped broker with a record, and the segment that holds it.
fn stopped() -> (Broker, PathBuf) {
    let mut broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    assert!(broker.stop("-TERM").success());
    // Those of pushed messages come before it.
    let segment = broker
        .data_dir()
        .join("0000000009/main/00000000000000000000.log");
    assert!(segment.exists());
    (broker, segment)
}

fn ran(broker: &Broker, words: &[&str]) -> Output {
    let mut command = broker.command(words);
    command.arg("--data-dir").arg(broker.data_dir());
    run(command)
}

#[test]
fn a_partition_that_a_damaged_header_has_made_read_only_is_mended() {
    let (mut broker, segment) = stopped();
    let sound = fs::read(&segment).unwrap();
    flip(&segment, 17);
    broker.restart();
    let consumed = run(broker.command(&["consume", "t", "--from", "earliest"]));
    assert_eq!(stdout(&consumed), "a\n");
    let (head, told) = broker.answer("GET /readyz");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let expected = "is damaged, and no offset with it; `redrive verify` says what to do";
    assert!(told.contains(expected), "{told}");
    // While the broker runs nothing is touched.
    let refused = ran(&broker, &["repair", "--headers"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("stop the broker first"));
    assert!(broker.stop("-TERM").success());

    let verified = ran(&broker, &["verify"]);
    assert_eq!(verified.status.code(), Some(1));
    let (told, hint) = (stdout(&verified), stderr(&verified));
    assert!(told.contains(segment.to_str().unwrap()), "{told}");
    assert!(told.contains("; `repair` can mend it"), "{told}");
    assert!(hint.contains("`redrive repair --headers`"), "{hint}");

    let repaired = ran(&broker, &["repair", "--headers", "--partition", "9"]);
    assert_eq!(repaired.status.code(), Some(0), "{}", stderr(&repaired));
    let copy = segment.with_extension("old-header");
    let told = stdout(&repaired);
    for part in [
        segment.to_str().unwrap(),
        copy.to_str().unwrap(),
        "1 header written anew",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(fs::read(&copy).unwrap().len(), 32);
    assert!(fs::read(&segment).unwrap() == sound);
    let verified = ran(&broker, &["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
    let again = ran(&broker, &["repair", "--headers"]);
    assert!(stdout(&again).contains("no segment header is damaged"));
    broker.restart();
    let produced = broker.pipe(&["produce", "t"], b"b\n");
    assert_eq!(produced.status.code(), Some(0), "{}", stderr(&produced));
    let consumed = run(broker.command(&["consume", "t", "--from", "earliest"]));
    assert_eq!(stdout(&consumed), "a\nb\n");
}

#[test]
fn a_broker_that_the_header_of_the_control_log_keeps_from_starting_is_mended() {
    let (mut broker, _) = stopped();
    let control = broker.data_dir().join("control/00000000000000000000.log");
    flip(&control, 30);
    let refused = ran(&broker, &["serve"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let repaired = ran(&broker, &["repair", "--headers", "--json"]);
    assert_eq!(repaired.status.code(), Some(0), "{}", stderr(&repaired));
    let told: serde_json::Value = broker::json(&repaired);
    assert_eq!(told["mended"][0]["log"], "control", "{told}");
    assert_eq!(told["left"].as_array().unwrap().len(), 0, "{told}");
    broker.restart();
    let consumed = run(broker.command(&["consume", "t", "--from", "earliest"]));
    assert_eq!(stdout(&consumed), "a\n");
}

#[test]
fn a_header_that_is_not_certain_is_left_and_the_reason_is_said() {
    let (broker, segment) = stopped();
    flip(&segment, 17);
    flip(&segment, 33);
    let before = fs::read(&segment).unwrap();
    let repaired = ran(&broker, &["repair", "--headers"]);
    assert_eq!(repaired.status.code(), Some(1), "{}", stdout(&repaired));
    let told = stdout(&repaired);
    assert!(told.contains("left as it is: segment header: "), "{told}");
    assert!(
        told.contains("the first batch does not say what it held"),
        "{told}"
    );
    let hint = stderr(&repaired);
    assert!(hint.contains("1 damaged header left as it is"), "{hint}");
    assert!(fs::read(&segment).unwrap() == before);
}

//! The binary as its users meet it: over pipes, signals and real sockets. Every wait has an end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "tests may panic"
)]

mod broker;
mod consuming;
mod edges;
mod headers;
mod lost_answers;
mod measuring;
#[path = "../admin/pushed.rs"]
mod pushed;
mod pushed_letters;
mod resolved;
mod stopping;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use broker::{Broker, run, stderr, stdout};

fn lines(count: usize) -> String {
    let mut text = String::new();
    for line in 0..count {
        writeln!(text, "{{\"id\":{line},\"k\":\"{}\"}}", line % 7).unwrap();
    }
    text
}

#[test]
fn what_is_produced_is_consumed_byte_for_byte() {
    let broker = Broker::start();
    let file = broker.directory.path().join("input");
    // An empty line, bytes that are no text, a line without end.
    let mut input = lines(20_000).into_bytes();
    input.extend_from_slice(b"\n\xff\xfe\0\r\nlast");
    fs::write(&file, &input).unwrap();
    for compression in ["none", "lz4", "zstd"] {
        let topic = format!("t-{compression}");
        let path = file.to_str().unwrap();
        let produced =
            run(broker.command(&["produce", &topic, path, "--compression", compression]));
        assert_eq!(produced.status.code(), Some(0), "{}", stderr(&produced));
        let said = stderr(&produced);
        assert!(said.contains("created topic"), "{said}");
        assert!(said.contains("20003 records acknowledged"), "{said}");
        let consumed = run(broker.command(&["consume", &topic]));
        assert_eq!(consumed.status.code(), Some(0));
        assert!(
            consumed.stdout.strip_suffix(b"\n") == Some(&input),
            "{compression}"
        );
    }
}

#[test]
fn keys_keep_their_order_over_partitions() {
    let broker = Broker::start();
    run(broker.command(&["topic", "create", "t", "--partitions", "8"]));
    let input = lines(5_000);
    let arguments = ["produce", "t", "--key-field", "k", "--json"];
    let produced = broker.pipe(&arguments, input.as_bytes());
    assert_eq!(broker::json(&produced)["acknowledged"], 5_000);
    let consumed = stdout(&run(broker.command(&["consume", "t"])));
    let of_key = |text: &str, key: usize| -> Vec<String> {
        let mark = format!("\"k\":\"{key}\"");
        text.lines()
            .filter(|line| line.contains(&mark))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(consumed.lines().count(), 5_000);
    for key in 0..7 {
        assert_eq!(of_key(&consumed, key), of_key(&input, key), "key {key}");
    }
}

#[test]
fn describe_has_the_offsets_that_scripts_read() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\nb\nc\n");
    let topic = broker::json(&run(broker.command(&["topic", "describe", "t", "--json"])));
    let partition = &topic["partitions"][0];
    assert_eq!(partition["log_start_offset"], 0);
    assert_eq!(partition["high_watermark"], 3);
    assert_eq!(partition["log_end_offset"], 3);
    let arguments = ["topic", "describe", "t", "--json", "--segments"];
    let topic = broker::json(&run(broker.command(&arguments)));
    assert_eq!(topic["partitions"][0]["segments"][0]["base_offset"], 0);
}

#[test]
fn a_group_goes_on_behind_what_it_has_read() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\nb\nc\nd\n");
    let read = |count: &str| {
        stdout(&run(
            broker.command(&["consume", "t", "--group", "g", "--count", count])
        ))
    };
    assert_eq!(read("1"), "a\n");
    assert_eq!(read("2"), "b\nc\n");
    let group = broker::json(&run(broker.command(&["group", "describe", "g", "--json"])));
    assert_eq!(group["lag"], 1);
    assert_eq!(read("9"), "d\n");
    assert_eq!(read("9"), "");
}

#[test]
fn dead_letters_are_listed_in_pages_and_retried_once() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], lines(12).as_bytes());
    for offset in 0..10 {
        let offset = offset.to_string();
        let arguments = [
            "reject", "t", "0", &offset, "--reason", "no", "--group", "g",
        ];
        let rejected = run(broker.command(&arguments));
        assert_eq!(rejected.status.code(), Some(0), "{}", stderr(&rejected));
    }
    let mut offsets = Vec::new();
    let mut cursor: Option<String> = None;
    for _page in 0..10 {
        let mut arguments = vec!["dlq", "list", "t", "--json", "--count", "4", "--group", "g"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--cursor", cursor]);
        }
        let page = broker::json(&run(broker.command(&arguments)));
        let letters = page["letters"].as_array().unwrap();
        offsets.extend(
            letters
                .iter()
                .map(|letter| letter["source_offset"].as_u64().unwrap()),
        );
        cursor = page["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    let nothing_said = run(broker.command(&["dlq", "retry", "t"]));
    assert_eq!(nothing_said.status.code(), Some(2));
    let retry = || {
        broker::json(&run(
            broker.command(&["dlq", "retry", "t", "--all", "--json"])
        ))
    };
    assert_eq!(retry()["republished"], 10);
    assert_eq!(retry()["republished"], 0);
    let stats = broker::json(&run(broker.command(&["dlq", "stats", "t", "--json"])));
    assert_eq!(stats["counts"]["live"], 0);
    assert_eq!(stats["counts"]["republished"], 10);
    let everybody = stdout(&run(broker.command(&["consume", "t"])));
    assert_eq!(everybody, lines(12));
    let group = stdout(&run(broker.command(&["consume", "t", "--group", "g"])));
    assert_eq!(group.lines().count(), 22);
}

#[test]
fn a_closed_pipe_is_success() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], lines(50_000).as_bytes());
    let mut consumer = broker
        .command(&["consume", "t", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    consumer
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let output = broker::wait(consumer);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn failures_say_what_is_wrong_and_exit_with_1() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    let no_http = format!("http://{}", broker.protocol);
    for (arguments, said) in [
        (&["consume", "nope"][..], "unknown topic"),
        (&["consume", "t", "--partition", "3"], "has no partition 3"),
        (&["consume", "t", "--from", "17"], "it holds 0 to 1"),
        (&["topic", "create", "t"], "exists"),
        (&["group", "describe", "nope"], "no group nope"),
        (
            &["produce", "t", "/does/not/exist"],
            "cannot open /does/not/exist",
        ),
        (&["topic", "list", "--token", "wrong"], "wrong token"),
        (&["retention", "run", "nope"], "404"),
        (
            &["topic", "list", "--addr", broker.http.as_str()],
            "speaks HTTP, not the binary protocol",
        ),
        (
            &["retention", "run", "t", "--url", no_http.as_str()],
            "does not speak HTTP",
        ),
        (
            &["topic", "create", "u", "--retention-ms", "7"],
            "must be a duration of at least 1s",
        ),
    ] {
        let output = run(broker.command(arguments));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.starts_with("error: ") && text.contains(said),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn wrong_usage_is_told_by_what_would_be_right_and_exits_with_2() {
    let broker = Broker::start();
    for (wrong, said) in [
        (
            &["consume", "t", "--from", "yesterday"][..],
            "expected earliest",
        ),
        (&["topic", "create", "a/b"], "'a/b'"),
        (
            &["reject", "t", "0", "0", "--reason", "two\nlines"],
            "more than one line",
        ),
        (&["dlq", "get", "t", "foo"], "23 characters"),
        (&["dlq", "retry", "t", "foo"], "23 characters"),
        (&["dlq", "delete", "t", "foo"], "23 characters"),
        (&["topic", "list", "--addr", "foo"], "takes HOST:PORT"),
        (&["produce", "t", "--addr", "foo"], "takes HOST:PORT"),
        (
            &["retention", "run", "t", "--url", "ftp://x"],
            "takes http://HOST:PORT",
        ),
        (
            &["retention", "run", "t", "--url", "foo"],
            "takes http://HOST:PORT",
        ),
        (&["serve", "--http", "foo"], "foo"),
        (&["serve", "--retention-ms", "5x"], "5x"),
        (&["serve", "--segment-bytes", "1KB"], "1KB"),
        (&["serve", "--set", "foo=bar"], "foo"),
    ] {
        let output = run(broker.command(wrong));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {text}");
        assert!(text.contains(said), "{wrong:?}: {text}");
    }
    for (variable, command) in [
        ("REDRIVE_ADDR", &["topic", "list"][..]),
        ("REDRIVE_URL", &["retention", "run"]),
    ] {
        let mut command = broker.command(command);
        command.env(variable, "foo");
        let output = run(command);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{variable}: {text}");
        assert!(text.contains(variable) && !text.contains("hint"), "{text}");
    }
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let broker = Broker::start();
    let serve = |arguments: &[&str]| {
        let mut command = broker.command(&["serve"]);
        run({
            command.args(arguments);
            command
        })
    };
    let free = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let other = broker.directory.path().join("other");
    let other = other.to_str().unwrap();
    let config = broker.directory.path().join("c.toml");
    fs::write(&config, "[topic]\nsegment_bytez = 1\n").unwrap();
    let config = config.to_str().unwrap();
    let pid = broker.pid().to_string();
    let data = broker.data_dir();
    for (arguments, said) in [
        (
            [&["--data-dir", data.to_str().unwrap()][..], &free].concat(),
            vec![pid.as_str(), "redrive"],
        ),
        (
            vec![
                "--data-dir",
                other,
                "--listen",
                &broker.protocol,
                "--http",
                "127.0.0.1:0",
            ],
            vec![&broker.protocol],
        ),
        (vec!["--config", config], vec!["line 2", "segment_bytez"]),
        (vec!["--listen", "0.0.0.0:7733"], vec!["no token is set"]),
    ] {
        let output = serve(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        for word in said {
            assert!(
                text.starts_with("error: ") && text.contains(word),
                "{arguments:?}: {text}"
            );
        }
    }
}

#[test]
fn a_stopped_broker_exits_with_0_and_has_everything_when_it_is_back() {
    let mut broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\nb\n");
    let status = broker.stop("-TERM");
    assert_eq!(status.code(), Some(0));
    broker.restart();
    assert_eq!(stdout(&run(broker.command(&["consume", "t"]))), "a\nb\n");
    assert_eq!(broker.stop("-INT").code(), Some(0));
    // Its terminal was closed. Below `nohup` it would go on, as this process would, of which it is a child.
    if !redrive::cli::ignores_hangup() {
        broker.restart();
        assert_eq!(broker.stop("-HUP").code(), Some(0));
    }
}

#[test]
fn a_broker_killed_during_produce_loses_nothing_and_stores_nothing_twice() {
    let mut broker = Broker::start();
    let input = lines(60_000);
    let (first, rest) = input.split_at(input.len() / 2);
    let mut producer = broker
        .command(&["produce", "t", "--batch", "100", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = producer.stdin.take().unwrap();
    pipe.write_all(first.as_bytes()).unwrap();
    // The first record is readable: the producer is at work.
    let seen = run(broker.command(&["consume", "t", "--follow", "--count", "1"]));
    if seen.status.code() != Some(0) {
        // The topic was not there yet; the kill then comes even earlier.
        assert!(stderr(&seen).contains("unknown topic"), "{}", stderr(&seen));
    }
    broker.stop("-KILL");
    broker.restart();
    pipe.write_all(rest.as_bytes()).unwrap();
    drop(pipe);
    let output = broker::wait(producer);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(broker::json(&output)["acknowledged"], 60_000);
    let consumed = stdout(&run(broker.command(&["consume", "t"])));
    assert!(consumed == input, "{} lines", consumed.lines().count());
}

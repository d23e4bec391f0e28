//! What people run into at the edges: offsets that are gone, refusals that pass, addresses of two brokers, lines that are
//! too long.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::broker::{self, Broker, run, stderr, stdout};
use crate::lines;

#[test]
fn only_one_of_the_two_addresses_is_not_enough_for_what_needs_both() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    for arguments in [
        &["retention", "run"][..],
        &["retention", "run", "t"],
        &["topic", "describe", "t", "--segments"],
    ] {
        let mut command = broker.command(arguments);
        command.env_remove("REDRIVE_URL");
        let output = run(command);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains("give the same broker's --url"), "{text}");
        let output = run(broker.command(arguments));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn an_error_of_the_command_line_does_not_ask_for_what_the_environment_gives() {
    let broker = Broker::start();
    let output = run(broker.command(&["reject", "t"]));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--reason") && !text.contains("--addr"),
        "{text}"
    );
}

#[test]
fn a_record_that_is_too_large_or_has_no_key_is_told_by_its_line_or_counted() {
    let broker = Broker::start();
    let create = ["topic", "create", "t", "--record-bytes-max", "1KiB"];
    assert_eq!(run(broker.command(&create)).status.code(), Some(0));
    let file = broker.directory.path().join("input");
    fs::write(&file, format!("a\n{}\nb\n", "x".repeat(1025))).unwrap();
    let path = file.to_str().unwrap();
    let output = run(broker.command(&["produce", "t", path]));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = "line 2: the record has 1025 bytes, topic t takes at most 1024";
    assert!(text.contains(expected), "{text}");
    let go_on = "hint: the topic has 1 line of the input: send the rest from line 2 on";
    assert!(text.contains(go_on), "{text}");
    fs::write(&file, "{}\n{}\n7\n{}\n").unwrap();
    let output = run(broker.command(&["produce", "t", path, "--key-field", "k"]));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("2 records acknowledged"), "{text}");
    assert!(text.contains("error: line 3: "), "{text}");
    assert!(
        text.contains(", expected a JSON object at column 1"),
        "{text}"
    );
    let go_on = "hint: the topic has 2 lines of the input: send the rest from line 3 on";
    assert!(text.contains(go_on), "{text}");
    let output = broker.pipe(
        &["produce", "t", "--key-field", "nope"],
        b"{}\n{\"nope\":1}\n{\"nope\":null}\n",
    );
    let text = stderr(&output);
    assert!(text.contains("2 records without field nope"), "{text}");
}

/// Nothing has been read yet that a signal could lose.
#[test]
fn a_signal_ends_a_producer_that_finds_no_broker_at_once() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let mut producer = Command::new(env!("CARGO_BIN_EXE_redrive"))
        .args(["--addr", &address, "produce", "t"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(producer.stderr.take().unwrap()).lines();
    let pid = producer.id();
    broker::wait_for(pid, || {
        lines.find(|line| line.as_ref().unwrap().contains("trying again for"))
    })
    .unwrap()
    .unwrap();
    // Not SIGINT: who is started in the background ignores that one.
    broker::signal(pid, "-TERM");
    let status = broker::wait_for(pid, || producer.wait().unwrap());
    assert_eq!(status.signal(), Some(15), "{status}");
}

#[test]
fn a_configuration_that_would_not_be_served_is_not_called_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redrive.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command.args(["config", "check", file.to_str().unwrap()]);
        run(command)
    };
    let output = check("[destinations]\nallowed = [\"10.1.0.0/16\"]\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for (key, said) in [
        (
            "allowed = [\"10.1.0.0/99\"]",
            "destinations.allowed: 10.1.0.0/99: ",
        ),
        (
            "ca_file = \"/nowhere/ca.pem\"",
            "cannot read destinations.ca_file = /nowhere/ca.pem: ",
        ),
    ] {
        let output = check(&format!("[destinations]\n{key}\n"));
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        let expected = format!("error: {}, line 2: {said}", file.display());
        assert!(told.contains(&expected), "{told}");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_redrive"));
        serve.args(["serve", "--config", file.to_str().unwrap()]);
        serve.current_dir(directory.path());
        let told = stderr(&run(serve));
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn a_refusal_for_now_is_told_at_once_and_again_at_the_end() {
    let broker = Broker::start_with(&["--set", "storage.min_free_bytes=1024TiB"]);
    let mut producer = broker
        .command(&["produce", "t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    producer.stdin.take().unwrap().write_all(b"a\n").unwrap();
    let pid = producer.id();
    let mut lines = BufReader::new(producer.stderr.take().unwrap()).lines();
    let told = broker::wait_for(pid, || {
        lines.find(|line| line.as_ref().unwrap().contains("trying again for"))
    });
    let told = told.unwrap().unwrap();
    assert!(told.contains("was refused"), "{told}");
    broker::signal(pid, "-INT");
    let rest = broker::wait_for(pid, || {
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        rest.join("\n")
    });
    assert_eq!(broker::wait(producer).status.code(), Some(1), "{rest}");
    assert!(rest.contains("1 record not acknowledged: "), "{rest}");
    assert!(!rest.contains("trying again"), "told twice: {rest}");
    assert!(rest.contains("was refused"), "{rest}");
}

/// Whoever pipes something that is rarely written to would otherwise not hear of it before the next line.
#[test]
fn a_producer_that_has_given_up_ends_although_its_input_stays_open() {
    let broker = Broker::start();
    let create = [
        "topic",
        "create",
        "t",
        "--record-bytes-max",
        "1KiB",
        "--batch-bytes-max",
        "4KiB",
    ];
    let created = run(broker.command(&create));
    assert_eq!(created.status.code(), Some(0), "{}", stderr(&created));
    let mut producer = broker
        .command(&["produce", "t", "--linger-ms", "1000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = producer.stdin.take().unwrap();
    // One batch, and a larger one than the topic takes.
    input.write_all(lines(1_000).as_bytes()).unwrap();
    let ended = broker::wait(producer);
    drop(input);
    let told = stderr(&ended);
    assert_eq!(ended.status.code(), Some(1), "{}: {told}", ended.status);
    assert!(told.contains("records not acknowledged: "), "{told}");
}

#[test]
fn consume_ends_behind_offsets_that_were_given_up_at_the_end() {
    let mut broker = Broker::start_with(&["--segment-bytes", "16KiB"]);
    for _ in 0..8 {
        broker.pipe(&["produce", "t", "--batch", "100"], lines(500).as_bytes());
    }
    let topic = broker::json(&run(broker.command(&["topic", "describe", "t", "--json"])));
    let number = topic["partitions"][0]["number"].as_u64().unwrap();
    assert_eq!(broker.stop("-TERM").code(), Some(0));
    let directory = broker.data_dir().join(format!("{number:010}/main"));
    let segments = fs::read_dir(&directory).unwrap();
    let segments = segments.map(|entry| entry.unwrap().path());
    let segments = segments.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let last = segments.max().unwrap();
    let base: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(0 < base && base < 4_000, "{}", last.display());
    fs::remove_file(&last).unwrap();
    let mut repair = broker.command(&["repair", "--partition", &number.to_string()]);
    repair
        .args(["--drop", &format!("{base}..4000"), "--data-dir"])
        .arg(broker.data_dir());
    let repaired = run(repair);
    assert_eq!(repaired.status.code(), Some(0), "{}", stderr(&repaired));
    broker.restart();
    let consumed = run(broker.command(&["consume", "t", "--json"]));
    assert_eq!(consumed.status.code(), Some(0), "{}", stderr(&consumed));
    let count = u64::try_from(stdout(&consumed).lines().count()).unwrap();
    assert_eq!(count, base);
}

#[test]
fn a_record_that_comes_back_shows_no_bytes_of_the_broker() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    run(broker.command(&["reject", "t", "0", "0", "--reason", "no", "--group", "g"]));
    run(broker.command(&["dlq", "retry", "t", "--all"]));
    let read = ["consume", "t", "--group", "g", "--json", "--from", "1"];
    let line: serde_json::Value = broker::json(&run(broker.command(&read)));
    assert_eq!(line["value"], "a");
    for time in ["timestamp_ms", "append_time_ms"] {
        assert!(line[time].as_i64() > Some(0), "{time} of {line}");
    }
    let headers = line["headers"].as_array().unwrap();
    let names: Vec<_> = headers.iter().map(|header| &header["name"]).collect();
    assert_eq!(names, ["redrive.group"]);
}

#[test]
fn a_letter_of_another_topic_is_told_by_its_topic() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    broker.pipe(&["produce", "u"], b"a\n");
    let reject = ["reject", "t", "0", "0", "--reason", "no", "--group", "g"];
    let letter = stdout(&run(broker.command(&reject)));
    let letter = letter.trim();
    let expected = format!("{letter} is a dead letter of topic t, not of u");
    for word in ["get", "retry", "delete"] {
        let output = run(broker.command(&["dlq", word, "u", letter]));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&expected), "{word}: {text}");
    }
    // Once it is gone it is told so, whatever topic it is looked for in.
    run(broker.command(&["dlq", "delete", "t", letter]));
    let text = stderr(&run(broker.command(&["dlq", "retry", "u", letter])));
    let expected = format!("dead letter {letter} was deleted");
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_letter_that_was_named_is_followed_to_its_fresh_record_however_often() {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    let rejected =
        run(broker.command(&["reject", "t", "0", "0", "--reason", "no", "--group", "g"]));
    let letter = stdout(&rejected);
    let letter = letter.trim();
    for said in ["1 dead letter republished", "1 had been republished before"] {
        let told = stdout(&run(broker.command(&["dlq", "retry", "t", letter])));
        assert!(told.contains(said), "{told}");
        let place = told.lines().last().unwrap();
        assert!(place.starts_with(&format!("{letter}: message ")), "{told}");
        assert!(place.ends_with(", offset 1 of partition 0"), "{told}");
    }
}

#[test]
fn a_directory_that_no_broker_has_begun_in_is_not_called_damaged() {
    let broker = Broker::start();
    let empty = broker.directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let verify = |said: &str, is_damaged| {
        let output = run(broker.command(&["verify", "--data-dir", empty.to_str().unwrap()]));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(said), "{text}");
        assert_eq!(text.contains("damaged"), is_damaged, "{text}");
    };
    verify("is no data directory: it is empty", false);
    fs::write(empty.join("notes.txt"), "mine").unwrap();
    verify("is no data directory: nothing in it is a broker's", false);
    // This may be what is left of one.
    fs::create_dir(empty.join("0000000003")).unwrap();
    verify("damaged", true);
}

#[test]
fn verify_readyz_and_repair_name_a_partition_so_that_one_leads_to_the_other() {
    let mut broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\n");
    assert!(broker.stop("-TERM").success());
    // Those of pushed messages come before it.
    let log = broker.data_dir().join("0000000009/main");
    let log = fs::read_dir(log).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&log).unwrap();
    *bytes.iter_mut().rfind(|byte| **byte != 0).unwrap() ^= 1;
    fs::write(&log, bytes).unwrap();
    let data_dir = broker.data_dir();
    let verify = ["verify", "--data-dir", data_dir.to_str().unwrap()];
    let told = stdout(&run(broker.command(&verify)));
    let expected = "main log of partition 9 (partition 0 of topic t)";
    assert!(told.contains(expected), "{told}");
    let output = run(broker.command(&[&verify[..], &["--json"]].concat()));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(finding["partition"], 9, "{report}");
    assert_eq!(finding["topic"], "t", "{report}");
    assert_eq!(finding["partition_index"], 0, "{report}");
    broker.restart();
    // What the last run left in order is read when it is asked for.
    run(broker.command(&["consume", "t", "--from", "earliest"]));
    let (head, told) = broker.answer("GET /readyz");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let expected = "partition 0 of topic t (number 9)";
    assert!(told.contains(expected), "{told}");
    assert!(broker.stop("-TERM").success());
    let drop = ["--partition", "9", "--drop", "0..1"];
    let repair = ["repair", "--data-dir", data_dir.to_str().unwrap()];
    let output = run(broker.command(&[&repair[..], &drop].concat()));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn what_a_topic_has_already_is_not_called_altered() {
    let broker = Broker::start();
    let alter = |flags: &[&str]| {
        let mut command = broker.command(&["topic", "alter", "t"]);
        command.args(flags);
        let output = run(command);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let create = ["topic", "create", "t", "--partitions", "2"];
    assert_eq!(run(broker.command(&create)).status.code(), Some(0));
    for (flags, said) in [
        (
            ["--partitions", "2"],
            "nothing changed of topic t: 2 partitions",
        ),
        (["--partitions", "3"], "altered topic t: 3 partitions"),
        (["--retention-ms", "3d"], "altered topic t: 3 partitions"),
        (
            ["--retention-ms", "3d"],
            "nothing changed of topic t: 3 partitions",
        ),
    ] {
        assert_eq!(alter(&flags), format!("{said}, synced\n"));
    }
}

#[test]
fn a_broker_that_a_program_starts_says_where_it_serves_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_redrive"))
        .args(["--json", "serve", "--http", "127.0.0.1:0", "--listen"])
        .args(["127.0.0.1:0", "--data-dir", "data"])
        .env("REDRIVE_TOKEN", "hunter2")
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    broker::wait_for(pid, || stdout.read_line(&mut line).unwrap());
    broker::signal(pid, "-TERM");
    let mut rest = String::new();
    broker::wait_for(pid, || stdout.read_to_string(&mut rest).unwrap());
    broker::wait_for(pid, || child.wait().unwrap());
    assert_eq!(rest, "", "after {line}");
    assert!(!line.contains("hunter2"), "{line}");
    let told: serde_json::Value = serde_json::from_str(&line).expect(&line);
    let source = "environment variable REDRIVE_TOKEN";
    assert_eq!(told["token_source"], source, "{line}");
    let http = told["http"].as_str().unwrap();
    assert!(http.starts_with("http://127.0.0.1:"), "{line}");
}

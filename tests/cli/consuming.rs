//! Consuming that is stopped, and groups whose place is gone.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::process::{Child, Stdio};

use crate::broker::{self, Broker, run, signal, stderr, stdout, wait_for};

/// More than a pipe holds, many times.
const COUNT: usize = 200_000;

fn filled() -> Broker {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], records(0..COUNT).as_bytes());
    broker
}

fn records(numbers: Range<usize>) -> String {
    let mut lines = String::new();
    for number in numbers {
        writeln!(lines, "record {number}").unwrap();
    }
    lines
}

/// Begins to read all of it, and waits until the first record has come.
fn begin(broker: &Broker) -> (Child, BufReader<impl Read + use<>>) {
    let mut command = broker.command(&["consume", "t", "--group", "g"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "record 0\n");
    (child, lines)
}

#[test]
fn a_signal_is_heard_while_there_is_always_more_and_what_was_written_is_committed() {
    let broker = filled();
    let (mut child, lines) = begin(&broker);
    signal(child.id(), "-INT");
    let count = 1 + lines.lines().count();
    let status = wait_for(child.id(), || child.wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(count < COUNT, "all {count} were written");
    let group = broker::json(&run(broker.command(&["group", "describe", "g", "--json"])));
    assert_eq!(group["lag"], COUNT - count);
}

#[test]
fn a_second_signal_ends_who_writes_to_a_reader_that_reads_nothing() {
    let broker = filled();
    let (mut child, _unread) = begin(&broker);
    let status = loop {
        // Two at once may come as one.
        signal(child.id(), "-TERM");
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_group_whose_place_is_gone_says_so_and_goes_on_where_it_is_told() {
    let broker = Broker::start_with(&["--segment-bytes", "4KiB"]);
    let create = ["topic", "create", "t", "--retention-bytes", "4KiB"];
    run(broker.command(&create));
    // A segment for each.
    for from in (0..1_000).step_by(200) {
        broker.pipe(&["produce", "t"], records(from..from + 200).as_bytes());
    }
    let read = |flags: &[&str]| {
        let arguments = [&["consume", "t", "--group", "g", "--count", "1"], flags];
        run(broker.command(&arguments.concat()))
    };
    assert_eq!(stdout(&read(&[])), "record 0\n");
    run(broker.command(&["retention", "run", "t"]));
    let lost = read(&[]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(
        stderr(&lost).contains("--from earliest"),
        "{}",
        stderr(&lost)
    );
    let first = stdout(&read(&["--from", "earliest"]));
    assert!(
        first.starts_with("record ") && first != "record 0\n",
        "{first:?}"
    );
    // From then on its place is there again.
    let next: usize = first.trim_start_matches("record ").trim().parse().unwrap();
    let expected = format!("record {}\n", next + 1);
    assert_eq!(stdout(&read(&["--from", "earliest"])), expected);
}

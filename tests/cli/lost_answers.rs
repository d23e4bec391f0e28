//! Answers that are lost on their way: what was asked for is not done twice, and what is not known is said.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::broker::{Broker, json, run, stderr, stdout};

/// Number of the requests that resolve letters, as the protocol has them.
const RETRY_LETTERS: u16 = 17;
const DELETE_LETTERS: u16 = 18;

/// Reads a frame with its length.
fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    bytes.resize(4 + length as usize, 0);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

/// Passes requests on and answers back, one at a time, until `is_lost` takes the answer to one.
fn pass_on(
    mut peer: TcpStream,
    broker: &str,
    mut is_lost: impl FnMut(u16) -> bool,
) -> io::Result<()> {
    let mut broker = TcpStream::connect(broker)?;
    loop {
        let request = frame(&mut peer)?;
        broker.write_all(&request)?;
        let answer = frame(&mut broker)?;
        if is_lost(u16::from_be_bytes([request[4], request[5]])) {
            return Ok(());
        }
        peer.write_all(&answer)?;
    }
}

/// Stands in front of a broker and loses the `nth` answer to a request of this kind. Returns its address.
fn losing(broker: &Broker, api_key: u16, nth: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = broker.protocol.clone();
    thread::spawn(move || {
        let mut seen = 0;
        for peer in listener.incoming() {
            // It ends when the peer does: the commands speak to it one after the other.
            let is_lost = |key| {
                seen += u32::from(key == api_key);
                key == api_key && seen == nth
            };
            pass_on(peer.unwrap(), &to, is_lost).ok();
        }
    });
    address
}

/// A broker with six letters.
fn with_letters() -> Broker {
    let broker = Broker::start();
    broker.pipe(&["produce", "t"], b"a\nb\nc\nd\ne\nf\n");
    for offset in ["0", "1", "2", "3", "4", "5"] {
        let reject = ["reject", "t", "0", offset, "--reason", "no", "--group", "g"];
        assert_eq!(run(broker.command(&reject)).status.code(), Some(0));
    }
    broker
}

fn counts(broker: &Broker) -> [u64; 3] {
    let stats = json(&run(broker.command(&["dlq", "stats", "t", "--json"])));
    ["live", "deleted", "republished"].map(|name| stats["counts"][name].as_u64().unwrap())
}

/// Without a limit nothing is resolved that was not asked for, however often it is asked.
#[test]
fn without_a_limit_what_is_left_behind_a_lost_answer_is_resolved_too() {
    for (word, done, key, after) in [
        ("delete", "deleted", DELETE_LETTERS, [0, 6, 0]),
        ("retry", "republished", RETRY_LETTERS, [0, 0, 6]),
    ] {
        for flags in [&["--all"][..], &["--group", "g"]] {
            let broker = with_letters();
            let address = losing(&broker, key, 2);
            let mut command = broker.command(&["dlq", word, "t", "--addr", &address]);
            command.args(flags);
            let output = run(command);
            let told = stderr(&output);
            assert_eq!(output.status.code(), Some(0), "{told}");
            let unknown =
                format!("whether up to 20000 dead letters were {done} is unknown; going on");
            assert!(told.contains(&unknown), "{told}");
            let said = format!(
                "1 dead letter {done}\nup to 20000 more may have been: an answer was lost\n"
            );
            assert_eq!(stdout(&output), said);
            assert_eq!(counts(&broker), after, "{word} {flags:?}");
        }
    }
}

/// Nothing has fixed the end of the selection yet: the same page would select what has died since.
#[test]
fn a_page_that_fixes_the_end_of_a_selection_is_not_asked_for_again() {
    for (word, key, after) in [
        ("delete", DELETE_LETTERS, [5, 1, 0]),
        ("retry", RETRY_LETTERS, [5, 0, 1]),
    ] {
        let broker = with_letters();
        let address = losing(&broker, key, 1);
        let output = run(broker.command(&["dlq", word, "t", "--all", "--addr", &address]));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("whether up to 1 more dead letter"), "{told}");
        assert_eq!(counts(&broker), after, "{word}");
    }
}

#[test]
fn letters_that_are_counted_are_resolved_once_and_a_lost_answer_is_told() {
    for (word, done, key, after) in [
        ("delete", "deleted", DELETE_LETTERS, [4, 2, 0]),
        ("retry", "republished", RETRY_LETTERS, [4, 0, 2]),
    ] {
        let broker = with_letters();
        let address = losing(&broker, key, 1);
        let command = [
            "dlq", word, "t", "--all", "--limit", "2", "--addr", &address,
        ];
        let output = run(broker.command(&command));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(stdout(&output), "");
        let unknown = format!(
            "whether up to 2 more dead letters were {done} is unknown; before that, 0 were"
        );
        assert!(told.contains(&unknown), "{told}");
        assert_eq!(counts(&broker), after, "{word}");
    }
}

#[test]
fn letters_that_are_named_are_asked_for_again_and_resolved_once() {
    for (word, key, told, after) in [
        // What is deleted is gone, for who asks again too.
        (
            "delete",
            DELETE_LETTERS,
            "2 dead letters refused",
            [4, 2, 0],
        ),
        ("retry", RETRY_LETTERS, "2 had been republished", [4, 0, 2]),
    ] {
        let broker = with_letters();
        let listed = json(&run(broker.command(&["dlq", "list", "t", "--json"])));
        let ids = [0, 1].map(|n| listed["letters"][n]["id"].as_str().unwrap().to_owned());
        let address = losing(&broker, key, 1);
        let command = ["dlq", word, "t", &ids[0], &ids[1], "--addr", &address];
        let output = run(broker.command(&command));
        let said = stdout(&output) + &stderr(&output);
        assert!(said.contains(told), "{said}");
        assert_eq!(counts(&broker), after, "{word}");
    }
}

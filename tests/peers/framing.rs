//! HTTP requests that two readers could take for different ones: answered 400, or read in one way, and then the connection ends.
//! Nothing that is hidden in a body is ever answered as a request.

use std::io::Write;

use crate::hold::Hold;
use crate::honest::{create_topic, round};
use crate::process::{Broker, Http, Random, TOKEN};

/// Fields that leave no doubt that something is wrong with a request's framing.
const WRONG: [&str; 26] = [
    "content-length: 3\r\ncontent-length: 4",
    "content-length: 3, 4",
    "content-length: +3",
    "content-length: -3",
    "content-length: 0x3",
    "content-length: 3 3",
    "content-length: ",
    "content-length: 99999999999999999999",
    "content-length : 3",
    "content-length\t: 3",
    " content-length: 3",
    "x: y\r\n folded: z",
    "x: y\r\n\tcontent-length: 3",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity",
    "transfer-encoding: gzip",
    "transfer-encoding: \x0bchunked",
    "transfer-encoding : chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "x\0: y",
    "x: y\0",
    ": empty",
];

const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

fn head(method: &str, fields: &str) -> String {
    format!(
        "{method} /v2/publish/http://127.0.0.1:1/ HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\nupstash-delay: 1h\r\n{fields}\r\n\r\n"
    )
}

/// Sends bytes and reads what is answered until the broker ends the connection, which it must. Returns the statuses.
fn exchange(broker: &Broker, bytes: &[u8]) -> Vec<u16> {
    let mut http = Http::connect(broker.http);
    http.send(bytes);
    let mut statuses = Vec::new();
    while let Some(answer) = http.answer() {
        statuses.push(answer.status);
        assert!(statuses.len() < 10, "{}", String::from_utf8_lossy(bytes));
    }
    statuses
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is a table")]
fn ambiguous_framing_is_refused_or_read_in_one_way() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(
        dir.path(),
        &[
            ("limits.http_idle_ms_max", "1s"),
            ("limits.http_body_ms_max", "1s"),
        ],
    );
    create_topic(&broker);
    for wrong in WRONG {
        let request = format!("{}abc{HIDDEN}", head("POST", wrong));
        assert_eq!(exchange(&broker, request.as_bytes()), [400], "{wrong:?}");
    }
    let chunked = |body: &str| format!("{}{body}", head("POST", "transfer-encoding: chunked"));
    for (what, request, expected) in [
        // Chunks count, the length does not, and nothing behind them is read.
        (
            "both",
            format!(
                "{}3\r\nabc\r\n0\r\n\r\n{HIDDEN}",
                head("POST", "content-length: 3\r\ntransfer-encoding: chunked")
            ),
            vec![200],
        ),
        (
            "both, turned",
            format!(
                "{}3\r\nabc\r\n0\r\n\r\n{HIDDEN}",
                head("POST", "transfer-encoding: chunked\r\ncontent-length: 3")
            ),
            vec![200],
        ),
        // A repeated length that is the same is one length.
        (
            "twice the same",
            format!(
                "{}abc{HIDDEN}",
                head("POST", "content-length: 3\r\ncontent-length: 3")
            ),
            vec![200, 200],
        ),
        (
            "an extension",
            chunked(&format!("3;a=b\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![200, 200],
        ),
        (
            "a trailer",
            chunked(&format!("3\r\nabc\r\n0\r\nx: y\r\n\r\n{HIDDEN}")),
            vec![200, 200],
        ),
        // A bare line feed ends a line of the head, and no chunk.
        (
            "bare line feeds",
            head("POST", "content-length: 3\nx: y").replace("\r\n", "\n") + "abc",
            vec![200],
        ),
        (
            "a chunk of bare line feeds",
            chunked(&format!("3\nabc\n0\n\n{HIDDEN}")),
            vec![400],
        ),
        (
            "no number",
            chunked(&format!("z\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![400],
        ),
        (
            "a negative chunk",
            chunked(&format!("-3\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![400],
        ),
        (
            "a prefixed chunk",
            chunked(&format!("0x3\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![400],
        ),
        (
            "a huge chunk",
            chunked(&format!("ffffffffffffffffff\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![400],
        ),
        (
            "a short chunk",
            chunked(&format!("2\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![400],
        ),
        (
            "a long chunk",
            chunked(&format!("4\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            vec![400],
        ),
        ("a signed version", HIDDEN.replace("1.1", "+1.1"), vec![400]),
        ("no version", "GET /healthz\r\n\r\n".to_owned(), vec![400]),
        (
            "HTTP/1.0 in chunks",
            chunked("3\r\nabc\r\n0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0") + HIDDEN,
            vec![400],
        ),
        (
            "HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            vec![],
        ),
        (
            "TLS",
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7e\x03\x03".to_owned(),
            vec![400],
        ),
        (
            "a body that a GET has",
            format!(
                "{}abc{HIDDEN}",
                "GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"
            ),
            vec![200, 200],
        ),
    ] {
        // A good request at the end would be waited for: idle connections end in time.
        assert_eq!(
            exchange(&broker, request.as_bytes()),
            expected,
            "{what}: {request:?}"
        );
    }
    round(&broker);
    broker.stop();
}

/// While the public credentials are in force the name of the host counts, wherever it stands.
#[test]
fn a_host_in_the_target_counts_beside_the_hosts_header() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = crate::process::command(
        dir.path(),
        ["127.0.0.1:0", "127.0.0.1:0"],
        &[("limits.http_idle_ms_max", "1s")],
    );
    command.env_remove("REDRIVE_TOKEN");
    let broker = Broker::spawn(command, dir.path());
    for (target, host, status) in [
        ("/healthz", "127.0.0.1", 200),
        ("http://127.0.0.1/healthz", "127.0.0.1", 200),
        ("http://evil.example/healthz", "127.0.0.1", 403),
        ("http://127.0.0.1/healthz", "evil.example", 403),
        ("/healthz", "evil.example", 403),
        ("/healthz", "127.0.0.1\r\nhost: evil.example", 403),
        ("/healthz", "evil.example\r\nhost: 127.0.0.1", 403),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(
            exchange(&broker, request.as_bytes()),
            [status],
            "{target} {host}"
        );
    }
    let nobody = exchange(&broker, b"GET /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(nobody, [403]);
}

#[test]
fn nothing_hidden_in_a_body_is_ever_answered() {
    let mut hold = Hold::begin("peers/framing::nothing_hidden_in_a_body_is_ever_answered");
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[]);
    create_topic(&broker);
    let mut random = Random::new(hold.seed());
    let fine = [
        "x: y",
        "connection: keep-alive",
        "content-type: text/plain",
        "te: trailers",
        "expect: nothing",
    ];
    let mut done = 0;
    while hold.goes_on(done, 600) {
        let mut fields = Vec::new();
        for _ in 0..random.below(3) {
            fields.push(fine[random.below(fine.len() as u64) as usize]);
        }
        let at = random.below(fields.len() as u64 + 1) as usize;
        fields.insert(at, WRONG[random.below(WRONG.len() as u64) as usize]);
        let framing = ["content-length: 3", "transfer-encoding: chunked", "x: z"];
        let at = random.below(fields.len() as u64 + 1) as usize;
        fields.insert(at, framing[random.below(3) as usize]);
        let head = head(
            ["POST", "PUT", "GET"][random.below(3) as usize],
            &fields.join("\r\n"),
        );
        let body = ["abc", "3\r\nabc\r\n0\r\n\r\n", "0\r\n\r\n", ""][random.below(4) as usize];
        let request = format!("{head}{body}{HIDDEN}{HIDDEN}");
        let mut http = Http::connect(broker.http);
        http.stream().write_all(request.as_bytes()).ok();
        let status = http.answer().map(|answer| answer.status);
        let replay = hold.replay(hold.seed());
        // Beside chunks a length does not count, whatever it says; the connection ends all the same.
        let is_in_chunks = head.contains("transfer-encoding: chunked\r\n");
        let is_read = is_in_chunks
            && fields
                .iter()
                .any(|field| field.starts_with("content-length:"));
        assert!(
            status == Some(400) || (is_read && status.is_some()),
            "{status:?} {request:?}; {replay}"
        );
        assert!(http.is_ended(), "{request:?}; {replay}");
        hold.count("requests", 1);
        done += 1;
    }
    round(&broker);
    broker.stop();
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

//! Seeds of the targets that take text: schedules, headers of answers, configurations, signatures.

use redrive::delivery::signature::{Signed, SigningKey, sign};
use storage::offset::TimestampMs;

type Seed = (&'static str, String, Vec<u8>);

const SCHEDULES: [(&str, &str); 7] = [
    ("every-minute", "* * * * *"),
    ("zone", "CRON_TZ=Europe/Berlin 30 2 * * MON-FRI"),
    ("steps", "*/15 0-6,12 1-31/2 JAN,jul *"),
    ("last", "0 0 L * 5L"),
    ("nearest", "0 0 15W * 1#2"),
    ("nickname", "@hourly"),
    ("never", "0 0 30 2 *"),
];

const ANSWERS: [(&str, &str); 6] = [
    ("seconds", "\u{0}120"),
    ("date", "\u{0}Fri, 31 Dec 2027 23:59:59 GMT"),
    ("duration", "\u{1}6m5.5s"),
    ("unix", "\u{2}1700000060"),
    ("unix-ms", "\u{3}1700000060000"),
    (
        "many",
        "\u{0}-1\n\u{1}1e9\n\u{2}99999999999999999999\n\u{3}6m5s",
    ),
];

const CONFIGURATIONS: [(&str, &str); 7] = [
    (
        "file",
        "http = \"127.0.0.1:0\"\ntoken = \"hunter2\"\n[topic]\nretention_ms = \"1d12h\"\n",
    ),
    (
        "list",
        "[destinations]\nallowed = [\"a.internal\", \"10.0.0.0/8\"]\nallow_private = \"auto\"\n",
    ),
    ("unknown", "[topic]\nretention = 5\n"),
    ("broken", "token = \"hunter2\" =\n"),
    ("size", "16256KiB"),
    ("duration", "1d12h30m5s7ms"),
    ("name", "orders-2.eu_west"),
];

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (target, texts) in [
        ("schedule", &SCHEDULES[..]),
        ("answer_headers", &ANSWERS),
        ("configuration", &CONFIGURATIONS),
    ] {
        let texts = texts.iter();
        seeds.extend(
            texts.map(|(name, text)| (target, (*name).to_owned(), text.as_bytes().to_vec())),
        );
    }
    let signed = Signed {
        url: "https://a.example/b",
        now: TimestampMs(1_700_000_000_000),
        jti: "jwt_1",
        body: b"body",
    };
    let token = sign(&SigningKey::new("another"), &signed);
    seeds.push(("signature", "another-key".to_owned(), token.into_bytes()));
    seeds.push((
        "signature",
        "flipped".to_owned(),
        b"\x00\x50\x01body".to_vec(),
    ));
    seeds
}

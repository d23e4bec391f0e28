//! Streams of HTTP requests that are put together at random from what may be misread: framing, heads and chunks of every bad kind,
//! and requests that hide in bodies.

use crate::process::{Random, TOKEN};

const LAST: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

/// Names and values that say where a body ends, or may be taken for it; `<n>` is the body's length, `<m>` another number.
const FRAMING: [&str; 44] = [
    "content-length: <n>",
    "Content-Length: <n>",
    "CONTENT-LENGTH:<n>",
    "content-length:   <n>\t",
    "content-length: 0<n>",
    "content-length: +<n>",
    "content-length: -<n>",
    "content-length: <n>, <n>",
    "content-length: <n>,<m>",
    "content-length: <n> <m>",
    "content-length: <n>;",
    "content-length: 0x<n>",
    "content-length: <m>",
    "content-length: <n>\r\ncontent-length: <n>",
    "content-length: <n>\r\ncontent-length: <m>",
    "content-length: <m>\r\nContent-Length: <n>",
    "content-length : <n>",
    "content-length\t: <n>",
    " content-length: <n>",
    "content_length: <m>",
    "content-length\x00: <m>",
    "content-length: <n>\x00",
    "content-length: \x0b<n>",
    "content-length: <n>\x0c",
    "content-length: <n>\x7f",
    "content-length:\r\n <n>",
    "content-length: \u{661}",
    "content-length: 18446744073709551618",
    "transfer-encoding: chunked",
    "Transfer-Encoding: Chunked",
    "transfer-encoding:\tchunked ",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunkedx",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: chunked,",
    "transfer-encoding: ,chunked",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding : chunked",
    "transfer-encoding: chunked\x00",
    "transfer-encoding:\r\n chunked",
    "transfer-encoding: identity\r\ntransfer-encoding: chunked",
    "transfer-encoding",
];

/// Framing of which nothing is wrong.
const PLAIN: [&str; 2] = ["content-length: <n>", "transfer-encoding: chunked"];

/// What else stands in a head. Not all of it may.
const OTHER: [&str; 16] = [
    "x: y",
    "x: y",
    "x:",
    "te: trailers",
    "connection: keep-alive",
    "connection: content-length",
    "x: y\r\n folded",
    "x: y\nz: a",
    "x: y\ncontent-length: <m>",
    "x: y\ntransfer-encoding: chunked",
    "x: y\rz: a",
    "x: y\rcontent-length: <m>",
    "x\x00y: z",
    "x: y\x00z",
    ": y",
    "x y: z",
];

/// How a chunk says its length, as `L` in hexadecimal.
const SIZES: [&str; 18] = [
    "L\r\n",
    "L\r\n",
    "L\r\n",
    "000L\r\n",
    "L;a=b\r\n",
    "L;a\r\n",
    "L ;a\r\n",
    "L;a=\"b;c\"\r\n",
    "L;\r\n",
    "L \r\n",
    " L\r\n",
    "L;a\nb\r\n",
    "L;a\rb\r\n",
    "L\n",
    "0xL\r\n",
    "+L\r\n",
    "L\x00\r\n",
    "ffffffffffffffffL\r\n",
];

/// What stands behind a chunk, and behind the last one.
const ENDS: [&str; 6] = ["\r\n", "\r\n", "\r\n", "\n", "", "x\r\n"];
const TRAILERS: [&str; 8] = [
    "\r\n",
    "\r\n",
    "\r\n",
    "x: y\r\n\r\n",
    "content-length: 5\r\n\r\n",
    "x : y\r\n\r\n",
    "x: y\n\n",
    "\n",
];

/// What was generated, and the number that its target says.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

fn pick<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.below(of.len() as u64) as usize]
}

fn chunks(random: &mut Random, content: &str) -> String {
    let mut text = String::new();
    // One odd thing at a time tells more than many.
    let is_odd = random.below(2) == 0;
    let is_even = !is_odd && random.below(2) == 0;
    let size = |random: &mut Random, length: usize| {
        let form = if is_odd {
            pick(random, &SIZES)
        } else {
            "L\r\n"
        };
        form.replace('L', &format!("{length:x}"))
    };
    let at = random.below(content.len() as u64) as usize;
    for part in [&content[..at], &content[at..]] {
        if !part.is_empty() {
            text += &size(random, part.len());
            text += part;
            text += if is_odd || is_even {
                "\r\n"
            } else {
                pick(random, &ENDS)
            };
        }
    }
    text += &size(random, 0);
    text + pick(random, &TRAILERS)
}

/// Puts a stream together. Its first request's target says the number.
pub(crate) fn generate(random: &mut Random, number: u64) -> Stream {
    let content = match random.below(4) {
        0 => HIDDEN.to_owned(),
        1 => format!("0\r\n\r\n{HIDDEN}"),
        2 => "5\r\nabcde\r\n0\r\n\r\n".to_owned(),
        _ => "abc".to_owned(),
    };
    let body = match random.below(4) {
        0 | 1 => chunks(random, &content),
        2 => content.clone(),
        _ => String::new(),
    };
    let mut fields = vec![if random.below(2) == 0 {
        pick(random, &PLAIN)
    } else {
        pick(random, &FRAMING)
    }];
    if random.below(3) == 0 {
        fields.push(pick(random, &FRAMING));
    }
    if random.below(4) == 0 {
        let at = random.below(fields.len() as u64 + 1) as usize;
        fields.insert(at, pick(random, &OTHER));
    }
    let ends = if random.below(12) == 0 { "\n" } else { "\r\n" };
    let version = if random.below(12) == 0 {
        "HTTP/1.0"
    } else {
        "HTTP/1.1"
    };
    let mut lines = vec![
        format!("POST /v2/publish/http://127.0.0.1:1/{number} {version}"),
        "host: a".to_owned(),
        format!("authorization: Bearer {TOKEN}"),
        "upstash-delay: 1h".to_owned(),
        "content-type: text/plain".to_owned(),
    ];
    let other = random.below(60).to_string();
    for field in fields {
        let field = field.replace("<n>", &body.len().to_string());
        lines.push(field.replace("<m>", &other));
    }
    let head = lines.join(ends) + ends + ends;
    let hidden = if random.below(2) == 0 { HIDDEN } else { "" };
    Stream {
        number,
        bytes: format!("{head}{body}{hidden}{LAST}").into_bytes(),
    }
}

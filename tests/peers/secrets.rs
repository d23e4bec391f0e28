//! Secrets go where they must and nowhere else: canaries stand in everything that is put in, and are looked for in everything
//! that comes out.
//!
//! Who has shown the token may see messages, and keys: the API's answers are no leak, but for what a message redacts. Logs,
//! metrics, refusals of strangers, command lines, `verify` and the printed configuration are for others as well.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use hyper::Method;
use redrive::delivery::api::{Publication, Target};
use redrive::delivery::client::AttemptRequest;
use redrive::delivery::destination::Destination;
use redrive::delivery::settings::{CallbackSettings, PublishSettings};
use redrive::protocol::cursor::Text;
use redrive::qstash::headers::PublishHeaders;
use redrive::qstash::publication::PublishRequest;
use redrive::qstash::target::PublishTarget;
use storage::batch::Record;
use storage::dead_letter::{Attempt, AttemptResult};
use storage::delivery::{Callback, Envelope};
use storage::offset::TimestampMs;

use crate::honest::{Raw, batch, create_topic, handshake, produce};
use crate::process::{Broker, Http, PATIENCE, command, program};

/// Every canary has it, so that one search finds all.
const CANARY: &str = "cAnArY";

fn canary(place: &str) -> String {
    format!("{CANARY}-{place}")
}

/// What comes out, by what it is.
#[derive(Default)]
struct Outputs(BTreeMap<String, String>);

impl Outputs {
    fn add(&mut self, what: &str, text: impl Into<String>) {
        self.0
            .entry(what.to_owned())
            .or_default()
            .push_str(&text.into());
    }

    /// No output has a canary, also not in the spellings that hide it from a reader and not from a program.
    fn check(&self) {
        let spellings = [CANARY.to_owned(), CANARY.to_lowercase(), base64(CANARY)];
        for (what, text) in &self.0 {
            for spelling in &spellings {
                let at = text.find(spelling);
                let around =
                    at.map(|at| text.get(at.saturating_sub(200)..(at + 80).min(text.len())));
                assert_eq!(around, None, "{what} shows a secret");
            }
        }
    }
}

/// The part of the base64 of a text that does not depend on what stands around it.
fn base64(text: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
    encoded[..text.len() / 3 * 4].to_owned()
}

/// The program's answer to wrong settings, from each place that settings come from.
fn wrong_settings(outputs: &mut Outputs, dir: &Path) {
    let run = |mut command: std::process::Command| {
        let output = command.output().unwrap();
        let streams = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8_lossy(&streams).into_owned()
    };
    let file = dir.join("wrong.toml");
    let too_long = canary(&"long".repeat(200));
    for token in [
        format!("\"{} with blanks\"", canary("toml")),
        format!("\"{too_long}\""),
        format!("[\"{}\"]", canary("list")),
    ] {
        std::fs::write(&file, format!("token = {token}\n")).unwrap();
        for arguments in [
            &["serve", "--config"][..],
            &["config", "check", "--config"],
            &["config", "print", "--config"],
        ] {
            let mut command = program();
            command.args(arguments).arg(&file).current_dir(dir);
            outputs.add("a wrong token in a file", run(command));
        }
        // A file that is no TOML behind the token.
        std::fs::write(&file, format!("token = {token} = \n")).unwrap();
        let mut command = program();
        command.args(["serve", "--config"]).arg(&file);
        outputs.add("a token in a broken file", run(command));
    }
    let mut command = program();
    command.arg("serve").env(
        "REDRIVE_TOKEN",
        format!("{} {}", canary("variable"), canary("more")),
    );
    outputs.add("a wrong token in the environment", run(command));
    let mut command = program();
    command.args(["serve", "--set", &format!("token={} x", canary("flag"))]);
    outputs.add("a wrong token in a flag", run(command));
    std::fs::write(&file, format!("token = \"{}\"\n", canary("good"))).unwrap();
    let mut command = program();
    command.args(["config", "print", "--config"]).arg(&file);
    let printed = run(command);
    assert!(printed.contains("token is set, not shown"), "{printed}");
    outputs.add("the printed configuration", printed);
}

/// Publishes with canaries in everything; only what is redacted stays hidden from who has the token.
fn publish(http: &mut Http, token: &str, outputs: &mut Outputs) -> String {
    let bearer = format!("Bearer {token}");
    let forwarded = canary("forwarded");
    let callback = format!(
        "http://127.0.0.1:1/callback?key={}",
        canary("callback-query")
    );
    let headers = [
        ("authorization", bearer.as_str()),
        ("upstash-forward-authorization", &forwarded),
        ("upstash-forward-cookie", &forwarded),
        ("upstash-callback", &callback),
        ("upstash-failure-callback", &callback),
        ("upstash-callback-forward-authorization", &forwarded),
        ("upstash-failure-callback-forward-authorization", &forwarded),
        ("upstash-retries", "0"),
        ("upstash-callback-retries", "0"),
        ("upstash-failure-callback-retries", "0"),
        ("upstash-redact-fields", "body, header"),
    ];
    let body = canary("body");
    let answer = http.post("/v2/publish/http://127.0.0.1:1/", &headers, body.as_bytes());
    let id = answer.json(200)["messageId"].as_str().unwrap().to_owned();
    // Refused: in the target, in headers, in a batch. The refusal may say which field, and not what a secret field holds.
    for (target, name, value) in [
        ("/v2/publish/http://user:PASSWORD@a.example/", "x", "y"),
        (
            "/v2/publish/http://127.0.0.1:1/",
            "upstash-forward-host",
            "PASSWORD",
        ),
        (
            "/v2/publish/http://127.0.0.1:1/",
            "upstash-forward-x",
            "PASSWORD\u{7f}",
        ),
        (
            "/v2/publish/http://127.0.0.1:1/",
            "upstash-callback",
            "http://user:PASSWORD@a.example/",
        ),
        (
            "/v2/publish/http://127.0.0.1:1/",
            "upstash-callback-forward-host",
            "PASSWORD",
        ),
    ] {
        let fill = |text: &str| text.replace("PASSWORD", &canary("refused"));
        let headers = [("authorization", bearer.as_str()), (name, &fill(value))];
        let answer = http.post(&fill(target), &headers, canary("body").as_bytes());
        // A header that is the connection's own is left out.
        let expected = if name.ends_with("-host") { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{target} {name}: {}", answer.body);
        outputs.add(&format!("the refusal of {target} {name}"), answer.body);
    }
    id
}

fn strangers(broker: &Broker, outputs: &mut Outputs) {
    let mut http = Http::connect(broker.http);
    let wrong = format!("Bearer {}", canary("wrong-token"));
    for target in [
        "/v2/keys",
        "/admin/v1/topics",
        "/v2/publish/http://a/",
        "/nothing",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ] {
        let target = format!("{target}?qstash_token={}", canary("query-token"));
        // The header with the right token of the harness is not this broker's.
        let answer = http.request("GET", &target, &[("authorization", &wrong)], b"");
        outputs.add(
            &format!("what strangers see of {target}").replace(CANARY, ""),
            answer.body + &answer.head,
        );
    }
    let mut raw = Raw::connect(broker.protocol);
    let mut shaking = handshake();
    shaking.token = Some(canary("wrong-token"));
    let refusal = raw.call(&shaking).unwrap_err();
    outputs.add(
        "the refusal of a handshake",
        format!("{refusal} {refusal:?}"),
    );
}

#[test]
fn secrets_come_out_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut outputs = Outputs::default();
    wrong_settings(&mut outputs, dir.path());
    let token = canary("token");
    for format in ["text", "json"] {
        let keys = [("log.level", "trace"), ("log.format", format)];
        let mut command = command(dir.path(), ["127.0.0.1:0", "127.0.0.1:0"], &keys);
        command.env("REDRIVE_TOKEN", &token);
        let broker = Broker::spawn(command, dir.path());
        strangers(&broker, &mut outputs);
        let mut http = Http::with_token(broker.http, &token);
        let id = publish(&mut http, &token, &mut outputs);
        let started = std::time::Instant::now();
        let letters = loop {
            let page = http.get(&format!("/v2/dlq?messageId={id}")).json(200);
            if !page["messages"].as_array().unwrap().is_empty() {
                break page;
            }
            assert!(started.elapsed() < PATIENCE, "{page}");
        };
        let show = |http: &mut Http, target: &str| http.get(target).expect(200);
        outputs.add(
            "a redacted dead letter",
            hide_callbacks(&letters.to_string()),
        );
        outputs.add(
            "redacted events",
            hide_callbacks(&show(&mut http, &format!("/v2/logs?messageId={id}"))),
        );
        let letter = letters["messages"][0]["dlqId"].as_str().unwrap();
        let admin = show(&mut http, &format!("/admin/v1/dead-letters/{letter}"));
        outputs.add("a redacted letter for operators", hide_callbacks(&admin));
        let keys = http.get("/v2/keys").json(200);
        let metrics = show(&mut http, "/metrics");
        for key in [&keys["current"], &keys["next"]] {
            let key = key.as_str().unwrap();
            assert!(!metrics.contains(key) && !broker.logged().contains(key));
        }
        outputs.add("metrics", metrics);
        let process = format!("/proc/{}/cmdline", broker.pid());
        outputs.add(
            "the command line",
            std::fs::read_to_string(process).unwrap(),
        );
        broker.stop();
        outputs.add(
            "the log",
            std::fs::read_to_string(dir.path().join("stderr.txt")).unwrap(),
        );
    }
    let mut verify = program();
    verify
        .arg("verify")
        .arg("--data-dir")
        .arg(dir.path().join("data"));
    let output = verify.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let streams = [output.stdout, output.stderr].concat();
    outputs.add("verify", String::from_utf8_lossy(&streams));
    assert!(outputs.0["the log"].len() > 100, "nothing was logged");
    outputs.check();
}

/// Callback URLs are shown to who has the token: that their queries are secret is said by nobody.
fn hide_callbacks(text: &str) -> String {
    text.replace(&canary("callback-query"), "")
}

#[test]
fn records_are_not_logged() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[("log.level", "trace")]);
    create_topic(&broker);
    let mut raw = Raw::shaken(broker.protocol);
    let answer = raw
        .call(&produce(batch(canary("record").as_bytes())))
        .unwrap();
    assert!(answer.batches[0].is_ok());
    let mut damaged = batch(canary("damaged").as_bytes());
    *damaged.last_mut().unwrap() ^= 1;
    let answer = raw.call(&produce(damaged)).unwrap();
    let mut outputs = Outputs::default();
    outputs.add("the refusal of a batch", format!("{answer:?}"));
    let reject = redrive::protocol::reject::RejectRequest {
        topic: crate::honest::TOPIC.to_owned(),
        partition: 0,
        offset: storage::offset::Offset(0),
        group: "g".to_owned(),
        reason: Text("a reason".to_owned()),
        details: Some(Text(canary("details"))),
    };
    raw.call(&reject).unwrap();
    outputs.add("metrics", broker.metrics());
    outputs.add("the log", broker.logged());
    outputs.check();
    broker.stop();
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is a table")]
fn debug_shows_no_values_and_no_bodies() {
    let secret = || Bytes::from(canary("value"));
    let headers = || vec![("authorization".to_owned(), secret())];
    let url = format!("https://a.example/b?key={}", canary("query"));
    let callback = Callback {
        url: url.clone(),
        headers: headers(),
        ..Callback::default()
    };
    let envelope = Envelope {
        url: url.clone(),
        headers: headers(),
        callback: Some(callback.clone()),
        failure_callback: Some(callback),
        ..Envelope::default()
    };
    let settings = PublishSettings {
        headers: headers(),
        callback: CallbackSettings {
            url: Some(url.clone()),
            headers: headers(),
            ..CallbackSettings::default()
        },
        ..PublishSettings::default()
    };
    let publication = Publication {
        envelope: envelope.clone(),
        body: secret(),
        target: Target::Url,
        created_at: TimestampMs(1),
    };
    let request = PublishRequest {
        target: PublishTarget::Url(url.clone()),
        headers: PublishHeaders {
            settings,
            ..PublishHeaders::default()
        },
        body: secret(),
        queue: None,
        caller_ip: None,
    };
    let attempt = AttemptRequest {
        answer_bytes_max: 4 << 10,
        url: Destination::parse(&url).unwrap(),
        method: Method::POST,
        headers: [(
            hyper::header::AUTHORIZATION,
            canary("value").parse().unwrap(),
        )]
        .into_iter()
        .collect(),
        body: secret(),
        timeout: PATIENCE,
    };
    let record = Record {
        timestamp: TimestampMs(1),
        key: Some(secret()),
        value: Some(secret()),
        headers: vec![("authorization".to_owned(), Some(secret()))],
    };
    let answered = Attempt {
        number: 1,
        time: TimestampMs(1),
        duration_ms: 1,
        result: AttemptResult::Status(200),
        headers: vec![("set-cookie".to_owned(), canary("value"))],
        body: secret(),
        is_body_cut: false,
        are_headers_cut: false,
    };
    let mut outputs = Outputs::default();
    let shown =
        format!("{envelope:?} {publication:?} {request:?} {attempt:?} {record:?} {answered:?}");
    assert!(
        shown.contains("authorization") && shown.contains("bytes>"),
        "{shown}"
    );
    outputs.add("Debug", shown);
    outputs.check();
}

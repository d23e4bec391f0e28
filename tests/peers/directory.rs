//! The data directory: nobody else reads it, no name leads out of it, and a second process does not touch it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::settings::{Durability, SettingsChange};

use crate::honest::{Raw, create_topic, round};
use crate::process::{Broker, Http, command};

fn walk(dir: &Path, all: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, all);
        }
        all.insert(path);
    }
}

#[test]
fn nobody_else_may_read_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[("topic.segment_bytes", "4KiB")]);
    create_topic(&broker);
    for _ in 0..40 {
        round(&broker);
    }
    broker.stop();
    let data = dir.path().join("data");
    let mut all = BTreeSet::from([data.clone()]);
    walk(&data, &mut all);
    assert!(all.len() > 20, "{all:?}");
    for path in all {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{mode:o} {}", path.display());
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is a table")]
fn no_name_leads_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[]);
    create_topic(&broker);
    let outside = |dir: &Path| {
        let mut all = BTreeSet::new();
        walk(dir, &mut all);
        all.retain(|path| !path.starts_with(dir.join("data")));
        all
    };
    let before = outside(dir.path());
    let long = "a".repeat(5_000);
    let names = [
        "..",
        "../x",
        "../../x",
        "/etc/x",
        "a/../../x",
        ".",
        "./x",
        "..\\x",
        "a\0b",
        "%2e%2e%2fx",
        "..%2fx",
        "~/x",
        "$HOME",
        "con",
        "a\nb",
        "a\u{202e}b",
        "\u{ff0e}\u{ff0e}/x",
        "_push",
        ".hidden",
        "-rf",
        "",
        " ",
        &long,
    ];
    let mut raw = Raw::shaken(broker.protocol);
    let mut http = Http::connect(broker.http);
    for name in names {
        let request = CreateTopicRequest {
            name: name.to_owned(),
            partition_count: 1,
            durability: Durability::Synced,
            change: SettingsChange::default(),
        };
        let answer = raw.call(&request);
        let is_harmless = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        assert!(answer.is_err() || is_harmless, "{name:?} is a topic");
        for target in [
            "/v2/queues/",
            "/v2/topics/",
            "/v2/schedules/",
            "/admin/v1/topics/",
            "/v2/flowControl/",
        ] {
            let escaped: Vec<String> = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let paths = [escaped.concat(), name.replace([' ', '\n', '\0'], "")];
            for path in paths.iter().filter(|path| path.is_ascii()) {
                let answer = http.get(&format!("{target}{path}"));
                assert!(answer.status < 500, "{target}{path}: {}", answer.body);
            }
        }
        let body = serde_json::json!({"queueName": name, "parallelism": 1}).to_string();
        let answer = http.post("/v2/queues", &[], body.as_bytes());
        assert!(answer.status < 500, "{name:?}: {}", answer.body);
    }
    round(&broker);
    assert_eq!(outside(dir.path()), before);
    broker.stop();
    let mut all = BTreeSet::new();
    walk(&dir.path().join("data"), &mut all);
    for path in all {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
            "{name:?}"
        );
    }
}

#[test]
fn a_second_process_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[]);
    create_topic(&broker);
    round(&broker);
    let mut second = command(dir.path(), ["127.0.0.1:0", "127.0.0.1:0"], &[]);
    let output = second.output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("in use") || text.contains("another"),
        "{text}"
    );
    round(&broker);
    broker.stop();
}

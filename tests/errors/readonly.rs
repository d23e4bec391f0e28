//! A broker as a process on a file system that turns read-only under it, as one does that has found an error in itself; and in
//! directories and files that take no change. What is refused says why, reads go on, and nothing acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redrive::client::{Client, ClientOptions};
use redrive::protocol::error_code::Refusal;

use crate::process::{create, produce, read_all, until_taken};
use crate::program::{Broker, Http, PATIENCE, TOKEN, command};

const PUBLISH: &str = "/v2/publish/http://127.0.0.1:1/";
const LATER: [(&str, &str); 1] = [("upstash-delay", "1d")];

/// An ext4 of its own; gone when it goes out of scope.
#[derive(Debug)]
struct Image {
    dir: tempfile::TempDir,
}

/// Runs a program and says whether it did what it should.
fn is_done(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Image {
    /// Makes and mounts one, if this user may.
    fn new() -> Option<Self> {
        let image = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let file = std::fs::File::create(image.file()).unwrap();
        file.set_len(48 << 20).unwrap();
        drop(file);
        std::fs::create_dir(image.root()).unwrap();
        let path = image.file();
        let made = ["-q", "-F", "-m", "0", path.to_str().unwrap()];
        let is_there = is_done("mkfs.ext4", &made) && image.mount();
        if !is_there {
            eprintln!("NOT RUN: this user may not mount an ext4 image");
        }
        is_there.then_some(image)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// What has gone wrong makes it read-only.
    fn mount(&self) -> bool {
        let (file, root) = (self.file(), self.root());
        let [file, root] = [&file, &root].map(|path| path.to_str().unwrap());
        is_done(
            "mount",
            &["-t", "ext4", "-o", "loop,errors=remount-ro", file, root],
        )
    }

    fn unmount(&self) {
        assert!(is_done("umount", &[self.root().to_str().unwrap()]));
    }

    /// Lets the file system find an error in itself.
    fn break_it(&self) {
        let found = Command::new("findmnt")
            .args(["-n", "-o", "SOURCE"])
            .arg(self.root())
            .output()
            .unwrap();
        let device = String::from_utf8(found.stdout).unwrap();
        let name = Path::new(device.trim()).file_name().unwrap().to_owned();
        let trigger = Path::new("/sys/fs/ext4")
            .join(name)
            .join("trigger_fs_error");
        std::fs::write(trigger, "by the test").unwrap();
    }

    /// Heals it: it is checked, and mounted anew.
    fn heal(&self) {
        self.unmount();
        // It says 1 when it has mended something.
        is_done("fsck.ext4", &["-p", "-f", self.file().to_str().unwrap()]);
        assert!(self.mount());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        is_done("umount", &["-l", self.root().to_str().unwrap()]);
    }
}

/// A file or a directory that takes no change, not from root either; until it goes out of scope.
struct Fixed(PathBuf);

impl Fixed {
    fn new(path: &Path) -> Option<Self> {
        let is_there = is_done("chattr", &["+i", path.to_str().unwrap()]);
        if !is_there {
            eprintln!("NOT RUN: this user may not make files immutable here");
        }
        is_there.then(|| Self(path.to_owned()))
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        is_done("chattr", &["-i", self.0.to_str().unwrap()]);
    }
}

/// Starts a broker with its data in `dir`; its log stands elsewhere.
fn start(dir: &Path, log: &Path) -> Broker {
    let keys = [
        ("topic.segment_bytes", "64KiB"),
        ("delivery.partitions", "1"),
    ];
    let command = command(dir, ["127.0.0.1:0", "127.0.0.1:0"], &keys);
    Broker::spawn(command, log)
}

async fn client(broker: &Broker) -> Client {
    let options = ClientOptions {
        token: Some(TOKEN.to_owned()),
        retry_for: Duration::ZERO,
        ..ClientOptions::new(broker.protocol.to_string())
    };
    Client::connect(options).await.unwrap()
}

fn is_a_reason(refusal: &Refusal, reasons: &[&str]) -> bool {
    let text = refusal.to_string().to_lowercase();
    reasons.iter().any(|reason| text.contains(reason))
}

fn problems(broker: &Broker) -> Vec<String> {
    let ready = Http::connect(broker.http).get("/readyz");
    let told: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
    let problems = told["problems"].as_array().unwrap().iter();
    let problems: Vec<_> = problems
        .map(|one| one.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ready.status == 200, problems.is_empty());
    problems
}

/// Publishes; the message's id, or the status and the error.
fn publish(broker: &Broker) -> Result<String, (u16, String)> {
    let answer = Http::connect(broker.http).post(PUBLISH, &LATER, b"body");
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    match answer.status {
        200 => Ok(told["messageId"].as_str().unwrap().to_owned()),
        status => Err((
            status,
            told["error"].as_str().unwrap_or_default().to_owned(),
        )),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_turns_read_only_refuses_writers_and_keeps_readers() {
    let Some(image) = Image::new() else { return };
    let log = tempfile::tempdir().unwrap();
    let broker = start(&image.root(), log.path());
    let first = client(&broker).await;
    create(&first, "t").await;
    let mut stored = Vec::new();
    for number in 0..12 {
        produce(&first, number).await.unwrap();
        stored.push(number);
    }
    let message = publish(&broker).unwrap();
    image.break_it();
    let reasons = ["read-only", "input/output error"];
    let mut told = Vec::new();
    for number in 12..40 {
        told.push(produce(&first, number).await.unwrap_err());
    }
    let first_told = &told[0];
    assert!(is_a_reason(first_told, &reasons), "{first_told}");
    let (status, error) = publish(&broker).unwrap_err();
    assert!(status >= 500, "{status} {error}");
    assert!(
        reasons
            .iter()
            .any(|reason| error.to_lowercase().contains(reason)),
        "{error}"
    );
    assert_eq!(read_all(&first).await, stored, "reads go on");
    Http::connect(broker.http)
        .get(&format!("/v2/messages/{message}"))
        .expect(200);
    let told = problems(&broker);
    for topic in ["t", "_push"] {
        let begins = format!("partition 0 of topic {topic} (number ");
        let is_it = |one: &&String| one.starts_with(&begins) && one.contains("takes no appends");
        let said = told.iter().find(is_it);
        let said = said.unwrap_or_else(|| panic!("no {begins}: {told:?}"));
        let text = said.to_lowercase();
        assert!(reasons.iter().any(|reason| text.contains(reason)), "{said}");
    }
    logs(&broker, "read-only").await;
    drop(first);
    drop(broker);
    image.heal();
    let broker = start(&image.root(), log.path());
    let again = client(&broker).await;
    let found = read_all(&again).await;
    assert!(found.starts_with(&stored), "{found:?}");
    Http::connect(broker.http)
        .get(&format!("/v2/messages/{message}"))
        .expect(200);
    assert_eq!(problems(&broker), Vec::<String>::new());
    produce(&again, 100).await.unwrap();
    publish(&broker).unwrap();
    broker.stop();
    drop(image);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_and_a_file_that_take_no_change_are_got_over() {
    let Some(image) = Image::new() else { return };
    let log = tempfile::tempdir().unwrap();
    let broker = start(&image.root(), log.path());
    let client = client(&broker).await;
    create(&client, "t").await;
    let mut stored = vec![0];
    produce(&client, 0).await.unwrap();
    let mut number = 1;
    for what in ["directory", "file"] {
        let newest = newest_segment(&image.root());
        let path = if what == "file" {
            newest.as_path()
        } else {
            newest.parent().unwrap()
        };
        let Some(fixed) = Fixed::new(path) else {
            return;
        };
        let mut refused = 0;
        for _ in 0..20 {
            match produce(&client, number).await {
                Ok(_) => stored.push(number),
                Err(refusal) => {
                    let is_first = refused == 0;
                    assert!(
                        !is_first || is_a_reason(&refusal, &["not permitted"]),
                        "{refusal}"
                    );
                    refused += 1;
                }
            }
            number += 1;
        }
        assert!(refused > 0, "{what}: nothing was refused");
        assert_eq!(read_all(&client).await, stored, "reads go on");
        let told = problems(&broker).join("\n");
        assert!(
            told.contains("of topic t") && told.contains("not permitted"),
            "{told}"
        );
        logs(&broker, "not permitted").await;
        drop(fixed);
        until_taken(&client, number).await;
        stored.push(number);
        number += 1;
    }
    drop(client);
    drop(broker);
    let broker = start(&image.root(), log.path());
    let again = self::client(&broker).await;
    assert_eq!(read_all(&again).await, stored);
    broker.stop();
    drop(image);
}

/// Waits until the broker's log says something.
async fn logs(broker: &Broker, what: &str) {
    let until = Instant::now() + PATIENCE;
    while !broker.logged().to_lowercase().contains(what) {
        assert!(Instant::now() < until, "no {what:?}: {}", broker.logged());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The segment that a broker on `root` writes to: the one that has changed last.
fn newest_segment(root: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut dirs = vec![root.join("data")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ending| ending == "log")
                && path.parent().unwrap().ends_with("main")
            {
                let changed = path.metadata().unwrap().modified().unwrap();
                found.push((changed, path));
            }
        }
    }
    found.into_iter().max().unwrap().1
}

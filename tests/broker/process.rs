//! The real program: killed at any moment, and started where it must not run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redrive::client::{Client, ClientOptions, Producer, ProducerOptions};
use redrive::protocol::selection::{Order, Selection};
use redrive::protocol::settings::Durability;

use crate::harness::{bounded, counted, create, read_all, record, topic_request};
use crate::letters::{fill, list_all, reject_all, retry_all, retry_request};

/// A running `redrive serve`; killed when it goes out of scope.
#[derive(Debug)]
struct Process {
    child: Child,
    address: SocketAddr,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    command.arg("serve").arg("--data-dir").arg(dir);
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(["--set", "storage.min_free_bytes=0"]);
    command.args(["--set", "log.level=error"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REDRIVE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Process {
    fn start(dir: &Path) -> Self {
        Self::with(dir, None)
    }

    /// Starts the program and waits for the lines with its addresses.
    fn with(dir: &Path, abort_at: Option<&str>) -> Self {
        let mut command = command(dir);
        command.stderr(Stdio::null());
        if let Some(place) = abort_at {
            command.env("REDRIVE_TEST_ABORT", place);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            line.trim().strip_prefix("protocol")?.trim().parse().ok()
        });
        let Some(address) = address else {
            panic!("the broker did not start: {:?}", child.wait());
        };
        // What it prints later goes nowhere, but the pipe stays open.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn options(&self) -> ClientOptions {
        ClientOptions {
            token: Some(String::new()),
            ..ClientOptions::new(self.address.to_string())
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }

    /// Kills it as `kill -9` does and waits for its end.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    async fn ended(mut self) -> std::process::ExitStatus {
        let waited = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        bounded(waited).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs the program to its end and returns its exit code and what it wrote to stderr.
fn run_to_the_end(mut command: Command) -> (Option<i32>, String) {
    command.stderr(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    let mut text = String::new();
    let mut stderr = child.0.stderr.take().unwrap();
    stderr.read_to_string(&mut text).unwrap();
    (child.0.wait().unwrap().code(), text)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A small generator: the seed is printed, so that a failure can be run again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(test: &str) -> Self {
        let text = std::env::var("REDRIVE_TEST_SEED").ok();
        let seed = text.and_then(|text| text.parse().ok()).unwrap_or(20_260);
        eprintln!("{test}: REDRIVE_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Produces until the broker is killed after `kill_after` acknowledgements, several writers at once. Returns what was
/// acknowledged and what was sent.
async fn produce_until_killed(
    process: Process,
    round: u64,
    kill_after: u64,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (enough, killed) = tokio::sync::watch::channel(false);
    let options = ClientOptions {
        retry_for: Duration::ZERO,
        ..process.options()
    };
    let writers: Vec<_> = (0..4_u32)
        .map(|writer| {
            let (options, count) = (options.clone(), Arc::clone(&acknowledged));
            let enough = enough.clone();
            tokio::spawn(async move {
                let client = Client::new(options);
                let options = ProducerOptions {
                    batch_bytes_max: 2_000,
                    linger: Duration::ZERO,
                    deliver_within: Duration::from_secs(1),
                    ..ProducerOptions::default()
                };
                let mut sent = BTreeSet::new();
                let mut stored = BTreeSet::new();
                let Ok(producer) = Producer::open(&client, "t", options).await else {
                    return (sent, stored);
                };
                let mut waiting = std::collections::VecDeque::new();
                for index in 0.. {
                    let value = format!("{round:03} {writer} {index:08}");
                    let key = writer.to_be_bytes();
                    let Ok(delivery) = producer
                        .send(&record(Some(&key), value.as_bytes(), &[]))
                        .await
                    else {
                        break;
                    };
                    sent.insert(value.clone());
                    waiting.push_back((value, delivery));
                    if waiting.len() < 64 {
                        continue;
                    }
                    let (value, delivery) = waiting.pop_front().unwrap();
                    if delivery.wait().await.is_err() {
                        break;
                    }
                    stored.insert(value);
                    if count.fetch_add(1, Ordering::Relaxed) + 1 >= kill_after {
                        enough.send_replace(true);
                    }
                }
                for (value, delivery) in waiting {
                    if delivery.wait().await.is_ok() {
                        stored.insert(value);
                    }
                }
                (sent, stored)
            })
        })
        .collect();
    let mut killed = killed;
    bounded(killed.wait_for(|enough| *enough)).await.unwrap();
    process.kill();
    let (mut sent, mut stored) = (BTreeSet::new(), BTreeSet::new());
    for writer in writers {
        let (all, acknowledged) = bounded(writer).await.unwrap();
        sent.extend(all);
        stored.extend(acknowledged);
    }
    (sent, stored)
}

async fn killed_while_producing(durability: Durability) {
    let mut random = Random::new("killed while producing");
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let mut request = topic_request("t", 2);
    request.durability = durability;
    request.change.segment_bytes = Some(1 << 20);
    process.client().await.create_topic(&request).await.unwrap();
    let (mut sent, mut stored) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..6 {
        let kill_after = 1 + random.below(3_000);
        let (all, acknowledged) = produce_until_killed(process, round, kill_after).await;
        sent.extend(all);
        stored.extend(acknowledged);
        process = Process::start(dir.path());
        let records = read_all(&process.client().await, "t").await;
        let counts = counted(&records);
        for value in &stored {
            let found = counts.get(value.as_bytes());
            assert_eq!(found, Some(&1), "round {round}: {value} was acknowledged");
        }
        for (value, count) in &counts {
            let value = String::from_utf8(value.clone()).unwrap();
            assert_eq!(*count, 1, "round {round}: {value} stands twice");
            assert!(sent.contains(&value), "round {round}: nobody sent {value}");
        }
        let mut last: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for record in records {
            let (key, value) = (record.key.unwrap().to_vec(), record.value.unwrap().to_vec());
            if let Some(before) = last.insert(key, value.clone()) {
                assert!(
                    before < value,
                    "round {round}: the order of a key is broken"
                );
            }
        }
    }
    eprintln!("{} acknowledged of {} sent", stored.len(), sent.len());
    assert!(!stored.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_keeps_what_it_acknowledged_as_synced() {
    killed_while_producing(Durability::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_keeps_what_it_acknowledged_as_written() {
    killed_while_producing(Durability::Written).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_outlives_the_broker_stores_everything_once_in_order() {
    let mut random = Random::new("producer outlives");
    let dir = tempfile::tempdir().unwrap();
    // The producer needs one address over all restarts.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("listen=127.0.0.1:{port}");
    let start = |dir: &Path| Process::with_set(dir, &listen);
    let mut process = start(dir.path());
    let client = process.client().await;
    create(&client, "t", 1).await;
    let options = ProducerOptions {
        batch_bytes_max: 1_000,
        linger: Duration::ZERO,
        backlog_bytes_max: 16_000,
        ..ProducerOptions::default()
    };
    let producer = Arc::new(Producer::open(&client, "t", options).await.unwrap());
    let (progress, mut seen) = tokio::sync::watch::channel(0_u64);
    let writer = {
        let producer = Arc::clone(&producer);
        tokio::spawn(async move {
            for index in 0..20_000_u64 {
                let value = format!("{index:08}");
                producer
                    .send(&record(None, value.as_bytes(), &[]))
                    .await
                    .unwrap();
                progress.send_replace(producer.counts().acknowledged);
            }
        })
    };
    for round in 1..=5_u64 {
        let until = (round - 1) * 3_500 + random.below(3_000);
        bounded(seen.wait_for(|count| *count >= until))
            .await
            .unwrap();
        process.kill();
        process = start(dir.path());
    }
    bounded(writer).await.unwrap();
    let counts = bounded(producer.flush()).await;
    assert_eq!((counts.acknowledged, counts.failed), (20_000, 0));
    let records = read_all(&process.client().await, "t").await;
    let values: Vec<_> = records
        .iter()
        .map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap())
        .collect();
    let expected: Vec<_> = (0..20_000).map(|index| format!("{index:08}")).collect();
    assert!(values == expected, "{} records", values.len());
}

impl Process {
    fn with_set(dir: &Path, assignment: &str) -> Self {
        let mut command = command(dir);
        command.stderr(Stdio::null()).args(["--set", assignment]);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            line.trim().strip_prefix("protocol")?.trim().parse().ok()
        });
        let Some(address) = address else {
            panic!("the broker did not start: {:?}", child.wait());
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

/// Checks that each of `count` letters stands exactly once more in the main log and that none is live.
async fn check_each_once_more(client: &Client, count: usize, what: &str) {
    let counts = counted(&read_all(client, "t").await);
    assert_eq!(counts.len(), count, "{what}");
    for (value, found) in counts {
        let value = String::from_utf8(value).unwrap();
        assert_eq!(found, 2, "{what}: record {value}");
    }
    let live = list_all(client, "t", &Selection::All, Order::OldestFirst, 1_000).await;
    assert_eq!(live, [], "{what}");
    let stats = client.letter_stats("t", Selection::All).await.unwrap();
    assert_eq!(stats.counts.live, 0, "{what}");
    assert_eq!(stats.counts.republished, count as u64, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_each_step_of_republish_republishes_each_letter_once() {
    for place in [
        "republish-claimed",
        "republish-written",
        "republish-synced",
        "republish-markers-written",
        "republish-markers-synced",
    ] {
        for nth in [1, 2, 5] {
            let dir = tempfile::tempdir().unwrap();
            let process = Process::start(dir.path());
            let client = process.client().await;
            create(&client, "t", 2).await;
            fill(&client, "t", 200).await;
            assert_eq!(reject_all(&client, "t", "g").await.len(), 200);
            process.kill();
            let process = Process::with(dir.path(), Some(&format!("{place}:{nth}")));
            let options = ClientOptions {
                retry_for: Duration::ZERO,
                ..process.options()
            };
            let client = Client::connect(options).await.unwrap();
            let mut request = retry_request("t", Selection::All);
            request.page.limit = 20;
            let error = loop {
                match client.retry_letters(&request).await {
                    Ok(answer) => request.page.cursor = answer.cursor,
                    Err(error) => break error,
                }
            };
            // Markers come behind the answer: the broker may be gone before it is asked for more.
            let is_between = place.starts_with("republish-markers");
            assert!(error.is_outcome_unknown() || is_between, "{place}: {error}");
            let status = process.ended().await;
            assert_eq!(status.code(), None, "{place}: it was to abort");
            let process = Process::start(dir.path());
            let client = process.client().await;
            retry_all(&client, "t", 10_000).await;
            check_each_once_more(&client, 200, &format!("{place}:{nth}")).await;
            process.kill();
            // What was settled stays settled.
            let process = Process::start(dir.path());
            let client = process.client().await;
            assert_eq!(retry_all(&client, "t", 100).await.len(), 0);
            check_each_once_more(&client, 200, place).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_while_everything_is_retried_republish_each_letter_once() {
    const LETTERS: u32 = 1_000;
    const KILLS: u64 = 50;
    let mut random = Random::new("fifty kills");
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let client = process.client().await;
    create(&client, "t", 4).await;
    fill(&client, "t", LETTERS).await;
    reject_all(&client, "t", "g").await;
    let mut within = 0;
    for kill in 0..KILLS {
        let options = ClientOptions {
            retry_for: Duration::ZERO,
            ..process.options()
        };
        // Two retry everything, a few letters at a time, until the broker is gone.
        let (progress, mut seen) = tokio::sync::watch::channel(0_u64);
        let retriers: Vec<_> = (0..2)
            .map(|_| {
                let (options, progress) = (options.clone(), progress.clone());
                tokio::spawn(async move {
                    let client = Client::new(options);
                    let mut request = retry_request("t", Selection::All);
                    request.page.limit = 5;
                    while let Ok(answer) = client.retry_letters(&request).await {
                        progress.send_modify(|count| *count += 1);
                        request.page.cursor = answer.cursor;
                        if request.page.cursor.is_none() {
                            break;
                        }
                    }
                })
            })
            .collect();
        drop(progress);
        // An instant between two answers: after a few of them, and a few rounds of the scheduler later.
        let answers = random.below(3);
        seen.wait_for(|count| *count >= answers).await.ok();
        for _ in 0..random.below(2_000) {
            tokio::task::yield_now().await;
        }
        process.kill();
        for retrier in retriers {
            bounded(retrier).await.unwrap();
        }
        process = Process::start(dir.path());
        let client = process.client().await;
        let counts = client
            .letter_stats("t", Selection::All)
            .await
            .unwrap()
            .counts;
        assert_eq!(counts.live + counts.republished, u64::from(LETTERS));
        let is_within = counts.republished > 0 && counts.live > 0;
        within += u64::from(is_within);
        if kill + 1 == KILLS || counts.live == 0 {
            eprintln!(
                "kill {}: {} republished, {} live",
                kill + 1,
                counts.republished,
                counts.live
            );
        }
    }
    eprintln!("{within} of {KILLS} kills fell between the first and the last republish");
    let client = process.client().await;
    retry_all(&client, "t", 10_000).await;
    check_each_once_more(&client, LETTERS as usize, "fifty kills").await;
    assert!(within >= 20, "only {within} kills fell in between");
}

#[test]
fn a_data_directory_in_use_is_refused_by_name_and_pid() {
    let dir = tempfile::tempdir().unwrap();
    let first = Process::start(dir.path());
    let (code, text) = run_to_the_end(command(dir.path()));
    assert_eq!(code, Some(1), "{text}");
    let pid = first.child.id().to_string();
    assert!(text.contains(&pid), "{text}");
    assert!(text.contains("redrive"), "{text}");
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
}

#[test]
fn an_address_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--http"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command.args(["serve", "--data-dir"]).arg(dir.path());
        let other = if flag == "--http" {
            "--listen"
        } else {
            "--http"
        };
        command.args([flag, &address, other, "127.0.0.1:0"]);
        command.stdout(Stdio::null());
        let (code, text) = run_to_the_end(command);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&address), "{text}");
    }
}

#[test]
fn an_address_off_loopback_needs_a_token_and_a_word() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["--listen", "0.0.0.0:0"][..], "token"),
        (&["--http", "[::]:0"][..], "token"),
        (
            &["--listen", "0.0.0.0:0", "--token", "secret"][..],
            "plaintext",
        ),
    ] {
        let mut command = command(dir.path());
        command.args(&arguments[2..]);
        // The last of a flag that is given twice would be an error: it replaces the harness's own.
        let mut replaced = Command::new(env!("CARGO_BIN_EXE_redrive"));
        let other = if arguments[0] == "--http" {
            "--listen"
        } else {
            "--http"
        };
        replaced.args(["serve", "--data-dir"]).arg(dir.path());
        replaced.args(arguments).args([other, "127.0.0.1:0"]);
        replaced.stdout(Stdio::null());
        drop(command);
        let (code, text) = run_to_the_end(replaced);
        assert!(matches!(code, Some(1 | 2)), "{code:?} {text}");
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_broker_drains_and_exits_with_zero() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let client = process.client().await;
    create(&client, "t", 1).await;
    fill(&client, "t", 100).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.child.id()).unwrap()).unwrap();
    // Three who hold the broker up: silence, half a frame, and half a handshake.
    let silent = tokio::net::TcpStream::connect(process.address)
        .await
        .unwrap();
    let half = crate::wire::Raw::shaken(process.address).await;
    let mut half = half;
    half.send(&[0, 0, 1, 0, 9]).await;
    let mut half_shaken = crate::wire::Raw::connect(process.address).await;
    half_shaken.send(&[0, 0]).await;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(10), process.ended())
        .await
        .expect("a drain takes less than ten seconds");
    assert_eq!(status.code(), Some(0));
    drop((silent, half, half_shaken));
    let process = Process::start(dir.path());
    assert_eq!(read_all(&process.client().await, "t").await.len(), 100);
}

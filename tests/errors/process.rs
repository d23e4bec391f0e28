//! A broker as a process: stopped for a while, short of open files, kept from large files, on a disk that is full.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redrive::client::consumer::decode::split;
use redrive::client::{Client, ClientOptions};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::Refusal;
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::produce::{Acks, ProduceBatch, ProduceRequest};
use redrive::protocol::settings::{Durability, SettingsChange};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use storage::offset::Offset;

use crate::script::batch;

/// No test waits longer: it is what makes a hang a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `redrive serve`; killed when it goes out of scope.
#[derive(Debug)]
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command.arg("serve").arg("--data-dir").arg(dir);
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--set", "storage.min_free_bytes=0"]);
        command.args(["--set", "topic.segment_bytes=64KiB"]);
        command.args(["--set", "log.level=error"]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REDRIVE_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            line.trim().strip_prefix("protocol")?.trim().parse().ok()
        });
        // What it prints later goes nowhere, but the pipe stays open.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address: address.expect("the broker starts"),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sets a limit of the process; `None` for as much as it may have.
    fn limit(&self, resource: Resource, current: Option<u64>) {
        let maximum = getrlimit(resource).maximum;
        let current = current.or(maximum);
        prlimit(Some(self.pid()), resource, Rlimit { current, maximum }).unwrap();
    }

    fn open_files(&self) -> u64 {
        let dir = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(dir).unwrap().count() as u64
    }

    /// Returns the time that it has computed.
    fn computed(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    fn options(&self) -> ClientOptions {
        ClientOptions {
            token: Some(String::new()),
            retry_for: Duration::ZERO,
            ..ClientOptions::new(self.address.to_string())
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill_process(self.pid(), Signal::CONT).ok();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened")
}

pub(crate) async fn create(client: &Client, name: &str) {
    let request = CreateTopicRequest {
        name: name.to_owned(),
        partition_count: 1,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    client.create_topic(&request).await.unwrap();
}

fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(9_000, (number % 251) as u8);
    value
}

pub(crate) async fn produce(client: &Client, number: u64) -> Result<Offset, Refusal> {
    let request = ProduceRequest {
        acks: Acks::TopicDefault,
        batches: vec![ProduceBatch {
            topic: "t".to_owned(),
            partition: 0,
            batch: batch(&value(number)).into(),
        }],
    };
    let answer = bounded(client.produce(&request)).await.unwrap();
    let appended = answer.batches.into_iter().next().unwrap();
    appended.map(|appended| appended.base_offset)
}

/// Reads all records, and returns their numbers.
pub(crate) async fn read_all(client: &Client) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let offset = Offset(numbers.len() as u64);
        let request = FetchRequest {
            partitions: vec![FetchPartition {
                topic: "t".to_owned(),
                partition: 0,
                offset,
                bytes_max: 1 << 20,
            }],
            bytes_min: 1,
            bytes_max: 1 << 20,
            wait_ms_max: 0,
        };
        let answer = bounded(client.fetch(&request)).await.unwrap();
        let partition = answer.partitions.into_iter().next().unwrap();
        assert_eq!(partition.refusal, None);
        let batches = split(partition.batches, offset).unwrap();
        if batches.is_empty() {
            return numbers;
        }
        for batch in batches {
            for record in batch.records(1 << 20).unwrap() {
                let found = record.value.unwrap();
                let number = u64::from_be_bytes(found[..8].try_into().unwrap());
                assert_eq!(found, value(number));
                numbers.push(number);
            }
        }
    }
}

/// Produces until it is taken again.
pub(crate) async fn until_taken(client: &Client, number: u64) -> Offset {
    let until = Instant::now() + PATIENCE;
    loop {
        match produce(client, number).await {
            Ok(offset) => return offset,
            Err(refusal) => {
                assert!(Instant::now() < until, "it does not go on: {refusal}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_acknowledges_nothing_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let client = process.client().await;
    create(&client, "t").await;
    for number in 0..10 {
        produce(&client, number).await.unwrap();
    }
    kill_process(process.pid(), Signal::STOP).unwrap();
    let client = Arc::new(client);
    let same = Arc::clone(&client);
    let mut waiting = tokio::spawn(async move { produce(&same, 10).await });
    let early = tokio::time::timeout(Duration::from_secs(5), &mut waiting).await;
    assert!(early.is_err(), "it is stopped, and answers: {early:?}");
    kill_process(process.pid(), Signal::CONT).unwrap();
    assert_eq!(bounded(waiting).await.unwrap().unwrap(), Offset(10));
    assert_eq!(produce(&client, 11).await.unwrap(), Offset(11));
    drop(process);
    let process = Process::start(dir.path());
    let all: Vec<u64> = (0..12).collect();
    assert_eq!(read_all(&process.client().await).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_of_open_files_those_who_are_there_go_on_and_the_others_wait() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let client = process.client().await;
    create(&client, "t").await;
    produce(&client, 0).await.unwrap();
    process.limit(Resource::Nofile, Some(process.open_files() + 3));
    let mut strangers = Vec::new();
    for _ in 0..40 {
        strangers.push(
            tokio::net::TcpStream::connect(process.address)
                .await
                .unwrap(),
        );
    }
    let (began, computed) = (Instant::now(), process.computed());
    // Rolls need a file more: what they refuse is taken a moment later or when there are files again.
    let mut refused = 0;
    let mut stored = vec![0];
    for number in 1..60 {
        match produce(&client, number).await {
            Ok(_) => stored.push(number),
            Err(refusal) => {
                assert!(
                    refusal.code.is_retryable() || refusal.message.contains("open"),
                    "{refusal}"
                );
                refused += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let share =
        process.computed().saturating_sub(computed).as_secs_f64() / began.elapsed().as_secs_f64();
    eprintln!(
        "{refused} refused, {} stored, {share:.2} of a core",
        stored.len()
    );
    assert!(share < 0.8, "it turns in circles: {share} of a core");
    drop(strangers);
    process.limit(Resource::Nofile, Some(1_000));
    until_taken(&client, 60).await;
    stored.push(60);
    let newcomer = bounded(process.client()).await;
    assert_eq!(read_all(&newcomer).await, stored);
    drop(process);
    let process = Process::start(dir.path());
    assert_eq!(read_all(&process.client().await).await, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_file_sizes_refuses_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let client = process.client().await;
    create(&client, "t").await;
    let mut stored = vec![0, 1];
    produce(&client, 0).await.unwrap();
    process.limit(Resource::Fsize, Some(30_000));
    // The room that was reserved before is still there.
    let mut refused = 0;
    produce(&client, 1).await.unwrap();
    for number in 2..40 {
        match produce(&client, number).await {
            Ok(_) => stored.push(number),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "nothing was limited");
    assert_eq!(read_all(&client).await, stored, "reads go on");
    process.limit(Resource::Fsize, None);
    until_taken(&client, 40).await;
    stored.push(40);
    assert_eq!(read_all(&client).await, stored);
    drop(process);
    let process = Process::start(dir.path());
    assert_eq!(read_all(&process.client().await).await, stored);
}

/// A small file system of its own; gone when it goes out of scope.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one, if this user may.
    fn new(dir: &Path) -> Option<Self> {
        let options = "size=3m,mode=0755";
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir);
        let is_mounted = mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success());
        is_mounted.then(|| Self(dir.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_system_refuses_producers_keeps_readers_and_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(dir.path()) else {
        eprintln!("NOT RUN: this user may not mount a tmpfs");
        return;
    };
    let process = Process::start(&mounted.0.join("data"));
    let client = process.client().await;
    create(&client, "t").await;
    let mut stored = Vec::new();
    let mut number = 0;
    for round in 0..4_u64 {
        // Other levels each time: what fails is a write, a reservation, or a roll.
        let filler = mounted.0.join("filler");
        let free = rustix::fs::statvfs(&mounted.0).unwrap();
        let free = free.f_bavail * free.f_frsize;
        let left = 4_096 * (1 + 7 * round);
        std::fs::write(&filler, vec![1; free.saturating_sub(left) as usize]).unwrap();
        let mut refused = 0;
        for _ in 0..30 {
            match produce(&client, number).await {
                Ok(_) => stored.push(number),
                Err(refusal) => {
                    assert!(refusal.code.is_retryable(), "{refusal}");
                    refused += 1;
                }
            }
            number += 1;
        }
        assert!(refused > 0, "round {round}: it was not full");
        assert_eq!(read_all(&client).await, stored, "reads go on");
        std::fs::remove_file(&filler).unwrap();
        until_taken(&client, number).await;
        stored.push(number);
        number += 1;
    }
    drop(process);
    let process = Process::start(&mounted.0.join("data"));
    assert_eq!(read_all(&process.client().await).await, stored);
    drop(process);
    drop(mounted);
}

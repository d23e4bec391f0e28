//! A broker on a disk that fills up and fails, and retention under its readers' feet.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use redrive::broker::{Broker, Upkeep};
use redrive::client::api::rejection;
use redrive::client::consumer::decode::split;
use redrive::client::{Client, ClientOptions};
use redrive::clock::SystemClock;
use redrive::metrics::Metrics;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::selection::{Order, Selection};
use redrive::protocol::settings::{Durability, Limit};
use redrive::request_room::RequestRoom;
use redrive::server::{Bound, Server};
use redrive::shutdown::Shutdown;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::SimDisk;
use storage::disk::{Disk, RealDisk};
use storage::limits::BATCH_BYTES_CEILING;
use storage::offset::Offset;
use tokio::task::JoinHandle;

use crate::harness::{Running, batch, bounded, config, counted, create, read_all, topic_request};
use crate::letters::{list_all, retry_all};
use crate::produce::{fetch_request, produce_request};

/// A broker on any disk, served on a socket, whose own work is done when a test says so.
struct Served {
    broker: Arc<Broker>,
    upkeep: Option<Upkeep>,
    client: Client,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(dir: &Path, disk: Arc<dyn Disk>, changes: &[(&str, &str)]) -> Self {
        let config = config(dir, changes);
        let clock = Arc::new(SystemClock::new());
        let shutdown = Shutdown::new();
        let metrics = Arc::new(Metrics::new());
        let broker = Broker::open(&config, disk, clock, metrics, shutdown).unwrap();
        let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.address().unwrap();
        let server = Server::start(
            Arc::clone(&broker),
            bound,
            config.access.clone(),
            config.protocol.clone(),
            RequestRoom::new(config.protocol.in_flight_bytes_max),
        );
        let options = ClientOptions {
            retry_for: std::time::Duration::ZERO,
            ..ClientOptions::new(address.to_string())
        };
        Self {
            upkeep: Some(Upkeep::new(Arc::clone(&broker))),
            broker,
            client: Client::new(options),
            task: tokio::spawn(server.unwrap().run()),
        }
    }

    /// Lets the broker do its own work once.
    async fn round(&mut self) {
        let mut upkeep = self.upkeep.take().unwrap();
        let round = tokio::task::spawn_blocking(move || {
            upkeep.round();
            upkeep
        });
        self.upkeep = Some(bounded(round).await.unwrap());
    }

    async fn produce(&self, partition: u32, value: &[u8]) -> Result<Offset, Refusal> {
        let request = produce_request("t", partition, batch(&[value]));
        let answer = bounded(self.client.produce(&request)).await.unwrap();
        let batch = answer.batches.into_iter().next().unwrap();
        batch.map(|appended| appended.base_offset)
    }

    /// Ends the connections; what the broker still holds of the disk goes with it.
    async fn end(self) {
        self.broker.shutdown().trigger();
        bounded(self.task).await.unwrap();
    }
}

async fn reject(client: &Client, offset: u64) -> Result<String, redrive::client::ClientError> {
    let request = rejection("g", ("t", 0, Offset(offset)), "no", None);
    client.reject(&request).await.map(|answer| answer.letter_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full_refuses_producers_and_nobody_else() {
    let sim = SimDisk::new(1);
    let dir = Path::new("/data");
    sim.set_capacity_bytes(Some(256 << 20));
    let changes = [("storage.min_free_bytes", "64MiB")];
    let mut served = Served::start(dir, Arc::new(sim.clone()), &changes).await;
    create(&served.client, "t", 1).await;
    for index in 0..10_u8 {
        served.produce(0, &[index]).await.unwrap();
    }
    let used = (256 << 20) - sim.free_bytes(dir).unwrap();
    sim.set_capacity_bytes(Some(used + (32 << 20)));
    served.round().await;
    let refusal = served.produce(0, b"no").await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::StorageFull);
    assert!(refusal.code.is_retryable());
    assert_eq!(read_all(&served.client, "t").await.len(), 10);
    for offset in 0..5 {
        reject(&served.client, offset).await.unwrap();
    }
    assert_eq!(retry_all(&served.client, "t", 100).await.len(), 5);
    assert!(!served.broker.health().problems.is_empty());
    sim.set_capacity_bytes(Some(256 << 20));
    served.round().await;
    served.produce(0, b"again").await.unwrap();
    assert_eq!(served.broker.health().problems, Vec::<String>::new());
    assert_eq!(read_all(&served.client, "t").await.len(), 16);
    served.end().await;
}

/// Nothing is measured meanwhile but what the producers themselves have measured.
#[tokio::test(flavor = "multi_thread")]
async fn producers_cannot_outrun_the_reserve() {
    const RESERVE: u64 = 8 << 20;
    let sim = SimDisk::new(1);
    let dir = Path::new("/data");
    sim.set_capacity_bytes(Some(64 << 20));
    let changes = [("storage.min_free_bytes", "8MiB")];
    let served = Served::start(dir, Arc::new(sim.clone()), &changes).await;
    create(&served.client, "t", 4).await;
    let used = (64 << 20) - sim.free_bytes(dir).unwrap();
    sim.set_capacity_bytes(Some(used + RESERVE + (16 << 20)));
    let value = vec![7; 100_000];
    let fill = async |partition| {
        let mut count = 0;
        loop {
            match served.produce(partition, &value).await {
                Ok(_) => count += 1,
                Err(refusal) => break (count, refusal),
            }
        }
    };
    let filled = tokio::join!(fill(0), fill(1), fill(2), fill(3));
    let filled = [filled.0, filled.1, filled.2, filled.3];
    let free = sim.free_bytes(dir).unwrap();
    assert!(free >= RESERVE, "{free} bytes are left");
    assert!(free < RESERVE + 100_000, "{free} bytes are left");
    for (count, refusal) in &filled {
        assert!(*count > 0);
        assert_eq!(refusal.code, ErrorCode::StorageFull);
        assert!(refusal.code.is_retryable());
    }
    assert_eq!(served.broker.health().problems.len(), 1);
    for offset in 0..5 {
        reject(&served.client, offset).await.unwrap();
    }
    assert_eq!(retry_all(&served.client, "t", 100).await.len(), 5);
    sim.set_capacity_bytes(Some(256 << 20));
    for partition in 0..4 {
        served.produce(partition, b"again").await.unwrap();
    }
    let count: usize = filled.iter().map(|(count, _)| count).sum();
    assert_eq!(read_all(&served.client, "t").await.len(), count + 5 + 4);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_heals_by_itself() {
    for effect in [
        Effect::Fail(std::io::ErrorKind::StorageFull),
        Effect::WritePart(100, std::io::ErrorKind::StorageFull),
        Effect::WritePart(1, std::io::ErrorKind::Other),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let fault = FaultDisk::new(Arc::new(RealDisk));
        let mut served = Served::start(dir.path(), Arc::new(fault.clone()), &[]).await;
        create(&served.client, "t", 2).await;
        let mut stored = Vec::new();
        for index in 0..20_u8 {
            served.produce(0, &[index]).await.unwrap();
            stored.push(vec![index]);
        }
        for round in 0..3_u8 {
            fault.add(Rule::new(OpClass::Write, effect).on(".log").forever());
            for attempt in 0..5 {
                let refusal = served.produce(0, b"never").await.unwrap_err();
                assert!(refusal.code.is_retryable(), "attempt {attempt}: {refusal}");
                assert_eq!(
                    read_all(&served.client, "t").await.len(),
                    stored.len(),
                    "reads go on"
                );
                served.round().await;
            }
            fault.heal();
            served.round().await;
            let value = vec![100 + round];
            let offset = served.produce(0, &value).await.unwrap();
            assert_eq!(offset, Offset(stored.len() as u64));
            stored.push(value);
        }
        let counts = counted(&read_all(&served.client, "t").await);
        assert_eq!(counts.len(), stored.len());
        served.end().await;
        fault.heal();
        let broker = Running::within_dir(dir, &[]).await;
        let records = read_all(&broker.client().await, "t").await;
        let values: Vec<_> = records
            .into_iter()
            .map(|record| record.value.unwrap().to_vec())
            .collect();
        assert_eq!(values, stored);
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_survive_a_disk_that_is_full_while_they_die_and_are_retried() {
    let dir = tempfile::tempdir().unwrap();
    let fault = FaultDisk::new(Arc::new(RealDisk));
    let mut served = Served::start(dir.path(), Arc::new(fault.clone()), &[]).await;
    create(&served.client, "t", 1).await;
    for index in 0..10_u8 {
        served.produce(0, &[index]).await.unwrap();
    }
    for offset in 0..10 {
        reject(&served.client, offset).await.unwrap();
    }
    let full = Effect::Fail(std::io::ErrorKind::StorageFull);
    // Each write of the republish fails once: the fresh records, then the markers.
    for nth in 1..=4 {
        fault.add(Rule::new(OpClass::Write, full).on(".log").nth(nth));
        let mut request = crate::letters::retry_request("t", Selection::All);
        request.page.limit = 2;
        let answer = bounded(served.client.retry_letters(&request))
            .await
            .unwrap();
        for (id, result) in answer.letters {
            if let Err(refusal) = result {
                assert!(refusal.code.is_retryable(), "{id}: {refusal}");
            }
        }
        fault.heal();
        served.round().await;
        served.round().await;
    }
    retry_all(&served.client, "t", 100).await;
    served.round().await;
    let counts = counted(&read_all(&served.client, "t").await);
    assert!(counts.values().all(|count| *count == 2), "{counts:?}");
    let live = list_all(&served.client, "t", &Selection::All, Order::OldestFirst, 10).await;
    assert_eq!(live, []);
    served.end().await;
    let broker = Running::within_dir(dir, &[]).await;
    let client = broker.client().await;
    let counts = counted(&read_all(&client, "t").await);
    assert!(counts.values().all(|count| *count == 2), "{counts:?}");
    let stats = client.letter_stats("t", Selection::All).await.unwrap();
    assert_eq!((stats.counts.live, stats.counts.republished), (0, 10));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_the_outcome_is_unknown_until_a_restart() {
    let dir = Path::new("/data");
    let sim = SimDisk::new(7);
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let mut served = Served::start(dir, Arc::new(fault.clone()), &[]).await;
    let view = create(&served.client, "t", 2).await;
    for partition in 0..2 {
        for index in 0..5_u8 {
            served.produce(partition, &[index]).await.unwrap();
        }
    }
    let number = format!("{:010}", view.partitions[0].number);
    let segment = sim
        .paths()
        .into_iter()
        .map(|path| path.to_string_lossy().into_owned())
        .find(|path| path.contains(&number) && path.ends_with(".log"))
        .unwrap();
    let failure = Effect::Fail(std::io::ErrorKind::Other);
    fault.add(Rule::new(OpClass::Sync, failure).on(&segment));
    let refusal = served.produce(0, b"lost?").await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::OutcomeUnknown, "{refusal}");
    for _ in 0..3 {
        served.round().await;
        let refusal = served.produce(0, b"later").await.unwrap_err();
        assert!(refusal.code.is_retryable(), "{refusal}");
    }
    // The other partition does not notice, and what was durable is read.
    assert_eq!(served.produce(1, b"goes on").await.unwrap(), Offset(5));
    assert_eq!(read_all(&served.client, "t").await.len(), 11);
    assert!(!served.broker.health().problems.is_empty());
    let retry = crate::letters::retry_request("t", Selection::All);
    let refused = served.client.retry_letters(&retry);
    assert_eq!(bounded(refused).await.unwrap().letters, []);
    served.end().await;
    for seed in 0..20 {
        let after = sim.reboot(storage::disk::sim::Survival::Random(seed));
        let served = Served::start(dir, Arc::new(after), &[]).await;
        let counts = counted(&read_all(&served.client, "t").await);
        assert_eq!(counts.get(b"later".as_slice()), None);
        assert_eq!(counts.get(b"goes on".as_slice()), Some(&1));
        for index in 0..5_u8 {
            assert_eq!(counts.get(&vec![index]), Some(&2), "seed {seed}");
        }
        let next = served.produce(0, b"after").await.unwrap();
        let lost = counts.get(b"lost?".as_slice()).copied().unwrap_or(0);
        assert_eq!(next, Offset(5 + lost as u64));
        served.end().await;
    }
}

/// The value of an offset: its number and a filler that depends on it.
fn value_at(offset: u64) -> Vec<u8> {
    let mut value = offset.to_be_bytes().to_vec();
    value.resize(600 + (offset % 400) as usize, (offset % 251) as u8);
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_under_sixteen_readers_gives_them_the_right_bytes_or_the_new_start() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), Arc::new(RealDisk), &[]).await;
    let mut request = topic_request("t", 1);
    request.durability = Durability::Written;
    request.change.record_bytes_max = Some(2 << 10);
    request.change.batch_bytes_max = Some(256 << 10);
    request.change.segment_bytes = Some(8 << 10);
    request.change.retention_bytes = Some(Limit::AtMost(64 << 10));
    served.client.create_topic(&request).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let ranges = Arc::new(AtomicU64::new(0));
    let reads = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..16_u64)
        .map(|reader| {
            let client = served.client.sibling();
            let (is_over, ranges, reads) = (
                Arc::clone(&is_over),
                Arc::clone(&ranges),
                Arc::clone(&reads),
            );
            tokio::spawn(async move {
                let mut position = Offset(0);
                // The odd ones go back to where the start was, over and over: they race with the unlinking.
                while !is_over.load(Ordering::Relaxed) {
                    let request = fetch_request("t", position.0, 0);
                    let answer = client.fetch(&request).await.unwrap();
                    let partition = answer.partitions.into_iter().next().unwrap();
                    if let Some(refusal) = partition.refusal {
                        assert_eq!(refusal.code, ErrorCode::OffsetOutOfRange, "{refusal}");
                        let start = partition.log_start_offset;
                        assert!(start > position, "{start} is no new start for {position}");
                        assert!(refusal.message.contains(&position.to_string()));
                        ranges.fetch_add(1, Ordering::Relaxed);
                        position = start;
                        continue;
                    }
                    let batches = split(partition.batches.clone(), position).unwrap();
                    for batch in &batches {
                        let base = batch.header().base_offset;
                        for (record, delta) in
                            batch.records(BATCH_BYTES_CEILING).unwrap().iter().zip(0..)
                        {
                            let offset = base.0 + delta;
                            let expected = Bytes::from(value_at(offset));
                            assert_eq!(record.value, Some(expected), "offset {offset}");
                        }
                    }
                    reads.fetch_add(batches.len() as u64, Ordering::Relaxed);
                    if let Some(last) = batches.last() {
                        position = last.header().next_offset();
                    }
                    if reader % 2 == 1 && reads.load(Ordering::Relaxed) % 3 == 0 {
                        position = partition.log_start_offset;
                    }
                }
            })
        })
        .collect();
    let mut deleted = 0;
    let mut next = 0_u64;
    for _ in 0..400 {
        for _ in 0..5 {
            let values = [value_at(next), value_at(next + 1)];
            let request = produce_request("t", 0, batch(&[&values[0], &values[1]]));
            let answer = served.client.produce(&request).await.unwrap();
            let offset = answer.batches[0].as_ref().unwrap().base_offset;
            assert_eq!(offset, Offset(next));
            next += 2;
        }
        let broker = Arc::clone(&served.broker);
        let run = tokio::task::spawn_blocking(move || broker.run_retention("t"));
        deleted += run.await.unwrap().unwrap().segment_count;
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        bounded(reader).await.unwrap();
    }
    let detail = served.broker.partition_detail("t", 0).unwrap();
    eprintln!(
        "{deleted} segments deleted, {} batches read, {} out of range, {} segments left",
        reads.load(Ordering::Relaxed),
        ranges.load(Ordering::Relaxed),
        detail.segments.len(),
    );
    assert!(deleted > 100);
    assert!(ranges.load(Ordering::Relaxed) > 0, "nobody fell behind");
    assert!(detail.segments.len() <= 10, "{}", detail.segments.len());
    assert!(detail.view.log_start_offset > Offset(0));
    served.end().await;
    let broker = Running::within_dir(dir, &[]).await;
    let records = read_all(&broker.client().await, "t").await;
    assert_eq!(
        records.first().unwrap().offset,
        detail.view.log_start_offset
    );
    assert_eq!(records.last().unwrap().offset, Offset(next - 1));
    broker.stop().await;
}

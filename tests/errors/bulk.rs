//! Bulk calls over HTTP on a disk that fails one partition: the cursor leads back in front of what was refused for now, and who
//! follows it does the rest.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use redrive::broker::{Broker, Upkeep};
use redrive::clock::ManualClock;
use redrive::config::ServeConfig;
use redrive::http::{HttpLimits, serve};
use redrive::metrics::Metrics;
use redrive::request_room::RequestRoom;
use redrive::run::surface;
use redrive::shutdown::Shutdown;
use serde_json::Value;
use storage::address::Address;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::program::{Http, TOKEN};
use crate::sink::Sink;
use crate::world::{NOW, config_of, new_disk};

/// Letters that are worked off, over three partitions.
const LETTERS: usize = 9;

/// A broker that is served, without the rounds of its own work: what fails stays so until a test has it healed.
struct Served {
    broker: Arc<Broker>,
    disk: FaultDisk,
    http: Http,
    tasks: [JoinHandle<()>; 2],
}

fn config() -> ServeConfig {
    let flags = [
        ("data_dir", "/data"),
        ("token", TOKEN),
        ("storage.min_free_bytes", "0"),
        ("storage.sync_threads", "2"),
        ("delivery.partitions", "3"),
    ];
    config_of(&flags)
}

impl Served {
    async fn start() -> Self {
        let disk = FaultDisk::over(&new_disk(7));
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
        let clock = Arc::new(ManualClock::new(NOW));
        let config = config();
        let on = Arc::new(disk.clone());
        let broker = Broker::open(&config, on, clock, Arc::clone(&metrics), shutdown.clone());
        let broker = broker.unwrap();
        let delivering = tokio::spawn(Arc::clone(&broker).deliver(Arc::new(Sink::default())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let surface = surface(&broker, &config, &RequestRoom::new(64 << 20));
        let limits = HttpLimits::new(&config.http);
        let serving = tokio::spawn(serve(listener, limits, metrics, surface, async move {
            shutdown.wait().await;
        }));
        Self {
            broker,
            disk,
            http: Http::connect(address),
            tasks: [delivering, serving],
        }
    }

    /// Publishes messages that die at their first attempt. Returns the ids of their letters.
    fn dead(&mut self, label: &str, count: usize) -> Vec<String> {
        let headers = [("upstash-retries", "0"), ("upstash-label", label)];
        for queue in 0..count {
            // A queue stands in the partition of its name.
            let target = format!("/v2/enqueue/q{queue}/http://h/bad");
            self.http.post(&target, &headers, b"x").expect(200);
        }
        loop {
            let letters = self.letters(label);
            if letters.len() == count {
                return letters;
            }
            // The attempts end by themselves.
            std::thread::yield_now();
        }
    }

    fn letters(&mut self, label: &str) -> Vec<String> {
        let page = self.http.get(&format!("/v2/dlq?label={label}")).json(200);
        ids(&page["messages"], "dlqId")
    }

    /// Lets the broker do its own work once.
    fn round(&self) {
        Upkeep::new(Arc::clone(&self.broker)).round();
    }

    async fn stop(self) {
        self.broker.shutdown().trigger();
        drop(self.http);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.broker.close();
    }
}

fn ids(list: &Value, name: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one[name].as_str().unwrap().to_owned())
        .collect()
}

/// What a bulk call has done: how many letters, and the cursor.
fn done(page: &Value) -> (u64, Option<String>) {
    let count = page["deleted"].as_u64();
    let count = count.unwrap_or_else(|| page["responses"].as_array().unwrap().len() as u64);
    (count, page["cursor"].as_str().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_call_leads_back_to_what_a_partition_refused_for_now() {
    for (method, path, status) in [("DELETE", "/v2/dlq", 200), ("POST", "/v2/dlq/retry", 201)] {
        let mut served = Served::start().await;
        let letters = served.dead("all", LETTERS);
        let partitions = letters.iter().map(|id| partition_of(id));
        assert_eq!(partitions.collect::<BTreeSet<_>>().len(), 3);
        // What one letter's resolution meets keeps its partition from taking any more, until that is healed.
        let spare = served.dead("spare", 1).remove(0);
        let refusing = partition_of(&spare);
        let fails = Effect::Fail(ErrorKind::Other);
        served.disk.add(Rule::new(OpClass::Write, fails));
        let later = [("upstash-delay", "1h")];
        let target = format!("{path}/{spare}");
        served
            .http
            .request(method, &target, &later, b"")
            .expect(503);
        served.disk.heal();

        let select = format!("{path}?label=all&count=4");
        let first = served.http.request(method, &select, &later, b"");
        let (mut sum, mut cursor) = done(&first.json(status));
        let refused = letters
            .iter()
            .take(4)
            .filter(|id| partition_of(id) == refusing);
        let refused = refused.count() as u64;
        assert!((1..4).contains(&refused), "the first page has some of both");
        assert_eq!(sum, 4 - refused, "{method}");
        let left = served.letters("all");
        assert_eq!(left.len() as u64, LETTERS as u64 - sum, "{method}");

        served.round();
        while let Some(at) = cursor {
            let next = format!("{select}&cursor={at}");
            let page = served.http.request(method, &next, &later, b"").json(status);
            let (count, next) = done(&page);
            sum += count;
            cursor = next;
        }
        assert_eq!(sum, LETTERS as u64, "{method}: each letter once");
        assert_eq!(served.letters("all"), [""; 0], "{method}");
        served.stop().await;
    }
}

fn partition_of(id: &str) -> u32 {
    let address: Address = id.parse().unwrap();
    address.partition.0
}

//! A broker in this process, on free ports and a directory of its own, and what most tests do with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redrive::client::consumer::Record;
use redrive::client::{Client, ClientOptions, Consumer, ConsumerOptions};
use redrive::config::{FlagValue, ServeConfig, Settings};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::metadata::TopicView;
use redrive::protocol::settings::{Durability, SettingsChange};
use redrive::run::{Addresses, RunError, run};
use redrive::shutdown::Shutdown;
use storage::batch::{BatchBuilder, BuildOptions, Codec, HeaderRef, NewRecord, Producer};
use storage::offset::TimestampMs;
use tokio::task::JoinHandle;

/// No test waits longer than this for anything: it is what makes a hang a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Builds a configuration with free ports in `dir`.
pub(crate) fn config(dir: &Path, changes: &[(&str, &str)]) -> ServeConfig {
    let flag = |key: &str, value: &str| FlagValue {
        flag: format!("--{key}"),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let mut flags = vec![
        flag("data_dir", dir.to_str().unwrap()),
        flag("http", "127.0.0.1:0"),
        flag("listen", "127.0.0.1:0"),
        flag("storage.min_free_bytes", "0"),
        flag("storage.sync_threads", "4"),
    ];
    flags.extend(changes.iter().map(|(key, value)| flag(key, value)));
    let settings = Settings::resolve(None, [], &flags).unwrap();
    ServeConfig::from_settings(&settings).unwrap()
}

/// A broker that runs in this process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
    pub(crate) dir: Arc<tempfile::TempDir>,
    changes: Vec<(String, String)>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(changes: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::within(dir, changes).await
    }

    pub(crate) async fn within(dir: Arc<tempfile::TempDir>, changes: &[(&str, &str)]) -> Self {
        let config = config(&dir.path().join("data"), changes);
        let shutdown = Shutdown::new();
        let (started, addresses) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(run(config, shutdown.clone(), |addresses| {
            started.send(addresses).ok();
        }));
        let Ok(addresses) = addresses.await else {
            panic!("the broker did not start: {:?}", task.await);
        };
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self {
            addresses,
            shutdown,
            task,
            dir,
            changes: changes.iter().map(owned).collect(),
        }
    }

    /// Runs a broker whose data stand in `dir` itself.
    pub(crate) async fn within_dir(dir: tempfile::TempDir, changes: &[(&str, &str)]) -> Self {
        let text = dir.path().to_str().unwrap().to_owned();
        let mut all = changes.to_vec();
        all.push(("data_dir", &text));
        Self::within(Arc::new(dir), &all).await
    }

    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions::new(self.addresses.protocol.to_string())
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }

    /// Ends the broker in good order and returns its directory.
    pub(crate) async fn stop(self) -> Arc<tempfile::TempDir> {
        self.shutdown.trigger();
        bounded(self.task).await.unwrap().unwrap();
        self.dir
    }

    /// Ends the broker and runs another one on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let changes = self.changes.clone();
        let dir = self.stop().await;
        let borrowed: Vec<_> = changes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Self::within(dir, &borrowed).await
    }
}

/// Waits, but not for ever.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened for a minute")
}

pub(crate) fn topic_request(name: &str, partition_count: u32) -> CreateTopicRequest {
    CreateTopicRequest {
        name: name.to_owned(),
        partition_count,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    }
}

pub(crate) async fn create(client: &Client, name: &str, partition_count: u32) -> TopicView {
    let request = topic_request(name, partition_count);
    client.create_topic(&request).await.unwrap()
}

/// Builds a batch of values without keys.
pub(crate) fn batch(values: &[&[u8]]) -> Vec<u8> {
    batch_of(values, Codec::None, None)
}

pub(crate) fn batch_of(values: &[&[u8]], codec: Codec, producer: Option<Producer>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for value in values {
        builder.push(&record(None, value, &[])).unwrap();
    }
    let options = BuildOptions {
        producer,
        ..BuildOptions::default()
    };
    builder.build(options).unwrap()
}

pub(crate) fn record<'a>(
    key: Option<&'a [u8]>,
    value: &'a [u8],
    headers: &'a [HeaderRef<'a>],
) -> NewRecord<'a> {
    NewRecord {
        timestamp: TimestampMs(1_700_000_000_000),
        key,
        value: Some(value),
        headers,
    }
}

/// Reads all records of a topic from the beginning to what is the end now.
pub(crate) async fn read_all(client: &Client, topic: &str) -> Vec<Record> {
    let options = ConsumerOptions {
        all_groups: true,
        ..ConsumerOptions::default()
    };
    read(client, topic, options).await
}

/// Reads the records of a topic to what is the end now.
pub(crate) async fn read(client: &Client, topic: &str, options: ConsumerOptions) -> Vec<Record> {
    let options = ConsumerOptions {
        stops_at_end: true,
        ..options
    };
    let reading = async {
        let mut consumer = Consumer::open(client, topic, options).await.unwrap();
        let mut records = Vec::new();
        while let Some(record) = consumer.next().await.unwrap() {
            records.push(record);
        }
        records
    };
    bounded(reading).await
}

/// Counts values: how often each was read.
pub(crate) fn counted(records: &[Record]) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        let value = record.value.as_ref().map(|value| value.to_vec());
        *counts.entry(value.unwrap_or_default()).or_default() += 1;
    }
    counts
}

/// Returns the refusal that a call must come to.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, redrive::client::ClientError>,
    code: ErrorCode,
) -> Refusal {
    let error = result.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(refusal.code, code, "{refusal}");
    refusal.clone()
}

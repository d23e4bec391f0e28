//! What is asked of the broker: every way in which it writes, twice over, with an end and a start in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redrive::broker::{OpenError, ProducePending};
use redrive::clock::ManualClock;
use redrive::delivery::api::{Publication, Target};
use redrive::names::QueueName;
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::delete_topic::DeleteTopicRequest;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::group_offsets::{CommitOffsetsRequest, CommittedOffset};
use redrive::protocol::metadata::MetadataRequest;
use redrive::protocol::produce::Acks;
use redrive::protocol::reject::RejectRequest;
use redrive::protocol::resolve_letters::{DeleteLettersRequest, RetryLettersRequest};
use redrive::protocol::selection::{Order, Page, Selection};
use redrive::protocol::settings::{Durability, Limit, SettingsChange};
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord};
use storage::delivery::{Callback, Envelope};
use storage::disk::fault::FaultDisk;
use storage::error::LogError;
use storage::offset::{Offset, TimestampMs};

use crate::sink::Sink;
use crate::told::{Fate, Kind, Letter, Told};
use crate::world::{NOW, PATIENCE, Running};

const MONTH_MS: i64 = 30 * 86_400_000;

/// The run of one script: the broker while it runs, and what callers know.
pub(crate) struct Script {
    pub(crate) disk: FaultDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) told: Told,
    pub(crate) running: Option<Running>,
    /// Where the disk fails, if it does: partitions elsewhere must go on.
    pub(crate) fault: Option<PathBuf>,
    /// What was refused, and by which code.
    pub(crate) refused: Vec<(&'static str, Refusal)>,
    /// Why the broker did not open.
    pub(crate) unopened: Vec<String>,
    /// Broken promises.
    pub(crate) broken: Vec<String>,
    number: u64,
}

impl Script {
    pub(crate) fn new(disk: FaultDisk) -> Self {
        Self {
            disk,
            clock: Arc::new(ManualClock::new(NOW)),
            sink: Arc::default(),
            told: Told::default(),
            running: None,
            fault: None,
            refused: Vec::new(),
            unopened: Vec::new(),
            broken: Vec::new(),
            number: 0,
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Opens the broker, at the second try if need be. Returns whether it runs.
    pub(crate) async fn open(&mut self) -> bool {
        let mut tries = 0;
        let until = Instant::now() + PATIENCE;
        while tries < 2 {
            let disk = Arc::new(self.disk.clone());
            disk.restarted();
            match Running::open(disk, &self.clock, &self.sink) {
                Ok(running) => {
                    self.told.opens += 1;
                    self.running = Some(running);
                    return true;
                }
                // A task of the broker before may still hold it for a moment: in a process of its own it would be gone.
                Err(OpenError::Log(LogError::Locked { .. })) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => {
                    tries += 1;
                    self.unopened.push(error.to_string());
                }
            }
        }
        false
    }

    /// The whole script. What fails is noted, and the next is asked for.
    pub(crate) async fn run(&mut self) {
        if !self.open().await {
            return;
        }
        self.topics();
        self.first_records().await;
        self.round().await;
        self.messages(1).await;
        self.resolve().await;
        self.change_control();
        self.days_later().await;
        if let Some(running) = self.running.take() {
            running.close().await;
        }
        if !self.open().await {
            return;
        }
        self.second_records().await;
        self.messages(2).await;
        self.round().await;
        self.retain("r").await;
        self.round().await;
    }

    fn topics(&mut self) {
        for (name, partition_count) in [("t", 2), ("r", 1), ("gone", 1)] {
            let mut change = SettingsChange::default();
            if name == "r" {
                change.retention_bytes = Some(Limit::AtMost(9_000));
            }
            let request = CreateTopicRequest {
                name: name.to_owned(),
                partition_count,
                durability: Durability::Synced,
                change,
            };
            for _ in 0..2 {
                match self.running().broker.create_topic(&request) {
                    Ok(_) => {
                        self.told.topics.insert(name.to_owned());
                    }
                    Err(refusal) if refusal.code == ErrorCode::TopicExists => {}
                    Err(refusal) => {
                        self.refused.push(("create topic", refusal));
                        continue;
                    }
                }
                break;
            }
        }
    }

    async fn first_records(&mut self) {
        for _ in 0..6 {
            self.produce("t", 0).await;
            self.produce("t", 1).await;
        }
        for _ in 0..14 {
            self.produce("r", 0).await;
        }
        self.produce("gone", 0).await;
        self.commit(2).await;
        for (partition, offset) in [(0, 0), (0, 1), (0, 2), (1, 0)] {
            self.reject(partition, offset).await;
        }
    }

    async fn second_records(&mut self) {
        self.produce("t", 0).await;
        self.produce("t", 1).await;
        self.produce("r", 0).await;
        self.commit(4).await;
        self.reject(1, 1).await;
        self.resolve().await;
    }

    async fn round(&mut self) {
        self.running.as_mut().unwrap().round().await;
    }

    async fn retain(&mut self, topic: &'static str) {
        if let Err(refusal) = self.running().retain(topic).await
            && refusal.code != ErrorCode::UnknownTopic
        {
            self.refused.push(("retention", refusal));
        }
    }

    /// Produces one record, and notes whether a partition that nothing has happened to took it.
    pub(crate) async fn produce(&mut self, topic: &str, partition: u32) -> bool {
        if !self.told.topics.contains(topic) {
            return false;
        }
        self.number += 1;
        let value = format!(
            "{topic}/{partition} number {} {}",
            self.number,
            "x".repeat(900)
        );
        self.told.tried.insert(value.clone());
        let mut batch = batch(value.as_bytes());
        let broker = Arc::clone(&self.running().broker);
        let appended = broker
            .append(topic, partition, &mut batch, Acks::TopicDefault, true)
            .await;
        let batches = vec![appended];
        let answer = ProducePending { batches }.answer().await;
        match answer.batches.into_iter().next().unwrap() {
            Ok(appended) => {
                let values = self.told.values.entry((topic.to_owned(), partition));
                values.or_default().insert(appended.base_offset.0, value);
                true
            }
            Err(refusal) => {
                if self.is_elsewhere(topic, partition) {
                    self.broken.push(format!(
                        "{topic}/{partition} refuses, and the disk fails elsewhere: {refusal}"
                    ));
                }
                self.refused.push(("produce", refusal));
                false
            }
        }
    }

    /// Whether the disk fails in the directory of something else than this partition.
    fn is_elsewhere(&self, topic: &str, partition: u32) -> bool {
        let Some(fault) = &self.fault else {
            return false;
        };
        let request = MetadataRequest { topics: None };
        let metadata = self.running().broker.metadata(&request).unwrap();
        let number = metadata.topics.iter().find_map(|(name, view)| {
            let view = view.as_ref().ok()?;
            (name == topic).then(|| view.partitions[partition as usize].number)
        });
        let below = fault.strip_prefix("/data").unwrap_or(Path::new(""));
        let first = below.components().next();
        let first = first.map(|part| part.as_os_str().to_string_lossy().into_owned());
        match (first, number) {
            (Some(first), Some(number)) => first != format!("{number:010}"),
            _ => false,
        }
    }

    async fn commit(&mut self, offset: u64) {
        let request = CommitOffsetsRequest {
            group: "g".to_owned(),
            offsets: vec![CommittedOffset {
                topic: "t".to_owned(),
                partition: 0,
                offset: Offset(offset),
                metadata: String::new(),
            }],
        };
        if self
            .told
            .values
            .get(&("t".to_owned(), 0))
            .is_none_or(|v| v.len() < offset as usize)
        {
            return;
        }
        match self.running().broker.commit_offsets(&request).await {
            Ok(()) => {
                self.told.committed = Some(offset);
                self.told.commits_tried.clear();
            }
            Err(refusal) => {
                self.told.commits_tried.insert(offset);
                self.refused.push(("commit", refusal));
            }
        }
    }

    async fn reject(&mut self, partition: u32, offset: u64) {
        let values = self.told.values.get(&("t".to_owned(), partition));
        let Some(value) = values.and_then(|values| values.get(&offset)).cloned() else {
            return;
        };
        self.told.rejects_tried.insert(value.clone());
        let request = RejectRequest {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition,
            offset: Offset(offset),
            reason: "no".to_owned().into(),
            details: None,
        };
        match self.running().broker.reject(request).await {
            Ok(answer) => {
                let letter = Letter {
                    value,
                    fate: Fate::Live,
                };
                self.told.letters.insert(answer.letter_id, letter);
            }
            Err(refusal) => self.refused.push(("reject", refusal)),
        }
    }

    /// Sends every other live letter back, and deletes one.
    async fn resolve(&mut self) {
        let letters = self.told.letters.iter();
        let live = letters.filter(|(_, letter)| letter.fate == Fate::Live);
        let live: Vec<String> = live.map(|(id, _)| id.clone()).collect();
        let (retried, rest) = live.split_at(live.len().div_ceil(2));
        if !retried.is_empty() {
            self.retry(retried.to_vec()).await;
        }
        if let Some(deleted) = rest.first() {
            self.delete(deleted.clone()).await;
        }
    }

    async fn retry(&mut self, ids: Vec<String>) {
        for id in &ids {
            self.told.letters.get_mut(id).unwrap().fate = Fate::Asked;
        }
        let request = RetryLettersRequest {
            topic: "t".to_owned(),
            selection: Selection::Ids(ids),
            page: Page::first(Order::OldestFirst, 100),
            request_id: Some("one".to_owned()),
        };
        let broker = Arc::clone(&self.running().broker);
        let answer = match broker.retry_letters(request, "script".to_owned()).await {
            Ok(answer) => answer,
            Err(refusal) => return self.refused.push(("republish", refusal)),
        };
        for (id, result) in answer.letters {
            match result {
                Ok(to) => {
                    let letter = self.told.letters.get_mut(&id).unwrap();
                    letter.fate = Fate::Republished(to.partition, to.offset);
                    let values = self.told.values.entry(("t".to_owned(), to.partition));
                    values
                        .or_default()
                        .insert(to.offset.0, letter.value.clone());
                }
                Err(refusal) => self.refused.push(("republish", refusal)),
            }
        }
    }

    async fn delete(&mut self, id: String) {
        let letter = self.told.letters.get_mut(&id).unwrap();
        letter.fate = Fate::Asked;
        let request = DeleteLettersRequest {
            topic: "t".to_owned(),
            selection: Selection::Ids(vec![id.clone()]),
            page: Page::first(Order::OldestFirst, 100),
            request_id: None,
        };
        let broker = Arc::clone(&self.running().broker);
        match broker.delete_letters(request, "script".to_owned()).await {
            Ok(answer) => match answer.letters.into_iter().next().unwrap().1 {
                Ok(_) => self.told.letters.get_mut(&id).unwrap().fate = Fate::Deleted,
                Err(refusal) => self.refused.push(("delete", refusal)),
            },
            Err(refusal) => self.refused.push(("delete", refusal)),
        }
    }

    async fn messages(&mut self, round: u32) {
        let callback = Some(Callback {
            url: format!("http://c/{round}"),
            ..Callback::default()
        });
        let later = Some(TimestampMs(NOW.0 + MONTH_MS));
        let queue = || Some("q".to_owned());
        let envelopes = [
            ("ok", Kind::Taken, callback.clone(), None, None),
            ("bad", Kind::Dies, callback, None, None),
            ("queued", Kind::Taken, None, queue(), None),
            ("queued2", Kind::Taken, None, queue(), None),
            ("later", Kind::Delayed, None, None, later),
            ("cancelled", Kind::Delayed, None, None, later),
        ];
        for (name, kind, callback, queue, not_before) in envelopes {
            let envelope = Envelope {
                url: format!("http://h/{name}{round}"),
                method: "POST".to_owned(),
                retries: 0,
                callback,
                queue,
                not_before,
                ..Envelope::default()
            };
            self.publish(envelope, kind).await;
        }
        let soon = self.told.soon();
        self.running().settle(&soon).await;
        self.cancel(&format!("http://h/cancelled{round}")).await;
    }

    pub(crate) async fn publish(&mut self, envelope: Envelope, kind: Kind) {
        let url = envelope.url.clone();
        let publication = Publication {
            envelope,
            body: Bytes::from(vec![b'b'; 300]),
            target: Target::Url,
            created_at: NOW,
        };
        let broker = Arc::clone(&self.running().broker);
        match broker.publish(vec![publication]).await.pop().unwrap() {
            Ok(published) => {
                let id = published.messages[0].id.clone();
                self.told.messages.insert(id, (url, kind));
            }
            Err(refusal) => self.refused.push(("publish", refusal)),
        }
    }

    async fn cancel(&mut self, url: &str) {
        let found = self
            .told
            .messages
            .iter()
            .find(|(_, (known, _))| known == url);
        let Some(id) = found.map(|(id, _)| id.clone()) else {
            return;
        };
        // Whether a cancellation that fails has happened is unknown.
        self.told.messages.remove(&id);
        match self
            .running()
            .broker
            .cancel(std::slice::from_ref(&id))
            .await
        {
            Ok(_) => {
                let told = (url.to_owned(), Kind::Cancelled);
                self.told.messages.insert(id, told);
            }
            Err(refusal) => self.refused.push(("cancel", refusal)),
        }
    }

    fn change_control(&mut self) {
        let queue = QueueName::parse("q").unwrap();
        let broker = Arc::clone(&self.running().broker);
        if let Err(refusal) = broker.upsert_queue(&queue, Some(3), None) {
            self.refused.push(("queue", refusal));
        }
        if self.told.topics.remove("gone") {
            let request = DeleteTopicRequest {
                name: "gone".to_owned(),
                force: true,
            };
            match broker.delete_topic(&request) {
                Ok(()) => {
                    self.told.deleted_topics.insert("gone".to_owned());
                }
                Err(refusal) => self.refused.push(("delete topic", refusal)),
            }
        }
    }

    /// Four days pass: what has come to its end in `_push` has had its time, what waits is carried.
    async fn days_later(&mut self) {
        for _ in 0..4 {
            self.clock.advance(Duration::from_hours(24));
            let envelope = Envelope {
                url: format!("http://h/day{}", self.number),
                method: "POST".to_owned(),
                ..Envelope::default()
            };
            self.number += 1;
            self.publish(envelope, Kind::Taken).await;
        }
        let soon = self.told.soon();
        self.running().settle(&soon).await;
        self.retain("_push").await;
        self.retain("r").await;
        self.round().await;
    }
}

pub(crate) fn batch(value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = NewRecord {
        timestamp: NOW,
        key: None,
        value: Some(value),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.build(BuildOptions::default()).unwrap()
}

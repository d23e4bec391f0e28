//! A broker in memory behind a loopback socket: one topic, real codecs, real checks of batches and sequences, and faults by
//! order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::batch::{Batch, BatchHeader, BatchLimits, HEADER_BYTES, Stamp, check_produced};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::protocol::api_key::ApiKey;
use crate::protocol::cursor::{Reader, Wire};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::fetch::{FetchAnswer, FetchRequest, FetchedPartition};
use crate::protocol::frame::{self, RequestHeader, encode_answer};
use crate::protocol::group_offsets::{
    CommitOffsetsAnswer, CommitOffsetsRequest, CommittedOffset, FetchOffsetsAnswer,
};
use crate::protocol::handshake::{HandshakeAnswer, HandshakeRequest};
use crate::protocol::list_offsets::{FoundOffset, ListOffsetsAnswer, ListOffsetsRequest, Place};
use crate::protocol::metadata::{MetadataAnswer, MetadataRequest, PartitionView, TopicView};
use crate::protocol::produce::{Appended, ProduceAnswer, ProduceRequest};
use crate::protocol::producer_id::ProducerIdAnswer;
use crate::protocol::settings::{Durability, TopicSettings};

pub(super) const TOPIC: &str = "flights";
pub(super) const TOKEN: &str = "secret";

/// What happens to the next produce request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The connection ends before anything is appended.
    DropBefore,
    /// The connection ends after the append, before the answer.
    DropAfter,
    /// It is refused.
    Refuse(ErrorCode),
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) partitions: Vec<Log>,
    pub(super) faults: VecDeque<Option<Fault>>,
    pub(super) next_producer: u64,
    pub(super) committed: Vec<CommittedOffset>,
    pub(super) connections: u32,
    /// Fetches that are still answered before a connection ends instead.
    pub(super) fetches_before_drop: Option<u32>,
    /// Fetches that are still answered whole before one refuses this partition for now.
    pub(super) fetches_before_refusal: Option<(u32, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) batches: Vec<Batch>,
    /// By producer: next sequence, and the batches appended.
    producers: HashMap<u64, (u32, HashMap<u32, Appended>)>,
}

#[derive(Debug, Clone)]
pub(super) struct Fake {
    pub(super) addr: String,
    pub(super) state: Arc<Mutex<State>>,
    appended: Arc<Notify>,
    /// Told of every connection that ends.
    pub(super) closed: Arc<Notify>,
}

impl Fake {
    pub(super) async fn start(partition_count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut state = State::default();
        state.partitions.resize_with(partition_count, Log::default);
        let fake = Self {
            addr: listener.local_addr().unwrap().to_string(),
            state: Arc::new(Mutex::new(state)),
            appended: Arc::default(),
            closed: Arc::default(),
        };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.state.lock().connections += 1;
                let (serving, closed) = (server.clone().serve(stream), server.closed.clone());
                tokio::spawn(async move {
                    serving.await;
                    closed.notify_waiters();
                });
            }
        });
        fake
    }

    pub(super) fn fault(&self, faults: &[Option<Fault>]) {
        self.state.lock().faults.extend(faults);
    }

    /// All values of a partition, in order.
    pub(super) fn values(&self, partition: usize) -> Vec<String> {
        let state = self.state.lock();
        let batches = &state.partitions[partition].batches;
        let records = batches.iter().flat_map(|b| b.records(1 << 26).unwrap());
        records
            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            .collect()
    }

    /// Appends a batch as it is, stamped.
    pub(super) fn append(&self, partition: usize, batch: Vec<u8>) {
        self.state.lock().partitions[partition].append(partition, batch);
        self.appended.notify_waiters();
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut is_first = true;
        while let Ok(length) = stream.read_u32().await {
            let mut body = vec![0; length as usize];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            let Some((parts, goes_on)) = self.answer(&body, is_first).await else {
                return;
            };
            is_first = false;
            if stream.write_all(&parts.concat()).await.is_err() || !goes_on {
                return;
            }
        }
    }

    async fn answer(&self, body: &[u8], is_first: bool) -> Option<(Vec<Bytes>, bool)> {
        let mut reader = Reader::new(body);
        let header = RequestHeader::read(&mut reader).unwrap();
        let id = header.correlation_id;
        assert_eq!(is_first, header.key() == Some(ApiKey::Handshake));
        let parts = match header.key().unwrap() {
            ApiKey::Handshake => {
                let request: HandshakeRequest = frame::decode_payload(&mut reader).unwrap();
                let answer = handshake(&request);
                let goes_on = answer.is_ok();
                return Some((encode_answer(id, &answer).unwrap(), goes_on));
            }
            ApiKey::Metadata => {
                let request = frame::decode_payload(&mut reader).unwrap();
                encode_answer(id, &Ok(self.metadata(&request)))
            }
            ApiKey::ProducerId => {
                let mut state = self.state.lock();
                state.next_producer += 1;
                let answer = ProducerIdAnswer {
                    id: state.next_producer,
                    epoch: 0,
                };
                encode_answer(id, &Ok(answer))
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode_in_place(&mut reader).unwrap();
                let answer = self.produce(&request, body)?;
                encode_answer(id, &Ok(answer))
            }
            ApiKey::Fetch => {
                self.count_fetch()?;
                let request = frame::decode_payload(&mut reader).unwrap();
                encode_answer(id, &Ok(self.fetch(&request).await))
            }
            ApiKey::ListOffsets => {
                let request = frame::decode_payload(&mut reader).unwrap();
                encode_answer(id, &Ok(self.list_offsets(&request)))
            }
            ApiKey::CommitOffsets => {
                let request: CommitOffsetsRequest = frame::decode_payload(&mut reader).unwrap();
                self.state.lock().committed = request.offsets;
                encode_answer(id, &Ok(CommitOffsetsAnswer {}))
            }
            ApiKey::FetchOffsets => {
                let offsets = self.state.lock().committed.clone();
                encode_answer(id, &Ok(FetchOffsetsAnswer { offsets }))
            }
            other => panic!("{other:?} is not faked"),
        };
        Some((parts.unwrap(), true))
    }

    /// Returns `None` for the fetch that is to end its connection.
    fn count_fetch(&self) -> Option<()> {
        let mut state = self.state.lock();
        let Some(left) = state.fetches_before_drop.take() else {
            return Some(());
        };
        state.fetches_before_drop = Some(left.checked_sub(1)?);
        Some(())
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataAnswer {
        let count = self.state.lock().partitions.len();
        let partition = |index| PartitionView {
            index,
            ..PartitionView::default()
        };
        let topics = request.topics.clone().unwrap_or_default().into_iter();
        let describe = |name: String| {
            let topic = if name == TOPIC {
                Ok(TopicView {
                    name: name.clone(),
                    durability: Durability::Synced,
                    settings: TopicSettings::default(),
                    partitions: (0..count as u32).map(partition).collect(),
                })
            } else {
                Err(Refusal::new(ErrorCode::UnknownTopic, name.clone()))
            };
            (name, topic)
        };
        MetadataAnswer {
            topics: topics.map(describe).collect(),
        }
    }

    fn produce(
        &self,
        request: &ProduceRequest<std::ops::Range<usize>>,
        body: &[u8],
    ) -> Option<ProduceAnswer> {
        let mut state = self.state.lock();
        let fault = state.faults.pop_front().flatten();
        let mut batches = Vec::new();
        match fault {
            Some(Fault::DropBefore) => return None,
            Some(Fault::Refuse(code)) => batches.push(Err(Refusal::new(code, ""))),
            None | Some(Fault::DropAfter) => {
                for batch in &request.batches {
                    let log = &mut state.partitions[batch.partition as usize];
                    let bytes = body[batch.batch.clone()].to_vec();
                    batches.push(log.produce(batch.partition as usize, bytes));
                }
            }
        }
        drop(state);
        self.appended.notify_waiters();
        if let Some(Fault::DropAfter) = fault {
            return None;
        }
        Some(ProduceAnswer { batches })
    }

    /// Returns the partition that this fetch refuses.
    fn refused(&self) -> Option<u32> {
        let mut state = self.state.lock();
        let (left, partition) = state.fetches_before_refusal.take()?;
        let Some(left) = left.checked_sub(1) else {
            return Some(partition);
        };
        state.fetches_before_refusal = Some((left, partition));
        None
    }

    async fn fetch(&self, request: &FetchRequest) -> FetchAnswer {
        if let Some(partition) = self.refused() {
            let mut answer = self.fetch_now(request);
            let asked = request.partitions.iter();
            for (asked, found) in asked.zip(&mut answer.partitions) {
                if asked.partition == partition {
                    found.batches = Bytes::new();
                    found.refusal = Some(Refusal::new(ErrorCode::Overloaded, "not now"));
                }
            }
            return answer;
        }
        let wait = std::time::Duration::from_millis(u64::from(request.wait_ms_max));
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let appended = self.appended.notified();
            let answer = self.fetch_now(request);
            let has_something = |p: &FetchedPartition| p.refusal.is_some() || !p.batches.is_empty();
            if answer.partitions.iter().any(has_something)
                || tokio::time::timeout_at(deadline, appended).await.is_err()
            {
                return answer;
            }
        }
    }

    fn fetch_now(&self, request: &FetchRequest) -> FetchAnswer {
        let state = self.state.lock();
        let partitions = request.partitions.iter().map(|asked| {
            let log = &state.partitions[asked.partition as usize];
            let mut found = FetchedPartition {
                refusal: None,
                log_start_offset: Offset(log.start),
                high_watermark: Offset(log.end),
                batches: Bytes::new(),
            };
            if !(log.start..=log.end).contains(&asked.offset.0) {
                found.refusal = Some(Refusal::new(ErrorCode::OffsetOutOfRange, "gone"));
                return found;
            }
            let mut bytes = Vec::new();
            for batch in &log.batches {
                let is_wanted = batch.header().next_offset() > asked.offset;
                let fits = bytes.len() + batch.bytes().len() <= asked.bytes_max as usize;
                if is_wanted && (fits || bytes.is_empty()) {
                    bytes.extend_from_slice(batch.bytes());
                }
            }
            found.batches = Bytes::from(bytes);
            found
        });
        FetchAnswer {
            partitions: partitions.collect(),
        }
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsAnswer {
        let state = self.state.lock();
        let partitions = request.partitions.iter().map(|asked| {
            let log = &state.partitions[asked.partition as usize];
            let offset = match asked.place {
                Place::Earliest => log.start,
                Place::Latest | Place::AppendedAt(_) => log.end,
            };
            Ok(FoundOffset {
                offset: Offset(offset),
                append_time: None,
            })
        });
        ListOffsetsAnswer {
            partitions: partitions.collect(),
        }
    }
}

fn handshake(request: &HandshakeRequest) -> Result<HandshakeAnswer, Refusal> {
    if request.token.as_deref() != Some(TOKEN) {
        return Err(Refusal::new(ErrorCode::WrongToken, "not this one"));
    }
    Ok(HandshakeAnswer {
        version: 1,
        broker_version: "fake".to_owned(),
        frame_bytes_max: 1 << 20,
        batch_bytes_max: 1 << 20,
        record_bytes_max: 1 << 20,
    })
}

impl Log {
    fn produce(&mut self, partition: usize, bytes: Vec<u8>) -> Result<Appended, Refusal> {
        let header = check_produced(&bytes, &BatchLimits::default())
            .map_err(|refusal| Refusal::new(ErrorCode::InvalidBatch, refusal.to_string()))?;
        let Some(producer) = header.producer else {
            return Ok(self.append(partition, bytes));
        };
        let known = self.producers.contains_key(&producer.id);
        let (next, appended) = self.producers.entry(producer.id).or_default();
        if let Some(appended) = appended.get(&producer.base_sequence) {
            return Ok(*appended);
        }
        if producer.base_sequence != *next {
            let code = if known {
                ErrorCode::OutOfOrderSequence
            } else {
                self.producers.remove(&producer.id);
                ErrorCode::UnknownProducer
            };
            return Err(Refusal::new(code, format!("{producer:?}")));
        }
        *next += header.record_count;
        let appended = self.append(partition, bytes);
        let (_, remembered) = self.producers.entry(producer.id).or_default();
        remembered.insert(producer.base_sequence, appended);
        Ok(appended)
    }

    fn append(&mut self, partition: usize, mut bytes: Vec<u8>) -> Appended {
        let appended = Appended {
            base_offset: Offset(self.end),
            append_time: TimestampMs(77),
        };
        let number = PartitionNumber(partition as u32 + 1);
        let header = BatchHeader::decode(&bytes).unwrap().stamp(&Stamp {
            log: LogId::new(number, LogKind::Main),
            base_offset: appended.base_offset,
            append_time: appended.append_time,
            prev_header_crc: 0,
            durable_up_to: Offset(self.end),
        });
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        self.end += u64::from(header.record_count);
        self.batches
            .push(Batch::decode(Bytes::from(bytes)).unwrap());
        appended
    }
}

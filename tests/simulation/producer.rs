//! Producers: idempotent ones that send again until they are answered, whatever happens, with up to five batches in flight;
//! each remembers over the broker's lives what it has not been answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redrive::client::{ClientError, Connection};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::produce::{Acks, Appended, ProduceBatch, ProduceRequest};
use redrive::protocol::producer_id::ProducerIdRequest;
use redrive::protocol::settings::{Durability, SettingsChange};
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord, Producer};
use storage::offset::TimestampMs;

use crate::chance::Chance;
use crate::life::Life;
use crate::log_model::Place;
use crate::world::World;

const IN_FLIGHT_MAX: usize = 5;

#[derive(Debug, Clone)]
struct Sent {
    sequence: u32,
    values: Vec<u64>,
    padding: usize,
}

/// What a producer remembers.
#[derive(Debug)]
pub(crate) struct ProducerMemory {
    place: Place,
    id: Option<(u64, u16)>,
    next_sequence: u32,
    unanswered: VecDeque<Sent>,
}

impl ProducerMemory {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            id: None,
            next_sequence: 0,
            unanswered: VecDeque::new(),
        }
    }

    /// A topic that is only written has lost what its producers count from.
    pub(crate) fn power_was_cut(&mut self, world: &World) {
        if !world.plan.topics[self.place.topic].is_synced {
            self.begin_anew(world);
        }
    }

    pub(crate) fn has_unanswered(&self) -> bool {
        !self.unanswered.is_empty()
    }

    fn begin_anew(&mut self, world: &World) {
        let values = self.unanswered.iter().flat_map(|sent| sent.values.clone());
        world.log.lock().may_repeat(values);
        self.id = None;
        self.next_sequence = 0;
        for sent in &mut self.unanswered {
            sent.sequence = self.next_sequence;
            self.next_sequence += u32::try_from(sent.values.len()).unwrap();
        }
    }
}

/// Creates the topics, until they are there.
pub(crate) async fn create_topics(life: &Life) {
    for topic in &life.world.plan.topics {
        loop {
            let durability = if topic.is_synced {
                Durability::Synced
            } else {
                Durability::Written
            };
            let request = CreateTopicRequest {
                name: topic.name.clone(),
                partition_count: topic.partitions,
                durability,
                change: SettingsChange {
                    segment_bytes: Some(topic.segment_bytes),
                    ..SettingsChange::default()
                },
            };
            let created = match life.net.connect().await {
                Ok(connection) => connection.call(&request).await.map(|_| ()),
                Err(error) => Err(error),
            };
            match created {
                Ok(()) => break,
                Err(ClientError::Refused { refusal, .. })
                    if refusal.code == ErrorCode::TopicExists =>
                {
                    break;
                }
                Err(error) => life.world.note(&format!("no topic: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Produces for a life.
pub(crate) async fn produce(life: Arc<Life>, at: usize) {
    let mut chance = life.world.chance("producer", at as u64);
    let mut left = chance.between(2, 12);
    while left > 0 {
        if let Ok(connection) = life.net.connect().await {
            send(&life, at, &connection, &mut chance, &mut left).await;
        }
        tokio::time::sleep(chance.ms(1, 800)).await;
    }
}

/// Sends again what was not answered, until nothing is left.
pub(crate) async fn finish(life: &Life, at: usize) {
    let mut chance = life.world.chance("producer", at as u64);
    while life.world.producers[at].lock().has_unanswered() {
        if let Ok(connection) = life.net.connect().await {
            send(life, at, &connection, &mut chance, &mut 0).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Sends on one connection until something goes wrong.
async fn send(
    life: &Life,
    at: usize,
    connection: &Connection,
    chance: &mut Chance,
    left: &mut u64,
) {
    let world = &life.world;
    let memory = &world.producers[at];
    loop {
        let id = memory.lock().id;
        if id.is_none() {
            let Ok(answer) = connection.call(&ProducerIdRequest {}).await else {
                return;
            };
            memory.lock().id = Some((answer.id, answer.epoch));
            continue;
        }
        let window = usize::try_from(chance.between(1, IN_FLIGHT_MAX as u64)).unwrap();
        while *left > 0 && memory.lock().unanswered.len() < window {
            *left -= 1;
            add(world, &mut memory.lock(), chance);
        }
        let sent: Vec<_> = memory.lock().unanswered.iter().cloned().collect();
        if sent.is_empty() {
            return;
        }
        let mut pending = Vec::new();
        for one in sent {
            let request = request(world, &memory.lock(), &one, chance);
            let is_durable = request.acks == Acks::Synced
                || world.plan.topics[memory.lock().place.topic].is_synced;
            let Ok(answer) = connection.submit(&request, Duration::ZERO).await else {
                break;
            };
            pending.push((one, is_durable, answer));
        }
        for (one, is_durable, answer) in pending {
            let answer = answer.answer().await;
            let Ok(answer) = answer else { return };
            let appended = answer.batches.into_iter().next().unwrap();
            if !take(world, at, &one, is_durable, appended) {
                return;
            }
        }
        tokio::time::sleep(chance.ms(0, 300)).await;
    }
}

fn add(world: &World, memory: &mut ProducerMemory, chance: &mut Chance) {
    let mut log = world.log.lock();
    let count = chance.between(1, 4);
    let values: Vec<_> = (0..count).map(|_| log.new_value(memory.place)).collect();
    let sequence = memory.next_sequence;
    memory.next_sequence += u32::try_from(count).unwrap();
    let padding = usize::try_from(*chance.pick(&[0, 10, 300, 900])).unwrap();
    memory.unanswered.push_back(Sent {
        sequence,
        values,
        padding,
    });
}

fn request(
    world: &World,
    memory: &ProducerMemory,
    sent: &Sent,
    chance: &mut Chance,
) -> ProduceRequest {
    let (id, epoch) = memory.id.unwrap_or_default();
    let mut builder = BatchBuilder::new(*chance.pick(&[Codec::None, Codec::None, Codec::Lz4]));
    for value in &sent.values {
        let text = format!("{value}:{}", "x".repeat(sent.padding));
        let record = NewRecord {
            timestamp: TimestampMs(1_700_000_000_000),
            key: None,
            value: Some(text.as_bytes()),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    let producer = Producer {
        id,
        epoch,
        base_sequence: sent.sequence,
    };
    let options = BuildOptions {
        producer: Some(producer),
        ..BuildOptions::default()
    };
    let batch = ProduceBatch {
        topic: world.plan.topics[memory.place.topic].name.clone(),
        partition: memory.place.partition,
        batch: Bytes::from(builder.build(options).unwrap()),
    };
    ProduceRequest {
        acks: *chance.pick(&[Acks::TopicDefault, Acks::TopicDefault, Acks::Synced]),
        batches: vec![batch],
    }
}

/// Takes an answer. Returns whether the next one may be waited for.
fn take(
    world: &World,
    at: usize,
    sent: &Sent,
    is_durable: bool,
    appended: Result<Appended, Refusal>,
) -> bool {
    let mut memory = world.producers[at].lock();
    let place = memory.place;
    match appended {
        Ok(appended) => {
            let base = appended.base_offset.0;
            world.note(&format!(
                "producer {at}: {} at {place:?} {base}",
                sent.sequence
            ));
            let held = world
                .log
                .lock()
                .acknowledged(place, base, &sent.values, is_durable);
            world.check(held);
            memory.unanswered.pop_front();
            true
        }
        Err(refusal) => {
            world.note(&format!(
                "producer {at}: {} {}",
                sent.sequence,
                refusal.code.number()
            ));
            match refusal.code {
                // It is stored, longer ago than the broker remembers offsets.
                ErrorCode::DuplicateSequence => {
                    memory.unanswered.pop_front();
                    true
                }
                ErrorCode::UnknownProducer | ErrorCode::OutOfOrderSequence => {
                    let may = world.push.lock().has_clock_jumped();
                    if !may && refusal.code == ErrorCode::UnknownProducer {
                        world.check(Err(format!("producer {at} is forgotten: {refusal:?}")));
                    }
                    if !may
                        && memory.unanswered.front().map(|one| one.sequence) == Some(sent.sequence)
                    {
                        world.check(Err(format!("producer {at}: {sent:?}: {refusal:?}")));
                    }
                    if may {
                        memory.begin_anew(world);
                    }
                    false
                }
                ErrorCode::StorageFailed => false,
                code if code.is_retryable() => false,
                _ => {
                    world.check(Err(format!("producer {at} is refused: {refusal:?}")));
                    false
                }
            }
        }
    }
}

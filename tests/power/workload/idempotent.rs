//! A producer with an id that outlives every broker: what is not acknowledged is sent again with the same sequence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use redrive::client::Connection;
use redrive::protocol::error_code::Refusal;
use redrive::protocol::produce::{Acks, Appended};
use storage::batch::Producer;

use super::produce::{batch, request, told, values};
use super::{WHOLE, World};
use crate::oracle::Crash;
use crate::random::Random;

/// Batches that a broker remembers of a producer, and batches on their way at most.
const REMEMBERED: usize = 5;

/// What the producer knows.
#[derive(Debug, Default)]
pub(crate) struct Idempotent {
    id: Option<(u64, u16)>,
    /// Sequence of the next record, and its number in the stream.
    next: u32,
    /// The last batches, oldest first.
    batches: VecDeque<Sent>,
}

#[derive(Debug, Clone)]
struct Sent {
    base_sequence: u32,
    values: Vec<String>,
    acknowledged: Option<u64>,
}

/// Sends again what is open, then goes on.
pub(crate) async fn produce(
    world: World,
    state: Arc<tokio::sync::Mutex<Idempotent>>,
    mut random: Random,
) {
    let mut state = state.lock().await;
    let client = world.client.sibling();
    if state.id.is_none() {
        match client.producer_id().await {
            Ok(answer) => state.id = Some((answer.id, answer.epoch)),
            Err(_) => return,
        }
    }
    let Ok(connection) = client.connection().await else {
        return;
    };
    if !state.repeat(&world, &connection, &mut random).await {
        return;
    }
    while world.goes_on() && state.next < 1 << 30 {
        let window = 1 + usize::try_from(random.below(REMEMBERED as u64)).unwrap();
        if !state.go_on(&world, &connection, window, &mut random).await {
            return;
        }
    }
}

impl Idempotent {
    fn stream(&self) -> String {
        format!("i{}", self.id.map_or(0, |(id, _)| id))
    }

    fn producer(&self, base_sequence: u32) -> Option<Producer> {
        self.id.map(|(id, epoch)| Producer {
            id,
            epoch,
            base_sequence,
        })
    }

    /// Sends the last batches again, one by one; some that were acknowledged as well.
    async fn repeat(
        &mut self,
        world: &World,
        connection: &Connection,
        random: &mut Random,
    ) -> bool {
        for at in 0..self.batches.len() {
            let sent = self.batches[at].clone();
            if sent.acknowledged.is_some() && random.one_in(2) {
                continue;
            }
            let batch = batch(&sent.values, self.producer(sent.base_sequence));
            let answer = connection
                .call(&request(WHOLE, batch, Acks::TopicDefault))
                .await;
            let Some(result) = answer.ok().and_then(|mut answer| answer.batches.pop()) else {
                return false;
            };
            if !self.answered(world, at, result) {
                return false;
            }
        }
        true
    }

    /// Takes an answer to a batch whose predecessors are acknowledged. Says whether the broker took it.
    fn answered(&mut self, world: &World, at: usize, result: Result<Appended, Refusal>) -> bool {
        let sent = &mut self.batches[at];
        let sequence = sent.base_sequence;
        match result {
            Ok(appended) => {
                let base = appended.base_offset.0;
                if !told(world, WHOLE, base, &sent.values, Crash::Power) {
                    return false;
                }
                let before = sent.acknowledged.replace(base);
                if before.is_some_and(|before| before != base) {
                    world.tell(|_| {
                        Err(format!(
                            "sequence {sequence} was acknowledged at {before:?} and at {base}"
                        ))
                    });
                }
                true
            }
            Err(refusal) => {
                if !world.may_refuse(&refusal) {
                    world.tell(|_| Err(format!("sequence {sequence} was refused: {refusal}")));
                }
                false
            }
        }
    }

    /// Sends some new batches at once and waits for their answers.
    async fn go_on(
        &mut self,
        world: &World,
        connection: &Connection,
        window: usize,
        random: &mut Random,
    ) -> bool {
        let stream = self.stream();
        let (mut pending, mut begun) = (Vec::new(), 0);
        for _ in 0..window {
            let count = 1 + random.below(4);
            let values = values(&stream, u64::from(self.next), count, random);
            let base_sequence = self.next;
            self.next += u32::try_from(count).unwrap();
            world.oracle.lock().logs[WHOLE].sent(&stream, u64::from(self.next) - 1, true);
            let batch = batch(&values, self.producer(base_sequence));
            self.batches.push_back(Sent {
                base_sequence,
                values,
                acknowledged: None,
            });
            if self.batches.len() > REMEMBERED {
                self.batches.pop_front();
            }
            begun += 1;
            let request = request(WHOLE, batch, Acks::TopicDefault);
            match connection.submit(&request, Duration::ZERO).await {
                Ok(answer) => pending.push(answer),
                Err(_) => break,
            }
        }
        let is_whole = pending.len() == window;
        let first = self.batches.len() - begun;
        for (nth, answer) in pending.into_iter().enumerate() {
            let result = answer.answer().await.ok();
            let Some(result) = result.and_then(|mut answer| answer.batches.pop()) else {
                return false;
            };
            if !self.answered(world, first + nth, result) {
                return false;
            }
        }
        is_whole
    }
}

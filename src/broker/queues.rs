//! Queues: creating, changing, pausing and deleting them. How many messages wait in one is the delivery engine's to tell.

use storage::control::push::{PushEntry, Queue};

use super::Broker;
use crate::names::QueueName;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Messages under way at a time, of a queue that does not say: they are delivered in their order.
const PARALLELISM_DEFAULT: u32 = 1;

impl Broker {
    /// Creates a queue, or changes what is given of one that is there. A queue that does not say has a parallelism of 1 and is
    /// not paused. Blocks on the disk, unless nothing changes.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSettings`] for a parallelism out of its range, [`ErrorCode::LimitExceeded`] for one queue too many,
    /// or the control log's.
    pub fn upsert_queue(
        &self,
        name: &QueueName,
        parallelism: Option<u32>,
        is_paused: Option<bool>,
    ) -> Result<Queue, Refusal> {
        self.change_queue(name, |known| {
            let parallelism = parallelism.or(known.map(|queue| queue.parallelism));
            let is_paused = is_paused.or(known.map(|queue| queue.is_paused));
            Ok((
                parallelism.unwrap_or(PARALLELISM_DEFAULT),
                is_paused.unwrap_or(false),
            ))
        })
    }

    /// Pauses or resumes a queue. Blocks on the disk, unless it is so already.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the control log's.
    pub fn pause_queue(&self, name: &QueueName, is_paused: bool) -> Result<Queue, Refusal> {
        self.change_queue(name, |known| {
            let queue = known.ok_or_else(|| no_queue(name))?;
            Ok((queue.parallelism, is_paused))
        })
    }

    /// Deletes a queue. Messages that stand in it go on in their order, one at a time: so one that is paused must be empty.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::InvalidSettings`] for a paused queue that holds messages, or the control log's.
    pub fn delete_queue(&self, name: &QueueName) -> Result<(), Refusal> {
        let lag = self.queue_lag(name.as_str());
        self.change_push(self.clock.now(), |state| {
            let queue = state.queue(name.as_str()).ok_or_else(|| no_queue(name))?;
            if queue.is_paused && lag > 0 {
                let message = format!(
                    "queue {name} is paused and holds {lag} messages, which its deletion would set free: resume it, or cancel them first (DELETE /v2/messages?queueName={name})"
                );
                return Err(Refusal::new(ErrorCode::InvalidSettings, message));
            }
            let name = name.to_string();
            Ok((Some(PushEntry::QueueDeleted { name }), ()))
        })
    }

    /// Returns a queue. Never blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn queue(&self, name: &QueueName) -> Result<Queue, Refusal> {
        let settings = self.control.push().borrow();
        let queue = settings.state.queue(name.as_str());
        queue.ok_or_else(|| no_queue(name))
    }

    /// Lists the queues, by name. Never blocks on the disk.
    #[must_use]
    pub fn list_queues(&self) -> Vec<(String, Queue)> {
        let settings = self.push_settings();
        let queues = settings.state.queues();
        queues
            .map(|(name, queue)| (name.to_owned(), queue))
            .collect()
    }

    /// Decides a queue's parallelism and whether it is paused from what it is now.
    fn change_queue(
        &self,
        name: &QueueName,
        decide: impl FnOnce(Option<Queue>) -> Result<(u32, bool), Refusal>,
    ) -> Result<Queue, Refusal> {
        let now = self.clock.now();
        self.change_push(now, |state| {
            let known = state.queue(name.as_str());
            let (parallelism, is_paused) = decide(known)?;
            if let Some(queue) = known
                && (queue.parallelism, queue.is_paused) == (parallelism, is_paused)
            {
                return Ok((None, queue));
            }
            let queue = Queue {
                parallelism,
                is_paused,
                created: known.map_or(now, |queue| queue.created),
                updated: now,
            };
            let name = name.to_string();
            Ok((Some(PushEntry::QueueSet { name, queue }), queue))
        })
    }
}

fn no_queue(name: &QueueName) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no queue {name}"))
}
